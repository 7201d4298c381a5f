"""Writes one reply to a caller: head, framing, body with back-pressure, straight to the transport.

The version is always our own, HTTP/1.1 (RFC 9112 §2.3). The framing follows the caller's (RFC 9112 §6, §7): a known
length stays, else chunks for HTTP/1.1, else the end of the connection for HTTP/1.0. A body that breaks off breaks the
connection, so that nobody takes it for whole.
"""

from email.utils import formatdate
from functools import lru_cache
from typing import Protocol

import msgspec

JOINED_LIMIT = 64 * 1024
CACHED_REASON_LIMIT = 64  # bytes of a reason phrase whose line is remembered


class ClientTransport(Protocol):
    """The caller's connection, as a reply needs it."""

    def write(self, parts: list[bytes]) -> None:
        """Sends bytes. Raises CallerGone."""

    async def drain(self, idle: float) -> None:
        """Waits until there is room. Raises CallerGone where nothing is taken for `idle` seconds."""

    def abort(self) -> None:
        """Ends the connection with RST."""


class ResponseWriter(msgspec.Struct):
    """The reply to one request. `sent` counts body bytes; `began` says that the head is out."""

    transport: ClientTransport
    is_http11: bool
    """The caller speaks HTTP/1.1."""
    chunked: bool = False
    keep_alive: bool = False
    """Whether another request may follow; False until the walk knows better."""
    started: bool = False
    bytes_sent: int = 0

    def begin(
        self,
        status: int,
        reason: bytes,
        lines: list[bytes],
        *,
        length: int | None,
        bodyless: bool,
        body: list[bytes],
        arrived: bool,
    ) -> None:
        """Writes the head and the pieces of the body that are there already. Raises CallerGone.

        `lines` are fields without CRLF; `length` is the body's where it is known; `bodyless`: none follows (HEAD, 204,
        304), and a length is only told; `arrived`: the caller has sent all of the request and nothing that is none.
        """
        modern = self.is_http11
        # A request body that is still coming would be read as the next request: RFC 9112 §9.3.
        keep_alive = self.keep_alive and arrived
        spell = _cached_status_line if len(reason) <= CACHED_REASON_LIMIT else _status_line
        head = [spell(status, reason), *lines]
        if length is not None and status != 204:
            head.append(b"Content-Length: %d" % length)
        elif not bodyless:
            self.chunked = modern
            keep_alive = keep_alive and modern
            if modern:
                head.append(b"Transfer-Encoding: chunked")
        if not keep_alive:
            head.append(b"Connection: close")
        elif not modern:
            head.append(b"Connection: keep-alive")
        self.keep_alive = keep_alive
        self.started = True
        head += (b"", b"")
        size = sum(map(len, body))
        self.bytes_sent = size
        parts = [b"\r\n".join(head), *self._framed(body, size)]
        self.transport.write([b"".join(parts)] if size <= JOINED_LIMIT else parts)

    def send(self, pieces: list[bytes]) -> None:
        """Writes pieces of the body. Raises CallerGone."""
        size = sum(map(len, pieces))
        self.bytes_sent += size
        self.transport.write(self._framed(pieces, size))

    async def drain(self, idle: float) -> None:
        """Waits until the caller's side has room. Raises CallerGone where it takes nothing for `idle` seconds."""
        await self.transport.drain(idle)

    def end(self) -> None:
        """Ends the body where chunks need an end."""
        if self.chunked:
            self.transport.write([b"0\r\n\r\n"])

    def abort(self) -> None:
        """Breaks the connection visibly: with RST, since a plain close is the good end of a body without framing."""
        self.keep_alive = False
        self.transport.abort()

    def send_continue(self) -> None:
        """Sends 100 Continue (RFC 9110 §15.2.1)."""
        self.transport.write([b"HTTP/1.1 100 Continue\r\n\r\n"])

    def _framed(self, pieces: list[bytes], size: int) -> list[bytes]:
        """All pieces as one chunk, where there are chunks."""
        return [b"%x\r\n" % size, *pieces, b"\r\n"] if self.chunked and size else pieces


def _status_line(status: int, reason: bytes) -> bytes:
    """The first line of a reply. A client that is answered in HTTP/1.0 may take the server for one of 1.0 from then on,
    as .NET does for the whole process.
    """
    return b"HTTP/1.1 %d %b" % (status, reason)


_cached_status_line = lru_cache(maxsize=512)(_status_line)


def date_line(now: float) -> bytes:
    """A Date field for a reply that has none (RFC 9110 §6.6.1)."""
    return f"Date: {formatdate(now, usegmt=True)}".encode()
