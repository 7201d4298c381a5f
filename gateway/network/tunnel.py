"""A tunnel through an egress proxy (RFC 9110 §9.3.6): send CONNECT, read the response, switch to the next protocol."""

import asyncio
import re
from typing import cast

from gateway.network.tls import TlsLayer

MAX_RESPONSE_SIZE = 16 * 1024
"""Maximum bytes of the response head of the proxy, with interim responses."""

MAX_INTERIM = 16
"""Maximum number of interim responses: with each received piece, the parser starts again at the first byte."""

_STATUS_LINE = re.compile(rb"HTTP/1\.[0-9] ([1-9][0-9]{2})(?: [^\n]*+)?\r?\n")
_HTTP_PREFIX = b"HTTP/1."
_HEAD_END = re.compile(rb"\n\r?\n")


class TunnelRefused(ConnectionError):
    """The proxy refuses to open the tunnel."""


def connect_request(authority: str, authorization: str) -> bytes:
    """Return the request for a tunnel to `authority`; `authorization` is the value of Proxy-Authorization, or empty."""
    lines = [f"CONNECT {authority} HTTP/1.1", f"Host: {authority}"]
    if authorization:
        lines.append(f"Proxy-Authorization: {authorization}")
    return "\r\n".join([*lines, "", ""]).encode()


def find_tunnel_start(data: bytes) -> int | None:
    """Return the offset after the response head that opens the tunnel; None while the head is incomplete.

    Interim responses are skipped. A line may end in a bare LF (RFC 9112 §2.2). Raise TunnelRefused.
    """
    start = 0
    for _ in range(MAX_INTERIM + 1):
        line = _STATUS_LINE.match(data, start)
        if line is None:
            _check_partial_line(data[start:])
            return None
        end = _HEAD_END.search(data, line.end() - 1)
        if not line[1].startswith(b"1") or line[1] == b"101":
            if not line[1].startswith(b"2"):
                raise TunnelRefused(_describe_refusal(line[1].decode()))
            return end.end() if end else None
        if end is None:
            return None
        start = end.end()
    raise TunnelRefused(f"the proxy sent more than {MAX_INTERIM} interim responses")


def _check_partial_line(data: bytes) -> None:
    """Raise TunnelRefused if the data cannot become a status line."""
    if b"\n" in data or not _HTTP_PREFIX.startswith(data[: len(_HTTP_PREFIX)]):
        hint = "; it uses TLS: write `https://` in its URL" if data.startswith((b"\x15\x03", b"\x16\x03")) else ""
        raise TunnelRefused(f"the response of the proxy is not HTTP{hint}")


def _describe_refusal(status: str) -> str:
    reason = f"the proxy answered {status}"
    if status == "407":
        reason += ": set `proxy.username` and `proxy.password`, or user and password in the URL of HTTPS_PROXY"
    return reason


class Tunnel(asyncio.Protocol):
    """The protocol of the connection to the proxy until the tunnel is open; then `switch_protocol` replaces it."""

    def __init__(self, request: bytes) -> None:
        self._request = request
        self._transport: asyncio.Transport | None = None
        self._data = b""
        self._end = 0
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done when the proxy has opened the tunnel; an OSError if it has not."""

    def switch_protocol(self, protocol: asyncio.Protocol | TlsLayer) -> None:
        """Connect `protocol` to the open tunnel, and pass it every byte after the proxy's response."""
        transport = self._transport
        if transport is None or transport.is_closing():
            raise TunnelRefused("the proxy closed the tunnel as soon as it was open")
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
        if rest := self._data[self._end :]:
            protocol.data_received(rest)
        if not transport.is_closing():
            transport.resume_reading()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the request (asyncio)."""
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        """Read the proxy's response (asyncio). Keep the bytes of the origin after it for the next protocol."""
        is_line_incomplete = len(self._data) > len(_HTTP_PREFIX) and b"\n" not in data
        self._data += data
        if self.opened.done():
            return
        try:
            end = None if is_line_incomplete else find_tunnel_start(self._data)
        except TunnelRefused as error:
            self._fail(error)
            return
        if end is not None:
            self._end = end
            assert self._transport is not None
            self._transport.pause_reading()
            self.opened.set_result(None)
        elif len(self._data) > MAX_RESPONSE_SIZE:
            self._fail(TunnelRefused(f"the response of the proxy is longer than {MAX_RESPONSE_SIZE // 1024} KiB"))

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail the tunnel (asyncio)."""
        self._transport = None
        error = exc if isinstance(exc, OSError) else TunnelRefused("the response of the proxy was cut off")
        self._fail(error)

    def _fail(self, error: OSError) -> None:
        if not self.opened.done():
            self.opened.set_exception(error)
            self.opened.exception()  # mark it as retrieved: the waiter may be cancelled
