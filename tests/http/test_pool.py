"""The pool of one origin: its bound, its line, and what it keeps."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.errors import Overloaded, UpstreamBroken, UpstreamUnreachable
from gateway.http import pool
from gateway.http.upstream_connection import UpstreamConnection
from gateway.network.dial import Origin
from gateway.proxy.headers import RESPONSE_RULES
from tests.fakes.gate import until
from tests.fakes.upstream import OK, ScriptedConnection, Upstream
from tests.fakes.waiting import TIME_LIMIT

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


@asynccontextmanager
async def opened_pool(
    peer: Upstream, *, size: int = 2, idle: float = 60.0, max_age: float = 60.0, within: float = TIME_LIMIT
) -> AsyncIterator[pool.ConnectionPool]:
    async with asyncio.timeout(within), peer:
        made = pool.ConnectionPool(
            Origin("127.0.0.1", peer.port, None, None), RESPONSE_RULES, size=size, idle_timeout=idle, max_age=max_age
        )
        try:
            yield made
        finally:
            made.close()


async def use(connection: UpstreamConnection) -> bytes:
    """One exchange."""
    connection.start_exchange(is_head_request=False)
    connection.write([GET])
    await connection.read_head()
    got = b""
    while pieces := await connection.read_body(5.0):
        got += b"".join(pieces)
    return got


async def waiting(made: pool.ConnectionPool, count: int) -> None:
    await until(lambda: made.count_by_state()["waiting"] == count)


async def test_the_last_used_is_taken_first() -> None:
    async with opened_pool(Upstream()) as made:
        first, second = await made.acquire(5), await made.acquire(5)
        for connection in (first, second):
            await use(connection)
            made.release(connection)
        assert made.try_acquire() is second
        assert await made.acquire(5) is first
        assert made.try_acquire() is None
        assert made.count_by_state() == {"busy": 2, "idle": 0, "dialing": 0, "waiting": 0}


async def test_a_connection_that_carried_nothing_is_not_kept() -> None:
    async with opened_pool(Upstream()) as made:
        made.release(await made.acquire(5))
        assert made.count_by_state()["idle"] == 0


async def test_who_waits_is_served_in_the_order_of_asking() -> None:
    async with opened_pool(Upstream(), size=1) as made:
        held = await made.acquire(5)
        served: list[int] = []

        async def one(number: int) -> None:
            connection = await made.acquire(5)
            served.append(number)
            await use(connection)
            made.release(connection)

        calls = []
        for number in range(5):
            calls.append(asyncio.create_task(one(number)))
            await waiting(made, number + 1)
        calls[2].cancel()
        await waiting(made, 4)
        await use(held)
        made.release(held)
        await asyncio.gather(*calls, return_exceptions=True)
        assert served == [0, 1, 3, 4]


async def test_waiters_are_served_in_order() -> None:
    async with opened_pool(Upstream(), size=1) as made:
        held = await made.acquire(5)
        first = asyncio.create_task(made.acquire(5))
        await waiting(made, 1)
        await use(held)
        made.release(held)
        assert made.try_acquire() is None
        assert await first is held


async def test_a_turn_that_comes_as_its_waiter_leaves_is_handed_on() -> None:
    for reusable in (True, False):
        async with opened_pool(Upstream(), size=1) as made:
            held = await made.acquire(5)
            leaver, stayer = asyncio.create_task(made.acquire(5)), asyncio.create_task(made.acquire(5))
            await waiting(made, 2)
            if reusable:
                await use(held)
            made.release(held)  # the turn is the leaver's, who has not run yet
            leaver.cancel()
            got = await stayer
            assert (got is held) is reusable
            assert leaver.cancelled()
            assert made.count_by_state() == {"busy": 1, "idle": 0, "dialing": 0, "waiting": 0}


async def test_a_connection_lost_on_its_way_to_who_waited_is_replaced() -> None:
    async with opened_pool(Upstream(), size=1) as made:
        held = await made.acquire(5)
        waiter = asyncio.create_task(made.acquire(5))
        await waiting(made, 1)
        await use(held)
        made.release(held)
        held.abort()
        got = await waiter
        assert got is not held
        assert await use(got) == b"ok"
        assert made.count_by_state() == {"busy": 1, "idle": 0, "dialing": 0, "waiting": 0}


async def test_a_full_pool_is_overload_and_a_failed_dial_unreachable() -> None:
    async with opened_pool(Upstream(), size=1) as made:
        held = await made.acquire(5)
        with pytest.raises(Overloaded) as caught:
            await made.acquire(0.01)
        assert caught.value.retry_after == 1
        held.abort()
        made.release(held)
    with pytest.raises(UpstreamUnreachable):
        await made.acquire(5)
    assert made.count_by_state() == {"busy": 0, "idle": 0, "dialing": 0, "waiting": 0}


async def test_a_dial_that_fails_hands_its_place_on() -> None:
    async with opened_pool(Upstream(), size=1) as made:
        held = await made.acquire(5)
        calls = [asyncio.create_task(made.acquire(5)) for _ in range(3)]
        await waiting(made, 3)
    held.abort()
    made.release(held)
    async with asyncio.timeout(TIME_LIMIT):
        results = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(result) for result in results] == [UpstreamUnreachable] * 3
    assert made.count_by_state() == {"busy": 0, "idle": 0, "dialing": 0, "waiting": 0}


async def test_what_is_idle_for_too_long_is_closed_and_no_timer_stays() -> None:
    peer = Upstream()
    async with opened_pool(peer, idle=0.02) as made:
        connection = await made.acquire(5)
        await use(connection)
        made.release(connection)
        assert made._expiry_timer is not None
        assert connection._timer is None
        await peer.until(lambda: peer.open == 0)
        assert made.count_by_state()["idle"] == 0
        assert made._expiry_timer is None


async def test_what_is_old_is_not_used_again() -> None:
    peer = Upstream()
    async with opened_pool(peer, max_age=0.0) as made:
        for _ in range(2):
            connection = await made.acquire(5)
            await use(connection)
            made.release(connection)
        assert peer.connections == 2


async def test_an_idle_connection_that_closes_makes_room() -> None:
    async def once(talk: ScriptedConnection) -> None:
        await talk.request()
        await talk.send(OK)

    peer = Upstream(once)
    async with opened_pool(peer) as made:
        connection = await made.acquire(5)
        await use(connection)
        made.release(connection)
        await until(lambda: not made.count_by_state()["idle"])
        assert made.try_acquire() is None


async def test_a_closed_pool_keeps_nothing_and_still_serves_who_waits() -> None:
    peer = Upstream()
    async with opened_pool(peer, size=1) as made:
        connection = await made.acquire(5)
        waiter = asyncio.create_task(made.acquire(5))
        await waiting(made, 1)
        await use(connection)
        made.close()
        made.release(connection)
        last = await waiter
        assert last is not connection
        await use(last)
        made.release(last)
        assert made.count_by_state() == {"busy": 0, "idle": 0, "dialing": 0, "waiting": 0}
        await peer.until(lambda: peer.open == 0)


async def test_an_unexpected_byte_ends_an_idle_connection() -> None:
    idle = asyncio.Event()

    async def speak(talk: ScriptedConnection) -> None:
        await talk.request()
        await talk.send(OK)
        await idle.wait()
        await talk.send(b"H")
        await talk.reader.read()

    peer = Upstream(speak)
    async with opened_pool(peer) as made:
        connection = await made.acquire(5)
        await use(connection)
        made.release(connection)
        idle.set()
        await peer.until(lambda: peer.open == 0)
        assert made.count_by_state()["idle"] == 0


async def test_a_retry_gets_a_new_connection_even_if_others_are_idle() -> None:
    peer = Upstream()
    for size, left in ((2, 1), (1, 0)):
        async with opened_pool(peer, size=size) as made:
            first = await made.acquire(5)
            await use(first)
            made.release(first)
            fresh = await made.acquire(5, fresh=True)
            assert fresh is not first
            assert made.count_by_state() == {"busy": 1, "idle": left, "dialing": 0, "waiting": 0}
            await use(fresh)
            made.release(fresh)


async def test_a_retry_waits_in_line() -> None:
    async with opened_pool(Upstream(), size=1) as made:
        held = await made.acquire(5)
        first = asyncio.create_task(made.acquire(5))
        await waiting(made, 1)
        second = asyncio.create_task(made.acquire(5, fresh=True))
        await waiting(made, 2)
        await use(held)
        made.release(held)
        assert await first is held
        assert not second.done()
        held.abort()
        made.release(held)
        assert await second is not held


async def test_one_route_leaves_a_quarter_to_the_others() -> None:
    async with opened_pool(Upstream(), size=4) as made:
        slow, healthy = made.get_share("slow"), made.get_share("healthy")
        held = [await made.acquire(5, share=slow) for _ in range(3)]
        waiter = asyncio.create_task(made.acquire(5, share=slow))
        await waiting(made, 1)
        for _ in range(2):
            connection = await made.acquire(5, share=healthy)
            await use(connection)
            made.release(connection)
        assert made.try_acquire(slow) is None
        with pytest.raises(Overloaded) as caught:
            await made.acquire(0.01, share=slow)
        assert "its share of `pool.size` (3 of 4)" in caught.value.reason
        made.release(held.pop())
        held.append(await waiter)
        for connection in held:
            made.release(connection)
        assert made.count_by_state() == {"busy": 0, "idle": 1, "dialing": 0, "waiting": 0}


async def test_a_lone_route_uses_the_whole_pool() -> None:
    async with opened_pool(Upstream(), size=4) as made:
        share = made.get_share("orders")
        assert made.get_share("orders") is share
        for connection in [await made.acquire(5, share=share) for _ in range(4)]:
            made.release(connection)


async def test_routes_that_wait_are_served_in_turn() -> None:
    async with opened_pool(Upstream(), size=1) as made:
        first, second = made.get_share("first"), made.get_share("second")
        held = await made.acquire(5, share=first)
        order: list[str] = []

        async def ask(name: str, share: pool.PoolShare) -> None:
            connection = await made.acquire(5, share=share)
            order.append(name)
            await use(connection)
            made.release(connection)

        asking = []
        for count, (name, share) in enumerate([("first", first)] * 3 + [("second", second)], 1):
            asking.append(asyncio.create_task(ask(name, share)))
            await waiting(made, count)
        await use(held)
        made.release(held)
        await asyncio.gather(*asking)
        assert order == ["first", "second", "first", "first"]


# Whatever happens -----------------------------------------------------------------------------------------------------

ROUTES = ("orders", "items", "stock")
LONG = 100.0  # seconds: longer than anything may be idle or old here


class Crowd:
    """Callers of a pool that follow a script, its upstream, and the invariants after each step."""

    def __init__(self, made: pool.ConnectionPool, peer: Upstream, size: int) -> None:
        self.pool = made
        self.peer = peer
        self.size = size
        self.asking: list[asyncio.Task[UpstreamConnection]] = []
        self.held: list[UpstreamConnection] = []
        self.is_closed = False
        self.shares = [made.get_share(route) for route in ROUTES]

    async def ask(self, number: int) -> None:
        share = self.shares[number % len(ROUTES)]
        self.asking.append(asyncio.create_task(self.pool.acquire(5, fresh=number == 0, share=share)))

    async def take(self, number: int) -> None:
        is_anybody_passed_by = self.is_anybody_admissible()
        connection = self.pool.try_acquire(self.shares[number % len(ROUTES)])
        if connection is not None:
            assert not is_anybody_passed_by
            self.held.append(connection)

    def is_anybody_admissible(self) -> bool:
        """Whether someone waits whose route may have one more connection."""
        return any(share.waiters and share.in_use < self.pool._share_limit for share in self.shares)

    async def leave(self, number: int) -> None:
        if self.asking:
            self.asking.pop(number % len(self.asking)).cancel()

    async def use(self, number: int) -> None:
        if self.held:
            connection = self.held.pop(number % len(self.held))
            count = connection.exchanges
            with suppress(UpstreamBroken):  # the upstream may have hung up
                assert await use(connection) == b"ok"
            assert connection.exchanges == count + 1
            self.pool.release(connection)

    async def drop(self, number: int) -> None:
        if self.held:
            self.pool.release(self.held.pop(number % len(self.held)))

    async def cut(self, number: int) -> None:
        if self.pool._idle:
            self.pool._idle[number % len(self.pool._idle)].abort()

    async def hang_up(self, number: int) -> None:
        talks = list(self.peer._tasks)
        if talks:
            talks[number % len(talks)].cancel()

    async def age(self, number: int) -> None:
        known = [*self.pool._idle, *self.held]
        if known:
            known[number % len(known)].expires_at -= LONG

    async def pass_time(self, _: int) -> None:
        for connection in self.pool._idle:
            connection.idle_since -= LONG
        if self.pool._expiry_timer is not None:
            self.pool._expiry_timer.cancel()
            self.pool._close_expired()
            assert not self.pool._idle

    async def close(self, number: int) -> None:
        if number == 0:
            self.pool.close()
            self.is_closed = True

    async def breathe(self, _: int) -> None:
        await asyncio.sleep(0)

    async def settle(self, _: int) -> None:
        """All that can happen by itself has happened: now the books must balance."""
        await until(lambda: not self.pool.count_by_state()["dialing"])
        for _ in range(3):
            await asyncio.sleep(0)
        self.collect()
        counts = self.pool.count_by_state()
        if counts["dialing"]:
            return
        assert (counts["busy"], counts["waiting"]) == (len(self.held), len(self.asking))
        assert set(self.pool._busy) == set(self.held)
        assert sum(share.in_use for share in self.shares) == len(self.held)
        if self.is_anybody_admissible():
            assert counts["busy"] == self.size, "someone waits although there is room"
        if self.is_closed:
            assert not counts["idle"]

    def collect(self) -> None:
        for task in [task for task in self.asking if task.done()]:
            self.asking.remove(task)
            self.held.append(task.result())

    def check(self) -> None:
        self.collect()
        counts = self.pool.count_by_state()
        assert min(counts.values()) >= 0
        assert counts["busy"] + counts["idle"] + counts["dialing"] <= self.size
        assert len(set(self.held)) == len(self.held), "one connection for two requests"
        assert set(self.held) <= set(self.pool._busy)
        assert not set(self.pool._busy) & set(self.pool._idle)
        assert not (counts["idle"] and self.is_anybody_admissible())
        assert all(0 <= share.in_use <= self.pool._share_limit for share in self.shares)

    async def disperse(self) -> None:
        """Everyone who still asks gets a connection, once those who hold one bring it back."""
        while self.asking or self.held:
            await self.drop(0)
            await asyncio.sleep(0)
            self.check()
        await until(lambda: not any(self.pool.count_by_state()[state] for state in ("busy", "dialing", "waiting")))


Do = Callable[[Crowd, int], Awaitable[None]]
DOINGS: tuple[Do, ...] = (
    Crowd.ask,
    Crowd.ask,
    Crowd.take,
    Crowd.use,
    Crowd.use,
    Crowd.drop,
    Crowd.leave,
    Crowd.breathe,
    Crowd.settle,
    Crowd.cut,
    Crowd.hang_up,
    Crowd.age,
    Crowd.pass_time,
    Crowd.close,
)


@settings(max_examples=100, deadline=None)
@given(steps=st.lists(st.tuples(st.sampled_from(DOINGS), st.integers(0, 9)), max_size=40), size=st.integers(1, 5))
async def test_the_bound_holds_and_every_waiter_is_served(steps: list[tuple[Do, int]], size: int) -> None:
    peer = Upstream()
    async with opened_pool(peer, size=size, within=2.0) as made:
        crowd = Crowd(made, peer, size)
        for do, number in steps:
            await do(crowd, number)
            crowd.check()
        await crowd.settle(0)
        await crowd.disperse()
