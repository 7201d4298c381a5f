"""Permits of one caller over four workers: messages arrive late, workers are killed, limits change, time passes."""

from collections import deque
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from gateway.limits.allowance import Allowance, Instant
from gateway.limits.caller_limits import CallerLimits, Quota, RateLimit
from gateway.limits.limit_messages import (
    DenyCalls,
    GrantPermits,
    LimitGateMessage,
    LimitMessage,
    RecallPermits,
    ReportUsage,
    RequestPermits,
)
from gateway.limits.permit_lease import PermitLease
from gateway.limits.permit_ledger import PermitLedger, PermitNotice

ROUNDING = 1e-6
HOUR = 3600
RATES = st.builds(RateLimit, st.sampled_from([1, 10, 100]), st.sampled_from([1, 60]), st.sampled_from([1, 5, 40, 200]))
QUOTAS = st.builds(Quota, st.sampled_from([1, 30, 200]), st.just(HOUR))
LIMITS = st.one_of(
    st.builds(CallerLimits, RATES, st.none(), st.none()),
    st.builds(CallerLimits, st.none(), QUOTAS, st.none()),
    st.builds(CallerLimits, RATES | st.none(), QUOTAS | st.none(), QUOTAS),
)


class LimitedWorker:
    """A worker with its lease, and the messages in both directions that have not arrived."""

    def __init__(self) -> None:
        self.lease = PermitLease()
        self.waiting = 0
        self.to_ledger: deque[LimitGateMessage] = deque()
        self.from_ledger: deque[LimitMessage] = deque()


class Permits(RuleBasedStateMachine):
    @initialize(limits=LIMITS)
    def begin(self, limits: CallerLimits) -> None:
        self.now, self.wall = 1000.0, 100 * HOUR + 3000.0
        self.limits = limits
        self.ledger = PermitLedger(Allowance(limits, self.at))
        self.workers: dict[int, LimitedWorker] = {}
        self.last_worker = 0
        self.admitted: list[float] = []
        self.calls: dict[int, int] = {}
        """Admitted calls by hour."""
        self.is_first = True
        """Whether the limits have never changed."""
        self.hour = 0
        self.most_held = self.forfeited = 0
        """The most permits that workers held at once, and those that ended with their workers."""
        for _ in range(4):
            self.start_worker()

    @property
    def at(self) -> Instant:
        return Instant(self.now, self.wall)

    @rule()
    def start_worker(self) -> None:
        if len(self.workers) < 4:
            self.last_worker += 1
            self.workers[self.last_worker] = LimitedWorker()
            self.ledger.add_worker(self.last_worker)

    @precondition(lambda self: self.workers)
    @rule(data=st.data())
    def kill_worker(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(sorted(self.workers)))
        del self.workers[number]
        held = self.ledger._held[number]
        self.forfeited += held
        self.ledger.remove_worker(number, self.at)
        self._dispatch()

    @precondition(lambda self: self.workers)
    @rule(data=st.data(), count=st.sampled_from([1, 3, 30, 300]), is_answered=st.booleans())
    def call(self, data: st.DataObject, count: int, is_answered: bool) -> None:  # noqa: FBT001 - drawn by hypothesis
        """Make calls on one worker. With `is_answered` its messages arrive at once, those of others do not."""
        worker = self._draw(data)
        for _ in range(count):
            if not worker.waiting and worker.lease.try_use(self.now):
                self._admit(1)
            elif not worker.waiting:
                self._request(worker)
            while is_answered and (worker.to_ledger or worker.from_ledger):
                if worker.to_ledger:
                    self._arrive_at_ledger(worker)
                else:
                    self._arrive_at_worker(worker)

    @precondition(lambda self: self.workers)
    @rule(data=st.data(), seconds=st.sampled_from([0.0, 1.0, 5.0, 700.0]), count=st.sampled_from([1, 3, 300]))
    def pause_and_call(self, data: st.DataObject, seconds: float, count: int) -> None:
        self.let_time_pass(seconds)
        self.call(data, count, is_answered=True)

    @precondition(lambda self: self.workers)
    @rule(data=st.data(), messages=st.integers(0, 3))
    def report(self, data: st.DataObject, messages: int) -> None:
        worker = self._draw(data)
        worker.lease.add_messages(messages)
        worker.to_ledger.append(ReportUsage(worker.lease.take_usage(self.now)))

    @precondition(lambda self: any(worker.to_ledger or worker.from_ledger for worker in self.workers.values()))
    @rule(data=st.data())
    def deliver(self, data: st.DataObject) -> None:
        worker = self._draw(data, lambda worker: worker.to_ledger or worker.from_ledger)
        if worker.to_ledger and (not worker.from_ledger or data.draw(st.booleans())):
            self._arrive_at_ledger(worker)
        else:
            self._arrive_at_worker(worker)

    @rule(seconds=st.sampled_from([0.001, 0.05, 0.1, 1.0, 5.0, 90.0, 900.0]))
    def let_time_pass(self, seconds: float) -> None:
        self.now += seconds
        self.wall += seconds

    @rule(seconds=st.sampled_from([-4000.0, -1.0]))
    def set_the_time_of_day_back(self, seconds: float) -> None:
        self._hour()
        self.wall += seconds

    @rule(limits=LIMITS)
    def change_limits(self, limits: CallerLimits) -> None:
        for notice in self.ledger.configure(limits, self.at):
            self._send(notice)
        self._settle()
        self.limits, self.is_first = limits, False
        self.admitted.clear()

    @invariant()
    def never_more_calls_than_burst_and_rate(self) -> None:
        if self.limits.rate is None:
            return
        rate, times = self.limits.rate, sorted(self.admitted)
        for first in range(len(times)):
            span = times[-1] - times[first]
            assert len(times) - first <= rate.burst + rate.per_second * span + ROUNDING

    @invariant()
    def never_more_calls_than_the_quota(self) -> None:
        if self.limits.calls is not None and self.is_first:
            assert max(self.calls.values(), default=0) <= self.limits.calls.limit

    @rule()
    def no_allowance_is_lost(self) -> None:
        """Once all messages have arrived, a call is denied only if there is nothing left; it succeeds at `until`."""
        self._settle()
        if not self.workers or not self.is_first:
            return
        worker = next(iter(self.workers.values()))
        denial = self._try_call(worker)
        if denial is None:
            return
        assert self._try_call(worker) is not None, "another worker had a spare permit"
        if denial.kind == "rate":
            assert self._ideal_tokens() < 1 + self.most_held + self.forfeited + ROUNDING
        if denial.kind == "calls" and self.limits.calls is not None:
            used = self.calls.get(self._hour(), 0)
            assert used + self.forfeited >= self.limits.calls.limit
        wait = denial.until - self.now + ROUNDING
        self.now += wait
        self.wall += wait
        assert self._try_call(worker) is None

    def _try_call(self, worker: LimitedWorker) -> Any:
        """Make one call while nothing else happens. Return None, or the denial."""
        if worker.lease.try_use(self.now):
            self._admit(1)
            return None
        denials: list[Any] = []
        self._request(worker)
        self._settle(denials)
        assert not worker.waiting
        return denials[0] if denials else None

    def _ideal_tokens(self) -> float:
        """Return what a bucket contains that knows of every call at once."""
        assert self.limits.rate is not None
        rate, tokens, at = self.limits.rate, float(self.limits.rate.burst), 1000.0
        for time in [*sorted(self.admitted), self.now]:
            tokens = min(float(rate.burst), tokens + (time - at) * rate.per_second) - 1
            at = time
        return tokens + 1

    def _hour(self) -> int:
        """Return the present hour. Setting the clock back begins no other one."""
        self.hour = max(self.hour, int(self.wall // HOUR))
        return self.hour

    def _admit(self, count: int) -> None:
        self.admitted += [self.now] * count
        self.calls[self._hour()] = self.calls.get(self._hour(), 0) + count

    def _request(self, worker: LimitedWorker) -> None:
        worker.waiting = 1
        worker.to_ledger.append(RequestPermits(1, worker.lease.take_usage(self.now)))

    def _settle(self, denials: list[Any] | None = None) -> None:
        while any(worker.to_ledger or worker.from_ledger for worker in self.workers.values()):
            for worker in self.workers.values():
                if worker.to_ledger:
                    self._arrive_at_ledger(worker)
                if worker.from_ledger:
                    self._arrive_at_worker(worker, denials)

    def _draw(self, data: st.DataObject, is_fit: Any = lambda _worker: True) -> LimitedWorker:
        return data.draw(st.sampled_from([worker for worker in self.workers.values() if is_fit(worker)]))

    def _dispatch(self) -> None:
        for number, message in self.ledger.dispatch(self.at):
            self._send((number, message))

    def _send(self, notice: PermitNotice) -> None:
        number, message = notice
        if isinstance(message, GrantPermits):
            self._admit(message.waiters)  # its calls begin now
        self.most_held = max(self.most_held, self.ledger.allowance.held)
        self.workers[number].from_ledger.append(message)

    def _arrive_at_ledger(self, worker: LimitedWorker) -> None:
        number = next(number for number, known in self.workers.items() if known is worker)
        message = worker.to_ledger.popleft()
        self.ledger.settle(number, message.usage, self.at)
        if isinstance(message, RequestPermits):
            self.ledger.request(number, message.waiters)
        self._dispatch()

    def _arrive_at_worker(self, worker: LimitedWorker, denials: list[Any] | None = None) -> None:
        match worker.from_ledger.popleft():
            case GrantPermits(waiters, spare, valid_until, window):
                worker.waiting -= waiters
                worker.lease.grant(spare, valid_until, window)
            case DenyCalls(denial):
                worker.waiting = 0
                if denials is not None:
                    denials.append(denial)
            case RecallPermits():
                worker.to_ledger.append(ReportUsage(worker.lease.take_usage(self.now, returns_permits=True)))


TestPermits = Permits.TestCase
TestPermits.settings = settings(
    max_examples=100, stateful_step_count=50, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
