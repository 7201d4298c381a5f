"""The metrics of the gateway: one table of metrics, one snapshot, one collector.

A counter or histogram of prometheus-client costs microseconds and a lock, more than the budget of a request. Therefore
`meters` keeps plain numbers; when `/metrics` is scraped, `exposition` renders a snapshot in steps. Snapshots are plain
values that can be summed. The `process_` metrics come from prometheus-client.
"""

import operator
from collections.abc import Callable, Iterable, Iterator
from typing import Literal, NamedTuple

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.registry import Collector

from gateway.observe.exposition import Labels, Value, render_head, render_samples
from gateway.observe.meters import NO_BLAME, CallerMeter, RouteMeter, TokenMeter
from gateway.observe.time_slices import encode_chunks, run_in_slices

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
    """One metric: its description in `/metrics`, and how the values of two processes are merged."""

    kind: Literal["counter", "gauge", "histogram"]
    labels: Labels
    help: str
    merge: Literal["sum", "max", "min"] = "sum"


_ROUTE = ("route",)
_CREDENTIAL = ("credential",)
_SERVICE = ("service",)

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
        "replays_total": MetricRow("counter", ("route", "reason"), "Further attempts of requests, by reason."),
        "instance_ids_total": MetricRow(
            "counter", ("route", "result"), "Responses of OIC with and without an instance id."
        ),
        "caller_requests_total": MetricRow(
            "counter", ("caller", "status_class"), "Completed requests on routes with `callers`, by caller."
        ),
        "messages_total": MetricRow("counter", _ROUTE, "Messages that OIC bills for calls, at least."),
        "caller_messages_total": MetricRow(
            "counter", ("caller",), "Messages that OIC bills for calls on routes with `callers`, at least, by caller."
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
        "connections_failed_total": MetricRow(
            "counter", ("listener", "reason"), "Connections that ended before their first request, by reason."
        ),
        "certificate_expiry_timestamp_seconds": MetricRow(
            "gauge", ("listener",), "When the certificate of a listener expires, in seconds since the epoch.", "min"
        ),
        "file_shortages_total": MetricRow("counter", (), "Checks, one a second, that found no free file descriptor."),
        "upstream_connections": MetricRow("gauge", ("origin", "state"), "Connections to upstreams."),
        "service_calls_limit": MetricRow(
            "gauge", _SERVICE, "Largest number of calls to the service at once, at present.", "max"
        ),
        "service_calls_running": MetricRow("gauge", _SERVICE, "Calls that have a place at the service."),
        "service_calls_waiting": MetricRow("gauge", _SERVICE, "Calls that wait for a place at the service."),
        "service_queue_seconds": MetricRow(
            "histogram", _SERVICE, "Time that a call waited for its place at the service, in seconds."
        ),
        "service_circuit_state": MetricRow(
            "gauge", ("service", "state"), "1 for the state of the circuit: closed, open or half-open.", "max"
        ),
        "service_rejections_total": MetricRow(
            "counter",
            ("service", "reason"),
            "Calls without a place (overloaded, upstream-down), and second tries without a budget (retry-budget).",
        ),
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
    """All metrics of this process: meters of the request path, `watch_*` for other values, `text` for `/metrics`."""

    __slots__ = (
        "_caller_meters",
        "_callers",
        "_connections",
        "_history_lost",
        "_lost",
        "_registry",
        "_routes",
        "_services",
        "_sources",
        "_store",
        "_tokens",
        "_version",
    )

    def __init__(self, version: str) -> None:
        self._version = version
        self._routes: dict[str, RouteMeter] = {}
        self._tokens: dict[str, TokenMeter] = {}
        self._caller_meters: dict[str, CallerMeter] = {}
        self._callers: Callable[[], Iterable[tuple[str, Labels, int]]] = tuple
        self._connections: Callable[[], Iterable[tuple[str, str, int]]] = tuple
        self._sources: Callable[[], Iterable[tuple[str, Labels, float]]] = tuple
        self._services: Callable[[], Iterable[tuple[str, Labels, Value]]] = tuple
        self._lost: Callable[[], int] = int
        self._history_lost: Callable[[], int] = int
        self._store: Callable[[], bool] | None = None
        self._registry = CollectorRegistry()  # private: nothing that a library registers globally is exported
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)
        GCCollector(registry=self._registry)

    def route(self, name: str) -> RouteMeter:
        """Return the meter of the route `name`, always the same one; `UNROUTED` for requests without a route."""
        return self._routes.setdefault(name, RouteMeter())

    def token(self, name: str) -> TokenMeter:
        """Return the meter of the credential `name`, always the same one."""
        return self._tokens.setdefault(name, TokenMeter())

    def caller(self, name: str) -> CallerMeter:
        """Return the meter of the caller `name`, always the same one."""
        return self._caller_meters.setdefault(name, CallerMeter())

    def watch_callers(self, read: Callable[[], Iterable[tuple[str, Labels, int]]]) -> None:
        """Register a source of caller connections: name in `METRICS` without its prefix, labels, value."""
        self._callers = read

    def watch_connections(self, read: Callable[[], Iterable[tuple[str, str, int]]]) -> None:
        """Register a source of upstream connections: origin, state, count."""
        self._connections = read

    def watch_tokens(self, read: Callable[[], Iterable[tuple[str, Labels, float]]]) -> None:
        """Register a source of token values: name in `METRICS` without its prefix, labels, value."""
        self._sources = read

    def watch_services(self, read: Callable[[], Iterable[tuple[str, Labels, Value]]]) -> None:
        """Register a source of values of services: name in `METRICS` without its prefix, labels, value."""
        self._services = read

    def watch_lost(self, read: Callable[[], int]) -> None:
        """Register a source of the number of lost log lines."""
        self._lost = read

    def watch_history(self, read: Callable[[], int]) -> None:
        """Register a source of the number of calls lost by the history."""
        self._history_lost = read

    def watch_store(self, read: Callable[[], bool]) -> None:
        """Register a source of whether the token store is available."""
        self._store = read

    def snapshot(self) -> Snapshot:
        """Return all values: metric name → label values → a number, or a histogram as in `meters`."""
        snapshot: Snapshot = {name: {} for name in METRICS}
        for _ in self._collect(snapshot):
            pass
        return snapshot

    async def snapshot_in_turns(self) -> Snapshot:
        """Return all values, taken in steps; those of one route or credential at the same moment."""
        snapshot: Snapshot = {name: {} for name in METRICS}
        await run_in_slices(self._collect(snapshot))
        return snapshot

    def _collect(self, snapshot: Snapshot) -> Iterator[None]:
        """Fill the snapshot piece by piece."""
        for route, meter in tuple(self._routes.items()):
            _add_route(snapshot, route, meter)
            yield
        for credential, token in tuple(self._tokens.items()):
            _add_token(snapshot, credential, token)
            yield
        for caller, counts in tuple(self._caller_meters.items()):
            _add_caller(snapshot, caller, counts)
        for name, labels, value in self._sources():
            snapshot[PREFIX + name][labels] = value
            yield
        for name, labels, count in self._callers():
            snapshot[PREFIX + name][labels] = count
        for name, labels, reading in self._services():
            snapshot[PREFIX + name][labels] = reading
        for origin, state, count in self._connections():
            snapshot[PREFIX + "upstream_connections"][origin, state] = count
        if self._store is not None:
            snapshot[PREFIX + "store_up"][()] = int(self._store())
        snapshot[PREFIX + "log_lines_lost_total"][()] = self._lost()
        snapshot[PREFIX + "history_lost_total"][()] = self._history_lost()
        snapshot[PREFIX + "workers"][()] = 1
        snapshot[PREFIX + "worker_losses_total"][()] = 0
        snapshot[PREFIX + "build_info"][self._version,] = 1

    async def text(self) -> list[bytes]:
        """Return the Prometheus text, with content type `CONTENT_TYPE`, made in steps."""
        return await _text(await self.snapshot_in_turns(), self._registry)


def merge(snapshots: Iterable[Snapshot]) -> Snapshot:
    """Merge snapshots: sum numbers and histograms, unless the table names the maximum or minimum."""
    merged: Snapshot = {name: {} for name in METRICS}
    for snapshot in snapshots:
        for name, rows in snapshot.items():
            values = merged[name]
            for labels, value in rows.items():
                values[labels] = (
                    _merge_values(values[labels], value, METRICS[name].merge) if labels in values else value
                )
    return merged


def counters_only(snapshot: Snapshot) -> Snapshot:
    """Return the values that must outlive their process, so that counters never decrease: no gauges, no zeros."""
    return {
        name: {labels: value for labels, value in rows.items() if value}
        for name, rows in snapshot.items()
        if METRICS[name].kind != "gauge"
    }


def split_snapshot(snapshot: Snapshot) -> Iterator[Snapshot]:
    """Yield the snapshot in parts, each small enough to be sent in one step of the loop."""
    for name, rows in snapshot.items():
        keys = tuple(rows)
        size = _PART if METRICS[name].kind != "histogram" else _PART // 10
        for start in range(0, len(keys), size):
            yield {name: {key: rows[key] for key in keys[start : start + size]}}


def join_snapshot(parts: Iterable[Snapshot]) -> Snapshot:
    """Join the parts of `split_snapshot`."""
    whole: Snapshot = {name: {} for name in METRICS}
    for part in parts:
        for name, rows in part.items():
            whole[name] |= rows
    return whole


_PART = 1000  # numbers, or a tenth as many histograms


async def exposition(snapshot: Snapshot, processes: "ProcessStats") -> list[bytes]:
    """Return the Prometheus text of several processes: their merged snapshot and `process_` metrics."""
    registry = CollectorRegistry()
    registry.register(processes)
    PlatformCollector(registry=registry)
    return await _text(snapshot, registry)


async def _text(snapshot: Snapshot, processes: CollectorRegistry) -> list[bytes]:
    return [*await run_in_slices(encode_chunks(render(snapshot))), generate_latest(processes)]


class ProcessStats(Collector):
    """The `process_` metrics of this process and others as one: sums, except start time and most files, which are ours.

    `others` returns the current process ids. The CPU time of an ended process still counts, as last read.
    """

    def __init__(self, others: Callable[[], Iterable[int]]) -> None:
        self._others = others
        self._cpu_seconds: dict[int, float] = {}  # of each process, as last read
        self._ended_seconds = 0.0

    def read_processes(self) -> list[dict[str, float]]:
        """Read the metrics of each of the other processes."""
        values = {pid: {family.name: family.samples[0].value for family in _process(pid)} for pid in self._others()}
        self._ended_seconds += sum(seconds for pid, seconds in self._cpu_seconds.items() if pid not in values)
        self._cpu_seconds = {pid: numbers.get(_CPU, self._cpu_seconds.get(pid, 0.0)) for pid, numbers in values.items()}
        return list(values.values())

    def collect(self) -> Iterator[Metric]:
        """Return the metric families (prometheus-client)."""
        others = self.read_processes()
        sums = {name: sum(numbers.get(name, 0.0) for numbers in others) for name in _SUMMED}
        sums[_CPU] = self._ended_seconds + sum(self._cpu_seconds.values())
        for family in _process("self"):
            value = family.samples[0].value + sums.get(family.name, 0.0)
            kind = CounterMetricFamily if family.type == "counter" else GaugeMetricFamily
            yield kind(family.name, family.documentation, value=value)


_CPU = "process_cpu_seconds"
_SUMMED = ("process_resident_memory_bytes", "process_virtual_memory_bytes", "process_open_fds")


def _process(pid: int | str) -> Iterable[Metric]:
    """Return the metrics of a process; none if it has ended."""
    return ProcessCollector(pid=lambda: pid, registry=None).collect()


def render(snapshot: Snapshot) -> Iterator[str]:
    """Return the snapshot as Prometheus text, piece by piece, in the order of `METRICS`."""
    for name, row in METRICS.items():
        yield render_head(name, row.kind, row.help)
        yield from render_samples(name, row.kind, row.labels, snapshot[name])


def _add_route(snapshot: Snapshot, route: str, meter: RouteMeter) -> None:
    requests = snapshot[PREFIX + "requests_total"]
    for (method, status_class, blame), count in meter.requests.items():
        status = f"{status_class}xx" if status_class else NO_STATUS
        requests[route, method, status, blame or NO_BLAME] = count
    for reason, count in meter.replays.items():
        snapshot[PREFIX + "replays_total"][route, reason] = count
    # An unused route has no series: thousands of idle routes would fill every scrape.
    if meter.requests or meter.in_flight:
        snapshot[PREFIX + "requests_in_flight"][route,] = meter.in_flight
        snapshot[PREFIX + "request_bytes_total"][route,] = meter.bytes_in
        snapshot[PREFIX + "response_bytes_total"][route,] = meter.bytes_out
        snapshot[PREFIX + "messages_total"][route,] = meter.messages
        snapshot[PREFIX + "instance_ids_total"][route, "found"] = meter.with_id
        snapshot[PREFIX + "instance_ids_total"][route, "missing"] = meter.without_id
        snapshot[PREFIX + "request_duration_seconds"][route,] = meter.duration.copy()
        snapshot[PREFIX + "upstream_duration_seconds"][route,] = meter.upstream.copy()
        snapshot[PREFIX + "token_wait_seconds"][route,] = meter.token_wait.copy()


def _add_caller(snapshot: Snapshot, caller: str, meter: CallerMeter) -> None:
    for status_class, count in enumerate(meter.requests):
        if count:
            label = f"{status_class}xx" if status_class else NO_STATUS
            snapshot[PREFIX + "caller_requests_total"][caller, label] = count
    if meter.messages:
        snapshot[PREFIX + "caller_messages_total"][caller,] = meter.messages


def _add_token(snapshot: Snapshot, credential: str, meter: TokenMeter) -> None:
    for result, count in meter.results.items():
        snapshot[PREFIX + "token_requests_total"][credential, result] = count
    snapshot[PREFIX + "token_fetch_seconds"][credential,] = meter.fetch.copy()
    snapshot[PREFIX + "token_coalesced_total"][credential,] = meter.coalesced
    snapshot[PREFIX + "token_replays_total"][credential,] = meter.replays
    if meter.expiry is not None:
        snapshot[PREFIX + "token_expiry_timestamp_seconds"][credential,] = meter.expiry


_MERGE: dict[str, Callable[[float, float], float]] = {"sum": operator.add, "max": max, "min": min}


def _merge_values(left: Value, right: Value, how: Literal["sum", "max", "min"]) -> Value:
    if isinstance(left, list) and isinstance(right, list):
        return [one + other for one, other in zip(left, right, strict=True)]
    assert not isinstance(left, list)
    assert not isinstance(right, list)
    return _MERGE[how](left, right)
