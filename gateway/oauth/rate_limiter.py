"""How often a token endpoint may be asked: a budget that all credentials of one endpoint share, in order of asking.

`Bucket` (pure) counts; `Budget` makes those wait who come too soon, the first first.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

from gateway.errors import TokenUnavailable
from gateway.oauth.clock import Clock

PER_SECOND, PER_MINUTE = 8, 120  # a Free identity domain takes 10 and 150


class SlidingWindow:
    """Requests of the last minute: at most `per_second` within any second, `per_minute` within any minute. Pure."""

    def __init__(self, *, per_second: int = PER_SECOND, per_minute: int = PER_MINUTE) -> None:
        self._taken: deque[float] = deque()
        self.limit(per_second=per_second, per_minute=per_minute)

    def limit(self, *, per_second: int, per_minute: int) -> None:
        """Other limits from now on; what was taken still counts."""
        self.per_second = per_second
        self.per_minute = per_minute
        self._taken = deque(self._taken, maxlen=max(per_second, per_minute))

    def wait(self, now: float) -> float:
        """Seconds until one more may be taken; 0 when it may be now."""
        return max(0.0, self._free_at(self.per_second, 1.0) - now, self._free_at(self.per_minute, 60.0) - now)

    def take(self, now: float) -> None:
        """Counts one that is sent now."""
        self._taken.append(now)

    def left(self, now: float) -> int:
        """How many more this minute may see."""
        return max(0, self.per_minute - sum(now < at + 60.0 for at in self._taken))

    def _free_at(self, most: int, seconds: float) -> float:
        return self._taken[-most] + seconds if len(self._taken) >= most else float("-inf")


class RateLimiter:
    """A bucket with a queue, for one process. `sleep` is how time is waited for."""

    def __init__(
        self,
        bucket: SlidingWindow | None = None,
        *,
        clock: Clock,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self.bucket = bucket or SlidingWindow()
        self._clock = clock
        self._sleep = sleep
        self._queue = asyncio.Lock()  # wakes those who wait in order of asking

    def left(self) -> int:
        """How many more requests this minute may see."""
        return self.bucket.left(self._clock.monotonic())

    async def acquire(self, *, within: float) -> None:
        """Returns when one request may be sent, and counts it; TokenUnavailable where that is not `within` seconds."""
        end = self._clock.monotonic() + within
        try:
            async with asyncio.timeout(within), self._queue:
                while (wait := self._wait()) > 0:
                    if self._clock.monotonic() + wait > end:
                        raise self._exhausted(wait)
                    await self._sleep(wait)
                self.bucket.take(self._clock.monotonic())
        except TimeoutError:
            raise self._exhausted(self._wait()) from None

    def _wait(self) -> float:
        return self.bucket.wait(self._clock.monotonic())

    def _exhausted(self, wait: float) -> TokenUnavailable:
        limits = f"{self.bucket.per_second} a second and {self.bucket.per_minute} a minute"
        return TokenUnavailable(reason=f"budget: the token endpoint was asked {limits} times", retry_after=wait)
