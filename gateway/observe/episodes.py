"""Distinguishes the beginning of a problem from its continuation, so that the log has one line for each episode."""

from collections.abc import Callable

QUIET = 60.0
"""Seconds without another occurrence after which the next one begins a new episode."""


class EventDeduplicator:
    """Remembers when each kind of problem last occurred, by the clock `now`."""

    __slots__ = ("_last", "_now")

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._last: dict[str, float] = {}

    def begins(self, kind: str) -> bool:
        """Count an occurrence. Return True for the first one and for one after a quiet time."""
        now = self._now()
        last = self._last.get(kind, now - QUIET)
        self._last[kind] = now
        if now - last < QUIET:
            return False
        self._last = {known: at for known, at in self._last.items() if now - at < QUIET}
        return True
