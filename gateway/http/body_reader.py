"""Read a large body into memory that is used again, without the copy that the event loop makes of each read.

The other side's transport sends from this memory. If it cannot send all of it at once, it keeps the memory, and the
next read gets another buffer.
"""

import asyncio
import threading
from collections.abc import Callable
from typing import Protocol

READ_SIZE = 256 * 1024
"""Maximum bytes of one read from the socket."""
MIN_UNCOPIED = 64 * 1024
"""Bytes of a piece that is passed on without a copy. For a smaller one, which it cannot send at once, a transport would
keep a whole read buffer.
"""


class SizedBody(Protocol):
    """A body whose length is known, as far as it is read here."""

    @property
    def missing_size(self) -> int:
        """The number of bytes that have not been received."""


class _BodyBuffer(threading.local):
    """The buffer that the connections of a thread read bodies into: each read is followed by its callback at once."""

    def __init__(self) -> None:
        self.view = memoryview(bytearray(READ_SIZE))


_buffer = _BodyBuffer()


class BodyReader(asyncio.BufferedProtocol):
    """The protocol of a transport until the end of one body. It reads no byte after that end, and leaves everything
    else to `connection`, the protocol before and after it.
    """

    __slots__ = ("_body", "_connection", "_on_bytes")

    def __init__(self, connection: asyncio.Protocol, body: SizedBody, on_bytes: Callable[[memoryview], bool]) -> None:
        """`on_bytes` gets bytes of the body, and returns whether it needs their memory no longer."""
        self._connection = connection
        self._body = body
        self._on_bytes = on_bytes

    def get_buffer(self, _sizehint: int) -> memoryview:
        """asyncio: return the buffer for the next bytes of the body."""
        return _buffer.view[: self._body.missing_size]

    def buffer_updated(self, nbytes: int) -> None:
        """asyncio: bytes of the body."""
        if not self._on_bytes(_buffer.view[:nbytes]):
            _buffer.view = memoryview(bytearray(READ_SIZE))

    def eof_received(self) -> bool | None:
        """asyncio: the peer closed its side."""
        return self._connection.eof_received()

    def pause_writing(self) -> None:
        """asyncio: the write buffer is full."""
        self._connection.pause_writing()

    def resume_writing(self) -> None:
        """asyncio: the write buffer has room again."""
        self._connection.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """asyncio: the connection is closed."""
        self._connection.connection_lost(exc)
