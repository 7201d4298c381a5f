"""Limits of callers over several workers: a flooding caller gets exactly its allowance, a light one is unaffected."""

import asyncio
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator
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
from tests.system.scene import SECRETS, settings, written

pytestmark = pytest.mark.usefixtures("within_an_hour")

KEYS = {"FLOOD": "key-of-flood", "LIGHT": "key-of-light"}
FLOOD, LIGHT = (request("/orders/1001", f"X-Api-Key: {key}") for key in KEYS.values())
CONNECTIONS = 24


def document(sandbox: Sandbox, workers: int = 4, **limits: Any) -> Document:
    """All routes for two callers; the limits are those of `flood`."""
    callers = {"flood": {"api_key": {"env": "FLOOD"}, **limits}, "light": {"api_key": {"env": "LIGHT"}}}
    return settings(sandbox, workers=workers, callers=callers, defaults={"callers": ["flood", "light"]})


@asynccontextmanager
async def limited(folder: Path, sandbox: Sandbox, **limits: Any) -> AsyncIterator[Process]:
    async with gateway(written(folder, document(sandbox, **limits)), **SECRETS, **KEYS) as gate:
        yield gate


async def send(gate: Process, data: bytes, calls: int, connections: int = CONNECTIONS) -> Counter[int]:
    """Send so many calls on each of so many connections at once. Return the number of responses of each status."""
    host, _, port = gate.listen.rpartition(":")
    found: Counter[int] = Counter()

    async def converse() -> None:
        caller = Caller(*await asyncio.open_connection(host, int(port)))
        try:
            for _ in range(calls):
                await caller.send(data)
                status, head, _ = await caller.reply()
                found[status] += 1
                if status == 429:
                    assert b"\r\nRetry-After: " in head
                    assert b"\r\nRateLimit: " in head
        except (asyncio.IncompleteReadError, ConnectionError):
            found[0] += 1  # its worker was killed
        caller.close()

    await asyncio.gather(*(converse() for _ in range(connections)))
    return found


async def is_sharing(gate: Process) -> bool:
    _, _, metrics = await gate.get("/metrics", address=gate.admin)
    return b"oic_gateway_caller_limits_shared 1" in metrics


async def test_flood_gets_exactly_its_burst(tmp_path: Path, sandbox: Sandbox) -> None:
    async with limited(tmp_path, sandbox, rate="1/h", burst=50) as gate:
        flood, light = await asyncio.gather(send(gate, FLOOD, 20), send(gate, LIGHT, 5, 4))
        assert flood == {200: 50, 429: CONNECTIONS * 20 - 50}
        assert light == {200: 20}
        assert len(sandbox.calls) == 70
        assert len(await gate.wait_for_events("caller-limited")) == 1
        _, status = await gate.ask("/status")
        assert status["caller_limits"]["flood"]["problem"]["code"] == "too-many-requests"


async def test_flood_gets_exactly_its_quota(tmp_path: Path, sandbox: Sandbox) -> None:
    async with limited(tmp_path, sandbox, quota={"calls": "100/d"}) as gate:
        flood = await send(gate, FLOOD, 20)
        assert flood == {200: 100, 429: CONNECTIONS * 20 - 100}
        status = await gate.until_answer(
            "/status", lambda status: status["caller_limits"]["flood"]["calls"]["used"] == 100
        )
        assert list(status["caller_limits"]) == ["flood"]
        _, _, metrics = await gate.get("/metrics", address=gate.admin)
        assert b'oic_gateway_caller_quota_used{caller="flood",quota="calls"} 100' in metrics
        assert b'oic_gateway_caller_rejections_total{caller="flood",limit="calls"} %d' % flood[429] in metrics


async def test_quota_of_messages_ends_for_all_workers(tmp_path: Path, sandbox: Sandbox) -> None:
    async with limited(tmp_path, sandbox, quota={"messages": "30/d"}) as gate:
        assert (await send(gate, FLOOD, 10, 3)) == {200: 30}
        status = await gate.until_answer(
            "/status", lambda status: status["caller_limits"]["flood"]["messages"]["used"] == 30
        )
        assert status["caller_limits"]["flood"]["problem"]["code"] == "too-many-requests"
        assert await send(gate, FLOOD, 1) == {429: CONNECTIONS}


async def test_restarted_worker_gets_no_new_allowance(tmp_path: Path, sandbox: Sandbox) -> None:
    async with limited(tmp_path, sandbox, rate="1/h", burst=60, workers=2) as gate:
        used = (await send(gate, FLOOD, 5, 6))[200]
        assert used == 30
        _, status = await gate.ask("/status")
        os.kill(status["workers"][0]["pid"], signal.SIGKILL)
        await gate.wait_for_events("worker-lost")
        await gate.until_answer("/status", lambda status: [w["state"] for w in status["workers"]] == ["working"] * 2)
        used += (await send(gate, FLOOD, 20))[200]
        assert 60 - 1 <= used <= 60, "what the worker held counts as used: with this rate one permit"


async def test_replicas_share_the_limits_in_redis(tmp_path: Path, sandbox: Sandbox) -> None:
    async with RedisServer() as server:
        state = {"redis": {"url": server.url}, "keys": [{"env": "STATE_KEY"}], "timeout": "5s"}
        limits = document(sandbox, workers=2, rate="1/h", burst=40, quota={"calls": "30/d", "messages": "1000/d"})
        file = written(tmp_path, limits | {"state": state})
        secrets = {**SECRETS, **KEYS, "STATE_KEY": "0123456789abcdef" * 4}
        async with gateway(file, **secrets) as one, gateway(file, **secrets) as other:
            first = [(await send(gate, FLOOD, 1, 1))[200] for gate in (one, other)]
            for gate in (one, other):  # on a busy machine the first answer of Redis may come too late
                await wait_until(partial(is_sharing, gate))
            found = await asyncio.gather(send(one, FLOOD, 5, 10), send(other, FLOOD, 5, 10))
            assert sum(each[200] for each in found) == 30 - sum(first)
            assert len(sandbox.calls) == 30
            await server.kill()
            assert (await send(one, FLOOD, 1, 4))[200] == 0, "the limits hold without Redis"
            status = await one.until_answer(
                "/status", lambda status: status["caller_limits"]["flood"]["shared"] is False
            )
            assert status["caller_limits"]["flood"]["calls"]["used"] == 30
            _, _, metrics = await one.get("/metrics", address=one.admin)
            assert b"oic_gateway_caller_limits_shared 0" in metrics
            await one.wait_for_events("limits-unshared")
            await server.start()
            await one.wait_for_events("limits-shared")


async def test_counts_survive_a_reload(tmp_path: Path, sandbox: Sandbox) -> None:
    async with limited(tmp_path, sandbox, rate="1/h", burst=20, quota={"calls": "1000/d"}, workers=2) as gate:
        assert (await send(gate, FLOOD, 2))[200] == 20
        written(tmp_path, document(sandbox, workers=2, rate="2/h", burst=30, quota={"calls": "25/d"}))
        gate.signal(signal.SIGHUP)
        status = await gate.until_answer(
            "/status", lambda status: status["caller_limits"]["flood"]["calls"]["limit"] == 25
        )
        assert status["caller_limits"]["flood"]["calls"]["used"] == 20
        assert (await send(gate, FLOOD, 2))[200] == 0
        written(tmp_path, document(sandbox, workers=2, quota={"calls": "25/d"}))
        gate.signal(signal.SIGHUP)
        await gate.until_answer("/status", lambda status: status["caller_limits"]["flood"]["rate"] is None)
        assert (await send(gate, FLOOD, 2))[200] == 5
