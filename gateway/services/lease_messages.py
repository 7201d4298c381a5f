"""The messages between the gate of a worker and the coordinator of its service. Pure.

Both directions keep their order. Numbers of waiters are unique within a worker.
"""

from typing import Literal, NamedTuple

BreakerState = Literal["closed", "open", "half-open"]
OutcomeKind = Literal["success", "failure", "none"]


class WaitForPlace(NamedTuple):
    """A request of `caller` waits for a place; callers with a larger `share` are served more often."""

    waiter: int
    caller: str
    share: int


class LeaveQueue(NamedTuple):
    """The request no longer waits. If its place is granted already, the gate puts it back."""

    waiter: int


class ReturnPlaces(NamedTuple):
    """The worker returns idle places."""

    places: int


class ReportOutcome(NamedTuple):
    """A call has shown whether the service works; `none` ends a trial call without a result. `waiter` is 0 for a call
    whose place was idle.
    """

    waiter: int
    kind: OutcomeKind
    reason: str = ""


class ReportRefusal(NamedTuple):
    """The service answered 429 or 503 without an instance id; `retry_after` in seconds."""

    retry_after: float | None


class GrantPlaces(NamedTuple):
    """A place for each of these waiters, and `spare` idle ones for later requests."""

    waiters: tuple[int, ...]
    spare: int


class RecallPlaces(NamedTuple):
    """Return idle places now, and each place that becomes idle, until `KeepPlaces`."""


class KeepPlaces(NamedTuple):
    """Keep places that become idle."""


class RejectWaiter(NamedTuple):
    """The circuit is open: the waiter gets an error; it may try again after `retry_after` seconds."""

    waiter: int
    retry_after: float


class ServiceState(NamedTuple):
    """What all gates must know: the present limit, the configured one (both None: no limit), the state of the breaker.

    While the circuit is open, calls are rejected for `open_for` more seconds. `is_watching`: report the next success.
    `reason` is that of the last failure.
    """

    limit: int | None
    configured_limit: int | None
    breaker: BreakerState
    open_for: float
    is_watching: bool
    reason: str = ""


GateMessage = WaitForPlace | LeaveQueue | ReturnPlaces | ReportOutcome | ReportRefusal
CoordinatorMessage = GrantPlaces | RecallPlaces | KeepPlaces | RejectWaiter | ServiceState
