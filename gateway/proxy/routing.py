"""Pure: from method and raw target to a route and the upstream's target, byte for byte.

Prefixes match on segment borders of the raw path; nothing is decoded. Whatever a server behind us could take for a
step out of the prefix (dot segments in any spelling, encoded slashes, backslashes, NUL) is refused before matching
(RFC 3986 §6.2.2.3, RFC 9110 §17.1). Empty segments pass as they are: without dot segments they lead nowhere else.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar
from urllib.parse import urlsplit

from gateway.errors import BadRequest, NoRoute

R = TypeVar("R")

DEFAULT_PORTS = {"http": 80, "https": 443}

# One search over the path: control bytes, blanks, fragments, backslashes, broken escapes, escapes of NUL, slash and
# backslash (over-long UTF-8 spellings too), and segments that decode to `.` or `..`, with path parameters or without.
AMBIGUOUS = re.compile(
    r"[\x00-\x20\x7f#\\]"
    r"|%(?:00|2f|5c|c0%(?:ae|af)|c1%9c|e0%80%a[ef]|(?![0-9a-f]{2}))"
    r"|(?:^|/)(?:\.|%2e){1,2}(?:;[^/]*)?(?:/|$)",
    re.IGNORECASE,
)
ABSOLUTE = re.compile(r"(https?)://([^/?#]*)(.*)", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Base:
    """The upstream URL of a route, taken apart: host in lower case, path as written."""

    scheme: str
    host: str
    port: int
    path: str

    @classmethod
    def of(cls, url: str) -> "Base":
        """Reads a URL that the configuration has checked."""
        parts = urlsplit(url)
        scheme = parts.scheme.lower()
        return cls(scheme, (parts.hostname or "").lower(), parts.port or DEFAULT_PORTS[scheme], parts.path or "/")

    @property
    def authority(self) -> str:
        """For the Host field: the port only where it is not the scheme's own (RFC 9110 §4.2.3)."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Way(Generic[R]):
    """Where a request goes: its route, the target to send, the path to record."""

    route: R
    target: str
    path: str
    named: str = ""
    """How a caller that uses the gateway as its HTTP proxy named the upstream: `http://authority`; else empty."""


class Prefixes(Generic[R]):
    """Longest prefix on segment borders; the cost grows with the segments of a path, not with the number of routes."""

    def __init__(self, entries: Iterable[tuple[str, R]]) -> None:
        self._by_prefix = {prefix.rstrip("/"): value for prefix, value in entries}
        self._longest = max(map(len, self._by_prefix), default=0)

    def find(self, path: str) -> tuple[R, str] | None:
        """Gives the value and what of the path lies behind its prefix ("" or from a slash on), or None."""
        end = len(path) if len(path) <= self._longest else path.rfind("/", 0, self._longest + 1)
        while end >= 0:
            found = self._by_prefix.get(path[:end])
            if found is not None:
                return found, path[end:]
            end = path.rfind("/", 0, end)
        return None


class Origins(Generic[R]):
    """What lies under which upstream URL: for absolute targets and for URLs in replies."""

    def __init__(self, entries: Iterable[tuple[Base, R]]) -> None:
        grouped: dict[tuple[str, int], list[tuple[str, R]]] = {}
        for base, value in entries:
            grouped.setdefault((base.host, base.port), []).append((base.path, value))
        self._by_origin = {origin: Prefixes(paths) for origin, paths in grouped.items()}

    def knows(self, scheme: str, authority: str) -> bool:
        """True when some upstream is at this authority."""
        return any(origin in self._by_origin for origin in _origins(scheme, authority))

    def find(self, scheme: str, authority: str, path: str) -> tuple[R, str] | None:
        """Gives the value whose upstream URL is the longest prefix, and the rest of the path."""
        for origin in _origins(scheme, authority):
            prefixes = self._by_origin.get(origin)
            if prefixes is not None and (found := prefixes.find(path or "/")) is not None:
                return found
        return None


class Routing(Generic[R]):
    """The compiled table of routes."""

    def __init__(self, entries: Iterable[tuple[str, Base, R]]) -> None:
        listed = list(entries)
        self._paths: Prefixes[tuple[Base, R]] = Prefixes((path, (base, value)) for path, base, value in listed)
        self._origins = Origins((base, value) for _, base, value in listed)

    def find(self, target: str) -> Way[R]:
        """Settles an origin-form target. Raises BadRequest for an ambiguous path, NoRoute where no prefix fits."""
        path, mark, query = target.partition("?")
        _refuse_ambiguous(path)
        found = self._paths.find(path) if path.startswith("/") else None
        if found is None:
            raise NoRoute
        (base, route), rest = found
        # A call to the route's own path reaches the upstream URL as it is written; else the rest takes its place.
        joined = base.path if rest == "" else base.path.rstrip("/") + rest
        return Way(route, joined + mark + query, path)

    def find_absolute(self, target: str) -> Way[R] | None:
        """Settles an absolute-form target that lies under a route's upstream (RFC 9112 §3.2.2); None where its
        authority is nobody's upstream. Raises BadRequest and NoRoute as `find` does.
        """
        parts = ABSOLUTE.fullmatch(target)
        if parts is None or not self._origins.knows(parts[1].lower(), parts[2]):
            return None
        path, mark, query = parts[3].partition("?")
        _refuse_ambiguous(path)
        found = self._origins.find(parts[1].lower(), parts[2], path)
        if found is None:
            raise NoRoute
        return Way(found[0], (path or "/") + mark + query, path or "/", named=f"{parts[1].lower()}://{parts[2]}")


def split_absolute(target: str) -> tuple[str, str] | None:
    """Gives authority and origin-form of an absolute-form target, or None when it is not one."""
    parts = ABSOLUTE.fullmatch(target)
    if parts is None:
        return None
    rest = parts[3]
    return parts[2], rest if rest.startswith("/") else "/" + rest


def _refuse_ambiguous(path: str) -> None:
    if AMBIGUOUS.search(path):
        raise BadRequest("The path has a dot segment, an encoded slash, a backslash, NUL or a broken escape.")


def _origins(scheme: str, authority: str) -> list[tuple[str, int]]:
    """The (host, port) pairs that an authority may mean: without a port, or with the scheme's own, both http and https
    are meant, since a caller of plain HTTP names an https upstream as http.
    """
    host, colon, port = authority.lower().rpartition(":")
    if not colon or not port.isdecimal():
        host, port = authority.lower().removesuffix(":"), ""
    host = host.removeprefix("[").removesuffix("]")
    if len(port) > 5:
        return []
    if port and int(port) != DEFAULT_PORTS[scheme]:
        return [(host, int(port))]
    return [(host, 443), (host, 80)]
