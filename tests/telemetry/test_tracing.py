"""The traces of calls: which trace a call belongs to, what OIC gets, and the spans that the collector gets."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from gateway.observe.record import MAX_ID
from tests.fakes.collector import Collector, ReceivedSpan
from tests.fakes.gate import SECRET, Scene, scene, until
from tests.fakes.identity import CLOSE as NO_ANSWER
from tests.fakes.identity import Answer, answer, in_pieces, refusal, token
from tests.fakes.upstream import CLOSE, OK, Script, ScriptedConnection, reply

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
TRACEPARENT = f"traceparent: 00-{TRACE}-{SPAN}-01"
INSTANCE = "lJrSjUUVEfGXW0tyvl-GZA"
LOOPBACK = ["127.0.0.0/8"]


class TracedScene:
    """A gateway whose spans `collector` has when the scene has ended."""

    def __init__(self, at: Scene, collector: Collector) -> None:
        self.gate, self.upstream, self.identity = at
        self.collector = collector

    def sent_traceparents(self) -> list[str]:
        """The `traceparent` of each request to OIC; several in one request are joined by `|`."""
        return [request.field("traceparent") or "" for request in self.upstream.requests]


@asynccontextmanager
async def traced(
    *script: Script, telemetry: dict[str, Any] | None = None, **settings: Any
) -> AsyncIterator[TracedScene]:
    async with Collector() as collector:
        keys = {"endpoint": collector.url, "metrics": {"enabled": False}, **(telemetry or {})}
        async with scene(*script, telemetry=keys, **settings) as at:
            yield TracedScene(at, collector)


def of_calls(collector: Collector) -> list[ReceivedSpan]:
    """The spans of calls, without those of token fetches."""
    fetches = {span.trace_id for span in collector.spans if span.name == "token fetch"}
    return [span for span in collector.spans if span.trace_id not in fetches]


def one(spans: list[ReceivedSpan], kind: str, name: str = "") -> ReceivedSpan:
    [found] = [span for span in spans if span.kind == kind and name in {"", span.name}]
    return found


async def test_a_call_is_a_tree_of_spans_linked_to_its_fetch() -> None:
    async with traced() as at:
        await at.gate.get("/orders/17?secret=1")
        [sent] = at.sent_traceparents()
        [record] = at.gate.records
    spans = of_calls(at.collector)
    server, wait, client = one(spans, "server"), one(spans, "internal", "token"), one(spans, "client")
    assert {span.trace_id for span in spans} == {record.trace_id}
    assert server.parent_id == ""
    assert wait.parent_id == client.parent_id == server.span_id
    assert sent == f"00-{record.trace_id}-{client.span_id}-03"
    fetch, request = (span for span in at.collector.spans if span.trace_id != record.trace_id)
    assert (fetch.name, fetch.kind, fetch.parent_id) == ("token fetch", "internal", "")
    assert (request.name, request.kind, request.parent_id) == ("POST", "client", fetch.span_id)
    assert [(link.trace_id.hex(), link.span_id.hex()) for link in wait.span.links] == [(fetch.trace_id, fetch.span_id)]
    assert len({span.span_id for span in at.collector.spans}) == 5
    assert server.span.start_time_unix_nano <= wait.span.start_time_unix_nano <= client.span.start_time_unix_nano
    assert wait.span.end_time_unix_nano <= client.span.start_time_unix_nano
    assert client.span.end_time_unix_nano <= server.span.end_time_unix_nano
    assert all(span.span.start_time_unix_nano <= span.span.end_time_unix_nano for span in at.collector.spans)


async def test_spans_have_attributes_of_the_semantic_conventions() -> None:
    async with traced(telemetry={"resource": {"deployment.environment.name": "test"}}) as at:
        await at.gate.post(b"{}", "X-Request-Id: mine", target="/orders/17?a=b")
        port = at.upstream.port
        token_port = int(re.findall(r":(\d+)", at.identity.url)[0])
    server = one(of_calls(at.collector), "server")
    assert (server.name, server.has_failed) == ("POST /orders", False)
    assert server.attributes == {
        "http.request.method": "POST",
        "http.response.status_code": 200,
        "http.route": "/orders",
        "url.scheme": "http",
        "url.path": "/orders/17",
        "server.address": "localhost",
        "client.address": "127.0.0.1",
        "network.protocol.version": "1.1",
        "oic.instance_id": INSTANCE,
        "oic_gateway.route": "orders",
        "oic_gateway.credential": "app",
        "oic_gateway.request_id": "mine",
        "oic_gateway.messages": 1,
    }
    client = one(of_calls(at.collector), "client")
    assert (client.name, client.has_failed) == ("POST", False)
    assert client.attributes == {
        "http.request.method": "POST",
        "http.response.status_code": 200,
        "network.protocol.version": "1.1",
        "url.full": f"http://127.0.0.1:{port}/ic/x/17",
        "server.address": "127.0.0.1",
        "server.port": port,
        "oic.instance_id": INSTANCE,
        "oic_gateway.route": "orders",
    }
    [request] = [span for span in at.collector.spans if span.parent_id and span.trace_id != server.trace_id]
    assert request.attributes == {
        "http.request.method": "POST",
        "http.response.status_code": 200,
        "network.protocol.version": "1.1",
        "url.full": at.identity.url,
        "server.address": "127.0.0.1",
        "server.port": token_port,
        "oic_gateway.credential": "app",
    }
    assert server.resource["service.name"] == "oic-gateway"
    assert server.resource["deployment.environment.name"] == "test"
    assert {"service.version", "service.instance.id", "process.pid"} < set(server.resource)


async def test_the_trace_of_a_trusted_caller_is_continued() -> None:
    async with traced(telemetry={"trust": LOOPBACK}) as at:
        states = "tracestate: rojo=00f067aa0ba902b7", "Tracestate: congo=t61rcWkgMzE"
        await at.gate.get("/orders/1", TRACEPARENT, *states)
        [sent] = at.sent_traceparents()
        [request] = at.upstream.requests
        assert request.field("tracestate") == "rojo=00f067aa0ba902b7|congo=t61rcWkgMzE"
        assert at.gate.records[0].trace_id == TRACE
    spans = of_calls(at.collector)
    assert {span.trace_id for span in spans} == {TRACE}
    server, client = one(spans, "server"), one(spans, "client")
    assert server.parent_id == SPAN
    assert server.span.flags == 0x301
    assert server.span.trace_state == "rojo=00f067aa0ba902b7, congo=t61rcWkgMzE"
    assert sent == f"00-{TRACE}-{client.span_id}-01"


async def test_the_trace_of_an_untrusted_caller_is_replaced() -> None:
    async with traced(telemetry={"trust": ["10.0.0.0/8"]}) as at:
        await at.gate.get("/orders/1", TRACEPARENT, "tracestate: rojo=1")
        [sent] = at.sent_traceparents()
        assert at.upstream.requests[0].field("tracestate") is None
        trace_id = at.gate.records[0].trace_id
    assert trace_id is not None
    assert trace_id != TRACE
    assert re.fullmatch(rf"00-{trace_id}-[0-9a-f]{{16}}-03", sent)
    assert one(of_calls(at.collector), "server").parent_id == ""


@pytest.mark.parametrize(
    "fields",
    [
        (f"traceparent: 00-{TRACE.upper()}-{SPAN}-01",),
        (f"traceparent: 00-{'0' * 32}-{SPAN}-01",),
        (f"traceparent: 00-{TRACE}-{'0' * 16}-01",),
        (f"traceparent: ff-{TRACE}-{SPAN}-01",),
        (f"traceparent: 00-{TRACE}-{SPAN}-01-more",),
        (f"traceparent: 00-{TRACE}-{SPAN}",),
        ("traceparent: ",),
        (f"traceparent: {'0' * 5000}",),
        (f"traceparent: 00-{TRACE}-{SPAN}-01; drop",),
        ("traceparent: \xff\xfe",),
        (TRACEPARENT, TRACEPARENT),
        (TRACEPARENT, f"Traceparent: 00-{TRACE}-{SPAN}-00"),
        ("tracestate: a=1",),
        (f"trace-parent: 00-{TRACE}-{SPAN}-01",),
    ],
)
async def test_a_hostile_traceparent_begins_a_new_trace(fields: tuple[str, ...]) -> None:
    async with traced(telemetry={"trust": LOOPBACK}) as at:
        status, _, _ = await at.gate.get("/orders/1", *fields)
        [sent] = at.sent_traceparents()
        assert status == 200
        assert at.upstream.requests[0].field("tracestate") is None
        trace_id = at.gate.records[0].trace_id
    assert trace_id != TRACE
    assert re.fullmatch(rf"00-{trace_id}-[0-9a-f]{{16}}-03", sent)


async def test_a_traceparent_that_connection_names_is_still_continued() -> None:
    async with traced(telemetry={"trust": LOOPBACK}) as at:
        await at.gate.get("/orders/1", TRACEPARENT, "Connection: traceparent")
        assert [sent.split("-")[1] for sent in at.sent_traceparents()] == [TRACE]


@pytest.mark.parametrize("value", [TRACEPARENT, "traceparent: anything", "traceparent: "])
async def test_without_telemetry_trace_fields_pass_unchanged(value: str) -> None:
    async with scene() as (gate, upstream, _):
        await gate.get("/orders/1", value, "tracestate: a=1", "Tracestate: b=2")
        assert upstream.requests[0].field("traceparent") == value.partition(": ")[2]
        assert upstream.requests[0].field("tracestate") == "a=1|b=2"
        assert gate.records[0].trace_id is None


async def test_a_disabled_sdk_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    async with traced() as at:
        await at.gate.get("/orders/1", TRACEPARENT)
        assert at.sent_traceparents() == [TRACEPARENT.partition(": ")[2]]
        assert at.gate.records[0].trace_id is None
    assert at.collector.exports == []


@pytest.mark.parametrize("headers", [{"remove": ["Traceparent"]}, {"set": {"traceparent": "mine"}}])
async def test_a_route_decides_on_the_traceparent_itself(headers: dict[str, Any]) -> None:
    async with traced(telemetry={"trust": LOOPBACK}, route={"headers": headers}) as at:
        await at.gate.get("/orders/1", TRACEPARENT)
        assert at.sent_traceparents() == ["mine" if "set" in headers else ""]


async def test_calls_outside_the_share_are_exported_for_errors_only() -> None:
    async with traced(OK, reply(500, b"broken"), telemetry={"traces": {"share": 0.0}}) as at:
        for _ in range(2):
            await at.gate.get("/orders/1")
        await at.gate.get("/nowhere")
        assert [sent[-2:] for sent in at.sent_traceparents()] == ["02", "02"]
        failed = [record.trace_id for record in at.gate.records[1:]]
    spans = of_calls(at.collector)
    assert {span.trace_id for span in spans} == set(failed)
    of_oic, of_gateway = (span for span in spans if span.kind == "server")
    assert (of_oic.attributes["error.type"], of_oic.has_failed) == ("500", True)
    assert (of_gateway.attributes["error.type"], of_gateway.has_failed) == ("no-route", False)


async def test_a_callers_decision_not_to_sample_is_kept() -> None:
    async with traced(telemetry={"trust": LOOPBACK}) as at:
        await at.gate.get("/orders/1", TRACEPARENT[:-1] + "0")
        assert [sent[-2:] for sent in at.sent_traceparents()] == ["00"]
    assert of_calls(at.collector) == []


async def test_traces_that_are_not_exported_reach_oic_all_the_same() -> None:
    async with traced(telemetry={"traces": {"enabled": False}}) as at:
        await at.gate.get("/orders/1")
        assert at.sent_traceparents()[0].split("-")[1] == at.gate.records[0].trace_id
    assert at.collector.exports == []


async def test_each_attempt_is_a_span_with_its_own_id() -> None:
    async with traced(reply(401), OK) as at:
        await at.gate.get("/orders/1")
        sent = at.sent_traceparents()
        trace_id = at.gate.records[0].trace_id
    attempts = [span for span in of_calls(at.collector) if span.kind == "client"]
    assert [f"00-{trace_id}-{span.span_id}-03" for span in attempts] == sent
    assert len({span.span_id for span in attempts}) == 2
    first, second = (span.attributes for span in attempts)
    assert (first["http.response.status_code"], first["error.type"]) == (401, "401")
    assert (second["http.response.status_code"], second["http.request.resend_count"]) == (200, 1)
    assert "oic.instance_id" not in first
    assert second["oic.instance_id"] == INSTANCE
    assert attempts[0].span.end_time_unix_nano <= attempts[1].span.start_time_unix_nano
    waits = [span for span in of_calls(at.collector) if span.name == "token"]
    assert len({link.trace_id for span in waits for link in span.span.links}) == 2


async def test_an_attempt_on_a_stale_connection_is_a_failed_span() -> None:
    async with traced(OK, CLOSE, OK) as at:
        for _ in range(2):
            await at.gate.get("/orders/1")
        trace_id = at.gate.records[1].trace_id
    stale, good = (span for span in at.collector.spans if span.trace_id == trace_id and span.kind == "client")
    assert (stale.attributes["error.type"], stale.has_failed) == ("stale-connection", True)
    assert "http.response.status_code" not in stale.attributes
    assert not good.has_failed


async def test_an_upstream_without_a_response_is_an_error() -> None:
    async with traced(CLOSE, CLOSE) as at:
        status, _, _ = await at.gate.post(b"x")
    server, client = one(of_calls(at.collector), "server"), one(of_calls(at.collector), "client")
    assert status == 502
    assert server.attributes["error.type"] == client.attributes["error.type"] == "upstream-broken"
    assert server.has_failed
    assert client.has_failed
    assert server.span.status.message


async def test_a_call_without_a_token_has_no_attempt() -> None:
    async with traced(tokens=(refusal("invalid_client", 401),)) as at:
        await at.gate.get("/orders/1")
    spans = of_calls(at.collector)
    assert {span.kind for span in spans} == {"server", "internal"}
    server, wait = one(spans, "server"), one(spans, "internal")
    assert server.attributes["error.type"] == "token-refused"
    [fetch] = [span for span in at.collector.spans if span.name == "token fetch"]
    assert [link.trace_id.hex() for link in wait.span.links] == [fetch.trace_id]
    assert (fetch.attributes["error.type"], fetch.has_failed) == ("invalid_client", True)
    [request] = [span for span in at.collector.spans if span.parent_id == fetch.span_id]
    assert (request.attributes["http.response.status_code"], request.attributes["error.type"]) == (401, "401")
    assert request.has_failed


@pytest.mark.parametrize(
    ("played", "status", "error"),
    [
        (refusal("invalid_scope", 400), 400, "400"),
        (answer(503, b"busy"), 503, "503"),
        (answer(302, location="/elsewhere"), 302, "unavailable"),
        (answer(200, b"<html>"), 200, "unavailable"),
        (in_pieces(b'{"access_token', 3, length=999), 200, "unavailable"),
        (in_pieces(b" " * 300_000, 3), 200, "unavailable"),
        (NO_ANSWER, None, "unavailable"),
    ],
)
async def test_a_failed_token_request_has_the_status_of_its_response(
    played: Answer, status: int | None, error: str
) -> None:
    async with traced(tokens=(played,)) as at:
        await at.gate.get("/orders/1")
    fetch = next(span for span in at.collector.spans if span.name == "token fetch")
    request = next(span for span in at.collector.spans if span.parent_id == fetch.span_id)
    assert request.attributes.get("http.response.status_code") == status
    assert ("network.protocol.version" in request.attributes) == (status is not None)
    assert (request.attributes["error.type"], request.has_failed) == (error, True)


async def test_a_target_in_absolute_form_names_server_and_path() -> None:
    async with traced() as at:
        await at.gate.get("http://user:a-password@LOCALHOST/orders/17?secret=1")
        await at.gate.get(f"http://localhost:{at.gate.port}")
    first, second = (span.attributes for span in of_calls(at.collector) if span.kind == "server")
    assert (first["server.address"], first["url.path"]) == ("localhost", "/orders/17")
    assert "server.port" not in first
    assert (second["server.port"], second["url.path"]) == (at.gate.port, "/")


async def test_a_response_that_breaks_off_is_an_error_of_both_spans() -> None:
    async def broken(connection: ScriptedConnection) -> None:
        await connection.request()
        await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort")
        connection.reset()

    async with traced(broken) as at:
        await (await at.gate.caller()).send(b"GET /orders/1 HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await at.gate.wait_for_records()
    server, client = one(of_calls(at.collector), "server"), one(of_calls(at.collector), "client")
    for span in (server, client):
        assert span.attributes["http.response.status_code"] == 200
        assert (span.attributes["error.type"], span.has_failed) == ("upstream-broken", True)


async def test_a_caller_that_leaves_gets_no_status() -> None:
    arrived = asyncio.Event()

    async def silent(connection: ScriptedConnection) -> None:
        await connection.request()
        arrived.set()
        await asyncio.Event().wait()

    async with traced(silent) as at:
        caller = await at.gate.caller()
        await caller.send(b"GET /orders/1 HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await arrived.wait()
        caller.close()
        await at.gate.wait_for_records()
    server, client = one(of_calls(at.collector), "server"), one(of_calls(at.collector), "client")
    assert "http.response.status_code" not in server.attributes
    assert (server.attributes["error.type"], server.has_failed) == ("caller-gone", True)
    assert (client.attributes["error.type"], client.has_failed) == ("caller-gone", True)
    assert "network.protocol.version" not in client.attributes


async def test_calls_that_wait_together_link_to_one_fetch() -> None:
    gate_open = asyncio.Event()
    async with traced(tokens=(token("shared").behind(gate_open),)) as at:
        calls = [asyncio.create_task(at.gate.get("/orders/1")) for _ in range(3)]
        await until(lambda: at.gate.route.token_source.status()["waiters"] == 3)
        gate_open.set()
        await asyncio.gather(*calls)
    waits = [span for span in at.collector.spans if span.name == "token"]
    assert len(waits) == 3
    assert len({span.trace_id for span in waits}) == 3
    [fetch] = [span for span in at.collector.spans if span.name == "token fetch"]
    assert {link.span_id.hex() for span in waits for link in span.span.links} == {fetch.span_id}


async def test_the_wait_for_a_place_is_a_span() -> None:
    arrived, released = asyncio.Event(), asyncio.Event()

    async def slow(connection: ScriptedConnection) -> None:
        await connection.request()
        arrived.set()
        await released.wait()
        await connection.send(OK)

    async with traced(slow, OK, service={"calls": 1}) as at:
        first = asyncio.create_task(at.gate.get("/orders/1"))
        await arrived.wait()
        second = asyncio.create_task(at.gate.get("/orders/2"))
        [gate] = at.gate.components.services.gates.configured
        await until(lambda: gate.waiting == 1)
        released.set()
        await asyncio.gather(first, second)
        waited = at.gate.records[1]
    spans = [span for span in at.collector.spans if span.trace_id == waited.trace_id]
    queue, server, client = one(spans, "internal", "queue"), one(spans, "server"), one(spans, "client")
    assert queue.parent_id == server.span_id
    assert queue.span.end_time_unix_nano <= client.span.start_time_unix_nano


async def test_a_request_that_cannot_be_read_has_a_span() -> None:
    async with traced(telemetry={"traces": {"share": 0.0}}) as at:
        await at.gate.call(b"GET /orders/1 HTTP/1.1\r\nbad line\r\n\r\n")
        await at.gate.wait_for_records()
        trace_id = at.gate.records[0].trace_id
    [span] = at.collector.spans
    assert span.trace_id == trace_id
    assert span.attributes["error.type"] == "bad-request"


async def test_an_unknown_method_is_no_name_of_a_span() -> None:
    async with traced(telemetry={"traces": {"share": 1.0}}) as at:
        await at.gate.get("/orders/1", method="SPLICE")
    server = one(of_calls(at.collector), "server")
    assert server.name == "HTTP /orders"
    assert server.attributes["http.request.method"] == "_OTHER"
    assert server.attributes["http.request.method_original"] == "SPLICE"


async def test_long_values_are_cut_in_spans_as_in_records() -> None:
    async with traced(reply(200, b"", f"x-oracle-ics-instance-id: {'i' * 2 * MAX_ID}")) as at:
        await at.gate.get("/orders/1")
    assert one(of_calls(at.collector), "server").attributes["oic.instance_id"] == "i" * MAX_ID


async def test_no_secret_is_in_any_export() -> None:
    secrets = (
        "the-callers-token",
        "a-password",
        "token-1",
        "token-2",
        "key-of-query",
        "value-of-body",
        SECRET,
        "set-by-route",
    )
    edits = {"headers": {"set": {"X-Set": "set-by-route"}}, "query": {"set": {"code": "set-by-route"}}}
    body = reply(500, b"value-of-body", "Set-Cookie: a=value-of-body", "X-A: value-of-body")
    async with traced(reply(401), body, answer_of_broken(), route=edits, telemetry={"trust": LOOPBACK}) as at:
        for _ in range(2):
            await at.gate.post(
                b"value-of-body",
                "Authorization: Bearer the-callers-token",
                "Cookie: a=a-password",
                TRACEPARENT,
                target="/orders/1?key=key-of-query",
            )
        await at.gate.get("http://user:a-password@localhost/orders/1")
    assert at.collector.spans
    for export in at.collector.exports:
        found = [secret for secret in secrets if secret.encode() in export.body]
        assert found == []


def answer_of_broken() -> bytes:
    return b"HTTP/1.1 200 OK\r\nvalue-of-body\r\n\r\n"


async def test_headers_of_exports_come_from_secrets(tmp_path: Any) -> None:
    secret = tmp_path / "apm"
    secret.write_text("dataKey first\n")
    headers = {"Authorization": {"file": str(secret)}}
    async with Collector() as collector:
        for value in ("first", "second"):
            secret.write_text(f"dataKey {value}\n")
            async with scene(telemetry={"endpoint": f"{collector.url}/base/", "headers": headers}) as (gate, _, _):
                await gate.get("/orders/1")
        assert {export.headers["authorization"] for export in collector.exports[:1]} == {"dataKey first"}
        assert {export.headers["authorization"] for export in collector.exports[-1:]} == {"dataKey second"}
        [path] = {export.path for export in collector.exports}
        assert path == "/base/v1/traces"
        assert all(export.headers["content-type"] == "application/x-protobuf" for export in collector.exports)
        assert all(export.headers["content-encoding"] == "gzip" for export in collector.exports)
