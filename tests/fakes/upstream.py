"""A scripted upstream on a real socket: it records every byte of each request and sends exactly what a test wrote."""

import asyncio
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from tests.fakes.waiting import BACKLOG


@dataclass(frozen=True, slots=True)
class Request:
    """A received request: the number of its connection (from 0), its raw head, its decoded body."""

    connection: int
    head: bytes
    body: bytes

    @property
    def line(self) -> str:
        return self.head.split(b"\r\n", 1)[0].decode("latin-1")

    @property
    def target(self) -> str:
        return self.line.split(" ")[1]

    @property
    def fields(self) -> list[tuple[str, str]]:
        rows = [row.decode("latin-1").partition(": ") for row in self.head.split(b"\r\n")[1:] if row]
        return [(name, value) for name, _, value in rows]

    def field(self, name: str) -> str | None:
        """Return the value of a field, repeated ones joined by `|`, or None."""
        values = [value for key, value in self.fields if key.lower() == name.lower()]
        return "|".join(values) if values else None


class ScriptedConnection:
    """One connection, for scripts that do more than send bytes."""

    def __init__(self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.number = number
        self.reader = reader
        self.writer = writer

    async def head(self) -> bytes:
        return await self.reader.readuntil(b"\r\n\r\n")

    async def request(self) -> Request:
        """Read one complete request."""
        head = await self.head()
        lower = head.lower()
        body = b""
        if b"transfer-encoding: chunked" in lower:
            while size := int(await self.reader.readuntil(b"\r\n"), 16):
                body += (await self.reader.readexactly(size + 2))[:-2]
            await self.reader.readline()
        elif b"content-length: " in lower:
            length = int(lower.split(b"content-length: ")[1].split(b"\r\n")[0])
            body = await self.reader.readexactly(length)
        return Request(self.number, head, body)

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    def reset(self) -> None:
        """End the connection with RST."""
        reset(self.writer)


def reset(writer: asyncio.StreamWriter) -> None:
    """End a connection with RST: for the peer an abort would be an orderly end."""
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


Script = bytes | Callable[[ScriptedConnection], Awaitable[None]]


def reply(status: int = 200, body: bytes = b"", *fields: str, length: bool = True) -> bytes:
    """Return a complete response; `fields` are `Name: value`."""
    lines = [f"HTTP/1.1 {status} Scripted", *fields]
    if length:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


OK = reply(200, b"ok", "x-oracle-ics-instance-id: lJrSjUUVEfGXW0tyvl-GZA")
CLOSE = b""


class Upstream:
    """Plays `script` request by request, on any connection; after its end answers OK.

    Bytes are sent after a complete request was read; CLOSE closes instead. A callable gets the connection before
    anything is read, and ends it when it returns.
    """

    def __init__(self, *script: Script, tls: ssl.SSLContext | None = None) -> None:
        self.script = list(script)
        self.requests: list[Request] = []
        self.connections = 0
        self.open = 0
        self._tls = tls
        self._change = asyncio.Condition()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    async def until(self, state: Callable[[], bool]) -> None:
        """Wait until a condition is true; it is checked after each event of this upstream."""
        async with self._change:
            await self._change.wait_for(state)

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._tls, backlog=BACKLOG)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for peer in list(self._tasks):
            peer.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        peer = ScriptedConnection(self.connections, reader, writer)
        self.connections += 1
        self.open += 1
        try:
            await self._changed()
            await self._play_script(peer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            writer.close()
            self.open -= 1
            await self._changed()

    async def _play_script(self, peer: ScriptedConnection) -> None:
        while True:
            if self.script and callable(self.script[0]):
                await self.script.pop(0)(peer)  # type: ignore[operator] # just seen to be callable
                return
            request = await peer.request()
            self.requests.append(request)
            await self._changed()
            answer = self.script.pop(0) if self.script else OK
            if answer == CLOSE:
                return
            assert isinstance(answer, bytes)
            await peer.send(answer)

    async def record_request(self, request: Request) -> None:
        """Record a request that a script has read itself."""
        self.requests.append(request)
        await self._changed()

    async def _changed(self) -> None:
        async with self._change:
            self._change.notify_all()
