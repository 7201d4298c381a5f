"""Detect the beginning of an episode of repeated events, so that the log has one line for each episode."""

from collections.abc import Callable

EPISODE_GAP = 60.0
"""Seconds without an event after which the next one starts a new episode."""


class EventDeduplicator:
    """Remembers when each kind of event last occurred, by the clock `now`."""

    __slots__ = ("_last", "_now")

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._last: dict[str, float] = {}

    def starts_episode(self, kind: str) -> bool:
        """Note an event. Return whether it starts an episode: it is the first, or the last one was long ago."""
        now = self._now()
        last = self._last.get(kind, now - EPISODE_GAP)
        self._last[kind] = now
        if now - last < EPISODE_GAP:
            return False
        self._last = {known: at for known, at in self._last.items() if now - at < EPISODE_GAP}
        return True
