"""Patterns for URLs of ours in their usual spelling: with a scheme, a host and the path of a route, and a plain rest.

Most links of a body are written like this. Where the bytes before a link and the end of its value decide whether it is
rewritten, thousands of links are replaced in one substitution.
"""

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from itertools import chain

from gateway.proxy.rewriting.decoded_url import UrlSyntax
from gateway.proxy.routing import UpstreamUrl

MANY_PATHS = 64
"""If there are more paths of upstreams than this, only links to the upstream that answers are usual."""
CONTEXT_SIZE = 48  # bytes before a link that the rules read

# The rest of a path behind its first slash, without escapes and what may be a dot segment, within the bytes that
# a URL may have; first the usual one, without any dot. And what certainly ends a path.
_CHARACTERS = rb"A-Za-z0-9_~!$()*+,;=@|-"
PATH_REST = rb"(?:[/%b]{0,1000}+(?![.%%\\])|[.%b]{0,100}+(?:(?:\\?/(?!\.)|%%(?!2[5eE]))[.%b]{0,100}+){0,60})" % (
    (_CHARACTERS,) * 3
)
PATH_END = rb'[?#"<> \t\r\n]'

Origins = Mapping[tuple[str, int], Collection[str]]
"""Host and port of upstreams, and their paths without a final slash."""


class LinkPatterns:
    """The patterns for documents of one kind in the responses of one upstream. The beginning of a link is all up to the
    end of the longest path of an upstream that it is under, with the slash behind it.
    """

    def __init__(self, syntax: UrlSyntax, origins: Origins, upstream: UpstreamUrl, own_paths: Collection[str]) -> None:
        """Take all upstreams, the one that answers, and the paths that a URL without a host belongs to."""
        is_escaping = syntax.escape_start == b"\\"
        slashes = (b"/", rb"\/") if is_escaping else (b"/",)
        end = PATH_END + rb'|\\["bfnrt]' if is_escaping else PATH_END
        after = rb"(?=%b)" % syntax.after_link.replace(b"@", PATH_REST)
        hosts = [*_usual_paths(origins, upstream)]
        urls = {slash: _url_pattern(hosts, slash, end) for slash in slashes}
        any_url = b"(?:%b)" % b"|".join(urls.values())
        self._rules: list[tuple[tuple[bytes, ...], re.Pattern[bytes]]] = []
        """Literals that a text contains, and a pattern for the beginning of links in it that are rewritten."""
        for url, scheme, slash in [*((urls[slash], b"http", slash) for slash in slashes), (any_url, b"HTTP", b"")]:
            before = syntax.rewritten_before.replace(b"@", scheme)
            pattern = re.compile(b"(%b(?:%b)[sS]?%b)%b" % (scheme, before, url, after))
            self._rules.append(((scheme, b":" + slash), pattern))
        begin = common_prefix(own_paths) if 0 < len(own_paths) <= MANY_PATHS and syntax.before_reference else ""
        for slash in slashes if begin else ():
            literal = begin.encode("latin-1", "replace").replace(b"/", slash)
            first = re.escape(literal)
            before = syntax.before_reference.replace(b"@", first)
            path = _paths_pattern([path.removeprefix(begin) for path in own_paths], slash)
            path += rb"(?:%b(?!\\?/|\.)|(?=%b))" % (re.escape(slash), end)
            pattern = re.compile(b"(%b(?:%b)%b)%b" % (first, before, path, after))
            self._rules.append(((b'"' + literal,), pattern))
        before = syntax.kept_before.replace(b"@", b"http")
        self.kept = re.compile(b"http(?:%b)[sS]?%b%b" % (before, any_url, after))
        """The beginning of a link that stays."""
        border = rb"(?:(?<![A-Za-z0-9+.-])|(?<=\\[bfnrt]))"
        self.anywhere = re.compile(b"%b([hH][tT][tT][pP][sS]?%b)(?=(%b)(?:%b))" % (border, any_url, PATH_REST, end))
        """A link with a host in any context. The first group is its beginning, the second one the rest of its path."""

    def split(self, text: bytes, has_places: Callable[[bytes], object]) -> tuple[list[bytes], bool]:
        """Return a text split at the beginnings of links that are rewritten, which are the odd parts, and whether there
        are other places before the last one.
        """
        parts, has_others = [text], False
        for literals, pattern in self._rules:
            if all(literal in text for literal in literals):
                between = (pattern.split(part) if index % 2 == 0 else (part,) for index, part in enumerate(parts))
                parts = [*chain.from_iterable(between)] if len(parts) > 1 else pattern.split(text)
                rest = b"\0".join(parts[:-1:2])
                has_others = bool(has_places(rest) and has_places(self.kept.sub(b"\0", rest)))
                if len(parts) > 1 and not has_others:
                    break
        return parts, has_others


def _usual_paths(origins: Origins, upstream: UpstreamUrl) -> Iterator[tuple[tuple[str, int], list[str]]]:
    """Yield host, port and paths of the links that are usual."""
    if sum(map(len, origins.values())) <= MANY_PATHS:
        for origin, paths in origins.items():
            others = [path for (host, _), more in origins.items() if host == origin[0] for path in more]
            yield origin, [*paths, *others]
        return
    own_path = upstream.path.rstrip("/")
    if not any(
        host == upstream.host and path.startswith(f"{own_path}/")
        for (host, _), paths in origins.items()
        for path in paths
    ):
        yield (upstream.host, upstream.port), [own_path]


def _url_pattern(hosts: Iterable[tuple[tuple[str, int], list[str]]], slash: bytes, end: bytes) -> bytes:
    """Return a pattern for the colon of a URL and what follows it, with the slash behind the path of an upstream."""
    urls = []
    for (host, port), paths in hosts:
        name = re.escape(f"[{host}]" if ":" in host else host).encode()
        ports = b"(?::443|:80|)" if port in {80, 443} else b":%d" % port
        urls.append(b"(?:%b|(?i:%b))%b%b" % (name, name, ports, _paths_pattern(paths, slash)))
    spelt = re.escape(slash)
    return b":%b(?:%b)(?:%b(?!\\.)|(?=%b|'))" % (spelt * 2, b"|".join(urls) or b"(?!)", spelt, end)


def _paths_pattern(paths: Iterable[str], slash: bytes) -> bytes:
    """Return a pattern for the longest of these paths that a URL is under."""
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
