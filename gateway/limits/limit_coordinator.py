"""The coordinator of the callers of a gateway: leases their permits to the workers.

It runs in the parent of the workers, or beside the gates in the only process. `LimitCoordinators` has one
`LimitCoordinator` for each caller with limits.
"""

import logging
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from gateway.diagnosis.limit_findings import limit_problem
from gateway.limits.allowance import Allowance, Instant
from gateway.limits.borrowed_allowance import BorrowedAllowance
from gateway.limits.borrower import Borrower
from gateway.limits.caller_limits import CallerLimits, LimitKind, Quota
from gateway.limits.limit_clock import CancellableTimer, LimitClock
from gateway.limits.limit_messages import DenyCalls, LimitGateMessage, LimitMessage, RequestPermits
from gateway.limits.permit_ledger import PermitLedger, PermitNotice
from gateway.limits.ratelimit_fields import limit_text
from gateway.limits.replica_limits import ReplicaLimits
from gateway.observe.log import log_event

log = logging.getLogger("gateway.limits")

RECALL_TIME = 0.25
"""Seconds that requests wait for permits that workers must return: one that is suspended does not answer."""
EPISODE = 60.0
"""Seconds without a denial after which the next one is logged again."""


class LimitCoordinator:
    """The coordinator of one caller."""

    def __init__(
        self, caller: str, limits: CallerLimits, *, clock: LimitClock, send: Callable[[int, LimitMessage], None]
    ) -> None:
        """`send` takes the number of a worker and a message to it."""
        self.caller = caller
        self.limits = limits
        self._clock = clock
        self._send = send
        self._ledger = PermitLedger(Allowance(limits, clock.instant()))
        self._timer: CancellableTimer | None = None
        self._borrower: Borrower | None = None
        self._denied_at: dict[LimitKind, float] = {}

    def configure(self, limits: CallerLimits) -> None:
        """Use other limits. What was used still counts."""
        if limits != self.limits:
            self.limits = limits
            self._deliver(self._ledger.configure(limits, self._clock.instant()))

    def share(self, replica: ReplicaLimits | None) -> None:
        """Share the limits with replicas from now on; None: no more."""
        if self._borrower is not None:
            self._borrower.close()
            self._borrower.count_alone()
        self._borrower = None if replica is None else Borrower(self.caller, self._ledger, self._clock, replica)
        if self._borrower is not None:
            self._borrower.on_change = self._dispatch
            self._borrower.begin()

    def close(self) -> None:
        """Stop the timers."""
        if self._borrower is not None:
            self._borrower.close()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def add_worker(self, worker: int) -> None:
        """Add a worker that has no permits."""
        self._ledger.add_worker(worker)

    def remove_worker(self, worker: int) -> None:
        """Forget a worker that has ended."""
        self._ledger.remove_worker(worker, self._clock.instant())
        self._dispatch()

    def receive(self, worker: int, message: LimitGateMessage) -> None:
        """Act on a message of a worker's gate."""
        self._ledger.settle(worker, message.usage, self._clock.instant())
        if isinstance(message, RequestPermits):
            self._ledger.request(worker, message.waiters)
        self._dispatch()

    def metrics(self) -> Iterator[tuple[str, tuple[str, ...], float | list[float]]]:
        """Yield name, labels and value of each metric."""
        at, allowance = self._clock.instant(), self._advanced()
        for kind, quota in self._quotas():
            yield "caller_quota_limit", (self.caller, kind), quota.limit
            yield "caller_quota_used", (self.caller, kind), allowance.used(kind, at)

    def status(self) -> dict[str, Any]:
        """Return the caller as `/status` shows it."""
        at, allowance = self._clock.instant(), self._advanced()
        shown: dict[str, Any] = {"rate": None, "calls": None, "messages": None}
        if (rate := self.limits.rate) is not None:
            shown["rate"] = {"calls": rate.calls, "per_s": rate.seconds, "burst": rate.burst}
        for kind, quota in self._quotas():
            shown[kind] = {
                "limit": quota.limit,
                "per_s": quota.window,
                "used": allowance.used(kind, at),
                "resets_in_s": round(quota.window - at.wall % quota.window, 1),
            }
        shared = None if self._borrower is None else self._borrower.is_sharing
        return shown | {"shared": shared, "problem": self._problem(at, shown)}

    def _quotas(self) -> Iterator[tuple[LimitKind, Quota]]:
        if self.limits.calls is not None:
            yield "calls", self.limits.calls
        if self.limits.messages is not None:
            yield "messages", self.limits.messages

    def _problem(self, at: Instant, shown: dict[str, Any]) -> dict[str, str] | None:
        """Return the present problem: a quota that is used up, or a rate that was exceeded in the last minute."""
        for kind in ("messages", "calls"):
            if shown[kind] is not None and shown[kind]["used"] >= shown[kind]["limit"]:
                return limit_problem(kind, resets_in=shown[kind]["resets_in_s"])
        denied_at = self._denied_at.get("rate")
        return limit_problem("rate") if denied_at is not None and at.now - denied_at < EPISODE else None

    def _advanced(self) -> Allowance | BorrowedAllowance:
        self._ledger.allowance.advance(self._clock.instant())
        return self._ledger.allowance

    def _dispatch(self) -> None:
        self._deliver(self._ledger.dispatch(self._clock.instant()))
        if self._borrower is not None:
            self._borrower.look()
        if self._ledger.is_recalling and self._timer is None:
            self._timer = self._clock.call_later(RECALL_TIME, self._on_recall_timeout)

    def _on_recall_timeout(self) -> None:
        self._timer = None
        at = self._clock.instant()
        self._deliver(self._ledger.deny(at) or self._ledger.dispatch(at))

    def _deliver(self, notices: list[PermitNotice]) -> None:
        for worker, message in notices:
            if isinstance(message, DenyCalls):
                self._log_denial(message)
            self._send(worker, message)

    def _log_denial(self, message: DenyCalls) -> None:
        """Log the first denial of an episode."""
        kind, now = message.denial.kind, self._clock.instant().now
        before = self._denied_at.get(kind)
        self._denied_at[kind] = now
        if before is None or now - before > EPISODE:
            text = f"calls of the caller are refused: {limit_text(self.limits, message.denial)}"
            wait = round(message.denial.until - now, 1)
            log_event(log, logging.WARNING, "caller-limited", text, caller=self.caller, limit=kind, next_try_s=wait)


class LimitCoordinators:
    """The coordinators of all callers with limits, by name. One whose limits are removed is kept, in case they come
    back.
    """

    def __init__(self, clock: LimitClock) -> None:
        self._clock = clock
        self._replica: ReplicaLimits | None = None
        self._workers: dict[int, Callable[[str, LimitMessage], None]] = {}
        self._callers: dict[str, LimitCoordinator] = {}

    def configure(self, limits: Mapping[str, CallerLimits], replica: ReplicaLimits | None = None) -> None:
        """Use the limits of these callers from now on. With `replica` they are shared with replicas."""
        for caller, each in limits.items():
            if caller in self._callers:
                self._callers[caller].configure(each)
            else:
                self._callers[caller] = self._new_coordinator(caller, each)
        for caller in self._callers.keys() - limits.keys():
            self._callers[caller].configure(CallerLimits())
        if replica is not self._replica:
            self._replica = replica
            for coordinator in self._callers.values():
                coordinator.share(replica)

    def add_worker(self, worker: int, send: Callable[[str, LimitMessage], None]) -> None:
        """Add a worker; numbers are never used twice."""
        self._workers[worker] = send
        for caller in self._callers.values():
            caller.add_worker(worker)

    def remove_worker(self, worker: int) -> None:
        """Forget a worker that has ended."""
        if self._workers.pop(worker, None) is not None:
            for caller in self._callers.values():
                caller.remove_worker(worker)

    def receive(self, worker: int, caller: str, message: LimitGateMessage) -> None:
        """Act on a message of a worker."""
        if worker in self._workers and caller in self._callers:
            self._callers[caller].receive(worker, message)

    def metrics(self) -> Iterator[tuple[str, tuple[str, ...], float | list[float]]]:
        """Yield name, labels and value of each metric."""
        if self._replica is not None and self._callers:
            yield "caller_limits_shared", (), int(self._replica.is_shared)
        for caller in self._callers.values():
            yield from caller.metrics()

    def status(self) -> dict[str, dict[str, Any]]:
        """Return each caller with limits as `/status` shows it, by name."""
        return {name: caller.status() for name, caller in self._callers.items() if any(caller.limits)}

    def close(self) -> None:
        """Stop all timers."""
        for caller in self._callers.values():
            caller.close()

    def _new_coordinator(self, caller: str, limits: CallerLimits) -> LimitCoordinator:
        coordinator = LimitCoordinator(
            caller, limits, clock=self._clock, send=lambda worker, message: self._workers[worker](caller, message)
        )
        for worker in self._workers:
            coordinator.add_worker(worker)
        coordinator.share(self._replica)
        return coordinator
