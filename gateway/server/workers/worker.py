"""One worker: a gateway that opens, changes and drains as the crew says, and by itself when the crew goes."""

import asyncio
import logging
import os
import socket
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from gateway.config.model import Config
from gateway.config.route_model import RouteEntry
from gateway.history.interface import SearchResult
from gateway.history.query import HistoryQuery
from gateway.observe.log import Log, log_event, setup
from gateway.observe.metrics import counters_only, split_snapshot
from gateway.observe.time_slices import short_switches
from gateway.server.gateway import Gateway
from gateway.server.workers.rpc import Handlers, Parts, serve_requests
from gateway.system.gc_tuning import pause_collection, set_aside

_PART = 200  # routes or credentials

Run = Callable[[Coroutine[Any, Any, int]], int]
"""Runs a coroutine on a fresh loop to its end."""

log = logging.getLogger("gateway.server.workers")


def run_worker(line: socket.socket, listeners: list[socket.socket], *, run: Run) -> int:
    """The whole life of a worker's process; exit status 0 after a drained stop, 1 where requests were cut off."""
    return run(Worker(listeners).live(line))


class Worker:
    """Answers the crew's questions: the methods without an underscore in `_handlers`."""

    def __init__(self, listeners: list[socket.socket]) -> None:
        self._listeners = listeners
        self._records: Log | None = None
        self._gateway: Gateway | None = None
        self._routes: list[RouteEntry] = []
        self._leaving = asyncio.Event()
        self._force = asyncio.Event()
        self._handlers: Handlers = {
            "ping": self._ping,
            "start": self._start,
            "routes": self._gather,
            "prepare": self._prepare,
            "adopt": self._adopt,
            "numbers": self._numbers,
            "earned": self._counters,
            "status": self._status,
            "instances": self._instances,
            "settle": self._flush_history,
            "readiness": self._readiness,
            "drain": self._drain,
            "hurry": self._force_stop,
        }

    async def live(self, line: socket.socket) -> int:
        """Until the crew has it drain, or has gone."""
        reader, writer = await asyncio.open_unix_connection(sock=line)
        talk = asyncio.create_task(self._serve_channel(reader, writer))
        await self._leaving.wait()
        drained = self._gateway is None or await self._gateway.finish(hurry=self._force)
        if self._records is not None:
            self._records.close()
        writer.close()
        await talk
        return 0 if drained else 1

    async def _serve_channel(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await serve_requests(reader, writer, self._handlers)
        finally:
            if not self._leaving.is_set():
                log_event(log, logging.ERROR, "crew-lost", "the parent process has gone; draining", pid=os.getpid())
                await self._drain()

    async def _start(self, wanted: tuple[Config, str, str]) -> None:
        config, address, pseudonym = wanted
        self._records = setup(config.log.level, config.log.format)
        self._gateway = Gateway(config, self._records, environ=os.environ, pseudonym=pseudonym)
        await self._gateway.open(self._listeners, address=address)

    async def _ping(self, _: object) -> None:
        """Tells that the loop turns."""

    async def _drain(self, _: object = None) -> int:
        try:
            return 0 if self._gateway is None else await self._gateway.drain()
        finally:
            self._leaving.set()

    async def _force_stop(self, _: object) -> None:
        self._force.set()

    async def _gather(self, some: tuple[int, list[RouteEntry]]) -> None:
        """Keeps some routes of a configuration that is on its way, from this number on; see `send_config`."""
        start, routes = some
        self._routes[start:] = routes
        set_aside()  # a collection in the midst of many parts would look at all of them in one step

    async def _prepare(self, config: Config) -> None:
        routes, self._routes = self._routes, []
        with short_switches(), pause_collection():
            await self._ready().prepare(config.model_copy(update={"routes": routes}))

    async def _adopt(self, _: object) -> None:
        self._ready().adopt()

    async def _numbers(self, _: object) -> Parts:
        return Parts(split_snapshot(await self._ready().snapshot()))

    async def _counters(self, _: object) -> Parts:
        return Parts(split_snapshot(counters_only(await self._ready().snapshot())))

    async def _status(self, _: object) -> Parts:
        return split_status(await self._ready().status())

    async def _instances(self, query: HistoryQuery) -> SearchResult:
        return await self._ready().instances(query)

    async def _flush_history(self, _: object) -> int:
        return await self._ready().flush_history()

    async def _readiness(self, _: object) -> tuple[bool, dict[str, Any]]:
        return await self._ready().readiness()

    def _ready(self) -> Gateway:
        assert self._gateway is not None, "asked before its start"
        return self._gateway


async def send_config(config: Config, ask: Callable[[str, Any], Awaitable[object]]) -> None:
    """Has a worker prepare a configuration; the routes go ahead, some at a time, since it serves callers meanwhile."""
    for start in range(0, len(config.routes), _PART):
        await ask("routes", (start, config.routes[start : start + _PART]))
    await ask("prepare", config.model_copy(update={"routes": []}))


def split_status(document: dict[str, Any]) -> Parts:
    """A status in parts, the rest first, then some routes and credentials each; see `join_status`."""
    routes, credentials = document["routes"], tuple(document["credentials"].items())
    parts = Parts([document | {"routes": [], "credentials": {}}])
    parts += [{"routes": routes[start : start + _PART]} for start in range(0, len(routes), _PART)]
    parts += [{"credentials": dict(credentials[start : start + _PART])} for start in range(0, len(credentials), _PART)]
    return parts


def join_status(parts: Parts) -> dict[str, Any]:
    """The status whose parts these are."""
    document: dict[str, Any] = parts[0]
    for part in parts[1:]:
        document["routes"] += part.get("routes", ())
        document["credentials"] |= part.get("credentials", {})
    return document
