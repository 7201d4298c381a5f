"""Pure: the places that one worker has: the gate's side of a lease.

A request takes an idle place at once. If there is none, or others wait, it waits for the coordinator: only the
coordinator's queue decides who is next.
"""


class PlaceLease:
    """`running` places are used, `idle` ones are not; `is_recalled` while idle places must be returned."""

    __slots__ = ("_last_waiter", "_waiting", "idle", "is_recalled", "running")

    def __init__(self) -> None:
        self.running = self.idle = 0
        self.is_recalled = False
        self._waiting: set[int] = set()
        self._last_waiter = 0

    @property
    def waiting(self) -> int:
        """The number of waiters."""
        return len(self._waiting)

    def try_take(self) -> bool:
        """Take an idle place, unless a request of this worker waits."""
        if not self.idle or self._waiting:
            return False
        self.idle -= 1
        self.running += 1
        return True

    def begin_waiting(self) -> int:
        """Add a waiter. Return its number, for the coordinator."""
        self._last_waiter += 1
        self._waiting.add(self._last_waiter)
        return self._last_waiter

    def end_waiting(self, waiter: int) -> bool:
        """Remove a waiter that leaves or is rejected. Return False if it no longer waits."""
        if waiter not in self._waiting:
            return False
        self._waiting.remove(waiter)
        return True

    def grant(self, waiters: tuple[int, ...], spare: int) -> tuple[list[int], int]:
        """Receive places. Return the waiters that now have one, and the number of places to return. Waiters may have
        left in the meantime: their places become idle.
        """
        served = [waiter for waiter in waiters if waiter in self._waiting]
        self._waiting.difference_update(served)
        self.running += len(served)
        self.idle += len(waiters) - len(served) + spare
        return served, self._idle_to_return()

    def release(self) -> int:
        """End the use of a place. Return the number of places to return."""
        self.running -= 1
        self.idle += 1
        return self._idle_to_return() if self.is_recalled else 0

    def recall(self) -> int:
        """Return idle places from now on. Return the number of places to return now."""
        self.is_recalled = True
        return self._idle_to_return()

    def keep(self) -> None:
        """Keep idle places from now on."""
        self.is_recalled = False

    def _idle_to_return(self) -> int:
        if not self.is_recalled:
            return 0
        count, self.idle = self.idle, 0
        return count
