"""Search a text for what all of our URLs contain: the host of an upstream, or the beginning of an upstream's path.

Most bodies contain neither. One scan shows it, and excludes what no route has: other ports, other paths, and paths that
are not the value of a link. What it may find has the same pattern for the scan and for `re`, which finds the places.
"""

import re
from collections.abc import Collection, Iterable, Mapping
from functools import cached_property
from itertools import chain, pairwise
from typing import cast

from gateway.proxy.rewriting.decoded_url import MAX_ESCAPE, MAX_START, UrlSyntax
from gateway.proxy.rewriting.links import MANY_PATHS, Origins, common_prefix, link_pattern, reference_pattern
from gateway.proxy.rewriting.pattern_scan import Scan, append_number, compile_scan, is_found
from gateway.proxy.routing import UpstreamUrl

NEIGHBOURS = 16  # bytes before a URL that make it one
EXACT_HOSTS = 4
"""If there are more hosts than this, the scan looks only for names: what may follow them takes long to compile."""
MANY_HOSTS = 8
"""If a domain has more hosts of ours than this, the scan looks for the end that their names have in common."""
MANY_BRANCHES = 4
"""If more segments than this continue a path, its pattern ends before them."""
MAX_SEGMENTS = 8  # of a path in a pattern
MAX_SEGMENT = 64  # characters of each
MAX_PATHS_PATTERN = 512
"""Bytes: a scan has less than 16,000, and longer ones take long to compile."""
SLASH_BYTE, PERCENT = b"/%"
IN_HOST = rb"a-z0-9.\-_~@"
LETTERS = b"[]abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~"
SLASH_END = b"[/f;]"
"""The last byte of a slash in any encoding: `/`, `%2f`, `\\u002f`, `&#47;`."""
SLASH = rb"(?:/|\\{1,3}/|%2f)"
SEGMENT_END = rb"(?:[^a-z0-9]|\Z)"
OPEN = rb"(?:\\(?:\\?[^\\/]|\\\\[^/]|\\{0,2}\Z)|%(?:[^2]|2[^f]|2?\Z)|&|\Z)"
"""The end of a text, or an escape that is no slash: anything may follow."""
Searches = dict[bytes, list[bytes]]
"""By the pattern of a scan: the patterns of `re` that find the places in a text in lower case. A place is the position
behind the slashes of a URL: that of the pattern's group, if it has one, else the start of the match."""


class LiteralSearch:
    """Finds the places where URLs of known hosts may be."""

    def __init__(self, syntax: UrlSyntax, origins: Origins, upstream: UpstreamUrl, own_paths: Collection[str]) -> None:
        """Take all upstreams, the one that answers, and the paths that a URL without a host belongs to."""
        self._syntax = syntax
        self._origins = origins
        self._upstream = upstream
        self._own_paths = own_paths
        self._ends = _host_ends(origins)
        hosts = _host_searches(self._ends, syntax)
        self._escape_byte = syntax.escape_start[0]
        escape = re.escape(syntax.escape_prefix)
        others = {escape: list[bytes]()} | _path_searches(own_paths, syntax)
        self._places = [*hosts.values(), *others.values()]
        self._escape = len(hosts)
        if len(hosts) <= EXACT_HOSTS:
            self._scans = [compile_scan((*hosts, *others))]
        else:  # all upstreams share the scan for hosts, which takes long to compile
            self._scans = [compile_scan(tuple(hosts)), compile_scan(tuple(others), self._escape)]
        self._scan_dots = compile_scan((rb"/\.", b"%2", escape))
        self._in_host = LETTERS + syntax.escape_bytes
        self._alphabet = self._in_host + b":/"
        self._not_first = bytes(byte for byte in self._alphabet if byte not in syntax.first_bytes)
        longest = max((len(text) for text in (*self._ends, *own_paths)), default=0)
        self.reach = MAX_START + MAX_ESCAPE * longest
        """Maximum bytes of the beginning of a URL up to the end of its host, or of its first path segment."""

    def find(self, text: bytes, before: bytes = b"") -> list[re.Pattern[bytes]]:
        """Return patterns that find all places in a text, with the last bytes before it, if it is in lower case."""
        text = before + text
        if SLASH_BYTE not in text and PERCENT not in text and self._escape_byte not in text:
            return []  # no slash in any encoding
        if not (found := self._scan(text)):
            return []
        if self._escape in found and is_found(compile_scan((self._syntax.escapes,)), text):
            unescaped = self._syntax.unescape(text)
            places = self._escaped if unescaped is None or is_found(self._scan_names, unescaped) else []
        else:
            places = [*dict.fromkeys(chain.from_iterable(self._places[number] for number in found))]
        lower = text.lower() if places else b""
        return [pattern for pattern in map(re.compile, places) if pattern.search(lower)]

    def may_be_in(self, text: bytes | memoryview) -> bool:
        """Return False if `find` certainly finds nothing in a text, which is not copied."""
        return bool(self._scan(cast(bytes, text)))  # Hyperscan scans any buffer

    def _scan(self, text: bytes) -> list[int]:
        """Return the numbers of the patterns that a text contains."""
        found: list[int] = []
        for scan in self._scans:
            scan(text, append_number, 0, found)
        return found

    def prepare(self) -> None:
        """Compile the patterns for links, which are else compiled when the first one is found."""
        _ = self._links

    @cached_property
    def _scan_names(self) -> Scan:
        names = [_first_segment(self._own_paths)[0], *("" if ":" in host else host for host in self._ends)]
        return compile_scan(tuple(re.escape(name.encode()) or b"." for name in names))

    @cached_property
    def _escaped(self) -> list[bytes]:
        """Return the patterns for places in texts with escapes of letters, which are rare."""
        syntax, ends = self._syntax, self._ends
        if len(ends) > MANY_HOSTS or any(":" in host for host in ends):
            return [syntax.slashes.pattern]
        slash = b"(?:/|%%2f|%b)()" % b"|".join(syntax.coded_slashes)
        path = [slash + _escapable(_first_segment(self._own_paths)[0], syntax)] if self._own_paths else []
        return [slash + _escapable(host, syntax) + b"(?=%b)" % end for host, end in ends.items()] + path

    def split_links(self, text: bytes) -> list[bytes]:
        """Return a text split at the beginnings of its links in their usual spelling, which are the odd parts."""
        usual, any_case = self._links
        parts = (usual if text.find(b"HTTP") < 0 else any_case).split(text)
        pattern = self._reference
        if pattern is None or text.find(b'"/') < 0:
            return parts
        return [*chain.from_iterable(pattern.split(part) if n % 2 == 0 else (part,) for n, part in enumerate(parts))]

    @cached_property
    def _reference(self) -> re.Pattern[bytes] | None:
        return reference_pattern(self._syntax, self._own_paths)

    @cached_property
    def _links(self) -> list[re.Pattern[bytes]]:
        """Return the patterns for links whose scheme is in lower case, and for all of them, which is slower."""
        schemes = (b"http", b"[hH][tT][tT][pP]")
        return [link_pattern(self._syntax, self._origins, self._upstream, scheme) for scheme in schemes]

    def is_whole_prefix(self, beginning: bytes) -> bool:
        """Return whether the beginning of a link ends with a slash, and all URLs that it begins belong together."""
        return beginning[:1] != b"/" == beginning[-1:] and not beginning.replace(rb"\/", b"/").endswith(self._outer)

    def has_dot_segment(self, text: bytes) -> bool:
        """Return False if no URL of a text has a dot segment."""
        return is_found(self._scan_dots, text)

    @cached_property
    def _outer(self) -> tuple[bytes, ...]:
        """Return the paths, with a final slash, below which there are others."""
        paths = sorted({f"{path}/" for prefixes in self._origins.values() for path in prefixes})
        if len(paths) > MANY_PATHS:
            return ()  # then only links without other paths below are usual
        return tuple(
            path.encode("latin-1", "replace") for path, next_path in pairwise(paths) if next_path.startswith(path)
        )

    def open_end(self, text: bytes, position: int = 0, before: bytes = b"") -> int:
        """Return the offset, not before `position`, from which a text may be the beginning of a URL whose host is not
        complete. `before` are the bytes before the text.
        """
        start = max(position, len(text) - self.reach) - NEIGHBOURS
        if start > 0:
            return start + self._open_end(text[start:], NEIGHBOURS)
        before = before[-NEIGHBOURS:]
        return self._open_end(before + text, len(before) + position) - len(before)

    def _open_end(self, text: bytes, position: int) -> int:
        syntax, size = self._syntax, len(text)
        low = max(position, size - self.reach)
        window = text[low:]
        run = window[len(window.rstrip(self._alphabet)) :].lstrip(self._not_first)
        if not run:
            return size
        first = max(size - len(run), text.rfind(b"/") - MAX_ESCAPE)  # a host contains no slash
        for match in syntax.slashes.finditer(text, first):
            after = match.end()
            if text[after:].strip(self._in_host):  # the host has ended
                continue
            begin = syntax.start.search(text, max(low, after - MAX_START), after)
            if begin is not None:
                return begin.start()
        window = text[max(low, size - MAX_START) :]
        return size - len(window[len(window.rstrip(syntax.start_bytes)) :].lstrip(self._not_first))


# Hosts ----------------------------------------------------------------------------------------------------------------


def _host_ends(origins: Origins) -> dict[str, bytes]:
    """Return for each host a pattern for what may follow it in a URL of ours."""
    ports: dict[str, set[int]] = {}
    paths: dict[str, list[str]] = {}
    for (host, port), prefixes in origins.items():
        name = f"[{host}]" if ":" in host else host
        ports.setdefault(name, {80, 443}).add(port)
        paths.setdefault(name, []).extend(prefixes)
    return {host: _host_end(ports[host], paths[host]) for host in ports}


def _host_end(ports: Iterable[int], paths: Iterable[str]) -> bytes:
    known = b"|".join(b"%d" % port for port in sorted(ports))
    path = _paths_pattern(paths) or rb"(?:[^%b:]|\Z)" % IN_HOST
    return rb"(?:(?::(?:0*(?:%b))?)?%b|:[0-9]*%b)" % (known, path, OPEN)


def _host_searches(ends: Mapping[str, bytes], syntax: UrlSyntax) -> Searches:
    """Return the searches for hosts: for each one, or for what many hosts of a domain have in common."""
    searches: Searches = {}
    domains: dict[str, dict[str, bytes]] = {}
    for host in sorted(ends):
        name = re.escape(host.encode())
        place = b"%b(?<=%b(?s:.){%d})(?=%b)" % (name, SLASH_END, len(host), ends[host])
        if ":" in host:
            # Brackets and colons of an IPv6 address may be percent-encoded.
            searches[SLASH_END + rb"[\[\\%&]"] = [syntax.slashes.pattern]
        elif len(ends) <= EXACT_HOSTS:
            searches[SLASH_END + name + ends[host]] = [place]
        else:
            domains.setdefault(".".join(host.split(".")[-2:]), {})[host] = place
    for places in domains.values():
        common = common_prefix([host[::-1] for host in places])[::-1].encode()
        searches[re.escape(common)] = [*places.values()] if len(places) <= MANY_HOSTS else [syntax.slashes.pattern]
    return searches


def _escapable(text: str, syntax: UrlSyntax) -> bytes:
    """Return a pattern for a text in which each character may be escaped."""
    characters = []
    for character in text:
        codes = sorted({ord(character), ord(character.upper())})
        decimal, hexadecimal = (b"|".join(form % code for code in codes) for form in (b"%d", b"%02x"))
        escape = syntax.escape_pattern.replace(b"DD", decimal).replace(b"XX", hexadecimal)
        characters.append(b"(?:%b|%b|%%%02x)" % (re.escape(character.encode()), escape, codes[-1]))
    return b"".join(characters)


# Paths ----------------------------------------------------------------------------------------------------------------


def _first_segment(paths: Collection[str]) -> tuple[str, bytes]:
    """Return the first segment that all paths have, and a pattern for what follows it; empty if they have none."""
    branches = _branches(paths)
    if branches is None or len(branches) > 1:
        return "", b""
    ((segment, below),) = branches.items()
    return segment, _paths_pattern(below) or SEGMENT_END


def _path_searches(paths: Collection[str], syntax: UrlSyntax) -> Searches:
    """Return the searches for paths that are the values of links, in their letter case, and behind escaped slashes."""
    if not paths:
        return {}
    name, rest = _first_segment(paths)
    spelt = b"|".join(sorted({re.escape(b"/" + path[1 : len(name) + 1].encode()) for path in paths}))
    begin, coded = re.escape(name.encode()), b"|".join(syntax.coded_slashes)
    value = rb"(?:%b)\\?" % syntax.before_path
    return {
        b"(?:%b(?-i:%b)|(?:%b)%b)%b" % (value, spelt, coded, begin, rest): [
            b"(?:%b/|%b)()%b(?=%b)" % (value, coded, begin, rest)
        ]
    }


def _branches(paths: Iterable[str]) -> dict[str, list[str]] | None:
    """Return the rest of each path by its first segment, in lower case; None if one has no segment, or a long one."""
    branches: dict[str, list[str]] = {}
    for path in paths:
        segment, slash, rest = path.lower().removeprefix("/").partition("/")
        if not 0 < len(segment) <= MAX_SEGMENT:
            return None
        branches.setdefault(segment, []).append(slash + rest)
    return branches


def _paths_pattern(paths: Iterable[str], depth: int = MAX_SEGMENTS) -> bytes:
    """Return a pattern for what a URL has in place of these paths, if it belongs to one of them; empty for anything."""
    branches = _branches(paths)
    if branches is None or len(branches) > MANY_BRANCHES or not depth:
        return b""
    segments = b"|".join(
        re.escape(segment.encode()) + (_paths_pattern(below, depth - 1) or SEGMENT_END)
        for segment, below in branches.items()
    )
    firsts = re.escape("".join({segment[0] for segment in branches})).encode()
    may_be_escaped = rb'(?:[%b][^/?#"<>\s\\%%&]*)?%b' % (firsts, OPEN)
    pattern = rb"(?:%b(?:%b|%b)|%b)" % (SLASH, segments, may_be_escaped, OPEN)
    return pattern if len(pattern) <= MAX_PATHS_PATTERN else b""
