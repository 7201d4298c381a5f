"""Pure: what one caller may still do. Counts calls in a token bucket, and calls and messages in the windows of quotas.

The bucket has at most `burst` tokens, including those that workers hold: a spare permit is a token that has left the
bucket and was not used. So over any time no more calls are admitted than `burst`, and what the rate adds.
"""

import math
from typing import NamedTuple

from gateway.limits.caller_limits import CallerLimits, LimitKind, Quota, RateLimit
from gateway.limits.limit_messages import Denial, LimitState, Usage

UNLIMITED = 1 << 30
"""Calls that are admitted at once where no limit applies."""
TOLERANCE = 1e-9
"""Part of a token that rounding may cost."""
LEASE_TIME = 0.1
"""A worker gets spare permits for so many seconds of the rate, at least one."""
LARGEST_LEASE = 256
"""Most spare permits of a worker without a rate."""


class Instant(NamedTuple):
    """One moment in seconds, on the monotonic clock and by the time of day."""

    now: float
    wall: float


class QuotaWindow:
    """`used` in the present one of the fixed windows. A time of day that is set back begins no new window."""

    __slots__ = ("number", "quota", "used")

    def __init__(self, quota: Quota, wall: float) -> None:
        self.quota = quota
        self.number = int(wall // quota.window)
        self.used = 0

    def advance(self, wall: float) -> bool:
        """Begin a new window if it is time. Return whether it was."""
        number = int(wall // self.quota.window)
        if number <= self.number:
            return False
        self.number, self.used = number, 0
        return True

    def remaining(self) -> int:
        """Return what is left in this window."""
        return max(0, self.quota.limit - self.used)

    def ends_in(self, wall: float) -> float:
        """Return the seconds until the window ends."""
        return (self.number + 1) * self.quota.window - wall


class Allowance:
    """The state of all limits of one caller. `held` are spare permits of workers that may not be used yet."""

    def __init__(self, limits: CallerLimits, at: Instant) -> None:
        self.limits = limits
        self.held = 0
        self._held_calls = 0  # those of `held` that count in the present window of `quota.calls`
        self._tokens = 0.0 if limits.rate is None else float(limits.rate.burst)
        self._filled_at = at.now
        self.calls = None if limits.calls is None else QuotaWindow(limits.calls, at.wall)
        self.messages = None if limits.messages is None else QuotaWindow(limits.messages, at.wall)

    def adopt(self, held: int, *, tokens: int | None) -> None:
        """Continue a shared allowance: workers hold so many permits, and the bucket has so many tokens (None: all)."""
        self.held = self._held_calls = held
        if self.limits.rate is not None:
            room = float(max(0, self.limits.rate.burst - held))
            self._tokens = room if tokens is None else min(room, float(tokens))

    def configure(self, limits: CallerLimits, at: Instant) -> None:
        """Use other limits. What was used in the present windows still counts, and no token is added."""
        self.advance(at)
        if limits.rate is not None:
            had_rate, room = self.limits.rate is not None, float(max(0, limits.rate.burst - self.held))
            self._tokens = min(self._tokens, room) if had_rate else room
        self.calls = _resized(self.calls, limits.calls, at.wall)
        self.messages = _resized(self.messages, limits.messages, at.wall)
        self.limits = limits

    def advance(self, at: Instant) -> None:
        """Add the tokens of the time that has passed, and begin new windows."""
        if self.limits.rate is not None:
            self._fill(self.limits.rate, at.now)
        if self.calls is not None and self.calls.advance(at.wall):
            self._held_calls = 0
        if self.messages is not None:
            self.messages.advance(at.wall)

    def affordable(self) -> int:
        """Return how many calls may begin now, as far as no worker holds permits."""
        if self.messages is not None and not self.messages.remaining():
            return 0
        tokens = UNLIMITED if self.limits.rate is None else int(self._tokens + TOLERANCE)
        return tokens if self.calls is None else min(tokens, self.calls.remaining())

    def take(self, count: int) -> None:
        """Count so many calls, which begin now."""
        if self.limits.rate is not None:
            self._tokens -= count
        if self.calls is not None:
            self.calls.used += count

    def lease_spare(self, workers: int) -> int:
        """Take spare permits for one of so many workers, and return their number. The others must find some, too."""
        rate = self.limits.rate
        largest = LARGEST_LEASE if rate is None else max(1, int(rate.per_second * LEASE_TIME))
        spare = min(self.affordable() // (2 * workers), largest)
        if self.messages is not None:
            spare = min(spare, self.messages.remaining())
        self.take(spare)
        self.held += spare
        self._held_calls += spare
        return spare

    def lease_end(self, at: Instant) -> tuple[float, int]:
        """Return until when a permit is valid, and the number of its window."""
        if self.calls is None:
            return math.inf, 0
        return at.now + self.calls.ends_in(at.wall), self.calls.number

    def settle(self, usage: Usage, at: Instant) -> None:
        """Count what a worker reports: used permits, returned ones, messages."""
        count = usage.used + usage.returned
        if count:
            if usage.used and self.limits.rate is not None:
                self._fill(self.limits.rate, min(usage.used_at, at.now))  # until then they were not used
            self.held -= count
            if self.limits.rate is not None:  # no more than fit: they may be from a time with other limits
                room = max(self._tokens, float(self.limits.rate.burst - self.held))
                self._tokens = min(room, self._tokens + usage.returned)
            if self.calls is not None and usage.window == self.calls.number:
                self._held_calls -= count
                self.calls.used -= usage.returned
        self.advance(at)
        if self.messages is not None:
            self.messages.used += usage.messages

    def forfeit(self, count: int, at: Instant) -> None:
        """Count so many held permits as used now: their worker has ended."""
        window = 0 if self.calls is None else self.calls.number
        self.settle(Usage(min(count, self.held), at.now, 0, window, 0), at)
        self._held_calls = min(self._held_calls, self.held)

    def denial(self, at: Instant) -> Denial | None:
        """Return why and until when no call may begin. Only where `affordable` is 0."""
        states = self.states(at)
        exhausted = [state for state in states if not state.remaining]
        kind, _, until = max(exhausted, key=lambda state: state.resets_at)
        return Denial(kind, until, states)

    def states(self, at: Instant) -> tuple[LimitState, ...]:
        """Return the state of each limit."""
        found = []
        if (rate := self.limits.rate) is not None:
            remaining = int(self._tokens + TOLERANCE)
            resets_in = (1 + remaining - self._tokens) / rate.per_second
            found.append(LimitState("rate", remaining, at.now + resets_in))
        windows: tuple[tuple[LimitKind, QuotaWindow | None], ...] = ("calls", self.calls), ("messages", self.messages)
        for kind, window in windows:
            if window is not None:
                found.append(LimitState(kind, window.remaining(), at.now + window.ends_in(at.wall)))
        return tuple(found)

    def used(self, kind: LimitKind, _at: Instant) -> int:
        """Return the calls or messages of the present window, as far as workers have reported them."""
        if kind == "messages":
            return 0 if self.messages is None else self.messages.used
        return 0 if self.calls is None else self.calls.used - self._held_calls

    def _fill(self, rate: RateLimit, now: float) -> None:
        """Add tokens up to `now`; those that workers hold take their room in the bucket."""
        if now > self._filled_at:
            room = max(self._tokens, float(rate.burst - self.held))
            self._tokens = min(room, self._tokens + (now - self._filled_at) * rate.per_second)
            self._filled_at = now


def _resized(window: QuotaWindow | None, quota: Quota | None, wall: float) -> QuotaWindow | None:
    if quota is None:
        return None
    resized = QuotaWindow(quota, wall)
    if window is not None:
        resized.used = window.used
        if window.quota.window == quota.window:
            resized.number = max(window.number, resized.number)
    return resized
