"""Log lines as entries of systemd's journal, in its native protocol. Pure.

https://systemd.io/JOURNAL_NATIVE_PROTOCOL/ defines the form, systemd.journal-fields(7) the fields that systemd knows.
"""

import functools
import re
from typing import Any, Literal

import msgspec

from gateway.observe.combined_line import combined_line
from gateway.observe.event_row import event_row
from gateway.observe.json_line import json_line
from gateway.observe.record import Record, record_text
from gateway.observe.syslog_message import NAME, severity

PREFIX = "OIC_"
MAX_NAME = 64
"""Maximum characters of the name of a field; journald drops a longer one."""
MessageFormat = Literal["text", "json", "combined"]
_NOT_IN_NAMES = re.compile("[^A-Z0-9_]")
_RENAMED = {"level": "PRIORITY", "message": "MESSAGE"}
_NUMBERS = frozenset({int, float})
_NOT_IN_ROW = frozenset({"time", "level", "event", "logger", "message", "trace"})


@functools.lru_cache(maxsize=512)
def journal_field(name: str) -> str:
    """Return the journal's name for a field of a record or an event."""
    return _RENAMED.get(name) or (PREFIX + _NOT_IN_NAMES.sub("_", name.upper()))[:MAX_NAME]


def journal_entry(line: bytes, message_format: MessageFormat) -> bytes:
    """Return the entry of a JSON line: its message in this format, and each field that is not null."""
    document: dict[str, Any] = msgspec.json.decode(line)
    message = line.decode().rstrip("\n") if message_format == "json" else _message(document, message_format)
    rows = [f"PRIORITY={severity(document.pop('level'))}\nSYSLOG_IDENTIFIER={NAME}\n"]
    blocks = []
    document["message"] = message
    for name, value in document.items():
        if value is None:
            continue
        text = value if isinstance(value, str) else str(value) if type(value) in _NUMBERS else _json_text(value)
        if "\n" in text:
            blocks.append(_encode_block(journal_field(name), text))
        else:
            rows.append(f"{journal_field(name)}={text}\n")
    return "".join(rows).encode() + b"".join(blocks)


def _message(document: dict[str, Any], message_format: MessageFormat) -> str:
    if document["event"] == "request":
        record = Record(**document)
        if message_format == "combined":
            return combined_line(record).decode().rstrip("\n")
        return record_text(record).partition(" ")[2]  # the journal has the time
    details = {name: value for name, value in document.items() if name not in _NOT_IN_ROW}
    return event_row(document["message"], details, document.get("trace", ""))


def _json_text(value: Any) -> str:
    return json_line(value).decode().rstrip("\n")


def _encode_block(name: str, text: str) -> bytes:
    """Return a field whose value has several lines: its length in 64 bits is before it."""
    value = text.encode()
    return b"%b\n%b%b\n" % (name.encode(), len(value).to_bytes(8, "little"), value)
