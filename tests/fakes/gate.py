"""A gateway in the process of the test, without admin port: real sockets, records in a list.

Every `Gate` has a time limit. At its end it checks that nothing is left: no request in flight, no busy connection, no
task, no message in the log, in asyncio's exception handler or in aiohttp's. `scene` starts gateway and peers.
"""

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, NamedTuple, Self
from urllib.parse import urlsplit

from gateway.config.model import Config
from gateway.http.pool import ConnectionPool as Pool
from gateway.http.request_head import RequestLimits
from gateway.http.server import CallerServer
from gateway.observe.meters import RouteMeter
from gateway.observe.metrics import Metrics
from gateway.observe.record import Record
from gateway.proxy.forward import RequestPipeline
from gateway.proxy.headers import REQUEST_RULES
from gateway.proxy.rewriting import url_map
from gateway.proxy.route_table import Route
from gateway.wiring.components import Components
from tests.fakes.identity import Answer, Identity
from tests.fakes.upstream import Script, Upstream, reset
from tests.fakes.waiting import TIME_LIMIT

SECRET = "s3cr3t-of-the-tests"

# The patterns for links are compiled when a response has one, not at the start: half of the CPU time of a gateway here.
url_map.PREPARED = 0


def config(token_url: str, upstream: str, **settings: Any) -> Config:
    """Return a configuration with one route `orders` at `/orders/`. `route` and `credential` add keys to them,
    `service` makes the upstream a service with these keys, other keys are at the top level.
    """
    route = {"name": "orders", "path": "/orders/", "upstream": upstream, "credential": "app"}
    credential = {"token_url": token_url, "client_id": "app-id", "client_secret": {"env": "GATE_SECRET"}}
    more = settings.pop("routes", [])
    if (service := settings.pop("service", None)) is not None:
        settings["services"] = {"acme": {"url": "://".join(urlsplit(upstream)[:2]), **service}}
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

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def head(self) -> bytes:
        return await self.reader.readuntil(b"\r\n\r\n")

    async def reply(self) -> tuple[int, bytes, bytes]:
        """Read one response; return status, head and decoded body. Without framing it ends with the connection."""
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

    async def read_to_end(self) -> bytes:
        """Return all bytes until the connection ends, also by a reset."""
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
        reset(self.writer)


class WarningCollector(logging.Handler):
    """Collect warnings and errors, except failed token requests, which tests cause on purpose."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.name != "gateway.token":
            self.messages.append(f"{record.name}: {record.getMessage()}")


class Gate:
    """The gateway of one configuration. `records` has one record per request, in the order of their ends; `problems`
    has warnings, and exceptions that were never retrieved; it must be empty at the end.
    """

    def __init__(self, settings: Config, *, random_fraction: Callable[[], float] = lambda: 0.0) -> None:
        self._settings = settings
        self._random_fraction = random_fraction
        self._callers: list[Caller] = []
        self._change = asyncio.Condition()
        self._woken: set[asyncio.Task[None]] = set()
        self._limit = asyncio.timeout(TIME_LIMIT)
        self._warnings = WarningCollector()
        self.records: list[Record] = []
        self.problems = self._warnings.messages

    async def __aenter__(self) -> Self:
        await self._limit.__aenter__()
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: self.problems.append(str(context)))
        logging.getLogger().addHandler(self._warnings)
        self.metrics = Metrics("test")
        self.components = Components(self.metrics, environ={**os.environ, "GATE_SECRET": SECRET})
        self.runtime = self.components.build_runtime(self._settings, self.components.load_files(self._settings))
        self.components.adopt(self.runtime)
        self.components.configure_gates(self._settings)
        self.forward = RequestPipeline(
            self.runtime.table, metrics=self.metrics, sink=self._sink, random_fraction=self._random_fraction
        )
        self.components.telemetry.configure(self._settings)
        self.forward.tracer = self.components.telemetry.tracer
        limits = self._settings.limits
        self.server = CallerServer(
            self.forward,
            RequestLimits(limits.uri, limits.field, limits.fields, limits.head, limits.connections),
            REQUEST_RULES,
        )
        self._listener = await loop.create_server(self.server.factory(), "127.0.0.1", 0)
        self.port: int = self._listener.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for caller in self._callers:
            caller.close()
        self._listener.close()
        await self.server.shutdown(within=0.1)
        for upstream in self.runtime.pools:
            upstream.close()
        for source in self.runtime.sources.values():
            await source.close()
        await self.components.telemetry.close()
        await self.components.close()
        if kind is None:
            self.assert_idle()
        logging.getLogger().removeHandler(self._warnings)
        await self._limit.__aexit__(kind, error, trace)

    @property
    def route(self) -> Route:
        return self.runtime.routes[0]

    @property
    def pool(self) -> Pool:
        return self.route.upstream.pool

    def assert_idle(self) -> None:
        """Check that nothing is in progress, and that there was no unnoticed problem."""
        assert not self.problems, "\n".join(self.problems)
        assert self.forward.in_flight == 0
        flying = {"-": self.metrics.route("-"), **{route.name: route.meter for route in self.runtime.routes}}
        assert {name: meter.in_flight for name, meter in flying.items()} == dict.fromkeys(flying, 0)
        for pool in self.runtime.pools:
            assert pool.count_by_state() | {"idle": 0} == {"busy": 0, "idle": 0, "dialing": 0, "waiting": 0}
        gates = self.components.services.gates.configured
        assert [(gate.running, gate.waiting) for gate in gates] == [(0, 0)] * len(gates)
        pumps = [task for task in asyncio.all_tasks() if "CallerBody" in repr(task.get_coro())]
        assert pumps == []

    def reload(self, settings: Config) -> None:
        """Use another configuration for the next requests."""
        self.runtime = self.components.build_runtime(settings, self.components.load_files(settings))
        self.components.adopt(self.runtime)
        self.forward.table = self.runtime.table

    async def caller(self, address: str | None = None) -> Caller:
        """Open a connection, from an address of loopback."""
        local = None if address is None else (address, 0)
        caller = Caller(*await asyncio.open_connection("127.0.0.1", self.port, local_addr=local))
        self._callers.append(caller)
        return caller

    async def call(self, data: bytes) -> tuple[int, bytes, bytes]:
        """Send bytes on a new connection and read one response."""
        caller = await self.caller()
        await caller.send(data)
        return await caller.reply()

    async def get(self, target: str = "/orders/1", *fields: str, method: str = "GET") -> tuple[int, bytes, bytes]:
        lines = [f"{method} {target} HTTP/1.1", "Host: localhost", *fields, "", ""]
        return await self.call("\r\n".join(lines).encode("latin-1"))

    async def post(self, body: bytes, *fields: str, target: str = "/orders/1") -> tuple[int, bytes, bytes]:
        lines = [f"POST {target} HTTP/1.1", "Host: localhost", f"Content-Length: {len(body)}", *fields, "", ""]
        return await self.call("\r\n".join(lines).encode("latin-1") + body)

    async def wait_for_records(self, count: int = 1) -> list[Record]:
        """Wait for this number of records."""
        async with self._change:
            await self._change.wait_for(lambda: len(self.records) >= count)
        return self.records

    def _sink(self, record: Record, _meter: RouteMeter, service: str) -> None:
        self.records.append(record)
        self.components.usage.count_calls([record], [service])
        task = asyncio.get_running_loop().create_task(self._wake())
        self._woken.add(task)
        task.add_done_callback(self._woken.discard)

    async def _wake(self) -> None:
        async with self._change:
            self._change.notify_all()


async def until(state: Callable[[], bool]) -> None:
    """Run the loop until a condition inside the gateway is true; the time limit of the test ends a hang."""
    while not state():  # noqa: ASYNC110 - there is no event for it
        await asyncio.sleep(0)


class Scene(NamedTuple):
    """A gateway and its peers."""

    gate: Gate
    upstream: Upstream
    identity: Identity


@asynccontextmanager
async def scene(
    *script: Script,
    tokens: tuple[Answer, ...] = (),
    random_fraction: Callable[[], float] = lambda: 0.0,
    base: str = "/ic/x",
    **settings: Any,
) -> AsyncIterator[Scene]:
    """Run a gateway with one route `orders` to an upstream that plays `script`; the token endpoint plays `tokens`."""
    async with (
        Identity(*tokens) as identity,
        Upstream(*script) as upstream,
        Gate(config(identity.url, upstream.url + base, **settings), random_fraction=random_fraction) as gate,
    ):
        yield Scene(gate, upstream, identity)
