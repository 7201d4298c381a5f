"""Write one response to a caller: head, framing, and body with flow control.

The version is always HTTP/1.1 (RFC 9112 §2.3). The framing depends on the caller (RFC 9112 §6, §7): a known length is
kept; else chunks are sent to HTTP/1.1, and a body to HTTP/1.0 ends with the connection. If a body breaks off, the
connection is aborted, so that the caller does not take it for complete.
"""

from email.utils import formatdate
from functools import lru_cache
from typing import Protocol

import msgspec

MAX_JOINED_BODY = 64 * 1024
"""Maximum bytes of a body that is sent in one write with the head."""
MAX_CACHED_REASON = 64
"""Maximum bytes of a reason phrase whose status line is cached."""


class CallerTransport(Protocol):
    """The caller's connection, as a response uses it."""

    def write(self, parts: list[bytes]) -> None:
        """Send bytes. Raise CallerGone."""

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
        status: int,
        reason: bytes,
        lines: list[bytes],
        *,
        length: int | None,
        has_no_body: bool,
        body: list[bytes],
        is_request_complete: bool,
    ) -> None:
        """Send the head, and the pieces of the body that are available. Raise CallerGone.

        `lines` are field lines without CRLF. `length` is that of the body, if known. `has_no_body`: no body follows
        (HEAD, 204, 304), and `length` is only announced. `is_request_complete`: the caller has sent the whole request,
        and no bytes after it.
        """
        is_http11 = self.is_http11
        # The rest of an incomplete request body would be read as the next request (RFC 9112 §9.3).
        keep_alive = self.keep_alive and is_request_complete
        make_line = _cached_status_line if len(reason) <= MAX_CACHED_REASON else _status_line
        head = [make_line(status, reason), *lines]
        if length is not None and status != 204:
            head.append(b"Content-Length: %d" % length)
        elif not has_no_body:
            self.chunked = is_http11
            keep_alive = keep_alive and is_http11
            if is_http11:
                head.append(b"Transfer-Encoding: chunked")
        if not keep_alive:
            head.append(b"Connection: close")
        elif not is_http11:
            head.append(b"Connection: keep-alive")
        self.keep_alive = keep_alive
        self.started = True
        if len(body) == 1 and not self.chunked and (size := len(body[0])) <= MAX_JOINED_BODY:  # as most
            self.bytes_sent = size
            head += (b"", body[0])
            self.transport.write([b"\r\n".join(head)])
            return
        size = self.bytes_sent = sum(map(len, body))
        head += (b"", b"")
        parts = [b"\r\n".join(head), *self._frame_pieces(body, size)]
        self.transport.write([b"".join(parts)] if size <= MAX_JOINED_BODY else parts)

    def send_body(self, pieces: list[bytes]) -> None:
        """Send pieces of the body. Raise CallerGone."""
        size = sum(map(len, pieces))
        self.bytes_sent += size
        self.transport.write(self._frame_pieces(pieces, size))

    async def drain(self, idle_timeout: float) -> None:
        """Wait until the caller's side has room. Raise CallerGone if it reads nothing for `idle_timeout` seconds."""
        await self.transport.drain(idle_timeout)

    def end_body(self) -> None:
        """Send the last chunk of a chunked body."""
        if self.chunked:
            self.transport.write([b"0\r\n\r\n"])

    def abort(self) -> None:
        """Abort the connection with RST: an ordinary close is the valid end of a body without framing."""
        self.keep_alive = False
        self.transport.abort()

    def send_continue(self) -> None:
        """Send 100 Continue (RFC 9110 §15.2.1)."""
        self.transport.write([b"HTTP/1.1 100 Continue\r\n\r\n"])

    def _frame_pieces(self, pieces: list[bytes], size: int) -> list[bytes]:
        """Return the pieces, as one chunk if the body is chunked."""
        return [b"%x\r\n" % size, *pieces, b"\r\n"] if self.chunked and size else pieces


def _status_line(status: int, reason: bytes) -> bytes:
    """Return the status line, always with HTTP/1.1. After one HTTP/1.0 response, some clients treat the server as
    HTTP/1.0 from then on; .NET does so in the whole process.
    """
    return b"HTTP/1.1 %d %b" % (status, reason)


_cached_status_line = lru_cache(maxsize=512)(_status_line)


def date_line(now: float) -> bytes:
    """Return the Date field line of a response that has none (RFC 9110 §6.6.1); `now` in epoch seconds."""
    return f"Date: {formatdate(now, usegmt=True)}".encode()
