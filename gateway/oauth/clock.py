"""The two clocks of token lives: monotonic, including suspended time, and the time of day."""

import time
from functools import partial
from typing import Protocol

# On Linux CLOCK_MONOTONIC stops while the machine sleeps; the life of a token goes on.
_BOOT_CLOCK = getattr(time, "CLOCK_BOOTTIME", None)


class Clock(Protocol):
    """Two readings in seconds; tests provide a manual clock."""

    def monotonic(self) -> float:
        """Return seconds since some start; never steps back, and includes the time that the machine was suspended."""
        ...

    def wall(self) -> float:
        """Return seconds since the epoch; may jump."""
        ...


class SystemClock:
    """The machine's clocks. If no clock counts suspended time, the wall clock covers it (`Token.usable_until_wall`).

    Both are functions of the standard library, without a method around them: each request reads both.
    """

    __slots__ = ()

    monotonic = staticmethod(time.monotonic if _BOOT_CLOCK is None else partial(time.clock_gettime, _BOOT_CLOCK))
    wall = staticmethod(time.time)
