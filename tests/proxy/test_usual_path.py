"""A call is served the same whether one callback leads to the next, or something has to wait."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.http.caller_connection import CallerConnection
from tests.fakes.gate import Gate, scene, until
from tests.fakes.identity import token
from tests.fakes.upstream import Request, ScriptedConnection, reply

TIMES = frozenset({"time", "duration_ms", "upstream_ms", "token_wait_ms", "queue_ms"})
DATE = re.compile(rb"(?<=Date: )\w{3}, [^\r]*")
PORT = re.compile(rb"(?<=Host: 127\.0\.0\.1):\d+")
NAMES = st.sampled_from(["Accept", "X-Tenant", "Cookie", "Accept-Encoding", "User-Agent", "TE", "x-api-key", "Via"])
VALUES = st.sampled_from(["a", "gzip, br", "1.1 somewhere", "x y z", "*/*", "u" * 300])
FIELDS = st.lists(st.tuples(NAMES, VALUES).map(": ".join), max_size=5)
RESPONSE_NAMES = st.sampled_from(
    ["ETag", "Set-Cookie", "Link", "x-oracle-ics-instance-id", "Connection", "X-A", "Digest"]
)
RESPONSE_VALUES = st.sampled_from(
    ['"tag"', "a=b", "close", "keep-alive", "</ic/x/2>; rel=next", "lJrSjUUVEfGXW0tyvl-GZA"]
)
RESPONSE_FIELDS = st.lists(st.tuples(RESPONSE_NAMES, RESPONSE_VALUES).map(": ".join), max_size=5)
BODIES = st.sampled_from(
    [b"", b"x", b'{"a": 1}', b'{"oicInstanceId": "abc"}', b"<a>b</a>" * 300, b'{"self": "http://127.0.0.1/ic/x/1"}']
)
TYPES = st.sampled_from(["application/json", "text/plain", "application/xml"])
STATUSES = st.sampled_from([200, 200, 200, 201, 204, 304, 400, 404, 500, 503])
TARGETS = st.sampled_from(
    ["/orders/1", "/orders/", "/orders/1?a=b&c=%2f", "/orders/a%20b", "/other", "/orders/../x", "*"]
)

Prepare = Callable[[Gate], Awaitable[None]]


async def no_token(gate: Gate) -> None:
    """Have the call wait for its token."""
    gate.route.token_source._token = None


async def no_connection(gate: Gate) -> None:
    """Have the call wait for a connection."""
    while gate.pool.close_longest_idle():
        pass


async def all_ready(_: Gate) -> None:
    """Have nothing wait."""


class Outcome(msgspec.Struct):
    """All that can be seen of one call."""

    sent: list[tuple[bytes, bytes]]
    received: bytes
    record: dict[str, Any]
    metrics: list[Any]


async def play(request: list[bytes], response: list[bytes], prepare: Prepare = all_ready) -> Outcome:
    """Make one call whose bytes come in these parts."""
    seen: list[Request] = []

    async def answer(talk: ScriptedConnection) -> None:
        seen.append(await talk.request())
        for part in response:
            await talk.send(part)
            await asyncio.sleep(0.001 if len(response) > 1 else 0)

    async with scene(reply(200, b"ok"), answer, answer, tokens=(token("one"), token("one"))) as at:
        await at.gate.get()
        await prepare(at.gate)
        caller = await at.gate.caller()
        for part in request:
            await caller.send(part)
            await asyncio.sleep(0.001 if len(request) > 1 else 0)
        received = await caller.read_to_end()
        record = (await at.gate.wait_for_records(2))[1]
        meter = at.gate.route.meter
        return Outcome(
            [(PORT.sub(b"", each.head), each.body) for each in seen],
            DATE.sub(b"", received),
            {name: value for name, value in msgspec.structs.asdict(record).items() if name not in TIMES},
            [meter.requests, meter.bytes_in, meter.bytes_out, meter.with_id, meter.without_id, meter.messages],
        )


def halves(data: bytes, at: int) -> list[bytes]:
    cut = at % (len(data) or 1)
    return [part for part in (data[:cut], data[cut:]) if part]


@settings(max_examples=12, deadline=None)
@given(
    method=st.sampled_from(["GET", "POST", "HEAD", "PUT", "OPTIONS", "DELETE"]),
    target=TARGETS,
    fields=FIELDS,
    body=BODIES,
    status=STATUSES,
    response_fields=RESPONSE_FIELDS,
    response_type=TYPES,
    response_body=BODIES,
    cut=st.integers(1, 2000),
)
async def test_calls_that_wait_are_served_as_those_that_do_not(  # noqa: PLR0917 - one draw each
    method: str,
    target: str,
    fields: list[str],
    body: bytes,
    status: int,
    response_fields: list[str],
    response_type: str,
    response_body: bytes,
    cut: int,
) -> None:
    lines = [f"{method} {target} HTTP/1.1", "Host: gw", "Connection: close", "X-Request-Id: r", *fields]
    request = "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode() + body
    sent_body = b"" if status in {204, 304} or method == "HEAD" else response_body
    head = [f"HTTP/1.1 {status} X", "Date: today", f"Content-Type: {response_type}", *response_fields]
    length = [] if status in {204, 304} else [f"Content-Length: {len(response_body)}"]
    response = "\r\n".join([*head, *length, "", ""]).encode() + sent_body
    # An instance id in a body is copied to the head only if the first piece of the body has it.
    uncut = len(sent_body) if b"InstanceId" in sent_body else 0
    usual = await play([request], [response])
    for outcome in (
        await play(halves(request, cut), [response]),
        await play([request[: -len(body)], body] if body else [request], [response]),
        await play([request], halves(response, cut % (len(response) - uncut + 1))),
        await play([request], [response], no_token),
        await play([request], [response], no_connection),
    ):
        assert msgspec.structs.asdict(outcome) == msgspec.structs.asdict(usual)


async def test_a_usual_call_needs_no_task() -> None:
    tasks: list[object] = []
    async with scene(reply(200, b"ok"), reply(200, b"ok"), reply(200, b"ok")) as at:
        caller = await at.gate.caller()
        get = b"GET /orders/1 HTTP/1.1\r\nHost: gw\r\n\r\n"
        post = b"POST /orders/1 HTTP/1.1\r\nHost: gw\r\nContent-Length: 2\r\n\r\nhi"
        for data in (get, get, post):
            await caller.send(data)
            assert (await caller.reply())[0] == 200
            await until(lambda: not connection_of(at.gate).is_serving)
            tasks.append(connection_of(at.gate).handler_task.task)
    assert tasks[0] is not None  # it fetched the token
    assert tasks[1:] == [None, None]


def connection_of(gate: Gate) -> CallerConnection:
    [connection] = gate.server.connections
    return connection
