"""Decode chunked bodies (RFC 9112 §7.1) by one strict grammar for callers and upstreams. Pure.

Extensions and trailer fields are checked, counted against a limit, and dropped (RFC 9112 §7.1.1, RFC 9110 §6.5.1).
"""

import re
from enum import Enum

from gateway.http.fields import CONTROL_BYTE, FIELD_NAME, MalformedMessage

SIZE_AND_EXTENSION_LINE = re.compile(rb"([0-9A-Fa-f]{1,15})((?:[ \t]*;[^\x00-\x08\n-\x1f\x7f]*)?)\r\n")
PARTIAL_SIZE_LINE = re.compile(rb"[0-9A-Fa-f]{0,15}(?:(?<=[0-9A-Fa-f])[ \t]*(?:;[^\x00-\x08\n-\x1f\x7f]*)?)?\r?")
PLAIN_SIZE_LINE = re.compile(rb"([0-9A-Fa-f]{1,8})\r\n")
MAX_SIZE_START = 16  # bytes: the digits of a size, and one more of what follows them
CRLF = b"\r\n"
LAST_CHUNK = b"0\r\n\r\n"
HEX = b"0123456789abcdefABCDEF"


def split_whole_body(data: bytes, start: int) -> list[bytes] | None:
    """Return the pieces of a body that `data` contains from `start` to its end, whole and without extensions and
    trailers, as most short ones; None for anything else, which a `ChunkedDecoder` must read.
    """
    pieces: list[bytes] = []
    while not data.startswith(LAST_CHUNK, start):
        match = PLAIN_SIZE_LINE.match(data, start)
        if match is None:
            return None
        begin, end = match.end(), match.end() + int(match[1], 16)
        start = end + len(CRLF)
        if end == begin or data[end:start] != CRLF:
            return None
        pieces.append(data[begin:end])
    return pieces if start + len(LAST_CHUNK) == len(data) else None


class ChunkState(Enum):
    """The next part of a chunked body."""

    SIZE = "size"
    DATA = "data"
    DATA_END = "data end"
    TRAILER = "trailer"
    END = "end"


class ChunkedDecoder:
    """Decodes a body that is passed to `feed` in any pieces, until `has_ended`."""

    __slots__ = ("_limit", "_line", "_overhead", "_remaining", "_state")

    def __init__(self, limit: int) -> None:
        """`limit`: maximum bytes of all extensions and trailers of the body."""
        self._limit = limit
        self._state = ChunkState.SIZE
        self._line = b""
        self._remaining = 0
        self._overhead = 0

    @property
    def has_ended(self) -> bool:
        """Whether the body is complete."""
        return self._state is ChunkState.END

    def feed(self, data: bytes) -> tuple[list[bytes], bytes]:
        """Return the pieces of the body in `data`, and the bytes after the end of the body. Raise MalformedMessage."""
        pieces: list[bytes] = []
        # Use an offset: to remove each chunk from `data` would take quadratic time.
        offset, size = 0, len(data)
        while offset < size and self._state is not ChunkState.END:
            match = None if self._line or self._state is not ChunkState.SIZE else PLAIN_SIZE_LINE.match(data, offset)
            if match is not None:
                # The usual case, a complete chunk. Thousands of small chunks must be cheap.
                begin, end = match.end(), match.end() + int(match[1], 16)
                if end > begin and data[end : end + 2] == CRLF:
                    pieces.append(data[begin:end])
                    offset = end + 2
                    continue
            if self._state is ChunkState.DATA:
                end = min(offset + self._remaining, size)
                pieces.append(data[offset:end])
                self._remaining -= end - offset
                offset = end
                if not self._remaining:
                    self._state = ChunkState.DATA_END
            else:
                offset = self._feed_line(data, offset)
        return pieces, data[offset:]

    def _feed_line(self, data: bytes, offset: int) -> int:
        """Read up to the end of a line. Return the offset after it."""
        end = data.find(b"\n", offset) + 1
        if not end:
            before = self._line
            self._line += data[offset:]
            self._check_partial(before)
            return len(data)
        line, self._line = self._line + data[offset:end], b""
        if self._state is ChunkState.SIZE:
            self._on_size(line)
        elif self._state is ChunkState.TRAILER:
            self._on_trailer(line)
        elif line != CRLF:
            raise MalformedMessage("a chunk is longer than its size")
        else:
            self._state = ChunkState.SIZE
        return end

    def _check_partial(self, before: bytes) -> None:
        """Reject a partial line that can no longer become valid. Its beginning `before` is already checked."""
        line = self._line.removesuffix(b"\r")
        if self._state is ChunkState.DATA_END and not CRLF.startswith(self._line):
            raise MalformedMessage("a chunk is longer than its size")
        if self._state is ChunkState.SIZE:
            # A long line that arrives byte by byte must not be matched from its beginning each time. Only its last byte
            # matters, and whether an extension has begun.
            checked = before
            if len(before) > MAX_SIZE_START:
                checked = (b"0;" if b";" in before else b"0 ") + before[-1:]
            if PARTIAL_SIZE_LINE.fullmatch(checked + self._line[len(before) :]) is None:
                raise MalformedMessage("a chunk's size is malformed")
            line = line.lstrip(HEX)
        if self._overhead + len(line) > self._limit:
            raise MalformedMessage("chunk extensions and trailers are too large")

    def _on_size(self, line: bytes) -> None:
        match = SIZE_AND_EXTENSION_LINE.fullmatch(line)
        if match is None:
            raise MalformedMessage("a chunk's size is malformed")
        self._count_overhead(len(match[2]))
        self._remaining = int(match[1], 16)
        self._state = ChunkState.DATA if self._remaining else ChunkState.TRAILER

    def _on_trailer(self, line: bytes) -> None:
        if line == CRLF:
            self._state = ChunkState.END
            return
        self._count_overhead(len(line))
        name, colon, value = line[:-2].partition(b":")
        is_valid = line.endswith(CRLF) and colon and FIELD_NAME.fullmatch(name) and b"\r" not in value
        if not is_valid or CONTROL_BYTE.search(value):
            raise MalformedMessage("a trailer field is malformed")

    def _count_overhead(self, size: int) -> None:
        self._overhead += size
        if self._overhead > self._limit:
            raise MalformedMessage("chunk extensions and trailers are too large")
