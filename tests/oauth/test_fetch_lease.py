"""Several sources on one store: as workers and replicas are, but in one loop and with one clock."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from gateway.errors import TokenRefused, TokenUnavailable
from gateway.oauth.fetch_lease import LEASE_SECONDS
from gateway.oauth.grants import token_key
from gateway.oauth.lifetime import Token
from gateway.oauth.store import Store, StoreDown
from gateway.oauth.stores.memory import MemoryStore
from gateway.oauth.token_source import TokenSource
from tests.fakes.identity import Answer, Identity, answer, refusal, token
from tests.oauth.scene import ROUTE, ManualClock, Scene, scene
from tests.oauth.test_token_source import DEAD, STALE, wait_for_fetches


@asynccontextmanager
async def several(url: str, count: int, clock: ManualClock, store: Store | None = None) -> AsyncIterator[list[Scene]]:
    store = store or MemoryStore(clock)
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(scene(url, clock=clock, store=store)) for _ in range(count)]


async def reported(source: TokenSource) -> None:
    """Waits until the source has told those who share the store."""
    await source._reports.wait()


def key(identity: Identity) -> str:
    return token_key(identity.url, client_id="orders", grant="client_credentials")


class Down(MemoryStore):
    """A store that can be reached only while `up`."""

    up = False

    async def get_token(self, key: str) -> Token | None:
        self._reached()
        return await super().get_token(key)

    async def put_token(self, key: str, token: Token) -> None:
        self._reached()
        await super().put_token(key, token)

    async def delete_token(self, key: str, value: str) -> None:
        self._reached()
        await super().delete_token(key, value)

    async def claim_lease(self, key: str, *, owner: str, seconds: float) -> bool:
        self._reached()
        return await super().claim_lease(key, owner=owner, seconds=seconds)

    async def release_lease(self, key: str, *, owner: str) -> None:
        self._reached()
        await super().release_lease(key, owner=owner)

    def _reached(self) -> None:
        if not self.up:
            raise StoreDown("not reachable")


class Busy(MemoryStore):
    """A store that tells when someone has asked in vain for a lease, and when a lease was prolonged."""

    def __init__(self, clock: ManualClock) -> None:
        super().__init__(clock)
        self.refused, self.prolonged = asyncio.Event(), asyncio.Event()

    async def claim_lease(self, key: str, *, owner: str, seconds: float) -> bool:
        holders = {holder for _, holder, _ in self.leases()}
        is_claimed = await super().claim_lease(key, owner=owner, seconds=seconds)
        if not is_claimed:
            self.refused.set()
        elif owner in holders:
            self.prolonged.set()
        return is_claimed


@pytest.mark.parametrize("sources", [1, 8, 25])
async def test_a_thousand_callers_over_all_sources_cost_one_request(sources: int) -> None:
    gate, clock = asyncio.Event(), ManualClock()
    script = (token("a"), token("b").behind(gate))
    async with Identity(*script) as identity, several(identity.url, sources, clock) as stages:
        assert {await stage.source.get_token() for stage in stages} == {"a"}
        assert len(identity.requests) == 1
        clock.advance(DEAD)
        waiting = [asyncio.create_task(stages[number % sources].source.get_token()) for number in range(1000)]
        await identity.wait_for_requests(2)
        for caller in waiting[::7]:
            caller.cancel()
        gate.set()
        results = await asyncio.gather(*waiting, return_exceptions=True)
        assert [one for one in results if not isinstance(one, asyncio.CancelledError)] == ["b"] * (1000 - 143)
    assert len(identity.requests) == 2


async def test_a_stale_token_is_renewed_once_over_all_sources() -> None:
    gate, clock = asyncio.Event(), ManualClock()
    script = (token("a"), token("b").behind(gate))
    async with Identity(*script) as identity, several(identity.url, 4, clock) as stages:
        for stage in stages:
            await stage.source.get_token()
        clock.advance(STALE)
        assert [await stage.source.get_token() for stage in stages] == ["a"] * 4
        await identity.wait_for_requests(2)
        gate.set()
        for stage in stages:
            await wait_for_fetches(stage.source)
        assert [stage.source.get_fresh_token() for stage in stages] == ["b"] * 4
    assert len(identity.requests) == 2


async def test_a_stale_token_of_another_is_better_than_none() -> None:
    clock = ManualClock()
    async with Identity(token("a"), answer(503)) as identity, several(identity.url, 2, clock) as (first, second):
        await first.source.get_token()
        clock.advance(STALE)
        assert await second.source.get_token() == "a"
    assert len(identity.requests) == 2


@pytest.mark.parametrize(
    ("response", "kind", "waits"),
    [(answer(503), TokenUnavailable, 1), (refusal("invalid_client", 401), TokenRefused, 30)],
    ids=["transient", "permanent"],
)
async def test_a_failure_is_met_once_over_all_sources(response: Answer, kind: type[Exception], waits: float) -> None:
    clock = ManualClock()
    async with Identity(*[response] * 9) as identity, several(identity.url, 5, clock) as stages:
        for tries in (1, 2, 3):
            clock.advance(waits)
            results = await asyncio.gather(*(stage.source.get_token() for stage in stages), return_exceptions=True)
            assert [type(error) for error in results] == [kind] * 5
            assert len({stage.source.status()["next_try_s"] for stage in stages}) == 1
            assert len(identity.requests) == tries


async def test_a_source_that_has_not_tried_yet_tries_for_itself() -> None:
    clock = ManualClock()
    async with Identity(refusal("invalid_client", 401)) as identity, several(identity.url, 1, clock) as (first,):
        with pytest.raises(TokenRefused):
            await first.source.get_token()
        clock.advance(1)
        async with scene(identity.url, clock=clock, store=first.store) as second:
            assert await second.source.get_token() == "token-1"
        assert await first.source.get_token() == "token-1"  # found, though its own tries are held off
    assert len(identity.requests) == 2


async def test_a_success_clears_earlier_failures() -> None:
    clock = ManualClock()
    async with Identity(answer(429, retry_after="250")) as identity, several(identity.url, 2, clock) as (first, second):
        await asyncio.gather(first.source.get_token(), return_exceptions=True)
        second.source.reset_back_off()
        assert await second.source.get_token() == "token-1"
        identity.script = [token("short", 20)]
        assert await second.source.force_refresh() == "short"
        clock.advance(19)
        assert await second.source.get_token() == "token-2"


async def test_a_dead_holder_is_waited_for_until_its_lease_ends() -> None:
    clock = ManualClock()
    store = Busy(clock)
    async with Identity() as identity, scene(identity.url, clock=clock, store=store) as stage:
        await store.claim_lease(key(identity), owner="dead", seconds=LEASE_SECONDS)
        waiting = asyncio.create_task(stage.source.get_token())
        await store.refused.wait()
        assert identity.requests == []
        clock.advance(LEASE_SECONDS)
        assert await waiting == "token-1"


async def test_a_lease_is_prolonged_while_its_holder_fetches() -> None:
    gate, clock = asyncio.Event(), ManualClock()
    store = Busy(clock)
    async with Identity(token("a").behind(gate)) as identity, several(identity.url, 2, clock, store) as (first, second):
        waiting = [asyncio.create_task(first.source.get_token())]
        await identity.wait_for_requests(1)
        clock.advance(LEASE_SECONDS - 1)
        await asyncio.wait_for(store.prolonged.wait(), LEASE_SECONDS)
        clock.advance(LEASE_SECONDS - 1)
        waiting.append(asyncio.create_task(second.source.get_token()))
        await store.refused.wait()
        gate.set()
        assert await asyncio.gather(*waiting) == ["a", "a"]
    assert len(identity.requests) == 1


async def test_a_lease_that_never_ends_is_not_waited_for_for_ever() -> None:
    clock = ManualClock()
    store = Busy(clock)
    async with Identity() as identity, scene(identity.url, clock=clock, store=store) as stage:
        await store.claim_lease(key(identity), owner="stuck", seconds=1e9)
        waiting = asyncio.create_task(stage.source.get_token())
        await store.refused.wait()
        assert identity.requests == []
        clock.advance(60)
        assert await waiting == "token-1"
        assert not await store.claim_lease(key(identity), owner="other", seconds=1)


async def test_a_wait_for_the_fetch_of_another_source_is_bounded() -> None:
    clock = ManualClock()
    store = MemoryStore(clock)
    async with Identity() as identity, scene(identity.url, clock=clock, store=store, token_wait=0.05) as stage:
        await store.claim_lease(key(identity), owner="slow", seconds=1e9)
        with pytest.raises(TokenUnavailable) as caught:
            await stage.source.get_token()
        assert caught.value.reason.startswith("waiting: ")
        assert caught.value.retry_after == 1.0


async def test_nothing_is_left_held_after_a_fetch_whatever_came_of_it() -> None:
    clock = ManualClock()
    store = MemoryStore(clock)
    async with Identity(token("a"), answer(503)) as identity, several(identity.url, 2, clock, store) as stages:
        for stage in stages:
            await stage.source.get_token()
        clock.advance(DEAD)
        await asyncio.gather(stages[0].source.get_token(), return_exceptions=True)
        assert not list(store.leases())
        slow = asyncio.Event()
        identity.script = [token("b").behind(slow)]
        clock.advance(61)
        waiting = asyncio.create_task(stages[0].source.get_token())
        await identity.wait_for_requests(3)
        assert [name for name, _, _ in store.leases()] == [key(identity)]
        await stages[0].source.close()
        await asyncio.gather(waiting, return_exceptions=True)
        assert not list(store.leases())


async def test_a_refused_token_is_replaced_once_per_interval() -> None:
    clock = ManualClock()
    async with Identity() as identity, several(identity.url, 4, clock) as stages:
        for stage in stages:
            await stage.source.get_token()
        assert {await stage.source.renew_rejected_token("token-1", ROUTE) for stage in stages} == {"token-2"}
        clock.advance(10)
        assert {await stage.source.renew_rejected_token("token-2", ROUTE) for stage in stages} == {None}
        assert {stage.source.get_fresh_token() for stage in stages} == {"token-2"}
        assert len(identity.requests) == 2
        clock.advance(20)
        results = await asyncio.gather(
            *(stage.source.renew_rejected_token("token-2", ROUTE) for stage in stages for _ in range(50))
        )
        assert set(results) == {"token-3"}
    assert len(identity.requests) == 3


async def test_an_accepted_token_may_be_replaced_at_once_by_any_source() -> None:
    clock = ManualClock()
    async with Identity() as identity, several(identity.url, 3, clock) as stages:
        for stage in stages:
            await stage.source.get_token()
        for number in range(1, 6):  # the one that renews sees no further call
            forcing, other, third = (stages[(number + place) % 3].source for place in range(3))
            assert await forcing.renew_rejected_token(f"token-{number}", ROUTE) == f"token-{number + 1}"
            assert await other.renew_rejected_token(f"token-{number}", ROUTE) == f"token-{number + 1}"
            other.record_acceptance(f"token-{number + 1}", ROUTE)
            await reported(other)
            assert await third.renew_rejected_token(f"token-{number}", ROUTE) == f"token-{number + 1}"
            third.record_acceptance(f"token-{number + 1}", ROUTE)
            clock.advance(1)
    assert len(identity.requests) == 6


async def test_a_route_that_refuses_all_costs_one_renewal_per_interval() -> None:
    """Beside a route that accepts every token, whatever the order of the two."""
    clock = ManualClock()
    async with Identity() as identity, several(identity.url, 3, clock) as stages:
        for second in range(60):
            for stage in stages:
                sent = stage.source.get_fresh_token() or await stage.source.get_token("refusing")
                stage.source.record_acceptance(sent, "accepting")
                stage.source.record_rejection(sent, "refusing")
                await wait_for_fetches(stage.source)
                stage.source.record_acceptance(
                    stage.source.get_fresh_token() or await stage.source.get_token(), "accepting"
                )
                await reported(stage.source)
            assert len(identity.requests) <= 1 + (1 + second // 30) * len(stages)
            clock.advance(1)


async def test_only_the_present_token_is_dropped_when_refused() -> None:
    clock = ManualClock()
    async with Identity() as identity, several(identity.url, 2, clock) as (first, second):
        await first.source.get_token()
        await second.source.get_token()
        assert await first.source.renew_rejected_token("token-1", ROUTE) == "token-2"
        clock.advance(60)
        assert await second.source.renew_rejected_token("token-1", ROUTE) == "token-2"  # a late 401: found, not fetched
        present = await first.store.get_token(key(identity))
        assert present is not None
        assert present.value == "token-2"
    assert len(identity.requests) == 2


async def test_many_401_cost_one_token_request_per_interval() -> None:
    async def call(stage: Scene) -> None:
        sent = stage.source.get_fresh_token() or await stage.source.get_token()
        if (again := await stage.source.renew_rejected_token(sent, ROUTE)) is not None:
            stage.source.record_rejection(again, ROUTE)

    clock = ManualClock()
    async with Identity() as identity, several(identity.url, 4, clock) as stages:
        for stage in stages:
            await stage.source.get_token()
        for _ in range(90):
            await asyncio.gather(*(call(stage) for stage in stages for _ in range(5)))
            assert all(stage.source.get_fresh_token() is not None for stage in stages)
            clock.advance(1)
    assert len(identity.requests) <= 1 + 3


async def test_a_failed_forced_renewal_is_retried_after_its_back_off() -> None:
    clock = ManualClock()
    script = (token("a"), answer(503))
    async with Identity(*script) as identity, several(identity.url, 2, clock) as (first, second):
        await first.source.get_token()
        await second.source.get_token()
        assert await first.source.renew_rejected_token("a", ROUTE) is None
        clock.advance(1)
        assert await second.source.renew_rejected_token("a", ROUTE) == "token-1"


async def test_without_the_store_each_goes_on_by_itself() -> None:
    clock = ManualClock()
    store = Down(clock)
    async with Identity() as identity, several(identity.url, 2, clock, store) as (first, second):
        assert [await first.source.get_token(), await second.source.get_token()] == ["token-1", "token-2"]
        assert await first.source.renew_rejected_token("token-1", ROUTE) == "token-3"
        clock.advance(1)
        assert await first.source.renew_rejected_token("token-3", ROUTE) is None
        identity.script = [answer(503)]
        clock.advance(DEAD)
        await asyncio.gather(first.source.get_token(), return_exceptions=True)
        clock.advance(1)
        assert await first.source.get_token() == "token-4"
        store.up = True
        clock.advance(DEAD)
        assert {await first.source.get_token(), await second.source.get_token()} == {"token-5"}
