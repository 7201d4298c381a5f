"""Decode and encode URLs inside documents: escapes of JSON, XML and YAML, and percent-encoding inside another URL.

A `UrlSyntax` finds the beginning of a URL and the extent of its parts, and defines its escapes. All patterns work on
bytes in any charset that is a superset of ASCII. They repeat no group possessively: before 3.11.5, Python then moves
behind the last match (gh-106052).
"""

import re
import sys
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import quote

Bytes = re.Pattern[bytes]

# The character before a URL must not make it another scheme: it is no letter, unless it ends an escape.
BORDER = (
    rb"(?:(?<![A-Za-z0-9+.\-].)|(?<=\\[bfnrt].)|(?<=\\u[0-9a-fA-F]{4}.)|(?<=\\x[0-9a-fA-F]{2}.)|(?<=%[0-9a-fA-F]{2}.))"
)
CODED_COLON = rb"%3[aA]"
CODED_SLASH = rb"%2[fF]"
# Characters that end the path of a URL in `SPLIT`. The patterns for a path stop at them: otherwise they would read the
# same bytes again behind each of thousands of short URLs.
LAST_BLANK = 0x3000  # of Unicode
PATH_ENDS = tuple(code for code in range(LAST_BLANK + 1) if chr(code) in '?#"<>' or chr(code).isspace())


def hex_pattern(codes: Iterable[int], width: int) -> bytes:
    """Return a pattern for these character codes in hexadecimal, in either case, of at least `width` digits."""
    numbers = (f"{code:0{width}x}" for code in codes)
    patterns = ("".join(f"[{digit}{digit.upper()}]" if digit.isalpha() else digit for digit in n) for n in numbers)
    return "|".join(patterns).encode()


BYTE_PATH_ENDS = hex_pattern((code for code in PATH_ENDS if code <= 0xFF), 2)
# A URL inside the query of another one: the delimiters of the outer URL end it (RFC 3986 §2.2).
CODED_HOST = re.compile(rb"(?:[A-Za-z0-9\-._~@:]|%(?:3[aA]|5[bBdD]))*")
CODED_PATH = re.compile(rb"(?:[A-Za-z0-9\-._~!*()]|%%(?!(?:%b))[0-9a-fA-F]{2}|\\{0,3}/)*" % BYTE_PATH_ENDS)
CODED_UNITS = re.compile(rb"%(?P<x>[0-9a-fA-F]{2})|\\{1,3}(?P<slash>/)")
# A percent-encoded URL up to its two slashes. Groups: the `s` of https, the colon, the first slash.
CODED_START = re.compile(
    rb"(?s)[hH]%b[tT][tT][pP]([sS]?)(%b)(%b|/)(?:%b|/)" % (BORDER, CODED_COLON, CODED_SLASH, CODED_SLASH)
)
SPLIT = re.compile(r'([^/?#\s"<>]*)([^?#\s"<>]*)')
LAST_BYTE = 0xFF
MAX_ESCAPE = 12  # bytes of an escape
SENTENCE_ENDS = ".,;:!?'`*)]}"
ESCAPE_STARTS = b"\\&%"
BASES = {"x": 16, "y": 16, "d": 10}
MAX_START = 120  # bytes of the beginning of a URL, up to its two slashes


class UrlSyntax(NamedTuple):
    """How one kind of document writes URLs."""

    start: Bytes
    """The beginning of a URL at the end of a text, up to its two slashes: groups `s`, `colon` and `slash` behind a
    scheme. `ref` is empty, behind the first slash of a value that begins with a slash."""
    first_bytes: bytes
    """The bytes that `start` may begin with."""
    start_bytes: bytes
    """The bytes that `start` consists of."""
    slashes: Bytes
    """What every URL has: two slashes in any encoding, or one that begins a value. An empty group is behind them."""
    escapes: bytes
    """Escapes of letters, digits and `-._~`: without them, a host is found as it is."""
    escape_bytes: bytes
    """The bytes of escapes and percent-encoding, beside letters and digits."""
    slash: Bytes
    """A slash of a URL that is not percent-encoded."""
    coded_slashes: tuple[bytes, ...]
    """How escapes of a slash end, in lower case."""
    before_path: bytes
    """A pattern for what is before a path that is the value of a link, in lower case. If blanks hide its name, they may
    begin the text: `literals.NEIGHBOURS` bytes before a place are searched with it."""
    host: Bytes
    """An authority."""
    link_end: bytes
    """A pattern for what follows the path of a link, so that bytes before the link decide whether it is rewritten."""
    reference_end: bytes
    """A pattern for the end of a string that is a value; empty if a path as a value has no such end."""
    path: Bytes
    """An authority and a path."""
    whole_url: Bytes
    """A whole URL."""
    units: Bytes
    """An escape: the group `x` or `y` is the hexadecimal code of the character, `d` its decimal code, any other group
    is the character itself."""
    escape_start: bytes
    """The first byte of an escape."""
    escape_prefix: bytes
    """What begins every escape of a letter."""
    escape_pattern: bytes
    """A pattern for the escape of a character, in lower case: `XX` and `DD` are its hexadecimal and decimal codes."""
    unescape: Callable[[bytes], bytes | None]
    """Decodes such escapes in a text quickly; None if that is not possible."""
    to_escape: tuple[tuple[str, str], ...]
    """Characters with a meaning in the document, and their escapes."""


class Edit(NamedTuple):
    """New bytes for a range of a text."""

    start: int
    stop: int
    new: bytes


ScanResult = tuple[int, Edit | None]
"""The position where the search for URLs continues, and the edit of the URL before it."""


class DecodedUrl(NamedTuple):
    """A URL without its escapes."""

    text: str
    """A character beyond latin-1 is replaced by one that ends nothing."""
    raw: bytes
    units: Bytes | None
    """The pattern of the escapes in `raw`; None if there are none, or slashes are the only ones."""
    slash_size: int = 1
    """Bytes of each slash if there are no other escapes."""

    def raw_size(self, count: int) -> int:
        """Return how many bytes the first `count` characters have."""
        if self.slash_size > 1:
            return count + (self.slash_size - 1) * self.text.count("/", 0, count)
        end = 0
        for unit in self.units.finditer(self.raw) if self.units is not None else ():
            plain = unit.start() - end
            if plain >= count:
                break
            count -= plain + 1
            end = unit.end()
        return end + count


def decode_url(raw: bytes, syntax: UrlSyntax, *, is_coded: bool) -> DecodedUrl:
    """Decode a URL, or a part of one, that is percent-encoded or has the escapes of the document."""
    if is_coded:
        return decode_percent(raw)
    if syntax.escape_start not in raw:
        return DecodedUrl(raw.decode("latin-1"), raw, None)
    slashes = raw.count(rb"\/")
    if slashes and slashes == raw.count(b"\\") == raw.count(b"/"):
        return DecodedUrl(raw.replace(rb"\/", b"/").decode("latin-1"), raw, None, 2)
    return DecodedUrl(syntax.units.sub(decode_unit, raw).decode("latin-1"), raw, syntax.units)


def decode_percent(raw: bytes) -> DecodedUrl:
    """Decode a percent-encoded URL."""
    return DecodedUrl(CODED_UNITS.sub(decode_unit, raw).decode("latin-1"), raw, CODED_UNITS)


def decode_unit(unit: re.Match[bytes]) -> bytes:
    """Return the character of a match of `UrlSyntax.units`."""
    kind = unit.lastgroup or ""
    return _character(unit[kind], BASES[kind]) if kind in BASES else unit[kind]


@lru_cache(maxsize=1024)
def _character(digits: bytes, base: int) -> bytes:
    code = int(digits, base)
    if code <= LAST_BYTE:
        return bytes((code,))
    return b" " if code <= sys.maxunicode and chr(code).isspace() else b"\xff"


def may_continue(text: bytes, end: int) -> bool:
    """Return whether further bytes may belong to a match that ends here: at the end of the text, or before the
    beginning of an escape.
    """
    return end == len(text) or (text[end] in ESCAPE_STARTS and len(text) - end < MAX_ESCAPE)


def split_url(text: str) -> tuple[str, str]:
    """Return authority and path of a URL that begins behind its two slashes, or at its path."""
    parts = SPLIT.match(text)
    return (parts[1], parts[2]) if parts else ("", "")


def is_percent_encoded(colon: bytes, slash: bytes) -> bool:
    """Return whether a URL with this colon and first slash is percent-encoded."""
    return colon.startswith(b"%") or slash.startswith(b"%")


@lru_cache(maxsize=1024)
def encode_head(
    head: str, to_escape: tuple[tuple[str, str], ...], marks: tuple[bytes, bytes], *, is_coded: bool
) -> bytes:
    """Encode the new beginning of a URL like the old one, whose colon and slash are `marks`."""
    escapes = dict(to_escape)
    colon, slash = marks
    encoded = []
    for character in head:
        if character in ":/":
            encoded.append(colon if character == ":" else slash)
        elif is_coded:
            encoded.append(quote(character, safe="").encode("ascii"))
        else:
            encoded.append(escapes.get(character, character).encode("latin-1"))
    return b"".join(encoded)
