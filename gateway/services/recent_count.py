"""Counts events of the last ten seconds. Pure: the time is a parameter, in seconds of a monotonic clock."""

WINDOW = 10
"""Seconds."""


class RecentCount:
    """The number of events in the present second and the nine before it. `events` counts all events: set it, before
    `advance`, in place of a call of `add` for each event.
    """

    __slots__ = ("_before", "_second", "events")

    def __init__(self) -> None:
        self.events = 0
        self._before = [0] * WINDOW  # `events` at the beginning of each second
        self._second = 0

    def add(self, now: float) -> None:
        """Count one event."""
        self.advance(now)
        self.events += 1

    def total(self, now: float) -> int:
        """Return the number of events."""
        self.advance(now)
        return self.events - self._before[(self._second + 1) % WINDOW]

    def advance(self, now: float) -> None:
        """Begin the present second: later events are counted for it."""
        second = int(now)
        for begun in range(max(self._second, second - WINDOW) + 1, second + 1):
            self._before[begun % WINDOW] = self.events
        self._second = second
