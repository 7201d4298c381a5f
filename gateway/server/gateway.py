"""A running gateway: `Gateway` serves the callers in this process, `Alone` adds both ports and is all of `serve` where
one process is enough. What a gateway is made of is put together in `wiring`; several processes are `workers`.
"""

import asyncio
import logging
import os
import socket
from collections.abc import Callable, Coroutine, Iterable, Mapping
from dataclasses import asdict
from functools import partial
from typing import Any

from gateway import __version__
from gateway.admin.admin_server import AdminServer
from gateway.admin.backend import AdminBackend
from gateway.checks.background import BackgroundChecks
from gateway.config.issue import SecretProblem
from gateway.config.load import Loaded
from gateway.config.model import Config
from gateway.history.interface import SearchResult
from gateway.history.query import HistoryQuery
from gateway.http.accept_queue import accept_backlog
from gateway.http.connection_limits import ConnectionLimits
from gateway.http.pool import ConnectionBudget
from gateway.http.request_head import RequestLimits
from gateway.http.server import CallerServer
from gateway.network.event_loop import name_troubles, watch_names
from gateway.oauth.store import Store
from gateway.oauth.token_source import Readiness, TokenSource
from gateway.observe.log import Log, log_event
from gateway.observe.metrics import Metrics, Snapshot
from gateway.observe.record import Record
from gateway.observe.time_slices import free_in_turns, work_in_turns
from gateway.proxy.admission import Admission
from gateway.proxy.forward import Forward
from gateway.proxy.headers import REQUEST_RULES
from gateway.proxy.route_table import Route
from gateway.server.lifecycle import capacity_of, choose_pseudonym, raise_file_limit, run_until_stopped
from gateway.server.listen_socket import ListenSocket, explain_bind_error
from gateway.server.shortage_monitor import Shortages
from gateway.system import gc_tuning
from gateway.system.files import in_thread
from gateway.wiring.components import Components, LoadedFiles, Runtime
from gateway.wiring.history import CallHistory, import_history
from gateway.wiring.token_events import gauges, log_stale_serving

log = logging.getLogger("gateway.server.gateway")

BACKLOG = 1024


class Gateway(AdminBackend):
    """What serves the callers in this process, between `open` and `finish`. Raises OSError as `prepare` does."""

    def __init__(self, config: Config, records: Log, *, environ: Mapping[str, str], pseudonym: str) -> None:
        """`pseudonym` is the name in `Via` that all processes of a running gateway share."""
        self._config = self._next_config = config
        self._metrics = Metrics(__version__)
        self._metrics.watch_lost(lambda: records.lost)
        capacity = capacity_of(config)
        self._components = Components(self._metrics, environ=environ, upstreams=ConnectionBudget(capacity.upstreams))
        self._runtime = self._next_runtime = self._components.assemble(config, self._components.load(config))
        self._records = records
        self._history = CallHistory(config)
        self._metrics.watch_history(lambda: self._history.lost)
        self._checks = BackgroundChecks(self._components)
        self._pipeline = Forward(
            self._runtime.table, metrics=self._metrics, sink=self._finished, begun=self._begun, pseudonym=pseudonym
        )
        limits = config.limits
        places = ConnectionLimits(capacity.connections, refused=capacity.refused, address_share=limits.address_share)
        self._shortages = Shortages(capacity, places)
        self._callers = CallerServer(
            self._pipeline,
            RequestLimits(limits.uri, limits.field, limits.fields, limits.head, capacity.connections),
            REQUEST_RULES,
            places=places,
            on_refused=self._shortages.refused,
        )
        self._sockets: list[socket.socket] = []
        self._listeners: list[asyncio.Server] = []
        self._address = config.listen
        self._metrics.watch_callers(self._shortages.metrics)
        self._metrics.watch_connections(self._connections)
        self._metrics.watch_tokens(self._token_gauges)
        self._metrics.watch_store(lambda: self._runtime.store.health().ok)
        self._closing: set[asyncio.Task[None]] = set()
        self._leaving: set[TokenSource] = set()

    async def open(self, listeners: list[socket.socket], *, address: str) -> None:
        """Serves the callers that come to bound sockets, closed at `drain`; `address` is what they are called."""
        self._address = address
        gc_tuning.tune_gc()
        loop = asyncio.get_running_loop()
        self._sockets = listeners
        watch_names(loop, log_stale_serving)
        for listener in listeners:
            self._listeners.append(await loop.create_server(self._callers, sock=listener, backlog=BACKLOG))
        self._shortages.start()
        self._runtime.prefetch()

    async def prepare(self, config: Config) -> None:
        """Compiles another configuration; nothing changes before `adopt`. Raises OSError where a file or a secret that
        it names cannot be used.
        """
        loaded = await in_thread(partial(self._load, config), owner=self)
        self._next_config, self._next_runtime = config, await self._components.assemble_in_turns(config, loaded)
        prepared = [*loaded.routes]
        del loaded
        await free_in_turns(prepared)

    def _load(self, config: Config) -> LoadedFiles:
        """Everything that `prepare` and `adopt` need of files; in a thread."""
        import_history(config)
        return self._components.load(config)

    def adopt(self) -> None:
        """Takes on what was prepared last; requests under way end by the old one. What is `FIXED` stays."""
        before, self._runtime, self._config = self._runtime, self._next_runtime, self._next_config
        self._pipeline.table = self._runtime.table
        self._history.apply_config(self._config)
        self._runtime.prefetch()
        for upstream in before.pools:
            upstream.close()
        self._spawn(self._checks.cancel())
        leaving = set(before.sources.values()).difference(self._runtime.sources.values())
        if leaving or before.store is not self._runtime.store:
            self._leaving |= leaving
            self._spawn(self._retire(before.store, leaving))
        self._spawn(free_in_turns([*before.config.routes, *before.routes]))

    async def drain(self) -> int:
        """Takes no new connections from now on, and ends each with its next reply; how many requests are under way."""
        self._pipeline.closing = True
        await accept_backlog(self._sockets)
        for listener in self._listeners:
            listener.close()
        return self._pipeline.in_flight

    async def finish(self, *, hurry: asyncio.Event) -> bool:
        """After `drain`: waits for the connections to end (`drain`, or until `hurry` is set) and closes all.
        True when every request could finish.
        """
        await _wait_first(self._callers.retire(), hurry.wait(), within=self._config.drain)
        drained = self._pipeline.idle.is_set()
        self._pipeline.draining = True
        self._shortages.stop()
        self._pipeline.aborting = True
        self._callers.abort_all()
        await self._callers.shutdown(within=0.1)
        await self._checks.cancel()
        for upstream in self._runtime.pools:
            upstream.close()
        for source in (*self._runtime.sources.values(), *self._leaving):
            await source.close()
        await asyncio.gather(*self._closing)
        await self._components.close()
        await self._history.close()
        return drained

    def _finished(self, record: Record) -> None:
        """A request has come to its end, and leaves its line in the log and in the history."""
        self._history.append(self._records.write(record))
        self._history.end(record)

    def _begun(self, record: Record) -> None:
        """A request that may change something is about to be sent."""
        self._history.begin(record)

    def _spawn(self, closing: Coroutine[Any, Any, None]) -> None:
        """Has it done in the background, and before the end."""
        task = asyncio.create_task(closing)
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def _retire(self, store: Store, sources: set[TokenSource]) -> None:
        """Lets the sources that are no longer used end their fetches, then closes the store if nobody uses it."""
        for source in sources:
            await source.wait_idle()
            self._leaving.discard(source)
        if store not in {self._runtime.store, self._next_runtime.store}:
            await self._components.retire(store)

    # The desk of the admin port -------------------------------------------------------------------------------------

    async def readiness(self) -> tuple[bool, dict[str, Any]]:
        """Ready only while every credential in use has, or can get, a token."""
        if self._pipeline.closing:
            return False, {"state": "draining"}
        sources = self._runtime.sources
        answers = await asyncio.gather(*(source.ready() for source in sources.values()))
        credentials = {
            name: {"state": _state(answer), **(_readiness_problem(answer) if answer.code else {})}
            for name, answer in zip(sources, answers, strict=True)
        }
        ready = all(answer.ok for answer in answers)
        health = self._runtime.store.health()
        state = "unready" if not ready else "ready" if health.ok else "degraded"
        return ready, {"state": state, "credentials": credentials, "store": asdict(health)}

    async def liveness(self) -> tuple[bool, dict[str, Any]]:
        """Whoever answers is alive."""
        return True, {"state": "alive"}

    async def metrics(self) -> list[bytes]:
        """Prometheus text."""
        return await self._metrics.text()

    async def snapshot(self) -> Snapshot:
        """All numbers now, for those who sum them up."""
        return await self._metrics.snapshot_in_turns()

    async def status(self) -> dict[str, Any]:
        """Routes and credentials, without secrets; with what is known, or soon found out, of those that fail."""
        assembly = self._runtime
        if not self._pipeline.closing:
            await self._checks.refresh(assembly)
        routes = await work_in_turns(map(_view_of, assembly.routes))
        credentials = await work_in_turns((name, self._credential_status(assembly, name)) for name in assembly.sources)
        connections = {up.origin.name: up.counts() for up in assembly.pools}
        return {
            "listen": self._address,
            "draining": self._pipeline.closing,
            "requests_under_way": self._pipeline.in_flight,
            "routes": routes,
            "credentials": dict(credentials),
            "store": asdict(assembly.store.health()),
            "history": asdict(self._history.health()),
            "callers": self._shortages.told(),
            "connections": connections,
            "names": name_troubles(asyncio.get_running_loop()),
        }

    def _credential_status(self, assembly: Runtime, name: str) -> dict[str, Any]:
        """What a credential says of itself, and what ails it; its last error, in the same words."""
        source = assembly.sources[name]
        status, found = source.status(), self._checks.credential_finding(assembly.config, name, source)
        told = None if found is None else {key: getattr(found, key) for key in ("code", "seen", "means", "remedy")}
        error = status["last_error"]
        if isinstance(error, dict) and told is not None:
            status["last_error"] = error | told
        return status | {"trouble": told}

    async def instances(self, query: HistoryQuery) -> SearchResult:
        """See `Desk`."""
        return await self._history.find(query)

    async def flush_history(self) -> int:
        """Waits a moment until all calls so far can be found in the file of the history; how many it has lost."""
        await self._history.flush()
        return self._history.lost

    def may_call(self, peer: str | None, host: str) -> str | None:
        """Why the admin port does not answer this peer, or None."""
        return why_not(self._runtime.table.admission, peer, host)

    def _token_gauges(self) -> Iterable[tuple[str, tuple[str, ...], float]]:
        for name, source in self._runtime.sources.items():
            yield from gauges(name, source.status())

    def _connections(self) -> Iterable[tuple[str, str, int]]:
        for upstream in self._runtime.pools:
            for state, count in upstream.counts().items():
                yield upstream.origin.name, state, count


def _view_of(route: Route) -> dict[str, Any]:
    """What `/status` tells of a route."""
    return {
        "name": route.name,
        "path": (route.path or "") + "/",
        "upstream": f"{route.base.scheme}://{route.base.authority}{route.base.path}",
        "credential": route.credential,
        "methods": sorted(route.methods),
        "trouble": route.health.as_status(),
    }


def why_not(admission: Admission, peer: str | None, host: str) -> str | None:
    """Why the admin port does not answer this peer (None: on a unix socket), in words; None when it may call."""
    if not admission.accepts_address(peer):
        return "this address may not call; add its network to `allow`"
    if not admission.accepts_host(host.encode("utf-8", "replace")):
        return "this Host is not a name of the gateway; add it to `hosts`"
    return None


class SingleProcess:
    """The whole gateway in this one process: a `Service`."""

    def __init__(self, config: Config, records: Log, *, environ: Mapping[str, str]) -> None:
        self._config = config
        self._gateway = Gateway(config, records, environ=environ, pseudonym=choose_pseudonym())
        self._admin = AdminServer(self._gateway, may_call=self._gateway.may_call)
        self._door: ListenSocket | None = None
        self.listen = config.listen
        self.admin = config.admin

    async def start(self) -> None:
        """See `Service`."""
        with explain_bind_error(self._config.admin):
            self.admin = await self._admin.start(self._config.admin)
        self._door = ListenSocket(self._config.listen)
        self.listen = self._door.address
        await self._gateway.open(self._door.sockets(), address=self.listen)

    async def reload(self, config: Config) -> None:
        """See `Service`; done at once, requests under way end by the old configuration."""
        await self._gateway.prepare(config)
        self._gateway.adopt()

    async def drain(self) -> int:
        """See `Service`."""
        if self._door is not None:
            self._door.close()
        return await self._gateway.drain()

    async def finish(self, *, hurry: asyncio.Event) -> bool:
        """See `Service`; the admin port tells of the drain until its end."""
        drained = await self._gateway.finish(hurry=hurry)
        await self._admin.close()
        return drained


async def serve(loaded: Loaded, read_again: Callable[[], Loaded], records: Log) -> int:
    """Runs a gateway of one process; exit status as `service.live` says."""
    raise_file_limit()
    try:
        alone = SingleProcess(loaded.config, records, environ=os.environ)
    except SecretProblem as problem:
        log_event(log, logging.ERROR, "not-started", str(problem))
        return 69
    return await run_until_stopped(alone, loaded, read_again)


def _state(answer: Readiness) -> str:
    if answer.code == "sign-in":
        return "sign-in-needed"
    return "ok" if answer.ok else "no-token"


def _readiness_problem(answer: Readiness) -> dict[str, Any]:
    wait = None if answer.next_try_s is None else round(answer.next_try_s, 1)
    return {"code": answer.code, "error": answer.why, "remedy": answer.remedy, "next_try_s": wait}


async def _wait_first(*waits: Coroutine[Any, Any, object], within: float) -> None:
    tasks = [asyncio.create_task(wait) for wait in waits]
    await asyncio.wait(tasks, timeout=within, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
