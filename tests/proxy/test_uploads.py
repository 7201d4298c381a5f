"""Slow callers: what their bodies hold meanwhile, how long they may take, and that others do not wait for them."""

import asyncio

import pytest

from gateway.http import request_body as bodies
from tests.fakes.gate import Caller, Gate, config, scene, until
from tests.fakes.identity import Identity
from tests.fakes.upstream import ScriptedConnection, Upstream

HEAD = "POST {} HTTP/1.1\r\nHost: gw\r\n{}\r\n\r\n"


async def start_uploads(gate: Gate, count: int, target: str, framing: str, start: bytes) -> list[Caller]:
    """Callers whose bodies have begun and do not go on."""
    callers = [await gate.caller() for _ in range(count)]
    for caller in callers:
        await caller.send(HEAD.format(target, framing).encode() + start)
    await until(lambda: sum(one._body is not None for one in gate.server.connections) == count)
    return callers


@pytest.mark.parametrize(
    ("framing", "start", "rest"),
    [("Content-Length: 6", b"abc", b"def"), ("Transfer-Encoding: chunked", b"3\r\nabc\r\n", b"3\r\ndef\r\n0\r\n\r\n")],
)
async def test_slow_bodies_hold_no_connection(framing: str, start: bytes, rest: bytes) -> None:
    async with scene(pool={"size": 1}) as (gate, upstream, _):
        callers = await start_uploads(gate, 5, "/orders/1", framing, start)
        assert (await gate.get())[0] == 200
        for caller in callers:
            await caller.send(rest)
            assert (await caller.reply())[0] == 200
        assert [request.body for request in upstream.requests] == [b""] + [b"abcdef"] * 5
        assert upstream.connections == 1


async def test_a_body_larger_than_what_is_kept_streams() -> None:
    seen = asyncio.Event()

    async def early(peer: ScriptedConnection) -> None:
        await peer.head()
        await peer.reader.readexactly(2000)
        seen.set()
        await peer.reader.readexactly(1000)
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    async with scene(early, route={"replay_limit": "1KiB"}) as (gate, upstream, _):
        [caller] = await start_uploads(gate, 1, "/orders/1", "Content-Length: 3000", b"a" * 1000)
        assert upstream.connections == 0
        await caller.send(b"b" * 1000)
        await seen.wait()
        await caller.send(b"c" * 1000)
        assert (await caller.reply())[0] == 200


async def test_100_continue_is_sent_before_a_connection_is_acquired() -> None:
    async with scene() as (gate, upstream, _):
        caller = await gate.caller()
        await caller.send(HEAD.format("/orders/1", "Content-Length: 2\r\nExpect: 100-continue").encode())
        assert await caller.head() == b"HTTP/1.1 100 Continue\r\n\r\n"
        assert upstream.connections == 0
        await caller.send(b"hi")
        assert (await caller.reply())[0] == 200


async def test_a_chunked_body_over_the_limit_takes_no_connection() -> None:
    async with scene(limits={"body": "4B"}) as (gate, upstream, _):
        [caller] = await start_uploads(gate, 1, "/orders/1", "Transfer-Encoding: chunked", b"3\r\nabc\r\n")
        await caller.send(b"3\r\ndef\r\n")
        assert (await caller.reply())[0] == 413
        assert upstream.connections == 0


async def test_a_body_that_drips_runs_out_of_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "GRACE_PERIOD", 0.0)
    async with scene(limits={"body_rate": "1GiB"}) as (gate, upstream, _):
        [caller] = await start_uploads(gate, 1, "/orders/1", "Content-Length: 6", b"abc")
        status, _, problem = await caller.reply()
        assert status == 408
        assert b"more slowly than `limits.body_rate` after 3 of 6 bytes" in problem
        assert (await gate.get())[0] == 200
        assert upstream.connections == 1


async def test_a_body_of_any_pace_passes_without_a_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "GRACE_PERIOD", 0.0)
    async with scene(limits={"body_rate": "0B"}) as (gate, _, _):
        [caller] = await start_uploads(gate, 1, "/orders/1", "Content-Length: 6", b"abc")
        await caller.send(b"def")
        assert (await caller.reply())[0] == 200


async def test_one_route_leaves_connections_of_an_origin_to_another() -> None:
    async def silent(peer: ScriptedConnection) -> None:
        await peer.head()
        await peer.reader.read()

    async with Identity() as identity, Upstream(silent, silent, silent) as upstream:
        items = {"name": "items", "path": "/items/", "upstream": f"{upstream.url}/ic/y", "credential": "app"}
        async with Gate(config(identity.url, f"{upstream.url}/ic/x", pool={"size": 4}, routes=[items])) as gate:
            callers = [await gate.caller() for _ in range(6)]
            for caller in callers:
                await caller.send(b"GET /orders/1 HTTP/1.1\r\nHost: gw\r\n\r\n")
            # Until the upstream has all three: a connection that came later could be accepted before them.
            await until(lambda: gate.pool.count_by_state()["waiting"] == 3 and not upstream.script)
            assert (await gate.get("/items/1"))[0] == 200
            for caller in callers:
                caller.close()
            await gate.wait_for_records(7)
