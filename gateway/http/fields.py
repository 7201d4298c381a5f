"""Pure: the fields of a head, parsed by one strict grammar for both sides (RFC 9110 §5, RFC 9112 §5).

A field that the gateway does not act on is forwarded as its line, byte for byte. Lines that other parsers read in
different ways are malformed: control bytes, a bare LF or CR, a folded line, a blank before the colon.
"""

import re
from collections.abc import Collection, Iterable, Mapping
from enum import Enum
from functools import lru_cache
from typing import NamedTuple

CONTROL_BYTE = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
# Bytes that make the beginning of a head malformed, whatever follows.
MALFORMED_BYTES = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|(?<!\r)\n|\r(?=[^\n])")
FIELD_BYTES = bytes(byte for byte in range(256) if byte == 0x09 or (byte >= 0x20 and byte != 0x7F))  # RFC 9110 §5.5
CRLF = b"\r\n"
FIELD_NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
CACHED_NAMES = 4096  # spellings of names; bounded, since callers choose them
CACHED_LENGTH = 64  # bytes of a name or a list that is cached
PERSISTENCE_OPTIONS = frozenset({b"close", b"keep-alive"})


class MalformedMessage(Exception):
    """The bytes are not well-formed HTTP/1; the text is the reason, for the log."""


class FieldAction(Enum):
    """How a field is treated."""

    DROP = "drop"
    CONSUME = "consume"
    """The gateway acts on it; it is not forwarded."""
    INSPECT = "inspect"
    """The gateway reads it; it is forwarded."""
    DEFER = "defer"
    """A later step decides whether and how it is forwarded."""
    REVISE = "revise"
    """The gateway reads it, and a later step decides how it is forwarded."""


class FieldRule(NamedTuple):
    """How `sort_fields` treats a field."""

    key: bytes
    is_forwarded: bool
    is_known: bool
    is_deferred: bool


class FieldRules(dict[bytes, FieldRule | None]):
    """Maps a field name, as spelled, to its rule; to None if it is only forwarded. Spellings are cached. Raise
    MalformedMessage for an invalid name.
    """

    def __init__(
        self,
        table: Mapping[bytes, FieldAction],
        *,
        dropped_prefixes: tuple[bytes, ...] = (),
        underscore_aliases: Collection[bytes] = (),
    ) -> None:
        """`table` by lower-case name. Names with one of the `dropped_prefixes` are never forwarded; if there are any,
        names with `_` for `-` are treated as those with `-`: dropped, or read if they are in `underscore_aliases`.
        """
        super().__init__()
        self._table = table
        self._dropped_prefixes = dropped_prefixes
        self._underscore_aliases = frozenset(underscore_aliases)

    def __missing__(self, name: bytes) -> FieldRule | None:
        """Find the rule of a new spelling."""
        if FIELD_NAME.fullmatch(name) is None:
            raise MalformedMessage("a field's name is malformed")
        key = name.lower()
        action = self._table.get(key)
        if action is None and self._dropped_prefixes:
            # Servers that turn names into variables (RFC 3875 §4.1.18) cannot tell `_` from `-`.
            plain = key.replace(b"_", b"-")
            is_disguised = plain != key and self._table.get(plain) in {FieldAction.DROP, FieldAction.CONSUME}
            action = FieldAction.DROP if is_disguised or plain.startswith(self._dropped_prefixes) else None
            if plain in self._underscore_aliases:
                key, action = plain, self._table[plain]
        rule = None
        if action is not None:
            is_known = action in {FieldAction.CONSUME, FieldAction.INSPECT, FieldAction.REVISE}
            is_deferred = action in {FieldAction.DEFER, FieldAction.REVISE}
            rule = FieldRule(key, action is FieldAction.INSPECT, is_known, is_deferred)
        if len(self) < CACHED_NAMES and len(name) <= CACHED_LENGTH:
            self[name] = rule
        return rule


ForwardedLines = list[bytes]
"""Lines without CRLF, in order."""
KnownFields = dict[bytes, bytes]
"""Values of CONSUME and INSPECT fields by lower-case name; repeated ones joined with a comma (RFC 9110 §5.2)."""
DeferredFields = list[tuple[bytes, bytes]]
"""(lower-case name, line) of DEFER fields, in order."""


def split_lines(head_bytes: bytes) -> list[bytes]:
    """Split a head, given without its last two line ends, into lines. Raise MalformedMessage for control bytes and for
    line ends that are not CRLF (RFC 9112 §2.2).
    """
    lines = head_bytes.split(CRLF)
    # Without visible characters, only the line ends that it was split at may be left.
    if head_bytes.translate(None, FIELD_BYTES) != CRLF * (len(lines) - 1):
        raise MalformedMessage("a control byte, or a line end that is not CRLF")
    return lines


def sort_fields(lines: Iterable[bytes], rules: FieldRules) -> tuple[ForwardedLines, KnownFields, DeferredFields]:
    """Sort the field lines of a head. Raise MalformedMessage."""
    forwarded: ForwardedLines = []
    known: KnownFields = {}
    deferred: DeferredFields = []
    for line in lines:
        name, colon, value = line.partition(b":")
        if not colon:
            raise MalformedMessage("a field has no colon")
        rule = rules[name]
        if rule is None:
            forwarded.append(line)
            continue
        key, is_forwarded, is_known, is_deferred = rule
        if is_forwarded:
            forwarded.append(line)
        if is_known:
            value = value.strip(b" \t")
            known[key] = b"%b, %b" % (known[key], value) if key in known else value
        if is_deferred:
            deferred.append((key, line))
    return forwarded, known, deferred


def is_content_length(value: bytes) -> bool:
    """Return whether a Content-Length is one number of a possible size (RFC 9110 §8.6)."""
    return len(value) < 19 and value.isdigit()


def field_value(line: bytes) -> bytes:
    """Return the value of a field line, without surrounding white space."""
    return line.partition(b":")[2].strip(b" \t")


def remove_fields(names: frozenset[bytes], lines: list[bytes]) -> list[bytes]:
    """Return the lines of fields that are not among `names` (in lower case)."""
    return [line for line in lines if line.partition(b":")[0].lower() not in names]


def parse_options(value: bytes) -> frozenset[bytes]:
    """Return the members of a comma-separated list, in lower case."""
    return _cached_members(value) if len(value) <= CACHED_LENGTH else _parse_members(value)


def connection_options(connection: bytes) -> frozenset[bytes]:
    """Return the fields that a Connection field names (RFC 9110 §7.6.1), in lower case, without `close`,
    `keep-alive`.
    """
    return parse_options(connection) - PERSISTENCE_OPTIONS


def _parse_members(value: bytes) -> frozenset[bytes]:
    return frozenset(option.strip(b" \t") for option in value.lower().split(b","))


_cached_members = lru_cache(maxsize=1024)(_parse_members)
