"""A pattern for URLs of ours in their usual spelling: with a scheme, a host and the path of a route, and a plain rest.

Most links of a body are written like this: one split of a text finds all of them.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping

from gateway.proxy.rewriting.decoded_url import UrlSyntax
from gateway.proxy.routing import UpstreamUrl

MANY_PATHS = 64
"""If there are more paths of upstreams than this, only links to the upstream that answers are usual."""

# The rest of a path behind its first slash, without escapes and what may be a dot segment or another URL, within the
# bytes that a URL may have; first the usual one, without any dot.
_CHARACTERS = rb"A-Za-z0-9_~!$()*+,;=@|-"
PATH_REST = rb"(?:[/%b]{0,1000}+(?![.%%\\])|[.%b]{0,100}+(?:(?:\\?/(?!\.)|%%(?!2[5eE]|3[aA]))[.%b]{0,100}+){0,60})" % (
    (_CHARACTERS,) * 3
)

Origins = Mapping[tuple[str, int], Collection[str]]
"""Host and port of upstreams, and their paths without a final slash."""


def link_pattern(syntax: UrlSyntax, origins: Origins, upstream: UpstreamUrl, scheme: bytes) -> re.Pattern[bytes]:
    """Return the pattern for links of a document in a response of one upstream. Its group is the beginning of a link:
    all up to the end of the longest path of an upstream that it is under, with the slash behind it.
    """
    slashes, border = [b"/"], b"(?<![A-Za-z0-9+.-]%b)" % scheme
    if syntax.escape_start == b"\\":
        slashes, border = [b"/", rb"\/"], rb"(?:%b|(?<=\\[bfnrt]%b))" % (border, scheme)
    hosts = [*_usual_paths(origins, upstream)]
    urls = b"|".join(_url_pattern(hosts, slash, syntax.link_end) for slash in slashes)
    return re.compile(b"(%b%b[sS]?(?:%b))(?=%b(?:%b))" % (scheme, border, urls, PATH_REST, syntax.link_end))


def reference_pattern(syntax: UrlSyntax, paths: Collection[str]) -> re.Pattern[bytes] | None:
    """Return the pattern for paths that are a whole string; None if there are no such values or too many paths."""
    begin = common_prefix(paths) if 0 < len(paths) <= MANY_PATHS else ""
    if not begin or not syntax.reference_end:
        return None
    first = re.escape(begin.encode("latin-1", "replace"))
    rest = _paths_pattern([path.removeprefix(begin) for path in paths], b"/")
    after = rb"%b(?:[?#][^\"\\\x00-\x20<>]{0,1000}+)?%b" % (PATH_REST, syntax.reference_end)
    return re.compile(b'(%b(?<=[^\\\\]"%b)%b(?:/(?!\\\\?/|\\.)|(?=[?#"])))(?=%b)' % (first, first, rest, after))


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
    return b":%b(?:%b)(?:%b(?!\\.)|(?=%b))" % (spelt * 2, b"|".join(urls) or b"(?!)", spelt, end)


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
