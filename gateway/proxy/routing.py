"""Pure: from a raw request target to a route and the upstream's target, byte for byte.

Prefixes match on segment boundaries of the raw path; nothing is decoded. Paths that a server could resolve to outside
the prefix (dot segments in any encoding, encoded slashes, backslashes, NUL) are rejected before matching (RFC 3986
§6.2.2.3, RFC 9110 §17.1). Empty segments pass unchanged: without dot segments they are harmless. Of several routes of
one scope with the same upstream URL, the first one listed counts.
"""

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Generic, NamedTuple, TypeVar
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
INVALID_IN_QUERY = re.compile(r"[\x00-\x20\x7f#]")
# Most targets, found at half the cost: segments of unreserved characters, none of which begins with a dot, and a query.
PLAIN_TARGET = re.compile(r"((?:/[A-Za-z0-9_~-][A-Za-z0-9._~-]*+)++/?|/)(|\?[^\x00-\x20\x7f#]*+)")
CACHED_LENGTH = 128  # maximum characters of a cached authority: callers and responses choose them
ABSOLUTE_FORM = re.compile(r"(https?)://([^/?#]*)(.*)", re.IGNORECASE | re.ASCII | re.DOTALL)


class UpstreamUrl(NamedTuple):
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
        self._search_size = max(map(len, self._by_prefix), default=0) + 1
        """Where the slash behind a prefix may be, at most."""

    @property
    def prefixes(self) -> Collection[str]:
        """Return all prefixes, without a slash at their end."""
        return self._by_prefix.keys()

    def find(self, path: str) -> tuple[R, str] | None:
        """Return the value and the rest of the path behind its prefix ("" or beginning with a slash), or None."""
        end = path.rfind("/", 0, self._search_size) if len(path) >= self._search_size else len(path)
        while end >= 0:
            found = self._by_prefix.get(path[:end])
            if found is not None:
                return found, path[end:]
            end = path.rfind("/", 0, end)
        return None


class OriginTable(Generic[R]):
    """Finds values by upstream URL, for URLs in responses."""

    def __init__(self, entries: Iterable[tuple[UpstreamUrl, R]], *, fallback: "OriginTable[R] | None" = None) -> None:
        """`fallback` has the values of URLs that are under none of these upstreams."""
        grouped: dict[tuple[str, int], list[tuple[str, R]]] = {}
        for base, value in entries:
            grouped.setdefault((normalize_host(base.host), base.port), []).append((base.path, value))
        self._by_origin = {origin: PrefixTable(paths) for origin, paths in grouped.items()}
        self._fallback = fallback

    @property
    def paths(self) -> dict[tuple[str, int], Collection[str]]:
        """Return the paths of all upstreams by host and port, without a slash at their end."""
        return {origin: prefixes.prefixes for origin, prefixes in self._by_origin.items()}

    def has_origin(self, scheme: str, authority: str) -> bool:
        """Return whether some upstream has this authority."""
        return bool(self.prefixes_at(scheme, authority))

    def prefixes_at(self, scheme: str, authority: str) -> list[PrefixTable[R]]:
        """Return the path tables of the upstreams with this authority, in the order in which they are searched."""
        tables = [self._by_origin[origin] for origin in _origins(scheme, authority) if origin in self._by_origin]
        return tables if self._fallback is None else tables + self._fallback.prefixes_at(scheme, authority)


class _UpstreamClaim(NamedTuple, Generic[R]):
    """An upstream as a candidate for the absolute targets below it."""

    scope: str
    rank: int
    """The place of its port among those that the authority means (`_origins`)."""
    prefix: str
    value: R


class AbsoluteTargetTable(Generic[R]):
    """Finds values by absolute target. Each value has a scope: the main one is empty, another one is that of a team.

    A target under an upstream of the main scope belongs to the longest one there. Another target belongs to the longest
    upstream of a team if it is under upstreams of this team alone: a team must not take the targets of another one.
    """

    def __init__(self, entries: Iterable[tuple[str, UpstreamUrl, R]]) -> None:
        """Decide for each upstream who gets the targets below it, so that a request pays for one search."""
        grouped: dict[tuple[tuple[str, int], ...], dict[str, list[_UpstreamClaim[R]]]] = {}
        for scope, base, value in entries:
            host, prefix = normalize_host(base.host), base.path.rstrip("/")
            # Each way in which an authority can mean this port: alone, or as one of the two default ports.
            named = [((host, base.port),), *([_default_ports(host)] if base.port in DEFAULT_PORTS.values() else [])]
            for origins in named:
                claim = _UpstreamClaim(scope, origins.index((host, base.port)), prefix, value)
                grouped.setdefault(origins, {}).setdefault(prefix, []).append(claim)
        self._by_origins = {origins: PrefixTable(_decide_all(claims)) for origins, claims in grouped.items()}

    def has_origin(self, scheme: str, authority: str) -> bool:
        """Return whether some upstream has this authority."""
        return _origins(scheme, authority) in self._by_origins

    def find(self, scheme: str, authority: str, path: str) -> R | None:
        """Return the value of a target, None if it is under no upstream. Raise NoRoute if it is under upstreams of
        several teams.
        """
        prefixes = self._by_origins.get(_origins(scheme, authority))
        found = None if prefixes is None else prefixes.find(path or "/")
        if found is None:
            return None
        if not found[0]:
            raise NoRoute("The target is under upstreams of several teams. Call the gateway by the path of a route.")
        return found[0][0]


class Router(Generic[R]):
    """Resolves request targets to routes."""

    def __init__(
        self, entries: Iterable[tuple[str, UpstreamUrl, R]], *, scope_of: Callable[[R], str] = lambda _: ""
    ) -> None:
        """Take path, upstream and route. `scope_of` returns the scope of a route (`AbsoluteTargetTable`)."""
        listed = list(entries)
        self._paths = PrefixTable((path, (base.path, base.path.rstrip("/"), value)) for path, base, value in listed)
        self._absolute = AbsoluteTargetTable((scope_of(value), base, value) for _, base, value in listed)

    def resolve_path(self, target: str) -> RouteMatch[R]:
        """Resolve an origin-form target. Raise BadRequest for an ambiguous path, NoRoute if no prefix matches."""
        plain = PLAIN_TARGET.fullmatch(target)
        if plain is not None:
            path, query = plain.groups()
        elif target[:1] == "/":
            path, query = _split(target)
        else:
            raise NoRoute
        if (found := self._paths.find(path)) is None:
            raise NoRoute
        (whole, stem, route), rest = found
        # The route's own path leads to the upstream URL as written; other paths replace its trailing slash.
        return RouteMatch(route, (stem + rest if rest else whole) + query, path)

    def resolve_absolute(self, target: str) -> RouteMatch[R] | None:
        """Resolve an absolute-form target under a route's upstream (RFC 9112 §3.2.2). Return None if no upstream has
        its authority. Raise BadRequest and NoRoute as `resolve_path` does.
        """
        match = ABSOLUTE_FORM.fullmatch(target)
        if match is None or not self._absolute.has_origin(match[1].lower(), match[2]):
            return None
        scheme = match[1].lower()
        path, query = _split(match[3] if match[3].startswith("/") else "/" + match[3])
        route = self._absolute.find(scheme, match[2], path)
        if route is None:
            raise NoRoute
        return RouteMatch(route, path + query, path, proxied_as=f"{scheme}://{match[2]}")


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
    if AMBIGUOUS_PATH.search(path):
        raise BadRequest("The path has a dot segment, an encoded slash, a backslash, NUL or a broken escape.")
    if query and INVALID_IN_QUERY.search(query):
        raise BadRequest("The query has a fragment, a blank or a control byte.")
    return path, mark + query


def _decide_all(claims: Mapping[str, list[_UpstreamClaim[R]]]) -> Iterator[tuple[str, tuple[R, ...]]]:
    """Yield the path of each upstream with the value for the targets below it (`_decide`)."""
    has_rivals = len({(claim.scope, claim.rank) for found in claims.values() for claim in found}) > 1
    for prefix, found in claims.items():
        yield prefix, _decide(claims, prefix) if has_rivals else (found[0].value,)


def _decide(claims: Mapping[str, list[_UpstreamClaim[R]]], prefix: str) -> tuple[R, ...]:
    """Return the value for targets whose longest upstream has this path; nothing if several teams claim them."""
    above = [claim for one in _prefixes_of(prefix) if one in claims for claim in claims[one]]
    if len(above) == 1:
        return (above[0].value,)
    owned = [claim for claim in above if not claim.scope]
    if not owned and len({claim.scope for claim in above}) == 1:
        owned = above
    # `min` returns the first of several equal claims.
    return (min(owned, key=lambda claim: (claim.rank, -len(claim.prefix))).value,) if owned else ()


def _prefixes_of(path: str) -> Iterator[str]:
    """Yield a path without a slash at its end, and all prefixes of it on segment boundaries."""
    yield path
    end = path.rfind("/")
    while end >= 0:
        yield path[:end]
        end = path.rfind("/", 0, end)


def _default_ports(host: str) -> tuple[tuple[str, int], ...]:
    return (host, 443), (host, 80)


def _origins(scheme: str, authority: str) -> tuple[tuple[str, int], ...]:
    """Return the (host, port) pairs of an authority. Without a port, or with the scheme's default, it means both http
    and https: a caller of plain HTTP names an https upstream as http. Return none for a malformed authority, or one
    with userinfo (RFC 9110 §4.2.4).
    """
    return _cached_origins(scheme, authority) if len(authority) <= CACHED_LENGTH else _read_origins(scheme, authority)


def _read_origins(scheme: str, authority: str) -> tuple[tuple[str, int], ...]:
    default_port = DEFAULT_PORTS[scheme]
    origin = resolve_authority(authority, default_port=default_port)
    if origin is None:
        return ()
    host, port = origin
    return _default_ports(host) if port == default_port else (origin,)


_cached_origins = lru_cache(maxsize=1024)(_read_origins)
