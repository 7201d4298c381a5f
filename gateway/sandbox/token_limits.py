"""Budget: how many token requests an identity domain takes per second and per minute before it answers 429."""

from collections import deque


class TokenRateLimit:
    """A sliding window over the arrivals of the last minute."""

    def __init__(self) -> None:
        self._arrivals: deque[float] = deque()

    def admits(self, now: float, *, per_second: int | None, per_minute: int | None) -> bool:
        """Counts an arrival at `now` (seconds); False when it exceeds a limit. Refused arrivals are not counted."""
        while self._arrivals and self._arrivals[0] <= now - 60:
            self._arrivals.popleft()
        in_second = sum(1 for arrival in self._arrivals if arrival > now - 1)
        if per_second is not None and in_second >= per_second:
            return False
        if per_minute is not None and len(self._arrivals) >= per_minute:
            return False
        self._arrivals.append(now)
        return True
