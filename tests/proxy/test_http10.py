"""Callers that speak HTTP/1.0: answered in HTTP/1.1, without chunks; their connection stays only when they ask."""

import pytest

from tests.fakes.gate import scene
from tests.fakes.upstream import ScriptedConnection, reply

CHUNKED = reply(200, b"", "Transfer-Encoding: chunked", length=False) + b"2\r\nhi\r\n0\r\n\r\n"


async def test_no_host_is_needed_and_the_connection_closes() -> None:
    async with scene() as (gate, upstream, _):
        caller = await gate.caller()
        await caller.send(b"GET /orders/1 HTTP/1.0\r\n\r\n")
        status, head, body = await caller.reply()
        assert (status, body) == (200, b"ok")
        assert head.startswith(b"HTTP/1.1 200 ")
        assert b"\r\nConnection: close\r\n" in head
        assert await caller.read_to_end() == b""
        assert upstream.requests[0].line == "GET /ic/x/1 HTTP/1.1"


async def test_it_stays_when_asked() -> None:
    async with scene() as (gate, _, _):
        caller = await gate.caller()
        for _ in range(2):
            await caller.send(b"GET /orders/1 HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n")
            _, head, body = await caller.reply()
            assert body == b"ok"
            assert b"\r\nConnection: keep-alive\r\n" in head


@pytest.mark.parametrize("asks", [b"", b"Connection: keep-alive\r\n"])
async def test_a_reply_of_unknown_length_ends_with_the_connection(asks: bytes) -> None:
    async with scene(CHUNKED) as (gate, _, _):
        caller = await gate.caller()
        await caller.send(b"GET /orders/1 HTTP/1.0\r\n" + asks + b"\r\n")
        head = await caller.head()
        assert b"Transfer-Encoding" not in head
        assert b"Content-Length" not in head
        assert b"\r\nConnection: close\r\n" in head
        assert await caller.reader.read() == b"hi"  # a clean end, no reset


async def test_a_broken_reply_of_unknown_length_ends_with_a_reset() -> None:
    async def break_off(peer: ScriptedConnection) -> None:
        await peer.request()
        await peer.send(CHUNKED.removesuffix(b"0\r\n\r\n"))
        await gate_has_begun.readexactly(10)
        peer.reset()

    async with scene(break_off) as (gate, _, _):
        caller = await gate.caller()
        gate_has_begun = caller.reader
        await caller.send(b"GET /orders/1 HTTP/1.0\r\n\r\n")
        assert (await gate.wait_for_records())[0].error == "upstream-broken"
        with pytest.raises(ConnectionResetError):
            await caller.reader.read()


async def test_a_body_with_a_length_goes_through() -> None:
    async with scene() as (gate, upstream, _):
        status, _, _ = await gate.call(b"POST /orders/1 HTTP/1.0\r\nContent-Length: 5\r\n\r\nhello")
        assert status == 200
        assert upstream.requests[0].body == b"hello"


async def test_http10_gets_no_100_continue() -> None:
    async with scene(route={"replay_limit": "0B"}) as (gate, upstream, _):
        caller = await gate.caller()
        await caller.send(b"POST /orders/1 HTTP/1.0\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
        await upstream.until(lambda: upstream.connections == 1)
        await caller.send(b"hi")
        assert (await caller.reply())[0] == 200


async def test_chunks_are_no_part_of_http_10() -> None:
    async with scene() as (gate, upstream, _):
        status, _, _ = await gate.call(
            b"POST /orders/1 HTTP/1.0\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
        )
        assert status == 400
        assert upstream.connections == 0


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
async def test_a_body_needs_a_length(method: str) -> None:
    async with scene() as (gate, upstream, _):
        status, head, body = await gate.call(f"{method} /orders/1 HTTP/1.0\r\n\r\nhello".encode())
        assert status == 400
        assert b"\r\nConnection: close\r\n" in head
        assert f"An HTTP/1.0 {method} needs a Content-Length" in body.decode()
        assert upstream.connections == 0
        [record] = gate.records
        assert (record.route, record.path) == (None, "/orders/1")
        assert "Content-Length" in str(record.reason)


async def test_errors_are_answered_in_http_1_1_too() -> None:
    async with scene() as (gate, _, _):
        status, head, _ = await gate.call(b"GET /nope HTTP/1.0\r\n\r\n")
        assert status == 404
        assert head.startswith(b"HTTP/1.1 404 ")
        assert b"\r\nConnection: close\r\n" in head
