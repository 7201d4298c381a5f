"""Parse HTTP/1.1 messages from bytes, without I/O, as strictly as RFC 9112 allows.

The gateway must send messages that no server and no caller can read in two ways.
"""

import re
from dataclasses import dataclass
from typing import Literal

END = b"\r\n\r\n"
TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
REQUEST_LINE = re.compile(rb"(%b) ([!-~]+) HTTP/1\.1" % TOKEN)
STATUS_LINE = re.compile(rb"HTTP/1\.[01] ([1-5][0-9]{2}) [\t -~\x80-\xff]*")
FIELD = re.compile(rb"(%b):([\t -~\x80-\xff]*)" % TOKEN)
CHUNK_SIZE = re.compile(rb"[0-9a-f]{1,16}")
LENGTH = re.compile(rb"[0-9]{1,18}")

Framing = Literal["length", "chunked", "close", "none"]
Fields = tuple[tuple[str, bytes], ...]


class Malformed(Exception):
    """The bytes are not a strictly valid message."""


@dataclass(frozen=True, slots=True)
class Request:
    """A complete request; names of `fields` are in lower case."""

    method: str
    target: str
    fields: Fields
    body: bytes


@dataclass(frozen=True, slots=True)
class Reply:
    """A response, complete or cut off. `whole`: it reached the end that its framing defines. `used`: its length in
    bytes.
    """

    status: int
    fields: Fields
    body: bytes
    framing: Framing
    whole: bool
    used: int

    @property
    def closes(self) -> bool:
        """Return whether it announces the end of the connection."""
        return values(self.fields, "connection") == [b"close"]


def request(data: bytes) -> tuple[Request, int] | None:
    """Return the first request and its length in bytes, or None if it is incomplete. Raise Malformed."""
    stop = data.find(END)
    if stop < 0:
        return None
    line, fields = _head(data[:stop])
    parts = REQUEST_LINE.fullmatch(line)
    if parts is None:
        raise Malformed(f"request line {line!r}")
    if len(values(fields, "host")) != 1 or len(values(fields, "authorization")) != 1:
        raise Malformed(f"needs one Host and one Authorization: {fields}")
    body, used, whole = _framed(data, stop + len(END), fields)
    method, target = parts[1].decode(), parts[2].decode()
    return (Request(method, target, fields, body), used) if whole else None


def reply(data: bytes, *, is_head_request: bool, ended: str) -> Reply | None:
    """Return the first response, or None if more may come or if there is no head. Raise Malformed.

    `ended` is the end of the connection: "end", "reset", or "" while it is open.
    """
    stop = data.find(END)
    if stop < 0:
        return None
    line, fields = _head(data[:stop])
    parts = STATUS_LINE.fullmatch(line)
    if parts is None:
        raise Malformed(f"status line {line!r}")
    status, start = int(parts[1]), stop + len(END)
    if is_head_request or status < 200 or status in {204, 304}:
        return Reply(status, fields, b"", "none", whole=True, used=start)
    framing = _framing(fields)
    if framing == "close":
        whole = ended == "end"
        return Reply(status, fields, data[start:], framing, whole, len(data)) if ended else None
    body, used, whole = _framed(data, start, fields)
    return Reply(status, fields, body, framing, whole, used) if whole or ended else None


def values(fields: Fields, name: str) -> list[bytes]:
    """Return all values of a field, in order; `name` is in lower case."""
    return [value for key, value in fields if key == name]


def _head(data: bytes) -> tuple[bytes, Fields]:
    line, *rows = data.split(b"\r\n")
    fields = []
    for row in rows:
        parts = FIELD.fullmatch(row)
        if parts is None:
            raise Malformed(f"field {row!r}")
        fields.append((parts[1].decode().lower(), parts[2].strip(b" \t")))
    return line, tuple(fields)


def _framing(fields: Fields) -> Framing:
    lengths, codings = values(fields, "content-length"), values(fields, "transfer-encoding")
    if len(lengths) + len(codings) > 1 or codings not in ([], [b"chunked"]):
        raise Malformed(f"framing {lengths} {codings}")
    if lengths and not LENGTH.fullmatch(lengths[0]):
        raise Malformed(f"length {lengths[0]!r}")
    return "chunked" if codings else "length" if lengths else "close"


def _framed(data: bytes, start: int, fields: Fields) -> tuple[bytes, int, bool]:
    """Return the body as far as it has arrived, the position of its end, and whether it is complete."""
    framing = _framing(fields)
    if framing == "chunked":
        return _chunks(data, start)
    length = int(values(fields, "content-length")[0]) if framing == "length" else 0
    body = data[start : start + length]
    return body, start + len(body), len(body) == length


def _chunks(data: bytes, at: int) -> tuple[bytes, int, bool]:
    body = b""
    while (line := data.find(b"\r\n", at)) >= 0:
        if not CHUNK_SIZE.fullmatch(data, at, line):
            raise Malformed(f"chunk size {data[at:line]!r}")
        size, at = int(data[at:line], 16), line + 2
        body += data[at : at + size]
        at += size
        if len(data) < at + 2:
            break
        if data[at : at + 2] != b"\r\n":
            raise Malformed(f"behind a chunk {data[at : at + 2]!r}")
        at += 2
        if not size:
            return body, at, True
    return body, min(at, len(data)), False
