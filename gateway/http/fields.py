"""Parse the fields of a head by one strict grammar for both sides (RFC 9110 §5, RFC 9112 §5). Pure.

The line of a field that the gateway does not act on is forwarded byte for byte. Lines that parsers read in different
ways are malformed: control bytes, a bare LF or CR, a folded line, a space before the colon.
"""

import re
from collections.abc import Collection, Iterable, Mapping
from enum import Enum
from functools import lru_cache
from typing import NamedTuple

CONTROL_BYTE = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
# Bytes that make a head malformed, whatever follows them.
MALFORMED_BYTES = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|(?<!\r)\n|\r(?=[^\n])")
FIELD_BYTES = bytes(byte for byte in range(256) if byte == 0x09 or (byte >= 0x20 and byte != 0x7F))  # RFC 9110 §5.5
CRLF = b"\r\n"
FIELD_NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
CACHED_NAMES = 4096  # maximum number of cached spellings of names: callers choose them
CACHED_LENGTH = 64  # maximum bytes of a cached name or list
COOKIE = b"cookie"
PERSISTENCE_OPTIONS = frozenset({b"close", b"keep-alive"})


class MalformedMessage(Exception):
    """The bytes are not well-formed HTTP/1. The text is the reason, for the log."""


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
    """The gateway reads it, and a later step decides whether and how it is forwarded."""


class FieldRule(NamedTuple):
    """What `sort_fields` does with a field; `key` is its lower-case name."""

    key: bytes
    is_forwarded: bool
    is_known: bool
    is_deferred: bool


class FieldRules(dict[bytes, FieldRule | None]):
    """Maps the name of a field, in any spelling, to its rule; None: it is only forwarded. Spellings are cached.

    Raise MalformedMessage for an invalid name.
    """

    def __init__(
        self,
        table: Mapping[bytes, FieldAction],
        *,
        dropped_prefixes: tuple[bytes, ...] = (),
        underscore_aliases: Collection[bytes] = (),
        special: Collection[bytes] = (),
        credentials: Collection[bytes] = (),
    ) -> None:
        """`table` contains the actions by lower-case name. Fields whose names begin with one of the `dropped_prefixes`
        are dropped. If there are such prefixes, a name with `_` instead of `-` is dropped if the name with `-` is
        dropped or consumed, or is read as that name if that is in `underscore_aliases`. `special` are known fields that
        most heads have not, and that need a step of their own. `credentials` are forwarded fields that may contain the
        caller's credentials.
        """
        super().__init__()
        self.special = frozenset(special)
        self.credentials = frozenset(credentials)
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
            # Servers that convert names to variables (RFC 3875 §4.1.18) do not distinguish `_` from `-`.
            plain = key.replace(b"_", b"-")
            is_alias = plain != key and self._table.get(plain) in {FieldAction.DROP, FieldAction.CONSUME}
            action = FieldAction.DROP if is_alias or plain.startswith(self._dropped_prefixes) else None
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
"""Values of CONSUME, INSPECT and REVISE fields by lower-case name; repeated ones joined with a
comma (RFC 9110 §5.2), those of Cookie with a semicolon (RFC 9113 §8.2.3).
"""
DeferredFields = list[tuple[bytes, bytes]]
"""(lower-case name, line) of DEFER and REVISE fields, in order."""


def split_lines(head_bytes: bytes) -> list[bytes]:
    """Split a head, without its last two line ends, into lines. Raise MalformedMessage for control bytes and for line
    ends that are not CRLF (RFC 9112 §2.2).
    """
    lines = head_bytes.split(CRLF)
    # Without the bytes that fields may contain, only the line ends may be left.
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
            if key in known:
                value = b"%b%b%b" % (known[key], b"; " if key == COOKIE else b", ", value)
            known[key] = value
        if is_deferred:
            deferred.append((key, line))
    return forwarded, known, deferred


def is_content_length(value: bytes) -> bool:
    """Return whether a Content-Length is one number of at most 18 digits (RFC 9110 §8.6)."""
    return len(value) < 19 and value.isdigit()


def field_value(line: bytes) -> bytes:
    """Return the value of a field line, without surrounding white space."""
    return line.partition(b":")[2].strip(b" \t")


def remove_fields(names: frozenset[bytes], lines: Iterable[bytes]) -> list[bytes]:
    """Return the lines of fields that are not among `names` (in lower case)."""
    return [line for line in lines if line.partition(b":")[0].lower() not in names]


def parse_options(value: bytes) -> frozenset[bytes]:
    """Return the members of a comma-separated list, in lower case."""
    return _cached_members(value) if len(value) <= CACHED_LENGTH else _parse_members(value)


def connection_options(connection: bytes) -> frozenset[bytes]:
    """Return the names of fields in a Connection field (RFC 9110 §7.6.1), in lower case: its options except `close` and
    `keep-alive`.
    """
    return _cached_options(connection) if len(connection) <= CACHED_LENGTH else _parse_options(connection)


def is_persistent(connection: bytes | None, *, is_http11: bool) -> bool:
    """Return whether the sender of a head with this Connection field keeps the connection (RFC 9112 §9.3): in HTTP/1.1
    by default, in HTTP/1.0 with `keep-alive`.
    """
    if connection is None:
        return is_http11
    options = parse_options(connection)
    return b"close" not in options and (is_http11 or b"keep-alive" in options)


def _parse_members(value: bytes) -> frozenset[bytes]:
    return frozenset(option.strip(b" \t") for option in value.lower().split(b","))


def _parse_options(connection: bytes) -> frozenset[bytes]:
    return _parse_members(connection) - PERSISTENCE_OPTIONS


_cached_members = lru_cache(maxsize=1024)(_parse_members)
_cached_options = lru_cache(maxsize=1024)(_parse_options)
