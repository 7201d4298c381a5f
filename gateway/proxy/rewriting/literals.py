"""Search a text for what all of our URLs contain: the host of an upstream, or the beginning of an upstream's path.

Most bodies contain no host of ours: a search for the rarest letter of each host shows it. In other bodies, the patterns
exclude what no route has: other ports, other paths, and paths that are not the value of a link.
"""

import re
from collections.abc import Collection, Iterable, Mapping
from functools import cached_property
from itertools import chain, pairwise

from gateway.proxy.rewriting.decoded_url import MAX_ESCAPE, MAX_START, UrlSyntax
from gateway.proxy.rewriting.links import MANY_PATHS, Origins, common_prefix, link_pattern, reference_pattern
from gateway.proxy.routing import UpstreamUrl

RAREST = b"zqxjkvwy7896543b210_fgmphudcl-r.sonitae/"
"""Characters of hosts and paths, the rarest in documents first."""
NEIGHBOURS = 16  # bytes before a URL that make it one
MANY_HOSTS = 8
"""If a domain has more hosts of ours than this, its pattern contains only what their names have in common."""
MANY_BRANCHES = 16
"""If more segments than this continue a path, its pattern ends before them."""
DOT = re.compile(rb"/\.")
IN_HOST = rb"a-z0-9.\-_~@"
LETTERS = b"[]abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~"
SLASH = rb"(?:/|\\{1,3}/|%2f)"
OPEN = rb"(?:(?!\\{1,3}/|%2f)[\\%&]|\Z)"
"""The end of a text, or an escape that is no slash: anything may follow."""


class Literal:
    """Texts that some of our URLs contain."""

    def __init__(self, letter: bytes, texts: Collection[bytes], *patterns: re.Pattern[bytes]) -> None:
        """Take patterns for the texts from a letter on, and patterns that find them in a text in lower case. A place is
        the position behind the slashes of a URL: that of the group, if there is one, else the start of the match.
        """
        self.patterns = patterns
        self._letter = letter
        self._search = re.compile(b"%b(?i:%b)" % (re.escape(letter), b"|".join(texts))).search

    def is_in(self, text: bytes) -> bool:
        """Return whether a text contains one of them, in any letter case: one letter is replaced faster than all."""
        return self._search(text.replace(self._letter.upper(), self._letter)) is not None


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
        self._escape = re.compile(re.escape(syntax.escape_prefix))
        self._names = list(ends)
        slash = b"(?:/|%%2f|%b)()" % b"|".join(syntax.coded_slashes)
        self._escaped_texts = [slash + _escapable(host, syntax) + end for host, end in ends.items()]
        if any(":" in host for host in ends):
            # Brackets and colons of an IPv6 address may be percent-encoded.
            self._plain, self._names = [Literal(b"", [b""], syntax.slashes)], [""]
            self._escaped_texts = [syntax.slashes.pattern]
        elif own_paths:
            name, rest = _first_segment(own_paths)
            begin = name.encode()
            self._names.append(name)
            spelt = b"|".join({re.escape(path[1 : len(name) + 1].encode()) for path in own_paths})
            tail = _path_tail(begin, rest, syntax)
            path = re.compile(b"/()%b%b" % (re.escape(begin), tail))
            self._plain.append(Literal(b"", [b"(?-i:/(?:%b))%b" % (spelt, tail)], path))
            coded = [b"%b()%b%b" % (slash, re.escape(begin), rest) for slash in syntax.coded_slashes]
            self._coded = [Literal(text[:1], [text[1:]], re.compile(text)) for text in coded]
            self._escaped_texts.append(slash + _escapable(name, syntax))
        self._in_host = LETTERS + syntax.escape_bytes
        self._alphabet = self._in_host + b":/"
        self._not_first = bytes(byte for byte in self._alphabet if byte not in syntax.first_bytes)
        longest = max((len(text) for text in (*ends, *own_paths)), default=0)
        self._reach = MAX_START + MAX_ESCAPE * longest

    def find(self, text: bytes) -> list[re.Pattern[bytes]]:
        """Return patterns, as those of a `Literal`, that find all places in a text if it is in lower case."""
        literals = self._plain
        if self._has_escape(text):
            if self._syntax.escapes.search(text) is not None:
                unescaped = self._syntax.unescape(text)
                is_clear = unescaped is not None and not any(name.encode() in unescaped for name in self._names)
                text = b"" if is_clear else text.lower()
                return [pattern for pattern in self._escaped if pattern.search(text)]
            literals = literals + self._coded
        found = dict.fromkeys(chain(*(literal.patterns for literal in literals if literal.is_in(text))))
        text = text.lower() if found else b""
        return [pattern for pattern in found if pattern.search(text)]

    def _has_escape(self, text: bytes) -> bool:
        start = text.find(self._syntax.escape_start)
        return start >= 0 and self._escape.search(text, start) is not None

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
            DOT.search(text) is not None or (text.find(b"%") >= 0 and text.find(b"%2") >= 0) or self._has_escape(text)
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

    def open_end(self, text: bytes, position: int = 0) -> int:
        """Return the offset, not before `position`, from which a text may be the beginning of a URL whose host is not
        complete.
        """
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
    return rb"(?:(?![%b:])|:(?:0*(?:%b)(?![0-9:])|[0-9]*(?=%b)|(?![0-9:])))" % (IN_HOST, known, OPEN)


def _host_literals(ends: Mapping[str, bytes], syntax: UrlSyntax) -> list[Literal]:
    """Return what the hosts of a domain have in common, by its rarest letter, with patterns for their names."""
    domains: dict[str, list[str]] = {}
    for host in sorted(ends):
        domains.setdefault(".".join(host.split(".")[-2:]), []).append(host)
    found: dict[bytes, tuple[list[bytes], list[re.Pattern[bytes]]]] = {}
    for hosts in domains.values():
        common = common_prefix([host[::-1] for host in hosts])[::-1].encode()
        rarest = min(range(len(common)), key=lambda n: RAREST.find(common[n]), default=0)
        texts, patterns = found.setdefault(common[rarest : rarest + 1], ([], []))
        names = [(rb"(?<=[/f;](?s:.){%d})" % len(host), re.escape(host.encode()), ends[host]) for host in hosts]
        patterns += [re.compile(host + slash + end) for slash, host, end in names]
        if len(hosts) > MANY_HOSTS:
            names, patterns[-len(hosts) :] = [(b"", re.escape(common), b"")], [syntax.slashes]
        after = b"|".join(b"%b(?<=%b)%b" % name for name in names)
        texts.append(b"%b(?:%b)" % (re.escape(common[rarest + 1 :]), after))
    return [Literal(letter, texts, *patterns) for letter, (texts, patterns) in found.items()]


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
    return segment, b"(?![a-z0-9])" + _paths_pattern(below)


def _path_tail(begin: bytes, rest: bytes, syntax: UrlSyntax) -> bytes:
    before = (syntax.before_path.replace(b"@", slash + b"/" + re.escape(begin)) for slash in (b"", rb"\\"))
    return b"(?:%b)%b" % (b"|".join(before), rest)


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
        b"%b(?![a-z0-9])%b" % (re.escape(segment.encode()), _paths_pattern(below))
        for segment, below in branches.items()
    )
    firsts = re.escape("".join({segment[0] for segment in branches})).encode()
    may_be_escaped = rb'(?=[%b\\%%&]|\Z)[^/?#"<>\s\\%%&]*+%b' % (firsts, OPEN)
    return rb"(?:%b(?:%b|%b)|%b)" % (SLASH, segments, may_be_escaped, OPEN)
