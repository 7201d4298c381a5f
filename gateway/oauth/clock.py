"""The two clocks by which a token lives: time passed, suspended time included, and the time of day."""

import time
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
    """The machine's clocks. Where no clock counts suspended time, the wall clock catches it (`Token.dead_wall`)."""

    __slots__ = ()

    def monotonic(self) -> float:
        """Seconds since boot, suspended time included where the system can tell."""
        return time.monotonic() if _SLEEPLESS is None else time.clock_gettime(_SLEEPLESS)

    def wall(self) -> float:
        """Seconds since the epoch."""
        return time.time()
