"""A running gateway: serves callers in this process, and answers for the admin port.

`wiring` builds its components. `single_process` and `workers` open the ports.
"""

import asyncio
import itertools
import socket
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any

from msgspec.structs import asdict

from gateway import __version__
from gateway.admin.backend import AdminBackend
from gateway.checks.background import BackgroundChecks
from gateway.config.model import Config, LimitSettings
from gateway.config.resolved import console_host_of, listeners_of
from gateway.history.interface import SearchResult
from gateway.history.query import HistoryQuery
from gateway.history.usage_buckets import UsageRow
from gateway.history.usage_query import UsageQuery, UsageReport
from gateway.http.accept_queue import accept_backlog
from gateway.http.connection_limits import ConnectionLimits
from gateway.http.pool import ConnectionBudget
from gateway.http.request_head import RequestLimits
from gateway.http.server import CallerServer
from gateway.network.event_loop import dns_failures, report_stale_names
from gateway.observe.log import Log
from gateway.observe.metrics import Metrics
from gateway.observe.record import Record
from gateway.observe.snapshots import RouteExemplars, Snapshot
from gateway.observe.time_slices import free_in_slices, run_in_slices
from gateway.proxy.forward import RequestPipeline
from gateway.proxy.headers import REQUEST_RULES
from gateway.server.active_runtime import ActiveRuntime
from gateway.server.admin_documents import credential_status, readiness_document, rejection_reason, route_status
from gateway.server.idle_renewals import IdleRenewals
from gateway.server.lifecycle import capacity_of
from gateway.server.listen_socket import join_addresses
from gateway.server.listeners import CallerListeners
from gateway.server.record_writer import RecordWriter
from gateway.server.reloader import Reloader
from gateway.server.shortage_monitor import ShortageMonitor
from gateway.system import gc_tuning
from gateway.system.background_tasks import BackgroundTasks
from gateway.wiring.callers import CallerProofWatch
from gateway.wiring.components import Components, ProcessGates, Runtime
from gateway.wiring.history import CallHistory
from gateway.wiring.limit_coordination import MetricValues
from gateway.wiring.telemetry import FLUSH_TIMEOUT, FORCED_FLUSH
from gateway.wiring.token_events import log_stale_serving
from gateway.wiring.usage_reader import UsageReader

BACKLOG = 1024


class Gateway(AdminBackend):
    """Serves callers in this process, from `open` to `finish`. The constructor raises OSError as `prepare` does."""

    def __init__(
        self,
        config: Config,
        records: Log,
        *,
        environ: Mapping[str, str],
        pseudonym: str,
        gates: ProcessGates | None = None,
        reloader: Reloader | None = None,
    ) -> None:
        """Build all components; `pseudonym` is the name in `Via`, the same in all processes of a gateway. With `gates`
        another process coordinates the places of services and the limits of callers. A worker has no `reloader`.
        """
        self._reloader = reloader
        self._records = records
        self._metrics = Metrics(__version__)
        capacity = capacity_of(config)
        self._components = Components(
            self._metrics,
            environ=environ,
            upstreams=ConnectionBudget(capacity.upstreams),
            gates=gates,
            instance_id=pseudonym,
        )
        self._active = ActiveRuntime(self._components, config)
        self._history = CallHistory(config, self._components.usage)
        self._record_writer = RecordWriter(records, self._history, self._components.usage)
        self._usage_reader = UsageReader(config)
        self._checks = BackgroundChecks(self._components)
        self._proof_watch = CallerProofWatch()
        self._idle_renewals = IdleRenewals()
        self._pipeline = RequestPipeline(
            self._active.runtime.table,
            metrics=self._metrics,
            sink=self._record_writer.write,
            before_unsafe=self._record_begin,
            pseudonym=pseudonym,
        )
        connections = ConnectionLimits(
            capacity.connections, refused=capacity.refused, address_share=config.limits.address_share
        )
        self._shortages = ShortageMonitor(capacity, connections)
        self._listeners = CallerListeners(lambda: self._components.secrets)
        self._callers = self._caller_server(config.limits, connections)
        self._sockets: list[socket.socket] = []
        self._servers: list[asyncio.Server] = []
        self._addresses: tuple[str, ...] = ()
        self._is_open = False
        self._tasks = BackgroundTasks()
        self._register_metrics()
        if gates is None:
            self._components.telemetry.read_metrics = self.snapshot
        self._configure_telemetry(config)

    def _configure_telemetry(self, config: Config) -> None:
        self._components.telemetry.configure(config)
        self._pipeline.tracer = self._components.telemetry.tracer

    def _caller_server(self, limits: LimitSettings, connections: ConnectionLimits) -> CallerServer:
        return CallerServer(
            self._pipeline,
            RequestLimits(limits.uri, limits.field, limits.fields, limits.head, connections.limit),
            REQUEST_RULES,
            connection_limits=connections,
            keepalive=limits.keepalive,
            on_refused=self._shortages.report_refusal,
            on_preface_failed=self._listeners.report_failure,
        )

    def _register_metrics(self) -> None:
        metrics = self._metrics
        metrics.watch_lost_lines(lambda: self._records.lost)
        metrics.watch_lost_calls(lambda: self._history.lost)
        metrics.watch_callers(lambda: itertools.chain(self._shortages.metrics(), self._listeners.metrics()))
        metrics.watch_connections(self._active.connection_counts)
        metrics.watch_tokens(self._active.token_gauges)
        metrics.watch_services(self._components.services.metrics)
        metrics.watch_limits(self._components.limits.metrics)
        metrics.watch_telemetry(self._components.telemetry.metrics)
        metrics.watch_store(lambda: self._active.runtime.store.health().ok)

    async def open(self, addresses: Sequence[str], sockets: Sequence[Sequence[socket.socket]]) -> None:
        """Serve callers on bound sockets, a group for each address; `drain` closes them. Raise OSError if the
        certificate of an address cannot be used.
        """
        self._addresses = tuple(addresses)
        gc_tuning.tune_gc()
        self._active.runtime.prefetch()  # the identity domain answers while certificates are read
        loop = asyncio.get_running_loop()
        self._sockets = [*itertools.chain.from_iterable(sockets)]
        report_stale_names(loop, log_stale_serving)
        listeners = await self._listeners.open(listeners_of(self._active.config), addresses)
        for listener, bound in zip(listeners, sockets, strict=True):
            factory = self._callers.factory(listener)
            for sock in bound:
                self._servers.append(await loop.create_server(factory, sock=sock, backlog=BACKLOG))
        self._is_open = True
        self._shortages.start()
        self._proof_watch.start(self._active.runtime.callers)
        self._idle_renewals.start(self._active.runtime)

    async def prepare(self, config: Config) -> None:
        """Compile another configuration for `adopt`. Raise OSError if a named file or secret cannot be read."""
        await self._active.prepare(config)

    def adopt(self) -> None:
        """Use the configuration that was prepared last. Requests in progress keep the old one; `FIXED` keys stay."""
        former = self._active.adopt()
        config, runtime = self._active.config, self._active.runtime
        self._listeners.apply(listeners_of(config))
        self._pipeline.table = runtime.table
        self._proof_watch.start(runtime.callers)
        self._idle_renewals.start(runtime)
        self._record_writer.flush()
        self._history.apply_config(config)
        self._configure_telemetry(config)
        self._usage_reader = UsageReader(config)
        runtime.prefetch()
        for pool in former.pools:
            pool.close()
        self._tasks.start(self._checks.cancel())
        self._tasks.start(self._active.retire(former))
        self._tasks.start(free_in_slices([*former.config.routes, *former.routes]))

    async def drain(self) -> int:
        """Accept no more connections; end each after its next response. Return the number of requests in progress."""
        self._pipeline.is_closing_connections = True
        await accept_backlog(self._sockets)
        for server in self._servers:
            server.close()
        return self._pipeline.in_flight

    async def finish(self, *, force_stop: asyncio.Event) -> bool:
        """After `drain`: wait until all connections end (at most `drain` seconds, or until `force_stop` is set), then
        close everything. Return True if every request could finish.
        """
        drain = self._active.config.drain
        await _wait_for_first(self._callers.wait_closed_gracefully(), force_stop.wait(), within=drain)
        drained = not self._pipeline.in_flight
        self._pipeline.is_refusing_requests = True
        self._shortages.stop()
        self._proof_watch.stop()
        self._idle_renewals.stop()
        await self._listeners.stop()
        self._pipeline.is_aborting_requests = True
        self._callers.abort_all()
        await self._callers.shutdown(within=0.1)
        await self._checks.cancel()
        await self._active.close()
        await self._tasks.wait()
        await self._components.telemetry.close(FORCED_FLUSH if force_stop.is_set() else FLUSH_TIMEOUT)
        await self._components.close()
        self._record_writer.flush()
        await self._history.close()
        return drained

    def _record_begin(self, record: Record) -> None:
        """Record in the history that a request that may change something is about to be sent."""
        self._history.begin(record)

    def watch_records(self, watcher: Callable[[Sequence[bytes]], None] | None) -> None:
        """Pass the lines of all further records to `watcher`, while calls are watched live; None: to nothing."""
        self._record_writer.watch(watcher)

    # For the console ------------------------------------------------------------------------------------------------

    @property
    def runtime(self) -> Runtime:
        """The configuration in use, compiled."""
        return self._active.runtime

    @property
    def components(self) -> Components:
        """The objects that outlive a configuration."""
        return self._components

    # The backend of the admin port ----------------------------------------------------------------------------------

    async def readiness(self) -> tuple[bool, dict[str, Any]]:
        """Return whether callers can connect and every credential has or can get a token, and the details."""
        if self._pipeline.is_closing_connections or not self._is_open:
            return False, {"state": "draining" if self._pipeline.is_closing_connections else "starting"}
        sources = self._active.runtime.sources
        results = await asyncio.gather(*(source.check_readiness() for source in sources.values()))
        return readiness_document(dict(zip(sources, results, strict=True)), self._active.runtime.store.health())

    async def liveness(self) -> tuple[bool, dict[str, Any]]:
        """Return whether callers can connect. That the loop runs is proved by the answer itself."""
        return self._is_open, {"state": "alive" if self._is_open else "starting"}

    async def metrics(self) -> list[bytes]:
        """Return Prometheus text."""
        return await self._metrics.text()

    async def openmetrics(self) -> list[bytes] | None:
        """Return OpenMetrics with exemplars; None without `telemetry`."""
        return None if self._pipeline.tracer is None else await self._metrics.openmetrics()

    def exemplars(self) -> RouteExemplars:
        """Return the exemplars of the durations of requests."""
        return self._metrics.exemplars()

    async def snapshot(self) -> Snapshot:
        """Return all current metric values, to be summed with those of other processes."""
        return await self._metrics.snapshot_in_slices()

    async def status(self) -> dict[str, Any]:
        """Return the state of routes and credentials without secrets, including the diagnosis of each that fails."""
        runtime = self._active.runtime
        if not self._pipeline.is_closing_connections:
            await self._checks.refresh(runtime)
        routes = await run_in_slices(map(route_status, runtime.routes))
        credentials = await self.credential_statuses()
        connections = {pool.origin.name: pool.count_by_state() for pool in runtime.pools}
        process = {} if self._reloader is None else {"process": self._reloader.process_status()}
        return process | {
            "listen": join_addresses(self._addresses),
            "listeners": self.listener_statuses(),
            "draining": self._pipeline.is_closing_connections,
            "requests_under_way": self._pipeline.in_flight,
            "routes": routes,
            "credentials": credentials,
            "store": asdict(runtime.store.health()),
            "history": asdict(self._history.health()),
            "callers": self._shortages.status(),
            "connections": connections,
            "services": self._components.services.status(),
            "caller_limits": self._components.limits.status(),
            "names": dns_failures(asyncio.get_running_loop()),
        }

    async def credential_statuses(self) -> dict[str, dict[str, Any]]:
        """Return the credentials of `status`, without starting checks."""
        config, find = self._active.runtime.config, self._checks.credential_finding
        sources = self._active.runtime.sources.items()
        entries = ((name, credential_status(source.status(), find(config, name, source))) for name, source in sources)
        return dict(await run_in_slices(entries))

    def listener_statuses(self) -> list[dict[str, Any]]:
        """Return the listeners of `status`."""
        return self._listeners.status()

    def watch_notifications(self, read: Callable[[], MetricValues]) -> None:
        """Register a function for the metrics of notifications."""
        self._metrics.watch_notifications(read)

    async def instances(self, query: HistoryQuery) -> SearchResult:
        """Return the calls of the history that match."""
        self._record_writer.flush()
        return await self._history.find(query)

    async def usage(self, query: UsageQuery) -> UsageReport:
        """Return the calls and messages that match."""
        rows, lost = await self.usage_in_memory()
        return await self._usage_reader.report(query, rows, lost=lost)

    async def usage_in_memory(self) -> tuple[list[UsageRow], int]:
        """Return the usage that is not in the file, and the number of messages that were counted but not stored."""
        self._record_writer.flush()
        return await self._history.usage_in_memory(), self._components.usage.lost

    async def flush_history(self) -> int:
        """Wait briefly until all calls so far are in the history file. Return the number of lost calls."""
        self._record_writer.flush()
        await self._history.flush()
        return self._history.lost

    def may_call(self, peer: str | None, host: str, *, accepts_console_host: bool) -> str | None:
        """Return why the admin port rejects this peer, or None."""
        console_host = console_host_of(self._active.config) if accepts_console_host else None
        return rejection_reason(self._active.runtime.table.admission, peer, host, console_host=console_host)


async def _wait_for_first(*waits: Coroutine[Any, Any, object], within: float) -> None:
    """Wait until one of these ends, at most `within` seconds; cancel the others."""
    tasks = [asyncio.create_task(wait) for wait in waits]
    await asyncio.wait(tasks, timeout=within, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
