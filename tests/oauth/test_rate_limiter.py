import asyncio
from collections.abc import Awaitable, Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config.model import BudgetSettings
from gateway.errors import TokenUnavailable
from gateway.oauth.rate_limiter import RateLimiter, SlidingWindow
from tests.oauth.scene import ManualClock


def sleeper(clock: ManualClock) -> Callable[[float], Awaitable[None]]:
    async def sleep(seconds: float) -> None:
        clock.advance(seconds)

    return sleep


def budget(clock: ManualClock, *, per_second: int = 2, per_minute: int = 5) -> RateLimiter:
    return RateLimiter(SlidingWindow(per_second=per_second, per_minute=per_minute), clock=clock, sleep=sleeper(clock))


def test_the_default_limits_fit_a_free_identity_domain() -> None:
    assert (BudgetSettings().per_second, BudgetSettings().per_minute) < (10, 150)


def test_a_window_counts_by_the_second_and_by_the_minute() -> None:
    window = SlidingWindow(per_second=2, per_minute=3)
    waits = []
    for now in (0.0, 0.5, 0.6, 1.0, 2.0, 60.0):
        waits.append(window.delay(now))
        if not waits[-1]:
            window.record_request(now)
    assert waits == [0, 0, 0.4, 0, 58, 0]
    assert window.remaining_requests(60.0) == 0
    assert window.remaining_requests(60.5) == 1
    assert window.remaining_requests(999.0) == 3


@given(st.integers(1, 9), st.integers(1, 60), st.lists(st.floats(0, 30), max_size=200))
def test_no_second_and_no_minute_sees_more_than_the_window_holds(second: int, minute: int, pauses: list[float]) -> None:
    window, now, acquired = SlidingWindow(per_second=second, per_minute=minute), 0.0, list[float]()
    for pause in pauses:
        now += pause
        while (wait := window.delay(now)) > 0:
            now += wait
        window.record_request(now)
        acquired.append(now)
    for width, most in ((1.0, second), (60.0, minute)):
        assert all(later - earlier >= width * 0.999 for earlier, later in zip(acquired, acquired[most:], strict=False))


def test_other_limits_count_what_was_taken() -> None:
    window = SlidingWindow(per_second=9, per_minute=9)
    for _ in range(4):
        window.record_request(0.0)
    window.set_limits(per_second=4, per_minute=4)
    assert (window.delay(1.0), window.remaining_requests(1.0)) == (59.0, 0)
    window.set_limits(per_second=5, per_minute=50)
    assert (window.delay(1.0), window.remaining_requests(1.0)) == (0.0, 46)


async def test_turns_come_in_order_of_asking() -> None:
    clock = ManualClock()
    shared, order, started_at = budget(clock), list[tuple[int, float]](), clock.passed

    async def ask(number: int) -> None:
        await shared.acquire(within=600)
        order.append((number, clock.passed - started_at))

    await asyncio.gather(*(ask(number) for number in range(7)))
    assert order == [(0, 0), (1, 0), (2, 1), (3, 1), (4, 2), (5, 60), (6, 60)]


async def test_too_long_a_wait_is_refused_at_once_with_retry_after() -> None:
    clock = ManualClock()
    shared = budget(clock)
    for _ in range(5):
        await shared.acquire(within=10)
    with pytest.raises(TokenUnavailable) as caught:
        await shared.acquire(within=10)
    assert caught.value.reason == "budget: the token endpoint was asked 2 a second and 5 a minute times"
    assert caught.value.retry_after == pytest.approx(58)
    assert shared.remaining_requests() == 0
    clock.advance(58)
    await shared.acquire(within=10)


async def test_a_cancelled_waiter_uses_no_slot_and_delays_no_other() -> None:
    clock, gate = ManualClock(), asyncio.Event()

    async def sleep(seconds: float) -> None:
        await gate.wait()
        clock.advance(seconds)

    shared = RateLimiter(SlidingWindow(per_second=1, per_minute=9), clock=clock, sleep=sleep)
    await shared.acquire(within=10)
    first, second = (asyncio.create_task(shared.acquire(within=10)) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    gate.set()
    await second
    assert first.cancelled()
    assert shared.remaining_requests() == 7


async def test_a_queue_that_does_not_move_is_left_when_the_time_is_up() -> None:
    clock, never = ManualClock(), asyncio.Event()

    async def sleep(_seconds: float) -> None:
        await never.wait()

    shared = RateLimiter(SlidingWindow(per_second=1, per_minute=9), clock=clock, sleep=sleep)
    await shared.acquire(within=10)
    with pytest.raises(TokenUnavailable, match="token"):
        await shared.acquire(within=1.001)
