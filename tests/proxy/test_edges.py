"""Edges between messages: what comes behind an ignored upgrade or a refused tunnel, and replies that end badly."""

import asyncio

from tests.fakes.gate import scene
from tests.fakes.upstream import ScriptedConnection

H2C = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMA\r\n"
GET = b"GET /orders/1 HTTP/1.1\r\nHost: gw\r\n"
SMUGGLED = b"DELETE /orders/SMUGGLED HTTP/1.1\r\nHost: gw\r\n\r\n"


async def test_bytes_after_an_ignored_upgrade_have_their_own_framing() -> None:
    async with scene() as (gate, upstream, _):
        caller = await gate.caller()
        inner = b"POST /orders/2 HTTP/1.1\r\nHost: gw\r\nContent-Length: %d\r\n\r\n" % len(SMUGGLED)
        await caller.send(GET + H2C + b"\r\n" + inner + SMUGGLED)
        for _ in range(2):
            status, head, _ = await caller.reply()
            assert (status, b"connection: close" in head.lower()) == (200, False)
        assert [request.target for request in upstream.requests] == ["/ic/x/1", "/ic/x/2"]
        assert [request.body for request in upstream.requests] == [b"", SMUGGLED]


async def test_an_h2c_preface_after_an_ignored_upgrade_is_no_request() -> None:
    async with scene() as (gate, upstream, _):
        caller = await gate.caller()
        await caller.send(GET + H2C + b"\r\nPRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + SMUGGLED)
        assert [(await caller.reply())[0] for _ in range(2)] == [200, 400]
        assert await caller.read_to_end() == b""
        assert len(upstream.requests) == 1


async def test_nothing_behind_a_refused_tunnel_becomes_a_request() -> None:
    async with scene() as (gate, upstream, _):
        caller = await gate.caller()
        head = b"CONNECT a:443 HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(SMUGGLED)
        await caller.send(head + SMUGGLED)
        status, _, _ = await caller.reply()
        assert status == 405
        assert await caller.read_to_end() == b""
        assert upstream.requests == []


async def test_the_run_is_recorded_when_its_reply_arrives_broken() -> None:
    broken = b"HTTP/1.1 200 OK\r\nx-oracle-ics-instance-id: RUN1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"
    async with scene(broken) as (gate, _, _):
        assert (await gate.get())[0] == 502
        [record] = await gate.wait_for_records()
        assert (record.error, record.upstream_status, record.instance_id) == ("upstream-broken", 200, "RUN1")


async def test_a_reply_goes_on_when_its_caller_stops_uploading() -> None:
    more = asyncio.Event()

    async def early(peer: ScriptedConnection) -> None:
        await peer.head()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf")
        await more.wait()
        await peer.send(b"half")

    async with scene(early, route={"replay_limit": "0B", "timeout": {"idle": "50ms"}}) as (gate, _, _):
        caller = await gate.caller()
        await caller.send(b"POST /orders/1 HTTP/1.1\r\nHost: gw\r\nContent-Length: 10\r\n\r\nabc")
        await caller.head()
        assert await caller.reader.readexactly(4) == b"half"
        await caller.send(b"x" * 7)
        more.set()
        assert await caller.reader.readexactly(4) == b"half"
        assert (await gate.wait_for_records())[0].error is None


async def test_a_malformed_host_is_rejected_with_an_absolute_target() -> None:
    async with scene() as (gate, upstream, _):
        head = f"GET {upstream.url}/ic/x/1 HTTP/1.1\r\nHost: a b\r\n\r\n".encode()
        assert (await gate.call(head))[0] == 400
        assert upstream.requests == []


async def test_operators_learn_why_a_caller_was_refused() -> None:
    async with scene() as (gate, _, _):
        await gate.get("/orders/1", "Origin: http://evil.example")
        [record] = await gate.wait_for_records()
        assert record.error == "forbidden"
        assert "web pages" in (record.reason or "")
