"""The coordinator of the services of a gateway: leases their places to the workers, and decides limit and circuit.

It runs in the parent of the workers, or beside the gate in the only process. `Coordinators` has one
`ServiceCoordinator` for each service.
"""

import logging
from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol

from gateway.observe.log import log_event
from gateway.services.adaptive_limit import AdaptiveLimit
from gateway.services.circuit_breaker import CircuitBreaker
from gateway.services.lease_messages import (
    CoordinatorMessage,
    GateMessage,
    LeaveQueue,
    PutBack,
    RejectWaiter,
    ReportOutcome,
    ReportRefusal,
    ServiceState,
    WaitForPlace,
)
from gateway.services.place_ledger import PlaceLedger, Waiter

log = logging.getLogger("gateway.services")

UNLIMITED = 1 << 24
"""Places of a service without a limit: more than there can be connections."""
HEADROOM = 8
"""A replica asks for this fraction of the limit more than it uses, so that the next call need not wait."""
TICK = 1.0
"""Seconds between two looks at a limit that rises."""
TRIAL_WAIT = 1.0
"""Seconds after which a request may try again that came during the trial call of another."""


class Timer(Protocol):
    """A callback that is called later."""

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


Send = Callable[[str, CoordinatorMessage], None]
"""Sends a message to one worker; the first argument is the origin of the service."""


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
        replica has a part of the places only.
        """
        self._settings = settings
        self._on_shortage = on_shortage
        self._part: int | None = None
        self._scheduler = scheduler
        self._random_fraction = random_fraction
        self._send = send
        self._limit = AdaptiveLimit(self._places())
        self._ledger = PlaceLedger(self._limit.maximum)
        self._breaker = CircuitBreaker()
        self._workers: set[int] = set()
        self._trials: set[Waiter] = set()
        self._timer: Timer | None = None

    def configure(self, settings: ServiceLimit) -> None:
        """Use other settings. With a lower limit no place is granted until enough are back."""
        self._settings = settings
        self._use_maximum()

    def set_part(self, part: int | None, *, are_others_short: bool = False) -> None:
        """Use this part of the places; None: all of them, since there are no replicas. While calls wait at another
        replica, workers keep no idle places.
        """
        if part != self._part or are_others_short != self._ledger.keeps_none_idle:
            self._part = part
            self._ledger.keeps_none_idle = are_others_short
            self._use_maximum()

    def share_with_replicas(self, *, has_replicas: bool) -> None:
        """Share the places with replicas from now on, or no more."""
        if not has_replicas:
            self.set_part(None)
        elif self._part is None:
            self.set_part(0)

    def part_request(self, origin: str) -> PartRequest | None:
        """Return what this replica asks for; None if it is the only one, or the service has no limit."""
        limit = self._settings.calls
        if self._part is None or limit is None:
            return None
        ledger = self._ledger
        headroom = 0 if ledger.keeps_none_idle else limit // HEADROOM + 1
        want = min(limit, ledger.out + ledger.waiting + headroom)
        return PartRequest(origin, limit, max(self._part, ledger.out), want, is_short=self._is_short())

    def _use_maximum(self) -> None:
        self._limit.maximum = self._places()
        self._adjust()
        self._broadcast()

    def _places(self) -> int:
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
            case PutBack(places):
                self._ledger.put_back(worker, places)
                self._dispatch()
            case ReportOutcome():
                self._record_outcome(worker, message)
            case ReportRefusal(retry_after):
                self._lower_limit(retry_after)

    def _wait(self, worker: int, message: WaitForPlace) -> None:
        """Put a request in the queue. While the circuit is not closed, only the trial call gets there."""
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
        """Reject all that wait, and log it."""
        breaker, seconds = self._breaker, self._breaker.open_for(now)
        for worker, waiter in self._ledger.remove_waiters():
            self._send(worker, RejectWaiter(waiter, seconds))
        message = f"the service does not answer; calls are rejected until a trial call succeeds: {breaker.reason}"
        name = self._settings.name
        log_event(log, logging.WARNING, "circuit-open", message, service=name, next_try_s=round(seconds, 1))
        self._dispatch()

    def _end_trial(self, waiter: Waiter) -> None:
        """End a trial call that has shown nothing."""
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
        """Use the present limit, and look again while it rises."""
        limit = self._limit.current(self._scheduler.time())
        self._ledger.limit = limit
        self._dispatch()
        if limit < self._limit.maximum and self._timer is None:
            self._timer = self._scheduler.call_later(TICK, self._on_tick)

    def _on_tick(self) -> None:
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


class Coordinators:
    """The coordinators of all services, by origin."""

    def __init__(self, *, scheduler: Scheduler, random_fraction: Callable[[], float]) -> None:
        self._scheduler = scheduler
        self._random_fraction = random_fraction
        self.on_shortage: Callable[[], None] = lambda: None
        self._workers: dict[int, Send] = {}
        self._services: dict[str, ServiceCoordinator] = {}

    def configure(self, services: Mapping[str, ServiceLimit], *, has_replicas: bool = False) -> None:
        """Use these services from now on. One that is removed has no limit any more; it is kept for the calls in
        progress, and in case it comes back. With `has_replicas` a service has no places until `set_part`.
        """
        for origin, settings in services.items():
            if origin in self._services:
                self._services[origin].configure(settings)
            else:
                self._services[origin] = self._new_coordinator(origin, settings)
        for origin in self._services.keys() - services.keys():
            self._services[origin].configure(ServiceLimit(origin, None))
        for service in self._services.values():
            service.share_with_replicas(has_replicas=has_replicas)

    def part_requests(self) -> list[PartRequest]:
        """Return what this replica asks for, for each service with a limit."""
        requests = (service.part_request(origin) for origin, service in self._services.items())
        return [request for request in requests if request is not None]

    def set_part(self, origin: str, part: int, *, are_others_short: bool = False) -> None:
        """Use this part of the places of a service."""
        self._services[origin].set_part(part, are_others_short=are_others_short)

    def add_worker(self, worker: int, send: Send) -> None:
        """Add a worker; numbers are never used twice."""
        self._workers[worker] = send
        for service in self._services.values():
            service.add_worker(worker)

    def remove_worker(self, worker: int) -> None:
        """Take back the places of a worker that has ended."""
        if self._workers.pop(worker, None) is not None:
            for service in self._services.values():
                service.remove_worker(worker)

    def receive(self, worker: int, origin: str, message: GateMessage) -> None:
        """Act on a message of a worker."""
        service = self._services.get(origin)
        if service is not None and worker in self._workers:
            service.receive(worker, message)

    def close(self) -> None:
        """Stop all timers."""
        for service in self._services.values():
            service.close()

    def _on_shortage(self) -> None:
        self.on_shortage()

    def _new_coordinator(self, origin: str, settings: ServiceLimit) -> ServiceCoordinator:
        service = ServiceCoordinator(
            settings,
            scheduler=self._scheduler,
            random_fraction=self._random_fraction,
            on_shortage=self._on_shortage,
            send=lambda worker, message: self._workers[worker](origin, message),
        )
        for worker in self._workers:
            service.add_worker(worker)
        return service
