"""The response to a scrape: a snapshot as Prometheus text, with the `process_` metrics of one or several processes."""

from collections.abc import Callable, Iterable, Iterator

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from gateway.observe.snapshots import RouteExemplars, Snapshot, render_openmetrics, render_snapshot
from gateway.observe.time_slices import encode_chunks, run_in_slices

_CPU = "process_cpu_seconds"
_SUMMED = ("process_resident_memory_bytes", "process_virtual_memory_bytes", "process_open_fds")


def new_registry() -> CollectorRegistry:
    """Return a registry of the metrics of this process and its Python, without those that libraries register."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
    return registry


async def render_scrape(snapshot: Snapshot, processes: CollectorRegistry) -> list[bytes]:
    """Return the Prometheus text of a snapshot and of the metrics in `processes`, made in slices of time."""
    return [*await run_in_slices(encode_chunks(render_snapshot(snapshot))), generate_latest(processes)]


async def render_openmetrics_scrape(
    snapshot: Snapshot, exemplars: RouteExemplars, processes: CollectorRegistry
) -> list[bytes]:
    """Return the same in OpenMetrics, with exemplars."""
    # Only with `telemetry`, where it is imported at the start (`wiring.telemetry`).
    from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics  # noqa: PLC0415

    chunks = await run_in_slices(encode_chunks(render_openmetrics(snapshot, exemplars)))
    return [*chunks, generate_openmetrics(processes)]  # type: ignore[no-untyped-call] # of prometheus-client


def processes_registry(processes: "ProcessStats") -> CollectorRegistry:
    """Return a registry of the metrics of several processes."""
    registry = CollectorRegistry()
    registry.register(processes)
    PlatformCollector(registry=registry)
    return registry


async def render_processes(snapshot: Snapshot, processes: "ProcessStats") -> list[bytes]:
    """Return the Prometheus text of several processes: their merged snapshot and their `process_` metrics."""
    return await render_scrape(snapshot, processes_registry(processes))


class ProcessStats(Collector):
    """The `process_` metrics of this process and of others, merged: sums of CPU time, memory and open files, and the
    other values of this process.

    `others` returns the current process ids. The CPU time of an ended process still counts, as it was last read.
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


def _process(pid: int | str) -> Iterable[Metric]:
    """Return the metrics of a process; none if it has ended."""
    return ProcessCollector(pid=lambda: pid, registry=None).collect()
