"""The rate limit of a token endpoint, which all credentials with that endpoint share.

`SlidingWindow` (pure) counts; `RateLimiter` delays requests that come too early, in the order of their arrival.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

from gateway.errors import TokenUnavailable
from gateway.oauth.clock import Clock


class SlidingWindow:
    """The requests of the last minute: at most `per_second` within any second, `per_minute` within any minute. Pure."""

    def __init__(self, *, per_second: int, per_minute: int) -> None:
        self._sent: deque[float] = deque()
        self.set_limits(per_second=per_second, per_minute=per_minute)

    def set_limits(self, *, per_second: int, per_minute: int) -> None:
        """Apply other limits. Requests that were sent before still count."""
        self.per_second = per_second
        self.per_minute = per_minute
        self._sent = deque(self._sent, maxlen=max(per_second, per_minute))

    def delay(self, now: float) -> float:
        """Return the seconds until one more request may be sent; 0 if it may be sent now."""
        return max(0.0, self._free_at(self.per_second, 1.0) - now, self._free_at(self.per_minute, 60.0) - now)

    def record_request(self, now: float) -> None:
        """Count a request that is sent now."""
        self._sent.append(now)

    def remaining_requests(self, now: float) -> int:
        """Return how many more requests this minute allows."""
        return max(0, self.per_minute - sum(now < sent_at + 60.0 for sent_at in self._sent))

    def _free_at(self, limit: int, seconds: float) -> float:
        return self._sent[-limit] + seconds if len(self._sent) >= limit else float("-inf")


class RateLimiter:
    """A window with a queue, for one process; `sleep` is for tests."""

    def __init__(
        self,
        window: SlidingWindow,
        *,
        clock: Clock,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self.window = window
        self._clock = clock
        self._sleep = sleep
        self._queue = asyncio.Lock()  # wakes waiters in the order of their arrival

    def remaining_requests(self) -> int:
        """Return how many more requests this minute allows."""
        return self.window.remaining_requests(self._clock.monotonic())

    async def acquire(self, *, within: float) -> None:
        """Wait until one request may be sent, and count it. Raise TokenUnavailable if that takes longer than `within`
        seconds.
        """
        end = self._clock.monotonic() + within
        try:
            async with asyncio.timeout(within), self._queue:
                while (delay := self._delay()) > 0:
                    if self._clock.monotonic() + delay > end:
                        raise self._exhausted_error(delay)
                    await self._sleep(delay)
                self.window.record_request(self._clock.monotonic())
        except TimeoutError:
            raise self._exhausted_error(self._delay()) from None

    def _delay(self) -> float:
        return self.window.delay(self._clock.monotonic())

    def _exhausted_error(self, delay: float) -> TokenUnavailable:
        limits = f"{self.window.per_second} a second and {self.window.per_minute} a minute"
        return TokenUnavailable(reason=f"budget: the token endpoint was asked {limits} times", retry_after=delay)
