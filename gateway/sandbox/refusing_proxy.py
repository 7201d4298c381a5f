"""An egress proxy that opens no tunnel: it requires a password, or refuses (RFC 9110 sections 9.3.6, 15.5.8)."""

import asyncio
from contextlib import suppress
from typing import Self

_LONGEST_HEAD = 1 << 16
_REST = "Content-Length: 0\r\nConnection: close\r\n\r\n"
_ANSWERS = {
    "407": f'HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm="sandbox"\r\n{_REST}',
    "refuses": f"HTTP/1.1 403 Forbidden\r\n{_REST}",
}
"""By the value of the switch `egress_proxy`."""


class SandboxEgressProxy:
    """Answers every request with one refusal and closes the connection."""

    def __init__(self, kind: str) -> None:
        self._answer = _ANSWERS[kind].encode()
        self._server: asyncio.Server | None = None
        self.url = ""

    async def start(self, host: str) -> Self:
        """Listen on any port of that address and set `url`."""
        self._server = await asyncio.start_server(self._refuse, host, 0, limit=_LONGEST_HEAD)
        port = self._server.sockets[0].getsockname()[1]
        self.url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
        return self

    def stop(self) -> None:
        """Close the listener."""
        if self._server is not None:
            self._server.close()

    async def _refuse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(self._answer)
            await writer.drain()
        writer.close()
