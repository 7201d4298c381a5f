"""Replicas share the limits of a caller in a real Redis."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial

import pytest

from gateway.errors import TooManyRequests
from gateway.limits.allowance import Instant
from gateway.limits.borrowed_allowance import QUOTA_BLOCKS
from gateway.limits.caller_limits import CallerLimits, Quota, RateLimit
from gateway.limits.limit_clock import LimitClock
from gateway.limits.limit_coordinator import LimitCoordinators
from gateway.limits.limit_gates import LimitGates
from gateway.limits.replica_limits import ReplicaLimits
from tests.fakes.redis import RedisServer
from tests.fakes.waiting import TIME_LIMIT

pytestmark = pytest.mark.usefixtures("within_an_hour")

DAY = 86400
KEY = "test:1:limits:erp"


class LimitedReplica:
    """A gateway of two workers in one process, with one caller."""

    def __init__(self, server: RedisServer, limits: CallerLimits) -> None:
        loop = asyncio.get_running_loop()
        clock = LimitClock(lambda: Instant(time.monotonic(), time.time()), loop.call_later)
        self.coordinators = LimitCoordinators(clock)
        self.sharing = ReplicaLimits(server.evaluate, prefix="test")
        self._server = server
        self.coordinators.configure({"erp": limits}, self.sharing)
        self.workers = []
        for number in range(2):
            gates = LimitGates(now=time.monotonic)
            gates.send = partial(self.coordinators.receive, number)
            self.coordinators.add_worker(number, gates.receive)
            gates.configure({"erp": limits})
            self.workers.append(gates.gate("erp"))

    async def call(self, worker: int = 0, messages: int = 0) -> bool:
        """Return whether a call is admitted."""
        gate = self.workers[worker]
        if not gate.try_admit(time.monotonic()):
            try:
                turn = gate.request_permit()
                await gate.wait_answer(turn)
                gate.use_permit(turn)
            except TooManyRequests:
                return False
        if messages:
            gate.count_messages(messages)
        return True

    async def calls(self, count: int) -> int:
        """Begin so many calls at once, on both workers in turn. Return how many are admitted."""
        return sum(await asyncio.gather(*(self.call(number % 2) for number in range(count))))

    def used(self, kind: str) -> int:
        used: int = self.coordinators.status()["erp"][kind]["used"]
        return used


@asynccontextmanager
async def limited_replicas(count: int, limits: CallerLimits) -> AsyncIterator[tuple[RedisServer, list[LimitedReplica]]]:
    async with asyncio.timeout(TIME_LIMIT), RedisServer() as server:
        running = [LimitedReplica(server, limits) for _ in range(count)]
        yield server, running
        for replica in running:
            replica.coordinators.close()


async def until(condition: Callable[[], bool | Awaitable[bool]]) -> None:
    while True:
        found = condition()
        if found if isinstance(found, bool) else await found:
            return
        await asyncio.sleep(0.001)


async def test_replicas_admit_exactly_the_burst_together() -> None:
    limits = CallerLimits(RateLimit(1, 3600, 30))
    async with limited_replicas(3, limits) as (_, running):
        assert sum(await asyncio.gather(*(replica.calls(40) for replica in running))) == 30
        assert sum(await asyncio.gather(*(replica.calls(5) for replica in running))) == 0


async def test_replicas_admit_exactly_the_quota_together() -> None:
    async with limited_replicas(2, CallerLimits(calls=Quota(400, DAY))) as (_, running):
        assert sum(await asyncio.gather(*(replica.calls(300) for replica in running))) == 400


async def test_unused_blocks_of_a_large_quota_are_small() -> None:
    async with limited_replicas(2, CallerLimits(calls=Quota(2000, DAY))) as (_, running):
        admitted = sum(await asyncio.gather(*(replica.calls(1500) for replica in running)))
        assert 2000 - 2 * 2000 // QUOTA_BLOCKS <= admitted <= 2000


async def test_messages_of_one_replica_count_for_the_other() -> None:
    limits = CallerLimits(messages=Quota(10, DAY))
    async with limited_replicas(2, limits) as (_, [one, other]):
        assert await other.call()
        assert await one.call(messages=10)
        await until(lambda: one.used("messages") == 10)

        async def is_refused() -> bool:
            return not await other.call()

        await until(is_refused)
        assert other.used("messages") == 10


async def test_without_redis_each_replica_limits_alone(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "gateway.limits")
    limits = CallerLimits(RateLimit(1, 3600, 50), Quota(20, DAY))
    async with limited_replicas(2, limits) as (server, [one, other]):
        assert await one.calls(5) == 5
        assert await other.calls(5) == 5
        await server.kill()
        assert await one.calls(30) <= 15, "those of both replicas before count, as far as this one knows them"
        assert "replicas do not share the limits of callers" in caplog.text
        assert ("caller_limits_shared", (), 0) in one.coordinators.metrics()
        await server.start()
        await until(lambda: "share the limits of callers again" in caplog.text)

        async def is_refused() -> bool:
            return not await other.call()

        await until(is_refused)
        assert one.used("calls") >= 15


async def test_lost_counts_are_restored_from_the_last_known(caplog: pytest.LogCaptureFixture) -> None:
    limits = CallerLimits(calls=Quota(10, DAY))
    async with limited_replicas(1, limits) as (server, [only]):
        assert await only.calls(8) == 8
        async with server.client() as client:
            await client.set(KEY, b"garbage")
        assert await only.calls(8) == 2
        assert only.used("calls") == 10


async def test_permits_that_are_not_used_return() -> None:
    limits = CallerLimits(RateLimit(1000, 1, 1000), Quota(5000, DAY))
    async with limited_replicas(1, limits) as (server, [only]):
        assert await only.call()
        assert await only.call(1)

        async def all_returned() -> bool:
            async with server.client() as client:
                return b'"calls":[' in (text := await client.get(KEY)) and b",2]" in text

        await until(all_returned)
