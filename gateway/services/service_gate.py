"""The gate of one service in one serving process: a request acquires a place here before it is sent.

`try_acquire` takes an idle place at once; `acquire` waits for one. Every place must be released, once. The gate reports
each failed call to the coordinator, and a successful one only after a failure.
"""

import asyncio
import math
from collections.abc import Callable

import msgspec

from gateway.errors import Overloaded, UpstreamDown
from gateway.observe.meters import new_histogram, observe
from gateway.services.circuit_breaker import REFUSAL_STATUSES, is_failure
from gateway.services.lease_messages import (
    CoordinatorMessage,
    GateMessage,
    GrantPlaces,
    KeepPlaces,
    LeaveQueue,
    RecallPlaces,
    RejectWaiter,
    ReportOutcome,
    ReportRefusal,
    ReturnPlaces,
    ServiceState,
    WaitForPlace,
)
from gateway.services.place_lease import PlaceLease
from gateway.services.recent_count import WINDOW, RecentCount
from gateway.services.retry_budget import RetryBudget

LONGEST_RETRY_AFTER = 60.0
"""Maximum `Retry-After` in seconds for a request that got no place."""


class Place(msgspec.Struct, frozen=True, eq=False):
    """The right of one request to use its service. `waiter` is the number of the request in the queue, 0 if it did not
    wait.
    """

    gate: "ServiceGate"
    waiter: int = 0

    def release(self) -> None:
        """Return the place to the gate. Call this once."""
        if self.gate.lease.release():
            self.gate.after_release(self.waiter)

    def record_response(self, status: int, *, has_instance_id: bool, retry_after: float | None) -> None:
        """Record a response of the service; `retry_after` in seconds. One below 400 matters only while the gate
        `reports_success`.
        """
        self.gate.record_response(self.waiter, status, has_instance_id=has_instance_id, retry_after=retry_after)

    def record_failure(self, reason: str) -> None:
        """Record that no connection could be made, or that no response came in time."""
        self.gate.record_failure(self.waiter, reason)

    def try_retry(self) -> bool:
        """Return whether the request may be retried (`RetryBudget`)."""
        return self.gate.try_retry()


class _PlaceWait:
    """The wait of one request. `end` is done when `is_granted`, or when the circuit is open for `open_for` seconds; or
    it is cancelled with the request.
    """

    __slots__ = ("end", "is_granted", "open_for")

    def __init__(self, end: asyncio.Future[None]) -> None:
        self.end = end
        self.is_granted = False
        self.open_for: float | None = None

    def grant(self) -> None:
        """End the wait with a place."""
        self.is_granted = True
        self._finish()

    def reject(self, open_for: float) -> None:
        """End the wait without a place."""
        self.open_for = open_for
        self._finish()

    def _finish(self) -> None:
        if not self.end.done():
            self.end.set_result(None)


class ServiceGate:
    """The places of one service in this process. `configure` comes before the first request.

    Counters: `overloaded` counts requests that waited too long, `rejected` those that found the circuit open.
    """

    def __init__(self, origin: str, *, send: Callable[[GateMessage], None], now: Callable[[], float]) -> None:
        """`send` takes messages for the coordinator; `now` is a monotonic clock in seconds."""
        self.lease = PlaceLease()
        self.place = Place(self)
        """That of each request that did not wait."""
        self.try_acquire = self.lease.try_take
        self.origin = origin
        self.name = origin
        self.reports_success = False
        self.overloaded = self.rejected = 0
        self.retry_budget = RetryBudget()
        self.state = ServiceState(None, None, "closed", 0.0, is_watching=False)
        self._send = send
        self._now = now
        self._max_wait = 0.0
        self._is_circuit_closed = True
        self._open_until = 0.0
        self._wait_times = new_histogram()
        self._waits: dict[int, _PlaceWait] = {}
        self._recent_releases = RecentCount()

    def configure(self, name: str, wait: float) -> None:
        """Use this name, and this longest time in seconds that a request waits."""
        self.name = name
        self._max_wait = wait

    @property
    def running(self) -> int:
        """The number of places in use."""
        return self.lease.running

    @property
    def waiting(self) -> int:
        """The number of requests that wait for a place."""
        return self.lease.waiting

    @property
    def queue_times(self) -> list[float]:
        """A histogram of the seconds that requests waited for their places."""
        times = self._wait_times.copy()
        times[0] += self.lease.taken
        return times

    def open_for(self) -> float:
        """Return for how many seconds the circuit stays open."""
        return max(0.0, self._open_until - self._now()) if self.state.breaker == "open" else 0.0

    async def acquire(self, caller: str, share: int) -> Place:
        """Wait for a place. `caller` and its `share` decide which request is next. Raise Overloaded after the longest
        permitted wait, UpstreamDown if the circuit is open.
        """
        started_at = self._now()
        if (seconds := self.open_for()) > 0:
            raise self._down_error(seconds)
        waiter = self.lease.begin_waiting()
        wait = self._waits[waiter] = _PlaceWait(asyncio.get_running_loop().create_future())
        try:
            self._send(WaitForPlace(waiter, caller, share))
            async with asyncio.timeout(self._max_wait):
                await wait.end
        except TimeoutError:
            self._leave_queue(waiter)
        except asyncio.CancelledError:
            self._leave_queue(waiter)
            if wait.is_granted:
                Place(self, waiter).release()
            raise
        finally:
            del self._waits[waiter]
        if wait.open_for is not None:
            raise self._down_error(wait.open_for)
        if not wait.is_granted:
            self.overloaded += 1
            raise self._overloaded_error()
        now = self._now()
        self.lease.count_waited(now)
        observe(self._wait_times, now - started_at)
        return Place(self, waiter)

    def after_release(self, waiter: int) -> None:
        """Return idle places, and report the end of a call, after the release of a place of a contended lease."""
        lease = self.lease
        if lease.is_recalled or lease.waiting:  # `retry_after` needs the rate only while requests wait
            self._recent_releases.add(self._now())
        self._return_places(lease.remove_surplus())
        if waiter and not self._is_circuit_closed:
            self._send(ReportOutcome(waiter, "none"))

    def record_response(self, waiter: int, status: int, *, has_instance_id: bool, retry_after: float | None) -> None:
        """Record a response: `Place.record_response`."""
        if status in REFUSAL_STATUSES and not has_instance_id:
            self._send(ReportRefusal(retry_after))
        if is_failure(status, has_instance_id=has_instance_id):
            self.record_failure(waiter, f"status {status}")
        elif self.reports_success:
            self.reports_success = not self._is_circuit_closed  # while it is not closed, the trial call may follow
            self._send(ReportOutcome(waiter, "success"))

    def record_failure(self, waiter: int, reason: str) -> None:
        """Record a failed call: `Place.record_failure`."""
        self._send(ReportOutcome(waiter, "failure", reason))

    def try_retry(self) -> bool:
        """Return whether one more retry is allowed."""
        now = self._now()
        return self.retry_budget.try_spend(now, self.lease.recent_calls(now))

    def receive(self, message: CoordinatorMessage) -> None:
        """Act on a message of the coordinator."""
        match message:
            case GrantPlaces(waiters, spare):
                served, surplus = self.lease.grant(waiters, spare)
                self._return_places(surplus)
                for waiter in served:
                    self._waits[waiter].grant()
            case RecallPlaces():
                self._return_places(self.lease.recall())
            case KeepPlaces():
                self.lease.keep()
            case RejectWaiter(waiter, retry_after):
                if self.lease.end_waiting(waiter):
                    self._waits[waiter].reject(retry_after)
            case ServiceState():
                self.state = message
                self._is_circuit_closed = message.breaker == "closed"
                self.lease.pause(is_paused=not self._is_circuit_closed)
                self._open_until = self._now() + message.open_for
                self.reports_success = message.is_watching or not self._is_circuit_closed

    def retry_after(self) -> float:
        """Return the seconds until a place is likely, from the waiting requests and the recent release rate."""
        rate = self._recent_releases.total(self._now()) / WINDOW
        seconds = (self.lease.waiting + 1) / rate if rate else LONGEST_RETRY_AFTER
        return min(LONGEST_RETRY_AFTER, max(1.0, math.ceil(seconds)))

    def _leave_queue(self, waiter: int) -> None:
        """Leave the queue. A place or a rejection may have arrived at the same moment."""
        if self.lease.end_waiting(waiter):
            self._send(LeaveQueue(waiter))

    def _return_places(self, count: int) -> None:
        if count:
            self._send(ReturnPlaces(count))

    def _overloaded_error(self) -> Overloaded:
        limit = "" if self.state.limit is None else f" of {self.state.limit}"
        reason = f"service {self.name}: no place{limit} became free within {self._max_wait:g} s"
        return Overloaded(reason=reason, retry_after=self.retry_after())

    def _down_error(self, seconds: float) -> UpstreamDown:
        self.rejected += 1
        return UpstreamDown(reason=f"service {self.name}: circuit open", retry_after=seconds)
