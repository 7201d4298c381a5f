"""Pure: the permits that one worker has for one caller. The gate's side of a lease."""

from gateway.limits.limit_messages import Usage


class PermitLease:
    """Spare permits, valid until a time of the monotonic clock; and what was not reported yet."""

    __slots__ = ("_messages", "_used", "_used_at", "_window", "permits", "valid_until")

    def __init__(self) -> None:
        self.permits = 0
        self.valid_until = 0.0
        self._window = 0
        self._used = self._messages = 0
        self._used_at = 0.0

    def try_use(self, now: float) -> bool:
        """Use a spare permit. Return False if there is none."""
        if self.permits <= 0 or now >= self.valid_until:
            return False
        self.permits -= 1
        self._used += 1
        self._used_at = now
        return True

    def grant(self, spare: int, valid_until: float, window: int) -> None:
        """Receive spare permits. Those before were used or returned with the request for these."""
        if spare:
            self.permits, self.valid_until, self._window = spare, valid_until, window

    def add_messages(self, count: int) -> None:
        """Count messages that OIC bills."""
        self._messages += count

    def take_usage(self, now: float, *, returns_permits: bool = False) -> Usage:
        """Return what was not reported yet. Expired permits are returned, with `returns_permits` all."""
        returned = self.permits if returns_permits or now >= self.valid_until else 0
        usage = Usage(self._used, self._used_at, returned, self._window, self._messages)
        self.permits -= returned
        self._used = self._messages = 0
        return usage
