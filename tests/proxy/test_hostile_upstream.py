"""Upstreams that break HTTP, stop, or send unexpected bytes: no caller gets another's bytes, a broken transfer is
seen to be broken, and a connection that saw trouble is never used again.
"""

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import pytest

from tests.fakes.gate import Caller, Gate, Scene, config, scene, until
from tests.fakes.identity import Identity
from tests.fakes.upstream import Script, ScriptedConnection, Upstream, reply

GET = b"GET /orders/1 HTTP/1.1\r\nHost: gw\r\n\r\n"
POISON = reply(200, b"another caller's")
QUICK = {"timeout": {"response": "100ms", "idle": "100ms"}}


def answer_with(*parts: bytes, then: Callable[[ScriptedConnection], Awaitable[object]] | None = None) -> Script:
    """After one request, sends these bytes, then waits for the gateway to close, or does `then`."""

    async def script(peer: ScriptedConnection) -> None:
        await peer.request()
        for part in parts:
            await peer.send(part)
        await (peer.reader.read() if then is None else then(peer))

    return script


async def hang_up(_: ScriptedConnection) -> None:
    """Nothing more: the connection closes."""


async def reset(peer: ScriptedConnection) -> None:
    peer.reset()


BROKEN_HEADS = {
    "nothing": (b"",),
    "not http": (b"220 mail.example.com ESMTP\r\n",),
    "HTTP/0.9": (b"<html>hello</html>\r\n\r\n",),
    "HTTP/2": (b"HTTP/2 200 OK\r\nContent-Length: 0\r\n\r\n",),
    "ICY": (b"ICY 200 OK\r\n\r\n",),
    "half a head": (b"HTTP/1.1 200 OK\r\nContent-Le",),
    "no status": (b"HTTP/1.1 OK\r\nContent-Length: 0\r\n\r\n",),
    "status 99": (b"HTTP/1.1 99 Low\r\nContent-Length: 0\r\n\r\n",),
    "two lengths": (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nhi",),
    "length and chunks": (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",),
    "unknown coding": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",),
    "chunks in HTTP/1.0": (b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",),
    "status 600": (b"HTTP/1.1 600 High\r\nContent-Length: 0\r\n\r\n",),
    "coding behind nothing": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding:\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",),
    "folded field": (b"HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 0\r\n\r\n",),
    "NUL": (b"HTTP/1.1 200 OK\r\nX: a\0b\r\nContent-Length: 0\r\n\r\n",),
    "unexpected 101": (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nxxx",),
    "flood of fields": (b"HTTP/1.1 200 OK\r\n", *[b"X: " + b"x" * 60_000 + b"\r\n"] * 8),
    "one endless field": (b"HTTP/1.1 200 OK\r\nX: ", *[b"x" * 60_000] * 8),
    "flood of 1xx": (b"HTTP/1.1 103 Early Hints\r\n\r\n" * 50,),
}


@pytest.mark.parametrize("parts", BROKEN_HEADS.values(), ids=BROKEN_HEADS.keys())
async def test_a_head_that_cannot_be_trusted_is_a_502(parts: tuple[bytes, ...]) -> None:
    async with scene(answer_with(*parts, then=hang_up)) as (gate, upstream, _):
        status, _, _ = await gate.get()
        assert status == 502
        [record] = gate.records
        assert (record.error, record.attempts) == ("upstream-broken", 1)
        assert record.reason
        await upstream.until(lambda: upstream.open == 0)
        assert gate.pool.count_by_state()["idle"] == 0


@pytest.mark.parametrize(
    "head", [b"HTTP/1.1 200 OK\nContent-Length: 0\n\n", b"HTTP/1.1 200 OK\r\nX: a\0b", b"HTTP/1.1 200 OK\rX", b"<html>"]
)
async def test_the_rest_of_a_malformed_head_is_not_awaited(head: bytes) -> None:
    async with scene(answer_with(head)) as (gate, upstream, _):  # the connection stays open
        assert (await gate.get())[0] == 502
        assert gate.records[0].error == "upstream-broken"
        await upstream.until(lambda: upstream.open == 0)


async def test_a_head_flood_is_cut_off_while_it_flows() -> None:
    sent = 0

    async def flood(peer: ScriptedConnection) -> None:
        nonlocal sent
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\n")
        while True:
            await peer.send(b"X: " + b"x" * 60_000 + b"\r\n")
            sent += 60_000

    async with scene(flood) as (gate, upstream, _):
        assert (await gate.get())[0] == 502
        await upstream.until(lambda: upstream.open == 0)
        assert sent < 16 * 1024 * 1024


@pytest.mark.parametrize(
    "parts", [(b"",), (b"HTTP/1.1 200",), (b"HTTP/1.1 103 Early\r\n\r\n" * 3,)], ids=["none", "half", "1xx"]
)
async def test_silence_before_a_reply_is_a_504(parts: tuple[bytes, ...]) -> None:
    async with scene(answer_with(*parts), route=QUICK) as (gate, upstream, _):
        assert (await gate.get())[0] == 504
        assert gate.records[0].error == "upstream-timeout"
        await upstream.until(lambda: upstream.open == 0)


async def test_drops_of_a_head_do_not_put_the_time_limit_off() -> None:
    async def drip(peer: ScriptedConnection) -> None:
        await peer.request()
        for at in range(100_000):
            await peer.send(b"HTTP/1.1 200 OK\r\nX: "[at : at + 1] or b"x")
            await asyncio.sleep(0)

    async with scene(drip, route=QUICK) as (gate, _, _):
        assert (await gate.get())[0] == 504


# Broken in the body --------------------------------------------------------------------------------------------------

LENGTH = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n"
CHUNKS = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
BROKEN_BODIES = {
    "short length, closed": (LENGTH + b"begun", hang_up),
    "short length, reset": (LENGTH + b"begun", reset),
    "chunks, closed": (CHUNKS + b"5\r\nbegun\r\n", hang_up),
    "chunks, closed within one": (CHUNKS + b"9\r\nbegun", hang_up),
    "chunks, reset": (CHUNKS + b"5\r\nbegun\r\n", reset),
    "no end of chunks": (CHUNKS + b"5\r\nbegun\r\n0\r\n", hang_up),
    "until closed, reset": (b"HTTP/1.1 200 OK\r\n\r\nbegun", reset),
}


async def start_call(gate: Gate) -> Caller:
    """A caller that has read the first bytes of a reply's body."""
    caller = await gate.caller()
    await caller.send(GET)
    assert (await caller.head()).startswith(b"HTTP/1.1 200 ")
    await caller.reader.readuntil(b"begun")
    return caller


@pytest.mark.parametrize(("part", "end"), BROKEN_BODIES.values(), ids=BROKEN_BODIES.keys())
async def test_a_body_that_breaks_off_breaks_the_callers_connection(
    part: bytes, end: Callable[[ScriptedConnection], Awaitable[None]]
) -> None:
    seen = asyncio.Event()

    async def answer_when_seen(peer: ScriptedConnection) -> None:
        await seen.wait()
        await end(peer)

    async with scene(answer_with(part, then=answer_when_seen)) as (gate, upstream, _):
        caller = await start_call(gate)
        seen.set()
        assert b"0\r\n\r\n" not in await caller.read_to_end()
        [record] = await gate.wait_for_records()
        assert (record.error, record.status, record.bytes_out) == ("upstream-broken", 200, 5)
        await upstream.until(lambda: upstream.open == 0)
        assert (await gate.get())[2] == b"ok"


@pytest.mark.parametrize("garbage", [b"zz\r\n", b"\r\n\r\n", b"-1\r\n", b"5 5\r\n", b"fffffffffffffffffff\r\n", POISON])
async def test_garbage_between_chunks_breaks_the_callers_connection(garbage: bytes) -> None:
    seen = asyncio.Event()

    async def answer_when_seen(peer: ScriptedConnection) -> None:
        await seen.wait()
        await peer.send(garbage)
        await peer.reader.read()

    async with scene(answer_with(CHUNKS + b"5\r\nbegun\r\n", then=answer_when_seen)) as (gate, upstream, _):
        caller = await start_call(gate)
        seen.set()
        rest = await caller.read_to_end()
        assert b"0\r\n\r\n" not in rest
        assert b"HTTP/1.1" not in rest
        assert (await gate.wait_for_records())[0].error == "upstream-broken"
        await upstream.until(lambda: upstream.open == 0)


async def test_a_break_that_is_known_at_once_is_still_a_502() -> None:
    async with scene(answer_with(CHUNKS + b"5\r\nbegun\r\nzz\r\n")) as (gate, _, _):
        assert (await gate.get())[0] == 502


async def test_silence_in_a_body_breaks_the_callers_connection() -> None:
    async with scene(answer_with(CHUNKS + b"5\r\nbegun\r\n"), route=QUICK) as (gate, upstream, _):
        caller = await start_call(gate)
        assert b"0\r\n\r\n" not in await caller.read_to_end()
        [record] = await gate.wait_for_records()
        assert (record.error, record.reason) == ("upstream-timeout", "silence within the response")
        await upstream.until(lambda: upstream.open == 0)


# Unexpected bytes -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("first", [reply(200, b"mine"), CHUNKS + b"4\r\nmine\r\n0\r\n\r\n"], ids=["length", "chunks"])
async def test_bytes_behind_a_response_reach_no_caller(first: bytes) -> None:
    async with scene(answer_with(first + POISON)) as (gate, upstream, _):
        assert (await gate.get())[2] == b"mine"
        assert (await gate.get())[2] == b"ok"
        assert upstream.connections == 2


async def test_bytes_behind_a_response_to_head_reach_no_caller() -> None:
    async with scene(answer_with(LENGTH + b"a body all the same")) as (gate, upstream, _):
        caller = await gate.caller()
        await caller.send(b"HEAD /orders/1 HTTP/1.1\r\nHost: gw\r\n\r\n")
        await caller.head()
        await caller.send(GET)
        assert (await caller.reply())[2] == b"ok"
        assert upstream.connections == 2


async def test_bytes_on_an_idle_connection_reach_no_caller() -> None:
    idle = asyncio.Event()

    async def speak_unexpectedly(peer: ScriptedConnection) -> None:
        await idle.wait()
        await peer.send(POISON)
        await peer.reader.read()

    async with scene(answer_with(reply(200, b"mine"), then=speak_unexpectedly)) as (gate, upstream, _):
        assert (await gate.get())[2] == b"mine"
        idle.set()
        await upstream.until(lambda: upstream.open == 0)
        assert gate.pool.count_by_state()["idle"] == 0
        assert (await gate.get())[2] == b"ok"


async def test_bytes_in_the_kernel_at_reuse_reach_no_caller() -> None:
    talks: list[ScriptedConnection] = []

    async def keep(peer: ScriptedConnection) -> None:
        talks.append(peer)
        await peer.reader.read()

    async with scene(answer_with(reply(200, b"mine"), then=keep)) as (gate, upstream, _):
        assert (await gate.get())[2] == b"mine"
        assert gate.pool.count_by_state()["idle"] == 1
        # Written and, in the same breath of the loop, asked for: the gateway has had no chance to read.
        talks[0].writer.write(POISON)
        assert gate.pool.try_acquire() is None
        assert (await gate.get())[2] == b"ok"
        assert upstream.connections == 2


# Replies that come early ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("framing", ["Content-Length: 1000000", "Transfer-Encoding: chunked"])
async def test_an_early_response_ends_both_connections(framing: str) -> None:
    async def refuse(peer: ScriptedConnection) -> None:
        await peer.head()
        await peer.send(reply(413, b"too much"))
        await peer.reader.read()

    async with scene(refuse, route={"replay_limit": "0B"}) as (gate, upstream, _):
        caller = await gate.caller()
        await caller.send(f"POST /orders/1 HTTP/1.1\r\nHost: gw\r\n{framing}\r\n\r\n".encode())
        status, head, body = await caller.reply()
        assert (status, body) == (413, b"too much")
        assert b"\r\nConnection: close\r\n" in head
        await upstream.until(lambda: upstream.open == 0)
        assert gate.pool.count_by_state()["idle"] == 0


async def test_a_response_and_a_close_during_an_upload_do_not_hang() -> None:
    async def refuse(peer: ScriptedConnection) -> None:
        await peer.head()
        await peer.send(reply(413, b"too much", "Connection: close"))

    async with scene(refuse) as (gate, upstream, _):
        caller = await gate.caller()
        await caller.send(b"POST /orders/1 HTTP/1.1\r\nHost: gw\r\nContent-Length: 100000000\r\n\r\n")
        upload = asyncio.create_task(pour(caller))
        status, _, _ = await caller.reply()
        assert status in {413, 502}  # RST may overtake the reply
        await upstream.until(lambda: upstream.open == 0)
        upload.cancel()
        await asyncio.wait({upload})


async def pour(caller: Caller) -> None:
    try:
        while True:
            await caller.send(b"x" * 65536)
    except ConnectionError:
        pass


async def test_an_upstream_that_stops_reading_is_a_504() -> None:
    async def deaf(peer: ScriptedConnection) -> None:
        await peer.head()
        peer.writer.transport.pause_reading()  # type: ignore[attr-defined] # a socket's transport reads
        await has_left.wait()

    has_left = asyncio.Event()
    async with scene(deaf, route=QUICK) as (gate, _, _):
        caller = await gate.caller()
        await caller.send(b"POST /orders/1 HTTP/1.1\r\nHost: gw\r\nContent-Length: 100000000\r\n\r\n")
        upload = asyncio.create_task(pour(caller))
        assert (await caller.reply())[0] == 504
        [record] = gate.records
        assert record.reason == "the upstream stopped reading the request"
        upload.cancel()
        await asyncio.wait({upload})
        has_left.set()


async def test_a_half_close_during_an_upload_is_a_502_at_once() -> None:
    jammed, has_left = asyncio.Event(), asyncio.Event()

    async def half(peer: ScriptedConnection) -> None:
        await peer.head()
        peer.writer.transport.pause_reading()  # type: ignore[attr-defined] # a socket's transport reads
        await jammed.wait()
        peer.writer.write_eof()
        await has_left.wait()

    async with scene(half) as (gate, _, _):
        caller = await gate.caller()
        await caller.send(b"POST /orders/1 HTTP/1.1\r\nHost: gw\r\nContent-Length: 100000000\r\n\r\n")
        upload = asyncio.create_task(pour(caller))
        await until(lambda: any(connection.write_paused for connection in gate.pool._busy))
        jammed.set()
        assert (await caller.reply())[0] == 502
        upload.cancel()
        await asyncio.wait({upload})
        has_left.set()


# TLS -----------------------------------------------------------------------------------------------------------------


class Cut:
    """A TLS server on `ssl.MemoryBIO`, so that it can close with and without close_notify."""

    def __init__(self, certificate: Path, *, clean: bool, body: bytes) -> None:
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(certificate)
        self._clean = clean
        self._body = body

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        coming, going = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = self._context.wrap_bio(coming, going, server_side=True)

        async def until_done(step: Callable[[], object]) -> None:
            while True:
                try:
                    step()
                except ssl.SSLWantReadError:
                    writer.write(going.read())
                    coming.write(await reader.read(65536))
                else:
                    writer.write(going.read())
                    return

        await until_done(tls.do_handshake)
        await until_done(lambda: tls.read(65536))
        tls.write(b"HTTP/1.1 200 OK\r\n\r\n" + self._body)
        if self._clean:
            with suppress(ssl.SSLWantReadError):  # it would wait for the other side's
                tls.unwrap()
        writer.write(going.read())
        writer.close()


@pytest.mark.parametrize("clean", [True, False])
async def test_a_body_that_ends_with_tls_needs_its_close_notify(certificate: Path, *, clean: bool) -> None:
    async with (
        Identity() as identity,
        await asyncio.start_server(Cut(certificate, clean=clean, body=b"begun"), "127.0.0.1", 0) as server,
    ):
        url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/x"
        settings = config(identity.url, url, route={"tls": {"ca": str(certificate)}})
        async with Gate(settings) as gate:
            caller = await gate.caller()
            await caller.send(GET)
            got = await caller.read_to_end() if not clean else (await caller.reply())[2]
            [record] = await gate.wait_for_records()
            if clean:
                assert (got, record.error) == (b"begun", None)
            else:
                assert b"0\r\n\r\n" not in got
                assert (record.error, record.reason) == ("upstream-broken", "TLS ended without close_notify")


async def test_tls_connections_are_kept_and_watched(certificate: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    async with AsyncExitStack() as stack:
        identity = await stack.enter_async_context(Identity())
        upstream = await stack.enter_async_context(Upstream(tls=context))
        settings = config(identity.url, upstream.url, route={"tls": {"ca": str(certificate)}})
        gate = await stack.enter_async_context(Gate(settings))
        for _ in range(3):
            assert (await gate.get())[2] == b"ok"
        assert upstream.connections == 1  # session tickets are no bytes of a reply
        large = b"x" * 3_000_000
        upstream.script[:] = [reply(200, large)]
        assert (await gate.get())[2] == large
        assert (await gate.post(large))[0] == 200
        assert upstream.requests[-1].body == large
        assert upstream.connections == 1
        upstream.script[:] = [reply(200, b"mine") + POISON]
        assert [(await gate.get())[2] for _ in range(2)] == [b"mine", b"ok"]
        assert upstream.connections == 2
        upstream.script[:] = [reply(200, large) + POISON]
        assert [(await gate.get())[2] for _ in range(2)] == [large, b"ok"]
        assert upstream.connections == 3


async def test_bytes_behind_a_large_reply_reach_no_caller() -> None:
    large = b"x" * 3_000_000
    async with scene(reply(200, large) + POISON, reply(200, large)) as at:
        assert [(await at.gate.get())[2] for _ in range(3)] == [large, large, b"ok"]
        assert at.upstream.connections == 2


async def never_another_callers(at: Scene, count: int) -> None:
    async def one(number: int) -> None:
        _, _, body = await at.gate.get(f"/orders/{number}")
        assert body == b"%d" % number

    await asyncio.gather(*(one(number) for number in range(count)))


async def test_replies_and_callers_are_never_mixed_up() -> None:
    async def echo(peer: ScriptedConnection) -> None:
        while True:
            request = await peer.request()
            await peer.send(reply(200, request.target.rpartition("/")[2].encode()))

    async with scene(*[echo] * 4, pool={"size": 4}) as at:
        for _ in range(5):
            await never_another_callers(at, 40)
        assert at.upstream.connections <= 4
