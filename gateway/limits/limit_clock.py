"""The clocks and the timer of coordinators. Pure: they are passed in."""

from collections.abc import Callable
from typing import NamedTuple, Protocol

from gateway.limits.allowance import Instant


class CancellableTimer(Protocol):
    """A callback that is called later."""

    def cancel(self) -> None:
        """Do not call it."""


class LimitClock(NamedTuple):
    """The clocks and the timer of a coordinator."""

    instant: Callable[[], Instant]
    call_later: Callable[[float, Callable[[], None]], CancellableTimer]
