"""One worker process: a gateway that serves the supervisor's requests and drains when the supervisor ends."""

import asyncio
import itertools
import logging
import os
import socket
import time
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import TYPE_CHECKING, Any

from gateway.config.model import Config
from gateway.config.route_model import RouteEntry
from gateway.history.interface import SearchResult
from gateway.history.query import HistoryQuery
from gateway.limits.limit_gates import LimitGates
from gateway.limits.limit_messages import LimitMessage
from gateway.observe.log import Log, log_event
from gateway.observe.snapshots import counters_only, sampled_gauges, split_snapshot
from gateway.observe.time_slices import short_switch_interval
from gateway.server.gateway import Gateway
from gateway.server.workers.call_lines import CallLineSender
from gateway.server.workers.rpc import Handlers, NoticeQueue, Parts, send_notices, serve_requests
from gateway.services.lease_messages import CoordinatorMessage
from gateway.services.service_gates import ServiceGates
from gateway.system.gc_tuning import freeze_gc, pause_collection
from gateway.wiring.components import ProcessGates
from gateway.wiring.log_targets import open_log

if TYPE_CHECKING:
    from gateway.server.process_console import Operation, ProcessConsole

_BATCH = 200  # routes or credentials in one message
_ROWS = 2000  # rows of usage in one message

Run = Callable[[Coroutine[Any, Any, int]], int]
"""Runs a coroutine to its end on a new loop."""

log = logging.getLogger("gateway.server.workers")


def run_worker(channel: socket.socket, listeners: list[socket.socket], *, run: Run) -> int:
    """Run a worker to its end. Return exit status 0 after a drained stop, 1 if requests were cut off."""
    return run(Worker(listeners).serve(channel))


class Worker:
    """Answers the requests of the supervisor; `_handlers` lists them."""

    def __init__(self, listeners: list[socket.socket]) -> None:
        self._listeners = listeners
        self._records: Log | None = None
        self._gateway: Gateway | None = None
        self._console: ProcessConsole | None = None
        self._call_lines: CallLineSender | None = None
        self._routes: list[RouteEntry] = []
        self._draining = asyncio.Event()
        self._force_stopped = asyncio.Event()
        self._gates = ServiceGates(now=time.monotonic)
        self._limit_gates = LimitGates(now=time.monotonic)
        self._handlers: Handlers = {
            "ping": self._ping,
            "start": self._start,
            "routes": self._add_routes,
            "prepare": self._prepare,
            "adopt": self._adopt,
            "snapshot": self._snapshot,
            "counters": self._counters,
            "exemplars": self._exemplars,
            "status": self._status,
            "instances": self._instances,
            "flush_history": self._flush_history,
            "usage": self._usage,
            "readiness": self._readiness,
            "console": self._answer_console,
            "watch_calls": self._watch_calls,
            "drain": self._drain,
            "force_stop": self._force_stop,
        }

    async def serve(self, channel: socket.socket) -> int:
        """Serve until the supervisor requests a drain or its connection closes. Return the exit status."""
        reader, writer = await asyncio.open_unix_connection(sock=channel)
        notices = NoticeQueue(partial(send_notices, writer))
        self._gates.send = lambda origin, message: notices.put((origin, message))
        self._limit_gates.send = lambda caller, message: notices.put((caller, message))
        transport = writer.transport
        self._call_lines = CallLineSender(lambda lines: notices.put(("", lines)), transport.get_write_buffer_size)
        serving = asyncio.create_task(self._serve_channel(reader, writer))
        await self._draining.wait()
        drained = self._gateway is None or await self._gateway.finish(force_stop=self._force_stopped)
        if self._records is not None:
            self._records.close()
        writer.close()
        await serving
        return 0 if drained else 1

    async def _serve_channel(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await serve_requests(reader, writer, self._handlers, self._on_notices)
        finally:
            if not self._draining.is_set():
                message = "the parent process has ended; draining"
                log_event(log, logging.ERROR, "supervisor-lost", message, pid=os.getpid())
                await self._drain()

    async def _start(self, arguments: tuple[Config, list[tuple[str, int]], str]) -> None:
        config, listeners, pseudonym = arguments
        self._records = open_log(config.log)
        gates = ProcessGates(self._gates, self._limit_gates)
        self._gateway = Gateway(config, self._records, environ=os.environ, pseudonym=pseudonym, gates=gates)
        sockets = iter(self._listeners)
        groups = [[*itertools.islice(sockets, count)] for _, count in listeners]
        await self._gateway.open([address for address, _ in listeners], groups)

    def _on_notices(self, notices: list[tuple[str, CoordinatorMessage | LimitMessage]]) -> None:
        for name, message in notices:
            if isinstance(message, LimitMessage):
                self._limit_gates.receive(name, message)
            else:
                self._gates.receive(name, message)

    async def _ping(self, _: object) -> None:
        """Answer, which shows that the loop runs."""

    async def _drain(self, _: object = None) -> int:
        try:
            return 0 if self._gateway is None else await self._gateway.drain()
        finally:
            self._draining.set()

    async def _force_stop(self, _: object) -> None:
        self._force_stopped.set()

    async def _add_routes(self, batch: tuple[int, list[RouteEntry]]) -> None:
        """Store a batch of routes of the next configuration, from this index on (`send_config`)."""
        start, routes = batch
        self._routes[start:] = routes
        freeze_gc()  # a garbage collection between batches would traverse all of them in one step

    async def _prepare(self, config: Config) -> None:
        routes, self._routes = self._routes, []
        with short_switch_interval(), pause_collection():
            await self._running_gateway().prepare(config.model_copy(update={"routes": routes}))

    async def _adopt(self, _: object) -> None:
        self._running_gateway().adopt()

    async def _snapshot(self, _: object) -> Parts:
        return Parts(split_snapshot(await self._running_gateway().snapshot()))

    async def _counters(self, is_sampled: object) -> Parts:
        """Return the counters, and for the console the gauges that it samples."""
        snapshot = await self._running_gateway().snapshot()
        return Parts(split_snapshot(counters_only(snapshot) | (sampled_gauges(snapshot) if is_sampled else {})))

    async def _exemplars(self, _: object) -> Parts:
        rows = [*self._running_gateway().exemplars().items()]
        return Parts(dict(rows[start : start + _BATCH]) for start in range(0, len(rows), _BATCH))

    async def _status(self, _: object) -> Parts:
        return split_status(await self._running_gateway().status())

    async def _instances(self, query: HistoryQuery) -> SearchResult:
        return await self._running_gateway().instances(query)

    async def _usage(self, _: object) -> Parts:
        rows, lost = await self._running_gateway().usage_in_memory()
        return Parts([lost, *(rows[start : start + _ROWS] for start in range(0, len(rows), _ROWS))])

    async def _flush_history(self, _: object) -> int:
        return await self._running_gateway().flush_history()

    async def _readiness(self, _: object) -> tuple[bool, dict[str, Any]]:
        return await self._running_gateway().readiness()

    async def _answer_console(self, request: "tuple[Operation, tuple[Any, ...]]") -> Any:
        if self._console is None:
            from gateway.server.process_console import ProcessConsole  # noqa: PLC0415 - only with a console

            self._console = ProcessConsole(self._running_gateway())
        operation, arguments = request
        return await self._console.run(operation, *arguments)

    async def _watch_calls(self, is_watched: object) -> None:
        assert self._call_lines is not None
        self._running_gateway().watch_records(self._call_lines.put if is_watched else None)

    def _running_gateway(self) -> Gateway:
        assert self._gateway is not None, "request before `start`"
        return self._gateway


async def send_config(config: Config, ask: Callable[[str, Any], Awaitable[object]]) -> None:
    """Make a worker prepare a configuration. The routes are sent first, in batches, because the worker serves callers
    meanwhile.
    """
    for start in range(0, len(config.routes), _BATCH):
        await ask("routes", (start, config.routes[start : start + _BATCH]))
    await ask("prepare", config.model_copy(update={"routes": []}))


def split_status(document: dict[str, Any]) -> Parts:
    """Split a status for `join_status`: the first part has everything except routes and credentials, which follow in
    batches.
    """
    routes, credentials = document["routes"], tuple(document["credentials"].items())
    parts = Parts([document | {"routes": [], "credentials": {}}])
    parts += [{"routes": routes[start : start + _BATCH]} for start in range(0, len(routes), _BATCH)]
    parts += [
        {"credentials": dict(credentials[start : start + _BATCH])} for start in range(0, len(credentials), _BATCH)
    ]
    return parts


def join_status(parts: Parts) -> dict[str, Any]:
    """Join the parts that `split_status` made."""
    document: dict[str, Any] = parts[0]
    for part in parts[1:]:
        document["routes"] += part.get("routes", ())
        document["credentials"] |= part.get("credentials", {})
    return document
