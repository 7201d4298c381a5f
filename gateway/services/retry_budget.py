"""Pure: how many requests may be retried, so that retries do not overload a failing service."""

from gateway.services.recent_count import RecentCount

RETRY_SHARE = 0.2
"""Retries as a share of the calls of ten seconds."""
MIN_RETRIES = 3
"""Retries in ten seconds that are always allowed."""


class RetryBudget:
    """The retries of one service in one process; `denied` counts those that were not allowed."""

    __slots__ = ("_retries", "denied")

    def __init__(self) -> None:
        self._retries = RecentCount()
        self.denied = 0

    def try_spend(self, now: float, calls: int) -> bool:
        """Return whether one more retry is allowed, and count it. `calls` is the number of calls in the last ten
        seconds.
        """
        if self._retries.total(now) >= max(MIN_RETRIES, int(calls * RETRY_SHARE)):
            self.denied += 1
            return False
        self._retries.add(now)
        return True
