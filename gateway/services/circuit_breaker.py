"""Pure: the circuit breaker of a service that does not answer.

Failures in a row open the circuit: no call is sent for a while. Then one trial call is sent. Its success closes the
circuit, its failure opens it again for longer.
"""

from gateway.services.lease_messages import BreakerState

FAILURES = 5
"""Failures in a row that open the circuit."""
SHORTEST, LONGEST = 5.0, 120.0
"""Seconds that the circuit stays open."""
TRIAL_TIME = 10.0
"""Seconds after which another trial call is sent if the last one has no result: a run may take minutes."""
FAILURE_STATUSES = frozenset({502, 503, 504})
"""Statuses without an instance id that are failures: no flow has run."""
REFUSAL_STATUSES = frozenset({429, 503})
"""Statuses without an instance id that refuse a call because there are too many."""


class CircuitBreaker:
    """The state of one circuit, with the times of a monotonic clock in seconds. `reason` is that of the last failure,
    `failures` their number in a row.
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
        trial call counts: all others were sent before.
        """
        if self.state != "closed" and not (is_trial and self.state == "half-open"):
            return False
        self.failures += 1
        self.reason = reason
        if self.state == "closed" and self.failures < FAILURES:
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

    def end_trial(self) -> None:
        """End the trial calls without a result: the next call is the trial."""
        if self.state == "half-open":
            self.state = "open"
            self._trial_at = 0.0

    def begin_trial(self, now: float) -> bool:
        """Return whether this call is a trial of a circuit that is not closed: its time has passed."""
        if self.state == "closed" or now < self._trial_at:
            return False
        self.state = "half-open"
        self._trial_at = now + TRIAL_TIME
        return True

    def open_for(self, now: float) -> float:
        """Return the seconds until a trial call is allowed; 0 if it is, or the circuit is closed."""
        return max(0.0, self._trial_at - now) if self.state == "open" else 0.0


def open_time(openings: int, random_fraction: float) -> float:
    """Return how long the circuit stays open, in seconds, when it opens for the `openings`-th time in a row: a random
    time between `SHORTEST` and a bound that doubles each time up to `LONGEST` (full jitter, so that replicas do not
    try together).
    """
    longest = min(LONGEST, SHORTEST * 2.0 ** min(openings, 16))
    return SHORTEST + (longest - SHORTEST) * random_fraction


def is_failure(status: int, *, has_instance_id: bool) -> bool:
    """Return whether a response shows that the service does not work. A flow's own 5xx has an instance id."""
    return status in FAILURE_STATUSES and not has_instance_id
