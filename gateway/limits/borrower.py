"""Borrows the permits of one caller for a coordinator, and reports what was used, while replicas share its limits.

There is one request at a time. While Redis does not answer, the ledger counts alone: from the last known counts, by the
whole limits.
"""

import asyncio
from collections.abc import Callable

from gateway.limits.allowance import Allowance
from gateway.limits.borrowed_allowance import LOAN_TIME, BorrowedAllowance
from gateway.limits.limit_clock import CancellableTimer, LimitClock
from gateway.limits.permit_ledger import PermitLedger
from gateway.limits.replica_limits import RETRY, ReplicaLimits

REPORT_TIME = 0.1
"""Seconds until counted messages are reported to the other replicas."""


class Borrower:
    """Exchanges the allowance of `ledger`: a borrowed one, or while Redis does not answer a local one."""

    def __init__(self, caller: str, ledger: PermitLedger, clock: LimitClock, replica: ReplicaLimits) -> None:
        self.on_change: Callable[[], None] = lambda: None
        self._caller = caller
        self._ledger = ledger
        self._clock = clock
        self._replica = replica
        self._borrowed = BorrowedAllowance(ledger.allowance.limits, held=ledger.allowance.held)
        self._counted = (0, 0)  # calls and messages that the local allowance began with
        self._task: asyncio.Task[None] | None = None
        self._timer: CancellableTimer | None = None

    @property
    def is_sharing(self) -> bool:
        """Whether the limits hold for all replicas together at present."""
        return self._ledger.allowance is self._borrowed

    def begin(self) -> None:
        """Borrow from now on, and report what was counted alone."""
        if isinstance(self._ledger.allowance, Allowance):
            self._rejoin(self._ledger.allowance)
        self._start()

    def count_alone(self) -> None:
        """Use a local allowance from now on."""
        if self._ledger.allowance is self._borrowed:
            at = self._clock.instant()
            local = self._borrowed.local(at)
            self._ledger.allowance = local
            self._counted = local.used("calls", at), local.used("messages", at)

    def look(self) -> None:
        """Borrow permits if requests wait for some; report, and give back, soon."""
        if self._ledger.allowance is not self._borrowed:
            self._start_later(RETRY)
        elif self._ledger.waiting and not self._ledger.is_recalling:
            self._start()
        elif self._borrowed.needs_report():
            self._start_later(REPORT_TIME)

    def close(self) -> None:
        """Stop."""
        for waiting in (self._task, self._timer):
            if waiting is not None:
                waiting.cancel()
        self._task = self._timer = None

    def _start(self) -> None:
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._borrow())

    def _start_later(self, delay: float) -> None:
        if self._timer is None:
            self._timer = self._clock.call_later(delay, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self._borrowed.advance(self._clock.instant())
        self._start()

    async def _borrow(self) -> None:
        ledger, borrowed = self._ledger, self._borrowed
        if isinstance(ledger.allowance, Allowance):
            self._report_local(ledger.allowance)
        borrowed.limits = ledger.allowance.limits
        request = borrowed.begin_request(ledger.waiting)
        loan = await self._replica.borrow(self._caller, borrowed.limits, request)
        self._task = None
        if loan is None:
            borrowed.restore(request)
            self.count_alone()
        else:
            if isinstance(ledger.allowance, Allowance):
                self._rejoin(ledger.allowance)
            borrowed.receive(loan, self._clock.instant())
            if loan.granted:
                self._start_later(LOAN_TIME)
        self.on_change()

    def _report_local(self, local: Allowance) -> None:
        """Add what the local allowance has counted to the next request."""
        at = self._clock.instant()
        local.advance(at)
        used = local.used("calls", at), local.used("messages", at)
        calls, messages = (max(0, now - before) for now, before in zip(used, self._counted, strict=True))
        self._counted = used
        self._borrowed.add_calls(calls, messages)

    def _rejoin(self, local: Allowance) -> None:
        """Use the borrowed allowance again."""
        self._report_local(local)
        self._borrowed.held = local.held
        self._ledger.allowance = self._borrowed
