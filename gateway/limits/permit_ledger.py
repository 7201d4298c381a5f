"""Pure: which worker holds spare permits of one caller, and which requests wait. The coordinator's side of a lease.

A request is denied only when no worker holds spare permits: they are recalled first.
"""

from gateway.limits.allowance import Allowance, Instant
from gateway.limits.borrowed_allowance import BorrowedAllowance
from gateway.limits.caller_limits import CallerLimits
from gateway.limits.limit_messages import DenyCalls, GrantPermits, LimitMessage, RecallPermits, Usage

PermitNotice = tuple[int, LimitMessage]
"""A worker and a message to it."""


class PermitLedger:
    """The permits of one caller. Call `dispatch` after each change."""

    def __init__(self, allowance: Allowance | BorrowedAllowance) -> None:
        self.allowance = allowance
        self._held: dict[int, int] = {}
        self._waiting: dict[int, int] = {}
        self._recalled: set[int] = set()

    @property
    def waiting(self) -> int:
        """The number of requests that wait."""
        return sum(self._waiting.values())

    @property
    def is_recalling(self) -> bool:
        """Whether requests wait for permits that workers must return."""
        return bool(self._waiting and self._recalled)

    def add_worker(self, worker: int) -> None:
        """Add a worker, which holds nothing."""
        self._held[worker] = 0

    def remove_worker(self, worker: int, at: Instant) -> None:
        """Remove a worker that has ended. Its spare permits may have been used, so they count as used: the worker that
        replaces it gets no new ones for them.
        """
        held = self._held.pop(worker, 0)
        self._waiting.pop(worker, None)
        self._recalled.discard(worker)
        if held:
            self.allowance.forfeit(held, at)

    def configure(self, limits: CallerLimits, at: Instant) -> list[PermitNotice]:
        """Use other limits, and recall all spare permits: they were given by the former ones."""
        self.allowance.configure(limits, at)
        return self._recall()

    def request(self, worker: int, count: int) -> None:
        """Add so many requests that wait for a permit."""
        if worker in self._held:
            self._waiting[worker] = self._waiting.get(worker, 0) + count

    def settle(self, worker: int, usage: Usage, at: Instant) -> None:
        """Count what a worker reports."""
        if worker in self._held:
            self._held[worker] -= usage.used + usage.returned
            if not self._held[worker]:
                self._recalled.discard(worker)
            self.allowance.settle(usage, at)

    def dispatch(self, at: Instant) -> list[PermitNotice]:
        """Grant permits to the requests that wait, recall spare ones if they are short, and deny the rest. Return the
        messages to the workers.
        """
        allowance = self.allowance
        allowance.advance(at)
        notices: list[PermitNotice] = []
        while self._waiting:
            worker, count = next(iter(self._waiting.items()))
            given = min(count, allowance.affordable())
            allowance.take(given)
            if given == count:
                del self._waiting[worker]
                notices.append(self._grant(worker, given, at))
                continue
            if given:
                self._waiting[worker] -= given
                notices.append((worker, GrantPermits(given, 0, 0.0, 0)))
            if allowance.denial(at) is None:  # more must be borrowed first
                return notices
            if any(self._held.values()):
                return notices + self._recall()
            return notices + self.deny(at)
        if not allowance.affordable() and allowance.denial(at) is not None:
            notices += self._recall()
        return notices

    def deny(self, at: Instant) -> list[PermitNotice]:
        """Deny all requests that wait, although workers may hold permits: they do not answer in time."""
        self.allowance.advance(at)
        if not self._waiting or self.allowance.affordable() or (denial := self.allowance.denial(at)) is None:
            return []
        denied = [(worker, DenyCalls(denial)) for worker in self._waiting]
        self._waiting.clear()
        return [*denied]

    def _grant(self, worker: int, count: int, at: Instant) -> PermitNotice:
        """Return a grant, with spare permits if no other request waits."""
        if self._waiting or self._held[worker]:
            return worker, GrantPermits(count, 0, 0.0, 0)
        spare = self.allowance.lease_spare(len(self._held))
        self._held[worker] += spare
        return worker, GrantPermits(count, spare, *self.allowance.lease_end(at))

    def _recall(self) -> list[PermitNotice]:
        recalled = [worker for worker, held in self._held.items() if held and worker not in self._recalled]
        self._recalled.update(recalled)
        return [(worker, RecallPermits()) for worker in recalled]
