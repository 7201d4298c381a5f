"""A store that goes, and comes back: nobody waits for it, nothing that counts is lost, and it is said."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from gateway.oauth.lifetime import Token
from gateway.oauth.store import StoreDown, StoreHealth
from gateway.oauth.stores.encrypted import EncryptedStore
from gateway.oauth.stores.fallback import CHECK_INTERVAL, RETRY_INTERVAL, FallbackStore
from gateway.oauth.stores.memory import MemoryStore
from tests.fakes.redis import RedisServer
from tests.fakes.waiting import TIME_LIMIT
from tests.oauth.backends import ManualSleep, RecordedStoreEvents, file_store, redis_store, token
from tests.oauth.scene import ManualClock

LIMIT = 2.0
"""Seconds that the store may take; only a paused server takes as long."""


@dataclass
class Scene:
    """One gateway's store before a Redis, and what another gateway does with it (`beside`)."""

    server: RedisServer
    store: FallbackStore
    beside: EncryptedStore
    clock: ManualClock
    events: RecordedStoreEvents
    crank: ManualSleep

    async def fall(self) -> None:
        await self.server.kill()
        assert await self.store.get_token("nothing") is None
        assert not self.store.health().ok

    async def back(self) -> None:
        await self.server.start()
        await self.returned()

    async def returned(self) -> None:
        self.crank.release()
        await self.events.wait_for_lines("down", "up")
        assert self.store.health() == StoreHealth(ok=True, kind="redis")


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    clock, events, crank = ManualClock(), RecordedStoreEvents(), ManualSleep()
    async with RedisServer() as server:
        store = FallbackStore(
            redis_store(server, clock),
            local=MemoryStore(clock),
            events=events,
            timeout=LIMIT,
            sleep=crank,
            random_fraction=lambda: 0.5,
        )
        beside = redis_store(server, clock)
        await beside.check()
        yield Scene(server, store, beside, clock, events, crank)
        await store.close()
        await beside.close()


def value(found: Token | None) -> str | None:
    return None if found is None else found.value


async def test_it_goes_on_with_what_it_has(scene: Scene) -> None:
    await scene.store.put_token("own", token("own", scene.clock))
    await scene.beside.put_token("shared", token("shared", scene.clock))
    assert value(await scene.store.get_token("shared")) == "shared"
    await scene.fall()
    health = scene.store.health()
    assert (health.ok, health.kind) == (False, "redis")
    assert "cannot be reached" in health.why
    assert value(await scene.store.get_token("own")) == "own"
    assert value(await scene.store.get_token("shared")) == "shared"
    await scene.store.put_token("new", token("new", scene.clock))
    assert value(await scene.store.get_token("new")) == "new"
    assert await scene.store.claim_lease("key", owner="a", seconds=10)
    assert not await scene.store.claim_lease("key", owner="b", seconds=10)
    await scene.store.delete_token("own", "own")
    assert await scene.store.get_token("own") is None
    await scene.events.wait_for_lines("down")


async def test_a_silent_store_is_waited_for_once(scene: Scene) -> None:
    await scene.store.put_token("key", token("a", scene.clock))
    loop = asyncio.get_running_loop()
    scene.server.pause()
    started_at = loop.time()
    found = await asyncio.gather(*(scene.store.get_token("key") for _ in range(100)))
    assert {value(one) for one in found} == {"a"}
    assert LIMIT <= loop.time() - started_at < TIME_LIMIT  # not once for each of a hundred
    started_at = loop.time()
    for number in range(100):
        await scene.store.get_token("key")
        await scene.store.put_token(str(number), token("b", scene.clock))
        await scene.store.claim_lease(str(number), owner="a", seconds=10)
        await scene.store.release_lease(str(number), owner="a")
    assert loop.time() - started_at < TIME_LIMIT
    assert scene.store.health().why == "no answer in time"
    scene.server.resume()
    await scene.returned()
    assert value(await scene.beside.get_token("99")) == "b"


async def test_it_is_tried_again_at_a_bounded_rate(scene: Scene) -> None:
    await scene.crank.wait_for_pauses(CHECK_INTERVAL)
    await scene.fall()
    for looks in range(1, 6):
        await scene.crank.wait_for_pauses(CHECK_INTERVAL, *[RETRY_INTERVAL * 1.5] * looks)
        scene.crank.release()
    await scene.events.wait_for_lines("down")


async def test_an_unused_store_is_checked_too(scene: Scene) -> None:
    await scene.crank.wait_for_pauses(CHECK_INTERVAL)
    await scene.server.kill()
    scene.crank.release()
    await scene.events.wait_for_lines("down")
    await scene.server.start()
    await scene.returned()


async def test_what_it_got_meanwhile_is_brought_back(scene: Scene) -> None:
    await scene.store.put_token("before", token("before", scene.clock))
    await scene.fall()
    await scene.store.put_token("meanwhile", token("meanwhile", scene.clock))
    await scene.store.put_token("dead by then", token("dead", scene.clock, life=1))
    scene.clock.advance(2)
    await scene.back()
    assert value(await scene.beside.get_token("before")) == "before"  # Redis had forgotten it
    assert value(await scene.beside.get_token("meanwhile")) == "meanwhile"
    assert await scene.beside.get_token("dead by then") is None
    await scene.beside.put_token("after", token("after", scene.clock))
    assert value(await scene.store.get_token("after")) == "after"


async def test_the_newer_token_wins(scene: Scene) -> None:
    await scene.fall()
    await scene.store.put_token("ours is older", token("ours", scene.clock))
    scene.clock.advance(5)
    await scene.server.start()
    for key in ("ours is older", "ours is newer"):
        await scene.beside.put_token(key, token("theirs", scene.clock))
    scene.clock.advance(5)
    await scene.store.put_token("ours is newer", token("ours", scene.clock))
    await scene.returned()
    assert value(await scene.store.get_token("ours is older")) == "theirs"
    assert value(await scene.beside.get_token("ours is newer")) == "ours"


async def test_what_was_refused_meanwhile_is_dropped_for_all(scene: Scene) -> None:
    """Only that: what another has put there since stays."""
    await scene.fall()
    await scene.store.delete_token("refused", "old")
    await scene.store.delete_token("renewed", "old")
    await scene.server.start()
    await scene.beside.put_token("refused", token("old", scene.clock))
    await scene.beside.put_token("renewed", token("new", scene.clock))
    await scene.returned()
    assert await scene.beside.get_token("refused") is None
    assert value(await scene.beside.get_token("renewed")) == "new"


async def test_a_lease_that_was_claimed_alone_is_claimed_of_all(scene: Scene) -> None:
    await scene.fall()
    assert await scene.store.claim_lease("key", owner="ours", seconds=10)
    await scene.back()
    assert not await scene.beside.claim_lease("key", owner="theirs", seconds=10)
    await scene.store.release_lease("key", owner="ours")
    assert await scene.beside.claim_lease("key", owner="theirs", seconds=10)


# Refresh tokens -----------------------------------------------------------------------------------------------------


async def test_a_refresh_token_is_kept_or_an_error(scene: Scene) -> None:
    await scene.store.put_refresh_token("key", "first")
    await scene.fall()
    for attempt in (
        scene.store.get_refresh_token("key"),
        scene.store.put_refresh_token("key", "lost"),
        scene.store.delete_refresh_token("key"),
    ):
        with pytest.raises(StoreDown):
            await attempt
    await scene.back()
    assert (
        await scene.store.get_refresh_token("key") is None
    )  # this Redis keeps nothing on disk; nobody made anything up
    await scene.store.put_refresh_token("key", "second")
    assert await scene.beside.get_refresh_token("key") == "second"


async def test_keeping_one_is_tried_even_while_the_store_is_down(scene: Scene) -> None:
    await scene.fall()
    await scene.server.start()
    assert not scene.store.health().ok
    await scene.store.put_refresh_token("key", "r")
    assert await scene.beside.get_refresh_token("key") == "r"
    await scene.returned()


async def test_a_refresh_token_is_not_given_to_two_gateways(scene: Scene) -> None:
    """Used twice, a refresh token signs the gateway out at some identity servers."""
    await scene.fall()
    assert await scene.store.claim_lease("key", owner="ours", seconds=10)
    await scene.server.start()
    await scene.beside.put_refresh_token("key", "r")
    assert await scene.beside.claim_lease("key", owner="theirs", seconds=10)
    await scene.returned()
    with pytest.raises(StoreDown, match="another gateway"):
        await scene.store.get_refresh_token("key")
    await scene.store.release_lease("key", owner="ours")
    assert not await scene.store.claim_lease("key", owner="ours", seconds=10)
    await scene.beside.release_lease("key", owner="theirs")
    assert await scene.store.claim_lease("key", owner="ours", seconds=10)
    assert await scene.store.get_refresh_token("key") == "r"


# Beginning and end --------------------------------------------------------------------------------------------------


async def test_a_store_that_is_down_from_the_start_is_no_end(tmp_path: Path) -> None:
    clock, events, crank = ManualClock(), RecordedStoreEvents(), ManualSleep()
    inner = file_store(tmp_path / "later" / "state.db", clock)
    store = FallbackStore(inner, local=MemoryStore(clock), events=events, timeout=LIMIT, sleep=crank)
    await store.put_token("key", token("a", clock))
    await events.wait_for_lines("down")
    (tmp_path / "later").mkdir()
    crank.release()
    await events.wait_for_lines("down", "up")
    assert value(await inner.get_token("key")) == "a"
    await store.close()


async def test_what_memory_held_before_is_shared(tmp_path: Path) -> None:
    """As after a change of `state:`."""
    clock, crank = ManualClock(), ManualSleep()
    local = MemoryStore(clock)
    await local.put_token("key", token("a", clock))
    inner = file_store(tmp_path / "state.db", clock)
    store = FallbackStore(inner, local=local, events=RecordedStoreEvents(), timeout=LIMIT, sleep=crank)
    await crank.wait_for_pauses(CHECK_INTERVAL)
    assert value(await inner.get_token("key")) == "a"
    await store.close()


async def test_a_closed_store_answers_from_memory(scene: Scene) -> None:
    await scene.store.put_token("key", token("a", scene.clock))
    await scene.store.close()
    assert value(await scene.store.get_token("key")) == "a"
    await scene.store.put_token("key", token("b", scene.clock))
    assert await scene.store.claim_lease("key", owner="a", seconds=10)
    await scene.store.release_lease("key", owner="a")
    with pytest.raises(StoreDown, match="closed"):
        await scene.store.get_refresh_token("key")


class Defective(EncryptedStore):
    """Fails in a way that nobody has thought of, and no more when it is `is_available`."""

    is_available = False

    async def check(self) -> None:
        if not self.is_available:
            raise ZeroDivisionError
        await super().check()


async def test_a_defect_in_looking_does_not_end_looking(tmp_path: Path) -> None:
    clock, events, crank = ManualClock(), RecordedStoreEvents(), ManualSleep()
    whole = file_store(tmp_path / "state.db", clock)
    inner = Defective(whole._backend, cipher=whole._cipher, clock=clock, reporter=events)
    store = FallbackStore(inner, local=MemoryStore(clock), events=events, timeout=LIMIT, sleep=crank)
    await events.wait_for_lines("down")
    assert store.health().why.startswith("defect: ZeroDivisionError at ")
    inner.is_available = True
    crank.release()
    await events.wait_for_lines("down", "up")
    await store.close()
