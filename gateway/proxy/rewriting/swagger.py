"""Swagger 2.0 says where an API is in three members: `host`, `basePath` and `schemes`. They are renamed together, so
that they lead to the gateway's route, or not at all.

Only a document whose top-level members say `swagger` is meant, wherever that stands: from the first of the three on the
document is held back, up to its end or to LIMIT bytes of it. What follows the end of a JSON text is another one. A
larger document gets the names of its URLs alone. Members that are written twice count as the first.
"""

import json
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from itertools import accumulate
from typing import NamedTuple

from gateway.content.pieces import coalesce
from gateway.proxy.rewriting.url_map import RequestContext, UrlMap

LIMIT = 1024 * 1024  # bytes of a document within which it is known for a Swagger description
BACKLOG = 32 * 1024  # quotes and braces that are counted only when there is need
LONGEST_VALUE = 2048
TAIL = 48

SWAGGER = b'"swagger"'
KEYS = (b'"host"', b'"basePath"', b'"schemes"', SWAGGER)
BEGINNINGS = tuple((key[:5], key) for key in KEYS)  # up to five bytes are found three times as fast
KEY_ENDS = b'abcdefghijklmnopqrstuvwxyzP" \t\r\n'
KEY = re.compile(rb'"(?<!\\")(swagger|host|basePath|schemes)"[ \t\r\n]{0,16}:')
PART_OF_KEY = re.compile(rb'\\?"[a-zA-Z]{0,8}(?:"[ \t\r\n]{0,16})?\Z')
VALUE = re.compile(rb'(?s)[ \t\r\n]*+("[^"\\]*+(?:\\.[^"\\]*+)*+"|\[[^\[\]{}]*+\])')
YAML_KEY = re.compile(rb"""\n(["']?)(swagger|host|basePath|schemes)\1[ \t]{0,16}:[ \t]*+""")
YAML_VALUE = re.compile(
    rb"""\[[^\[\]{}]*\]|(?:\r?\n[ \t]*-[ \t]+["']?[a-z]+["']?[ \t]*(?=\r?\n|\Z))+"""
    rb"""|"[^"\\\n]*"|'[^'\n]*'|[^\s"'#\[]+"""
)
WORD = re.compile(rb"[a-z]+")
SCHEMES = frozenset({b"http", b"https", b"ws", b"wss"})
STEPS = {byte: 1 if byte in b"{[" else -1 for byte in b"{}[]"}
NO_STRUCTURE = bytes(set(range(256)) - set(b'"{}[]'))


class DescriptionMember(NamedTuple):
    """A member's value as it stands in the text that is held."""

    start: int
    stop: int
    raw: bytes
    text: str


class Depth:
    """Counts braces and brackets outside of strings."""

    def __init__(self) -> None:
        self._counted = 0
        self._escape = b""
        self._marks: list[bytes] = []
        self._size = 0
        self._lowest: int | None = None

    @property
    def has_ended(self) -> bool:
        """The text that was open when `watch` was called has ended, as far as has been counted."""
        return self._lowest is not None and self._lowest < 1

    def watch(self) -> None:
        """Looks for the end of the text from here on."""
        if self._lowest is None:
            self._lowest = self.count()

    def add(self, data: bytes) -> None:
        """Goes on over the next bytes of a JSON text."""
        if self._escape or b"\\" in data:
            data = (self._escape + data).replace(rb"\\", b"").replace(rb"\"", b"")
            self._escape = b"\\" if data.endswith(b"\\") else b""
        marks = data.translate(None, NO_STRUCTURE)
        if not marks:
            return
        self._marks.append(marks)
        self._size += len(marks)
        if self._size > BACKLOG:
            self.count()

    def count(self) -> int:
        """Gives how many are open."""
        # Two quotes with no brace between them are dropped: what is inside of a string stays inside of one.
        parts = b"".join(self._marks).replace(b'""', b"").split(b'"')
        outside = b"".join(parts[::2])
        if self._lowest is not None:
            self._lowest = min(self._lowest, *accumulate(map(STEPS.__getitem__, outside), initial=self._counted))
        self._counted += outside.count(b"{") + outside.count(b"[") - outside.count(b"}") - outside.count(b"]")
        is_open = len(parts) % 2 == 0
        self._marks = [b'"'] if is_open else []
        self._size = 0
        return self._counted


def renamed(
    members: Mapping[str, DescriptionMember], names: UrlMap, here: RequestContext, *, yaml: bool
) -> list[tuple[DescriptionMember, bytes]]:
    """Gives what is put in place of the members' values, in the text's order; nothing where they lead to no route."""
    host, base, schemes = (members.get(key) for key in ("host", "basePath", "schemes"))
    said = WORD.search(schemes.raw) if schemes else None
    scheme = said[0].decode() if said else None
    path = base.text if base else "/"
    name = None
    if scheme in {None, "http", "https"} and path.startswith("/"):
        name = names.replacement(scheme, host.text if host else None, path, here)
    public, _, place = (here.public if name is None else name.head if host else here.public).partition("://")
    if name is None or not place:
        return []
    authority, slash, prefix = place.partition("/")
    root = (slash + prefix if host else name.head) + path[name.taken :]
    root = root if root.startswith("/") else f"/{root}"
    swaps = []
    if host:
        extra = "" if base or root == "/" else ("\nbasePath: %s" if yaml else ',"basePath":"%s"') % root
        swaps.append((host, _like(host.raw, authority) + extra.encode("latin-1")))
    if base:
        swaps.append((base, _like(base.raw, root)))
    if schemes:
        swaps.append((schemes, _first_word(schemes.raw, public.encode("latin-1"))))
    return sorted(swaps)


def _like(raw: bytes, text: str) -> bytes:
    """Writes a text between the same quotes, and with escaped slashes if it had them."""
    quote = raw[:1] if raw[:1] in {b'"', b"'"} else b""
    spelt = text.encode("latin-1")
    return b"%b%b%b" % (quote, spelt.replace(b"/", rb"\/") if rb"\/" in raw else spelt, quote)


def _first_word(raw: bytes, word: bytes) -> bytes:
    """The list with one word in it, written as its first one was."""
    words = [(found.start(), found.end()) for found in WORD.finditer(raw)]
    if not words:
        return raw
    (start, end), last = words[0], words[-1][1]
    return raw[:start] + word + (raw[end:] if last == end else raw[last:])


def is_description(body: bytes) -> bool:
    """False when a whole body of JSON surely is no Swagger description."""
    return SWAGGER in body


def is_clear_of_members(piece: bytes) -> bool:
    """True when no member of a description begins in a piece of JSON, whatever stands after it."""
    return not _has_members(piece) and _part_of_key(piece) is None


def _has_members(text: bytes) -> bool:
    return any(beginning in text and key in text for beginning, key in BEGINNINGS)


def _part_of_key(text: bytes) -> re.Match[bytes] | None:
    """The end of a text, where it may become a member's name."""
    return PART_OF_KEY.search(text, max(0, len(text) - TAIL)) if text[-1:] in KEY_ENDS else None


class Description(ABC):
    """Holds a document back while it may be a Swagger description, and renames where it is one."""

    def __init__(self, names: UrlMap, here: RequestContext) -> None:
        self.changed = False
        self._names = names
        self._here = here
        self._seen = 0
        self._is_over = False
        self._held: list[bytes] = []

    def feed(self, piece: bytes) -> list[bytes]:
        """Gives what is settled by one more piece."""
        if self._is_over:
            return [piece]
        room = LIMIT - self._seen
        self._seen += len(piece)
        if len(piece) <= room:
            return self._take(piece)
        out = self._take(piece[:room]) if room else []
        return [*out, *self._release(), piece[room:]]

    def end(self) -> list[bytes]:
        """Gives what was held back."""
        return [] if self._is_over else self._settle()

    def may_be_slow(self, piece: bytes) -> bool:
        """Whether a piece may cost much more than its bytes."""
        return not self._is_over and _has_members(piece)

    @abstractmethod
    def _take(self, piece: bytes) -> list[bytes]:
        """Gives what a piece within the limit settles."""

    @abstractmethod
    def _settle(self) -> list[bytes]:
        """Gives what is held back at the end."""

    def _release(self) -> list[bytes]:
        self._is_over = True
        held, self._held = self._held, []
        return held

    def _swap(self, members: Mapping[str, DescriptionMember], *, yaml: bool) -> list[bytes]:
        """Gives what is held with the members' values renamed."""
        swaps = renamed(members, self._names, self._here, yaml=yaml)
        if not swaps:
            return self._release()
        text, position = b"".join(self._release()), 0
        out: list[bytes] = []
        for member, spelt in swaps:
            out += (text[position : member.start], spelt)
            position = member.stop
        whole = b"".join((*out, text[position:]))
        self.changed = whole != text
        return [whole]


class YamlDescription(Description):
    """YAML in block style, whose top-level keys begin their lines; held back whole. The first of each key counts."""

    def __init__(self, names: UrlMap, here: RequestContext) -> None:
        super().__init__(names, here)
        self._places: dict[bytes, int] = {}
        self._tail = b"\n"

    def _take(self, piece: bytes) -> list[bytes]:
        text = self._tail + piece
        offset = self._seen - len(text)
        for key in YAML_KEY.finditer(text):
            self._places.setdefault(key[2], key.start(1) + offset)
        self._tail = text[-TAIL:]
        self._held = coalesce(self._held, [piece], size=self._seen)
        return []

    def _settle(self) -> list[bytes]:
        if b"swagger" not in self._places:
            return self._release()
        text = b"\n" + b"".join(self._held)
        members: dict[str, DescriptionMember] = {}
        for name, place in self._places.items():
            key = YAML_KEY.match(text, place)
            value = YAML_VALUE.match(text, key.end()) if key else None
            if value is not None:
                raw = value[0]
                said = raw[1:-1] if raw[:1] in {b'"', b"'"} else raw
                members[name.decode()] = DescriptionMember(
                    value.start() - 1, value.end() - 1, raw, said.decode("latin-1")
                )
        return self._swap(members, yaml=True) if members.pop("swagger", None) else self._release()


class JsonDescription(Description):
    """JSON in any superset of ASCII. Until one of the members is met, pieces pass as they are."""

    def __init__(self, names: UrlMap, here: RequestContext) -> None:
        super().__init__(names, here)
        self._depth = Depth()
        self._rest = b""
        self._size = 0
        self._is_swagger = False
        self._noted: set[bytes] = set()
        self._members: dict[str, DescriptionMember] = {}

    def _take(self, piece: bytes) -> list[bytes]:
        text = self._rest + piece
        if self._members or _has_members(text):
            return self._read(text)
        part = _part_of_key(text)
        cut = len(text) if part is None else part.start()
        self._rest = text[cut:]
        given = text[:cut]
        self._depth.add(given)
        return [given] if given else []

    def _read(self, text: bytes) -> list[bytes]:
        """Goes through what is neither given nor held yet; keeps the end of it that may be part of a member."""
        out: list[bytes] = []
        start = counted = position = 0
        cut, self._rest = None, b""
        while cut is None and (key := KEY.search(text, position)):
            if key[1] in self._noted:  # what is written twice counts as the first
                position = key.end()
                continue
            self._depth.add(text[counted : key.start()])
            counted, position = key.start(), key.end()
            depth = self._depth.count()
            if self._depth.has_ended:
                return [*out, *self._close(text[start:])]
            if depth != 1:
                continue
            end = key.end() + LONGEST_VALUE
            value = VALUE.match(text, key.end(), end)
            if value is None and end > len(text):
                cut = key.start()
                continue
            if not self._members and key[1] != b"swagger":
                out, start = [text[: key.start()]], key.start()
            if value is None or not self._note(key[1].decode(), value, self._size - start):
                return [*out, *self._release(), text[start:]]
            position = value.end()
            if self._is_complete:
                cut = len(text)
        if cut is None:
            part = PART_OF_KEY.search(text, max(position, len(text) - TAIL))
            cut = len(text) if part is None else part.start()
        self._depth.add(text[counted:cut])
        self._rest = text[cut:]
        if self._noted:
            self._depth.count()
            if self._depth.has_ended:
                return [*out, *self._close(text[start:cut])]
        return self._keep(out, text[start:cut])

    def _note(self, key: str, value: re.Match[bytes], offset: int) -> bool:
        """False where the document is none that is ours."""
        text = _loaded(value[1])
        self._noted.add(key.encode())
        self._depth.watch()
        if key == "swagger":
            self._is_swagger = True
        elif not self._may_be_ours(key, value[1], text):
            return False
        else:
            member = DescriptionMember(value.start(1) + offset, value.end(1) + offset, value[1], text)
            self._members[key] = member
        return True

    def _may_be_ours(self, key: str, raw: bytes, text: str) -> bool:
        """False for a value that Swagger has nowhere, or that names a foreign host."""
        if key == "host":
            return self._names.origins.has_origin(self._here.upstream.scheme, text)
        return text.startswith("/") if key == "basePath" else _has_scheme(raw)

    def _close(self, text: bytes) -> list[bytes]:
        """The text has ended: what follows is another one."""
        if not self._members:
            return [text, *self._release()] if text else self._release()
        self._held.append(text)
        return self._settle()

    def _keep(self, out: list[bytes], text: bytes) -> list[bytes]:
        if not self._members:
            return [*out, text] if text else out
        self._size += len(text)
        self._held = coalesce(self._held, [text], size=self._size)
        return out + self._settle() if self._is_complete else out

    @property
    def _is_complete(self) -> bool:
        return self._is_swagger and len(self._members) == len(KEYS) - 1

    def _settle(self) -> list[bytes]:
        return self._swap(self._members, yaml=False) if self._is_swagger else self._release()

    def _release(self) -> list[bytes]:
        rest, self._rest = self._rest, b""
        self._depth = Depth()
        return [*super()._release(), rest] if rest else super()._release()


def _has_scheme(raw: bytes) -> bool:
    """False where a list begins with what is no scheme of Swagger."""
    first = WORD.search(raw)
    return first is None or first[0] in SCHEMES


def _loaded(raw: bytes) -> str:
    """The text of a JSON string; empty for what is none."""
    try:
        said = json.loads(raw)
    except ValueError:
        return ""
    return said if isinstance(said, str) else ""
