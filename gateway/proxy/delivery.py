"""Writes one reply to a caller: head, framing, body with back-pressure, straight to the transport.

The framing follows the caller's version (RFC 9112 §6, §7): a known length stays, else chunks for HTTP/1.1, else the
end of the connection for HTTP/1.0. A body that breaks off breaks the connection, so that nobody takes it for whole.
"""

import asyncio
from email.utils import formatdate

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter

from gateway.errors import CallerGone

SHORT = 64 * 1024


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

    def __init__(self, request: web.BaseRequest, *, modern: bool) -> None:
        """`modern`: the caller speaks HTTP/1.1. `keep_alive` is False until the walk knows better."""
        self._request = request
        self._modern = modern
        self._chunked = False
        self.keep_alive = False
        self.began = False
        self.broken = False
        self.sent = 0

    def begin(
        self, status: int, reason: bytes, lines: list[bytes], *, length: int | None, bodyless: bool, body: list[bytes]
    ) -> None:
        """Writes the head and the pieces of the body that are there already.

        `lines` are fields with CRLF; `length` is the body's where it is known; `bodyless`: none follows (HEAD, 204,
        304), and a length is only told.
        """
        head = [b"HTTP/1.%d %d %b\r\n" % (1 if self._modern else 0, status, reason), *lines]
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
        if size <= SHORT:
            self._write(b"".join([*head, *self._framed(body)]))
        else:
            self._writelines([b"".join(head), *self._framed(body)])

    async def send(self, pieces: list[bytes], *, idle: float) -> None:
        """Writes pieces of the body, and waits while the caller is slower than the upstream.

        Raises CallerGone when the caller takes nothing for `idle` seconds.
        """
        self.sent += sum(map(len, pieces))
        self._writelines(self._framed(pieces))
        await self.drain(idle)

    async def drain(self, idle: float) -> None:
        """Waits until the caller's side has room. Raises CallerGone after `idle` seconds."""
        if not self._request.protocol.writing_paused:
            return
        try:
            async with asyncio.timeout(idle):
                await self._request.writer.drain()
        except TimeoutError:
            raise CallerGone(reason="the caller stopped reading") from None
        except OSError:
            raise CallerGone from None

    def end(self) -> None:
        """Ends the body where chunks need an end."""
        if self._chunked:
            self._write(b"0\r\n\r\n")

    def abort(self) -> None:
        """Breaks the connection visibly."""
        self.broken = True
        self.keep_alive = False
        if self._request.transport is not None:
            self._request.transport.abort()

    def invite(self) -> None:
        """Sends 100 Continue (RFC 9110 §15.2.1)."""
        self._write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def answer(self) -> Answered:
        """What aiohttp is told."""
        return KEPT if self.keep_alive else CLOSED

    def _framed(self, pieces: list[bytes]) -> list[bytes]:
        if not self._chunked:
            return pieces
        return [part for piece in pieces if piece for part in (b"%x\r\n" % len(piece), piece, b"\r\n")]

    def _write(self, data: bytes) -> None:
        transport = self._request.transport
        if transport is None or transport.is_closing():
            raise CallerGone
        transport.write(data)

    def _writelines(self, parts: list[bytes]) -> None:
        transport = self._request.transport
        if transport is None or transport.is_closing():
            raise CallerGone
        transport.writelines(parts)


def date_line(now: float) -> bytes:
    """A Date field for a reply that has none (RFC 9110 §6.6.1)."""
    return f"Date: {formatdate(now, usegmt=True)}\r\n".encode()
