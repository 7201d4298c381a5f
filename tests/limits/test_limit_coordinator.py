"""Gates and a coordinator on a clock that the test turns, with two workers."""

import asyncio
from collections import deque
from functools import partial

import pytest

from gateway.errors import TooManyRequests
from gateway.limits.allowance import Allowance, Instant
from gateway.limits.caller_limits import CallerLimits, Quota, RateLimit
from gateway.limits.limit_clock import LimitClock
from gateway.limits.limit_coordinator import RECALL_TIME, LimitCoordinators
from gateway.limits.limit_gate import LimitGate
from gateway.limits.limit_gates import LimitGates
from gateway.limits.limit_messages import LimitGateMessage, RequestPermits, Usage
from gateway.limits.permit_lease import PermitLease
from tests.services.clock import TurnedClock

HOUR = 3600
FAST = CallerLimits(RateLimit(100, 1, 40))


class SharedLimits:
    """One caller with limits, shared by two workers. Messages of a worker in `silent` do not arrive."""

    def __init__(self, limits: CallerLimits) -> None:
        self.clock = TurnedClock()
        self.silent: set[int] = set()
        self.held_back: deque[tuple[int, str, LimitGateMessage]] = deque()
        instant = lambda: Instant(self.clock.now, 500 * HOUR + self.clock.now)  # noqa: E731 - one line of a fixture
        self.coordinators = LimitCoordinators(LimitClock(instant, self.clock.call_later))
        self.coordinators.configure({"erp": limits})
        self.gates: list[LimitGate] = []
        for number in range(2):
            gates = LimitGates(now=self.clock.time)
            gates.send = partial(self._send, number)
            gates.configure({"erp": limits})
            self.coordinators.add_worker(number, gates.receive)
            self.gates.append(gates.gate("erp"))

    def _send(self, worker: int, caller: str, message: LimitGateMessage) -> None:
        if worker in self.silent:
            self.held_back.append((worker, caller, message))
        else:
            self.coordinators.receive(worker, caller, message)

    async def call(self, worker: int = 0) -> float | None:
        """Return None if a call is admitted, else its Retry-After."""
        gate = self.gates[worker]
        if gate.try_admit(self.clock.now):
            return None
        try:
            turn = gate.request_permit()
            await gate.wait_answer(turn)
            gate.use_permit(turn)
        except TooManyRequests as refused:
            return refused.retry_after
        return None

    async def admitted(self, count: int, worker: int = 0) -> int:
        """Return how many of so many calls are admitted."""
        return [await self.call(worker) for _ in range(count)].count(None)


async def test_spare_permits_of_other_workers_are_used_before_a_denial() -> None:
    shared = SharedLimits(FAST)
    assert await shared.admitted(1, worker=0) == 1
    assert shared.gates[0]._lease.permits > 0
    assert await shared.admitted(100, worker=1) == 39
    assert shared.gates[0]._lease.permits == 0


async def test_spare_permits_take_room_in_the_bucket() -> None:
    shared = SharedLimits(FAST)
    assert await shared.admitted(1) == 1
    shared.clock.turn(10.0)
    assert await shared.admitted(100, worker=0) + await shared.admitted(100, worker=1) == 40


async def test_a_denial_ends_with_the_next_token() -> None:
    shared = SharedLimits(CallerLimits(RateLimit(10, 1, 2)))
    assert await shared.admitted(2) == 2
    assert await shared.call() == pytest.approx(0.1)
    shared.clock.turn(0.09)
    assert await shared.call() == pytest.approx(0.01)
    shared.clock.turn(0.02)
    assert await shared.admitted(5, worker=1) == 1
    assert await shared.call() is not None


async def test_spare_permits_end_with_their_hour() -> None:
    shared = SharedLimits(CallerLimits(calls=Quota(10, HOUR)))
    assert await shared.admitted(1) == 1
    assert shared.gates[0]._lease.permits > 0
    shared.clock.turn(HOUR)
    assert await shared.admitted(20) + await shared.admitted(20, worker=1) == 10
    wait = await shared.call()
    assert wait is not None
    shared.clock.turn(wait)
    assert await shared.call() is None


async def test_permits_of_a_killed_worker_count_as_used() -> None:
    shared = SharedLimits(FAST)
    assert await shared.admitted(1) == 1
    held = shared.gates[0]._lease.permits
    shared.coordinators.remove_worker(0)
    assert await shared.admitted(100, worker=1) == 39 - held


async def test_a_lowered_burst_holds_for_permits_given_before() -> None:
    shared = SharedLimits(CallerLimits(calls=Quota(1000, HOUR)))
    assert await shared.admitted(1) == 1
    assert shared.gates[0]._lease.permits > 5
    limits = CallerLimits(RateLimit(1, HOUR, 5), Quota(1000, HOUR))
    shared.coordinators.configure({"erp": limits})
    assert await shared.admitted(20) + await shared.admitted(20, worker=1) <= 5


async def test_a_suspended_worker_delays_a_denial_only_briefly() -> None:
    shared = SharedLimits(FAST)
    assert await shared.admitted(1) == 1
    held = shared.gates[0]._lease.permits
    shared.silent.add(0)
    assert await shared.admitted(39 - held, worker=1) == 39 - held
    last = asyncio.create_task(shared.call(1))
    await asyncio.sleep(0)
    assert not last.done()
    shared.clock.turn(RECALL_TIME)
    assert await last is None, "the rate has given new tokens meanwhile"


async def test_the_permit_of_a_request_that_left_is_lost() -> None:
    shared = SharedLimits(CallerLimits(RateLimit(1, HOUR, 3)))
    shared.silent.add(0)
    gone = asyncio.create_task(shared.call())
    await asyncio.sleep(0)
    gone.cancel()
    await asyncio.wait({gone})
    shared.silent.clear()
    for message in shared.held_back:
        shared.coordinators.receive(*message)
    assert await shared.admitted(5) == 2


async def test_requests_behind_a_waiting_one_are_admitted_in_order() -> None:
    shared = SharedLimits(CallerLimits(RateLimit(1, HOUR, 2)))
    shared.silent.add(0)
    calls = [asyncio.create_task(shared.call()) for _ in range(4)]
    await asyncio.sleep(0)
    requests = [message for *_, message in shared.held_back if isinstance(message, RequestPermits)]
    assert [request.waiters for request in requests] == [1]
    shared.silent.clear()
    shared.coordinators.receive(*shared.held_back.popleft())
    assert [await call is None for call in calls] == [True, True, False, False]


def test_returned_permits_do_not_overfill_the_bucket() -> None:
    at = Instant(0.0, 0.0)
    allowance = Allowance(FAST, at)
    allowance.held = 30
    allowance.configure(CallerLimits(RateLimit(1, HOUR, 5)), at)
    allowance.settle(Usage(0, 0.0, 30, 0, 0), at)
    assert allowance.affordable() == 5


def test_a_lease_returns_what_it_has_once() -> None:
    lease = PermitLease()
    lease.grant(3, 10.0, 7)
    assert lease.try_use(1.0)
    assert lease.take_usage(2.0, returns_permits=True) == Usage(1, 1.0, 2, 7, 0)
    assert lease.take_usage(2.0, returns_permits=True) == Usage(0, 1.0, 0, 7, 0)
    assert not lease.try_use(2.0)
