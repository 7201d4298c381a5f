"""Gates and a coordinator on a clock that the test turns, with two workers whose messages arrive at once."""

import asyncio
from functools import partial

import pytest

from gateway.errors import Overloaded, UpstreamDown
from gateway.services.circuit_breaker import FAILURE_THRESHOLD, TRIAL_TIMEOUT
from gateway.services.coordinator import ServiceLimit
from gateway.services.service_coordinators import ServiceCoordinators
from gateway.services.service_gate import Place, ServiceGate
from gateway.services.service_gates import GateSettings, ServiceGates
from tests.fakes.gate import until
from tests.services.clock import TurnedClock

ORIGIN = "https://acme.example:443"


class Shared:
    """One service, shared by workers."""

    def __init__(self, calls: int | None, *, workers: int = 2, wait: float = 60.0) -> None:
        self.clock = TurnedClock()
        self.coordinators = ServiceCoordinators(scheduler=self.clock, random_fraction=lambda: 0.0)
        self.configure(calls)
        self.gates: list[ServiceGate] = []
        for number in range(workers):
            gates = ServiceGates(now=self.clock.time)
            gates.send = partial(self.coordinators.receive, number)
            gates.configure({ORIGIN: GateSettings("acme", wait)})
            self.coordinators.add_worker(number, gates.receive)
            self.gates.append(gates.gate(ORIGIN))

    def configure(self, calls: int | None) -> None:
        self.coordinators.configure({ORIGIN: ServiceLimit("acme", calls)})

    @property
    def states(self) -> set[str]:
        return {gate.state.breaker for gate in self.gates}

    @property
    def limits(self) -> set[int | None]:
        return {gate.state.limit for gate in self.gates}

    async def place(self, worker: int = 0, caller: str = "a") -> Place:
        gate = self.gates[worker]
        return gate.place if gate.try_acquire(self.clock.now) else await gate.acquire(caller, 1)

    async def fail(self, count: int = FAILURE_THRESHOLD) -> None:
        """Let so many calls fail, in turn on all workers."""
        for number in range(count):
            place = await self.place(number % len(self.gates))
            place.record_failure("status 503")
            place.release()


def respond(place: Place, status: int, *, retry_after: float | None = None, has_instance_id: bool = False) -> None:
    place.record_response(status, has_instance_id=has_instance_id, retry_after=retry_after)
    place.release()


async def test_circuit_opens_and_closes_for_all_workers() -> None:
    shared = Shared(10)
    await shared.fail()
    assert shared.states == {"open"}
    for worker in (0, 1):
        with pytest.raises(UpstreamDown) as down:
            await shared.place(worker)
        assert down.value.retry_after == 5.0
    shared.clock.turn(5.0)
    trial = await shared.place(1)
    assert shared.states == {"half-open"}
    with pytest.raises(UpstreamDown) as down:
        await shared.place(0)
    assert down.value.retry_after == 1.0
    respond(trial, 200)
    assert shared.states == {"closed"}
    respond(await shared.place(0), 200)
    assert [gate.running for gate in shared.gates] == [0, 0]


async def test_failed_trial_opens_the_circuit_again() -> None:
    shared = Shared(10)
    await shared.fail()
    shared.clock.turn(5.0)
    respond(await shared.place(), 503)
    assert shared.states == {"open"}
    shared.clock.turn(4.9)
    with pytest.raises(UpstreamDown):
        await shared.place()
    shared.clock.turn(0.1)
    respond(await shared.place(), 404)
    assert shared.states == {"closed"}


async def test_success_on_another_worker_counts() -> None:
    """Failures are in a row only if no worker has seen a success in between."""
    shared = Shared(10)
    for _ in range(3 * FAILURE_THRESHOLD):
        await shared.fail(1)
        respond(await shared.place(1), 200)
    assert shared.states == {"closed"}


async def test_late_responses_do_not_end_the_trial() -> None:
    shared = Shared(10)
    late = [await shared.place(0), await shared.place(1)]
    await shared.fail()
    shared.clock.turn(5.0)
    trial = await shared.place()
    for place in late:
        respond(place, 200)
    assert shared.states == {"half-open"}
    respond(trial, 200)
    assert shared.states == {"closed"}


@pytest.mark.parametrize("end", ["released", "worker killed"])
async def test_trial_without_a_result_is_repeated(end: str) -> None:
    shared = Shared(10)
    await shared.fail()
    shared.clock.turn(5.0)
    trial = await shared.place(1)
    if end == "released":
        trial.release()
    else:
        shared.coordinators.remove_worker(1)
    respond(await shared.place(0), 200)
    assert shared.gates[0].state.breaker == "closed"


async def test_slow_trial_is_followed_by_another() -> None:
    shared = Shared(10)
    await shared.fail()
    shared.clock.turn(5.0)
    slow = await shared.place()
    shared.clock.turn(TRIAL_TIMEOUT)
    second = await shared.place()
    slow.release()
    assert shared.states == {"half-open"}, "the second one has no result yet"
    respond(second, 200)
    assert shared.states == {"closed"}


async def test_waiting_calls_are_rejected_when_the_circuit_opens() -> None:
    shared = Shared(1)
    place = await shared.place()
    waiting = [asyncio.create_task(shared.place(worker)) for worker in (0, 1)]
    await until(lambda: sum(gate.waiting for gate in shared.gates) == 2)
    for _ in range(FAILURE_THRESHOLD):
        place.record_failure("timeout")
    place.release()
    for call in waiting:
        with pytest.raises(UpstreamDown):
            await call
    assert [(gate.running, gate.waiting, gate.rejected) for gate in shared.gates] == [(0, 0, 1), (0, 0, 1)]


async def test_refusal_lowers_the_limit_of_all_workers() -> None:
    shared = Shared(10)
    places = [await shared.place(number % 2) for number in range(10)]
    respond(places.pop(), 429, retry_after=3.0)
    assert shared.limits == {7}
    waiting = asyncio.create_task(shared.place(0))
    await until(lambda: shared.gates[0].waiting == 1)
    for place in places[:2]:
        place.release()
    await asyncio.sleep(0)
    assert not waiting.done(), "seven are still in progress"
    shared.clock.turn(3.5)
    assert shared.limits == {7}
    assert not waiting.done()
    shared.clock.turn(1.0)
    assert shared.limits == {8}
    (await waiting).release()
    shared.clock.turn(2.0)
    assert shared.limits == {10}
    assert not [alarm for alarm in shared.clock.alarms if not alarm.is_cancelled], "no timer without a reason"


async def test_refusal_of_a_flow_does_not_lower_the_limit() -> None:
    shared = Shared(10)
    respond(await shared.place(), 429, has_instance_id=True)
    assert shared.limits == {10}


async def test_refusal_without_a_limit_changes_nothing() -> None:
    shared = Shared(None)
    respond(await shared.place(), 429)
    assert shared.limits == {None}
    assert not shared.clock.alarms


async def test_retry_after_follows_the_measured_rate() -> None:
    shared = Shared(1, workers=1, wait=0.001)
    gate = shared.gates[0]
    place = await shared.place()
    with pytest.raises(Overloaded) as overloaded:
        await shared.place()
    assert overloaded.value.retry_after == 60.0, "no call has ended"
    gate.configure("acme", 60.0)
    for _ in range(20):
        waiting = asyncio.create_task(shared.place())
        await until(lambda: gate.waiting == 1)
        respond(place, 200)
        place = await waiting
    assert gate.retry_after() == 1.0, "two a second end, and none waits"
    many = [asyncio.create_task(shared.place()) for _ in range(9)]
    await until(lambda: gate.waiting == 9)
    assert gate.retry_after() == 5.0
    shared.clock.turn(10.0)
    assert gate.retry_after() == 60.0
    respond(place, 200)
    for call in many:
        respond(await call, 200)


async def test_place_that_comes_while_its_caller_leaves_is_not_lost() -> None:
    shared = Shared(1)
    place = await shared.place()
    leaving = asyncio.create_task(shared.place(1))
    await until(lambda: shared.gates[1].waiting == 1)
    place.release()
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    assert [gate.running for gate in shared.gates] == [0, 0]
    respond(await shared.place(0), 200)


async def test_grant_after_the_caller_left_is_put_back() -> None:
    """The cancelled task has not run yet when the place comes."""
    shared = Shared(1)
    place = await shared.place()
    leaving = asyncio.create_task(shared.place(1))
    await until(lambda: shared.gates[1].waiting == 1)
    leaving.cancel()
    place.release()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    assert [(gate.running, gate.waiting) for gate in shared.gates] == [(0, 0), (0, 0)]
    respond(await shared.place(0), 200)


async def test_killed_worker_returns_its_places() -> None:
    shared = Shared(2)
    for _ in range(2):
        await shared.place(1)
    waiting = asyncio.create_task(shared.place(0))
    await until(lambda: shared.gates[0].waiting == 1)
    shared.coordinators.remove_worker(1)
    respond(await waiting, 200)


async def test_removed_service_has_no_limit() -> None:
    shared = Shared(1)
    place = await shared.place(0)
    waiting = asyncio.create_task(shared.place(1))
    await until(lambda: shared.gates[1].waiting == 1)
    shared.coordinators.configure({})
    respond(await waiting, 200)
    shared.configure(1)
    waiting = asyncio.create_task(shared.place(1))
    await until(lambda: shared.gates[1].waiting == 1)
    place.release()
    respond(await waiting, 200)
