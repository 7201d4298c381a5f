"""Patterns for URLs of ours in their usual spelling: with a scheme, a host and the path of a route, and a plain rest.

Most links of a body are written like this. Where the bytes before a link and the end of its value decide that it is
rewritten, thousands of links are replaced in one substitution.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import chain

from gateway.proxy.rewriting.decoded_url import UrlSyntax
from gateway.proxy.routing import UpstreamUrl

MANY_PATHS = 64
"""If there are more paths of upstreams than this, only links to the upstream that answers are usual."""
CONTEXT_SIZE = 48  # bytes before a link that `value` reads

# The rest of a path, without escapes and without what may be a dot segment, within the bytes that a URL may have; first
# the usual one, without any dot. And what certainly ends it.
_CHARACTERS = rb"A-Za-z0-9_~!$()*+,;=@|-"
PATH_REST = rb"(?=\\?/)(?:[/%b]{1,1000}+(?![.%%\\])|(?:(?:\\?/(?!\.)|%%(?!2[5eE]))[.%b]{0,100}+){1,60})" % (
    _CHARACTERS,
    _CHARACTERS,
)
PATH_END = rb'[?#"<> \t\r\n]'

Origins = Mapping[tuple[str, int], Collection[str]]
"""Host and port of upstreams, and their paths without a final slash."""


class LinkPatterns:
    """The patterns for documents of one kind in the responses of one upstream. The beginning of a link is all up to the
    end of the longest path of an upstream that it is under.
    """

    def __init__(self, syntax: UrlSyntax, origins: Origins, upstream: UpstreamUrl, own: Collection[str]) -> None:
        """Take all upstreams, the one that answers, and the paths that a URL without a host belongs to."""
        hosts = [*_usual_paths(origins, upstream)]
        escapes_slashes = syntax.escape_start == b"\\"
        slashes = (b"/", rb"\/") if escapes_slashes else (b"/",)
        starts = (
            b"%b(?:%b)" % (re.escape(s * 2), b"|".join(_url_pattern(*host, s) for host in hosts)) for s in slashes
        )
        url = rb"s?:(?:%b)" % b"|".join(starts) if hosts else b"(?!)"
        before = syntax.before_link.replace(b"@", b"http")
        after = rb"(?=%b)" % syntax.after_link.replace(b"@", PATH_REST)
        self.values = re.compile(b"(http(?:%b)%b)%b" % (before, url, after))
        """The beginning of a link that is rewritten."""
        self._references: list[tuple[bytes, re.Pattern[bytes]]] = []
        """Such links without a host: a literal that is searched first, and a pattern for their beginning."""
        begin = common_prefix(own) if 0 < len(own) <= MANY_PATHS else ""
        for slash in slashes if begin and syntax.before_reference else ():
            literal = begin.encode("latin-1", "replace").replace(b"/", slash)
            first = re.escape(literal)
            before = syntax.before_reference.replace(b"@", first)
            paths = _paths_pattern([path.removeprefix(begin) for path in own], slash)
            pattern = re.compile(rb"(%b(?:%b)%b)(?!\\?/\\?/)%b" % (first, before, paths, after))
            self._references.append((b'"' + literal, pattern))
        end = PATH_END + rb'|\\["bfnrt]' if escapes_slashes else PATH_END
        border = rb"(?:(?<![A-Za-z0-9+.-])|(?<=\\[bfnrt]))"
        self.anywhere = re.compile(b"%b(http%b)(?=(%b)(?:%b))" % (border, url, PATH_REST, end))
        """A link with a host in any context. The first group is its beginning, the second one the rest of its path."""

    def split_references(self, parts: list[bytes]) -> list[bytes]:
        """Return a text that `values` has split, split at links without a host too."""
        for literal, pattern in self._references:
            if any(literal in part for part in parts[::2]):
                between = (pattern.split(part) if index % 2 == 0 else (part,) for index, part in enumerate(parts))
                parts = [*chain.from_iterable(between)]
        return parts


def _usual_paths(origins: Origins, upstream: UpstreamUrl) -> Iterator[tuple[tuple[str, int], list[str]]]:
    """Yield host, port and paths of the links that are usual."""
    if sum(map(len, origins.values())) <= MANY_PATHS:
        for origin, paths in origins.items():
            others = [path for (host, _), more in origins.items() if host == origin[0] for path in more]
            yield origin, [*paths, *others]
        return
    own = upstream.path.rstrip("/")
    if not any(
        host == upstream.host and path.startswith(f"{own}/") for (host, _), paths in origins.items() for path in paths
    ):
        yield (upstream.host, upstream.port), [own]


def _url_pattern(origin: tuple[str, int], paths: list[str], slash: bytes) -> bytes:
    host, port = origin
    name = re.escape(f"[{host}]" if ":" in host else host).encode()
    ports = b"(?::443|:80|)" if port in {80, 443} else b":%d" % port
    return b"%b%b%b" % (name, ports, _paths_pattern(paths, slash))


def _paths_pattern(paths: Iterable[str], slash: bytes) -> bytes:
    """Return a pattern for the longest of these paths that a URL is under, if a slash follows it."""
    known = sorted({path.encode("latin-1", "replace").replace(b"/", slash) for path in paths}, key=len, reverse=True)
    alternatives = []
    for path in known:
        below = b"|".join(re.escape(longer[len(path) :]) for longer in known if longer.startswith(path + slash))
        alternatives.append(re.escape(path) + (b"(?!(?:%b)(?![A-Za-z0-9_~-]))" % below if below else b""))
    return b"(?:%b)" % b"|".join(alternatives)


def common_prefix(texts: Collection[str]) -> str:
    """Return what all texts begin with."""
    first, last = min(texts), max(texts)
    size = next((size for size, pair in enumerate(zip(first, last, strict=False)) if pair[0] != pair[1]), None)
    return first if size is None else first[:size]
