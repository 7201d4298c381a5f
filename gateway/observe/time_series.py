"""Series of the last minutes and hours, computed from successive snapshots of the counters. Pure.

A call pays nothing: once a second, the difference of two snapshots is one sample. There are two resolutions: a second
for 15 minutes, ten seconds for 24 hours. `TimeSeries` keeps all calls together, the `MAX_ROUTES` busiest routes and
`MAX_SERVICES` services. Columns are arrays of four bytes a value, which grow up to the number of intervals: at most
`MAX_MEMORY` bytes, and about 10 MB after a day with fifty busy routes without errors.
"""

from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from math import isnan, nan
from typing import Literal

from gateway.observe.meters import BUCKETS, NO_BLAME, new_histogram
from gateway.observe.metric_table import PREFIX
from gateway.observe.snapshots import Snapshot

SeriesSubject = Literal["total", "route", "service"]
SeriesStep = Literal[1, 10]

INTERVALS: dict[SeriesStep, int] = {1: 15 * 60, 10: 24 * 360}
"""By length of an interval in seconds: how many of them are kept."""
MAX_ROUTES = 50
MAX_SERVICES = 50
MAX_MEMORY = 48 * 1024 * 1024
HALF_LIFE = 900.0
"""Seconds after which a call counts half for the choice of the busiest routes."""
SUCCESSION = 2.0
"""A route replaces the least busy one if it is so many times as busy: two similar routes must not take turns."""

_PERCENTILES = {"p50": 0.50, "p95": 0.95, "p99": 0.99}
_ERRORS = "errors "  # and the blame: a column that exists once there is such an error
_GAUGES = {
    "running": PREFIX + "service_calls_running",
    "waiting": PREFIX + "service_calls_waiting",
    "limit": PREFIX + "service_calls_limit",
}
_DEFAULTS = dict.fromkeys((*_PERCENTILES, "limit"), nan)  # of an interval without a value; 0 for other columns
_NO_DURATIONS = new_histogram()
_Key = tuple[SeriesSubject, str]
_Row = dict[str, float]


@dataclass(frozen=True, slots=True)
class SeriesQuery:
    """One series: of all calls, of one route, or of all routes of a service; `name` is empty for `total`.

    `step` is the length of an interval in seconds: 1 for the last 15 minutes, 10 for the last 24 hours. Only intervals
    that end after `since` (epoch seconds) are returned.
    """

    subject: SeriesSubject = "total"
    name: str = ""
    step: SeriesStep = 1
    since: float = 0.0


@dataclass(frozen=True, slots=True)
class Series:
    """Values of successive intervals, oldest first; all tuples have the same length. Intervals without a sample are
    left out. Empty: no such route or service, or a route that is not among the busiest.

    `times` are the ends of the intervals in epoch seconds, `seconds` the time that each sample covers: a rate is
    `calls / seconds`. `errors` are counts by blame (`caller`, `gateway`, `identity`, `upstream`), for blames that
    occurred. Percentiles are in milliseconds, estimated from the buckets of the histogram, None without calls.
    `in_flight` is at the end of the interval. `running`, `waiting` and `limit` are those of a service, else empty.
    """

    step: SeriesStep
    times: tuple[float, ...] = ()
    seconds: tuple[float, ...] = ()
    calls: tuple[int, ...] = ()
    errors: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    p50_ms: tuple[float | None, ...] = ()
    p95_ms: tuple[float | None, ...] = ()
    p99_ms: tuple[float | None, ...] = ()
    in_flight: tuple[int, ...] = ()
    running: tuple[int, ...] = ()
    waiting: tuple[int, ...] = ()
    limit: tuple[int | None, ...] = ()


class TimeSeries:
    """The series of a gateway. Times are epoch seconds."""

    def __init__(self) -> None:
        self._rings: dict[SeriesStep, _Ring] = {step: _Ring(count) for step, count in INTERVALS.items()}
        self._route_services: Mapping[str, str] = {}
        self._services: frozenset[str] = frozenset()
        self._scores: dict[str, float] = {}
        self._routes: set[str] = set()
        self._last: tuple[float, Snapshot] | None = None
        self._started_at = 0.0  # of the interval of ten seconds
        self._changes: dict[str, _Change] = {}  # since then

    def configure(self, route_services: Mapping[str, str]) -> None:
        """Use these services from now on: by route, the name of its service. At most `MAX_SERVICES` get a series."""
        self._route_services = route_services
        self._services = frozenset(sorted(set(route_services.values()))[:MAX_SERVICES])
        for ring in self._rings.values():
            ring.remove(key for key in ring.keys if key[0] == "service" and key[1] not in self._services)

    def add(self, now: float, snapshot: Snapshot) -> None:
        """Add a sample: the difference from the snapshot before. The first one, and one after a clock that went back,
        only begin.
        """
        for _ in self.add_in_pieces(now, snapshot):
            pass

    def add_in_pieces(self, now: float, snapshot: Snapshot) -> Iterator[None]:
        """Add a sample piece by piece, for `time_slices`; thousands of routes take many milliseconds."""
        last, self._last = self._last, (now, snapshot)
        if last is None or now <= last[0]:
            self._started_at, self._changes = now, {}
            return
        changes: dict[str, _Change] = {}
        yield from _read_changes(last[1], snapshot, changes)
        for route, change in changes.items():
            self._scores[route] = self._scores.get(route, 0.0) + change.calls
            if len(self._routes) < MAX_ROUTES:
                self._routes.add(route)
            self._changes.setdefault(route, _Change()).add(change)
            yield
        rows: dict[_Key, _Row] = {}
        yield from self._collect_rows(changes, snapshot, rows)
        self._append(1, now, now - last[0], rows)
        if now // 10 > self._started_at // 10:
            self._choose_busiest(now - self._started_at)
            yield
            rows = {}
            yield from self._collect_rows(self._changes, snapshot, rows)
            self._append(10, now, now - self._started_at, rows)
            self._started_at, self._changes = now, {}

    def _append(self, step: SeriesStep, now: float, seconds: float, rows: Mapping[_Key, _Row]) -> None:
        """Append an interval, without services that were removed meanwhile."""
        present = {key: row for key, row in rows.items() if key[0] != "service" or key[1] in self._services}
        self._rings[step].append(now, seconds, present)

    def read(self, query: SeriesQuery, now: float) -> Series:
        """Return the series of a query."""
        ring = self._rings[query.step]
        since = max(query.since, now - query.step * INTERVALS[query.step])
        return ring.read((query.subject, query.name if query.subject != "total" else ""), query.step, since)

    @property
    def memory(self) -> int:
        """Return the bytes of all columns."""
        return sum(ring.memory for ring in self._rings.values())

    def _collect_rows(
        self, changes: Mapping[str, "_Change"], snapshot: Snapshot, rows: dict[_Key, _Row]
    ) -> Iterator[None]:
        """Fill `rows` with the values of an interval for everything that has a series."""
        sums: dict[_Key, _Change] = {("total", ""): _Change()}
        sums |= {("service", name): _Change() for name in self._services}
        sums |= {("route", name): _Change() for name in self._routes}
        for route, change in changes.items():
            for key in self._keys(route):
                if key in sums:
                    sums[key].add(change)
            yield
        for (route,), count in snapshot[PREFIX + "requests_in_flight"].items():
            assert not isinstance(count, list)
            for key in self._keys(route) if count else ():
                if key in sums:
                    sums[key].in_flight += count
            yield
        for key, total in sums.items():
            rows[key] = total.row()
            yield
        for column, metric in _GAUGES.items():
            for (service,), value in snapshot[metric].items():
                if (row := rows.get(("service", service))) is not None:
                    assert not isinstance(value, list)
                    row[column] = value

    def _keys(self, route: str) -> Iterator[_Key]:
        yield "total", ""
        yield "route", route
        if (service := self._route_services.get(route)) is not None:
            yield "service", service

    def _choose_busiest(self, seconds: float) -> None:
        """Let routes replace others that are much less busy by now; then let all scores decay."""
        waiting = sorted(self._scores.keys() - self._routes, key=self._scores.__getitem__, reverse=True)
        for route in waiting[:MAX_ROUTES]:
            least = min(self._routes, key=lambda name: self._scores.get(name, 0.0))
            if self._scores[route] <= SUCCESSION * self._scores.get(least, 0.0):
                break
            self._routes.remove(least)
            self._routes.add(route)
            for ring in self._rings.values():
                ring.remove([("route", least)])
        decay = 0.5 ** (seconds / HALF_LIFE)
        self._scores = {route: score * decay for route, score in self._scores.items() if score > 0.01}


@dataclass(slots=True)
class _Change:
    """What happened in an interval, and the requests in progress at its end."""

    calls: float = 0
    errors: dict[str, float] = field(default_factory=dict)
    durations: list[float] = field(default_factory=lambda: [0] * (len(BUCKETS) + 1))
    in_flight: float = 0

    def add(self, other: "_Change") -> None:
        self.calls += other.calls
        for blame, count in other.errors.items():
            self.errors[blame] = self.errors.get(blame, 0) + count
        self.durations = [mine + more for mine, more in zip(self.durations, other.durations, strict=True)]

    def row(self) -> _Row:
        row: _Row = {"calls": self.calls, "in_flight": self.in_flight}
        row |= {_ERRORS + blame: count for blame, count in self.errors.items()}
        if self.calls:
            row |= {name: percentile_ms(self.durations, share) for name, share in _PERCENTILES.items()}
        return row


def _read_changes(before: Snapshot, snapshot: Snapshot, changes: dict[str, _Change]) -> Iterator[None]:
    """Fill `changes` with what each route with new calls did between two snapshots. Counters never count backwards."""
    name = PREFIX + "requests_total"
    former = before[name]
    for labels, count in snapshot[name].items():
        known = former.get(labels, 0)
        assert not isinstance(count, list)
        assert not isinstance(known, list)
        if count > known:
            route, blame = labels[0], labels[-1]
            change = changes.setdefault(route, _Change())
            change.calls += count - known
            if blame != NO_BLAME:
                change.errors[blame] = change.errors.get(blame, 0) + count - known
        yield
    name = PREFIX + "request_duration_seconds"
    for route, change in changes.items():
        counts, known = snapshot[name].get((route,), _NO_DURATIONS), before[name].get((route,), _NO_DURATIONS)
        assert isinstance(counts, list)
        assert isinstance(known, list)
        change.durations = [max(0, count - other) for count, other in zip(counts[:-1], known[:-1], strict=True)]
        yield


def percentile_ms(counts: list[float], share: float) -> float:
    """Return the duration that this share of the calls does not exceed, in ms; NaN without calls. `counts` are those
    of `BUCKETS` and one for longer durations. Within a bucket, durations count as evenly spread.
    """
    rank, seen, lower = share * sum(counts), 0.0, 0.0
    for bound, count in zip(BUCKETS, counts, strict=False):
        if count and seen + count >= rank:
            return 1000 * (lower + (bound - lower) * (rank - seen) / count)
        seen, lower = seen + count, bound
    return 1000 * lower if counts[-1] else nan


class _Ring:
    """The last intervals of one length, as columns by subject; all have the same axis of times."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._times, self._seconds = array("d"), array("f")
        self._next = 0  # the position of the next interval, once the ring is full
        self._columns: dict[_Key, dict[str, array[float]]] = {}

    @property
    def keys(self) -> list[_Key]:
        return [*self._columns]

    @property
    def memory(self) -> int:
        columns = [column for columns in self._columns.values() for column in columns.values()]
        return sum(column.itemsize * len(column) for column in (self._times, self._seconds, *columns))

    def append(self, time: float, seconds: float, rows: Mapping[_Key, _Row]) -> None:
        size = len(self._times)
        for key, row in rows.items():
            columns = self._columns.setdefault(key, {})
            for name in row.keys() - columns.keys():
                columns[name] = array("f", [_DEFAULTS.get(name, 0.0)]) * size
        self._put(self._times, time)
        self._put(self._seconds, seconds)
        for key, columns in self._columns.items():
            row = rows.get(key, {})
            for name, column in columns.items():
                self._put(column, row.get(name, _DEFAULTS.get(name, 0.0)))
        if len(self._times) == self._capacity:
            self._next = (self._next + (size == self._capacity)) % self._capacity

    def remove(self, keys: Iterator[_Key] | list[_Key]) -> None:
        for key in [*keys]:
            self._columns.pop(key, None)

    def read(self, key: _Key, step: SeriesStep, since: float) -> Series:
        columns = self._columns.get(key, {})
        if not columns:
            return Series(step)
        size = len(self._times)
        order = [at % size for at in range(self._next, self._next + size) if self._times[at % size] > since]

        def numbers(name: str) -> tuple[int, ...]:
            return tuple(int(columns[name][at]) for at in order) if name in columns else ()

        def values(name: str) -> tuple[float | None, ...]:
            column = columns.get(name)
            if column is None:
                return (None,) * len(order)
            return tuple(None if isnan(column[at]) else round(column[at], 3) for at in order)

        limits = values("limit") if "limit" in columns else ()
        return Series(
            step,
            times=tuple(self._times[at] for at in order),
            seconds=tuple(round(self._seconds[at], 3) for at in order),
            calls=numbers("calls"),
            errors={name.removeprefix(_ERRORS): numbers(name) for name in sorted(columns) if name.startswith(_ERRORS)},
            p50_ms=values("p50"),
            p95_ms=values("p95"),
            p99_ms=values("p99"),
            in_flight=numbers("in_flight"),
            running=numbers("running"),
            waiting=numbers("waiting"),
            limit=tuple(None if limit is None else int(limit) for limit in limits),
        )

    def _put(self, column: "array[float]", value: float) -> None:
        if len(column) < self._capacity:
            column.append(value)
        else:
            column[self._next] = value
