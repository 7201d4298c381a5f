"""The admin port of several workers: their answers combined into one.

Each request goes to all workers at the same time. A worker that does not answer in time is reported as `stuck`. A
worker that does not serve callers yet is `starting`.
"""

import asyncio
import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from msgspec.structs import replace

from gateway import __version__
from gateway.admin.backend import AdminBackend
from gateway.config.model import Config
from gateway.config.resolved import console_host_of, hosts_of
from gateway.history.interface import HistoryDisabled, SearchResult, merge_results
from gateway.history.query import HistoryQuery
from gateway.history.usage_query import UsageQuery, UsageReport
from gateway.observe.metric_table import PREFIX
from gateway.observe.metrics import Metrics
from gateway.observe.scrape import ProcessStats, processes_registry, render_openmetrics_scrape, render_processes
from gateway.observe.snapshots import (
    Snapshot,
    counters_only,
    join_snapshot,
    merge_exemplars,
    merge_samples,
    merge_snapshots,
    new_snapshot,
)
from gateway.observe.time_slices import run_in_slices
from gateway.proxy.admission import Admission
from gateway.server.admin_documents import rejection_reason
from gateway.server.reloader import Reloader
from gateway.server.workers.rpc import ChannelError
from gateway.server.workers.worker import join_status
from gateway.server.workers.worker_handle import PING_TIMEOUT, WorkerHandle
from gateway.wiring.history import open_history_reader
from gateway.wiring.limit_coordination import LimitCoordination, MetricValues
from gateway.wiring.services import sum_services
from gateway.wiring.telemetry import Telemetry
from gateway.wiring.usage_reader import UsageReader

REPORT_TIMEOUT = 10.0  # seconds for a report on thousands of routes
READINESS_TIMEOUT = 60.0  # seconds until a worker knows whether it can get its tokens


class AggregatedAdmin(AdminBackend):
    """Queries the workers. The supervisor keeps `workers`, by process id, and the public fields up to date."""

    def __init__(
        self,
        workers: Mapping[int, WorkerHandle],
        config: Config,
        *,
        lost_lines: Callable[[], int],
        fork_server_pid: int,
        reloader: Reloader,
    ) -> None:
        self._workers = workers
        self._reloader = reloader
        self._past: Snapshot = {}
        self._losses = 0
        self._limits: LimitCoordination | None = None
        self._metrics = Metrics(__version__)
        self._metrics.watch_lost_lines(lost_lines)
        self.processes = ProcessStats(lambda: (fork_server_pid, *workers))
        self.listen = ""
        self.is_open = self.is_draining = False
        self.apply_config(config)

    def watch_limits(self, limits: LimitCoordination) -> None:
        """Report the limits of callers, which this process coordinates."""
        self._limits = limits
        self._metrics.watch_limits(limits.metrics)

    def watch_notifications(self, read: Callable[[], MetricValues]) -> None:
        """Report the notifications, which this process sends."""
        self._metrics.watch_notifications(read)

    def watch_telemetry(self, telemetry: Telemetry) -> None:
        """Report the exports of this process."""
        self._metrics.watch_telemetry(telemetry.metrics)

    def apply_config(self, config: Config) -> None:
        """Use this configuration to decide who may call."""
        self._admission = Admission(config.allow, hosts_of(config))
        self._console_host = console_host_of(config)
        self._reader = open_history_reader(config)
        self._usage_reader = UsageReader(config)
        self._has_history = config.history.calls != 0
        self._has_telemetry = config.telemetry is not None

    def retire_counters(self, worker: WorkerHandle) -> None:
        """Keep the counters of a worker that ended unexpectedly."""
        self._past = merge_snapshots((self._past, worker.counters))
        self._losses += 1

    def may_call(self, peer: str | None, host: str, *, accepts_console_host: bool) -> str | None:
        """Return why the admin port rejects this peer, or None."""
        console_host = self._console_host if accepts_console_host else None
        return rejection_reason(self._admission, peer, host, console_host=console_host)

    async def liveness(self) -> tuple[bool, dict[str, Any]]:
        """Return whether the loop of every worker runs, and callers can connect."""
        if not self.is_open:
            return False, {"state": "starting"}
        answers = await self._query_workers("ping")
        stuck = [pid for pid, answer in answers.items() if isinstance(answer, ChannelError)]
        return not stuck, {"state": "stuck", "stuck": stuck} if stuck else {"state": "alive"}

    async def readiness(self) -> tuple[bool, dict[str, Any]]:
        """Return whether at least one worker is active and all active workers are ready. For each credential, the first
        worker with a problem counts.
        """
        if self.is_draining or not self.is_open:
            return False, {"state": "draining" if self.is_draining else "starting"}
        answers = await self._query_workers("readiness", within=READINESS_TIMEOUT)
        replies = [answer for answer in answers.values() if not isinstance(answer, ChannelError)]
        ready = len(replies) == len(answers) > 0 and all(is_ready for is_ready, _ in replies)
        credentials: dict[str, Any] = {}
        for _, document in replies:
            for name, state in document.get("credentials", {}).items():
                if credentials.setdefault(name, state)["state"] == "ok":
                    credentials[name] = state
        states = self._states({pid: _readiness(answer) for pid, answer in answers.items()})
        store = _worst_store(document["store"] for _, document in replies if "store" in document)
        state = "unready" if not ready else "ready" if store.get("ok", True) else "degraded"
        return ready, {"state": state, "credentials": credentials, "store": store, "workers": states}

    async def metrics(self) -> list[bytes]:
        """Return Prometheus text: sums over all current and past workers."""
        return await render_processes(await self.snapshot(), self.processes)

    async def openmetrics(self) -> list[bytes] | None:
        """Return the same in OpenMetrics, with exemplars; None without `telemetry`."""
        if not self._has_telemetry:
            return None
        answers = await self._query_workers("exemplars", within=REPORT_TIMEOUT)
        replies = [answer for answer in answers.values() if not isinstance(answer, ChannelError)]
        exemplars = merge_exemplars(part for parts in replies for part in parts)
        return await render_openmetrics_scrape(await self.snapshot(), exemplars, processes_registry(self.processes))

    async def snapshot(self) -> Snapshot:
        """Return all values: sums over all current and past workers."""
        answers = await self._query_workers("snapshot", within=REPORT_TIMEOUT)
        replies = {
            pid: join_snapshot(answer) for pid, answer in answers.items() if not isinstance(answer, ChannelError)
        }
        for pid, snapshot in replies.items():
            self._workers[pid].counters = counters_only(snapshot)
        # There is no await from here on: an ended worker is either in `_workers` or in `_past`, never in both.
        current = [replies.get(pid, worker.counters) for pid, worker in self._workers.items()]
        return merge_snapshots([*current, self._past, self._own_snapshot()])

    async def status(self) -> dict[str, Any]:
        """Return the routes, the sums, the worst state of each credential, and the state of each worker."""
        answers = await self._query_workers("status", within=REPORT_TIMEOUT)
        replies = {pid: join_status(answer) for pid, answer in answers.items() if not isinstance(answer, ChannelError)}
        documents = list(replies.values())
        states = self._states({pid: "working" if pid in replies else "stuck" for pid in answers})
        return {
            "process": self._reloader.process_status(),
            "listen": self.listen,
            "listeners": _worst_listeners([document["listeners"] for document in documents]),
            "draining": self.is_draining,
            "requests_under_way": sum(document["requests_under_way"] for document in documents),
            "routes": _worst_problem([document["routes"] for document in documents]),
            "credentials": _worst_credentials(document["credentials"] for document in documents),
            "callers": _sum_callers([document["callers"] for document in documents]),
            "connections": _sum_connections(document["connections"] for document in documents),
            "services": sum_services(document["services"] for document in documents),
            "caller_limits": {} if self._limits is None else self._limits.status(),
            "names": _worst_names(document["names"] for document in documents),
            "store": _worst_store(document["store"] for document in documents),
            "history": _worst_store(document["history"] for document in documents),
            "workers": [state | _worker_details(replies.get(state["pid"])) for state in states],
        }

    async def instances(self, query: HistoryQuery) -> SearchResult:
        """Search the file that all workers write, or else the memory of each worker."""
        if not self._has_history:
            raise HistoryDisabled
        answers = await self._query_workers("instances" if self._reader is None else "flush_history", query)
        replies = {pid: answer for pid, answer in answers.items() if not isinstance(answer, ChannelError)}
        if self._reader is None:
            found = merge_results(replies.values(), query.limit)
        else:
            found = replace(await self._reader.find(query), lost=sum(replies.values()))
        past_lost = self._past.get(PREFIX + "history_lost_total", {}).get((), 0)
        assert isinstance(past_lost, int)
        return replace(found, lost=found.lost + past_lost, stuck=tuple(answers.keys() - replies.keys()))

    async def usage(self, query: UsageQuery) -> UsageReport:
        """Return the usage in the file that all workers write, and in the memory of each worker."""
        answers = await self._query_workers("usage", within=REPORT_TIMEOUT)
        replies = {pid: answer for pid, answer in answers.items() if not isinstance(answer, ChannelError)}
        rows = [row for _, *parts in replies.values() for part in parts for row in part]
        lost = sum(lost for lost, *_ in replies.values())
        return await self._usage_reader.report(query, rows, lost=lost, stuck=tuple(answers.keys() - replies.keys()))

    async def sum_samples(self) -> Snapshot:
        """Return the sums of what the console samples, as last read from all workers."""
        current = [worker.counters | worker.gauges for worker in self._workers.values()]
        merged = new_snapshot()
        await run_in_slices(merge_samples([*current, self._past], merged))
        return merged

    async def _query_workers(
        self, verb: str, argument: object = None, *, within: float = PING_TIMEOUT
    ) -> dict[int, Any]:
        """Return, by process id, the answer of each active worker or its ChannelError. A worker that ends meanwhile is
        left out.
        """
        active = [worker for worker in self._workers.values() if worker.is_active]
        answers = await asyncio.gather(*(_request(worker, verb, argument, within=within) for worker in active))
        return {
            worker.pid: answer
            for worker, answer in zip(active, answers, strict=True)
            if worker.pid in self._workers and not worker.channel.closed.done()
        }

    def _states(self, known: Mapping[int, str]) -> list[dict[str, Any]]:
        return [{"pid": pid, "state": known.get(pid, "starting")} for pid in self._workers]

    def _own_snapshot(self) -> Snapshot:
        """Return the metrics of the supervisor, which serves no callers."""
        own = self._metrics.snapshot()
        return own | {PREFIX + "workers": {(): 0}, PREFIX + "worker_losses_total": {(): self._losses}}


async def _request(worker: WorkerHandle, verb: str, argument: object, *, within: float) -> Any:
    """Return the answer or the ChannelError. A ping comes first, so that a stuck worker is found soon even if the
    answer may take long.
    """
    try:
        if within > PING_TIMEOUT:
            await worker.channel.request("ping", within=PING_TIMEOUT)
        return await worker.channel.request(verb, argument, within=within)
    except ChannelError as error:
        return error


def _readiness(answer: tuple[bool, Any] | ChannelError) -> str:
    if isinstance(answer, ChannelError):
        return "stuck"
    return "ready" if answer[0] else "unready"


def _worst_credentials(views: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Return, for each credential, the view with an error, else the one with the least time left."""
    worst: dict[str, Any] = {}
    for view in views:
        for name, token in view.items():
            worst[name] = min(worst.get(name, token), token, key=_health_rank)
    return worst


def _health_rank(token: dict[str, Any]) -> tuple[bool, bool, float]:
    return token["last_error"] is None, token["problem"] is None, token["expires_in_s"] or 0.0


def _worst_problem(views: list[list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Return the routes, each with the latest problem that any worker reports."""
    if not views:
        return []
    latest: dict[str, dict[str, Any]] = {}
    for route in itertools.chain.from_iterable(views):
        if (problem := route["problem"]) is not None and problem["at"] >= latest.get(route["name"], problem)["at"]:
            latest[route["name"]] = problem
    return [route | {"problem": latest.get(route["name"])} for route in views[0]]


def _worst_listeners(views: list[list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Return the listeners, each as the first worker with a problem of its certificate reports it."""
    return [min(view, key=_has_no_problem) for view in zip(*views, strict=True)]


def _has_no_problem(listener: dict[str, Any]) -> bool:
    return listener.get("certificate", {}).get("problem") is None


def _worst_store(views: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Return the first view that is not ok, else the first; empty if there is none."""
    return min(views, key=lambda store: bool(store["ok"]), default={})


def _worst_names(views: Iterable[dict[str, dict[str, Any]]]) -> dict[str, dict[str, Any]]:
    """Return the host names with failing lookups; for each the view without an address, if there is one."""
    worst: dict[str, dict[str, Any]] = {}
    for view in views:
        for name, problem in view.items():
            worst[name] = max(worst.get(name, problem), problem, key=lambda known: known["state"] == "unresolved")
    return worst


def _sum_connections(views: Iterable[dict[str, dict[str, int]]]) -> dict[str, dict[str, int]]:
    sums: dict[str, Counter[str]] = {}
    for view in views:
        for origin, counts in view.items():
            sums.setdefault(origin, Counter()).update(counts)
    return {origin: dict(counts) for origin, counts in sums.items()}


def _sum_callers(views: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the sums, and the open files of the worker that is short of them."""
    sums: Counter[str] = Counter()
    refused: Counter[str] = Counter()
    for view in views:
        sums.update({key: view[key] for key in ("connections", "limit", "per_address")})
        refused.update(view["refused"])
    worst: dict[str, Any] = max(
        (view["open_files"] for view in views), key=lambda files: bool(files["short"]), default={}
    )
    return {**sums, "refused": dict(refused), "open_files": worst}


def _worker_details(document: dict[str, Any] | None) -> dict[str, Any]:
    keys = ("requests_under_way", "credentials", "callers", "connections", "services", "store")
    return {} if document is None else {key: document[key] for key in keys}
