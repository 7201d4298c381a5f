"""A snapshot: the values of all metrics at one moment, as plain values that can be merged and sent. Pure."""

import operator
from collections.abc import Callable, Iterable, Iterator
from operator import attrgetter
from typing import Literal

from gateway.observe.exposition import (
    Labels,
    Value,
    render_exemplars,
    render_head,
    render_openmetrics_head,
    render_samples,
)
from gateway.observe.meters import Exemplar
from gateway.observe.metric_table import METRICS, PREFIX

Snapshot = dict[str, dict[Labels, Value]]
"""By name of the metric and label values: a number, or a histogram as in `meters`."""
RouteExemplars = dict[str, dict[int, Exemplar]]
"""By route and index of the bucket: a trace whose request took so long."""
DURATION = PREFIX + "request_duration_seconds"
"""The metric that has exemplars."""
PART_SIZE = 1000
"""Maximum series in a part of a snapshot; a tenth as many for histograms."""

SAMPLED_COUNTERS = (PREFIX + "requests_total", PREFIX + "request_duration_seconds")
"""The counters that `time_series` reads."""
SAMPLED_GAUGES = tuple(
    PREFIX + name
    for name in ("requests_in_flight", "service_calls_running", "service_calls_waiting", "service_calls_limit")
)

_MERGE: dict[str, Callable[[float, float], float]] = {"sum": operator.add, "max": max, "min": min}


def new_snapshot() -> Snapshot:
    """Return a snapshot with every metric and no series."""
    return {name: {} for name in METRICS}


def merge_snapshots(snapshots: Iterable[Snapshot]) -> Snapshot:
    """Merge snapshots of several processes: sum the values, or take the maximum or minimum, as the table defines."""
    merged: Snapshot = new_snapshot()
    for snapshot in snapshots:
        _merge_into(merged, snapshot)
    return merged


def merge_samples(snapshots: Iterable[Snapshot], merged: Snapshot) -> Iterator[None]:
    """Merge what `time_series` reads of several snapshots into `merged`, piece by piece."""
    names = (*SAMPLED_COUNTERS, *SAMPLED_GAUGES)
    for snapshot in snapshots:
        for part in split_snapshot({name: snapshot[name] for name in names if name in snapshot}):
            _merge_into(merged, part)
            yield


def _merge_into(merged: Snapshot, snapshot: Snapshot) -> None:
    for name, rows in snapshot.items():
        values = merged[name]
        for labels, value in rows.items():
            values[labels] = _merge_values(values[labels], value, METRICS[name].merge) if labels in values else value


def counters_only(snapshot: Snapshot) -> Snapshot:
    """Return the counters and histograms that are not zero: they still count after their process has ended."""
    return {
        name: {labels: value for labels, value in rows.items() if value}
        for name, rows in snapshot.items()
        if METRICS[name].kind != "gauge"
    }


def sampled_gauges(snapshot: Snapshot) -> Snapshot:
    """Return the gauges that `time_series` needs beside the counters."""
    return {name: snapshot[name] for name in SAMPLED_GAUGES}


def split_snapshot(snapshot: Snapshot) -> Iterator[Snapshot]:
    """Yield the snapshot in parts, each small enough to be sent in one step of the loop."""
    for name, rows in snapshot.items():
        keys = tuple(rows)
        size = PART_SIZE if METRICS[name].kind != "histogram" else PART_SIZE // 10
        for start in range(0, len(keys), size):
            yield {name: {key: rows[key] for key in keys[start : start + size]}}


def join_snapshot(parts: Iterable[Snapshot]) -> Snapshot:
    """Join the parts of `split_snapshot`."""
    whole: Snapshot = new_snapshot()
    for part in parts:
        for name, rows in part.items():
            whole[name] |= rows
    return whole


def render_snapshot(snapshot: Snapshot) -> Iterator[str]:
    """Yield the snapshot as Prometheus text, in the order of `METRICS`."""
    for name, metric in METRICS.items():
        yield render_head(name, metric.kind, metric.help)
        yield from render_samples(name, metric.kind, metric.labels, snapshot[name])


def render_openmetrics(snapshot: Snapshot, exemplars: RouteExemplars) -> Iterator[str]:
    """Yield the snapshot in OpenMetrics, without its end, with exemplars of the durations of requests."""
    for name, metric in METRICS.items():
        yield render_openmetrics_head(name, metric.kind, metric.help)
        if metric.kind == "histogram":
            of_rows: dict[Labels, dict[int, Exemplar]] = {}
            if name == DURATION:
                of_rows = {(route,): each for route, each in exemplars.items()}
            yield from render_exemplars(name, metric.labels, snapshot[name], of_rows)
        else:
            yield from render_samples(name, metric.kind, metric.labels, snapshot[name])


def merge_exemplars(several: Iterable[RouteExemplars]) -> RouteExemplars:
    """Merge the exemplars of several processes: the latest of each bucket."""
    merged: RouteExemplars = {}
    for exemplars in several:
        for route, buckets in exemplars.items():
            known = merged.setdefault(route, {})
            for bucket, exemplar in buckets.items():
                known[bucket] = max(known.get(bucket, exemplar), exemplar, key=attrgetter("at"))
    return merged


def _merge_values(left: Value, right: Value, how: Literal["sum", "max", "min"]) -> Value:
    if isinstance(left, list) and isinstance(right, list):
        return [count + other for count, other in zip(left, right, strict=True)]
    assert not isinstance(left, list)
    assert not isinstance(right, list)
    return _MERGE[how](left, right)
