"""Pure: the current limit of concurrent calls, lowered when the service refuses calls (additive increase,
multiplicative decrease).
"""

NUMERATOR, DENOMINATOR = 7, 10
"""A refusal multiplies the limit by 7/10."""
REFUSAL_WINDOW = 1.0
"""Seconds in which several refusals count as one: calls that were sent together are refused together."""
LONGEST_HOLD = 300.0
"""Maximum seconds for which a `Retry-After` keeps the limit from rising."""


class AdaptiveLimit:
    """The limit between 1 and `maximum`. `maximum` may be changed."""

    __slots__ = ("_base", "_lowered_at", "_rises_from", "maximum")

    def __init__(self, maximum: int) -> None:
        self.maximum = maximum
        self._base: int | None = None  # None: the maximum
        self._lowered_at = self._rises_from = 0.0

    def current(self, now: float) -> int:
        """Return the current limit: it rises by one for each second without a refusal."""
        if self._base is None:
            return self.maximum
        limit = self._base + int(max(0.0, now - self._rises_from))
        if limit >= self.maximum:
            self._base = None
            return self.maximum
        return limit

    def lower(self, now: float, retry_after: float | None) -> None:
        """Lower the limit after a refusal. It does not rise before `retry_after` seconds have passed."""
        limit = self.current(now)
        if self._base is None or now - self._lowered_at >= REFUSAL_WINDOW:
            limit = max(1, limit * NUMERATOR // DENOMINATOR)
            self._lowered_at = now
        hold = now + min(retry_after or 0.0, LONGEST_HOLD)
        self._rises_from = hold if self._base is None else max(hold, self._rises_from)
        self._base = limit
