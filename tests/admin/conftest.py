import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from gateway.admin.address import parse_address
from gateway.admin.admin_server import AdminServer
from gateway.history.interface import SearchResult
from gateway.history.query import HistoryQuery
from gateway.history.usage_query import UsageQuery, UsageReport

READY = {"state": "ready", "credentials": {"a": {"state": "ok"}}}


class FakeBackend:
    """A desk whose answers a test sets, and which waits when told to."""

    def __init__(self) -> None:
        self.answer: tuple[bool, dict[str, Any]] = (True, READY)
        self.alive = True
        self.status_requests = 0
        self.open = asyncio.Event()
        self.open.set()
        self.failure: Exception | None = None
        self.queries: list[HistoryQuery] = []
        self.found = SearchResult((), 0, "memory")
        self.usage_queries: list[UsageQuery] = []
        self.report: UsageReport | None = None

    async def readiness(self) -> tuple[bool, dict[str, Any]]:
        self.status_requests += 1
        await self.open.wait()
        return self.answer

    async def liveness(self) -> tuple[bool, dict[str, Any]]:
        return self.alive, {"state": "alive" if self.alive else "stuck"}

    async def metrics(self) -> list[bytes]:
        return [b"# HELP ", b"a b\n"]

    async def status(self) -> dict[str, Any]:
        if self.failure:
            raise self.failure
        return {"routes": ["orders"]}

    async def instances(self, query: HistoryQuery) -> SearchResult:
        self.queries.append(query)
        if self.failure:
            raise self.failure
        return self.found

    async def usage(self, query: UsageQuery) -> UsageReport:
        self.usage_queries.append(query)
        if self.failure:
            raise self.failure
        return self.report or UsageReport(query, (), (), {}, "memory")


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    head: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Port:
    """An open admin port, and a caller that sends it any bytes."""

    def __init__(self, *, quits: bool) -> None:
        self.backend = FakeBackend()
        self.stops_requested = 0
        self.server = AdminServer(
            self.backend,
            may_call=self.may_call,
            request_stop=self.request_stop if quits else None,
            reloads=self,
        )
        self.reloads_requested = 0
        self.address = ""
        self.arrivals: asyncio.Queue[None] = asyncio.Queue()
        self.refused: str | None = None
        self.accepts_console_host = False
        self.seen: list[tuple[str | None, str]] = []

    def may_call(self, peer: str | None, host: str, *, accepts_console_host: bool) -> str | None:
        self.seen.append((peer, host))
        self.accepts_console_host = accepts_console_host
        self.arrivals.put_nowait(None)
        return self.refused

    def request_stop(self) -> None:
        self.stops_requested += 1

    async def reload_by_request(self) -> tuple[bool, dict[str, Any]]:
        self.reloads_requested += 1
        return self.backend.answer

    async def configuration_document(self) -> dict[str, Any]:
        return {"keys": {}}

    async def arrived(self, number: int) -> None:
        """Waits until `number` requests more have been judged."""
        for _ in range(number):
            await self.arrivals.get()

    async def ask(self, target: str, *fields: str, method: str = "GET") -> Reply:
        head = "".join(f"{field}\r\n" for field in fields or ("Host: localhost",))
        return await self.send(f"{method} {target} HTTP/1.1\r\n{head}Connection: close\r\n\r\n".encode())

    async def send(self, raw: bytes) -> Reply:
        where = parse_address(self.address)
        if where.path:
            reader, writer = await asyncio.open_unix_connection(where.path)
        else:
            reader, writer = await asyncio.open_connection(where.host, where.port)
        try:
            writer.write(raw)
            head, _, body = (await reader.read(-1)).partition(b"\r\n\r\n")
        finally:
            writer.close()
            await writer.wait_closed()
        first, *lines = head.decode().split("\r\n")
        fields = dict(line.split(": ", 1) for line in lines)
        return Reply(int(first.split()[1]), fields, body)


async def opened(address: str, *, quits: bool = False) -> Port:
    port = Port(quits=quits)
    port.address = await port.server.start(address)
    return port


@pytest.fixture
async def port() -> AsyncIterator[Port]:
    port = await opened("127.0.0.1:0")
    yield port
    await port.server.close()


@pytest.fixture
async def quit_port() -> AsyncIterator[Port]:
    """An admin port with `/quit`."""
    port = await opened("127.0.0.1:0", quits=True)
    yield port
    await port.server.close()


@pytest.fixture
async def unix_port(tmp_path: Path) -> AsyncIterator[Port]:
    port = await opened(f"unix:{tmp_path}/admin.sock")
    yield port
    await port.server.close()
