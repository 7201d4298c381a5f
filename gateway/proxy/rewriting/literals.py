"""Search a text for what all of our URLs contain: the host of an upstream, or the beginning of an upstream's path.

Most bodies contain neither: they have no escape, and lack a byte or a part of each of these texts. In other bodies, the
patterns exclude what no route has: other ports, other paths, and paths that are not the value of a link.
"""

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import cached_property
from itertools import chain, pairwise

from gateway.proxy.rewriting.decoded_url import MAX_ESCAPE, MAX_START, UrlSyntax
from gateway.proxy.rewriting.links import MANY_PATHS, Origins, common_prefix, link_pattern, reference_pattern
from gateway.proxy.routing import UpstreamUrl

RAREST = b"zqxjkvwy7896543b210_fgmphudcl-r.sonitae/"
"""Characters of hosts, the rarest in documents first."""
NEIGHBOURS = 16  # bytes before a URL that make it one
MIN_CASELESS = 3
"""Bytes without letters, at least: fewer are in too many texts."""
SAMPLE = 61  # a text's every so many bytes are counted
FREQUENT = 32
"""A letter that is one of so many bytes, or more, is frequent."""
MANY = 4  # texts that are searched one by one, at least
MANY_HOSTS = 8
"""If a domain has more hosts of ours than this, its pattern contains only what their names have in common."""
MANY_BRANCHES = 16
"""If more segments than this continue a path, its pattern ends before them."""
PERCENT = b"%"[0]
IN_HOST = rb"a-z0-9.\-_~@"
LETTERS = b"[]abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~"
SLASH = rb"(?:/|\\{1,3}/|%2f)"
SLASH_STARTS = rb"/\%&"
"""What a slash begins with, in any encoding."""
SEGMENT_END = b"(?![a-z0-9])"
OPEN = rb"(?:(?!\\{1,3}/|%2f)[\\%&]|\Z)"
"""The end of a text, or an escape that is no slash: anything may follow."""

Part = tuple[int, bytes]
"""A byte of a text, which is found fastest, and a part of the text, which is seldom found elsewhere."""


class Literal:
    """Texts that some of our URLs contain, each with patterns that find these URLs in a text in lower case.

    A place is the position behind the slashes of a URL: that of the pattern's group, if it has one, else the start of
    the match.
    """

    def __init__(
        self,
        patterns: Mapping[bytes, Collection[re.Pattern[bytes]]],
        parts: Collection[Part],
        search: Callable[[bytes], object] | None = None,
    ) -> None:
        """Take the patterns by their text in lower case. Where such a text is, in any letter case, one of the `parts`
        is too, and `search` finds something.
        """
        self.patterns = patterns
        self.parts = parts
        self._search = search

    def may_be_in(self, text: bytes) -> bool:
        """Return False if a text certainly contains none of them."""
        has_part = any(byte in text and text.rfind(part) >= 0 for byte, part in self.parts)
        return has_part and (self._search is None or bool(self._search(text)))


class LiteralSearch:
    """Finds the places where URLs of known hosts may be."""

    def __init__(self, syntax: UrlSyntax, origins: Origins, upstream: UpstreamUrl, own_paths: Collection[str]) -> None:
        """Take all upstreams, the one that answers, and the paths that a URL without a host belongs to."""
        self._syntax = syntax
        self._origins = origins
        self._upstream = upstream
        self._own_paths = own_paths
        ends = _host_ends(origins)
        self._plain = _host_literals(ends, syntax)
        self._coded: list[Literal] = []
        self._escape_byte, self._escape_prefix = syntax.escape_start[0], syntax.escape_prefix
        self._names = list(ends)
        slash = b"(?:/|%%2f|%b)()" % b"|".join(syntax.coded_slashes)
        self._escaped_texts = [slash + _escapable(host, syntax) + end for host, end in ends.items()]
        if any(":" in host for host in ends):
            # Brackets and colons of an IPv6 address may be percent-encoded.
            self._plain, self._names = [Literal({b"": [syntax.slashes]}, [(byte, b"") for byte in SLASH_STARTS])], [""]
            self._escaped_texts = [syntax.slashes.pattern]
        elif own_paths:
            name, rest = _first_segment(own_paths)
            begin = name.encode()
            self._names.append(name)
            self._plain.append(_path_literal(name, rest, own_paths, syntax))
            for coded in syntax.coded_slashes:
                pattern = re.compile(b"%b()%b%b" % (coded, re.escape(begin), rest))
                self._coded.append(Literal({coded + begin: [pattern]}, [(self._escape_byte, self._escape_prefix)]))
            self._escaped_texts.append(slash + _escapable(name, syntax))
        self._parts = [
            (byte, part, number) for number, literal in enumerate(self._plain) for byte, part in literal.parts
        ]
        self._in_host = LETTERS + syntax.escape_bytes
        self._alphabet = self._in_host + b":/"
        self._not_first = bytes(byte for byte in self._alphabet if byte not in syntax.first_bytes)
        longest = max((len(text) for text in (*ends, *own_paths)), default=0)
        self._reach = MAX_START + MAX_ESCAPE * longest

    def find(self, text: bytes, before: bytes = b"") -> list[re.Pattern[bytes]]:
        """Return patterns, as those of a `Literal`, that find all places in a text, with the last bytes before it, if
        it is in lower case.

        Most texts have none, as a search for single bytes shows, or `rfind`, which is faster than `find`.
        """
        if self._escape_byte in text and text.rfind(self._escape_prefix) >= 0:
            return self._find_beside_escapes(before + text)
        for byte, part, number in self._parts:
            if byte in text and text.rfind(part) >= 0:
                return _find_literals(before + text, self._plain[number:])
        return []

    def _find_beside_escapes(self, text: bytes) -> list[re.Pattern[bytes]]:
        if self._syntax.escapes.search(text) is None:
            return _find_literals(text, self._plain + self._coded)
        unescaped = self._syntax.unescape(text)
        if unescaped is not None and not any(unescaped.rfind(name.encode()) >= 0 for name in self._names):
            return []
        text = text.lower()
        return [pattern for pattern in self._escaped if pattern.search(text)]

    def prepare(self) -> None:
        """Compile the patterns for links, which are else compiled when the first one is found."""
        _ = self._links

    @cached_property
    def _escaped(self) -> list[re.Pattern[bytes]]:
        """Return the patterns for texts with escapes of letters, which are rare and take long to compile."""
        return [*map(re.compile, self._escaped_texts)]

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
        return (
            text.rfind(b"/.") >= 0
            or (PERCENT in text and text.rfind(b"%2") >= 0)
            or (self._escape_byte in text and text.rfind(self._escape_prefix) >= 0)
        )

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
        start = max(position, len(text) - self._reach) - NEIGHBOURS
        if start > 0:
            return start + self._open_end(text[start:], NEIGHBOURS)
        before = before[-NEIGHBOURS:]
        return self._open_end(before + text, len(before) + position) - len(before)

    def _open_end(self, text: bytes, position: int) -> int:
        syntax, size = self._syntax, len(text)
        low = max(position, size - self._reach)
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
    return {host: _port_pattern(ports[host]) + _paths_pattern(paths[host]) for host in ports}


def _port_pattern(ports: Iterable[int]) -> bytes:
    known = b"|".join(b"%d" % port for port in sorted(ports))
    return rb"(?:(?![%b:])|:(?:0*+(?:%b)(?![0-9:])|[0-9]*+(?=%b)|(?![0-9:])))" % (IN_HOST, known, OPEN)


def _host_literals(ends: Mapping[str, bytes], syntax: UrlSyntax) -> list[Literal]:
    """Return what the hosts of each domain have in common, with patterns for their names."""
    domains: dict[str, list[str]] = {}
    for host in sorted(ends):
        domains.setdefault(".".join(host.split(".")[-2:]), []).append(host)
    grouped: dict[bytes, dict[bytes, list[re.Pattern[bytes]]]] = {}
    for hosts in domains.values():
        common = common_prefix([host[::-1] for host in hosts])[::-1].encode()
        names = [(re.escape(host.encode()), rb"(?<=[/f;](?s:.){%d})" % len(host), ends[host]) for host in hosts]
        patterns = [re.compile(b"".join(name)) for name in names] if len(hosts) <= MANY_HOSTS else [syntax.slashes]
        rarest = min(common, key=RAREST.find)
        grouped.setdefault(bytes((rarest,)), {})[common] = patterns
    return [_host_literal(rarest, patterns) for rarest, patterns in grouped.items()]


def _host_literal(rarest: bytes, patterns: Mapping[bytes, Collection[re.Pattern[bytes]]]) -> Literal:
    """Return the literal for texts of hosts with the same rarest letter. If they have the same longest part without
    letters, which has no letter case, most texts lack it; else most texts lack the rarest letter.
    """
    upper = rarest.upper()
    parts = [(letter[0], letter) for letter in sorted({rarest, upper})]
    caseless, *others = {max(re.findall(rb"[^a-z]+", text), key=len, default=b"") for text in patterns}
    is_caseless = {caseless} == patterns.keys()
    if not others and (is_caseless or len(caseless) >= MIN_CASELESS):
        parts = [(caseless[0], caseless)]
    rests = b"|".join(re.escape(text.partition(rarest)[2]) for text in patterns)
    search = re.compile(b"%b(?i:%b)" % (re.escape(rarest), rests)).search

    def may_be_in(text: bytes) -> bool:
        sample = text[::SAMPLE]
        if len(patterns) < MANY and FREQUENT * (sample.count(rarest) + sample.count(upper)) > len(sample):
            return True  # each letter costs more than a letter of the search in lower case
        return search(text.replace(upper, rarest)) is not None

    return Literal(patterns, parts, None if is_caseless else may_be_in)


def _escapable(text: str, syntax: UrlSyntax) -> bytes:
    """Return a pattern for a text in which each character may be escaped."""
    characters = []
    for character in text:
        codes = sorted({ord(character), ord(character.upper())})
        decimal, hexadecimal = (b"|".join(form % code for code in codes) for form in (b"%d", b"%02x"))
        escape = syntax.escape_pattern.replace(b"DD", decimal).replace(b"XX", hexadecimal)
        characters.append(b"(?:%b|%b|%%%02x)" % (re.escape(character.encode()), escape, codes[-1]))
    return b"".join(characters)


def _find_literals(text: bytes, literals: Iterable[Literal]) -> list[re.Pattern[bytes]]:
    """Return the patterns that find something in a text if it is in lower case."""
    lower = None
    patterns: dict[re.Pattern[bytes], None] = {}
    for literal in literals:
        if literal.may_be_in(text):
            lower = text.lower() if lower is None else lower
            for part, found in literal.patterns.items():
                if lower.rfind(part) >= 0:
                    patterns |= dict.fromkeys(found)
    return [pattern for pattern in patterns if lower is not None and pattern.search(lower)]


# Paths ----------------------------------------------------------------------------------------------------------------


def _first_segment(paths: Collection[str]) -> tuple[str, bytes]:
    """Return the first segment that all paths have, and a pattern for what follows it; empty if they have none."""
    branches = _branches(paths)
    if branches is None or len(branches) > 1:
        return "", b""
    ((segment, below),) = branches.items()
    return segment, SEGMENT_END + _paths_pattern(below)


def _path_literal(name: str, rest: bytes, paths: Collection[str], syntax: UrlSyntax) -> Literal:
    """Return the literal for paths that begin with this segment, in the letter case of the paths."""
    begin = name.encode()
    before = (syntax.before_path.replace(b"@", slash + b"/" + re.escape(begin)) for slash in (b"", rb"\\"))
    tail = b"%b(?:%b)%b" % (SEGMENT_END if name else b"", b"|".join(before), rest)  # the end is faster than the rest
    spelt = sorted({b"/" + path[1 : len(name) + 1].encode() for path in paths})
    any_spelt = b"|".join(map(re.escape, spelt))
    search = re.compile(b"(?i:(?-i:%b)%b)" % (any_spelt, tail)).search
    pattern = re.compile(b"/()%b%b" % (re.escape(begin), tail))
    return Literal({b"/" + begin: [pattern]}, [(SLASH_STARTS[0], path) for path in spelt], search)


def _branches(paths: Iterable[str]) -> dict[str, list[str]] | None:
    """Return the rest of each path by its first segment, in lower case; None if one has no segment."""
    branches: dict[str, list[str]] = {}
    for path in paths:
        segment, slash, rest = path.lower().removeprefix("/").partition("/")
        if not segment:
            return None
        branches.setdefault(segment, []).append(slash + rest)
    return branches


def _paths_pattern(paths: Iterable[str]) -> bytes:
    """Return a pattern for what a URL has in place of these paths, if it belongs to one of them; empty for anything."""
    branches = _branches(paths)
    if branches is None or len(branches) > MANY_BRANCHES:
        return b""
    segments = b"|".join(
        re.escape(segment.encode()) + SEGMENT_END + _paths_pattern(below) for segment, below in branches.items()
    )
    firsts = re.escape("".join({segment[0] for segment in branches})).encode()
    may_be_escaped = rb'(?=[%b\\%%&]|\Z)[^/?#"<>\s\\%%&]*+%b' % (firsts, OPEN)
    return rb"(?:%b(?:%b|%b)|%b)" % (SLASH, segments, may_be_escaped, OPEN)
