"""Pure: the places that one worker has: the gate's side of a lease.

A request takes an idle place at once. If there is none, or others wait, it waits for the coordinator: only the
coordinator's queue decides who is next.
"""

from gateway.services.recent_count import RecentCount


class PlaceLease:
    """The lease counts as QUIC counts streams (RFC 9000 §4.6): `taken` places were taken at once since the start, and
    as many as `allowed` may have been. The difference is idle.

    `is_recalled` while idle places must be returned. `is_contended` while a place that is given back may be needed
    elsewhere, and no place is taken at once: requests of this worker wait, places are recalled, or the lease is paused.
    """

    __slots__ = (
        *("_calls", "_held", "_is_paused", "_last_waiter", "_usual_until", "_waited", "_waiting"),
        *("allowed", "is_contended", "is_recalled", "taken"),
    )

    def __init__(self) -> None:
        self.taken = self.allowed = 0
        self.is_contended = self.is_recalled = self._is_paused = False
        self._held = 0
        self._waiting: set[int] = set()
        self._last_waiter = self._waited = 0
        self._calls = RecentCount()
        self._usual_until = 0.0  # the end of the second in which calls are counted; 0 while the lease is contended

    @property
    def idle(self) -> int:
        """The number of places that are not used."""
        return self.allowed - self.taken

    @property
    def running(self) -> int:
        """The number of places that are used."""
        return self._held - self.idle

    @property
    def waiting(self) -> int:
        """The number of waiters."""
        return len(self._waiting)

    def try_take(self, now: float) -> bool:
        """Take an idle place at once, unless a request of this worker waits or the lease is paused. `now` is in seconds
        of a monotonic clock.
        """
        if now >= self._usual_until and not self._begin_second(now):
            return False
        if self.taken >= self.allowed:
            return False
        self.taken += 1
        return True

    def release(self) -> bool:
        """End the use of a place. Return whether the lease is contended: then `remove_surplus` must follow."""
        self.allowed += 1
        return self.is_contended

    def remove_surplus(self) -> int:
        """Remove the idle places that must be returned. Return their number."""
        if not self.is_recalled:
            return 0
        count = self.idle
        self.allowed -= count
        self._held -= count
        return count

    def begin_waiting(self) -> int:
        """Add a waiter. Return its number, for the coordinator."""
        self._last_waiter += 1
        self._waiting.add(self._last_waiter)
        self._update()
        return self._last_waiter

    def end_waiting(self, waiter: int) -> bool:
        """Remove a waiter that leaves or is rejected. Return False if it no longer waits."""
        if waiter not in self._waiting:
            return False
        self._waiting.remove(waiter)
        self._update()
        return True

    def grant(self, waiters: tuple[int, ...], spare: int) -> tuple[list[int], int]:
        """Receive places. Return the waiters that now have one, and the number of places to return. Waiters may have
        left in the meantime: their places become idle.
        """
        served = [waiter for waiter in waiters if waiter in self._waiting]
        self._waiting.difference_update(served)
        self._held += len(waiters) + spare
        self.allowed += len(waiters) - len(served) + spare
        self._update()
        return served, self.remove_surplus()

    def recall(self) -> int:
        """Return idle places from now on. Return the number of places to return now."""
        self.is_recalled = True
        self._update()
        return self.remove_surplus()

    def keep(self) -> None:
        """Keep idle places from now on."""
        self.is_recalled = False
        self._update()

    def pause(self, *, is_paused: bool) -> None:
        """Let no request take a place at once, or let them again."""
        self._is_paused = is_paused
        self._update()

    def count_waited(self, now: float) -> None:
        """Count the call of a waiter that was served."""
        self._advance_calls(now)
        self._waited += 1

    def recent_calls(self, now: float) -> int:
        """Return the number of calls that had a place in the last ten seconds."""
        self._advance_calls(now)
        return self._calls.total(now)

    def _begin_second(self, now: float) -> bool:
        """Count the calls that follow for the second of `now`. Return False if the lease is contended."""
        if self.is_contended:
            return False
        self._advance_calls(now)
        self._usual_until = int(now) + 1.0
        return True

    def _advance_calls(self, now: float) -> None:
        self._calls.events = self.taken + self._waited
        self._calls.advance(now)

    def _update(self) -> None:
        self.is_contended = bool(self._waiting) or self.is_recalled or self._is_paused
        self._usual_until = 0.0
