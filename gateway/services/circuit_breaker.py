"""Pure: the circuit breaker of a service that does not answer.

Failures in a row open the circuit: no call is sent for a while. Then one trial call is sent. Its success closes the
circuit, its failure opens it again for longer.
"""

from gateway.services.lease_messages import BreakerState

FAILURE_THRESHOLD = 5
"""Failures in a row that open the circuit."""
SHORTEST_OPEN_TIME, LONGEST_OPEN_TIME = 5.0, 120.0
"""Seconds that the circuit stays open."""
TRIAL_TIMEOUT = 10.0
"""Seconds after which another trial call is sent if the previous one has no result yet: a run may take minutes."""
FAILURE_STATUSES = frozenset({502, 503, 504})
"""Statuses that are failures if the response has no instance id: no flow has run."""
REFUSAL_STATUSES = frozenset({429, 503})
"""Statuses that mean too many calls if the response has no instance id."""


class CircuitBreaker:
    """The state of one circuit; times are seconds of a monotonic clock. `failures` is the number of consecutive
    failures, `reason` the cause of the last one.
    """

    __slots__ = ("_openings", "_trial_at", "failures", "reason", "state")

    def __init__(self) -> None:
        self.state: BreakerState = "closed"
        self.failures = 0
        self.reason = ""
        self._openings = 0
        self._trial_at = 0.0

    def record_failure(self, now: float, reason: str, *, random_fraction: float, is_trial: bool = False) -> bool:
        """Count a failure of a call. Return whether it opened the circuit. While the circuit is not closed, only the
        trial call counts: all other calls were sent before it opened.
        """
        if self.state != "closed" and not (is_trial and self.state == "half-open"):
            return False
        self.failures += 1
        self.reason = reason
        if self.state == "closed" and self.failures < FAILURE_THRESHOLD:
            return False
        self._openings += 1
        self.state = "open"
        self._trial_at = now + open_time(self._openings, random_fraction)
        return True

    def record_success(self, *, is_trial: bool = False) -> bool:
        """Count a response that shows that the service works. Return whether it closed the circuit."""
        if self.state == "closed":
            self.failures = 0
            return False
        if self.state == "open" or not is_trial:
            return False
        self.state = "closed"
        self.failures = self._openings = 0
        return True

    def close(self) -> bool:
        """Close the circuit, for an operator. Return False if it was closed."""
        was_closed = self.state == "closed"
        self.state = "closed"
        self.failures = self._openings = 0
        return not was_closed

    def end_trial(self) -> None:
        """End the trial calls without a result: the next call is a new trial."""
        if self.state == "half-open":
            self.state = "open"
            self._trial_at = 0.0

    def begin_trial(self, now: float) -> bool:
        """Return whether this call is a trial: the circuit is not closed, and the wait for the next trial is over."""
        if self.state == "closed" or now < self._trial_at:
            return False
        self.state = "half-open"
        self._trial_at = now + TRIAL_TIMEOUT
        return True

    def open_for(self, now: float) -> float:
        """Return the seconds until a trial call is allowed; 0 if it is, or the circuit is closed."""
        return max(0.0, self._trial_at - now) if self.state == "open" else 0.0


def open_time(openings: int, random_fraction: float) -> float:
    """Return how long the circuit stays open, in seconds, when it opens for the `openings`-th time in a row: a random
    time between `SHORTEST_OPEN_TIME` and a bound that doubles each time up to `LONGEST_OPEN_TIME` (full jitter, so that
    replicas do not try together).
    """
    longest = min(LONGEST_OPEN_TIME, SHORTEST_OPEN_TIME * 2.0 ** min(openings, 16))
    return SHORTEST_OPEN_TIME + (longest - SHORTEST_OPEN_TIME) * random_fraction


def is_failure(status: int, *, has_instance_id: bool) -> bool:
    """Return whether a response shows that the service does not work. A flow's own 5xx has an instance id."""
    return status in FAILURE_STATUSES and not has_instance_id
