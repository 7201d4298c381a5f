"""A scripted egress proxy on a real socket: it records each CONNECT head, answers it, and tunnels after a 200."""

import asyncio
import ssl
from types import TracebackType
from typing import Self


class Egress:
    """Answers every CONNECT with `answer`; after a 200 it forwards bytes in both directions, to the port `to` of this
    machine if it is set. With `tls` it uses TLS and records the heads inside.
    """

    def __init__(
        self,
        answer: bytes = b"HTTP/1.1 200 Connection established\r\n\r\n",
        *,
        to: int | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._answer = answer
        self._tls = tls
        self._to = to
        self._tasks: set[asyncio.Task[None]] = set()
        self.heads: list[bytes] = []

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._tls)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._carry(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        self.heads.append(head)
        writer.write(self._answer)
        await writer.drain()
        if b" 200" not in self._answer.splitlines()[-2]:
            return
        host, _, port = head.split(b" ")[1].decode().rpartition(":")
        peer_reader, peer_writer = await asyncio.open_connection(
            *(("127.0.0.1", self._to) if self._to else (host, int(port)))
        )
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(_copy(reader, peer_writer))
                group.create_task(_copy(peer_reader, writer))
        finally:
            peer_writer.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while piece := await reader.read(65536):
            writer.write(piece)
            await writer.drain()
    finally:
        writer.close()
