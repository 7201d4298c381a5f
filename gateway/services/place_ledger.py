"""Pure: which worker has how many places of one service: the coordinator's side of a lease.

The ledger never leases more places than its limit. After the limit is lowered, it leases none until enough are
returned. It recalls idle places as soon as a request waits for one.
"""

from gateway.services.fair_queue import FairQueue
from gateway.services.lease_messages import CoordinatorMessage, GrantPlaces, KeepPlaces, RecallPlaces

Waiter = tuple[int, int]
"""A worker and the number of a waiter there."""
WorkerMessage = tuple[int, CoordinatorMessage]
"""A worker and a message to it."""


class PlaceLedger:
    """The places of one service: those of each worker, and the waiters of all. Call `dispatch` after each change."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.keeps_none_idle = False
        """True: workers return idle places at once."""
        self._held: dict[int, int] = {}
        self._queue: FairQueue[Waiter] = FairQueue()
        self._recalled: set[int] = set()

    @property
    def leased(self) -> int:
        """The number of places that workers have, used or idle."""
        return sum(self._held.values())

    @property
    def waiting(self) -> int:
        """The number of waiters."""
        return len(self._queue)

    def add_worker(self, worker: int) -> None:
        """Add a worker, which has no places."""
        self._held[worker] = 0

    def remove_worker(self, worker: int) -> None:
        """Take back all places of a worker that has ended, and forget its waiters."""
        self._held.pop(worker, None)
        self._recalled.discard(worker)
        for waiter in [waiter for waiter in self._queue if waiter[0] == worker]:
            self._queue.remove(waiter)

    def wait(self, worker: int, waiter: int, caller: str, share: int) -> None:
        """Add a waiter."""
        if worker in self._held:
            self._queue.push((worker, waiter), caller, share)

    def leave(self, worker: int, waiter: int) -> None:
        """Remove a waiter; does nothing if it has been granted a place."""
        self._queue.remove((worker, waiter))

    def return_places(self, worker: int, count: int) -> None:
        """Take back places of a worker."""
        if worker in self._held:
            self._held[worker] -= count

    def remove_waiters(self) -> list[Waiter]:
        """Remove and return all waiters, in their order."""
        return [self._queue.pop() for _ in range(len(self._queue))]

    def dispatch(self) -> list[WorkerMessage]:
        """Grant free places, and recall idle ones while requests wait. Return the messages to the workers."""
        free = self.limit - self.leased
        granted: dict[int, list[int]] = {}
        while self._queue and free > 0:
            worker, waiter = self._queue.pop()
            granted.setdefault(worker, []).append(waiter)
            self._held[worker] += 1
            free -= 1
        notices: list[WorkerMessage] = []
        if self._queue or free < 0 or self.keeps_none_idle:
            for worker, held in self._held.items():
                if held and worker not in self._recalled:
                    self._recalled.add(worker)
                    notices.append((worker, RecallPlaces()))
        else:
            notices = [(worker, KeepPlaces()) for worker in self._recalled]
            self._recalled.clear()
        for worker, waiters in granted.items():
            spare = 0 if worker in self._recalled else self._spare(free)
            free -= spare
            self._held[worker] += spare
            notices.append((worker, GrantPlaces(tuple(waiters), spare)))
        return notices

    def _spare(self, free: int) -> int:
        """Return how many of the free places a worker gets in addition to those that it asked for: all if it is the
        only worker, else few enough to leave some for the others.
        """
        return free if len(self._held) == 1 else free // (2 * len(self._held))
