"""Pure: a value looked up in the beginning of a JSON or XML body, which may be cut anywhere.

Tolerant, in linear time, without recursion: what is found was whole before the cut; of what cannot be read nothing is
found.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import accumulate
from xml.parsers import expat

from gateway.content.charsets import charset

QUOTED = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
STRING = re.compile(QUOTED, re.DOTALL)
INTEGER = re.compile(rb"(?:0|[1-9][0-9]*+)(?=[\s,\]}])")  # what follows shows that it has not been cut
SIMPLE = re.compile(QUOTED + rb'|[^\s"{}\[\],:]++(?=[\s,\]}])', re.DOTALL)
# All up to a member with one of these quoted names, however deep it lies.
WANTED = rb"(?s)(?:[^\"]*+(?!(?:%b)\s*+:)" + QUOTED + rb")*+[^\"]*+(%b)\s*+:\s*+"
BLANK = re.compile(rb"\s*+")
# All up to the next bracket that stands in no string; or to a string without an end, or to the end of all.
BRACKET = re.compile(rb'(?:[^"{}\[\]]*+"[^"\\]*+(?:\\.[^"\\]*+)*+")*+[^"{}\[\]]*+([{}\[\]"]|\Z)', re.DOTALL)
LEVELS = {b"{": 1, b"[": 1, b"}": -1, b"]": -1}
STEPS = tuple(LEVELS.get(bytes([byte]), 0) for byte in range(256))
NO_BRACKETS = bytes(byte for byte in range(256) if not STEPS[byte])
BYTE_ORDERS = {b"\xff\xfe", b"\xfe\xff"}
INDEX = re.compile(r"0|[1-9][0-9]{0,8}")


# JSON -----------------------------------------------------------------------------------------------------------------


def pointer_tokens(pointer: str) -> tuple[str, ...]:
    """Takes a pointer apart (RFC 6901 §4); the empty one is the whole document."""
    return tuple(token.replace("~1", "/").replace("~0", "~") for token in pointer.split("/")[1:])


def json_needle(path: tuple[str, ...]) -> tuple[bytes, ...]:
    """What a body holds that has something at that path: the last name that is none of an array's places."""
    names = [token for token in path if INDEX.fullmatch(token) is None]
    return (_quoted(names[-1]),) if names else ()


def json_text(first: bytes) -> bytes:
    """The text in UTF-8, as far as it can be told; bytes that are none are left out."""
    if b"\0" not in first[:4] and first[:2] not in BYTE_ORDERS:
        return first
    return first.decode(charset(first, "", last=True) or "utf-8", "ignore").encode()


class JsonScanner:
    """A document, in UTF-8, in which several things are looked up: one way through it does for all of them."""

    __slots__ = ("_at", "_text", "_tops", "_wanted")

    def __init__(self, text: bytes, tops: frozenset[str]) -> None:
        """`tops`: the names with which the pointers begin."""
        self._text = text
        self._at = _after_blank(text, 3 if text.startswith(b"\xef\xbb\xbf") else 0)
        self._wanted = tops
        self._tops: Mapping[bytes, int] | None = None

    def find(self, path: Sequence[str]) -> Iterator[str]:
        """Gives the string or the non-negative integer, digit by digit, that stands at the path; or nothing."""
        at: int | None = self._at
        for depth, token in enumerate(path):
            if at is None:
                return
            opening = self._text[at : at + 1]
            if opening == b"{":
                at = self._member(at + 1, token, is_top=not depth)
            elif opening == b"[" and INDEX.fullmatch(token):
                at = _element(self._text, at + 1, int(token))
            else:
                return
        if at is not None:
            yield from _value(self._text, at)

    def _member(self, at: int, name: str, *, is_top: bool) -> int | None:
        if not is_top:
            return _members(self._text, at, frozenset({name})).get(_quoted(name))
        if self._tops is None:
            self._tops = _members(self._text, at, self._wanted)
        return self._tops.get(_quoted(name))


@lru_cache(maxsize=256)
def _wanted(names: frozenset[str]) -> re.Pattern[bytes]:
    quoted = b"|".join(re.escape(_quoted(name)) for name in sorted(names))
    return re.compile(WANTED % (quoted, quoted))


def _members(text: bytes, at: int, names: frozenset[str]) -> Mapping[bytes, int]:
    """Where the values of those members begin, by their quoted names, in an object whose content begins at `at`; of
    members with the same name the first. What lies deeper is passed over by counting its brackets.
    """
    wanted, places, depth, seen = _wanted(names), dict[bytes, int](), 0, at
    while found := wanted.match(text, seen):
        between = text[seen : found.start(1)]
        brackets = STRING.sub(b"", between).translate(None, NO_BRACKETS)
        if brackets:
            levels = list(accumulate(map(STEPS.__getitem__, brackets), initial=depth))
            if min(levels) < 0:  # the object has ended
                break
            depth = levels[-1]
        if not depth and between.rstrip()[-1:] in ((b",", b"") if seen == at else (b",",)):
            places.setdefault(found[1], found.end())
            if len(places) == len(names):
                break
        seen = found.end()
    return places


def _value(text: bytes, at: int) -> Iterator[str]:
    if found := STRING.match(text, at):
        if (word := _unquoted(found[0])) is not None:
            yield word
    elif found := INTEGER.match(text, at):
        yield found[0].decode()


def _quoted(name: str) -> bytes:
    return json.dumps(name, ensure_ascii=False).encode("utf-8", "surrogatepass")


def _unquoted(string: bytes) -> str | None:
    try:
        return str(json.loads(string.decode()))
    except ValueError:
        return None


def _element(text: bytes, at: int, index: int) -> int | None:
    """Where that element begins, in an array whose content begins at `at`."""
    begin = _after_blank(text, at)
    for _ in range(index):
        after = _next(text, begin)
        if after is None:
            return None
        begin = _after_blank(text, after)
    return begin


def _next(text: bytes, at: int) -> int | None:
    """Behind the comma that follows the value at `at`; None where there is none."""
    end = _end(text, at)
    if end is None:
        return None
    comma = _after_blank(text, end)
    return comma + 1 if text[comma : comma + 1] == b"," else None


def _end(text: bytes, at: int) -> int | None:
    """The end of the value at `at`; None where it is cut off."""
    if text[at : at + 1] not in {b"{", b"["}:
        found = SIMPLE.match(text, at)
        return found.end() if found else None
    depth = 0
    for found in BRACKET.finditer(text, at):
        level = LEVELS.get(found[1])
        if level is None:
            break
        depth += level
        if not depth:
            return found.end()
    return None


def _after_blank(text: bytes, at: int) -> int:
    found = BLANK.match(text, at)
    return found.end() if found else at


# XML ------------------------------------------------------------------------------------------------------------------


class _Seen(Exception):
    """There is a DOCTYPE: its entities could say anything."""


def xml_needles(name: str) -> tuple[bytes, ...]:
    """What a body holds that has such an element: the name, in the encodings that expat reads."""
    return tuple(name.encode(coding) for coding in ("utf-8", "utf-16-le", "utf-16-be"))


def in_xml(text: bytes, name: str) -> Iterator[str]:
    """Gives the text of each element of that local name, in any namespace and depth, that has ended and holds no other
    element; nothing from a document with a DOCTYPE.
    """
    found: list[str] = []
    held: list[str] | None = None

    def on_start(tag: str, _: object) -> None:
        nonlocal held
        held = [] if tag.rpartition(":")[2] == name else None

    def on_text(data: str) -> None:
        if held is not None:
            held.append(data)

    def on_end(_: str) -> None:
        nonlocal held
        if held is not None:
            found.append("".join(held))
        held = None

    def on_doctype(*_: object) -> None:
        raise _Seen

    parser = expat.ParserCreate()
    parser.StartElementHandler, parser.EndElementHandler = on_start, on_end
    parser.CharacterDataHandler, parser.StartDoctypeDeclHandler = on_text, on_doctype
    try:
        parser.Parse(text, False)  # noqa: FBT003 - more would follow
    except (expat.ExpatError, ValueError, LookupError, _Seen):  # the second and third for encodings that Python lacks
        return iter(found)
    return iter(found)
