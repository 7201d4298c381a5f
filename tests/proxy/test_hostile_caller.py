"""Callers that break HTTP, by mistake or to smuggle a request: one error response, then nothing more is read."""

import asyncio
import json

import pytest

from tests.fakes.gate import Gate, scene
from tests.fakes.upstream import ScriptedConnection, reply

HEAD = b"POST /orders/1 HTTP/1.1\r\nHost: gw\r\n"
SMUGGLED = b"GET /orders/smuggled HTTP/1.1\r\nHost: gw\r\n\r\n"

MALFORMED = {
    "not http": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    "HTTP/0.9": b"GET /orders/1\r\n\r\n",
    "HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "HTTP/2.0": b"GET /orders/1 HTTP/2.0\r\nHost: gw\r\n\r\n",
    "HTTP/1.2": b"GET /orders/1 HTTP/1.2\r\nHost: gw\r\n\r\n",
    "lower-case version": b"GET /orders/1 http/1.1\r\nHost: gw\r\n\r\n",
    "no method": b"BR(W /orders/1 HTTP/1.1\r\nHost: gw\r\n\r\n",
    "tab in the line": b"GET\t/orders/1 HTTP/1.1\r\nHost: gw\r\n\r\n",
    "two blanks in the line": b"GET  /orders/1 HTTP/1.1\r\nHost: gw\r\n\r\n",
    "only bare LF": b"GET /orders/1 HTTP/1.1\nHost: gw\n\n",
    "blank in the target": b"GET /orders/1 2 HTTP/1.1\r\nHost: gw\r\n\r\n",
    "raw byte in the target": b"GET /orders/\xe9 HTTP/1.1\r\nHost: gw\r\n\r\n",
    "NUL in the target": b"GET /orders/\0 HTTP/1.1\r\nHost: gw\r\n\r\n",
    "relative target": b"GET orders/1 HTTP/1.1\r\nHost: gw\r\n\r\n",
    "no Host": b"GET /orders/1 HTTP/1.1\r\n\r\n",
    "two Hosts": b"GET /orders/1 HTTP/1.1\r\nHost: gw\r\nHost: gw\r\n\r\n",
    "empty Host": b"GET /orders/1 HTTP/1.1\r\nHost:\r\n\r\n",
    "Host with a path": b"GET /orders/1 HTTP/1.1\r\nHost: gw/x\r\n\r\n",
    "Host with a user": b"GET /orders/1 HTTP/1.1\r\nHost: me@gw\r\n\r\n",
    "two Hosts in one": b"GET /orders/1 HTTP/1.1\r\nHost: gw, gw\r\n\r\n",
    "bare LF in the line": b"GET /orders/1 HTTP/1.1\nHost: gw\r\n\r\n",
    "bare LF in the fields": b"GET /orders/1 HTTP/1.1\r\nHost: gw\nX: 1\r\n\r\n",
    "bare CR": b"GET /orders/1 HTTP/1.1\r\nHost: gw\rX: 1\r\n\r\n",
    "folded field": b"GET /orders/1 HTTP/1.1\r\nHost: gw\r\nX: 1\r\n 2\r\n\r\n",
    "blank before the colon": b"GET /orders/1 HTTP/1.1\r\nHost: gw\r\nX : 1\r\n\r\n",
    "blank before a field": b"GET /orders/1 HTTP/1.1\r\n Host: gw\r\n\r\n",
    "no colon": b"GET /orders/1 HTTP/1.1\r\nHost: gw\r\nX\r\n\r\n",
    "empty name": b"GET /orders/1 HTTP/1.1\r\nHost: gw\r\n: x\r\n\r\n",
    "NUL in a value": b"GET /orders/1 HTTP/1.1\r\nHost: gw\r\nX: a\0b\r\n\r\n",
    "NUL in a name": b"GET /orders/1 HTTP/1.1\r\nHost: gw\r\nX\0: ab\r\n\r\n",
    "two lengths": HEAD + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nhi" + SMUGGLED,
    "the same length twice": HEAD + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\nhi" + SMUGGLED,
    "list of lengths": HEAD + b"Content-Length: 2, 2\r\n\r\nhi" + SMUGGLED,
    "negative length": HEAD + b"Content-Length: -2\r\n\r\nhi" + SMUGGLED,
    "signed length": HEAD + b"Content-Length: +2\r\n\r\nhi" + SMUGGLED,
    "hexadecimal length": HEAD + b"Content-Length: 0x2\r\n\r\nhi" + SMUGGLED,
    "endless length": HEAD + b"Content-Length: 99999999999999999999999\r\n\r\nhi",
    "empty length": HEAD + b"Content-Length:\r\n\r\n" + SMUGGLED,
    "length and chunks": HEAD + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "chunks and length": HEAD + b"Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "gzip, chunked": HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "chunked, gzip": HEAD + b"Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
    "identity": HEAD + b"Transfer-Encoding: identity\r\n\r\n" + SMUGGLED,
    "xchunked": HEAD + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "chunked twice": HEAD + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "chunked by tab": HEAD + b"Transfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "chunks in HTTP/1.0": b"POST /orders/1 HTTP/1.0\r\nHost: gw\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    + SMUGGLED,
    "chunked behind nothing": HEAD + b"Transfer-Encoding:\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "bad trailer": HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\nX : 1\r\n\r\n" + SMUGGLED,
    "bad chunk at once": HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nhi\r\n0\r\n\r\n",
    "upgrade": b"GET /orders/1 HTTP/1.1\r\nHost: gw\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n" + SMUGGLED,
}


async def check_told(gate: Gate, got: tuple[int, bytes, bytes], code: str = "bad-request") -> None:
    status, head, body = got
    assert 400 <= status < 500
    assert b"\r\nContent-Type: application/problem+json\r\n" in head
    assert b"\r\nConnection: close\r\n" in head
    assert json.loads(body)["code"] == code
    [record] = await gate.wait_for_records()
    assert (record.error, record.status, record.client) == (code, status, "127.0.0.1")


@pytest.mark.parametrize("data", MALFORMED.values(), ids=MALFORMED.keys())
async def test_what_is_malformed_is_refused_once_and_sent_nowhere(data: bytes) -> None:
    async with scene() as (gate, upstream, identity):
        caller = await gate.caller()
        await caller.send(data)
        await check_told(gate, await caller.reply())
        assert await caller.read_to_end() == b""
        assert (upstream.connections, identity.requests) == (0, [])
        assert len(gate.records) == 1


@pytest.mark.parametrize("data", [data for name, data in MALFORMED.items() if name != "not http"][::4])
async def test_byte_by_byte_it_is_the_same(data: bytes) -> None:
    async with scene() as (gate, upstream, _):
        caller = await gate.caller()
        for at in range(len(data)):
            await caller.send(data[at : at + 1])
            await asyncio.sleep(0)
        await check_told(gate, await caller.reply())
        assert upstream.requests == []


@pytest.mark.parametrize(
    ("data", "status", "code"),
    [
        (b"GET /orders/%b HTTP/1.1\r\nHost: gw\r\n\r\n" % (b"x" * 9000), 414, "uri-too-long"),
        (b"GET /orders/1 HTTP/1.1\r\nHost: gw\r\nX: %b\r\n\r\n" % (b"x" * 17_000), 431, "headers-too-large"),
        (b"GET /orders/1 HTTP/1.1\r\nHost: gw\r\n%b: x\r\n\r\n" % (b"x" * 17_000), 431, "headers-too-large"),
        (b"GET /orders/1 HTTP/1.1\r\nHost: gw\r\n%b\r\n" % (b"X: 1\r\n" * 128), 431, "headers-too-large"),
    ],
    ids=["target", "value", "name", "count"],
)
async def test_what_is_too_large_is_refused(data: bytes, status: int, code: str) -> None:
    async with scene() as (gate, upstream, _):
        caller = await gate.caller()
        await caller.send(data)
        got = await caller.reply()
        assert got[0] == status
        await check_told(gate, got, code)
        assert await caller.read_to_end() == b""
        assert upstream.connections == 0


async def test_what_is_just_not_too_large_passes() -> None:
    async with scene() as (gate, upstream, _):
        fields = [f"X-{n}: 1" for n in range(126)]
        status, _, _ = await gate.get("/orders/" + "x" * 8000, "X-Long: " + "x" * 16_000, *fields)
        assert status == 200
        assert upstream.requests[0].field("X-125") == "1"


async def test_equal_limits_still_distinguish_target_and_field() -> None:
    async with scene(limits={"uri": "8KiB", "field": "8KiB"}) as (gate, _, _):
        assert (await gate.get("/orders/" + "x" * 9000))[0] == 414
        assert (await gate.get("/orders/1", "X: " + "x" * 9000))[0] == 431


async def test_a_bad_chunk_in_mid_body_ends_the_exchange_at_once() -> None:
    async with scene(route={"replay_limit": "0B"}) as (gate, upstream, _):
        caller = await gate.caller()
        await caller.send(HEAD + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
        await upstream.until(lambda: upstream.connections == 1)
        await caller.send(b"zz\r\nhi\r\n")
        await check_told(gate, await caller.reply())
        assert await caller.read_to_end() == b""
        await upstream.until(lambda: upstream.open == 0)
        assert upstream.requests == []
        assert len(gate.records) == 1


async def test_an_unknown_method_is_no_breach_of_http() -> None:
    async with scene() as (gate, upstream, _):
        caller = await gate.caller()
        for method, status in ((b"BREW", 405), (b"get", 405), (b"GET", 200)):
            await caller.send(method + b" /orders/1 HTTP/1.1\r\nHost: gw\r\n\r\n")
            assert (await caller.reply())[0] == status
        assert len(upstream.requests) == 1


async def test_nothing_is_read_after_a_failed_expectation() -> None:
    async with scene() as (gate, upstream, _):
        caller = await gate.caller()
        await caller.send(HEAD + b"Expect: a-miracle\r\nContent-Length: %d\r\n\r\n" % len(SMUGGLED) + SMUGGLED)
        await check_told(gate, await caller.reply(), "expectation-failed")
        assert await caller.read_to_end() == b""
        assert upstream.connections == 0


async def test_a_bad_chunk_of_a_pipelined_request_fails_in_its_turn() -> None:
    go_on = asyncio.Event()

    async def slow(peer: ScriptedConnection) -> None:
        await peer.request()
        await go_on.wait()
        await peer.send(reply(200, b"first"))
        await peer.reader.read()

    async with scene(slow) as (gate, upstream, _):
        caller = await gate.caller()
        await caller.send(b"GET /orders/1 HTTP/1.1\r\nHost: gw\r\n\r\n")
        await upstream.until(lambda: upstream.connections == 1)
        await caller.send(HEAD + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
        await asyncio.sleep(0)
        await caller.send(b"zz\r\nhi\r\n")
        await gate_has_read(gate)
        go_on.set()
        assert (await caller.reply())[2] == b"first"
        assert (await caller.reply())[0] == 400
        assert await caller.read_to_end() == b""
        assert [record.status for record in await gate.wait_for_records(2)] == [200, 400]


async def gate_has_read(gate: Gate) -> None:
    """The caller's bytes are in: a call of another connection, made after them, was answered."""
    await gate.get("/nope")
    gate.records.clear()


async def test_garbage_behind_a_request_fails_after_its_response() -> None:
    async with scene() as (gate, _, _):
        caller = await gate.caller()
        await caller.send(b"GET /orders/1 HTTP/1.1\r\nHost: gw\r\n\r\n")
        assert (await caller.reply())[0] == 200
        await caller.send(b"\0garbage\r\n\r\n")
        assert (await caller.reply())[0] == 400
        assert await caller.read_to_end() == b""
        assert [record.status for record in gate.records] == [200, 400]


@pytest.mark.parametrize(
    "message",
    [
        HEAD + "Content-Length: 7\r\n\r\n<a>ü</a>".encode(),
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n7\r\n<a>\xc3\xbc</\r\n0\r\n\r\na>",
        HEAD.replace(b"/orders/1", b"/nope") + "Content-Length: 7\r\n\r\n<a>ü</a>".encode(),
        HEAD + b"\r\na>",
    ],
    ids=["length", "chunks", "refused", "no length"],
)
async def test_bytes_behind_a_body_are_recorded_and_not_answered(message: bytes) -> None:
    async with scene() as (gate, _, _):
        caller = await gate.caller()
        await caller.send(message)
        _, head, _ = await caller.reply()
        assert b"\r\nConnection: close\r\n" in head
        assert await caller.read_to_end() == b""
        [record] = gate.records
        assert record.reason == "2 bytes after the body"


@pytest.mark.parametrize("framing", [b"Content-Length: 9\r\n\r\nabc", b"Transfer-Encoding: chunked\r\n\r\n9\r\nabc"])
async def test_a_body_that_ends_too_soon_is_no_body(framing: bytes) -> None:
    async with scene(route={"replay_limit": "0B"}) as (gate, upstream, _):
        caller = await gate.caller()
        await caller.send(HEAD + framing)
        await upstream.until(lambda: upstream.connections == 1)
        caller.close()
        [record] = await gate.wait_for_records()
        assert (record.error, record.bytes_in) == ("caller-gone", 3)
        await upstream.until(lambda: upstream.open == 0)
        assert upstream.requests == []


async def test_an_endless_field_is_refused_while_it_comes() -> None:
    async with scene() as (gate, upstream, _):
        caller = await gate.caller()
        await caller.send(b"GET /orders/1 HTTP/1.1\r\nHost: gw\r\nX: ")
        while not gate.records:
            await caller.send(b"x" * 65536)
        await caller.send(b"x" * 65536)
        assert (await caller.reply())[0] == 431
        assert await caller.read_to_end() == b""
        assert upstream.connections == 0


async def test_one_empty_line_before_each_request_is_passed_over() -> None:
    async with scene() as (gate, _, _):  # RFC 9112 §2.2
        caller = await gate.caller()
        await caller.send(b"\r\nGET /orders/1 HTTP/1.1\r\nHost: gw\r\n\r\n" * 2)
        for _ in range(2):
            assert (await caller.reply())[0] == 200
        for part in (b"\r", b"\nGET /orders/1 HTTP/1.1\r\nHost: gw\r\n\r\n"):
            await caller.send(part)
            await asyncio.sleep(0)
        assert (await caller.reply())[0] == 200


async def test_fields_that_would_be_believed_stay_behind() -> None:
    hop = ("Authorization: Basic eDp5", "Cookie: a=b", "Proxy-Authorization: x", "X-Forwarded-For: 1.2.3.4")
    named = ("Forwarded: for=1.2.3.4", "Connection: X-Mine, keep-alive", "X-Mine: 1", "TE: trailers", "Keep-Alive: 5")
    async with scene() as (gate, upstream, _):
        await gate.get("/orders/1", *hop, *named, "X-Yours: 2")
        names = [name for name, _ in upstream.requests[0].fields]
        assert names == ["Host", "X-Yours", "Via", "X-Request-Id", "Authorization"]
        assert upstream.requests[0].field("Authorization") == "Bearer token-1"
