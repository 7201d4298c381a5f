"""Collectors that others wrote receive the gateway's traces and metrics: Rotel, and Elastic's mock OTLP server.

The mock server shows what it decoded as JSON, but it reads no gzip. Rotel reads gzip; it decodes what it receives and
sends it on to the mock server by gRPC. `make test-clients` installs both.
"""

import asyncio
import json
import sys
from asyncio.subprocess import PIPE
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from gateway import __version__
from tests.fakes.identity import Identity
from tests.fakes.ports import reserved_port
from tests.fakes.upstream import OK, Upstream, reply
from tests.fakes.waiting import TIME_LIMIT
from tests.system.scene import between

FOLDER = Path(sys.prefix) / "otlp"
ROTEL = FOLDER / "python" / "rotel" / "rotel-agent"
TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
INSTANCE = "lJrSjUUVEfGXW0tyvl-GZA"
LINE_LIMIT = 1 << 22
"""Bytes of a line of the mock server, which has all metrics."""

SPANS = 9
"""Two of each call, one of a wait for the token, and two of the fetch of the token."""

Document = dict[str, Any]


def integer_if_long(found: Document) -> Any:
    """Return the integer that JavaScript's `Long` stands for, anything else as it is."""
    if found.keys() == {"low", "high", "unsigned"}:
        return found["high"] << 32 | found["low"] & 0xFFFFFFFF
    return found


@dataclass(slots=True)
class Received:
    """What the mock server wrote."""

    requests: list[Document] = field(default_factory=list)
    spans: list[Document] = field(default_factory=list)
    metrics: dict[str, Document] = field(default_factory=dict)
    """The last state of each metric, by name."""
    change: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def until_complete(self) -> None:
        """Wait for the spans of all calls and for the metrics."""
        async with asyncio.timeout(TIME_LIMIT), self.change:
            await self.change.wait_for(lambda: len(self.spans) >= SPANS and bool(self.metrics))

    def add(self, line: bytes) -> None:
        """Add one line. Each span and metric gets the attributes of its resource."""
        document = json.loads(line, object_hook=integer_if_long)
        if "transport" in document:
            self.requests.append(document)
        for group in document.get("resourceSpans", ()):
            of_group = {"resource": group["resource"]["attributes"]}
            self.spans += [span | of_group for scope in group["scopeSpans"] for span in scope["spans"]]
        for group in document.get("resourceMetrics", ()):
            of_group = {"resource": group["resource"]["attributes"]}
            found = [metric | of_group for scope in group["scopeMetrics"] for metric in scope["metrics"]]
            self.metrics |= {metric["name"]: metric for metric in found}

    def span(self, name: str, path: str) -> Document:
        """Return the only span with this name in the trace of the call with this path."""
        [trace] = {span["traceId"] for span in self.spans if span["attributes"].get("url.path") == path}
        [span] = [span for span in self.spans if span["name"] == name and span["traceId"] == trace]
        return span

    def token_fetch(self) -> Document:
        """Return the only span of a token fetch."""
        [span] = [span for span in self.spans if span["name"] == "token fetch"]
        return span


@asynccontextmanager
async def mock_server(received: Received) -> AsyncIterator[dict[str, str]]:
    """Run the mock server; yield its URLs. `received` is complete when the block has ended."""
    assert (FOLDER / ".installed").exists(), "the collectors are not installed; run `make test-clients`"
    process = await asyncio.create_subprocess_exec("node", "server.mjs", cwd=FOLDER, stdout=PIPE, limit=LINE_LIMIT)
    assert process.stdout is not None
    output = process.stdout

    async def read() -> None:
        while line := await output.readline():
            received.add(line)
            async with received.change:
                received.change.notify_all()

    try:
        async with asyncio.timeout(TIME_LIMIT):
            urls = json.loads(await output.readline())
        reader = asyncio.create_task(read())
        yield urls
        assert not reader.done(), "the mock server has ended; its error output has the reason"
        process.terminate()
        async with asyncio.timeout(TIME_LIMIT):
            await reader
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


@asynccontextmanager
async def rotel(grpc_url: str) -> AsyncIterator[str]:
    """Run Rotel in front of the mock server; yield its URL."""
    with reserved_port() as port:
        process = await asyncio.create_subprocess_exec(
            *(ROTEL, "start", "--disable-batching", "--exporter", "otlp", "--otlp-exporter-endpoint", grpc_url),
            *("--otlp-http-endpoint", f"127.0.0.1:{port}", "--otlp-grpc-endpoint", "127.0.0.1:0"),
            stdout=PIPE,
        )
        assert process.stdout is not None
        try:
            async with asyncio.timeout(TIME_LIMIT):
                line = await process.stdout.readline()  # it is written when the ports are open
            assert b"Starting Rotel" in line, line
            yield f"http://127.0.0.1:{port}"
            assert process.returncode is None, "Rotel has ended"
            process.terminate()
            async with asyncio.timeout(TIME_LIMIT):
                output, _ = await process.communicate()
            assert process.returncode == 0, output.decode()
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()


async def call_through_gateway(folder: Path, url: str, compression: str) -> None:
    """Make a call that succeeds, one that fails, and one of a caller's trace; the gateway exports them to `url`."""
    keys = {
        "endpoint": url,
        "compression": compression,
        "trust": ["127.0.0.0/8"],
        "service_name": "plant-gateway",
        "resource": {"deployment.environment.name": "test"},
    }
    async with (
        Identity() as identity,
        Upstream(OK, reply(500, b"broken")) as upstream,
        between(folder, identity, upstream, telemetry=keys) as process,
    ):
        statuses = [(await process.get(f"/orders/{name}"))[0] for name in ("good", "bad")]
        statuses.append((await process.get("/orders/continued", f"traceparent: 00-{TRACE}-{SPAN}-01"))[0])
        assert statuses == [200, 500, 200]


@pytest.fixture(params=["rotel-gzip", "rotel-none", "elastic-none"])
async def received(request: pytest.FixtureRequest, tmp_path: Path) -> Received:
    collector, _, compression = request.param.partition("-")
    received = Received()
    async with mock_server(received) as urls:
        if collector == "rotel":
            async with rotel(urls["grpc"]) as url:
                await call_through_gateway(tmp_path, url, compression)
                await received.until_complete()
        else:
            await call_through_gateway(tmp_path, urls["http"], compression)
    assert {each["transport"] for each in received.requests} == {"grpc" if collector == "rotel" else "http"}
    return received


async def test_a_collector_reads_traces(received: Received) -> None:
    names = {span["spanId"]: span["name"] for span in received.spans} | {SPAN: "span of the caller"}
    trees = defaultdict(set)
    for span in received.spans:
        parent = names[span["parentSpanId"]] if "parentSpanId" in span else None
        trees[span["traceId"]].add((span["name"], span["kind"].removeprefix("SPAN_KIND_"), parent))
    good, bad = received.span("GET /orders", "/orders/good"), received.span("GET /orders", "/orders/bad")
    attempt = ("GET", "CLIENT", "GET /orders")
    assert len(received.spans) == SPANS
    assert trees == {
        received.token_fetch()["traceId"]: {
            ("token fetch", "INTERNAL", None),
            ("POST", "CLIENT", "token fetch"),
        },
        good["traceId"]: {("GET /orders", "SERVER", None), ("token", "INTERNAL", "GET /orders"), attempt},
        bad["traceId"]: {("GET /orders", "SERVER", None), attempt},
        TRACE: {("GET /orders", "SERVER", "span of the caller"), attempt},
    }


async def test_a_collector_reads_what_spans_contain(received: Received) -> None:
    good, bad = received.span("GET /orders", "/orders/good"), received.span("GET /orders", "/orders/bad")
    attributes = {name: str(value) for name, value in good["attributes"].items()}  # integers are text with gRPC
    assert len(attributes.pop("oic_gateway.request_id")) == 32
    assert attributes == {
        "http.request.method": "GET",
        "http.response.status_code": "200",
        "http.route": "/orders",
        "url.scheme": "http",
        "url.path": "/orders/good",
        "server.address": "localhost",
        "client.address": "127.0.0.1",
        "network.protocol.version": "1.1",
        "oic.instance_id": INSTANCE,
        "oic_gateway.route": "orders",
        "oic_gateway.credential": "app",
        "oic_gateway.messages": "1",
    }
    assert received.span("GET", "/orders/good")["attributes"]["oic.instance_id"] == INSTANCE
    assert received.span("GET /orders", "/orders/continued")["attributes"]["oic.instance_id"] == INSTANCE
    for failed in (bad, received.span("GET", "/orders/bad")):
        assert (failed["status"]["code"], failed["attributes"]["error.type"]) == ("STATUS_CODE_ERROR", "500")
    assert sum(span.get("status", {}).get("code") == "STATUS_CODE_ERROR" for span in received.spans) == 2
    fetch = received.token_fetch()
    [link] = received.span("token", "/orders/good")["links"]
    assert (link["traceId"], link["spanId"]) == (fetch["traceId"], fetch["spanId"])
    assert all(0 < int(span["startTimeUnixNano"]) <= int(span["endTimeUnixNano"]) for span in received.spans)


async def test_a_collector_reads_metrics_and_the_resource(received: Received) -> None:
    requests = received.metrics["oic_gateway_requests"]["sum"]
    points = {point["attributes"]["status"]: point["asDouble"] for point in requests["dataPoints"]}
    assert points == {"2xx": 2, "5xx": 1}
    assert requests["isMonotonic"]
    durations = received.metrics["oic_gateway_request_duration_seconds"]
    [point] = durations["histogram"]["dataPoints"]
    assert durations["unit"] == "s"
    assert (int(point["count"]), sum(map(int, point["bucketCounts"]))) == (3, 3)
    assert len(point["bucketCounts"]) == len(point["explicitBounds"]) + 1
    [gauge] = received.metrics["oic_gateway_requests_in_flight"]["gauge"]["dataPoints"]
    assert (gauge["asDouble"], gauge["attributes"]) == (0, {"route": "orders"})
    [resource] = {json.dumps(each["resource"]) for each in (*received.spans, *received.metrics.values())}
    found = json.loads(resource)
    assert found["service.name"] == "plant-gateway"
    assert found["service.version"] == __version__
    assert found["service.instance.id"].startswith("oic-gateway-")
    assert found["deployment.environment.name"] == "test"
