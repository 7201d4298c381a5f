"""Counts events of the last ten seconds. Pure: the time is a parameter, in seconds of a monotonic clock."""

WINDOW = 10
"""Seconds."""


class RecentCount:
    """The number of events in the present second and the nine before it."""

    __slots__ = ("_counts", "_second")

    def __init__(self) -> None:
        self._counts = [0] * WINDOW
        self._second = 0

    def add(self, now: float) -> None:
        """Count one event."""
        second = int(now)
        if second != self._second:
            self._forget_until(second)
        self._counts[second % WINDOW] += 1

    def total(self, now: float) -> int:
        """Return the number of events."""
        second = int(now)
        if second != self._second:
            self._forget_until(second)
        return sum(self._counts)

    def _forget_until(self, second: int) -> None:
        for passed in range(max(self._second, second - WINDOW) + 1, second + 1):
            self._counts[passed % WINDOW] = 0
        self._second = second
