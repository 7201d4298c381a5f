"""What every store promises; each adapter alone, and behind `Sharing`."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.oauth.store import StoreHealth
from gateway.oauth.stores.fallback import FallbackStore
from gateway.oauth.stores.memory import MemoryStore
from tests.fakes.redis import RedisServer
from tests.oauth.backends import RecordedStoreEvents, StoreUnderTest, file_store, redis_store, token
from tests.oauth.scene import ManualClock

KINDS = ("memory", "file", "redis")


@asynccontextmanager
async def opened(kind: str, folder: Path) -> AsyncIterator[StoreUnderTest]:
    clock = ManualClock()

    async def turn(seconds: float) -> None:
        clock.advance(seconds)

    if kind == "memory":
        yield StoreUnderTest(MemoryStore(clock), clock, turn)
    elif kind == "file":
        yield StoreUnderTest(file_store(folder / "state.db", clock), clock, turn)
    else:
        async with RedisServer() as server:

            async def turn_both(seconds: float) -> None:
                clock.advance(seconds)
                await server.advance_time(seconds)

            yield StoreUnderTest(redis_store(server, clock), clock, turn_both)


@pytest.fixture(params=[*KINDS, "sharing file", "sharing redis"])
async def subject(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[StoreUnderTest]:
    kind: str = request.param
    async with opened(kind.rpartition(" ")[2], tmp_path) as inner:
        if kind.startswith("sharing"):
            local, events = MemoryStore(inner.clock), RecordedStoreEvents()
            inner.store = FallbackStore(inner.store, local=local, events=events, timeout=5.0)  # type: ignore[arg-type] # never a MemoryStore here
        yield inner
        assert inner.store.health() == StoreHealth(ok=True, kind=kind.rpartition(" ")[2])
        await inner.store.close()


async def test_a_token_is_given_until_it_is_dead(subject: StoreUnderTest) -> None:
    await subject.store.put_token("key", token("a", subject.clock))
    await subject.turn(59)
    found = await subject.store.get_token("key")
    assert found is not None
    assert found.value == "a"
    await subject.turn(1)
    assert await subject.store.get_token("key") is None


async def test_a_token_comes_back_with_the_times_it_had(subject: StoreUnderTest) -> None:
    stored = token("a", subject.clock, life=3600)
    await subject.store.put_token("key", stored)
    await subject.turn(7)
    found = await subject.store.get_token("key")
    assert found is not None
    for name in ("obtained_at", "stale_at", "usable_until", "usable_until_wall"):
        assert getattr(found, name) == pytest.approx(getattr(stored, name), abs=0.001)


@pytest.mark.parametrize("clock", ["passed", "time"])
async def test_either_clock_can_call_a_token_dead(subject: StoreUnderTest, clock: str) -> None:
    stored = token("a", subject.clock)
    if clock == "passed":
        stored = replace(stored, usable_until=subject.clock.monotonic())
    else:
        stored = replace(stored, usable_until_wall=subject.clock.wall())
    await subject.store.put_token("key", stored)
    assert await subject.store.get_token("key") is None


async def test_keys_are_apart_and_the_last_put_wins(subject: StoreUnderTest) -> None:
    await subject.store.put_token("one", token("a", subject.clock))
    await subject.store.put_token("one", token("b", subject.clock))
    found = await subject.store.get_token("one")
    assert found is not None
    assert found.value == "b"
    assert await subject.store.get_token("other") is None


async def test_only_the_token_that_is_meant_is_dropped(subject: StoreUnderTest) -> None:
    """A late 401 for the old token must not take the new one away."""
    await subject.store.put_token("key", token("new", subject.clock))
    await subject.store.delete_token("key", "old")
    found = await subject.store.get_token("key")
    assert found is not None
    assert found.value == "new"
    await subject.store.delete_token("key", "new")
    assert await subject.store.get_token("key") is None
    await subject.store.delete_token("key", "new")
    await subject.store.delete_token("other", "new")


async def test_a_lease_is_one_owner_s_until_it_is_released(subject: StoreUnderTest) -> None:
    assert await subject.store.claim_lease("key", owner="a", seconds=10)
    assert not await subject.store.claim_lease("key", owner="b", seconds=10)
    assert await subject.store.claim_lease("other", owner="b", seconds=10)
    await subject.store.release_lease("key", owner="b")
    assert not await subject.store.claim_lease("key", owner="b", seconds=10)
    await subject.store.release_lease("key", owner="a")
    assert await subject.store.claim_lease("key", owner="b", seconds=10)
    await subject.store.release_lease("key", owner="a")
    assert not await subject.store.claim_lease("key", owner="a", seconds=10)


async def test_a_lease_of_a_dead_holder_ends(subject: StoreUnderTest) -> None:
    assert await subject.store.claim_lease("key", owner="a", seconds=10)
    await subject.turn(9)
    assert not await subject.store.claim_lease("key", owner="b", seconds=10)
    await subject.turn(1.1)
    assert await subject.store.claim_lease("key", owner="b", seconds=10)
    assert not await subject.store.claim_lease("key", owner="a", seconds=10)


async def test_a_lease_is_prolonged_by_its_owner(subject: StoreUnderTest) -> None:
    assert await subject.store.claim_lease("key", owner="a", seconds=10)
    await subject.turn(9)
    assert await subject.store.claim_lease("key", owner="a", seconds=10)
    await subject.turn(9)
    assert not await subject.store.claim_lease("key", owner="b", seconds=10)


async def test_of_many_who_claim_at_once_one_wins(subject: StoreUnderTest) -> None:
    won = await asyncio.gather(
        *(subject.store.claim_lease("key", owner=str(number), seconds=10) for number in range(50))
    )
    assert won.count(True) == 1


async def test_many_questions_at_once_are_all_answered(subject: StoreUnderTest) -> None:
    """As of a gateway with many credentials, at its start."""
    numbers = [str(number) for number in range(300)]
    assert all(await asyncio.gather(*(subject.store.claim_lease(number, owner="a", seconds=10) for number in numbers)))
    await asyncio.gather(*(subject.store.put_token(number, token(number, subject.clock)) for number in numbers))
    found = await asyncio.gather(*(subject.store.get_token(number) for number in numbers))
    assert [one and one.value for one in found] == numbers


async def test_a_refresh_token_is_kept_for_ever_and_replaced(subject: StoreUnderTest) -> None:
    assert await subject.store.get_refresh_token("key") is None
    await subject.store.put_refresh_token("key", "first")
    await subject.store.put_refresh_token("key", "second-é")
    await subject.turn(400 * 86400.0)
    assert await subject.store.get_refresh_token("key") == "second-é"
    assert await subject.store.get_refresh_token("other") is None
    await subject.store.delete_refresh_token("key")
    assert await subject.store.get_refresh_token("key") is None
    await subject.store.delete_refresh_token("key")


async def test_token_lease_and_refresh_token_of_one_key_are_apart(subject: StoreUnderTest) -> None:
    await subject.store.put_token("key", token("a", subject.clock))
    assert await subject.store.claim_lease("key", owner="a", seconds=10)
    await subject.store.put_refresh_token("key", "r")
    await subject.store.delete_token("key", "a")
    await subject.store.release_lease("key", owner="a")
    assert await subject.store.get_refresh_token("key") == "r"


async def test_a_dead_token_replaces_nothing(subject: StoreUnderTest) -> None:
    await subject.store.put_token("key", token("a", subject.clock))
    await subject.store.put_token("key", token("b", subject.clock, life=0))
    found = await subject.store.get_token("key")
    assert found is not None
    assert found.value == "a"


async def test_memory_is_bounded() -> None:
    clock = ManualClock()
    store = MemoryStore(clock, size=2)
    for number in range(9):
        await store.put_token(str(number), token("a", clock))
    assert [await store.get_token(str(number)) is not None for number in range(9)].count(True) == 2
