"""Pure: how many requests may be sent a second time, so that retries do not add to the load of a failing service."""

from gateway.services.recent_count import RecentCount

SHARE = 0.2
"""Second tries as a share of the calls of ten seconds."""
AT_LEAST = 3
"""Second tries in ten seconds that are always allowed."""


class RetryBudget:
    """The second tries of one service in one process; `denied` counts those that were not allowed."""

    __slots__ = ("_calls", "_retries", "denied")

    def __init__(self) -> None:
        self._calls = RecentCount()
        self._retries = RecentCount()
        self.denied = 0

    def count_call(self, now: float) -> None:
        """Count a call."""
        self._calls.add(now)

    def try_spend(self, now: float) -> bool:
        """Return whether one more second try is allowed, and count it."""
        if self._retries.total(now) >= max(AT_LEAST, int(self._calls.total(now) * SHARE)):
            self.denied += 1
            return False
        self._retries.add(now)
        return True
