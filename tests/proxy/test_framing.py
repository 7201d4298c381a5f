"""How messages are delimited on both wires: lengths, chunks, HEAD, 204, 304, Expect."""

import asyncio

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fakes.gate import scene
from tests.fakes.identity import token
from tests.fakes.upstream import OK, ScriptedConnection, reply

CHUNKED = reply(200, b"", "Transfer-Encoding: chunked", length=False)


async def test_chunks_of_a_request_arrive_as_one_body() -> None:
    async with scene(route={"replay_limit": "0B"}) as (gate, upstream, _):
        caller = await gate.caller()
        await caller.send(b"POST /orders/1 HTTP/1.1\r\nHost: gw\r\nTransfer-Encoding: chunked\r\nTrailer: X-T\r\n\r\n")
        await caller.send(b"3;ext=1\r\nabc\r\n")
        await upstream.until(lambda: upstream.connections == 1)
        await caller.send(b"002\r\nde\r\n0\r\nX-T: 1\r\n\r\n")
        assert (await caller.reply())[0] == 200
        [request] = upstream.requests
        assert request.body == b"abcde"
        assert request.field("Transfer-Encoding") == "chunked"
        assert request.field("Content-Length") is None
        assert request.field("Trailer") is None
        assert gate.records[0].bytes_in == 5


@pytest.mark.parametrize(
    ("method", "length"), [("GET", None), ("DELETE", None), ("OPTIONS", None), ("POST", "0"), ("PUT", "0")]
)
async def test_a_request_without_a_body_stays_without(method: str, length: str | None) -> None:
    async with scene() as (gate, upstream, _):
        await gate.get(method=method)
        assert upstream.requests[0].field("Content-Length") == length


@pytest.mark.parametrize("framing", [b"Content-Length: 0\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"])
async def test_an_empty_body_is_a_body(framing: bytes) -> None:
    async with scene() as (gate, upstream, _):
        caller = await gate.caller()
        for _ in range(2):
            await caller.send(b"GET /orders/1 HTTP/1.1\r\nHost: gw\r\n" + framing)
            assert (await caller.reply())[0] == 200
        assert [request.body for request in upstream.requests] == [b"", b""]
        assert upstream.connections == 1


async def test_chunks_of_a_reply_arrive_as_one_body() -> None:
    async with scene(CHUNKED + b"3\r\nabc\r\n2\r\nde\r\n0\r\nX-T: 1\r\n\r\n") as (gate, upstream, _):
        status, head, body = await gate.get()
        assert (status, body) == (200, b"abcde")
        assert head.count(b"\r\nTransfer-Encoding: chunked\r\n") == 1
        assert gate.records[0].bytes_out == 5
        assert (await gate.get())[2] == b"ok"
        assert upstream.connections == 1


async def test_a_close_delimited_response_is_chunked_to_the_caller() -> None:
    async def until_the_end(peer: ScriptedConnection) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\n\r\nall of ")
        await peer.send(b"it")

    async with scene(until_the_end) as (gate, upstream, _):
        caller = await gate.caller()
        for expected in (b"all of it", b"ok"):
            await caller.send(b"GET /orders/1 HTTP/1.1\r\nHost: gw\r\n\r\n")
            assert (await caller.reply())[2] == expected
        assert upstream.connections == 2


@pytest.mark.parametrize(
    ("response", "is_reused"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi", False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi", False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\nhi", True),
    ],
)
async def test_a_connection_is_kept_if_the_upstream_keeps_it(response: bytes, *, is_reused: bool) -> None:
    async with scene(response) as (gate, _, _):
        assert (await gate.get())[2] == b"hi"
        await gate.wait_for_records()
        assert gate.pool.count_by_state()["idle"] == is_reused


@pytest.mark.parametrize(
    ("response", "expected"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n", b"\r\nContent-Length: 1000\r\n"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b""),
        (b"HTTP/1.1 200 OK\r\n\r\n", b""),
    ],
    ids=["length", "chunked", "unknown"],
)
async def test_head_has_no_body_whatever_its_fields_say(response: bytes, expected: bytes) -> None:
    async with scene(response, reply(200, b"next")) as (gate, upstream, _):
        caller = await gate.caller()
        await caller.send(b"HEAD /orders/1 HTTP/1.1\r\nHost: gw\r\n\r\n")
        head = await caller.head()
        assert expected in head
        assert b"Transfer-Encoding" not in head
        await caller.send(b"GET /orders/1 HTTP/1.1\r\nHost: gw\r\n\r\n")
        assert (await caller.reply())[2] == b"next"
        assert upstream.connections == 1
        assert gate.records[0].bytes_out == 0


@pytest.mark.parametrize(
    ("response", "expected"),
    [
        (b"HTTP/1.1 204 No Content\r\n\r\n", b""),
        (b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", b""),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 77\r\nETag: x\r\n\r\n", b""),
        (b"HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n", b""),
        (b"HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n", b""),
    ],
)
async def test_204_and_304_have_no_body(response: bytes, expected: bytes) -> None:
    async with scene(response) as (gate, _, _):
        caller = await gate.caller()
        await caller.send(b"GET /orders/1 HTTP/1.1\r\nHost: gw\r\n\r\n")
        head = await caller.head()
        assert expected in head
        assert (b"Content-Length" in head) is bool(expected)
        assert b"Transfer-Encoding" not in head
        await caller.send(b"GET /orders/1 HTTP/1.1\r\nHost: gw\r\n\r\n")
        assert (await caller.reply())[2] == b"ok"


async def test_a_304_keeps_its_length_where_nothing_is_rewritten() -> None:
    async with scene(b"HTTP/1.1 304 Not Modified\r\nContent-Length: 77\r\n\r\n", route={"rewrite": []}) as at:
        _, head, _ = await at.gate.get()
        assert b"\r\nContent-Length: 77\r\n" in head


async def test_interim_replies_are_swallowed() -> None:
    response = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n"
    async with scene(response + OK) as (gate, _, _):
        status, head, body = await gate.get()
        assert (status, body) == (200, b"ok")
        assert b"Link" not in head


async def test_a_waiting_caller_is_invited_once_the_way_is_open() -> None:
    minted = asyncio.Event()
    async with scene(route={"replay_limit": "0B"}, tokens=(token("late").behind(minted),)) as (
        gate,
        upstream,
        identity,
    ):
        caller = await gate.caller()
        await caller.send(b"POST /orders/1 HTTP/1.1\r\nHost: gw\r\nContent-Length: 2\r\nExpect: 100-Continue\r\n\r\n")
        await identity.wait_for_requests(1)
        invited = asyncio.create_task(caller.head())
        assert upstream.connections == 0
        assert not invited.done()
        minted.set()
        assert await invited == b"HTTP/1.1 100 Continue\r\n\r\n"
        assert upstream.connections == 1
        await caller.send(b"hi")
        assert (await caller.reply())[0] == 200
        assert upstream.requests[0].body == b"hi"
        assert upstream.requests[0].field("Expect") is None


async def test_no_100_continue_without_expect() -> None:
    async with scene() as (gate, _, _):
        assert (await gate.post(b"hi", "Expect: 100-continue"))[0] == 200


@pytest.mark.parametrize("target", ["/nope", "/orders/../1"])
async def test_no_100_continue_before_an_error(target: str) -> None:
    async with scene() as (gate, upstream, _):
        caller = await gate.caller()
        await caller.send(
            f"POST {target} HTTP/1.1\r\nHost: gw\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n".encode()
        )
        status, head, _ = await caller.reply()
        assert status in {400, 404}
        assert b"\r\nConnection: close\r\n" in head
        assert upstream.connections == 0


async def test_a_refusal_after_the_invitation_is_a_reply_of_its_own() -> None:
    async with scene(limits={"body": "1KiB"}) as (gate, _, _):
        caller = await gate.caller()
        await caller.send(
            b"POST /orders/1 HTTP/1.1\r\nHost: gw\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n"
        )
        assert (await caller.reply())[0] == 100
        await caller.send(b"800\r\n" + b"x" * 2048 + b"\r\n")
        assert (await caller.reply())[0] == 413


async def test_a_retry_sends_no_second_100_continue() -> None:
    async with scene(reply(401)) as (gate, upstream, _):
        caller = await gate.caller()
        await caller.send(b"POST /orders/1 HTTP/1.1\r\nHost: gw\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
        assert (await caller.reply())[0] == 100
        await caller.send(b"hi")
        assert (await caller.reply())[0] == 200
        assert [request.body for request in upstream.requests] == [b"hi", b"hi"]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sizes=st.lists(st.integers(1, 3000), max_size=8), chunked=st.booleans(), cuts=st.lists(st.integers(1, 5000)))
async def test_any_splitting_of_a_request_arrives_the_same(sizes: list[int], cuts: list[int], *, chunked: bool) -> None:
    pieces = [bytes([65 + at]) * size for at, size in enumerate(sizes)]
    body = b"".join(pieces)
    framing = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {len(body)}"
    wire = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n" if chunked else body
    data = f"POST /orders/1 HTTP/1.1\r\nHost: gw\r\n{framing}\r\n\r\n".encode() + wire
    async with scene() as (gate, upstream, _):
        caller = await gate.caller()
        for part in split(data, cuts):
            await caller.send(part)
            await breath()
        assert (await caller.reply())[0] == 200
        assert upstream.requests[0].body == body
        [record] = await gate.wait_for_records()
        assert record.bytes_in == len(body)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sizes=st.lists(st.integers(1, 3000), max_size=8), chunked=st.booleans(), cuts=st.lists(st.integers(1, 5000)))
async def test_any_splitting_of_a_reply_arrives_the_same(sizes: list[int], cuts: list[int], *, chunked: bool) -> None:
    pieces = [bytes([65 + at]) * size for at, size in enumerate(sizes)]
    body = b"".join(pieces)
    if chunked:
        wire = CHUNKED + b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
    else:
        wire = reply(200, body)

    async def in_parts(peer: ScriptedConnection) -> None:
        await peer.request()
        for part in split(wire, cuts):
            await peer.send(part)
            await breath()
        await peer.request()

    async with scene(in_parts) as (gate, _, _):
        assert (await gate.get())[::2] == (200, body)
        assert gate.pool.count_by_state()["idle"] == 1


def split(data: bytes, cuts: list[int]) -> list[bytes]:
    parts = []
    for cut in cuts:
        parts.append(data[:cut])
        data = data[cut:]
    return [part for part in [*parts, data] if part]


async def breath() -> None:
    """Lets the loop deliver what was written: a part is then usually read by itself."""
    for _ in range(2):
        await asyncio.sleep(0)
