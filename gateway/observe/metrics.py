"""The numbers of the gateway as Prometheus reads them: one table of metrics, one snapshot, one collector.

prometheus-client's own counters and histograms cost microseconds and a lock each, more than a request's whole budget.
So `meters` keeps bare numbers, and a snapshot of them becomes text (`exposition`) when `/metrics` is asked for, in
turns with the callers' requests. Snapshots are plain and can be summed. What a process says of itself is
prometheus-client's.
"""

import operator
from collections.abc import Callable, Iterable, Iterator
from typing import Literal, NamedTuple

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.registry import Collector

from gateway.observe.exposition import Labels, Value, render_head, render_samples
from gateway.observe.meters import NO_BLAME, RouteMeter, TokenMeter
from gateway.observe.time_slices import encode_chunks, work_in_turns

__all__ = (
    "CONTENT_TYPE",
    "METRICS",
    "UNROUTED",
    "MetricRow",
    "Metrics",
    "ProcessStats",
    "RouteMeter",
    "Snapshot",
    "TokenMeter",
    "counters_only",
    "exposition",
    "join_snapshot",
    "merge",
    "render",
    "split_snapshot",
)

PREFIX = "oic_gateway_"
UNROUTED = "-"  # the route label of requests that belong to no route
NO_STATUS = "none"  # the status label of requests that ended before there was one
CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4

Snapshot = dict[str, dict[Labels, Value]]


class MetricRow(NamedTuple):
    """One metric: what `/metrics` says of it, and how two processes' values become one."""

    kind: Literal["counter", "gauge", "histogram"]
    labels: Labels
    help: str
    merge: Literal["sum", "max", "min"] = "sum"


_ROUTE = ("route",)
_CREDENTIAL = ("credential",)

METRICS: dict[str, MetricRow] = {
    PREFIX + name: row
    for name, row in {
        "requests_total": MetricRow(
            "counter", ("route", "method", "status", "blame"), "Completed requests, by status class and blame."
        ),
        "requests_in_flight": MetricRow("gauge", _ROUTE, "Requests in progress."),
        "request_duration_seconds": MetricRow(
            "histogram", _ROUTE, "Time from the request head to the last byte of the response, in seconds."
        ),
        "upstream_duration_seconds": MetricRow("histogram", _ROUTE, "Time spent with the upstream, in seconds."),
        "token_wait_seconds": MetricRow("histogram", _ROUTE, "Time a request waited for its token, in seconds."),
        "request_bytes_total": MetricRow("counter", _ROUTE, "Bytes of request bodies received from callers."),
        "response_bytes_total": MetricRow("counter", _ROUTE, "Bytes of response bodies sent to callers."),
        "replays_total": MetricRow("counter", ("route", "reason"), "Requests sent upstream a second time."),
        "instance_ids_total": MetricRow(
            "counter", ("route", "result"), "Responses of OIC with and without an instance id."
        ),
        "token_requests_total": MetricRow(
            "counter", ("credential", "result"), "Completed requests to token endpoints."
        ),
        "token_fetch_seconds": MetricRow(
            "histogram", _CREDENTIAL, "Duration of a request to a token endpoint, in seconds."
        ),
        "token_expiry_timestamp_seconds": MetricRow(
            "gauge", _CREDENTIAL, "When the current token expires, in seconds since the epoch.", "max"
        ),
        "token_state": MetricRow(
            "gauge", ("credential", "state"), "Processes by the state of their token: fresh, stale, dead or none."
        ),
        "token_failing": MetricRow(
            "gauge", _CREDENTIAL, "Processes without a valid token whose last try failed; 0 for an idle credential."
        ),
        "token_obtained_timestamp_seconds": MetricRow(
            "gauge", _CREDENTIAL, "When the current token was obtained, in seconds since the epoch.", "max"
        ),
        "token_last_error_timestamp_seconds": MetricRow(
            "gauge",
            ("credential", "code"),
            "When the last try failed, if none has succeeded since, in seconds since the epoch.",
            "max",
        ),
        "token_waiters": MetricRow("gauge", _CREDENTIAL, "Callers that wait for a token."),
        "token_coalesced_total": MetricRow(
            "counter", _CREDENTIAL, "Callers that waited for a token request of another caller."
        ),
        "token_replays_total": MetricRow(
            "counter", _CREDENTIAL, "Callers that received another token after OIC rejected theirs."
        ),
        "token_budget_left": MetricRow(
            "gauge", _CREDENTIAL, "Token requests left in the budget of this minute.", "min"
        ),
        "store_up": MetricRow(
            "gauge", (), "1 if tokens are shared as configured, 0 while the token store is unavailable.", "min"
        ),
        "caller_connections": MetricRow("gauge", (), "Connections of callers that count towards the limit."),
        "caller_connections_limit": MetricRow("gauge", (), "Highest number of connections of callers at once."),
        "connections_refused_total": MetricRow(
            "counter", ("reason",), "Refused connections of callers, by reason: limit, address, forbidden."
        ),
        "file_shortages_total": MetricRow("counter", (), "Checks, one a second, that found no free file descriptor."),
        "upstream_connections": MetricRow("gauge", ("origin", "state"), "Connections to upstreams."),
        "log_lines_lost_total": MetricRow(
            "counter", (), "Log lines dropped because standard output was not read in time."
        ),
        "history_lost_total": MetricRow("counter", (), "Calls that could not be recorded in the history."),
        "workers": MetricRow("gauge", (), "Processes that serve callers and respond."),
        "worker_losses_total": MetricRow("counter", (), "Worker processes that ended unexpectedly."),
        "build_info": MetricRow("gauge", ("version",), "Always 1; the label contains the version.", "max"),
    }.items()
}


class Metrics:
    """All numbers of this process: meters for the hot path, `watch_*` for what others know, `text` for `/metrics`."""

    __slots__ = (
        "_callers",
        "_connections",
        "_forgotten",
        "_lost",
        "_registry",
        "_routes",
        "_sources",
        "_store",
        "_tokens",
        "_version",
    )

    def __init__(self, version: str) -> None:
        self._version = version
        self._routes: dict[str, RouteMeter] = {}
        self._tokens: dict[str, TokenMeter] = {}
        self._callers: Callable[[], Iterable[tuple[str, Labels, int]]] = tuple
        self._connections: Callable[[], Iterable[tuple[str, str, int]]] = tuple
        self._sources: Callable[[], Iterable[tuple[str, Labels, float]]] = tuple
        self._lost: Callable[[], int] = int
        self._forgotten: Callable[[], int] = int
        self._store: Callable[[], bool] | None = None
        self._registry = CollectorRegistry()  # of our own: nothing that a library registers globally gets in
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)
        GCCollector(registry=self._registry)

    def route(self, name: str) -> RouteMeter:
        """The meter of the route `name`, always the same one; `UNROUTED` for requests without a route."""
        return self._routes.setdefault(name, RouteMeter())

    def token(self, name: str) -> TokenMeter:
        """The meter of the credential `name`, always the same one."""
        return self._tokens.setdefault(name, TokenMeter())

    def watch_callers(self, read: Callable[[], Iterable[tuple[str, Labels, int]]]) -> None:
        """`read` gives the connections of callers: a name of `METRICS` without its prefix, labels, the value."""
        self._callers = read

    def watch_connections(self, read: Callable[[], Iterable[tuple[str, str, int]]]) -> None:
        """`read` gives (origin, state, count) of the upstream connections whenever someone asks."""
        self._connections = read

    def watch_tokens(self, read: Callable[[], Iterable[tuple[str, Labels, float]]]) -> None:
        """`read` gives what the sources of tokens know: a name of `METRICS` without its prefix, labels, the value."""
        self._sources = read

    def watch_lost(self, read: Callable[[], int]) -> None:
        """`read` gives the number of log lines lost so far."""
        self._lost = read

    def watch_history(self, read: Callable[[], int]) -> None:
        """`read` gives the number of calls that the history has lost so far."""
        self._forgotten = read

    def watch_store(self, read: Callable[[], bool]) -> None:
        """`read` tells whether the store of tokens does its work."""
        self._store = read

    def snapshot(self) -> Snapshot:
        """All numbers now: metric name → label values → a number, or a histogram as `meters` keeps it."""
        taken: Snapshot = {name: {} for name in METRICS}
        for _ in self._collect(taken):
            pass
        return taken

    async def snapshot_in_turns(self) -> Snapshot:
        """All numbers, taken while callers have their turns; those of one route or credential at one moment."""
        taken: Snapshot = {name: {} for name in METRICS}
        await work_in_turns(self._collect(taken))
        return taken

    def _collect(self, taken: Snapshot) -> Iterator[None]:
        """Fills the snapshot piece by piece."""
        for route, meter in tuple(self._routes.items()):
            _add_route(taken, route, meter)
            yield
        for credential, token in tuple(self._tokens.items()):
            _add_token(taken, credential, token)
            yield
        for name, labels, value in self._sources():
            taken[PREFIX + name][labels] = value
            yield
        for name, labels, value in self._callers():
            taken[PREFIX + name][labels] = value
        for origin, state, count in self._connections():
            taken[PREFIX + "upstream_connections"][origin, state] = count
        if self._store is not None:
            taken[PREFIX + "store_up"][()] = int(self._store())
        taken[PREFIX + "log_lines_lost_total"][()] = self._lost()
        taken[PREFIX + "history_lost_total"][()] = self._forgotten()
        taken[PREFIX + "workers"][()] = 1
        taken[PREFIX + "worker_losses_total"][()] = 0
        taken[PREFIX + "build_info"][self._version,] = 1

    async def text(self) -> list[bytes]:
        """The Prometheus text exposition, to be served as `CONTENT_TYPE`; made while callers have their turns."""
        return await _text(await self.snapshot_in_turns(), self._registry)


def merge(snapshots: Iterable[Snapshot]) -> Snapshot:
    """One snapshot of many: numbers and histograms are summed, where the table says so the greatest is kept."""
    merged: Snapshot = {name: {} for name in METRICS}
    for snapshot in snapshots:
        for name, rows in snapshot.items():
            into = merged[name]
            for labels, value in rows.items():
                into[labels] = _joined(into[labels], value, METRICS[name].merge) if labels in into else value
    return merged


def counters_only(snapshot: Snapshot) -> Snapshot:
    """What must outlive the process that counted it, lest counters run backwards: no gauge, nothing that is zero."""
    return {
        name: {labels: value for labels, value in rows.items() if value}
        for name, rows in snapshot.items()
        if METRICS[name].kind != "gauge"
    }


def split_snapshot(snapshot: Snapshot) -> Iterator[Snapshot]:
    """The snapshot in parts, each of them small enough to be sent without holding up a loop."""
    for name, rows in snapshot.items():
        keys = tuple(rows)
        size = _PART if METRICS[name].kind != "histogram" else _PART // 10
        for start in range(0, len(keys), size):
            yield {name: {key: rows[key] for key in keys[start : start + size]}}


def join_snapshot(parts: Iterable[Snapshot]) -> Snapshot:
    """The snapshot whose parts these are."""
    whole: Snapshot = {name: {} for name in METRICS}
    for part in parts:
        for name, rows in part.items():
            whole[name] |= rows
    return whole


_PART = 1000  # numbers, or a tenth of it histograms


async def exposition(snapshot: Snapshot, processes: "ProcessStats") -> list[bytes]:
    """The Prometheus text of several processes: their merged snapshot, and their `process_` numbers."""
    registry = CollectorRegistry()
    registry.register(processes)
    PlatformCollector(registry=registry)
    return await _text(snapshot, registry)


async def _text(snapshot: Snapshot, processes: CollectorRegistry) -> list[bytes]:
    return [*await work_in_turns(encode_chunks(render(snapshot))), generate_latest(processes)]


class ProcessStats(Collector):
    """The `process_` numbers of this process and others as one: sums, save start time and most files, which are ours.

    `others` gives the process ids of the moment. The CPU time of one that has ended still counts, as last looked at.
    """

    def __init__(self, others: Callable[[], Iterable[int]]) -> None:
        self._others = others
        self._spent: dict[int, float] = {}  # CPU seconds of each process as last seen
        self._past = 0.0

    def look(self) -> list[dict[str, float]]:
        """Reads the numbers of each of the others anew."""
        seen = {pid: {family.name: family.samples[0].value for family in _process(pid)} for pid in self._others()}
        self._past += sum(spent for pid, spent in self._spent.items() if pid not in seen)
        self._spent = {pid: numbers.get(_CPU, self._spent.get(pid, 0.0)) for pid, numbers in seen.items()}
        return list(seen.values())

    def collect(self) -> Iterator[Metric]:
        """prometheus-client: the families."""
        others = self.look()
        sums = {name: sum(numbers.get(name, 0.0) for numbers in others) for name in _SUMMED}
        sums[_CPU] = self._past + sum(self._spent.values())
        for family in _process("self"):
            value = family.samples[0].value + sums.get(family.name, 0.0)
            kind = CounterMetricFamily if family.type == "counter" else GaugeMetricFamily
            yield kind(family.name, family.documentation, value=value)


_CPU = "process_cpu_seconds"
_SUMMED = ("process_resident_memory_bytes", "process_virtual_memory_bytes", "process_open_fds")


def _process(pid: int | str) -> Iterable[Metric]:
    """None of a process that has gone."""
    return ProcessCollector(pid=lambda: pid, registry=None).collect()


def render(snapshot: Snapshot) -> Iterator[str]:
    """The snapshot as Prometheus text, piece by piece, in the order of `METRICS`."""
    for name, row in METRICS.items():
        yield render_head(name, row.kind, row.help)
        yield from render_samples(name, row.kind, row.labels, snapshot[name])


def _add_route(taken: Snapshot, route: str, meter: RouteMeter) -> None:
    requests = taken[PREFIX + "requests_total"]
    for (method, status_class, blame), count in meter.requests.items():
        status = f"{status_class}xx" if status_class else NO_STATUS
        requests[route, method, status, blame or NO_BLAME] = count
    for reason, count in meter.replays.items():
        taken[PREFIX + "replays_total"][route, reason] = count
    # A route never used has no series: of thousands of idle routes they would be all that a scrape reads.
    if meter.requests or meter.in_flight:
        taken[PREFIX + "requests_in_flight"][route,] = meter.in_flight
        taken[PREFIX + "request_bytes_total"][route,] = meter.bytes_in
        taken[PREFIX + "response_bytes_total"][route,] = meter.bytes_out
        taken[PREFIX + "instance_ids_total"][route, "found"] = meter.runs
        taken[PREFIX + "instance_ids_total"][route, "missing"] = meter.unnamed
        taken[PREFIX + "request_duration_seconds"][route,] = meter.duration.copy()
        taken[PREFIX + "upstream_duration_seconds"][route,] = meter.upstream.copy()
        taken[PREFIX + "token_wait_seconds"][route,] = meter.token_wait.copy()


def _add_token(taken: Snapshot, credential: str, meter: TokenMeter) -> None:
    for result, count in meter.results.items():
        taken[PREFIX + "token_requests_total"][credential, result] = count
    taken[PREFIX + "token_fetch_seconds"][credential,] = meter.fetch.copy()
    taken[PREFIX + "token_coalesced_total"][credential,] = meter.coalesced
    taken[PREFIX + "token_replays_total"][credential,] = meter.replays
    if meter.expiry is not None:
        taken[PREFIX + "token_expiry_timestamp_seconds"][credential,] = meter.expiry


_MERGED: dict[str, Callable[[float, float], float]] = {"sum": operator.add, "max": max, "min": min}


def _joined(left: Value, right: Value, how: Literal["sum", "max", "min"]) -> Value:
    if isinstance(left, list) and isinstance(right, list):
        return [one + other for one, other in zip(left, right, strict=True)]
    assert not isinstance(left, list)
    assert not isinstance(right, list)
    return _MERGED[how](left, right)
