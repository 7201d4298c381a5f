"""`telemetry` of the whole program: workers, stop, reload, metrics in OTLP and in OpenMetrics, the history."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as _parse

from gateway.observe.metric_table import METRICS, PREFIX
from tests.fakes.collector import Collector, values
from tests.fakes.identity import Answer, Identity
from tests.fakes.process import Process, gateway, run
from tests.fakes.upstream import Upstream
from tests.system.scene import SECRETS, between, simple, written

OPENMETRICS = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3"


def mapped_files(pid: int) -> str:
    """What a process has loaded."""
    return Path(f"/proc/{pid}/maps").read_text(encoding="utf-8")


@asynccontextmanager
async def running(
    folder: Path, collector: Collector, *, telemetry: dict[str, Any] | None = None, **more: Any
) -> AsyncIterator[Process]:
    keys = {"endpoint": collector.url, **(telemetry or {})}
    async with (
        Identity() as identity,
        Upstream() as upstream,
        between(folder, identity, upstream, telemetry=keys, **more) as process,
    ):
        yield process


async def test_a_stop_exports_the_last_calls_and_metrics(tmp_path: Path) -> None:
    async with Collector() as collector:
        async with running(tmp_path, collector) as process:
            for _ in range(3):
                await process.get("/orders/1")
            process.signal(signal.SIGTERM)
            assert await process.ended() == 0
            traces = {record["trace_id"] for record in process.records}
        assert {span.trace_id for span in collector.spans if span.kind == "server"} == traces
        assert len(traces) == 3
        [requests] = collector.metric("oic_gateway_requests")
        [point] = requests.sum.data_points
        assert point.as_double == 3
        assert values(point.attributes) == {"route": "orders", "method": "GET", "status": "2xx", "blame": "none"}


async def test_exported_metrics_are_those_of_the_admin_port(tmp_path: Path) -> None:
    began = time.time_ns()
    async with Collector() as collector:
        async with running(tmp_path, collector) as process:
            await process.get("/orders/1")
        exported = {metric.name: metric for export in collector.exports for metric, _ in export.metrics}
    for name, metric in exported.items():
        row = METRICS.get(name) or METRICS[f"{name}_total"]
        assert metric.WhichOneof("data") == {"counter": "sum", "gauge": "gauge", "histogram": "histogram"}[row.kind]
        assert metric.description == row.help
        data = getattr(metric, metric.WhichOneof("data") or "")
        assert all(set(values(point.attributes)) == set(row.labels) for point in data.data_points)
        assert all(began <= point.start_time_unix_nano <= point.time_unix_nano for point in data.data_points)
        assert row.kind == "gauge" or data.aggregation_temporality == 2
        assert row.kind != "counter" or data.is_monotonic
    assert exported["oic_gateway_request_duration_seconds"].unit == "s"
    assert exported["oic_gateway_request_bytes"].unit == "By"
    [point] = exported["oic_gateway_request_duration_seconds"].histogram.data_points
    assert (point.count, sum(point.bucket_counts)) == (1, 1)
    assert len(point.bucket_counts) == len(point.explicit_bounds) + 1
    assert 0 < point.sum < 60


async def test_each_worker_exports_spans_and_one_process_the_metrics(tmp_path: Path) -> None:
    async with Collector() as collector:
        async with running(tmp_path, collector, workers=2) as process:
            seen: set[int] = set()
            for _ in range(60):
                await process.get("/orders/1")
            records = await process.wait_for_records(60)
        servers = [span for span in collector.spans if span.kind == "server"]
        assert {span.trace_id for span in servers} == {record["trace_id"] for record in records}
        seen = {span.resource["process.pid"] for span in servers}
        names = {span.resource["service.instance.id"] for span in collector.spans}
        resources = [resource for export in collector.exports for _, resource in export.metrics]
        assert {resource["service.instance.id"] for resource in resources} == names
        assert len(names) == 1
        assert {resource["process.pid"] for resource in resources} == {process.pid}
        assert process.pid not in seen
        assert 1 <= len(seen) <= 2
        assert len(collector.metric("oic_gateway_workers")) == 1


async def test_a_second_signal_does_not_wait_for_the_collector(tmp_path: Path) -> None:
    silent = Collector(*[Answer(b"", asyncio.Event())] * 20)
    async with silent as collector, running(tmp_path, collector) as process:
        await process.get("/orders/1")
        caller = await process.caller()
        await caller.send(b"GET /orders/1 HTTP/1.1\r\n")
        process.signal(signal.SIGTERM)
        await process.wait_for_events("draining")
        process.signal(signal.SIGTERM)
        assert await process.ended() in {0, 1}


async def test_a_reload_switches_telemetry_on_and_off(tmp_path: Path) -> None:
    async with Collector() as collector, Identity() as identity, Upstream() as upstream:
        plain = simple(identity.url, upstream.url)
        traced = {**plain, "telemetry": {"endpoint": collector.url}}
        file = written(tmp_path, plain)
        async with gateway(file, **SECRETS) as process:
            for number, settings in enumerate((traced, plain), 1):
                await process.get("/orders/1")
                written(tmp_path, settings)
                process.signal(signal.SIGHUP)
                await process.wait_for_events("reloaded", number)
            await process.get("/orders/1")
            traces = [record["trace_id"] for record in await process.wait_for_records(3)]
        assert [trace is None for trace in traces] == [True, False, True]
        assert {span.trace_id for span in collector.spans if span.kind == "server"} == {traces[1]}


async def test_the_history_finds_a_call_by_its_trace(tmp_path: Path) -> None:
    async with Collector() as collector, running(tmp_path, collector) as process:
        for _ in range(2):
            await process.get("/orders/1")
        wanted = (await process.wait_for_records(2))[0]
        trace_id = wanted["trace_id"]
        status, found = await process.ask(f"/instances?trace_id={trace_id.upper()}")
        assert status == 200
        assert [each["request_id"] for each in found["instances"]] == [wanted["request_id"]]
        ended = await run("instances", "--admin", process.admin, "--trace-id", trace_id, "--json")
        assert (ended.status, wanted["request_id"] in ended.out) == (0, True)


@pytest.mark.parametrize("workers", [1, 2])
async def test_openmetrics_has_exemplars_of_exported_traces(tmp_path: Path, workers: int) -> None:
    async with Collector() as collector, running(tmp_path, collector, workers=workers) as process:
        await process.get("/orders/1")
        await collector.wait_for_spans(1)
        status, head, body = await process.get("/metrics", f"Accept: {OPENMETRICS}", address=process.admin)
        assert status == 200
        assert b"application/openmetrics-text; version=1.0.0" in head
        families = {family.name: family for family in _parse(body.decode())}  # type: ignore[no-untyped-call]
        assert {name.removesuffix("_total") if row.kind == "counter" else name for name, row in METRICS.items()} <= set(
            families
        )
        samples = families[PREFIX + "request_duration_seconds"].samples
        [exemplar] = [sample.exemplar for sample in samples if sample.exemplar is not None]
        assert exemplar.labels == {"trace_id": (await process.wait_for_records())[0]["trace_id"]}
        assert 0 < exemplar.value < 60
        for accept in ("text/plain", "*/*", "application/openmetrics-text;q=0"):
            _, head, _ = await process.get("/metrics", f"Accept: {accept}", address=process.admin)
            assert b"text/plain; version=0.0.4" in head


async def test_without_telemetry_there_is_no_openmetrics(tmp_path: Path) -> None:
    async with Identity() as identity, Upstream() as upstream, between(tmp_path, identity, upstream) as process:
        await process.get("/orders/1")
        [record] = await process.wait_for_records()
        _, head, body = await process.get("/metrics", f"Accept: {OPENMETRICS}", address=process.admin)
        assert b"text/plain; version=0.0.4" in head
        assert b"telemetry_exports_total{" not in body
        assert record["trace_id"] is None
        assert "google/_upb" not in mapped_files(process.pid)  # protobuf is loaded only with `telemetry`


async def test_variables_name_the_collector(tmp_path: Path) -> None:
    async with Collector() as collector, Identity() as identity, Upstream() as upstream:
        file = written(tmp_path, simple(identity.url, upstream.url, telemetry={}))
        variables = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
            "OTEL_EXPORTER_OTLP_HEADERS": "api-key=from%20env",
            "OTEL_SERVICE_NAME": "plant-gateway",
        }
        async with gateway(file, **SECRETS, **variables) as process:
            await process.get("/orders/1")
        assert {export.headers["api-key"] for export in collector.exports} == {"from env"}
        assert {span.resource["service.name"] for span in collector.spans} == {"plant-gateway"}
