"""Pure: how many requests may be retried, so that retries do not overload a failing service."""

from gateway.services.recent_count import RecentCount

RETRY_SHARE = 0.2
"""Retries as a share of the calls of ten seconds."""
MIN_RETRIES = 3
"""Retries in ten seconds that are always allowed."""


class RetryBudget:
    """The retries of one service in one process; `denied` counts those that were not allowed."""

    __slots__ = ("_calls", "_retries", "denied")

    def __init__(self) -> None:
        self._calls = RecentCount()
        self._retries = RecentCount()
        self.denied = 0

    def count_call(self, now: float) -> None:
        """Count a call."""
        self._calls.add(now)

    def try_spend(self, now: float) -> bool:
        """Return whether one more retry is allowed, and count it."""
        if self._retries.total(now) >= max(MIN_RETRIES, int(self._calls.total(now) * RETRY_SHARE)):
            self.denied += 1
            return False
        self._retries.add(now)
        return True
