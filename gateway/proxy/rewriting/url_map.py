"""Map URLs of OIC to URLs of the gateway: one URL of a body, or the fields `Location`, `Content-Location` and `Link`
(RFC 9110 §10.2.2, §8.7, RFC 8288).

A URL under the upstream of a route becomes a URL under the path of that route; the rest of it passes unchanged. OIC
writes its URLs with and without `:443`, as http or https, in any letter case: all of them mean the same upstream.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from itertools import product
from typing import NamedTuple

import msgspec

from gateway.proxy.rewriting.decoded_url import (
    CODED_HOST,
    CODED_PATH,
    CODED_START,
    SENTENCE_ENDS,
    UrlSyntax,
    decode_percent,
    decode_url,
    encode_head,
    split_url,
)
from gateway.proxy.rewriting.literals import LiteralSearch
from gateway.proxy.rewriting.url_syntax import SYNTAXES
from gateway.proxy.routing import DOT_SEGMENT, OriginTable, PrefixTable, UpstreamUrl

# A reference with a path of its own (RFC 3986 §4.2): scheme and authority, or without one or both of them.
REFERENCE = re.compile(
    r"(?:(?:(https?):)?//([^/?#]*))?((?:/[^?#]*)?)((?:[?#].*)?)", re.IGNORECASE | re.ASCII | re.DOTALL
)
PREPARED = 4
"""Hosts whose patterns are compiled in advance. Upstreams with the same host have the same ones, which `re` keeps."""
MAX_CODED_URL = 8 * 1024  # bytes after which a URL inside a query counts as ended
DOT_SEGMENTS = re.compile(DOT_SEGMENT, re.IGNORECASE | re.ASCII)
# Quoted strings are skipped: a `<` in a parameter begins no target (RFC 8288 §3). Each byte is read once.
# The parameter `anchor` contains a reference too (§3.2).
LINK_TARGET = re.compile(
    r'<([^<>]*)>|(;[ \t]*anchor[ \t]*=[ \t]*)(?:"((?:[^"\\]|\\.)*+)"|([^;,"\s]+))|"(?:[^"\\]|\\.)*+"?',
    re.DOTALL | re.IGNORECASE | re.ASCII,
)
QUOTED_PAIR = re.compile(r"\\(.)", re.DOTALL)
NEEDS_PAIR = re.compile(r'["\\]')


class RequestContext(msgspec.Struct, frozen=True):
    """The request whose response is rewritten."""

    upstream: UpstreamUrl
    """The upstream that answered, for references without a host."""
    public: str
    """The gateway's URL for the caller, without a final slash: `http://gw:8080`, or `public_url` with its path."""
    proxied_as: str = ""
    """Scheme and authority of OIC as the caller wrote them (`http://acme`) if it uses the gateway as its HTTP proxy:
    then URLs keep OIC's authority."""
    route_path: str | None = None
    """The path of the route that answered: several routes may share its upstream."""

    @property
    def root(self) -> str:
        """The path of `public`, below which the paths of routes are."""
        _, slash, path = self.public.partition("://")[2].partition("/")
        return slash + path


UpstreamTable = OriginTable[tuple[UpstreamUrl, str]]
Paths = list[PrefixTable[tuple[UpstreamUrl, str]]]


class Replacement(NamedTuple):
    """The new beginning of a URL: `head` replaces scheme, authority and the first `taken` characters of the path."""

    head: str
    taken: int


class LiteralSearches(dict[tuple[str, UpstreamUrl], LiteralSearch]):
    """The search for URLs of all upstreams of the configuration, by the kind of a document and the upstream that
    answers; made when it is needed. The maps of all scopes share it: it finds too much for some.
    """

    def __init__(self, origins: UpstreamTable) -> None:
        super().__init__()
        self._origins = origins

    def __missing__(self, key: tuple[str, UpstreamUrl]) -> LiteralSearch:
        kind, upstream = key
        own = self._origins.prefixes_at(upstream.scheme, upstream.authority)
        paths = [path for table in own for path in table.prefixes]
        search = self[key] = LiteralSearch(SYNTAXES[kind], self._origins.paths, upstream, paths)
        return search


@dataclass(frozen=True, slots=True)
class UrlMap:
    """The upstreams of routes, and the gateway's paths for them."""

    origins: UpstreamTable
    """URL prefix of an upstream → the upstream and the path of its route."""
    searches: LiteralSearches = field(compare=False, repr=False)

    @classmethod
    def from_routes(
        cls,
        routes: Iterable[tuple[UpstreamUrl, str]],
        *,
        design_urls: Iterable[tuple[UpstreamUrl, UpstreamUrl]] = (),
        kinds: Iterable[str] = (),
    ) -> "UrlMap":
        """Compile the (upstream, route path) pairs of all routes.

        `design_urls` are pairs of an upstream and the same path on its design host. A URL under the latter belongs to
        the route of the upstream, unless a route has it as its own upstream. The patterns for documents of `kinds` are
        compiled too, for the first upstreams: that takes milliseconds, which a response should not wait.
        """
        pairs = [*routes]
        origins = _upstream_table(pairs, design_urls)
        url_map = cls(origins, LiteralSearches(origins))
        hosts = {base.authority: base for base, _ in reversed(pairs)}
        for kind, base in product(kinds, [*hosts.values()][:PREPARED]):
            url_map.searches[kind, base].prepare()
        return url_map

    def for_scope(
        self,
        routes: Iterable[tuple[UpstreamUrl, str]],
        *,
        design_urls: Iterable[tuple[UpstreamUrl, UpstreamUrl]] = (),
        main: "UrlMap | None" = None,
    ) -> "UrlMap":
        """Return the map for responses of these routes only. They come before those of `main`, whose upstreams may lie
        below theirs; a URL under neither belongs to another scope, and stays.
        """
        return replace(self, origins=_upstream_table(routes, design_urls, None if main is None else main.origins))

    def rewrite(self, url: str, context: RequestContext) -> str:
        """Return the gateway's URL for a URL of a response head. URLs that are percent-encoded in its query are
        rewritten too.
        """
        parts = REFERENCE.fullmatch(url)
        if parts is None:
            return url
        scheme, authority, path, tail = parts.groups()
        if "%" in tail:
            new_tail = self._rewrite_coded(tail.encode("latin-1", "replace"), context) or tail
            url, tail = url.removesuffix(tail) + new_tail, new_tail
        replacement = self.replacement(scheme, authority, path, context)
        return url if replacement is None else f"{replacement.head}{path[replacement.taken :]}{tail}"

    def _rewrite_coded(self, raw: bytes, context: RequestContext) -> str:
        """Return a query with its percent-encoded URLs rewritten; empty if there are none of our upstreams."""
        out, copied, position = "", 0, 0
        while found := CODED_START.search(raw, position):
            secure, colon, slash = found.groups()
            position = found.end()
            host = CODED_HOST.match(raw, position)
            host_text = decode_percent(host[0]).text if host else ""
            paths = self.paths_at("https" if secure else "http", host_text, context)
            run = CODED_PATH.match(raw, position, position + MAX_CODED_URL) if paths else None
            if run is None:
                continue
            decoded = decode_percent(run[0])
            authority, path = split_url(decoded.text)
            replacement = None
            if authority == host_text:
                replacement = self.replacement_at(paths, path, context, has_host=True)
            if replacement is not None:
                head = encode_head(replacement.head, (), (colon, slash), is_coded=True)
                out += (raw[copied : found.start()] + head).decode("latin-1")
                copied = position + decoded.raw_size(len(authority) + replacement.taken)
            position += decoded.raw_size(len(authority) + len(path))
        return out and out + raw[copied:].decode("latin-1")

    def replacement(
        self, scheme: str | None, authority: str | None, path: str, context: RequestContext
    ) -> Replacement | None:
        """Return the replacement for a URL without its query, None if it is under no upstream. The scheme, or scheme
        and authority, may be missing (RFC 3986 §4.2).
        """
        if authority is None and not path:
            return None
        paths = self.paths_at(scheme, authority, context)
        return self.replacement_at(paths, path, context, has_host=authority is not None)

    def paths_at(self, scheme: str | None, authority: str | None, context: RequestContext) -> Paths:
        """Return the upstream paths at the authority of a URL."""
        own = context.upstream
        return self.origins.prefixes_at(
            (scheme or own.scheme).lower(), own.authority if authority is None else authority
        )

    def replacement_at(self, paths: Paths, path: str, context: RequestContext, *, has_host: bool) -> Replacement | None:
        """Return the replacement for a URL with `paths` at its authority."""
        if (context.proxied_as and not has_host) or _has_dot_segment(path):
            return None
        found = next((found for table in paths if (found := table.find(path or "/"))), None)
        if found is None:
            return None
        (base, prefix), rest = found
        own = context.upstream
        if context.proxied_as:
            return Replacement(_proxied_origin(base, own, context.proxied_as), 0)
        if context.route_path is not None and (base is own or _key(base) == _key(own)):
            prefix = context.route_path.rstrip("/")
        head = f"{context.public if has_host else context.root}{prefix}"
        if not path or not (prefix or rest):
            head += "/"
        elif (head or rest).startswith("//"):
            # A reference that begins with two slashes would name a host (RFC 3986 §4.2).
            head = f"/.{head}"
        return Replacement(head, len(path) - len(rest) if path else 0)

    def new_beginning(self, old: bytes, syntax: UrlSyntax, context: RequestContext) -> bytes:
        """Return the beginning of the gateway's URL for that of a link (`link_pattern`)."""
        decoded = decode_url(old, syntax, is_coded=False)
        parts, slash = REFERENCE.fullmatch(decoded.text), syntax.slash.search(old)
        if parts is None or slash is None:
            return old
        scheme, authority, path, _ = parts.groups()
        replacement = self.replacement(scheme, authority, path, context)
        if replacement is None:
            return old
        stop = decoded.raw_size(len(decoded.text) - len(path) + replacement.taken)
        return encode_head(replacement.head, syntax.to_escape, (b":", slash[0]), is_coded=False) + old[stop:]

    def replacement_in_text(
        self, paths: Paths, path: str, context: RequestContext, *, has_host: bool, is_value: bool
    ) -> Replacement | None:
        """Return the replacement for a URL of a body with `paths` at its authority.

        In running text, unlike in a value, a mark that ends a sentence is not part of the URL; a dot segment is.
        """
        shorter = path if is_value else path.rstrip(SENTENCE_ENDS)
        if shorter != path and not shorter.endswith("/"):
            replacement = self.replacement_at(paths, shorter, context, has_host=has_host)
            if replacement is not None:
                return replacement
        return self.replacement_at(paths, path, context, has_host=has_host)

    def rewrite_link(self, value: str, context: RequestContext) -> str:
        """Return a Link field with all of its targets and anchors rewritten."""

        def rewrite_match(match: re.Match[str]) -> str:
            target, parameter, quoted, bare = match.groups()
            if target is not None:
                return f"<{self.rewrite(target, context)}>"
            if parameter is None:
                return match[0]
            if bare is not None:
                return f"{parameter}{self.rewrite(bare, context)}"
            url = QUOTED_PAIR.sub(r"\1", quoted)
            new_url = self.rewrite(url, context)
            return match[0] if new_url == url else f'{parameter}"{NEEDS_PAIR.sub(_quote_pair, new_url)}"'

        return LINK_TARGET.sub(rewrite_match, value)


def _upstream_table(
    routes: Iterable[tuple[UpstreamUrl, str]],
    design_urls: Iterable[tuple[UpstreamUrl, UpstreamUrl]],
    fallback: UpstreamTable | None = None,
) -> UpstreamTable:
    pairs = [(base, (base, path.rstrip("/"))) for base, path in routes]
    first = {_key(base): value for base, value in reversed(pairs)}
    aliases = [(design, first[_key(base)]) for base, design in design_urls if _key(base) in first]
    return OriginTable(pairs + aliases, fallback=fallback)


def _quote_pair(match: re.Match[str]) -> str:
    return f"\\{match[0]}"


def _proxied_origin(base: UpstreamUrl, own: UpstreamUrl, proxied_as: str) -> str:
    """Return scheme and authority for a caller that uses the gateway as its proxy: its own spelling for the upstream
    that it named, and its scheme for any other one, so that the next request reaches the gateway too.
    """
    if (base.host, base.port) == (own.host, own.port):
        return proxied_as
    return f"{proxied_as.partition('://')[0]}://{base.authority}"


def _has_dot_segment(path: str) -> bool:
    # A dot segment begins with a dot behind a slash, or with an escape of either.
    return ("/." in path or "%2" in path) and DOT_SEGMENTS.search(path) is not None


def _key(base: UpstreamUrl) -> tuple[str, int, str]:
    return base.host, base.port, base.path.rstrip("/")
