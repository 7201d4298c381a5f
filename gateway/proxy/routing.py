"""Pure: from method and raw target to a route and the upstream's target, byte for byte.

Prefixes match on segment borders of the raw path; nothing is decoded. Whatever a server behind us could take for a
step out of the prefix (dot segments in any spelling, encoded slashes, backslashes, NUL) is refused before matching
(RFC 3986 §6.2.2.3, RFC 9110 §17.1). Empty segments pass as they are: without dot segments they lead nowhere else.
Of routes that share an upstream URL, the first one listed answers for it.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Generic, TypeVar
from urllib.parse import urlsplit

import msgspec

from gateway.content.foreign_text import AUTHORITY, DEFAULT_PORTS
from gateway.errors import BadRequest, NoRoute

R = TypeVar("R")

# One search over the path. `(?:25)*`: some servers decode twice (WebLogic did, CVE-2020-14882), so a dot segment is one
# however often its percent signs are escaped. `;`: they cut path parameters off before they look for dot segments.
SLASH = r"(?:/|%(?:25)+(?:2f|5c))"
DOT_SEGMENT = rf"{SLASH}(?:\.|%(?:25)*2e){{1,2}}(?:(?:;|%(?:25)*3b)[^/]*)?(?:{SLASH}|\Z)"
OVERLONG = r"c[01]%[89ab]|e0%[89]|f0%8"  # UTF-8 longer than need be (RFC 3629 §3): slash, dot or NUL in disguise
AMBIGUOUS = re.compile(
    rf"[\x00-\x20\x7f#\\]|%(?:00|2f|5c|{OVERLONG}|(?![0-9a-f]{{2}}))|{DOT_SEGMENT}", re.IGNORECASE | re.ASCII
)
# What most paths are, found at half the price: segments of unreserved characters, and none begins with a dot.
PLAIN = re.compile(r"(?:/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)*/?")
NO_QUERY = re.compile(r"[\x00-\x20\x7f#]")
ABSOLUTE = re.compile(r"(https?)://([^/?#]*)(.*)", re.IGNORECASE | re.ASCII | re.DOTALL)


@dataclass(frozen=True, slots=True)
class UpstreamUrl:
    """The upstream URL of a route, taken apart: host in lower case, path as written."""

    scheme: str
    host: str
    port: int
    path: str

    @classmethod
    def parse(cls, url: str) -> "UpstreamUrl":
        """Reads a URL that the configuration has checked."""
        parts = urlsplit(url)
        scheme = parts.scheme.lower()
        return cls(scheme, (parts.hostname or "").lower(), parts.port or DEFAULT_PORTS[scheme], parts.path or "/")

    @property
    def authority(self) -> str:
        """For the Host field: the port only where it is not the scheme's own (RFC 9110 §4.2.3)."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"


class RouteMatch(msgspec.Struct, Generic[R], frozen=True):
    """Where a request goes: its route, the target to send, the path to record."""

    route: R
    target: str
    path: str
    proxied_as: str = ""
    """How a caller that uses the gateway as its HTTP proxy named the upstream: `http://authority`; else empty."""
    method: str = ""
    """The method that decides on retries, where the request names another one beside its own (`method_override`)."""


class PrefixTable(Generic[R]):
    """Longest prefix on segment borders; the cost grows with the segments of a path, not with the number of routes."""

    def __init__(self, entries: Iterable[tuple[str, R]]) -> None:
        self._by_prefix: dict[str, R] = {}
        for prefix, value in entries:
            self._by_prefix.setdefault(prefix.rstrip("/"), value)
        self._longest = max(map(len, self._by_prefix), default=0)

    @cached_property
    def _inner(self) -> set[str]:
        """The heads of all prefixes below which others lie."""
        inner: set[str] = set()
        for prefix in self._by_prefix:
            end = prefix.rfind("/")
            while end >= 0 and prefix[:end] not in inner:  # else all above it are there too
                inner.add(prefix[:end])
                end = prefix.rfind("/", 0, end)
        return inner

    def unbranched_end(self, path: str) -> int:
        """The end of the first head of a path below which no prefix lies: `find` gives the same value for all that goes
        on behind it with a slash. -1 where nothing does.
        """
        end = path.find("/")
        while end >= 0 and path[:end] in self._inner:
            end = path.find("/", end + 1)
        return end

    def find(self, path: str) -> tuple[R, str] | None:
        """Gives the value and what of the path lies behind its prefix ("" or from a slash on), or None."""
        end = len(path) if len(path) <= self._longest else path.rfind("/", 0, self._longest + 1)
        while end >= 0:
            found = self._by_prefix.get(path[:end])
            if found is not None:
                return found, path[end:]
            end = path.rfind("/", 0, end)
        return None


class OriginTable(Generic[R]):
    """What lies under which upstream URL: for absolute targets and for URLs in replies."""

    def __init__(self, entries: Iterable[tuple[UpstreamUrl, R]]) -> None:
        grouped: dict[tuple[str, int], list[tuple[str, R]]] = {}
        for base, value in entries:
            grouped.setdefault((base.host, base.port), []).append((base.path, value))
        self._by_origin = {origin: PrefixTable(paths) for origin, paths in grouped.items()}

    def has_origin(self, scheme: str, authority: str) -> bool:
        """True when some upstream is at this authority."""
        return bool(self.prefixes_at(scheme, authority))

    def prefixes_at(self, scheme: str, authority: str) -> list[PrefixTable[R]]:
        """Gives the paths of the upstreams at this authority."""
        return [self._by_origin[origin] for origin in _origins(scheme, authority) if origin in self._by_origin]

    def find(self, scheme: str, authority: str, path: str) -> tuple[R, str] | None:
        """Gives the value whose upstream URL is the longest prefix, and the rest of the path."""
        for origin in _origins(scheme, authority):
            prefixes = self._by_origin.get(origin)
            if prefixes is not None and (found := prefixes.find(path or "/")) is not None:
                return found
        return None


class Router(Generic[R]):
    """The compiled table of routes."""

    def __init__(self, entries: Iterable[tuple[str, UpstreamUrl, R]]) -> None:
        listed = list(entries)
        self._paths = PrefixTable((path, (base.path, base.path.rstrip("/"), value)) for path, base, value in listed)
        self._origins = OriginTable((base, value) for _, base, value in listed)

    def resolve_path(self, target: str) -> RouteMatch[R]:
        """Settles an origin-form target. Raises BadRequest for an ambiguous path, NoRoute where no prefix fits."""
        path, query = _split(target)
        found = self._paths.find(path) if path.startswith("/") else None
        if found is None:
            raise NoRoute
        (whole, stem, route), rest = found
        # A call to the route's own path reaches the upstream URL as it is written; else the rest takes its place.
        return RouteMatch(route, (stem + rest if rest else whole) + query, path)

    def resolve_absolute(self, target: str) -> RouteMatch[R] | None:
        """Settles an absolute-form target that lies under a route's upstream (RFC 9112 §3.2.2); None where its
        authority is nobody's upstream. Raises BadRequest and NoRoute as `find` does.
        """
        parts = ABSOLUTE.fullmatch(target)
        if parts is None or not self._origins.has_origin(parts[1].lower(), parts[2]):
            return None
        scheme = parts[1].lower()
        path, query = _split(parts[3] if parts[3].startswith("/") else "/" + parts[3])
        found = self._origins.find(scheme, parts[2], path)
        if found is None:
            raise NoRoute
        return RouteMatch(found[0], path + query, path, proxied_as=f"{scheme}://{parts[2]}")


def split_absolute(target: str) -> tuple[str, str] | None:
    """Gives authority and origin-form of an absolute-form target, or None when it is not one."""
    parts = ABSOLUTE.fullmatch(target)
    if parts is None:
        return None
    rest = parts[3]
    return parts[2], rest if rest.startswith("/") else "/" + rest


def _split(target: str) -> tuple[str, str]:
    """Gives the path, and the query from its question mark on. Raises BadRequest for what has two readings."""
    path, mark, query = target.partition("?")
    if PLAIN.fullmatch(path) is None and AMBIGUOUS.search(path):
        raise BadRequest("The path has a dot segment, an encoded slash, a backslash, NUL or a broken escape.")
    if query and NO_QUERY.search(query):
        raise BadRequest("The query has a fragment, a blank or a control byte.")
    return path, mark + query


def _origins(scheme: str, authority: str) -> list[tuple[str, int]]:
    """The (host, port) pairs that an authority may mean: without a port, or with the scheme's own, both http and https
    are meant, since a caller of plain HTTP names an https upstream as http. None for a malformed one or one with a user
    (RFC 9110 §4.2.4).
    """
    parts = AUTHORITY.fullmatch(authority.lower())
    if parts is None:
        return []
    host, port = parts[1] or parts[2], int(parts[3] or DEFAULT_PORTS[scheme])
    return [(host, 443), (host, 80)] if port == DEFAULT_PORTS[scheme] else [(host, port)]
