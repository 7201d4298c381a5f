"""Content codings taken off, in pieces of bounded size: what a bomb hides never stands in memory (RFC 9110 §8.4.1)."""

import zlib
from collections.abc import Iterator

from gateway.http.fields import MalformedMessage
from gateway.proxy.rewriting.plan import windows

MOST_OUT = 64 * 1024  # bytes of a piece that is given
MOST_IN = 16 * 1024  # bytes taken at a time: what zlib leaves over is copied at every step
SHORT = 512  # bytes: what is shorter is given with what follows
MEMBERS = MOST_OUT // SHORT
"""How many members of gzip are read before others have their turn: each costs some microseconds, however short."""
GZIP_WINDOW = zlib.MAX_WBITS | 16


class ContentDecoder:
    """Decodes one gzip or deflate body."""

    def __init__(self, coding: str) -> None:
        self._is_gzip = coding == "gzip"
        self._first = b""
        self._begun = False
        self._inner = zlib.decompressobj(GZIP_WINDOW)

    def feed(self, piece: bytes) -> Iterator[bytes]:
        """Gives what a piece holds. Raises Malformed for what is no such coding, or goes on behind its end.

        An empty part is a turn too.
        """
        if not self._begun:
            self._first += piece
            if len(self._first) < 2:
                return
            self._begun = True
            piece, self._first = self._first, b""
            if not self._is_gzip:
                self._inner = zlib.decompressobj(windows(piece)[0])
        view = memoryview(piece)
        for start in range(0, len(piece), MOST_IN):
            yield from self._inflate(bytes(view[start : start + MOST_IN]))

    def end(self) -> None:
        """Raises Malformed where the coding is cut short; a body without a byte is whole."""
        if self._first or (self._begun and not self._inner.eof):
            raise MalformedMessage("a compressed body is cut short")

    def _inflate(self, data: bytes) -> Iterator[bytes]:
        short: list[bytes] = []
        members = 0
        while data:
            if self._inner.eof:
                data = self._go_on(data)
                if not data:
                    break
                members += 1
                if members % MEMBERS == 0:
                    yield b"".join(short)
                    short.clear()
            try:
                out = self._inner.decompress(data, MOST_OUT)
            except zlib.error:
                raise MalformedMessage("a compressed body is broken") from None
            # All is taken, but what is ready may be more than was asked for.
            data = self._inner.unused_data or self._inner.unconsumed_tail
            if len(out) < SHORT:
                short.append(out)
                continue
            if short:
                yield b"".join(short)
                short.clear()
            yield out
            while len(out) == MOST_OUT and not data and not self._inner.eof:
                out = self._inner.decompress(b"", MOST_OUT)
                if out:
                    yield out
        if short:
            yield b"".join(short)

    def _go_on(self, data: bytes) -> bytes:
        """A gzip body may have several members (RFC 1952 §2.2). What a member is filled up with counts for nothing, as
        for gzip(1).
        """
        if not self._is_gzip:
            raise MalformedMessage("a compressed body goes on behind its end")
        data = data.lstrip(b"\0")
        if data:
            self._inner = zlib.decompressobj(GZIP_WINDOW)
        return data
