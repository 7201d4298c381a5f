"""What `telemetry` costs a call: begin the trace, write `traceparent`, queue the finished trace. And what the thread
pays for encoding. Run it alone on a quiet machine: `.venv/bin/python bench/telemetry.py`.
"""

import asyncio
import gc
import ipaddress
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from gateway.observe.record import Record
from gateway.proxy.request_tracing import finish_trace, start_trace, trace_line
from gateway.proxy.routing import UpstreamUrl
from gateway.telemetry.export_counters import ExportCounters
from gateway.telemetry.otlp_client import ExportCredentials, OtlpClient
from gateway.telemetry.otlp_resource import make_resource
from gateway.telemetry.span_encoding import encode_traces, read_trace_response
from gateway.telemetry.span_exporter import SpanExporter
from gateway.telemetry.tracer import Trace, Tracer

CALLS, ROUNDS = 256, 400  # fewer than a batch, so that nothing is exported meanwhile
TRACEPARENT = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
LINES = [b"traceparent: " + TRACEPARENT, b"Accept: */*", b"User-Agent: curl/8.5.0", b"Content-Type: application/json"]


def exchange(**fields: bytes) -> Any:
    """Return what the steps of tracing read of an exchange."""
    known = {b"host": b"gateway.corp:8080", **{name.encode(): value for name, value in fields.items()}}
    route = SimpleNamespace(path="/orders", edits=None)
    base = UpstreamUrl.parse("https://acme.integration.us-phoenix-1.ocp.oraclecloud.com/ic/api/")
    return SimpleNamespace(
        trace=None,
        head=SimpleNamespace(known_fields=known, is_http11=True, lines=LINES),
        caller=SimpleNamespace(peer="10.0.0.7", scheme="http"),
        started_at=time.monotonic(),
        upstream_started_at=time.monotonic(),
        upstream=SimpleNamespace(url=base),
        request_target="/ic/api/integration/v1/flows/rest/ORDERS/1.0/17",
        route_match=SimpleNamespace(route=route),
        record=Record(
            request_id="0" * 32,
            route="orders",
            credential="app",
            client="10.0.0.7",
            method="POST",
            path="/orders/17",
            status=202,
            duration_ms=41.5,
            upstream_ms=40.1,
            attempts=1,
            upstream_status=202,
            instance_id="lJrSjUUVEfGXW0tyvl-GZA",
            opc_request_id="CUSTOMER/TRACE/SPAN",
            messages=1,
        ),
    )


def call(one: Any, tracer: Tracer) -> None:
    """Run the steps of tracing in one call."""
    start_trace(one, tracer)
    trace = one.trace
    trace_line(one, trace)
    trace.status = 202
    finish_trace(one, trace, tracer)


def measure(work: Callable[[], object], clear: Callable[[], object]) -> float:
    """Return the microseconds of CPU time of one call: the median of the rounds."""
    times = []
    for _ in range(ROUNDS):
        began = time.process_time_ns()
        for _ in range(CALLS):
            work()
        times.append((time.process_time_ns() - began) / CALLS / 1000)
        clear()
    return statistics.median(times)


async def main() -> None:
    gc.disable()
    counters = ExportCounters()
    client = OtlpClient(
        "traces",
        "http://127.0.0.1:9/v1/traces",
        load=lambda: ExportCredentials({}, None, None),
        read_response=read_trace_response,
        timeout=1.0,
        is_compressed=True,
        counters=counters,
    )
    resource = make_resource((("service.name", "bench"),), instance_id="bench", process_id=1)
    exporter = SpanExporter(
        client, encode=lambda batch: encode_traces(batch, resource), max_queue=4096, counters=counters
    )
    queued: list[Trace] = []

    def clear() -> None:
        queued[:] = exporter.take(CALLS)

    for name, share, fields in (
        ("new trace, sampled", 1.0, {}),
        ("new trace, share 0.1", 0.1, {}),
        ("continued trace", 1.0, {"traceparent": TRACEPARENT}),
    ):
        tracer = Tracer(share=share, trust=[ipaddress.ip_network("10.0.0.0/8")], export=exporter.export)
        one = exchange(**fields)
        print(f"{name:24} {measure(partial(call, one, tracer), clear):6.2f} µs a call")
    times, body = [], b""
    for _ in range(10):
        began = time.thread_time_ns()
        body = client.pack(encode_traces(queued, resource))
        times.append((time.thread_time_ns() - began) / len(queued) / 1000)
    print(f"{'encode in the thread':24} {statistics.median(times):6.2f} µs a call, {len(body) / len(queued):.0f} bytes")
    await exporter.close(0.1)


asyncio.run(main())
