"""Replace `host`, `basePath` and `schemes` of a Swagger 2.0 document, which are one URL together: all or none of them.

A Swagger document has a top-level member `swagger`, at any position: from the first of the three members on, the
document is held back up to its end or to LIMIT bytes. A JSON document is none if its first member, or the one behind
one of the three, is no field of Swagger: this rules out most JSON by its first bytes. The bytes behind the end of a
JSON text are another text. In a larger document only complete URLs are replaced. The first of several members with the
same name counts.
"""

import json
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import NamedTuple

from gateway.content.pieces import coalesce
from gateway.proxy.rewriting.nesting_depth import NestingDepth
from gateway.proxy.rewriting.url_map import RequestContext, UrlMap

LIMIT = 1024 * 1024  # bytes of a document in which its members are searched
LONGEST_VALUE = 2048
TAIL = 48

SWAGGER = b'"swagger"'
KEYS = (b'"host"', b'"basePath"', b'"schemes"', SWAGGER)
BEGINNINGS = tuple((key[:5], key) for key in KEYS)  # five bytes are found three times as fast as longer ones
KEY_ENDS = b'abcdefghijklmnopqrstuvwxyzP" \t\r\n'
KEY = re.compile(rb'"(?<!\\")(swagger|host|basePath|schemes)"[ \t\r\n]{0,16}:')
KEY_PREFIX = re.compile(rb'\\?"[a-zA-Z]{0,8}(?:"[ \t\r\n]{0,16})?\Z')
VALUE = re.compile(rb'(?s)[ \t\r\n]*+("[^"\\]*+(?:\\.[^"\\]*+)*+"|\[[^\[\]{}]*+\])')
YAML_KEY = re.compile(rb"""\n(?=["'shb])(["']?)(swagger|host|basePath|schemes)\1[ \t]{0,16}:[ \t]*+""")
YAML_VALUE = re.compile(
    rb"""\[[^\[\]{}]*\]|(?:\r?\n[ \t]*-[ \t]+["']?[a-z]+["']?[ \t]*(?=\r?\n|\Z))+"""
    rb"""|"[^"\\\n]*"|'[^'\n]*'|[^\s"'#\[]+"""
)
# Swagger 2.0 §Swagger Object: the top-level fields, and extensions. Matches the text before and in a member's name.
FIELDS = (
    rb"swagger|info|host|basePath|schemes|consumes|produces|paths|definitions|parameters|responses|securityDefinitions"
    rb"|security|tags|externalDocs"
)
FIELD = re.compile(
    rb'(?:\xef\xbb\xbf)?[ \t\r\n]*+(?:\Z|\}|[{,][ \t\r\n]*+(?:\Z|"(?:(?:%b)"|[xX]-|[A-Za-z]{0,24}+\Z)))' % FIELDS
)
FIELD_SIZE = 64  # bytes in which `FIELD` is searched
WORD = re.compile(rb"[a-z]+")
SCHEMES = frozenset({b"http", b"https", b"ws", b"wss"})


class DescriptionMember(NamedTuple):
    """A member's value in the held text."""

    start: int
    stop: int
    raw: bytes
    text: str


def replace_members(
    members: Mapping[str, DescriptionMember], url_map: UrlMap, context: RequestContext, *, yaml: bool
) -> list[tuple[DescriptionMember, bytes]]:
    """Return the new values of the members, in the order of the text; none if they lead to no route."""
    host, base, schemes = (members.get(key) for key in ("host", "basePath", "schemes"))
    word = WORD.search(schemes.raw) if schemes else None
    scheme = word[0].decode() if word else None
    path = base.text if base else "/"
    name = None
    if scheme in {None, "http", "https"} and path.startswith("/"):
        name = url_map.replacement(scheme, host.text if host else None, path, context)
    public, _, place = (context.public if name is None else name.head if host else context.public).partition("://")
    if name is None or not place:
        return []
    authority, slash, prefix = place.partition("/")
    root = (slash + prefix if host else name.head) + path[name.taken :]
    root = root if root.startswith("/") else f"/{root}"
    edits = []
    if host:
        extra = "" if base or root == "/" else ("\nbasePath: %s" if yaml else ',"basePath":"%s"') % root
        edits.append((host, _quote_like(host.raw, authority) + extra.encode("latin-1")))
    if base:
        edits.append((base, _quote_like(base.raw, root)))
    if schemes:
        edits.append((schemes, _replace_words(schemes.raw, public.encode("latin-1"))))
    return sorted(edits)


def _quote_like(raw: bytes, text: str) -> bytes:
    """Write a text with the quotes and the escaped slashes of the old one."""
    quote = raw[:1] if raw[:1] in {b'"', b"'"} else b""
    spelt = text.encode("latin-1")
    return b"%b%b%b" % (quote, spelt.replace(b"/", rb"\/") if rb"\/" in raw else spelt, quote)


def _replace_words(raw: bytes, word: bytes) -> bytes:
    """Return the list with a single word, in the form of its first one."""
    words = [(found.start(), found.end()) for found in WORD.finditer(raw)]
    if not words:
        return raw
    (start, end), last = words[0], words[-1][1]
    return raw[:start] + word + (raw[end:] if last == end else raw[last:])


def _has_members(text: bytes) -> bool:
    return any(beginning in text and key in text for beginning, key in BEGINNINGS)


def _key_prefix(text: bytes) -> re.Match[bytes] | None:
    """Match the end of a text that may become a member's name."""
    return KEY_PREFIX.search(text, max(0, len(text) - TAIL)) if text[-1:] in KEY_ENDS else None


class Description(ABC):
    """Holds a document back while it may be a Swagger document, and replaces its members if it is one."""

    def __init__(self, url_map: UrlMap, context: RequestContext) -> None:
        self.changed = False
        self._url_map = url_map
        self._context = context
        self._size_read = 0
        self._is_done = False
        self._held: list[bytes] = []

    def feed(self, piece: bytes) -> list[bytes]:
        """Return the output that is decided with this piece."""
        if self._is_done:
            return [piece]
        room = LIMIT - self._size_read
        self._size_read += len(piece)
        if len(piece) <= room:
            return self._read_piece(piece)
        out = self._read_piece(piece[:room]) if room else []
        return [*out, *self._release(), piece[room:]]

    @property
    def is_done(self) -> bool:
        """Whether the rest of the document passes as it is."""
        return self._is_done

    def end(self) -> list[bytes]:
        """Return what was held back."""
        return [] if self._is_done else self._finish()

    @abstractmethod
    def _read_piece(self, piece: bytes) -> list[bytes]:
        """Return the output that is decided with a piece within the limit."""

    @abstractmethod
    def _finish(self) -> list[bytes]:
        """Return what is held back, at the end of the document."""

    def _release(self) -> list[bytes]:
        self._is_done = True
        held, self._held = self._held, []
        return held

    def _replace(self, members: Mapping[str, DescriptionMember], *, yaml: bool) -> list[bytes]:
        """Return the held text with the new values of the members."""
        edits = replace_members(members, self._url_map, self._context, yaml=yaml)
        if not edits:
            return self._release()
        text, position = b"".join(self._release()), 0
        out: list[bytes] = []
        for member, spelt in edits:
            out += (text[position : member.start], spelt)
            position = member.stop
        whole = b"".join((*out, text[position:]))
        self.changed = whole != text
        return [whole]


class YamlDescription(Description):
    """A YAML document in block style: its top-level keys begin their lines. It is held back as a whole."""

    def __init__(self, url_map: UrlMap, context: RequestContext) -> None:
        super().__init__(url_map, context)
        self._places: dict[bytes, int] = {}
        self._tail = b"\n"

    def _read_piece(self, piece: bytes) -> list[bytes]:
        text = self._tail + piece
        offset = self._size_read - len(text)
        for key in YAML_KEY.finditer(text):
            self._places.setdefault(key[2], key.start(1) + offset)
        self._tail = text[-TAIL:]
        self._held = coalesce(self._held, [piece], size=self._size_read)
        return []

    def _finish(self) -> list[bytes]:
        if b"swagger" not in self._places:
            return self._release()
        text = b"\n" + b"".join(self._held)
        members: dict[str, DescriptionMember] = {}
        for name, place in self._places.items():
            key = YAML_KEY.match(text, place)
            value = YAML_VALUE.match(text, key.end()) if key else None
            if value is not None:
                raw = value[0]
                text_value = raw[1:-1] if raw[:1] in {b'"', b"'"} else raw
                members[name.decode()] = DescriptionMember(
                    value.start() - 1, value.end() - 1, raw, text_value.decode("latin-1")
                )
        return self._replace(members, yaml=True) if members.pop("swagger", None) else self._release()


class JsonDescription(Description):
    """A JSON document in a superset of ASCII. Pieces pass as they are up to the first of the members."""

    def __init__(self, url_map: UrlMap, context: RequestContext) -> None:
        super().__init__(url_map, context)
        self._depth = NestingDepth()
        self._rest = b""
        self._size = 0
        self._is_swagger = False
        self._known: set[bytes] = set()
        self._field: bytes | None = b""  # the text where a top-level name may be; None if it has been read
        self._members: dict[str, DescriptionMember] = {}

    def _read_piece(self, piece: bytes) -> list[bytes]:
        text = self._rest + piece
        if not self._read_field(text if self._field == b"" else piece):
            return [*self._release(), piece]
        if self._members or _has_members(text):
            return self._read(text)
        part = _key_prefix(text)
        cut = len(text) if part is None else part.start()
        self._rest = text[cut:]
        given = text[:cut]
        self._depth.add(given)
        return [given] if given else []

    def may_be_slow(self, piece: bytes) -> bool:
        """Return whether a piece may cost much more than its bytes."""
        is_read = not self._is_done and (self._size_read or FIELD.match(piece, 0, FIELD_SIZE))
        return bool(is_read) and _has_members(piece)

    def _read_field(self, text: bytes) -> bool:
        """Read the text where a top-level name is expected. Return False if it is no field of Swagger."""
        if self._field is None:
            return True
        field = self._field + text[:FIELD_SIZE]
        self._field = None if len(field) >= FIELD_SIZE else field
        return FIELD.match(field) is not None

    def _read(self, text: bytes) -> list[bytes]:
        """Read the text that is neither output nor held yet. Keep its end if that may be part of a member."""
        out: list[bytes] = []
        start = counted = position = 0
        cut, self._rest = None, b""
        while cut is None and (key := KEY.search(text, position)):
            if key[1] in self._known:  # the first one counts
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
            if value is None or not self._add_member(key[1].decode(), value, self._size - start):
                return [*out, *self._release(), text[start:]]
            position = value.end()
            if self._is_complete:
                cut = len(text)
        if cut is None:
            part = KEY_PREFIX.search(text, max(position, len(text) - TAIL))
            cut = len(text) if part is None else part.start()
        self._depth.add(text[counted:cut])
        self._rest = text[cut:]
        if self._known:
            self._depth.count()
            if self._depth.has_ended:
                return [*out, *self._close(text[start:cut])]
        return self._keep(out, text[start:cut])

    def _add_member(self, key: str, value: re.Match[bytes], offset: int) -> bool:
        """Note a member. Return False if the document is not a Swagger document of OIC."""
        text = _parse_string(value[1])
        self._known.add(key.encode())
        self._depth.watch()
        if key == "swagger":
            self._is_swagger = True
        elif not self._may_be_ours(key, value[1], text):
            return False
        else:
            member = DescriptionMember(value.start(1) + offset, value.end(1) + offset, value[1], text)
            self._members[key] = member
        self._field = b""
        return self._read_field(value.string[value.end() :])

    def _may_be_ours(self, key: str, raw: bytes, text: str) -> bool:
        """Return False for a value that Swagger does not permit, or that contains another host than OIC's."""
        if key == "host":
            return self._url_map.origins.has_origin(self._context.upstream.scheme, text)
        return text.startswith("/") if key == "basePath" else _has_scheme(raw)

    def _close(self, text: bytes) -> list[bytes]:
        """End the text: further bytes are another one."""
        if not self._members:
            return [text, *self._release()] if text else self._release()
        self._held.append(text)
        return self._finish()

    def _keep(self, out: list[bytes], text: bytes) -> list[bytes]:
        if not self._members:
            return [*out, text] if text else out
        self._size += len(text)
        self._held = coalesce(self._held, [text], size=self._size)
        return out + self._finish() if self._is_complete else out

    @property
    def _is_complete(self) -> bool:
        return self._is_swagger and len(self._members) == len(KEYS) - 1

    def _finish(self) -> list[bytes]:
        return self._replace(self._members, yaml=False) if self._is_swagger else self._release()

    def _release(self) -> list[bytes]:
        rest, self._rest = self._rest, b""
        self._depth = NestingDepth()
        return [*super()._release(), rest] if rest else super()._release()


def _has_scheme(raw: bytes) -> bool:
    """Return False if a list does not begin with a scheme of Swagger."""
    first = WORD.search(raw)
    return first is None or first[0] in SCHEMES


def _parse_string(raw: bytes) -> str:
    """Return the text of a JSON string, "" for any other value."""
    try:
        value = json.loads(raw)
    except ValueError:
        return ""
    return value if isinstance(value, str) else ""
