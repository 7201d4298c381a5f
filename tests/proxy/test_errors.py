"""Every error of the contract, produced for real: the reply, its fields and members, and the one record."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from gateway.errors import ERRORS
from gateway.services.circuit_breaker import FAILURE_THRESHOLD
from tests.fakes.gate import Gate, Scene, scene
from tests.fakes.identity import CLOSE as NO_ANSWER
from tests.fakes.identity import Answer, refusal
from tests.fakes.upstream import Script, ScriptedConnection, reply

Reply = tuple[int, bytes, bytes]
Do = Callable[[Scene], Awaitable[Reply]]

BY_CODE = {error.code: error for error in ERRORS}


async def silence(peer: ScriptedConnection) -> None:
    await peer.request()
    await peer.reader.read()


def bad_luck() -> float:
    raise LookupError("a secret cause")


async def get(at: Scene) -> Reply:
    return await at.gate.get()


def asks(target: str = "/orders/1", *fields: str, method: str = "GET") -> Do:
    return lambda at: at.gate.get(target, *fields, method=method)


async def second_of_two(at: Scene) -> Reply:
    first = await at.gate.caller()
    await first.send(b"GET /orders/1 HTTP/1.1\r\nHost: gw\r\n\r\n")
    await at.upstream.until(lambda: at.upstream.connections == 1)
    got = await at.gate.get()
    first.reset()
    return got


async def second_call(at: Scene) -> Reply:
    assert (await at.gate.get())[0] == 200
    got = await at.gate.get()
    at.gate.problems.clear()  # the refusal is logged
    return got


async def unfinished(at: Scene) -> Reply:
    return await at.gate.call(b"POST /orders/1 HTTP/1.1\r\nHost: gw\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n")


async def while_draining(at: Scene) -> Reply:
    at.gate.forward.is_refusing_requests = True
    return await at.gate.get()


async def one_connection_too_many(at: Scene) -> Reply:
    await at.gate.caller()
    return await at.gate.get()


async def after_failures(at: Scene) -> Reply:
    for _ in range(FAILURE_THRESHOLD):
        assert (await at.gate.get())[0] == 503
    return await at.gate.get()


@dataclass(frozen=True)
class Case:
    code: str
    do: Do = get
    script: tuple[Script, ...] = ()
    tokens: tuple[Answer, ...] = ()
    settings: dict[str, Any] = field(default_factory=dict)
    random_fraction: Callable[[], float] = lambda: 0.0
    fields: tuple[str, ...] = ()
    records: int = 1


CASES = [
    Case("bad-request", asks("/orders/../x")),
    Case("bad-request", asks("/orders/a%2Fb")),
    Case("bad-request", asks("/orders/1", "Upgrade: websocket", "Connection: upgrade")),
    Case("forbidden", lambda at: at.gate.call(b"GET /orders/1 HTTP/1.1\r\nHost: evil.example.com\r\n\r\n")),
    Case("forbidden", asks("/orders/1", "Origin: https://evil.example.com")),
    Case("no-route", asks("/ordersX/1")),
    Case("no-route", asks("http://elsewhere.example.com/orders/1")),
    Case(
        "method-not-allowed",
        asks(method="DELETE"),
        settings={"route": {"methods": ["POST", "GET"]}},
        fields=("Allow: GET, HEAD, POST",),
    ),
    Case("method-not-allowed", asks(method="TRACE"), fields=("Allow: DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT",)),
    Case(
        "method-not-allowed",
        lambda at: at.gate.call(b"CONNECT oic.example.com:443 HTTP/1.1\r\nHost: oic.example.com:443\r\n\r\n"),
        fields=("Allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS",),
    ),
    Case("request-timeout", unfinished, settings={"route": {"timeout": {"idle": "50ms"}}}),
    Case("body-too-large", lambda at: at.gate.post(b"x" * 2000), settings={"limits": {"body": "1KiB"}}),
    Case("headers-too-large", asks("/orders/1", "X-Long: " + "x" * 20_000)),
    Case("headers-too-large", asks("/orders/1", *(f"X-{n}: 1" for n in range(200)))),
    Case("uri-too-long", asks("/orders/" + "x" * 9000)),
    Case("expectation-failed", asks("/orders/1", "Expect: a-miracle")),
    Case("token-refused", tokens=(refusal("invalid_client", 401),)),
    Case(
        "token-unavailable",
        tokens=(NO_ANSWER,),
        settings={"credential": {"token_wait": "50ms"}},  # less than the pause before the next try
        fields=("Retry-After: 1",),
    ),
    Case("upstream-timeout", script=(silence,), settings={"route": {"timeout": {"response": "50ms"}}}),
    Case("upstream-broken", script=(b"NOT HTTP AT ALL\r\n\r\n",)),
    Case(
        "overloaded",
        second_of_two,
        script=(silence,),
        settings={"pool": {"size": 1}, "route": {"timeout": {"connect": "50ms"}}},
        fields=("Retry-After: 1",),
    ),
    Case("overloaded", one_connection_too_many, settings={"limits": {"connections": 1}}, fields=("Retry-After: 1",)),
    Case(
        "upstream-down",
        after_failures,
        script=(reply(503),) * FAILURE_THRESHOLD,
        settings={"service": {}},
        records=FAILURE_THRESHOLD + 1,
    ),
    Case(
        "unknown-caller",
        settings={"callers": {"far": {"networks": ["10.0.0.0/8"]}}, "route": {"callers": ["far"]}},
    ),
    Case(
        "caller-not-allowed",
        settings={
            "callers": {"far": {"networks": ["10.0.0.0/8"]}, "here": {"networks": ["127.0.0.0/8"]}},
            "route": {"callers": ["far"]},
        },
    ),
    Case(
        "too-many-requests",
        second_call,
        settings={
            "callers": {"here": {"networks": ["127.0.0.0/8"], "rate": "1/d"}},
            "route": {"callers": ["here"]},
        },
        records=2,
    ),
    Case("draining", while_draining, fields=("Retry-After: 1",)),
    Case("upstream-broken", script=(reply(407, b"", "Proxy-Authenticate: Basic"),)),
    Case("upstream-broken", script=(reply(426, b"", "Upgrade: TLS/1.2"),)),
    Case("loop-detected", asks("/orders/1", "Via: 1.1 fred, 1.1 oic-gateway")),
    Case("loop-detected", script=(reply(508, b"", "X-Gateway-Error: loop-detected"),)),
    Case("internal", script=(reply(502),), random_fraction=bad_luck),
]


async def produce(case: Case, at: Scene) -> Reply:
    got = await case.do(at)
    if case.code == "internal":
        assert at.gate.problems == ["gateway.forward: the request pipeline failed"]
        at.gate.problems.clear()
    if case.code == "upstream-down":
        assert [problem.partition(";")[0] for problem in at.gate.problems] == [
            "gateway.services: the service does not answer"
        ]
        at.gate.problems.clear()
    return got


def check_reply(case: Case, got: Reply, gate: Gate) -> None:
    status, head, body = got
    expected = BY_CODE[case.code]
    lines = head.decode().split("\r\n")
    document = json.loads(body)
    assert status == expected.status
    assert lines[0].startswith(f"HTTP/1.1 {expected.status} ")
    assert f"X-Gateway-Error: {case.code}" in lines
    assert "Content-Type: application/problem+json" in lines
    assert set(case.fields) <= set(lines)
    assert sum(line.startswith("Date: ") for line in lines) == 1
    sent_id = next(line.removeprefix("X-Request-Id: ") for line in lines if line.startswith("X-Request-Id: "))
    assert document["request_id"] == sent_id == gate.records[-1].request_id
    facts = {"code": case.code, "status": expected.status, "blame": expected.blame, "title": expected.meaning}
    assert document | facts == document
    assert document["remedy"]
    assert "secret" not in body.decode()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.code)
async def test_each_error_has_its_reply_and_its_record(case: Case) -> None:
    async with scene(*case.script, tokens=case.tokens, random_fraction=case.random_fraction, **case.settings) as at:
        got = await produce(case, at)
        check_reply(case, got, at.gate)
        record = (await at.gate.wait_for_records(case.records))[-1]
        assert (record.error, record.status) == (case.code, BY_CODE[case.code].status)
        assert record.bytes_out == len(got[2])
        meter = at.gate.metrics.route("-" if record.route is None else record.route)
        assert [blame for (_, _, blame) in meter.requests][-1:] == [BY_CODE[case.code].blame]


async def test_an_upstream_that_is_not_there_is_tried_twice(closed_port: int) -> None:
    async with scene(route={"upstream": f"http://127.0.0.1:{closed_port}/x"}) as at:
        check_reply(Case("upstream-unreachable"), await at.gate.get(), at.gate)
        [record] = at.gate.records
        assert (record.error, record.attempts) == ("upstream-unreachable", 2)
        assert record.reason is not None
        assert str(record.reason).startswith(f"http://127.0.0.1:{closed_port}: connect: ")


async def test_a_caller_that_hangs_up_is_seen_only_in_the_record() -> None:
    async with scene(silence) as (gate, upstream, _):
        caller = await gate.caller()
        await caller.send(b"GET /orders/1 HTTP/1.1\r\nHost: gw\r\n\r\n")
        await upstream.until(lambda: upstream.connections == 1)
        caller.close()
        [record] = await gate.wait_for_records()
        assert (record.error, record.status) == ("caller-gone", 499)


def test_every_code_is_produced_here() -> None:
    assert {case.code for case in CASES} | {"upstream-unreachable", "caller-gone", "lost"} == set(BY_CODE)


@pytest.mark.parametrize(
    ("fields", "media", "fault"),
    [
        (
            ('SOAPAction: "x"', "Content-Type: text/xml; charset=utf-8"),
            "text/xml; charset=utf-8",
            "http://schemas.xmlsoap.org/soap/envelope/",
        ),
        (
            ("Content-Type: application/soap+xml; action=x",),
            "application/soap+xml; charset=utf-8",
            "http://www.w3.org/2003/05/soap-envelope",
        ),
    ],
    ids=["1.1", "1.2"],
)
async def test_a_soap_caller_gets_a_fault(fields: tuple[str, ...], media: str, fault: str) -> None:
    async with scene(tokens=(refusal("invalid_client", 401),)) as (gate, _, _):
        status, head, body = await gate.post(b"<x/>", *fields)
        assert status == 500
        assert head.startswith(b"HTTP/1.1 500 Internal Server Error\r\n")
        assert f"\r\nContent-Type: {media}\r\n" in head.decode()
        assert b"\r\nX-Gateway-Error: token-refused; status=502\r\n" in head
        assert (gate.records[0].status, gate.records[0].error) == (500, "token-refused")
        assert fault in body.decode()
        assert "<code>token-refused</code>" in body.decode()


async def test_errors_to_head_have_no_body() -> None:
    async with scene() as (gate, _, _):
        caller = await gate.caller()
        await caller.send(b"HEAD /nope HTTP/1.1\r\nHost: gw\r\n\r\nGET /nope HTTP/1.1\r\nHost: gw\r\n\r\n")
        head = await caller.head()
        assert head.startswith(b"HTTP/1.1 404 Not Found\r\n")
        assert b"\r\nContent-Length: 0\r\n" not in head
        assert (await caller.reply())[0] == 404


async def test_an_error_keeps_the_connection_if_the_body_is_read() -> None:
    async with scene() as (gate, _, _):
        caller = await gate.caller()
        await caller.send(b"POST /nope HTTP/1.1\r\nHost: gw\r\nContent-Length: 2\r\n\r\nhi")
        assert b"Connection: close" not in (await caller.reply())[1]
        await caller.send(b"POST /nope HTTP/1.1\r\nHost: gw\r\nContent-Length: 9\r\n\r\nhi")
        _, head, _ = await caller.reply()
        assert b"\r\nConnection: close\r\n" in head
        await caller.send(b" there")  # what is under way is taken, so that no RST overtakes the reply
        caller.writer.write_eof()
        assert await caller.read_to_end() == b""


async def test_a_body_over_the_limit_is_refused_on_the_way() -> None:
    async with scene(route={"replay_limit": "0B"}, limits={"body": "1KiB"}) as (gate, upstream, _):
        caller = await gate.caller()
        await caller.send(b"POST /orders/1 HTTP/1.1\r\nHost: gw\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
        await upstream.until(lambda: upstream.connections == 1)
        await caller.send(b"400\r\n" + b"x" * 1024 + b"\r\n")
        status, head, _ = await caller.reply()
        assert status == 413
        assert b"\r\nConnection: close\r\n" in head
        assert gate.records[0].error == "body-too-large"
        await upstream.until(lambda: upstream.open == 0)
        assert upstream.requests == []


async def test_a_caller_whose_body_stops_coming_can_read_so() -> None:
    async with scene(route={"timeout": {"idle": "50ms"}}) as (gate, upstream, _):
        caller = await gate.caller()
        await caller.send(b"POST /orders/1 HTTP/1.1\r\nHost: gw\r\nContent-Length: 4\r\n\r\nab")
        status, head, body = await caller.reply()
        assert status == 408
        assert b"\r\nConnection: close\r\n" in head
        assert json.loads(body)["detail"] == "The body stopped arriving after 2 of 4 bytes."
        assert await caller.read_to_end() == b""
        [record] = gate.records
        assert (record.error, record.status, record.bytes_in) == ("request-timeout", 408, 2)
        await upstream.until(lambda: upstream.open == 0)


async def test_a_waiter_gets_the_connection_that_becomes_free() -> None:
    free = asyncio.Event()

    async def later(peer: ScriptedConnection) -> None:
        for _ in range(2):
            await peer.request()
            await free.wait()
            await peer.send(reply(200, b"done"))

    async with scene(later, pool={"size": 1}) as (gate, upstream, _):
        calls = [asyncio.create_task(gate.get()) for _ in range(2)]
        await upstream.until(lambda: upstream.connections == 1)
        free.set()
        assert [got[2] for got in await asyncio.gather(*calls)] == [b"done"] * 2
        assert upstream.connections == 1


@pytest.mark.parametrize(
    ("line", "space"),
    [
        ("SOAPAction: run", "http://schemas.xmlsoap.org/soap/envelope/"),
        ("content-type: application/soap+xml; action=run", "http://www.w3.org/2003/05/soap-envelope"),
    ],
)
@pytest.mark.parametrize("excess", ["target", "field"])
async def test_a_soap_caller_gets_a_fault_for_a_malformed_head(line: str, space: str, excess: str) -> None:
    target, field = ("x" * 9000, "1") if excess == "target" else ("x", "1" * 17_000)
    async with scene() as at:
        status, head, body = await at.gate.call(
            f"POST /orders/{target} HTTP/1.1\r\nHost: localhost\r\n{line}\r\nX-Long: {field}\r\n\r\n".encode()
        )
        real = 414 if excess == "target" else 431
        assert status == (400 if "2003" in space else 500)
        assert f"; status={real}\r\n".encode() in head
        assert space.encode() in body


@pytest.mark.parametrize(
    ("base", "media"), [("/ic/ws/integration/v1/flows/soap/X/1.0", "text/xml"), ("/ic/x", "application/problem+json")]
)
async def test_a_soap_trigger_answers_xml_with_a_fault(base: str, media: str) -> None:
    async with scene(base=base, route={"methods": ["GET"]}) as at:
        status, head, _ = await at.gate.post(b"<x/>", "Content-Type: text/xml; charset=utf-8")
        assert status == (500 if media == "text/xml" else 405)
        assert f"Content-Type: {media}".encode() in head
