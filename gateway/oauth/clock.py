"""The two clocks by which a token lives: time passed, suspended time included, and the time of day."""

import time
from functools import partial
from typing import Protocol

# CLOCK_MONOTONIC stands still on Linux while the machine sleeps; a token grows old all the same.
_SLEEPLESS = getattr(time, "CLOCK_BOOTTIME", None)


class Clock(Protocol):
    """Two readings in seconds; tests turn one by hand."""

    def monotonic(self) -> float:
        """Seconds since some start; never steps back, and counts the time that the machine was suspended."""
        ...

    def wall(self) -> float:
        """Seconds since the epoch; may jump."""
        ...


class SystemClock:
    """The machine's clocks. Where no clock counts suspended time, the wall clock catches it (`Token.dead_wall`).

    `monotonic` gives seconds since boot, suspended time included where the system can tell; `wall` seconds since the
    epoch. Both are the system's own functions: each request reads both, and a method about them would cost more.
    """

    __slots__ = ()

    monotonic = staticmethod(time.monotonic if _SLEEPLESS is None else partial(time.clock_gettime, _SLEEPLESS))
    wall = staticmethod(time.time)
