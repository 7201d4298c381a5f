"""Exports to a collector that is slow, down, full or wrong: no call is harmed, and every lost span is counted."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from gateway.observe.record import Record
from gateway.telemetry.export_counters import ExportCounters
from gateway.telemetry.export_policy import LONGEST_RETRY_AFTER, MAX_RETRY_TIME, ExportResult, retry_pause
from gateway.telemetry.otlp_client import MAX_RESPONSE, ExportCredentials, OtlpClient
from gateway.telemetry.otlp_resource import make_resource
from gateway.telemetry.request_trace import RequestTrace
from gateway.telemetry.span_encoding import encode_traces, read_trace_response
from gateway.telemetry.span_exporter import BATCH_SIZE, SpanExporter
from tests.fakes.certificates import self_signed, server_context
from tests.fakes.collector import TAKEN, Collector
from tests.fakes.egress import Egress
from tests.fakes.gate import scene
from tests.fakes.identity import CLOSE, Answer, answer, in_pieces
from tests.fakes.ports import reserved_port
from tests.fakes.waiting import TIME_LIMIT


def partial_success(rejected: int, message: str) -> bytes:
    response = ExportTraceServiceResponse()
    response.partial_success.rejected_spans = rejected
    response.partial_success.error_message = message
    return response.SerializeToString()


class Clock:
    """A clock that only sleeping turns."""

    def __init__(self) -> None:
        self.time = 0.0
        self.pauses: list[float] = []

    def now(self) -> float:
        return self.time

    async def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.time += seconds
        await asyncio.sleep(0)


def client_of(
    url: str,
    clock: Clock,
    *,
    is_compressed: bool = True,
    timeout: float = TIME_LIMIT,
    counters: ExportCounters | None = None,
) -> OtlpClient:
    return OtlpClient(
        "traces",
        f"{url}/v1/traces",
        load=lambda: ExportCredentials({"X-Key": "k"}, None, None),
        read_response=read_trace_response,
        timeout=timeout,
        is_compressed=is_compressed,
        counters=counters or ExportCounters(),
        random_fraction=lambda: 1.0,
        now=clock.now,
        sleep=clock.sleep,
    )


def finished(number: int = 1) -> RequestTrace:
    """A trace of one span."""
    trace = RequestTrace(f"{number:032x}", f"{number:016x}", 3, 1.0)
    trace.record = Record(method="GET", path="/orders/1", status=200, duration_ms=1.0)
    return trace


RESOURCE = make_resource((("service.name", "test"),), instance_id="i", process_id=1)


def encode(traces: Sequence[Any]) -> bytes:
    return encode_traces(traces, RESOURCE)


def export_each(exporter: SpanExporter, count: int) -> None:
    for number in range(1, count + 1):
        exporter.export(finished(number))


@pytest.mark.parametrize("status", [429, 502, 503, 504])
async def test_an_export_is_sent_again_after_a_temporary_failure(status: int) -> None:
    clock = Clock()
    async with Collector(answer(status), answer(status), TAKEN) as collector:
        client = client_of(collector.url, clock)
        assert await client.export(client.pack(b"")) == ExportResult("ok")
        assert [export.raw for export in collector.exports] == [client.pack(b"")] * 3
    assert clock.pauses == [1.0, 2.0]


async def test_retry_after_is_respected() -> None:
    clock = Clock()
    async with Collector(answer(429, retry_after="7"), TAKEN) as collector:
        client = client_of(collector.url, clock)
        assert (await client.export(b"")).outcome == "ok"
    assert clock.pauses == [7.0]


async def test_a_long_retry_after_delays_the_next_export_too() -> None:
    clock = Clock()
    async with Collector(answer(503, retry_after="300"), TAKEN) as collector:
        client = client_of(collector.url, clock)
        assert (await client.export(b"")).outcome == "retry"
        assert clock.pauses == []
        assert (await client.export(b"")).outcome == "ok"
    assert clock.pauses == [300.0]


def test_retry_after_has_a_maximum() -> None:
    result = ExportResult("retry", retry_after=1e9)
    assert retry_pause(1, result, 0.0) == LONGEST_RETRY_AFTER


@pytest.mark.parametrize("status", [301, 400, 401, 404, 413, 500, 501])
async def test_a_refused_export_is_not_sent_again(status: int) -> None:
    counters = ExportCounters()
    async with Collector(answer(status, location="http://127.0.0.1:1/")) as collector:
        result = await client_of(collector.url, Clock(), counters=counters).export(b"")
        assert (result.outcome, len(collector.exports)) == ("refused", 1)
    assert counters.exports["traces", "refused"] == 1


async def test_an_export_is_given_up_after_a_time() -> None:
    clock = Clock()
    async with Collector(*[CLOSE] * 20) as collector:
        assert (await client_of(collector.url, clock).export(b"")).outcome == "retry"
        assert 3 < len(collector.exports) < 20
    assert clock.time <= MAX_RETRY_TIME


async def test_a_collector_that_is_down_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    with reserved_port() as port:
        await client_of(f"http://127.0.0.1:{port}", Clock()).export(b"")
    assert [getattr(record, "event", "") for record in caplog.records] == ["telemetry-down"]
    caplog.clear()
    async with Collector(answer(503), answer(503), TAKEN) as collector:
        await client_of(collector.url, Clock()).export(b"")
    assert [getattr(record, "event", "") for record in caplog.records] == ["telemetry-down", "telemetry-up"]


async def test_a_partial_success_is_counted_and_not_sent_again(caplog: pytest.LogCaptureFixture) -> None:
    counters = ExportCounters()
    body = partial_success(2, "too many attributes, Bearer abcdefghijk")
    async with Collector(answer(200, body, content_type="application/x-protobuf")) as collector:
        client = client_of(collector.url, Clock(), counters=counters)
        exporter = SpanExporter(client, encode=encode, max_queue=64, counters=counters)
        export_each(exporter, 3)
        await exporter.close(TIME_LIMIT)
        assert len(collector.exports) == 1
    assert counters.lost["rejected"] == 2
    assert counters.exports["traces", "partial"] == 1
    [record] = [record for record in caplog.records if getattr(record, "event", "") == "telemetry-rejected"]
    assert "too many attributes" in record.getMessage()


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("sizes", [(), (1,), (3, 1), (1,) * 40])
async def test_a_partial_success_is_read_to_its_end(sizes: tuple[int, ...], *, chunked: bool) -> None:
    body = partial_success(7, "no room " * 20)
    async with Collector(in_pieces(body, *sizes, chunked=chunked)) as collector:
        result = await client_of(collector.url, Clock()).export(b"")
    assert result == ExportResult("partial", 7, "no room " * 20)


@pytest.mark.parametrize("chunked", [False, True])
async def test_the_largest_partial_success_is_read(*, chunked: bool) -> None:
    message = "x" * (MAX_RESPONSE - 100)
    async with Collector(in_pieces(partial_success(1, message), 1, 20_000, chunked=chunked)) as collector:
        assert await client_of(collector.url, Clock()).export(b"") == ExportResult("partial", 1, message)


UNREADABLE = {
    "not protobuf": answer(200, b"\xff\xff not protobuf"),
    "too large": answer(200, b"<html>" * 20_000),
    "too large, in pieces": in_pieces(b"<html>" * 20_000, 1, 40_000, 40_000),
    "too large, chunked": in_pieces(b"<html>" * 20_000, 1, 40_000, 40_000, chunked=True),
    "truncated": in_pieces(partial_success(7, "no room"), 4, length=4000),
    "truncated chunks": in_pieces(partial_success(7, "no room"), 4, chunked=True, length=4000),
    "no body": in_pieces(b"", length=4000),
}


@pytest.mark.parametrize("played", UNREADABLE.values(), ids=UNREADABLE)
async def test_a_success_with_an_unreadable_body_is_a_success(played: Answer) -> None:
    async with Collector(played) as collector:
        assert (await client_of(collector.url, Clock()).export(b"")).outcome == "ok"
        assert len(collector.exports) == 1


@pytest.mark.parametrize("status", [201, 202, 204])
async def test_each_status_of_success_is_a_success(status: int) -> None:
    async with Collector(answer(status)) as collector:
        assert (await client_of(collector.url, Clock()).export(b"")).outcome == "ok"


async def test_exports_may_be_uncompressed() -> None:
    async with Collector() as collector:
        client = client_of(collector.url, Clock(), is_compressed=False)
        await client.export(client.pack(b"plain"))
        [export] = collector.exports
    assert export.raw == b"plain"
    assert "content-encoding" not in export.headers
    assert export.headers["x-key"] == "k"


async def test_a_full_queue_drops_spans_and_counts_them() -> None:
    released, counters = asyncio.Event(), ExportCounters()
    async with Collector(Answer(TAKEN.raw, released)) as collector:
        client = client_of(collector.url, Clock(), counters=counters)
        exporter = SpanExporter(client, encode=encode, max_queue=BATCH_SIZE, counters=counters)
        export_each(exporter, BATCH_SIZE)
        await collector.until(lambda: len(collector.exports) == 1)  # which waits for its answer
        export_each(exporter, BATCH_SIZE + 3)
        assert counters.lost["queue-full"] == 3
        released.set()
        await exporter.close(TIME_LIMIT)
        assert len(collector.spans) == 2 * BATCH_SIZE
    assert sum(counters.lost.values()) == 3


async def test_a_full_batch_is_exported_at_once() -> None:
    counters = ExportCounters()
    async with Collector() as collector:
        client = client_of(collector.url, Clock(), counters=counters)
        exporter = SpanExporter(client, encode=encode, max_queue=4096, counters=counters, interval=TIME_LIMIT)
        export_each(exporter, BATCH_SIZE)
        await collector.wait_for_spans(BATCH_SIZE)
        await exporter.close(TIME_LIMIT)


async def test_a_stop_ends_the_pause_and_counts_what_is_lost() -> None:
    counters = ExportCounters()
    never: Callable[[float], Awaitable[object]] = lambda _: asyncio.Event().wait()  # noqa: E731
    async with Collector(*[answer(503)] * 10) as collector:
        client = client_of(collector.url, Clock(), counters=counters)
        client._sleep = never
        exporter = SpanExporter(client, encode=encode, max_queue=4096, counters=counters)
        export_each(exporter, BATCH_SIZE + 1)
        await collector.until(lambda: len(collector.exports) == 1)
        await exporter.close(TIME_LIMIT)
    assert counters.lost["failed"] == BATCH_SIZE + 1
    assert sum(counters.lost.values()) == BATCH_SIZE + 1


async def test_a_stop_does_not_wait_for_a_silent_collector() -> None:
    counters = ExportCounters()
    async with Collector(Answer(b"", asyncio.Event())) as collector:
        client = client_of(collector.url, Clock(), counters=counters)
        exporter = SpanExporter(client, encode=encode, max_queue=4096, counters=counters)
        export_each(exporter, BATCH_SIZE + 5)
        await collector.until(lambda: len(collector.exports) == 1)
        await exporter.close(0.01)
    assert counters.lost["stopped"] == BATCH_SIZE + 5


async def test_a_defect_of_the_encoder_loses_its_batch_only(caplog: pytest.LogCaptureFixture) -> None:
    counters, failures = ExportCounters(), [ValueError("broken")]

    def encode_second(traces: Sequence[Any]) -> bytes:
        if failures:
            raise failures.pop()
        return encode(traces)

    async with Collector() as collector:
        client = client_of(collector.url, Clock(), counters=counters)
        exporter = SpanExporter(client, encode=encode_second, max_queue=4096, counters=counters)
        export_each(exporter, BATCH_SIZE + 2)
        await exporter.close(TIME_LIMIT)
        assert len(collector.spans) == 2
    assert counters.lost["failed"] == BATCH_SIZE
    assert [getattr(record, "event", "") for record in caplog.records] == ["defect"]


@pytest.mark.parametrize("status", [429, 500])
async def test_calls_succeed_while_the_collector_fails(status: int) -> None:
    async with Collector(*[answer(status, retry_after="600")] * 50) as collector:
        telemetry = {"endpoint": collector.url, "metrics": {"enabled": False}}
        async with scene(telemetry=telemetry) as (gate, _, _):
            for _ in range(5):
                assert (await gate.get("/orders/1"))[0] == 200
            await gate.components.telemetry.close(0.01)
            gate.problems.clear()  # the failure is logged


async def test_calls_succeed_while_no_collector_listens() -> None:
    with reserved_port() as port:
        telemetry = {"endpoint": f"http://127.0.0.1:{port}", "metrics": {"enabled": False}}
        async with scene(telemetry=telemetry) as (gate, _, _):
            assert (await gate.get("/orders/1"))[0] == 200
            await gate.components.telemetry.close(TIME_LIMIT)
            assert [text for text in gate.problems if "cannot export traces" in text]
            gate.problems.clear()
            lost = {labels: value for name, labels, value in gate.components.telemetry.metrics() if "lost" in name}
        assert lost["failed",] == 5


async def test_exports_use_tls_and_verify_the_collector(tmp_path: Path) -> None:
    pem = self_signed(tmp_path / "collector.pem", is_ca=True)
    async with Collector(tls=server_context(pem)) as collector:
        for tls, count in ((None, 0), ({"ca": str(pem)}, 3)):
            telemetry = {"endpoint": collector.url, "tls": tls, "metrics": {"enabled": False}}
            async with scene(telemetry=telemetry) as (gate, _, _):
                assert (await gate.get("/orders/1"))[0] == 200
                await gate.components.telemetry.close(TIME_LIMIT)
                assert (not gate.problems) == bool(count)
                assert all("is not trusted" in problem for problem in gate.problems)
                gate.problems.clear()
            assert len([span for span in collector.spans if span.name != "POST"][:3]) == count


async def test_exports_pass_the_egress_proxy(tmp_path: Path) -> None:
    pem = self_signed(tmp_path / "collector.pem", is_ca=True)
    async with Collector(tls=server_context(pem)) as collector, Egress() as egress:
        telemetry = {"endpoint": collector.url, "tls": {"ca": str(pem)}, "proxy": {"url": egress.url}}
        async with scene(telemetry=telemetry) as (gate, _, _):
            await gate.get("/orders/1")
        assert collector.spans
        assert {head.split(b" ")[0] for head in egress.heads} == {b"CONNECT"}
