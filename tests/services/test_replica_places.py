"""Replicas share the places of a service in a real Redis."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial

import pytest

from gateway.services.coordinator import ServiceLimit
from gateway.services.lease_messages import CoordinatorMessage, GrantPlaces, KeepPlaces, RecallPlaces
from gateway.services.place_ledger import PlaceLedger
from gateway.services.replica_places import LEASE_SECONDS, ReplicaPlaces
from gateway.services.service_coordinators import ServiceCoordinators
from gateway.services.service_gate import Place
from gateway.services.service_gates import GateSettings, ServiceGates
from tests.fakes.redis import RedisServer
from tests.fakes.waiting import TIME_LIMIT

ORIGIN = "https://acme.example:443"
KEY = f"test:1:places:{ORIGIN}"


LET_LEASE_END = """
local all = cjson.decode(redis.call('GET', KEYS[1]))
all[ARGV[1]][3] = 0
return redis.call('SET', KEYS[1], cjson.encode(all), 'KEEPTTL')
"""


class Replica:
    """A gateway of one process with one service."""

    def __init__(self, name: str, server: RedisServer, calls: int) -> None:
        loop = asyncio.get_running_loop()
        self.coordinators = ServiceCoordinators(scheduler=loop, random_fraction=lambda: 0.0)
        gates = ServiceGates(now=loop.time)
        gates.send = partial(self.coordinators.receive, 0)
        self.coordinators.add_worker(0, gates.receive)
        gates.configure({ORIGIN: GateSettings("acme", TIME_LIMIT)})
        self.coordinators.configure({ORIGIN: ServiceLimit("acme", calls)}, has_replicas=True)
        self.gate = gates.gate(ORIGIN)
        self.places: list[Place] = []
        self.calls: list[asyncio.Task[None]] = []
        self._server = server
        self.sharing = ReplicaPlaces(self.coordinators, server.evaluate, replica=name, prefix="test")
        self.sharing.start()

    def call(self, count: int) -> None:
        """Begin so many calls, which last until `end`."""
        self.calls += [asyncio.create_task(self._call()) for _ in range(count)]

    async def _call(self) -> None:
        self.places.append(self.gate.place if self.gate.try_acquire(0.0) else await self.gate.acquire("a", 1))

    def end(self, count: int) -> None:
        """End so many calls."""
        for _ in range(count):
            self.places.pop().release()

    @property
    def running(self) -> int:
        """The number of calls that have begun."""
        return len(self.places)

    async def kill(self) -> None:
        """End without a word."""
        assert self.sharing._task is not None
        self.sharing._task.cancel()
        await asyncio.wait({self.sharing._task})
        await self.stop()

    async def stop(self) -> None:
        for call in self.calls:
            call.cancel()
        await asyncio.gather(*self.calls, return_exceptions=True)
        self.coordinators.close()


@asynccontextmanager
async def replicas(count: int, calls: int) -> AsyncIterator[tuple[RedisServer, list[Replica]]]:
    async with asyncio.timeout(TIME_LIMIT), RedisServer() as server:
        running = [Replica(f"replica-{number}", server, calls) for number in range(count)]
        yield server, running
        for replica in running:
            await replica.sharing.close()
            await replica.stop()


async def until(state: Callable[[], bool], *running: Replica, limit: int) -> None:
    """Wait for a state; at no time are there more calls than the limit."""
    while not state():
        assert sum(replica.gate.running for replica in running) <= limit
        await asyncio.sleep(0.001)


async def test_one_replica_gets_every_place() -> None:
    async with replicas(1, 10) as (_, [only]):
        only.call(30)
        await until(lambda: only.running == 10, only, limit=10)
        assert only.gate.waiting == 20


async def test_busy_replicas_have_even_parts() -> None:
    async with replicas(3, 10) as (_, running):
        for replica in running:
            replica.call(30)
        await until(lambda: sum(replica.running for replica in running) == 10, *running, limit=10)
        while not all(replica.running in {3, 4} for replica in running):
            most = max(running, key=lambda replica: replica.running)
            if most.running > 3:
                most.end(1)
            assert sum(replica.gate.running for replica in running) <= 10
            await asyncio.sleep(0.001)


async def test_idle_replica_lends_its_places() -> None:
    async with replicas(2, 10) as (_, [idle, busy]):
        idle.call(5)
        await until(lambda: idle.running == 5, idle, busy, limit=10)
        idle.end(5)
        busy.call(9)
        await until(lambda: busy.running >= 7, idle, busy, limit=10)
        idle.call(1)
        await until(lambda: idle.running == 1, idle, busy, limit=10)


async def test_places_of_a_dead_replica_return() -> None:
    async with replicas(2, 4) as (server, [dead, alive]):
        dead.call(4)
        await until(lambda: dead.running == 4, dead, alive, limit=4)
        await dead.kill()
        alive.call(4)
        async with server.client() as client:
            await client.eval(LET_LEASE_END, 1, KEY, dead.sharing._replica)
        await until(lambda: alive.running == 4, alive, limit=4)


async def test_stopped_replica_gives_its_places_up_at_once() -> None:
    async with replicas(2, 4) as (server, [first, second]):
        first.call(4)
        await until(lambda: first.running == 4, first, second, limit=4)
        await first.sharing.close()
        async with server.client() as client:
            assert first.sharing._replica not in (await client.get(KEY)).decode()


async def test_restart_of_redis_changes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "gateway.services")
    async with replicas(2, 10) as (server, running):
        for replica in running:
            replica.call(5)
        await until(lambda: all(replica.running == 5 for replica in running), *running, limit=10)
        await server.kill()
        await until(lambda: caplog.text.count("do not share the places") == 2, *running, limit=10)
        assert [replica.running for replica in running] == [5, 5]
        for replica in running:
            replica.call(5)
        await server.start()
        await until(lambda: caplog.text.count("places of services again") == 2, *running, limit=10)
        async with server.client() as client:
            assert await client.pttl(KEY) > LEASE_SECONDS * 1000


async def test_replica_without_redis_uses_the_whole_limit(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "gateway.services")
    async with replicas(1, 10) as (server, _):
        await server.kill()
        alone = Replica("alone", server, 10)
        alone.call(12)
        await until(lambda: alone.running == 10, alone, limit=10)
        assert "replicas do not share the places of services" in caplog.text
        await server.start()
        await until(lambda: "places of services again" in caplog.text, alone, limit=10)
        await alone.sharing.close()
        await alone.stop()


def test_ledger_keeps_no_idle_place_while_others_are_short() -> None:
    ledger = PlaceLedger(10)
    sent: list[CoordinatorMessage] = []
    ledger.add_worker(1)
    ledger.wait(1, 1, "a", 1)
    ledger.dispatch()
    ledger.keeps_none_idle = True
    sent += [message for _, message in ledger.dispatch()]
    ledger.return_places(1, 9)
    ledger.wait(1, 2, "a", 1)
    sent += [message for _, message in ledger.dispatch()]
    ledger.keeps_none_idle = False
    sent += [message for _, message in ledger.dispatch()]
    assert sent == [RecallPlaces(), GrantPlaces((2,), 0), KeepPlaces()]
