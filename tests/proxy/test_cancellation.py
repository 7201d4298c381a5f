"""Callers that leave, at every step of the pipeline: nothing of them stays, and no other caller is affected."""

import asyncio
import socket
from collections.abc import Callable

import pytest

from tests.fakes.gate import Caller, Scene, scene, until
from tests.fakes.identity import token
from tests.fakes.upstream import OK, ScriptedConnection, reply

GET = b"GET /orders/1 HTTP/1.1\r\nHost: gw\r\n\r\n"
UPLOAD = b"POST /orders/1 HTTP/1.1\r\nHost: gw\r\nContent-Length: 100000000\r\n\r\n"

Leave = Callable[[Caller], None]


@pytest.fixture(params=[Caller.close, Caller.reset], ids=["close", "reset"])
def leave(request: pytest.FixtureRequest) -> Leave:
    way: Leave = request.param
    return way


async def silence(peer: ScriptedConnection) -> None:
    await peer.head()
    await peer.reader.read()


async def wait_released(at: Scene, before: set["asyncio.Task[object]"], *, count: int = 1) -> None:
    """The caller's request has left one record and nothing else; another caller is served."""
    record = (await at.gate.wait_for_records(count))[-1]
    assert record.error == "caller-gone"
    await at.upstream.until(lambda: at.upstream.open <= at.gate.pool.count_by_state()["idle"])
    await until(lambda: not (asyncio.all_tasks() - before - at.upstream._tasks))
    assert at.gate.pool.count_by_state() | {"idle": 0} == {"busy": 0, "idle": 0, "dialing": 0, "waiting": 0}
    assert at.gate.route.meter.in_flight == 0
    assert len(at.gate.records) == count


async def serves(at: Scene) -> None:
    at.upstream.script.clear()
    assert (await at.gate.get())[::2] == (200, b"ok")


async def started(at: Scene, data: bytes) -> tuple[Caller, set["asyncio.Task[object]"]]:
    before = asyncio.all_tasks()
    caller = await at.gate.caller()
    await caller.send(data)
    return caller, before


async def test_while_waiting_for_the_token(leave: Leave) -> None:
    minted = asyncio.Event()
    async with scene(tokens=(token("slow").behind(minted),)) as at:
        caller, _ = await started(at, GET)
        await at.identity.wait_for_requests(1)
        fetch = next(task for task in asyncio.all_tasks() if task.get_name() == "token of app")
        leave(caller)
        [record] = await at.gate.wait_for_records()
        assert (record.error, record.status, record.attempts) == ("caller-gone", 499, 0)
        assert not fetch.done()
        minted.set()
        assert (await at.gate.get())[0] == 200
        assert len(at.identity.requests) == 1
        assert [request.field("Authorization") for request in at.upstream.requests] == ["Bearer slow"]


async def test_while_waiting_for_a_connection(leave: Leave) -> None:
    done = asyncio.Event()

    async def hold(peer: ScriptedConnection) -> None:
        await peer.request()
        await done.wait()
        await peer.send(OK)
        await peer.request()
        await peer.send(reply(200, b"third"))
        await peer.reader.read()

    async with scene(hold, pool={"size": 1}) as at:
        first = asyncio.create_task(at.gate.get())
        await at.upstream.until(lambda: at.upstream.connections == 1)
        caller, _ = await started(at, GET)
        await counted(at, "waiting", 1)
        third = asyncio.create_task(at.gate.get())
        await counted(at, "waiting", 2)
        leave(caller)
        assert (await at.gate.wait_for_records())[0].error == "caller-gone"
        await counted(at, "waiting", 1)
        done.set()
        assert [(await first)[2], (await third)[2]] == [b"ok", b"third"]
        assert at.upstream.connections == 1


async def test_while_connecting(leave: Leave) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full, socket.socket() as first, socket.socket() as second:
        for filler in (first, second):
            filler.settimeout(0)
            filler.connect_ex(full.getsockname())
        async with scene(route={"upstream": f"http://127.0.0.1:{full.getsockname()[1]}/x"}) as at:
            caller, before = await started(at, GET)
            await counted(at, "dialing", 1)
            leave(caller)
            await wait_released(at, before)


async def counted(at: Scene, state: str, number: int) -> None:
    await until(lambda: at.gate.pool.count_by_state()[state] == number)


async def test_while_uploading(leave: Leave) -> None:
    async with scene(silence, route={"replay_limit": "0B"}) as at:
        await at.gate.get("/nope")  # so that nothing is counted that is made only once
        caller, before = await started(at, UPLOAD + b"begun")
        await at.upstream.until(lambda: at.upstream.connections == 1)
        leave(caller)
        await wait_released(at, before, count=2)
        await serves(at)


async def test_while_the_upstream_takes_no_more_of_an_upload(leave: Leave) -> None:
    full = asyncio.Event()

    async def deaf(peer: ScriptedConnection) -> None:
        await peer.head()
        peer.writer.transport.pause_reading()  # type: ignore[attr-defined] # a socket's transport reads
        await full.wait()
        peer.writer.transport.resume_reading()  # type: ignore[attr-defined] # a socket's transport reads
        while await peer.reader.read(1 << 20):
            pass

    async with scene(deaf, route={"replay_limit": "0B"}) as at:
        caller, before = await started(at, UPLOAD)
        await at.upstream.until(lambda: at.upstream.connections == 1)
        upload = asyncio.create_task(pour(caller))
        await jammed(at)
        upload.cancel()
        leave(caller)
        full.set()  # nothing is read from a caller meanwhile, so that its leaving shows only now
        await wait_released(at, before)


async def pour(caller: Caller) -> None:
    while True:
        await caller.send(b"x" * 65536)


async def jammed(at: Scene) -> None:
    await until(lambda: any(connection.write_paused for connection in at.gate.pool._busy))


async def test_while_waiting_for_the_reply(leave: Leave) -> None:
    async with scene(silence) as at:
        caller, before = await started(at, GET)
        await at.upstream.until(lambda: at.upstream.connections == 1)
        leave(caller)
        await wait_released(at, before)
        await serves(at)


async def test_in_the_middle_of_the_reply(leave: Leave) -> None:
    async def half(peer: ScriptedConnection) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nbegun")
        await peer.reader.read()

    async with scene(half) as at:
        caller, before = await started(at, GET)
        await caller.reader.readuntil(b"begun")
        leave(caller)
        await wait_released(at, before)
        assert (at.gate.records[0].status, at.gate.records[0].bytes_out) == (200, 5)
        await serves(at)


async def test_while_reading_too_slowly(leave: Leave) -> None:
    async def flood(peer: ScriptedConnection) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            await peer.send(b"x" * 65536)

    async with scene(flood) as at:
        caller, before = await started(at, GET)
        await caller.head()
        await stuck(at)
        leave(caller)
        await wait_released(at, before)
        await serves(at)


async def stuck(at: Scene) -> None:
    await until(lambda: any(connection._reading_paused for connection in at.gate.pool._busy))


async def test_during_a_renewal(leave: Leave) -> None:
    minted = asyncio.Event()
    async with scene(reply(401), tokens=(token("old"), token("new").behind(minted))) as at:
        caller, _ = await started(at, GET)
        await at.identity.wait_for_requests(2)
        leave(caller)
        [record] = await at.gate.wait_for_records()
        assert (record.error, record.attempts, record.upstream_status) == ("caller-gone", 1, 401)
        minted.set()
        await until(lambda: at.gate.route.token_source.get_fresh_token() == "new")
        await serves(at)
        assert len(at.identity.requests) == 2


@pytest.mark.parametrize("what", ["after a reply", "after a failure"])
async def test_during_a_pause_before_a_retry(leave: Leave, closed_port: int, what: str) -> None:
    script, route = [reply(503, b"", "Retry-After: 9")], {}
    if what == "after a failure":
        script, route = [], {"upstream": f"http://127.0.0.1:{closed_port}/x"}
    async with scene(*script, route=route, random_fraction=lambda: 1000.0) as at:
        caller, before = await started(at, GET)
        await until(lambda: bool(at.gate.route.meter.replays))
        leave(caller)
        await wait_released(at, before)
        if script:
            await serves(at)


async def test_before_the_request_is_even_read(leave: Leave) -> None:
    async with scene() as at:
        caller, _ = await started(at, GET[:20])
        leave(caller)
        await serves(at)
        assert len(at.gate.records) == 1


async def test_with_more_requests_in_line(leave: Leave) -> None:
    async with scene(silence) as at:
        caller, before = await started(at, GET * 3)
        await at.upstream.until(lambda: at.upstream.connections == 1)
        leave(caller)
        await wait_released(at, before)
        await serves(at)


async def test_a_gateway_that_stops_ends_what_is_under_way() -> None:
    async with scene(silence) as at:
        caller, before = await started(at, GET)
        await at.upstream.until(lambda: at.upstream.connections == 1)
        await at.gate.server.shutdown(within=0.01)
        await wait_released(at, before)
        assert await caller.read_to_end() == b""
