"""Charts: their tables for people without scripts, sparklines, and the figures of the last minute. Pure."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from gateway.admin.console_backend import Series, SeriesQuery, SeriesStep, SeriesSubject
from gateway.console.view_state import page_url

RangeName = Literal["15m", "24h"]
BLAMES = ("upstream", "identity", "gateway", "caller")
"""The blames of errors, in the order of charts."""
SPARKLINE_WIDTH, SPARKLINE_HEIGHT = 96, 18
_SPARKLINE_POINTS = 48


@dataclass(frozen=True, slots=True)
class ChartRange:
    """A range of time: the step of its series, its length, and the length of a row of its tables, in seconds."""

    name: RangeName
    text: str
    step: SeriesStep
    length: float
    row: float


RANGES: dict[str, ChartRange] = {
    "15m": ChartRange("15m", "15 minutes", 1, 900.0, 60.0),
    "24h": ChartRange("24h", "24 hours", 10, 86_400.0, 3600.0),
}


@dataclass(frozen=True, slots=True)
class Traffic:
    """Figures of some intervals of a series: calls, calls a second, percentage of errors, percentiles in milliseconds,
    open calls; of a service also the calls that run and that wait. Percentiles are the means of those of the
    intervals, weighted by their calls.
    """

    calls: int
    rate: float | None
    error_percent: float | None
    p50: float | None
    p95: float | None
    p99: float | None
    errors: tuple[int, ...]
    in_flight: int
    running: int
    waiting: int


def series_query(subject: SeriesSubject, name: str, chart_range: ChartRange, *, now: float) -> SeriesQuery:
    """Return the query for a range that ends at `now`, in epoch seconds."""
    return SeriesQuery(subject, name, chart_range.step, now - chart_range.length)


def series_url(subject: SeriesSubject, name: str, chart_range: ChartRange) -> str:
    """Return where the script gets the series of a chart."""
    return page_url("series", subject=subject, name=name, range=chart_range.name)


def chart_rows(series: Series, chart_range: ChartRange) -> list[tuple[float, Traffic]]:
    """Return the table of a series, newest first: the start of each interval with its figures. Intervals that have
    neither calls nor open calls are left out.
    """
    rows = [(start, _traffic(series, indexes)) for start, indexes in _intervals(series.times, chart_range.row)]
    return [(start, figures) for start, figures in rows if figures.calls or figures.in_flight][::-1]


def traffic(series: Series, *, now: float, seconds: float = 60.0) -> Traffic:
    """Return the figures of the last `seconds` before `now`; unknown values without a sample."""
    return _traffic(series, [index for index, time in enumerate(series.times) if time > now - seconds])


def sparkline(series: Series, *, start: float, end: float) -> str:
    """Return the rates from `start` to `end` as the points of an SVG polyline; empty without calls."""
    width = (end - start) / _SPARKLINE_POINTS
    rates = [0.0] * _SPARKLINE_POINTS
    for time, calls in zip(series.times, series.calls, strict=True):
        if start < time <= end:
            rates[min(_SPARKLINE_POINTS - 1, int((time - start) / width))] += calls
    highest = max(rates)
    if not highest:
        return ""
    points = (
        (index * SPARKLINE_WIDTH / (_SPARKLINE_POINTS - 1), (1 - rate / highest) * (SPARKLINE_HEIGHT - 2) + 1)
        for index, rate in enumerate(rates)
    )
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)


def series_document(series: Series) -> dict[str, object]:
    """Return a series as JSON for the script of the charts."""
    return {
        "step": series.step,
        "times": series.times,
        "rate": [
            calls / seconds if seconds else 0 for calls, seconds in zip(series.calls, series.seconds, strict=True)
        ],
        "errors": {blame: series.errors.get(blame, [0] * len(series.times)) for blame in BLAMES},
        "p50": series.p50_ms,
        "p95": series.p95_ms,
        "p99": series.p99_ms,
        "in_flight": series.in_flight,
        "running": series.running,
        "waiting": series.waiting,
    }


def _traffic(series: Series, indexes: Sequence[int]) -> Traffic:
    calls, covered = _sum(series.calls, indexes), sum(series.seconds[index] for index in indexes)
    errors = tuple(_sum(series.errors.get(blame, ()), indexes) for blame in BLAMES)
    return Traffic(
        calls,
        calls / covered if covered else None,
        100 * sum(errors) / calls if calls else None,
        _weighted_mean(series.p50_ms, series.calls, indexes),
        _weighted_mean(series.p95_ms, series.calls, indexes),
        _weighted_mean(series.p99_ms, series.calls, indexes),
        errors,
        *(_last(values, indexes) for values in (series.in_flight, series.running, series.waiting)),
    )


def _intervals(times: Sequence[float], length: float) -> Iterator[tuple[float, list[int]]]:
    """Yield the start of each interval of `length` seconds, and the indexes of the times in it."""
    groups: dict[float, list[int]] = {}
    for index, time in enumerate(times):
        groups.setdefault(((time - 0.001) // length) * length, []).append(index)
    yield from groups.items()


def _sum(values: Sequence[int], indexes: Iterable[int]) -> int:
    return sum(values[index] for index in indexes) if values else 0


def _last(values: Sequence[int], indexes: Sequence[int]) -> int:
    return values[indexes[-1]] if values and indexes else 0


def _weighted_mean(values: Sequence[float | None], weights: Sequence[int], indexes: Iterable[int]) -> float | None:
    pairs = [(value, weights[index]) for index in indexes if (value := values[index]) is not None]
    total = sum(weight for _, weight in pairs)
    return sum(value * weight for value, weight in pairs) / total if total else None
