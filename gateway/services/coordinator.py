"""The coordinator of one service: leases its places to the workers, and decides its limit and its circuit.

It runs in the parent of the workers, or beside the gate in the only process.
"""

import logging
from collections.abc import Callable
from typing import NamedTuple, Protocol

from gateway.observe.log import log_event
from gateway.services.adaptive_limit import AdaptiveLimit
from gateway.services.circuit_breaker import CircuitBreaker
from gateway.services.lease_messages import (
    CoordinatorMessage,
    GateMessage,
    LeaveQueue,
    RejectWaiter,
    ReportOutcome,
    ReportRefusal,
    ReturnPlaces,
    ServiceState,
    WaitForPlace,
)
from gateway.services.place_ledger import PlaceLedger, Waiter

log = logging.getLogger("gateway.services")

UNLIMITED = 1 << 24
"""Places of a service without a limit: more than there can be connections."""
HEADROOM = 8
"""A replica asks for this fraction of the limit more than it uses, so that the next call need not wait."""
RISE_INTERVAL = 1.0
"""Seconds between two updates of a rising limit."""
TRIAL_WAIT = 1.0
"""`Retry-After` in seconds of a request that arrives while a trial call is in progress."""


class Timer(Protocol):
    """A scheduled callback."""

    def cancel(self) -> None:
        """Do not call it."""


class Scheduler(Protocol):
    """The clock and the timers of an event loop."""

    def time(self) -> float:
        """Return the monotonic time in seconds."""

    def call_later(self, delay: float, callback: Callable[[], None], /) -> Timer:
        """Call back after `delay` seconds."""


class ServiceLimit(NamedTuple):
    """A configured service: its name, and its calls at once (None: no limit)."""

    name: str
    calls: int | None


class PartRequest(NamedTuple):
    """What a replica asks for: a part of the `limit` of a service. It has `held` places, or fewer, and wants `want`.
    `is_short` while calls wait because the part is too small.
    """

    origin: str
    limit: int
    held: int
    want: int
    is_short: bool


class ServiceCoordinator:
    """The coordinator of one service."""

    def __init__(
        self,
        settings: ServiceLimit,
        *,
        scheduler: Scheduler,
        random_fraction: Callable[[], float],
        send: Callable[[int, CoordinatorMessage], None],
        on_shortage: Callable[[], None] = lambda: None,
    ) -> None:
        """`send` takes the number of a worker and a message to it. `on_shortage` is called when calls wait because this
        replica has only a part of the places.
        """
        self._settings = settings
        self._on_shortage = on_shortage
        self._part: int | None = None
        self._scheduler = scheduler
        self._random_fraction = random_fraction
        self._send = send
        self._limit = AdaptiveLimit(self._max_places())
        self._ledger = PlaceLedger(self._limit.maximum)
        self._breaker = CircuitBreaker()
        self._workers: set[int] = set()
        self._trials: set[Waiter] = set()
        self._timer: Timer | None = None

    def configure(self, settings: ServiceLimit) -> None:
        """Use other settings. After the limit is lowered, no place is granted until enough are returned."""
        self._settings = settings
        self._apply_maximum()

    def set_part(self, part: int | None, *, are_others_short: bool = False) -> None:
        """Use this part of the places; None: all of them, since there are no replicas. While calls wait at another
        replica, workers keep no idle places.
        """
        if part != self._part or are_others_short != self._ledger.keeps_none_idle:
            self._part = part
            self._ledger.keeps_none_idle = are_others_short
            self._apply_maximum()

    def share_with_replicas(self, *, has_replicas: bool) -> None:
        """Start or stop sharing the places with replicas."""
        if not has_replicas:
            self.set_part(None)
        elif self._part is None:
            self.set_part(0)

    @property
    def name(self) -> str:
        """Return the name of the service."""
        return self._settings.name

    def close_circuit(self) -> bool:
        """Send calls again, because an operator knows that the service works. Return False if nothing kept them
        back.
        """
        if not self._breaker.close():
            return False
        self._trials.clear()
        self._broadcast()
        log_event(log, logging.INFO, "circuit-closed", "an operator closed the circuit", service=self.name)
        return True

    def part_request(self, origin: str) -> PartRequest | None:
        """Return what this replica asks for; None if it is the only one, or the service has no limit."""
        limit = self._settings.calls
        if self._part is None or limit is None:
            return None
        ledger = self._ledger
        headroom = 0 if ledger.keeps_none_idle else limit // HEADROOM + 1
        want = min(limit, ledger.leased + ledger.waiting + headroom)
        return PartRequest(origin, limit, max(self._part, ledger.leased), want, is_short=self._is_short())

    def _apply_maximum(self) -> None:
        self._limit.maximum = self._max_places()
        self._adjust()
        self._broadcast()

    def _max_places(self) -> int:
        calls = self._settings.calls
        if calls is None:
            return UNLIMITED
        return calls if self._part is None else min(calls, self._part)

    def _is_short(self) -> bool:
        """Return whether calls wait because the part of this replica is too small."""
        calls = self._settings.calls
        return self._ledger.waiting > 0 and self._part is not None and calls is not None and self._part < calls

    def close(self) -> None:
        """Stop the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def add_worker(self, worker: int) -> None:
        """Add a worker that has no places."""
        self._workers.add(worker)
        self._ledger.add_worker(worker)
        self._send(worker, self._state())

    def remove_worker(self, worker: int) -> None:
        """Take back the places of a worker that has ended."""
        self._workers.discard(worker)
        self._ledger.remove_worker(worker)
        for trial in [trial for trial in self._trials if trial[0] == worker]:
            self._end_trial(trial)
        self._dispatch()

    def receive(self, worker: int, message: GateMessage) -> None:
        """Act on a message of a worker's gate."""
        match message:
            case WaitForPlace():
                self._wait(worker, message)
            case LeaveQueue(waiter):
                self._ledger.leave(worker, waiter)
                self._end_trial((worker, waiter))
                self._dispatch()
            case ReturnPlaces(places):
                self._ledger.return_places(worker, places)
                self._dispatch()
            case ReportOutcome():
                self._record_outcome(worker, message)
            case ReportRefusal(retry_after):
                self._lower_limit(retry_after)

    def _wait(self, worker: int, message: WaitForPlace) -> None:
        """Put a request in the queue. While the circuit is not closed, only trial calls enter the queue."""
        breaker = self._breaker
        if breaker.state != "closed":
            now = self._scheduler.time()
            if not breaker.begin_trial(now):
                self._send(worker, RejectWaiter(message.waiter, breaker.open_for(now) or TRIAL_WAIT))
                return
            self._trials.add((worker, message.waiter))
            self._broadcast()
        self._ledger.wait(worker, *message)
        self._dispatch()

    def _record_outcome(self, worker: int, outcome: ReportOutcome) -> None:
        waiter = worker, outcome.waiter
        if outcome.kind == "none":
            self._end_trial(waiter)
        elif outcome.kind == "failure":
            self._record_failure(outcome.reason, is_trial=waiter in self._trials)
        elif self._breaker.record_success(is_trial=waiter in self._trials):
            self._trials.clear()
            self._broadcast()
            name = self._settings.name
            log_event(log, logging.INFO, "circuit-closed", "the service answers again", service=name)

    def _record_failure(self, reason: str, *, is_trial: bool) -> None:
        breaker, now = self._breaker, self._scheduler.time()
        random_fraction = self._random_fraction()
        if breaker.record_failure(now, reason, random_fraction=random_fraction, is_trial=is_trial):
            self._trials.clear()
            self._on_opened(now)
            self._broadcast()
        elif breaker.state == "closed":
            self._broadcast()

    def _on_opened(self, now: float) -> None:
        """Reject all waiting requests, and log it."""
        breaker, seconds = self._breaker, self._breaker.open_for(now)
        for worker, waiter in self._ledger.remove_waiters():
            self._send(worker, RejectWaiter(waiter, seconds))
        message = f"the service does not answer; calls are rejected until a trial call succeeds: {breaker.reason}"
        name = self._settings.name
        log_event(log, logging.WARNING, "circuit-open", message, service=name, next_try_s=round(seconds, 1))
        self._dispatch()

    def _end_trial(self, waiter: Waiter) -> None:
        """End a trial call without a result."""
        if waiter not in self._trials:
            return
        self._trials.remove(waiter)
        if not self._trials:
            self._breaker.end_trial()
            self._broadcast()

    def _lower_limit(self, retry_after: float | None) -> None:
        if self._settings.calls is None:
            return
        now = self._scheduler.time()
        was_full = self._limit.current(now) == self._limit.maximum
        self._limit.lower(now, retry_after)
        limit = self._limit.current(now)
        if was_full:
            message = "the service refuses calls; fewer are sent at once for a while"
            log_event(log, logging.WARNING, "calls-reduced", message, service=self._settings.name, limit=limit)
        self._adjust()
        self._broadcast()

    def _adjust(self) -> None:
        """Use the present limit, and update it while it rises."""
        limit = self._limit.current(self._scheduler.time())
        self._ledger.limit = limit
        self._dispatch()
        if limit < self._limit.maximum and self._timer is None:
            self._timer = self._scheduler.call_later(RISE_INTERVAL, self._on_rise)

    def _on_rise(self) -> None:
        self._timer = None
        before = self._ledger.limit
        self._adjust()
        if self._ledger.limit != before:
            self._broadcast()

    def _dispatch(self) -> None:
        for worker, message in self._ledger.dispatch():
            self._send(worker, message)
        if self._part is not None and self._is_short():
            self._on_shortage()

    def _broadcast(self) -> None:
        state = self._state()
        for worker in self._workers:
            self._send(worker, state)

    def _state(self) -> ServiceState:
        breaker = self._breaker
        most = None if self._settings.calls is None else self._limit.maximum
        open_for = breaker.open_for(self._scheduler.time())
        limit = None if most is None else self._ledger.limit
        is_watching = breaker.failures > 0
        return ServiceState(limit, most, breaker.state, open_for, is_watching=is_watching, reason=breaker.reason)
