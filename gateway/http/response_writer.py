"""Write one response to a caller: head, framing, and body with flow control.

The version is always HTTP/1.1 (RFC 9112 §2.3). The framing depends on the caller (RFC 9112 §6, §7): a known length is
kept; else chunks are sent to HTTP/1.1, and a body to HTTP/1.0 ends with the connection. If a body breaks off, the
connection is aborted, so that the caller does not take it for complete.
"""

from email.utils import formatdate
from typing import Protocol

import msgspec

from gateway.http.chunked import LAST_CHUNK

MAX_JOINED_BODY = 64 * 1024
"""Maximum bytes of a body that is sent in one write with the head."""


class CallerTransport(Protocol):
    """The caller's connection, as a response uses it."""

    def write(self, data: bytes) -> None:
        """Send bytes. Raise CallerGone."""

    def write_pieces(self, pieces: list[bytes]) -> None:
        """Send bytes in pieces. Raise CallerGone."""

    async def drain(self, idle_timeout: float) -> None:
        """Wait until there is room. Raise CallerGone if the caller reads nothing for `idle_timeout` seconds."""

    def abort(self) -> None:
        """End the connection with RST."""


class ResponseWriter(msgspec.Struct, eq=False):
    """The response to one request. `bytes_sent` counts the bytes of the body; `started`: the head is sent."""

    transport: CallerTransport
    is_http11: bool
    """The caller speaks HTTP/1.1."""
    chunked: bool = False
    keep_alive: bool = False
    """Whether the connection may carry another request; the pipeline sets it."""
    started: bool = False
    bytes_sent: int = 0

    def send_head(
        self,
        head: bytes,
        body: list[bytes],
        length: int | None,
        has_no_body: bool,  # noqa: FBT001 - positional arguments cost less, and every response passes here
        is_request_complete: bool,  # noqa: FBT001
        *,
        is_whole: bool = False,
    ) -> None:
        """Send the head, and the pieces of the body that are available: all of it if it `is_whole`. Raise CallerGone.

        `head` is the status line and field lines, each with CRLF; those of the framing follow. `length` is that of the
        body, if known; None for 204 (RFC 9110 §8.6). `has_no_body`: no body follows (HEAD, 204, 304), and `length` is
        only announced. `is_request_complete`: the caller has sent the whole request, and no bytes after it.
        """
        if not is_request_complete:  # the rest of its body would be read as the next request (RFC 9112 §9.3)
            self.keep_alive = False
        framing = b""
        if length is not None:
            framing = b"Content-Length: %d\r\n" % length
        elif not has_no_body:
            self.chunked = self.is_http11
            if self.chunked:
                framing = b"Transfer-Encoding: chunked\r\n"
            else:
                self.keep_alive = False
        if not self.keep_alive:
            framing += b"Connection: close\r\n"
        elif not self.is_http11:
            framing += b"Connection: keep-alive\r\n"
        self.started = True
        self.bytes_sent = size = sum(map(len, body))
        if self.chunked:
            body = [*self._frame_pieces(body, size), LAST_CHUNK] if is_whole else self._frame_pieces(body, size)
        if size <= MAX_JOINED_BODY:  # as most
            self.transport.write(b"".join([head, framing, b"\r\n", *body]))
        else:
            self.transport.write_pieces([b"%b%b\r\n" % (head, framing), *body])

    def send_body(self, pieces: list[bytes]) -> None:
        """Send pieces of the body. Raise CallerGone."""
        size = sum(map(len, pieces))
        self.bytes_sent += size
        self.transport.write_pieces(self._frame_pieces(pieces, size))

    async def drain(self, idle_timeout: float) -> None:
        """Wait until the caller's side has room. Raise CallerGone if it reads nothing for `idle_timeout` seconds."""
        await self.transport.drain(idle_timeout)

    def end_body(self) -> None:
        """Send the last chunk of a chunked body."""
        if self.chunked:
            self.transport.write(LAST_CHUNK)

    def abort(self) -> None:
        """Abort the connection with RST: an ordinary close is the valid end of a body without framing."""
        self.keep_alive = False
        self.transport.abort()

    def send_continue(self) -> None:
        """Send 100 Continue (RFC 9110 §15.2.1)."""
        self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _frame_pieces(self, pieces: list[bytes], size: int) -> list[bytes]:
        """Return the pieces, as one chunk if the body is chunked."""
        return [b"%x\r\n" % size, *pieces, b"\r\n"] if self.chunked and size else pieces


def make_status_line(status: int, reason: bytes) -> bytes:
    """Return the status line, always with HTTP/1.1. After one HTTP/1.0 response, some clients treat the server as
    HTTP/1.0 from then on; .NET does so in the whole process.
    """
    return b"HTTP/1.1 %d %b" % (status, reason)


def date_line(now: float) -> bytes:
    """Return the Date field line of a response that has none (RFC 9110 §6.6.1); `now` in epoch seconds."""
    return f"Date: {formatdate(now, usegmt=True)}".encode()
