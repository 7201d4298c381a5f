"""How a URL can be spelt inside a document: escapes of JSON, XML and YAML, percent-encoding inside another URL.

A `Dialect` finds where a URL may begin, says how far it may go on, and reads and writes its characters. Everything
works on bytes in any character set that is a superset of ASCII.
"""

import re
import sys
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import quote

Bytes = re.Pattern[bytes]

# What stands before a URL must not make another scheme of it: no letter, unless that ends an escape.
BORDER = (
    rb"(?:(?<![A-Za-z0-9+.\-].)|(?<=\\[bfnrt].)|(?<=\\u[0-9a-fA-F]{4}.)|(?<=\\x[0-9a-fA-F]{2}.)|(?<=%[0-9a-fA-F]{2}.))"
)
DEEPEST = 3  # times that a URL may be percent-encoded
CODED_COLON = rb"%(?:25){0,2}3[aA]"
CODED_SLASH = rb"%(?:25){0,2}2[fF]"
# Characters that end a URL's path, as `SPLIT` reads it. Nothing that is read together with the path may go beyond them:
# behind each of thousands of short URLs as much as the bound would be read again.
LAST_BLANK = 0x3000  # of Unicode
PATH_ENDS = tuple(code for code in range(LAST_BLANK + 1) if chr(code) in '?#"<>' or chr(code).isspace())


def hex_pattern(codes: Iterable[int], width: int) -> bytes:
    """Return a pattern for these character codes in hexadecimal, in either case, of at least so many digits."""
    numbers = (f"{code:0{width}x}" for code in codes)
    spelt = ("".join(f"[{digit}{digit.upper()}]" if digit.isalpha() else digit for digit in text) for text in numbers)
    return "|".join(spelt).encode()


BYTE_PATH_ENDS = hex_pattern((code for code in PATH_ENDS if code <= 0xFF), 2)
# What a URL inside a URL's query is made of: the delimiters of the outer one end it (RFC 3986 §2.2).
CODED_HOST = re.compile(rb"(?:[A-Za-z0-9\-._~@:]|%(?:25){0,2}(?:3[aA]|5[bBdD]))*+")
CODED_PATHS = tuple(
    re.compile(rb"(?:[A-Za-z0-9\-._~!*()]|%%(?!(?:25){%d}(?:%b))[0-9a-fA-F]{2}|\\{0,3}/)*+" % (level, BYTE_PATH_ENDS))
    for level in range(DEEPEST)
)
CODED_UNITS = tuple(
    re.compile(rb"%%(?:25){%d}(?P<x>[0-9a-fA-F]{2})|\\{1,3}(?P<slash>/)" % level) for level in range(DEEPEST)
)
# A URL that is percent-encoded, up to its two slashes: whether its scheme is https, its colon, its slash.
CODED_START = re.compile(
    rb"(?s)[hH]%b[tT][tT][pP]([sS]?)(%b)(%b|/)(?:%b|/)" % (BORDER, CODED_COLON, CODED_SLASH, CODED_SLASH)
)
# A URL that is read: authority, path, and whether more follows does not matter.
SPLIT = re.compile(r'([^/?#\s"<>]*)([^?#\s"<>]*)')
LAST_BYTE = 0xFF
LOOK_BACK = 24  # bytes that cover what `plain` and `find` have in common
LOOK_AHEAD = 12  # bytes that an escape has at most
ENDS_OF_SENTENCE = ".,;:!?'`*)]}"
ESCAPES = b"\\&%"
BASES = {"x": 16, "y": 16, "d": 10}
TAIL = 120  # bytes that the beginning of a URL, up to its two slashes, has at most


class UrlSyntax(NamedTuple):
    """The spellings of one kind of document."""

    find: Bytes
    """The beginning of a URL: groups `colon` and `slash` behind a scheme, `ref` for a slash that begins a value."""
    plain: Bytes
    """Ends where `find` ends, and meets all that it finds where there are no `escapes`, but for slashes that begin no
    value; much faster. The group `ref` is a slash too.
    """
    escapes: tuple[Bytes, Bytes]
    starts: frozenset[int]
    """First bytes that may go on with what the bytes before began."""
    tail: Bytes
    """The end of the bytes, where it may become the beginning of a URL."""
    tail_ends: frozenset[int]
    slash: Bytes
    host: Bytes
    path: Bytes
    run: Bytes
    """What an authority, one with its path, and all of a URL, is made of."""
    units: Bytes
    """An escape in it: the group `x` or `y` is a character's hexadecimal code, `d` its decimal one, any other one the
    character itself."""
    special: bytes
    """The byte that escapes begin with."""
    written: tuple[tuple[str, str], ...]
    """How a character that means something here is written."""

    def is_clear(self, piece: bytes) -> bool:
        """True when no URL begins or ends in a piece, whatever stands after it."""
        if piece[0] in self.starts or not self.has_no_urls(piece):
            return False
        return piece[-1] not in self.tail_ends or self.tail.search(piece, max(0, len(piece) - TAIL)) is None

    def exact(self, text: bytes, position: int, met: re.Match[bytes]) -> re.Match[bytes] | None:
        """Gives what `find` finds, no earlier than a position, where `plain` met something; or what it found itself."""
        if met.re is self.find:
            return met
        first, end = max(position, met.end() - LOOK_BACK), met.end()
        found = self.find.search(text, first, end + 1)
        while found is not None and found.end() < end:  # a slash that `plain` knows to begin no value
            found = self.find.search(text, found.end(), end + 1)
        return found

    def has_no_urls(self, body: bytes) -> bool:
        """True when no URL begins in a whole body."""
        return (b"/" not in body or self.plain.search(body) is None) and not self.has_escapes(body)

    def has_escapes(self, text: bytes) -> bool:
        """True when `plain` is not enough to find all URLs."""
        escaped, coded = self.escapes
        return (self.special in text and escaped.search(text) is not None) or (
            b"%" in text and coded.search(text) is not None
        )


class Edit(NamedTuple):
    """Bytes to put in place of others."""

    start: int
    stop: int
    spelt: bytes


UnitRange = tuple[int, Edit | None]
"""Where the search for URLs goes on, and what is replaced."""


class DecodedUrl(NamedTuple):
    """Raw bytes of a URL, read."""

    text: str
    """Each character that is none of latin-1 stands as one that means nothing."""
    raw: bytes
    units: Bytes | None
    """What was read as one character; None where every byte is one."""
    slash: int = 1
    """The bytes of a slash then."""

    def end(self, count: int) -> int:
        """The bytes that the first `count` characters have."""
        if self.slash > 1:
            return count + (self.slash - 1) * self.text.count("/", 0, count)
        end = 0
        for unit in self.units.finditer(self.raw) if self.units is not None else ():
            plain = unit.start() - end
            if plain >= count:
                break
            count -= plain + 1
            end = unit.end()
        return end + count


def read(raw: bytes, dialect: UrlSyntax, level: int) -> DecodedUrl:
    """Reads what is percent-encoded `level` times, or escaped as the dialect does where it is 0."""
    if level:
        return read_coded(raw, level)
    if dialect.special not in raw:
        return DecodedUrl(raw.decode("latin-1"), raw, None)
    slashes = raw.count(rb"\/")
    if slashes and slashes == raw.count(b"\\") == raw.count(b"/"):
        return DecodedUrl(raw.replace(rb"\/", b"/").decode("latin-1"), raw, None, 2)
    return DecodedUrl(dialect.units.sub(_character, raw).decode("latin-1"), raw, dialect.units)


def read_coded(raw: bytes, level: int) -> DecodedUrl:
    """Reads what is percent-encoded `level` times."""
    units = CODED_UNITS[level - 1]
    return DecodedUrl(units.sub(_character, raw).decode("latin-1"), raw, units)


def _character(unit: re.Match[bytes]) -> bytes:
    kind = unit.lastgroup or ""
    return _of_code(unit[kind], BASES[kind]) if kind in BASES else unit[kind]


@lru_cache(maxsize=1024)
def _of_code(digits: bytes, base: int) -> bytes:
    code = int(digits, base)
    if code <= LAST_BYTE:
        return bytes((code,))
    return b" " if code <= sys.maxunicode and chr(code).isspace() else b"\xff"


def goes_on(text: bytes, end: int) -> bool:
    """More bytes could belong to what ends here: there are none, or the beginning of an escape."""
    return end == len(text) or (text[end] in ESCAPES and len(text) - end < LOOK_AHEAD)


def parts_of(text: str) -> tuple[str, str]:
    """Takes the authority and the path from a URL that begins behind its two slashes, or at its path."""
    parts = SPLIT.match(text)
    return (parts[1], parts[2]) if parts else ("", "")


@lru_cache(maxsize=1024)
def write(head: str, written: tuple[tuple[str, str], ...], level: int, marks: tuple[bytes, bytes]) -> bytes:
    """Spells a URL's head as the URL was spelt; `marks` are its colon and its slash."""
    escaped = dict(written)
    colon, slash = marks
    spelt = []
    for mark in head:
        if mark in ":/":
            spelt.append(colon if mark == ":" else slash)
        elif level:
            coded = mark
            for _ in range(level):
                coded = quote(coded, safe="")
            spelt.append(coded.encode("ascii"))
        else:
            spelt.append(escaped.get(mark, mark).encode("latin-1"))
    return b"".join(spelt)


def level_of(colon: bytes, slash: bytes) -> int:
    """How many times a URL is percent-encoded that has such marks."""
    return max(_depth(colon), _depth(slash))


def _depth(mark: bytes) -> int:
    return 1 + mark.count(b"25") if mark.startswith(b"%") else 0
