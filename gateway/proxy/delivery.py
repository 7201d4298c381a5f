"""Writes one reply to a caller: head, framing, body with back-pressure, straight to the transport.

The framing follows the caller's version (RFC 9112 §6, §7): a known length stays, else chunks for HTTP/1.1, else the
end of the connection for HTTP/1.0. A body that breaks off breaks the connection, so that nobody takes it for whole.
"""

import asyncio
import socket
import struct
from contextlib import suppress
from email.utils import formatdate

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter

from gateway.errors import CallerGone

SHORT = 64 * 1024
RESET = struct.pack("ii", 1, 0)  # struct linger: on, 0 seconds


class Answered(web.StreamResponse):
    """Tells aiohttp that the reply has been written already, and whether the connection stays."""

    def __init__(self, *, keep_alive: bool) -> None:
        super().__init__()
        self._stays = keep_alive

    @property
    def keep_alive(self) -> bool | None:
        """Whether another request may follow on this connection."""
        return self._stays

    async def prepare(self, _request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Nothing is left to begin."""
        return None

    async def write_eof(self, data: bytes | bytearray | memoryview = b"") -> None:
        """Nothing is left to end."""


KEPT = Answered(keep_alive=True)
CLOSED = Answered(keep_alive=False)


class Delivery:
    """The reply to one request. `sent` counts body bytes; `began` says that the head is out."""

    __slots__ = ("_chunked", "_modern", "_request", "began", "keep_alive", "sent")

    def __init__(self, request: web.BaseRequest, *, modern: bool) -> None:
        """`modern`: the caller speaks HTTP/1.1. `keep_alive` is False until the walk knows better."""
        self._request = request
        self._modern = modern
        self._chunked = False
        self.keep_alive = False
        self.began = False
        self.sent = 0

    def begin(
        self, status: int, reason: bytes, lines: list[bytes], *, length: int | None, bodyless: bool, body: list[bytes]
    ) -> None:
        """Writes the head and the pieces of the body that are there already.

        `lines` are fields with CRLF; `length` is the body's where it is known; `bodyless`: none follows (HEAD, 204,
        304), and a length is only told.
        """
        # A request body that is still coming would be read as the next request: RFC 9112 §9.3.
        self.keep_alive = self.keep_alive and self._request.content.is_eof()
        head = [b"HTTP/1.%d %d %b\r\n" % (self._modern, status, reason), *lines]
        if length is not None and status != 204:
            head.append(b"Content-Length: %d\r\n" % length)
        elif not bodyless:
            self._chunked = self._modern
            self.keep_alive = self.keep_alive and self._modern
            if self._modern:
                head.append(b"Transfer-Encoding: chunked\r\n")
        if not self.keep_alive:
            head.append(b"Connection: close\r\n")
        elif not self._modern:
            head.append(b"Connection: keep-alive\r\n")
        head.append(b"\r\n")
        self.began = True
        size = sum(map(len, body))
        self.sent += size
        parts = [*head, *self._framed(body, size)]
        self._write([b"".join(parts)] if size <= SHORT else parts)

    def send(self, pieces: list[bytes]) -> None:
        """Writes pieces of the body. Raises CallerGone."""
        size = sum(map(len, pieces))
        self.sent += size
        self._write(self._framed(pieces, size))

    async def drain(self, idle: float) -> None:
        """Waits until the caller's side has room. Raises CallerGone where it takes nothing for `idle` seconds."""
        request = self._request
        while request.protocol.writing_paused and (transport := request.transport) is not None:
            left = transport.get_write_buffer_size()
            try:
                async with asyncio.timeout(idle):
                    await request.writer.drain()
            except TimeoutError:
                if transport.get_write_buffer_size() >= left:
                    raise CallerGone(reason="the caller stopped reading") from None
            except OSError:
                raise CallerGone from None

    def end(self) -> None:
        """Ends the body where chunks need an end."""
        if self._chunked:
            self._write([b"0\r\n\r\n"])

    def abort(self) -> None:
        """Breaks the connection visibly: with RST, since a plain close is the good end of a body without framing."""
        self.keep_alive = False
        if (transport := self._request.transport) is not None:
            reset(transport)

    def invite(self) -> None:
        """Sends 100 Continue (RFC 9110 §15.2.1)."""
        self._write([b"HTTP/1.1 100 Continue\r\n\r\n"])

    def answer(self) -> Answered:
        """What aiohttp is told."""
        return KEPT if self.keep_alive else CLOSED

    def _framed(self, pieces: list[bytes], size: int) -> list[bytes]:
        """All pieces as one chunk, where there are chunks."""
        return [b"%x\r\n" % size, *pieces, b"\r\n"] if self._chunked and size else pieces

    def _write(self, parts: list[bytes]) -> None:
        transport = self._request.transport
        if transport is None or transport.is_closing():
            raise CallerGone
        if len(parts) == 1:
            transport.write(parts[0])
        else:
            transport.writelines(parts)


def reset(transport: asyncio.Transport) -> None:
    """Ends a caller's connection with RST."""
    with suppress(OSError):
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    transport.abort()


def date_line(now: float) -> bytes:
    """A Date field for a reply that has none (RFC 9110 §6.6.1)."""
    return f"Date: {formatdate(now, usegmt=True)}\r\n".encode()
