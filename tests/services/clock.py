"""A clock that a test turns, with the timers of an event loop."""

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(order=True)
class Alarm:
    """A callback at a time."""

    at: float
    number: int
    callback: Callable[[], None] = field(compare=False)
    is_cancelled: bool = field(default=False, compare=False)

    def cancel(self) -> None:
        self.is_cancelled = True


class TurnedClock:
    """Stands still until it is turned."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.alarms: list[Alarm] = []
        self._numbers = itertools.count()

    def time(self) -> float:
        return self.now

    def call_later(self, delay: float, callback: Callable[[], None], /) -> Alarm:
        alarm = Alarm(self.now + delay, next(self._numbers), callback)
        self.alarms.append(alarm)
        return alarm

    def turn(self, seconds: float) -> None:
        """Let time pass; call back what is due, in order."""
        end = self.now + seconds
        while due := sorted(alarm for alarm in self.alarms if not alarm.is_cancelled and alarm.at <= end):
            alarm = due[0]
            self.alarms.remove(alarm)
            self.now = alarm.at
            alarm.callback()
        self.now = end
