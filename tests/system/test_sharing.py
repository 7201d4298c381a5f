"""Several gateways, of several processes each, are one customer of the identity domain: one fetches for all."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.identity import Identity, answer, refusal, token
from tests.fakes.process import Process, gateway, run
from tests.fakes.redis import RedisServer
from tests.fakes.upstream import Upstream
from tests.fakes.waiting import wait_until
from tests.system.scene import SECRETS, credential, simple, written

KEY = {"STATE_KEY": "0123456789abcdef" * 4}
LIFE = 4  # seconds: the first token's; it counts as dead a second before its end


@pytest.fixture(params=["sqlite", "redis"])
async def state(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[dict[str, Any]]:
    """`state:` of a store that all gateways of a test share; patient, since the machine is busy with them all."""
    more = {"keys": [{"env": "STATE_KEY"}], "timeout": "20s"}
    if request.param == "sqlite":
        yield {"path": str(tmp_path / "state.db"), **more}
        return
    async with RedisServer() as server:
        yield {"redis": {"url": server.url}, **more}


@asynccontextmanager
async def gateways(
    folder: Path, identity: Identity, upstream: Upstream, count: int, **more: Any
) -> AsyncIterator[list[Process]]:
    renew = {"share": 0, "at_least": "10ms"}
    app = credential(identity.url, token_wait="60s", renew=renew)
    file = written(folder, simple(identity.url, upstream.url, **more, credentials={"app": app}))
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(gateway(file, **SECRETS, **KEY)) for _ in range(count)]


async def tokens(gates: list[Process]) -> list[dict[str, Any]]:
    """What each worker of each gateway tells of the token."""
    statuses = [(await gate.ask("/status"))[1] for gate in gates]
    return [worker["credentials"]["app"] for status in statuses for worker in status.get("workers", [status])]


def bearers(upstream: Upstream) -> set[str | None]:
    return {request.field("authorization") for request in upstream.requests}


async def test_expiry_with_1000_callers_costs_one_token_request(tmp_path: Path, state: dict[str, Any]) -> None:
    gate = asyncio.Event()
    async with (
        Identity(token("a", LIFE), token("b").behind(gate)) as identity,
        Upstream() as upstream,
        gateways(tmp_path, identity, upstream, 2, workers=4, state=state) as gates,
    ):
        for one in gates:
            assert (await one.get("/orders/"))[0] == 200
        assert (len(identity.requests), bearers(upstream)) == (1, {"Bearer a"})

        async def ended() -> bool:
            return {str(worker["state"]) for worker in await tokens(gates)} <= {"dead", "none"}

        await wait_until(ended)
        calls = [asyncio.create_task(gates[number % 2].get("/orders/")) for number in range(1000)]

        async def all_wait() -> bool:
            return sum(int(worker["waiters"]) for worker in await tokens(gates)) == 1000

        await wait_until(all_wait)
        gate.set()
        assert {(await call)[0] for call in calls} == {200}
        assert bearers(upstream) == {"Bearer a", "Bearer b"}
        assert len([worker for worker in await tokens(gates) if worker["state"] == "fresh"]) == 8
        assert len(identity.requests) == 2
        assert sum(worker["fetches"]["ok"] for worker in await tokens(gates)) == 2


async def test_the_lease_of_a_killed_gateway_expires(tmp_path: Path, state: dict[str, Any]) -> None:
    async with (
        Identity(token("a").behind(asyncio.Event()), token("b")) as identity,
        Upstream() as upstream,
        gateways(tmp_path, identity, upstream, 2, state=state) as (first, second),
    ):
        lost = asyncio.create_task(first.get("/orders/"))
        await identity.wait_for_requests(1)
        waiting = asyncio.create_task(second.get("/orders/"))

        async def waits() -> bool:
            return [worker["waiters"] for worker in await tokens([second])] == [1]

        await wait_until(waits)
        os.kill(first.pid, signal.SIGKILL)
        await first.wait_group_exit()
        await asyncio.gather(lost, return_exceptions=True)
        assert (await waiting)[0] == 200
        assert bearers(upstream) == {"Bearer b"}
    assert len(identity.requests) == 2


async def test_all_workers_share_the_back_off_after_a_rejection(tmp_path: Path, state: dict[str, Any]) -> None:
    async with (
        Identity(answer(503), *[refusal("invalid_client", 401)] * 50) as identity,
        Upstream() as upstream,
        gateways(tmp_path, identity, upstream, 2, workers=2, state=state) as gates,
    ):
        calls = [asyncio.create_task(gates[number % 2].get("/orders/")) for number in range(40)]
        assert {(await call)[0] for call in calls} <= {502, 503}
        seen = len(identity.requests)
        calls = [asyncio.create_task(gates[number % 2].get("/orders/")) for number in range(40)]
        assert {(await call)[0] for call in calls} <= {502, 503}
        # Each worker may make one try of its own before it knows of the others'; then all keep to one back-off.
        assert seen <= len(identity.requests) <= 1 + 4


async def test_a_token_that_oic_refuses_is_replaced_once_for_all(tmp_path: Path, state: dict[str, Any]) -> None:
    unauthorized = b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n"
    async with (
        Identity() as identity,
        Upstream() as upstream,
        gateways(tmp_path, identity, upstream, 2, workers=2, state=state) as gates,
    ):
        for one in gates * 8:
            assert (await one.get("/orders/"))[0] == 200
        upstream.script = [unauthorized] * 400
        calls = [asyncio.create_task(gates[number % 2].get("/orders/")) for number in range(60)]
        assert {(await call)[0] for call in calls} == {401}
        assert len(identity.requests) == 2


async def test_token_force_replaces_the_stored_token(tmp_path: Path, state: dict[str, Any]) -> None:
    async with Identity() as identity, Upstream() as upstream:
        app = credential(identity.url)
        file = written(tmp_path, simple(identity.url, upstream.url, state=state, credentials={"app": app}))
        sent_tokens = [
            (await run("token", *more, "app", "-c", file, **SECRETS, **KEY)).out.strip()
            for more in ((), (), ("--force",), ())
        ]
        assert sent_tokens == ["token-1", "token-1", "token-2", "token-2"]
    assert len(identity.requests) == 2
