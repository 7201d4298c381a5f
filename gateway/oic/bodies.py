"""Look up values in the beginning of a JSON or XML body, in UTF-8, which may be cut anywhere.

Tolerant, in linear time, without recursion: only values that are complete before the cut are found, and nothing is
found in a text that cannot be read.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import accumulate
from xml.parsers import expat

QUOTED = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
STRING = re.compile(QUOTED, re.DOTALL)
INTEGER = re.compile(rb"(?:0|[1-9][0-9]*+)(?=[\s,\]}])")  # the next character proves that it has not been cut
SIMPLE_VALUE = re.compile(QUOTED + rb'|[^\s"{}\[\],:]++(?=[\s,\]}])', re.DOTALL)
# Everything up to a member with one of these quoted names, at any depth. Here and below no group is possessive that can
# fail in its middle: Python before 3.11.5 goes on from there (gh-106052). What follows it takes linear time either way.
UP_TO_MEMBER = rb"(?s)(?:[^\"]*+(?!(?:%b)\s*+:)" + QUOTED + rb")*[^\"]*+(%b)\s*+:\s*+"
BLANK = re.compile(rb"\s*+")
# Everything up to the next bracket outside of strings, to a string without an end, or to the end of the text.
BRACKET = re.compile(rb'(?:[^"{}\[\]]*+"[^"\\]*+(?:\\.[^"\\]*+)*+")*[^"{}\[\]]*+([{}\[\]"]|\Z)', re.DOTALL)
LEVELS = {b"{": 1, b"[": 1, b"}": -1, b"]": -1}
LEVEL_OF_BYTE = tuple(LEVELS.get(bytes([byte]), 0) for byte in range(256))
NO_BRACKETS = bytes(byte for byte in range(256) if not LEVEL_OF_BYTE[byte])
BOM = b"\xef\xbb\xbf"
INDEX = re.compile(r"0|[1-9][0-9]{0,8}")


# JSON -----------------------------------------------------------------------------------------------------------------


def split_json_pointer(pointer: str) -> tuple[str, ...]:
    """Split a JSON pointer (RFC 6901 §4). The empty pointer is the whole document."""
    return tuple(token.replace("~1", "/").replace("~0", "~") for token in pointer.split("/")[1:])


def json_needle(path: tuple[str, ...]) -> bytes:
    """Return bytes that a body with a value at this path contains: the last name that is no array index."""
    names = [token for token in path if INDEX.fullmatch(token) is None]
    return _quoted(names[-1]) if names else b""


class JsonScanner:
    """Looks up several values in one document in a single pass."""

    __slots__ = ("_start", "_text", "_top_members", "_top_names")

    def __init__(self, text: bytes, top_names: frozenset[str]) -> None:
        """Take the text and the first names of all paths."""
        self._text = text
        self._start = _skip_blank(text, len(BOM) if text.startswith(BOM) else 0)
        self._top_names = top_names
        self._top_members: Mapping[bytes, int] | None = None

    def find(self, path: Sequence[str]) -> Iterator[str]:
        """Yield the string, or the digits of the non-negative integer, at the path, if there is one."""
        start: int | None = self._start
        for depth, token in enumerate(path):
            if start is None:
                return
            opening = self._text[start : start + 1]
            if opening == b"{":
                start = self._find_member(start + 1, token, is_top=not depth)
            elif opening == b"[" and INDEX.fullmatch(token):
                start = _find_element(self._text, start + 1, int(token))
            else:
                return
        if start is not None:
            yield from _read_value(self._text, start)

    def _find_member(self, start: int, name: str, *, is_top: bool) -> int | None:
        if not is_top:
            return _find_members(self._text, start, frozenset({name})).get(_quoted(name))
        if self._top_members is None:
            self._top_members = _find_members(self._text, start, self._top_names)
        return self._top_members.get(_quoted(name))


@lru_cache(maxsize=256)
def _up_to_member(names: frozenset[str]) -> re.Pattern[bytes]:
    quoted = b"|".join(re.escape(_quoted(name)) for name in sorted(names))
    return re.compile(UP_TO_MEMBER % (quoted, quoted))


def _find_members(text: bytes, start: int, names: frozenset[str]) -> Mapping[bytes, int]:
    """Return the offsets of the values of these members, by quoted name, in an object whose content begins at `start`.

    The first of several members with the same name counts. Deeper levels are skipped by counting brackets.
    """
    pattern, values, depth, position = _up_to_member(names), dict[bytes, int](), 0, start
    while found := pattern.match(text, position):
        between = text[position : found.start(1)]
        brackets = STRING.sub(b"", between).translate(None, NO_BRACKETS)
        if brackets:
            levels = list(accumulate(map(LEVEL_OF_BYTE.__getitem__, brackets), initial=depth))
            if min(levels) < 0:  # the object has ended
                break
            depth = levels[-1]
        if not depth and between.rstrip()[-1:] in ((b",", b"") if position == start else (b",",)):
            values.setdefault(found[1], found.end())
            if len(values) == len(names):
                break
        position = found.end()
    return values


def _read_value(text: bytes, start: int) -> Iterator[str]:
    if found := STRING.match(text, start):
        if (value := _unquote(found[0])) is not None:
            yield value
    elif found := INTEGER.match(text, start):
        yield found[0].decode()


def _quoted(name: str) -> bytes:
    return json.dumps(name, ensure_ascii=False).encode("utf-8", "surrogatepass")


def _unquote(string: bytes) -> str | None:
    try:
        return str(json.loads(string.decode()))
    except ValueError:
        return None


def _find_element(text: bytes, start: int, index: int) -> int | None:
    """Return the offset of an element in an array whose content begins at `start`."""
    begin = _skip_blank(text, start)
    for _ in range(index):
        after = _skip_element(text, begin)
        if after is None:
            return None
        begin = _skip_blank(text, after)
    return begin


def _skip_element(text: bytes, start: int) -> int | None:
    """Return the offset behind the comma that follows the value at `start`, None if there is none."""
    end = _value_end(text, start)
    if end is None:
        return None
    comma = _skip_blank(text, end)
    return comma + 1 if text[comma : comma + 1] == b"," else None


def _value_end(text: bytes, start: int) -> int | None:
    """Return the end of the value at `start`, None if it is cut off."""
    if text[start : start + 1] not in {b"{", b"["}:
        found = SIMPLE_VALUE.match(text, start)
        return found.end() if found else None
    depth = 0
    for found in BRACKET.finditer(text, start):
        level = LEVELS.get(found[1])
        if level is None:
            break
        depth += level
        if not depth:
            return found.end()
    return None


def _skip_blank(text: bytes, start: int) -> int:
    found = BLANK.match(text, start)
    return found.end() if found else start


# XML ------------------------------------------------------------------------------------------------------------------


class _HasDoctype(Exception):
    """The document has a DOCTYPE: its entities can contain anything."""


def xml_needle(name: str) -> bytes:
    """Return bytes that a body with such an element contains; empty if its charset decides them."""
    return name.encode() if name.isascii() else b""


def find_elements(text: bytes, name: str) -> Iterator[str]:
    """Yield the text of each complete element of this local name without child elements, in any namespace and depth.

    A document with a DOCTYPE has none.
    """
    found: list[str] = []
    current: list[str] | None = None

    def on_start(tag: str, _: object) -> None:
        nonlocal current
        current = [] if tag.rpartition(":")[2] == name else None

    def on_text(data: str) -> None:
        if current is not None:
            current.append(data)

    def on_end(_: str) -> None:
        nonlocal current
        if current is not None:
            found.append("".join(current))
        current = None

    def on_doctype(*_: object) -> None:
        raise _HasDoctype

    parser = expat.ParserCreate("UTF-8")
    parser.StartElementHandler, parser.EndElementHandler = on_start, on_end
    parser.CharacterDataHandler, parser.StartDoctypeDeclHandler = on_text, on_doctype
    try:
        parser.Parse(text, False)  # noqa: FBT003 - more may follow
    except (expat.ExpatError, _HasDoctype):
        return iter(found)
    return iter(found)
