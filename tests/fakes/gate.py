"""A gateway in this process, without ports of its own beside the callers': real sockets, records in a list."""

import asyncio
import os
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from gateway.config.model import Config
from gateway.observe.metrics import Metrics
from gateway.observe.record import Record
from gateway.proxy.forward import Forward
from gateway.proxy.server import CallerServer, Limits
from gateway.wiring import Parts

SECRET = "s3cr3t-of-the-tests"


def config(token_url: str, upstream: str, **settings: Any) -> Config:
    """One route `orders` at `/orders/`; `route` and `credential` add keys there, the rest at the top."""
    route = {"name": "orders", "path": "/orders/", "upstream": upstream, "credential": "app"}
    credential = {"token_url": token_url, "client_id": "app-id", "client_secret": {"env": "GATE_SECRET"}}
    more = settings.pop("routes", [])
    return Config.model_validate(
        {
            "credentials": {"app": credential | settings.pop("credential", {})},
            "routes": [route | settings.pop("route", {}), *more],
            **settings,
        }
    )


class Caller:
    """A raw connection of a caller."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def say(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def head(self) -> bytes:
        return await self.reader.readuntil(b"\r\n\r\n")

    async def reply(self) -> tuple[int, bytes, bytes]:
        """One reply: status, head, body unframed; a reply without framing is read to the end."""
        head = await self.head()
        status = int(head.split(b" ")[1])
        lower = head.lower()
        if status in {100, 204, 304}:
            return status, head, b""
        if b"transfer-encoding: chunked" in lower:
            body = b""
            while size := int(await self.reader.readline(), 16):
                body += (await self.reader.readexactly(size + 2))[:-2]
            await self.reader.readline()
            return status, head, body
        if b"content-length: " in lower:
            length = int(lower.split(b"content-length: ")[1].split(b"\r\n")[0])
            return status, head, await self.reader.readexactly(length)
        return status, head, await self.reader.read()

    async def rest(self) -> bytes:
        """Everything until the connection ends, cleanly or not."""
        got = b""
        try:
            while piece := await self.reader.read(65536):
                got += piece
        except ConnectionError:
            pass
        return got

    def close(self) -> None:
        self.writer.close()

    def reset(self) -> None:
        self.writer.transport.abort()


class Gate:
    """The gateway of one configuration. `records` holds one record per request, in the order of their ends."""

    def __init__(self, settings: Config, *, luck: Callable[[], float] = lambda: 0.0) -> None:
        self._settings = settings
        self._luck = luck
        self._callers: list[Caller] = []
        self._change = asyncio.Condition()
        self._woken: set[asyncio.Task[None]] = set()
        self.records: list[Record] = []

    async def __aenter__(self) -> Self:
        self.metrics = Metrics("test")
        self.parts = Parts(self.metrics, environ={**os.environ, "GATE_SECRET": SECRET})
        self.assembly = self.parts.assemble(self._settings)
        self.forward = Forward(self.assembly.table, metrics=self.metrics, sink=self._sink, luck=self._luck)
        limits = self._settings.limits
        self.server = CallerServer(
            self.forward,
            on_malformed=self.forward.malformed,
            limits=Limits(limits.uri, limits.field, limits.fields, limits.connections),
        )
        self._listener = await asyncio.get_running_loop().create_server(self.server, "127.0.0.1", 0)
        self.port: int = self._listener.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for caller in self._callers:
            caller.close()
        self._listener.close()
        await self.server.shutdown(timeout=0.1)
        for upstream in self.assembly.upstreams:
            upstream.close()
        for source in self.assembly.sources.values():
            await source.close()
        await self.parts.close()

    async def caller(self) -> Caller:
        caller = Caller(*await asyncio.open_connection("127.0.0.1", self.port))
        self._callers.append(caller)
        return caller

    async def call(self, data: bytes) -> tuple[int, bytes, bytes]:
        """Says bytes on a new connection and reads one reply."""
        caller = await self.caller()
        await caller.say(data)
        return await caller.reply()

    async def get(self, target: str = "/orders/1", *fields: str, method: str = "GET") -> tuple[int, bytes, bytes]:
        lines = [f"{method} {target} HTTP/1.1", "Host: localhost", *fields, "", ""]
        return await self.call("\r\n".join(lines).encode("latin-1"))

    async def post(self, body: bytes, *fields: str, target: str = "/orders/1") -> tuple[int, bytes, bytes]:
        lines = [f"POST {target} HTTP/1.1", "Host: localhost", f"Content-Length: {len(body)}", *fields, "", ""]
        return await self.call("\r\n".join(lines).encode("latin-1") + body)

    async def recorded(self, count: int = 1) -> list[Record]:
        """Waits for so many records."""
        async with self._change:
            await self._change.wait_for(lambda: len(self.records) >= count)
        return self.records

    def _sink(self, record: Record) -> None:
        self.records.append(record)
        task = asyncio.get_running_loop().create_task(self._wake())
        self._woken.add(task)
        task.add_done_callback(self._woken.discard)

    async def _wake(self) -> None:
        async with self._change:
            self._change.notify_all()
