"""The places of a service over several workers: never more than `calls`, none is lost, every waiting call is served."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from gateway.sandbox import Sandbox
from tests.fakes.gate import Caller
from tests.fakes.process import Document, Process, gateway, request
from tests.fakes.redis import RedisServer
from tests.fakes.waiting import wait_until
from tests.system.scene import SECRETS, before, settings, written

SLOW = request("/slow/1")
KEY = {"STATE_KEY": "0123456789abcdef" * 4}


@pytest.fixture
async def gated(sandbox: Sandbox) -> asyncio.Event:
    """Return an event that SLOW waits for."""
    sandbox.switches.slow_gate = asyncio.Event()
    return sandbox.switches.slow_gate


def services(sandbox: Sandbox, calls: int, **more: Any) -> Document:
    return {"acme": {"url": sandbox.origin, "calls": calls, **more}}


@asynccontextmanager
async def limited(folder: Path, sandbox: Sandbox, calls: int, workers: int = 4) -> AsyncIterator[Process]:
    """A gateway of several workers; the sandbox refuses more runs at once than `calls`."""
    sandbox.switches.concurrency = calls
    async with before(folder, sandbox, workers=workers, services=services(sandbox, calls)) as gate:
        yield gate


async def call(gate: Process, count: int, data: bytes = SLOW, address: str = "127.0.0.1") -> list[Caller]:
    """Send a request on each of so many new connections."""
    host, _, port = gate.listen.rpartition(":")
    callers = []
    for _ in range(count):
        caller = Caller(*await asyncio.open_connection(host, int(port), local_addr=(address, 0)))
        await caller.send(data)
        callers.append(caller)
    return callers


async def statuses(callers: list[Caller]) -> list[int]:
    replies = [(await caller.reply())[0] for caller in callers]
    for caller in callers:
        caller.close()
    return replies


async def counted(gate: Process, running: int, waiting: int) -> Document:
    """Wait until so many calls have a place, and so many wait. Return the status."""

    def is_so(status: Document) -> bool:
        acme = status["services"]["acme"]
        return (acme["running"], acme["waiting"]) == (running, waiting)

    return await gate.until_answer("/status", is_so)


async def test_overload_of_ten_times_the_limit(tmp_path: Path, sandbox: Sandbox, gated: asyncio.Event) -> None:
    async with limited(tmp_path, sandbox, 10) as gate:
        callers = await call(gate, 100)
        status = await counted(gate, 10, 90)
        assert status["services"]["acme"]["problem"]["code"] == "overloaded"
        assert sum(worker["services"]["acme"]["running"] for worker in status["workers"]) == 10
        await gate.until_answer("/status", lambda _: sandbox.run_limits.most == 10)  # all ten have arrived at OIC
        gated.set()
        assert await statuses(callers) == [200] * 100
        assert (sandbox.run_limits.most, sandbox.run_limits.refused) == (10, 0)
        status = await counted(gate, 0, 0)
        assert status["services"]["acme"]["problem"] is None


async def test_many_short_calls_stay_within_the_limit(tmp_path: Path, sandbox: Sandbox) -> None:
    """Places move between workers all the time; none is lost, and no call finds the service full."""
    sandbox.switches.reply_delay = 0.002
    async with limited(tmp_path, sandbox, 3) as gate:

        async def send_calls() -> None:
            [caller] = await call(gate, 1, request("/orders/1001"))
            for number in range(20):
                status, _, _ = await caller.reply()
                assert status == 200
                if number < 19:
                    await caller.send(request("/orders/1001"))
            caller.close()

        await asyncio.gather(*(send_calls() for _ in range(30)))
        assert sandbox.run_limits.most <= 3
        assert sandbox.run_limits.refused == 0
        await counted(gate, 0, 0)


async def test_places_of_a_killed_worker_return(tmp_path: Path, sandbox: Sandbox, gated: asyncio.Event) -> None:
    async with limited(tmp_path, sandbox, 2, workers=2) as gate:
        running = await call(gate, 2)
        await counted(gate, 2, 0)
        waiting = await call(gate, 12)
        status = await counted(gate, 2, 12)
        sandbox.switches.concurrency = None  # the runs of the killed worker go on in OIC
        [victim, *_] = [worker["pid"] for worker in status["workers"] if worker["services"]["acme"]["running"]]
        os.kill(victim, signal.SIGKILL)
        await gate.wait_for_events("worker-lost")
        gated.set()
        answers = []
        for caller in (*running, *waiting):
            try:
                answers.append((await caller.reply())[0])
            except (asyncio.IncompleteReadError, ConnectionError):
                answers.append(0)
            caller.close()
        survivors = [status for status in answers if status]
        assert set(survivors) <= {200}
        assert survivors, "a call of the other worker"
        assert await statuses(await call(gate, 8)) == [200] * 8
        await counted(gate, 0, 0)


async def test_light_caller_is_served_beside_a_flood(tmp_path: Path, sandbox: Sandbox, gated: asyncio.Event) -> None:
    async with limited(tmp_path, sandbox, 2) as gate:
        flood = await call(gate, 60)
        await counted(gate, 2, 58)
        light = await call(gate, 1, request("/slow/2"), "127.0.0.2")
        await counted(gate, 2, 59)
        gated.set()
        assert await statuses([*light, *flood]) == [200] * 61
        order = [call.target.rpartition("/")[2] for call in sandbox.calls if "/SLOW/" in call.target]
        assert order.index("2") <= 5


async def test_reload_changes_the_limit(tmp_path: Path, sandbox: Sandbox, gated: asyncio.Event) -> None:
    async with limited(tmp_path, sandbox, 1, workers=2) as gate:
        callers = await call(gate, 5)
        await counted(gate, 1, 4)
        sandbox.switches.concurrency = 3
        written(tmp_path, settings(sandbox, workers=2, services=services(sandbox, 3)))
        gate.signal(signal.SIGHUP)
        await counted(gate, 3, 2)
        written(tmp_path, settings(sandbox, workers=2))
        gate.signal(signal.SIGHUP)
        sandbox.switches.concurrency = None
        await sandbox.calls.reached(5)
        gated.set()
        assert await statuses(callers) == [200] * 5
        status = await gate.until_answer("/status", lambda status: status["services"] == {})
        assert status["services"] == {}


async def test_stop_serves_calls_that_wait(tmp_path: Path, sandbox: Sandbox, gated: asyncio.Event) -> None:
    async with limited(tmp_path, sandbox, 2, workers=2) as gate:
        callers = await call(gate, 10)
        await counted(gate, 2, 8)
        gate.signal(signal.SIGTERM)
        await gate.wait_for_events("draining")
        gated.set()
        assert await statuses(callers) == [200] * 10
        assert sandbox.run_limits.refused == 0
        assert await gate.ended() == 0


async def test_replicas_share_the_places_in_redis(tmp_path: Path, sandbox: Sandbox, gated: asyncio.Event) -> None:
    sandbox.switches.concurrency = 6
    async with RedisServer() as server:
        state = {"redis": {"url": server.url}, "keys": [{"env": "STATE_KEY"}], "timeout": "5s"}
        more = {"state": state, "workers": 2, "services": services(sandbox, 6)}
        file = written(tmp_path, settings(sandbox, **more))
        async with gateway(file, **SECRETS, **KEY) as one, gateway(file, **SECRETS, **KEY) as other:
            for gate in (one, other):  # on a busy machine the first answer of Redis may come too late
                assert (await gate.get("/orders/1001"))[0] == 200
                await gate.until(partial(is_sharing, gate))
            callers = [*await call(one, 20), *await call(other, 20)]

            async def running() -> list[int]:
                return [(await gate.ask("/status"))[1]["services"]["acme"]["running"] for gate in (one, other)]

            await wait_until(lambda: is_all_used(running, 6))
            gated.set()
            assert await statuses(callers) == [200] * 40
            assert (sandbox.run_limits.most, sandbox.run_limits.refused) == (6, 0)


def is_sharing(gate: Process) -> bool:
    return len(gate.events("places-unshared")) == len(gate.events("places-shared"))


async def is_all_used(running: Callable[[], Awaitable[list[int]]], limit: int) -> bool:
    return sum(await running()) == limit


async def test_open_circuit_is_that_of_all_workers(tmp_path: Path, sandbox: Sandbox) -> None:
    sandbox.switches.fault_status = 503
    async with limited(tmp_path, sandbox, 50) as gate:
        callers = [request("/orders/1001") for _ in range(5)]
        for data in callers:
            assert await statuses(await call(gate, 1, data)) == [503]
        status = await gate.until_answer(
            "/status", lambda status: status["services"]["acme"]["circuit"]["state"] == "open"
        )
        assert status["services"]["acme"]["problem"]["code"] == "upstream-down"
        seen = len(sandbox.calls)
        for _ in range(8):
            [caller] = await call(gate, 1, request("/orders/1001"))
            status_code, head, _ = await caller.reply()
            caller.close()
            assert status_code == 503
            assert b"\r\nX-Gateway-Error: upstream-down\r\n" in head
        assert len(sandbox.calls) == seen
        assert len(gate.events("circuit-open")) == 1
