"""Pure: the fields of a head, taken apart by one strict grammar for both sides (RFC 9110 §5, RFC 9112 §5).

A field that means nothing to us passes on as the line that it came as, byte for byte. What has two readings somewhere
is no HTTP here: control bytes, a line feed or a carriage return alone, a folded line, a blank before the colon.
"""

import re
from collections.abc import Collection, Iterable, Mapping
from enum import Enum
from functools import lru_cache
from typing import NamedTuple

CONTROL = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
# In the beginning of a head: what no end makes good.
BROKEN = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|(?<!\r)\n|\r(?=[^\n])")
VISIBLE = bytes(byte for byte in range(256) if byte == 0x09 or (byte >= 0x20 and byte != 0x7F))  # RFC 9110 §5.5
CRLF = b"\r\n"
NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
REMEMBERED = 4096  # spellings of names: callers must not be able to fill the memory
LONGEST_REMEMBERED = 64  # bytes of a name or a list
PER_CONNECTION = frozenset({b"close", b"keep-alive"})


class MalformedMessage(Exception):
    """The bytes are not clean HTTP/1; the text says how, for the log."""


class FieldAction(Enum):
    """What becomes of a field."""

    DROP = "drop"
    CONSUME = "note"
    """We act on it; it does not pass."""
    INSPECT = "show"
    """We look at it, and it passes."""
    DEFER = "hold"
    """Whether and how it passes is settled later."""


class FieldRule(NamedTuple):
    """What becomes of a field, as the sorting asks for it."""

    key: bytes
    is_forwarded: bool
    is_known: bool
    is_deferred: bool


class FieldRules(dict[bytes, FieldRule | None]):
    """From a name as it is spelt to what becomes of it; None for the many that just pass. Spellings are remembered.
    Raises Malformed for what is no name.
    """

    def __init__(
        self, table: Mapping[bytes, FieldAction], *, dropped: tuple[bytes, ...] = (), alike: Collection[bytes] = ()
    ) -> None:
        """`table` by lower-case name; `dropped` are prefixes of names that never pass, and with them no name that is
        one of the table's when its `_` are taken for `-`; those in `alike` are noted in such a spelling too.
        """
        super().__init__()
        self._table = table
        self._dropped = dropped
        self._alike = frozenset(alike)

    def __missing__(self, name: bytes) -> FieldRule | None:
        """Settles a spelling that is new."""
        if NAME.fullmatch(name) is None:
            raise MalformedMessage("a field's name is malformed")
        key = name.lower()
        kind = self._table.get(key)
        if kind is None and self._dropped:
            # Servers that turn names into variables (RFC 3875 §4.1.18) cannot tell `_` from `-`.
            plain = key.replace(b"_", b"-")
            is_ours = plain != key and self._table.get(plain) in {FieldAction.DROP, FieldAction.CONSUME}
            kind = FieldAction.DROP if is_ours or plain.startswith(self._dropped) else None
            if plain in self._alike:
                key, kind = plain, self._table[plain]
        is_noted = kind in {FieldAction.CONSUME, FieldAction.INSPECT}
        entry = (
            None if kind is None else FieldRule(key, kind is FieldAction.INSPECT, is_noted, kind is FieldAction.DEFER)
        )
        if len(self) < REMEMBERED and len(name) <= LONGEST_REMEMBERED:
            self[name] = entry
        return entry


ForwardedLines = list[bytes]
"""Lines without their CRLF, in order."""
KnownFields = dict[bytes, bytes]
"""Values by lower-case name, for NOTE and SHOW; repeated ones joined with a comma (RFC 9110 §5.2)."""
DeferredFields = list[tuple[bytes, bytes]]
"""(lower-case name, line) of HOLD, in order."""


def split_lines(block: bytes) -> list[bytes]:
    """Splits a head, without its last two line ends, into lines. Raises Malformed for control bytes and line ends that
    are not CRLF (RFC 9112 §2.2: a bare CR has no meaning of its own).
    """
    lines = block.split(CRLF)
    # What is left without all that is visible must be the line ends that it was split at, and nothing else.
    if block.translate(None, VISIBLE) != CRLF * (len(lines) - 1):
        raise MalformedMessage("a control byte, or a line end that is not CRLF")
    return lines


def sort_fields(lines: Iterable[bytes], kinds: FieldRules) -> tuple[ForwardedLines, KnownFields, DeferredFields]:
    """Sorts the field lines of a head. Raises Malformed."""
    passed: ForwardedLines = []
    noted: KnownFields = {}
    held: DeferredFields = []
    for line in lines:
        name, colon, value = line.partition(b":")
        if not colon:
            raise MalformedMessage("a field has no colon")
        entry = kinds[name]
        if entry is None:
            passed.append(line)
            continue
        key, passes, is_noted, is_held = entry
        if passes:
            passed.append(line)
        if is_noted:
            value = value.strip(b" \t")
            noted[key] = b"%b, %b" % (noted[key], value) if key in noted else value
        elif is_held:
            held.append((key, line))
    return passed, noted, held


def is_length(value: bytes) -> bool:
    """True for a Content-Length that is one number of a size that can be (RFC 9110 §8.6)."""
    return len(value) < 19 and value.isdigit()


def field_value(line: bytes) -> bytes:
    """The value of a field line, without white space around it."""
    return line.partition(b":")[2].strip(b" \t")


def remove_fields(named: frozenset[bytes], lines: list[bytes]) -> list[bytes]:
    """The lines whose names, in lower case, are not among `named`."""
    return [line for line in lines if line.partition(b":")[0].lower() not in named]


def options_of(value: bytes) -> frozenset[bytes]:
    """The members of a comma-separated list, in lower case."""
    return _remembered(value) if len(value) <= LONGEST_REMEMBERED else _members(value)


def connection_options(connection: bytes) -> frozenset[bytes]:
    """The fields that a Connection field names (RFC 9110 §7.6.1), in lower case, beside its usual options."""
    return options_of(connection) - PER_CONNECTION


def _members(value: bytes) -> frozenset[bytes]:
    return frozenset(option.strip(b" \t") for option in value.lower().split(b","))


_remembered = lru_cache(maxsize=1024)(_members)
