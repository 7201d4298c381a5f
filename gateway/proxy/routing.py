"""Pure: from a raw request target to a route and the upstream's target, byte for byte.

Prefixes match on segment boundaries of the raw path; nothing is decoded. Paths that a server could resolve to outside
the prefix (dot segments in any encoding, encoded slashes, backslashes, NUL) are rejected before matching (RFC 3986
§6.2.2.3, RFC 9110 §17.1). Empty segments pass unchanged: without dot segments they are harmless. Of several routes with
the same upstream URL, the first one listed counts.
"""

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Generic, TypeVar
from urllib.parse import urlsplit

import msgspec

from gateway.content.untrusted_text import (
    DEFAULT_PORTS,
    bracket_ipv6,
    format_authority,
    normalize_host,
    resolve_authority,
)
from gateway.errors import BadRequest, NoRoute

R = TypeVar("R")

# One search over the path. `(?:25)*`: some servers decode twice (WebLogic did, CVE-2020-14882), so a dot segment counts
# however often its percent signs are escaped. `;`: servers remove path parameters before they resolve dot segments.
SLASH = r"(?:/|%(?:25)+(?:2f|5c))"
DOT_SEGMENT = rf"{SLASH}(?:\.|%(?:25)*2e){{1,2}}(?:(?:;|%(?:25)*3b)[^/]*)?(?:{SLASH}|\Z)"
OVERLONG = r"c[01]%[89ab]|e0%[89]|f0%8"  # overlong UTF-8 of slash, dot or NUL (RFC 3629 §3)
AMBIGUOUS_PATH = re.compile(
    rf"[\x00-\x20\x7f#\\]|%(?:00|2f|5c|{OVERLONG}|(?![0-9a-f]{{2}}))|{DOT_SEGMENT}", re.IGNORECASE | re.ASCII
)
# Most paths, found at half the cost: segments of unreserved characters, none of which begins with a dot.
PLAIN_PATH = re.compile(r"(?:/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)*/?")
INVALID_IN_QUERY = re.compile(r"[\x00-\x20\x7f#]")
CACHED_LENGTH = 128  # maximum characters of a cached authority: callers and responses choose them
ABSOLUTE_FORM = re.compile(r"(https?)://([^/?#]*)(.*)", re.IGNORECASE | re.ASCII | re.DOTALL)


@dataclass(frozen=True, slots=True)
class UpstreamUrl:
    """The upstream URL of a route: host in lower case, path as written."""

    scheme: str
    host: str
    port: int
    path: str

    @classmethod
    def parse(cls, url: str) -> "UpstreamUrl":
        """Parse a URL that the configuration has checked."""
        split = urlsplit(url)
        scheme = split.scheme.lower()
        return cls(scheme, (split.hostname or "").lower(), split.port or DEFAULT_PORTS[scheme], split.path or "/")

    @property
    def authority(self) -> str:
        """Return the value of the Host field: with the port unless it is the scheme's default (RFC 9110 §4.2.3)."""
        is_default = self.port == DEFAULT_PORTS[self.scheme]
        return bracket_ipv6(self.host) if is_default else format_authority(self.host, self.port)


class RouteMatch(msgspec.Struct, Generic[R], frozen=True):
    """The route of a request, the target to send, and the path to record."""

    route: R
    target: str
    path: str
    proxied_as: str = ""
    """The origin of an absolute-form target, as the caller wrote it: `http://authority`; else empty."""
    method: str = ""
    """The method that decides on retries if it is not the request's own (`method_override`); else empty."""


class PrefixTable(Generic[R]):
    """Finds the longest prefix on segment boundaries. The cost grows with the segments of a path, not with
    the routes.
    """

    def __init__(self, entries: Iterable[tuple[str, R]]) -> None:
        self._by_prefix: dict[str, R] = {}
        for prefix, value in entries:
            self._by_prefix.setdefault(prefix.rstrip("/"), value)
        self._longest = max(map(len, self._by_prefix), default=0)

    @property
    def prefixes(self) -> Collection[str]:
        """Return all prefixes, without a slash at their end."""
        return self._by_prefix.keys()

    def find(self, path: str) -> tuple[R, str] | None:
        """Return the value and the rest of the path behind its prefix ("" or beginning with a slash), or None."""
        end = len(path) if len(path) <= self._longest else path.rfind("/", 0, self._longest + 1)
        while end >= 0:
            found = self._by_prefix.get(path[:end])
            if found is not None:
                return found, path[end:]
            end = path.rfind("/", 0, end)
        return None


class OriginTable(Generic[R]):
    """Finds values by upstream URL: for absolute targets and for URLs in responses."""

    def __init__(self, entries: Iterable[tuple[UpstreamUrl, R]]) -> None:
        grouped: dict[tuple[str, int], list[tuple[str, R]]] = {}
        for base, value in entries:
            grouped.setdefault((normalize_host(base.host), base.port), []).append((base.path, value))
        self._by_origin = {origin: PrefixTable(paths) for origin, paths in grouped.items()}

    @property
    def paths(self) -> dict[tuple[str, int], Collection[str]]:
        """Return the paths of all upstreams by host and port, without a slash at their end."""
        return {origin: prefixes.prefixes for origin, prefixes in self._by_origin.items()}

    def has_origin(self, scheme: str, authority: str) -> bool:
        """Return whether some upstream has this authority."""
        return bool(self.prefixes_at(scheme, authority))

    def prefixes_at(self, scheme: str, authority: str) -> list[PrefixTable[R]]:
        """Return the path tables of the upstreams with this authority."""
        return [self._by_origin[origin] for origin in _origins(scheme, authority) if origin in self._by_origin]

    def find(self, scheme: str, authority: str, path: str) -> tuple[R, str] | None:
        """Return the value whose upstream URL is the longest prefix, and the rest of the path; or None."""
        for origin in _origins(scheme, authority):
            prefixes = self._by_origin.get(origin)
            if prefixes is not None and (found := prefixes.find(path or "/")) is not None:
                return found
        return None


class Router(Generic[R]):
    """Resolves request targets to routes."""

    def __init__(self, entries: Iterable[tuple[str, UpstreamUrl, R]]) -> None:
        listed = list(entries)
        self._paths = PrefixTable((path, (base.path, base.path.rstrip("/"), value)) for path, base, value in listed)
        self._origins = OriginTable((base, value) for _, base, value in listed)

    def resolve_path(self, target: str) -> RouteMatch[R]:
        """Resolve an origin-form target. Raise BadRequest for an ambiguous path, NoRoute if no prefix matches."""
        path, query = _split(target)
        found = self._paths.find(path) if path.startswith("/") else None
        if found is None:
            raise NoRoute
        (whole, stem, route), rest = found
        # The route's own path leads to the upstream URL as written; other paths replace its trailing slash.
        return RouteMatch(route, (stem + rest if rest else whole) + query, path)

    def resolve_absolute(self, target: str) -> RouteMatch[R] | None:
        """Resolve an absolute-form target under a route's upstream (RFC 9112 §3.2.2). Return None if no upstream has
        its authority. Raise BadRequest and NoRoute as `resolve_path` does.
        """
        match = ABSOLUTE_FORM.fullmatch(target)
        if match is None or not self._origins.has_origin(match[1].lower(), match[2]):
            return None
        scheme = match[1].lower()
        path, query = _split(match[3] if match[3].startswith("/") else "/" + match[3])
        found = self._origins.find(scheme, match[2], path)
        if found is None:
            raise NoRoute
        return RouteMatch(found[0], path + query, path, proxied_as=f"{scheme}://{match[2]}")


def split_absolute(target: str) -> tuple[str, str] | None:
    """Return authority and origin-form of an absolute-form target; None for another form."""
    match = ABSOLUTE_FORM.fullmatch(target)
    if match is None:
        return None
    rest = match[3]
    return match[2], rest if rest.startswith("/") else "/" + rest


def _split(target: str) -> tuple[str, str]:
    """Return the path, and the query with its question mark. Raise BadRequest if one of them is ambiguous."""
    path, mark, query = target.partition("?")
    if PLAIN_PATH.fullmatch(path) is None and AMBIGUOUS_PATH.search(path):
        raise BadRequest("The path has a dot segment, an encoded slash, a backslash, NUL or a broken escape.")
    if query and INVALID_IN_QUERY.search(query):
        raise BadRequest("The query has a fragment, a blank or a control byte.")
    return path, mark + query


def _origins(scheme: str, authority: str) -> Sequence[tuple[str, int]]:
    """Return the (host, port) pairs of an authority. Without a port, or with the scheme's default, it means both http
    and https: a caller of plain HTTP names an https upstream as http. Return none for a malformed authority, or one
    with userinfo (RFC 9110 §4.2.4).
    """
    return _cached_origins(scheme, authority) if len(authority) <= CACHED_LENGTH else _read_origins(scheme, authority)


def _read_origins(scheme: str, authority: str) -> Sequence[tuple[str, int]]:
    default_port = DEFAULT_PORTS[scheme]
    origin = resolve_authority(authority, default_port=default_port)
    if origin is None:
        return ()
    host, port = origin
    return ((host, 443), (host, 80)) if port == default_port else (origin,)


_cached_origins = lru_cache(maxsize=1024)(_read_origins)
