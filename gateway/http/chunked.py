"""Pure: a chunked body taken apart (RFC 9112 §7.1), by the same strict grammar for callers and upstreams.

Extensions and trailer fields are checked, counted against a limit, and left out (RFC 9112 §7.1.1, RFC 9110 §6.5.1).
"""

import re
from enum import Enum

from gateway.http.fields import CONTROL, NAME, MalformedMessage

SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})((?:[ \t]*;[^\x00-\x08\n-\x1f\x7f]*)?)\r\n")
SIZE_SO_FAR = re.compile(rb"[0-9A-Fa-f]{0,15}(?:(?<=[0-9A-Fa-f])[ \t]*(?:;[^\x00-\x08\n-\x1f\x7f]*)?)?\r?")
WHOLE = re.compile(rb"([0-9A-Fa-f]{1,8})\r\n")
SHORT_LINE = 16  # bytes, one more than the digits of a size: what follows is a blank or an extension
CRLF = b"\r\n"
HEX = b"0123456789abcdefABCDEF"


class ChunkState(Enum):
    """What comes next."""

    SIZE = "size"
    DATA = "data"
    DATA_END = "data end"
    TRAILER = "trailer"
    END = "end"


class ChunkedDecoder:
    """Takes bytes with `feed`, however they are split; `ended` says that the last chunk and its end have come."""

    __slots__ = ("_left", "_limit", "_line", "_overhead", "_state")

    def __init__(self, limit: int) -> None:
        """`limit`: bytes that extensions and trailers of one body may have in all."""
        self._limit = limit
        self._state = ChunkState.SIZE
        self._line = b""
        self._left = 0
        self._overhead = 0

    @property
    def ended(self) -> bool:
        """The body is complete."""
        return self._state is ChunkState.END

    def feed(self, data: bytes) -> tuple[list[bytes], bytes]:
        """Gives the pieces of the body in `data`, and what lies behind its end. Raises Malformed."""
        pieces: list[bytes] = []
        at, size = 0, len(data)  # what is read already is not copied away: that would cost the square of many chunks
        while at < size and self._state is not ChunkState.END:
            if self._state is ChunkState.SIZE and (found := None if self._line else WHOLE.match(data, at)) is not None:
                # A chunk that is all here, and most are: the price of thousands of small ones must be low.
                begin, end = found.end(), found.end() + int(found[1], 16)
                if end > begin and data[end : end + 2] == CRLF:
                    pieces.append(data[begin:end])
                    at = end + 2
                    continue
            if self._state is ChunkState.DATA:
                end = min(at + self._left, size)
                pieces.append(data[at:end])
                self._left -= end - at
                at = end
                if not self._left:
                    self._state = ChunkState.DATA_END
            else:
                at = self._feed_line(data, at)
        return pieces, data[at:]

    def _feed_line(self, data: bytes, at: int) -> int:
        """Reads from `at` up to the end of a line, and gives where that is."""
        end = data.find(b"\n", at) + 1
        if not end:
            before = self._line
            self._line += data[at:]
            self._check_partial(before)
            return len(data)
        line, self._line = self._line + data[at:end], b""
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
        """Finds a line that can come to no good end, so that nobody waits for it; its beginning `before` was looked at
        before.
        """
        line = self._line.removesuffix(b"\r")
        if self._state is ChunkState.DATA_END and not CRLF.startswith(self._line):
            raise MalformedMessage("a chunk is longer than its size")
        if self._state is ChunkState.SIZE:
            # Of a long beginning only its last byte matters, and whether an extension has begun: a line that comes byte
            # by byte must not be read from its beginning with each.
            short = before
            if len(before) > SHORT_LINE:
                short = (b"0;" if b";" in before else b"0 ") + before[-1:]
            if SIZE_SO_FAR.fullmatch(short + self._line[len(before) :]) is None:
                raise MalformedMessage("a chunk's size is malformed")
            line = line.lstrip(HEX)
        if self._overhead + len(line) > self._limit:
            raise MalformedMessage("too much between the chunks")

    def _on_size(self, line: bytes) -> None:
        found = SIZE.fullmatch(line)
        if found is None:
            raise MalformedMessage("a chunk's size is malformed")
        self._count(len(found[2]))
        self._left = int(found[1], 16)
        self._state = ChunkState.DATA if self._left else ChunkState.TRAILER

    def _on_trailer(self, line: bytes) -> None:
        if line == CRLF:
            self._state = ChunkState.END
            return
        self._count(len(line))
        name, colon, value = line[:-2].partition(b":")
        is_sound = line.endswith(CRLF) and colon and NAME.fullmatch(name) and b"\r" not in value
        if not is_sound or CONTROL.search(value):
            raise MalformedMessage("a trailer field is malformed")

    def _count(self, size: int) -> None:
        self._overhead += size
        if self._overhead > self._limit:
            raise MalformedMessage("too much between the chunks")
