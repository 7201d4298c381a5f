"""The metrics of one process: meters of the request path, sources of other values, and snapshots of all of them.

A counter or histogram of prometheus-client costs microseconds and a lock, more than the budget of a request. Therefore
`meters` keeps plain numbers, which a scrape reads into a snapshot. Only the `process_` and `python_` metrics come from
prometheus-client.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator

from gateway.observe.exposition import Labels, Value
from gateway.observe.meters import NO_BLAME, CallerMeter, RouteMeter, TokenMeter
from gateway.observe.metric_table import NO_STATUS, PREFIX

# At the start, not at the first scrape: a process without a free file descriptor cannot import.
from gateway.observe.scrape import new_registry, render_openmetrics_scrape, render_scrape
from gateway.observe.snapshots import RouteExemplars, Snapshot, new_snapshot
from gateway.observe.time_slices import run_in_slices


class Metrics:
    """All metrics of this process. `watch_*` register functions that are called at each snapshot for other values."""

    __slots__ = (
        "_caller_meters",
        "_read_callers",
        "_read_connections",
        "_read_limits",
        "_read_lost_calls",
        "_read_lost_lines",
        "_read_notifications",
        "_read_services",
        "_read_store",
        "_read_telemetry",
        "_read_tokens",
        "_registry",
        "_routes",
        "_tokens",
        "_version",
    )

    def __init__(self, version: str) -> None:
        self._version = version
        self._routes: dict[str, RouteMeter] = {}
        self._tokens: dict[str, TokenMeter] = {}
        self._caller_meters: dict[str, CallerMeter] = {}
        self._read_callers: Callable[[], Iterable[tuple[str, Labels, int]]] = tuple
        self._read_connections: Callable[[], Iterable[tuple[str, str, int]]] = tuple
        self._read_tokens: Callable[[], Iterable[tuple[str, Labels, float]]] = tuple
        self._read_services: Callable[[], Iterable[tuple[str, Labels, Value]]] = tuple
        self._read_limits: Callable[[], Iterable[tuple[str, Labels, Value]]] = tuple
        self._read_notifications: Callable[[], Iterable[tuple[str, Labels, Value]]] = tuple
        self._read_telemetry: Callable[[], Iterable[tuple[str, Labels, Value]]] = tuple
        self._read_lost_lines: Callable[[], int] = int
        self._read_lost_calls: Callable[[], int] = int
        self._read_store: Callable[[], bool] | None = None
        self._registry = new_registry()

    def route(self, name: str) -> RouteMeter:
        """Return the meter of a route, always the same one; `UNROUTED` is the name for requests without a route."""
        return self._routes.setdefault(name, RouteMeter(self._caller_meters))

    def token(self, name: str) -> TokenMeter:
        """Return the meter of a credential, always the same one."""
        return self._tokens.setdefault(name, TokenMeter())

    def watch_callers(self, read: Callable[[], Iterable[tuple[str, Labels, int]]]) -> None:
        """Register a function for connections of callers: name of the metric without `PREFIX`, label values, value."""
        self._read_callers = read

    def watch_connections(self, read: Callable[[], Iterable[tuple[str, str, int]]]) -> None:
        """Register a function for upstream connections: origin, state, count."""
        self._read_connections = read

    def watch_tokens(self, read: Callable[[], Iterable[tuple[str, Labels, float]]]) -> None:
        """Register a function for tokens: name of the metric without `PREFIX`, label values, value."""
        self._read_tokens = read

    def watch_services(self, read: Callable[[], Iterable[tuple[str, Labels, Value]]]) -> None:
        """Register a function for services: name of the metric without `PREFIX`, label values, value."""
        self._read_services = read

    def watch_limits(self, read: Callable[[], Iterable[tuple[str, Labels, Value]]]) -> None:
        """Register a function for values of callers' limits: name in `METRICS` without its prefix, labels, value."""
        self._read_limits = read

    def watch_notifications(self, read: Callable[[], Iterable[tuple[str, Labels, Value]]]) -> None:
        """Register a function for notifications: name of the metric without `PREFIX`, label values, value."""
        self._read_notifications = read

    def watch_telemetry(self, read: Callable[[], Iterable[tuple[str, Labels, Value]]]) -> None:
        """Register a function for exports: name of the metric without `PREFIX`, label values, value."""
        self._read_telemetry = read

    def watch_lost_lines(self, read: Callable[[], int]) -> None:
        """Register a function for the number of lost log lines."""
        self._read_lost_lines = read

    def watch_lost_calls(self, read: Callable[[], int]) -> None:
        """Register a function for the number of calls that the history lost."""
        self._read_lost_calls = read

    def watch_store(self, read: Callable[[], bool]) -> None:
        """Register a function that returns whether the token store is available."""
        self._read_store = read

    def snapshot(self) -> Snapshot:
        """Return all values."""
        snapshot = new_snapshot()
        for _ in self._collect(snapshot):
            pass
        return snapshot

    async def snapshot_in_slices(self) -> Snapshot:
        """Return all values, read in slices of time; those of one route or credential at the same moment."""
        snapshot = new_snapshot()
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
        for caller, counts in tuple(self._caller_meters.items()):  # after the routes, which have counted their requests
            _add_caller(snapshot, caller, counts)
        for name, labels, value in self._read_tokens():
            snapshot[PREFIX + name][labels] = value
            yield
        for name, labels, count in self._read_callers():
            snapshot[PREFIX + name][labels] = count
        reads = (self._read_services, self._read_limits, self._read_notifications, self._read_telemetry)
        for name, labels, reading in itertools.chain.from_iterable(read() for read in reads):
            snapshot[PREFIX + name][labels] = reading
        for origin, state, count in self._read_connections():
            snapshot[PREFIX + "upstream_connections"][origin, state] = count
        if self._read_store is not None:
            snapshot[PREFIX + "store_up"][()] = int(self._read_store())
        snapshot[PREFIX + "log_lines_lost_total"][()] = self._read_lost_lines()
        snapshot[PREFIX + "history_lost_total"][()] = self._read_lost_calls()
        snapshot[PREFIX + "workers"][()] = 1
        snapshot[PREFIX + "worker_losses_total"][()] = 0
        snapshot[PREFIX + "build_info"][self._version,] = 1

    async def text(self) -> list[bytes]:
        """Return the Prometheus text of this process, made in slices of time."""
        return await render_scrape(await self.snapshot_in_slices(), self._registry)

    async def openmetrics(self) -> list[bytes]:
        """Return the same in OpenMetrics, with exemplars."""
        return await render_openmetrics_scrape(await self.snapshot_in_slices(), self.exemplars(), self._registry)

    def exemplars(self) -> RouteExemplars:
        """Return the exemplars of the durations of requests; none without `telemetry`."""
        return {route: dict(meter.exemplars) for route, meter in self._routes.items() if meter.exemplars}


def _add_route(snapshot: Snapshot, route: str, meter: RouteMeter) -> None:
    requests = snapshot[PREFIX + "requests_total"]
    for (method, status_class, blame), count in meter.requests.items():
        status = f"{status_class}xx" if status_class else NO_STATUS
        requests[route, method, status, blame or NO_BLAME] = count
    for reason, count in meter.replays.items():
        snapshot[PREFIX + "replays_total"][route, reason] = count
    # A route without requests has no series: thousands of idle routes would fill every scrape.
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
    # As for routes. A configuration that another worker has refused leaves meters that were never used.
    if not (meter.results or meter.coalesced or meter.replays) and meter.expiry is None:
        return
    for result, count in meter.results.items():
        snapshot[PREFIX + "token_requests_total"][credential, result] = count
    snapshot[PREFIX + "token_fetch_seconds"][credential,] = meter.fetch.copy()
    snapshot[PREFIX + "token_coalesced_total"][credential,] = meter.coalesced
    snapshot[PREFIX + "token_replays_total"][credential,] = meter.replays
    if meter.expiry is not None:
        snapshot[PREFIX + "token_expiry_timestamp_seconds"][credential,] = meter.expiry
