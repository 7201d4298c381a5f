"""The lease protocol: leases and the ledger exchange messages that arrive late, workers are killed, limits change."""

from collections import deque
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from gateway.services.lease_messages import (
    CoordinatorMessage,
    GateMessage,
    GrantPlaces,
    KeepPlaces,
    LeaveQueue,
    RecallPlaces,
    ReturnPlaces,
    WaitForPlace,
)
from gateway.services.place_lease import PlaceLease
from gateway.services.place_ledger import PlaceLedger


class Worker:
    """A worker with its lease, and the messages in both directions that have not arrived."""

    def __init__(self) -> None:
        self.lease = PlaceLease()
        self.to_ledger: deque[GateMessage] = deque()
        self.from_ledger: deque[CoordinatorMessage] = deque()
        self.waiters: set[int] = set()

    def release(self) -> None:
        if self.lease.release():
            self.put_back(self.lease.remove_surplus())

    def put_back(self, count: int) -> None:
        if count:
            self.to_ledger.append(ReturnPlaces(count))


class Leases(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.ledger = PlaceLedger(3)
        self.workers: dict[int, Worker] = {}
        self.next_worker_id = 0
        self.allowed = 3
        """The highest limit since the number of running calls was within the limit."""

    @rule()
    def start_worker(self) -> None:
        if len(self.workers) < 4:
            self.next_worker_id += 1
            self.workers[self.next_worker_id] = Worker()
            self.ledger.add_worker(self.next_worker_id)

    @precondition(lambda self: self.workers)
    @rule(data=st.data())
    def kill_worker(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(sorted(self.workers)))
        del self.workers[number]
        self.ledger.remove_worker(number)
        self._dispatch()

    @precondition(lambda self: self.workers)
    @rule(data=st.data(), caller=st.sampled_from("abc"), share=st.integers(1, 3))
    def call(self, data: st.DataObject, caller: str, share: int) -> None:
        worker = self._draw(data)
        if not worker.lease.try_take(0.0):
            waiter = worker.lease.begin_waiting()
            worker.waiters.add(waiter)
            worker.to_ledger.append(WaitForPlace(waiter, caller, share))

    @precondition(lambda self: any(worker.lease.running for worker in self.workers.values()))
    @rule(data=st.data())
    def finish(self, data: st.DataObject) -> None:
        worker = self._draw(data, lambda worker: worker.lease.running)
        worker.release()

    @precondition(lambda self: any(worker.waiters for worker in self.workers.values()))
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        worker = self._draw(data, lambda worker: worker.waiters)
        waiter = data.draw(st.sampled_from(sorted(worker.waiters)))
        worker.waiters.remove(waiter)
        assert worker.lease.end_waiting(waiter)
        worker.to_ledger.append(LeaveQueue(waiter))

    @rule(limit=st.integers(0, 6))
    def change_limit(self, limit: int) -> None:
        self.ledger.limit = limit
        self.allowed = max(limit, self.ledger.leased)
        self._dispatch()

    @rule(value=st.booleans())
    def let_others_have_idle_places(self, value: bool) -> None:  # noqa: FBT001 - drawn by hypothesis
        self.ledger.keeps_none_idle = value
        self._dispatch()

    @precondition(lambda self: any(worker.to_ledger or worker.from_ledger for worker in self.workers.values()))
    @rule(data=st.data())
    def deliver(self, data: st.DataObject) -> None:
        worker = self._draw(data, lambda worker: worker.to_ledger or worker.from_ledger)
        number = next(number for number, known in self.workers.items() if known is worker)
        if worker.to_ledger and (not worker.from_ledger or data.draw(st.booleans())):
            self._arrive_at_ledger(number, worker)
        else:
            self._arrive_at_worker(worker)

    @invariant()
    def never_more_places_than_the_limit(self) -> None:
        if self.ledger.leased <= self.ledger.limit:
            self.allowed = self.ledger.limit
        used = sum(worker.lease.running + worker.lease.idle for worker in self.workers.values())
        assert used <= self.ledger.leased <= self.allowed

    @rule()
    def no_wake_up_is_lost(self) -> None:
        """Once all messages have arrived, a waiter waits only while every place is used; then each gets its turn."""
        self._settle()
        for _ in range(1000):
            running = sum(worker.lease.running for worker in self.workers.values())
            if not any(worker.waiters for worker in self.workers.values()):
                return
            assert running >= self.ledger.limit, "a request waits beside an idle place"
            assert not any(worker.lease.idle for worker in self.workers.values())
            if not running:
                return
            worker = next(worker for worker in self.workers.values() if worker.lease.running)
            worker.release()
            self._settle()
        raise AssertionError("requests wait for ever")

    def _settle(self) -> None:
        while any(worker.to_ledger or worker.from_ledger for worker in self.workers.values()):
            for number, worker in self.workers.items():
                if worker.to_ledger:
                    self._arrive_at_ledger(number, worker)
                if worker.from_ledger:
                    self._arrive_at_worker(worker)

    def _draw(self, data: st.DataObject, is_fit: Any = lambda _worker: True) -> Worker:
        return data.draw(st.sampled_from([worker for worker in self.workers.values() if is_fit(worker)]))

    def _dispatch(self) -> None:
        for number, message in self.ledger.dispatch():
            self.workers[number].from_ledger.append(message)

    def _arrive_at_ledger(self, number: int, worker: Worker) -> None:
        match worker.to_ledger.popleft():
            case WaitForPlace(waiter, caller, share):
                self.ledger.wait(number, waiter, caller, share)
            case LeaveQueue(waiter):
                self.ledger.leave(number, waiter)
            case ReturnPlaces(places):
                self.ledger.return_places(number, places)
        self._dispatch()

    def _arrive_at_worker(self, worker: Worker) -> None:
        match worker.from_ledger.popleft():
            case GrantPlaces(waiters, spare):
                served, surplus = worker.lease.grant(waiters, spare)
                worker.waiters.difference_update(served)
                worker.put_back(surplus)
            case RecallPlaces():
                worker.put_back(worker.lease.recall())
            case KeepPlaces():
                worker.lease.keep()


TestLeases = Leases.TestCase
TestLeases.settings = settings(
    max_examples=60, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)


def test_only_worker_gets_every_place() -> None:
    ledger = PlaceLedger(90)
    ledger.add_worker(1)
    ledger.wait(1, 1, "a", 1)
    assert ledger.dispatch() == [(1, GrantPlaces((1,), 89))]


def test_workers_leave_idle_places_to_each_other() -> None:
    ledger = PlaceLedger(90)
    for number in range(4):
        ledger.add_worker(number)
    ledger.wait(0, 1, "a", 1)
    assert ledger.dispatch() == [(0, GrantPlaces((1,), 11))]
    ledger.wait(1, 1, "a", 1)
    assert ledger.dispatch() == [(1, GrantPlaces((1,), 9))]


def leased(count: int) -> PlaceLease:
    lease = PlaceLease()
    lease.grant((), count)
    return lease


def test_no_place_is_taken_at_once_while_the_lease_is_contended() -> None:
    lease = leased(5)
    assert lease.try_take(100.0)
    lease.pause(is_paused=True)
    assert not lease.try_take(100.1)
    lease.pause(is_paused=False)
    waiter = lease.begin_waiting()
    assert not lease.try_take(100.2)
    assert lease.end_waiting(waiter)
    assert lease.try_take(100.3)
    assert (lease.running, lease.idle) == (2, 3)


def test_a_recalled_lease_returns_each_place_that_is_released() -> None:
    lease = leased(3)
    assert [lease.try_take(100.0) for _ in range(2)] == [True, True]
    assert (lease.recall(), lease.running, lease.idle) == (1, 2, 0)
    assert lease.release()
    assert (lease.remove_surplus(), lease.running, lease.idle) == (1, 1, 0)
    lease.keep()
    assert not lease.release()
    assert (lease.remove_surplus(), lease.running, lease.idle) == (0, 0, 1)


def test_a_lease_counts_the_calls_of_ten_seconds() -> None:
    lease = leased(100)
    for second in range(100, 130):
        for _ in range(2):
            assert lease.try_take(second + 0.5)
        lease.count_waited(second + 0.6)
        assert lease.recent_calls(second + 0.9) == 3 * min(10, second - 99)
    assert lease.recent_calls(138.0) == 3
    assert lease.recent_calls(139.0) == 0
    assert lease.taken == 60
