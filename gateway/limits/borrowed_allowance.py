"""Pure: the part of a caller's allowance that this gateway has borrowed from the one that replicas share.

It has the methods of `Allowance` that a `PermitLedger` uses. Permits are borrowed for `LOAN_TIME`; after that they are
given back. What is lent counts as used for all other replicas.
"""

import math
from typing import NamedTuple

from gateway.limits.allowance import Allowance, Instant
from gateway.limits.caller_limits import CallerLimits, LimitKind
from gateway.limits.limit_messages import Denial, LimitState, Usage

LOAN_TIME = 1.0
"""Seconds that borrowed permits are valid."""
BLOCK_TIME = 0.1
"""A gateway borrows for so many seconds of the rate more than it needs now."""
QUOTA_BLOCKS = 500
"""Without a rate, a block is this part of the smaller quota."""


class LoanRequest(NamedTuple):
    """What a gateway asks for: `want` permits. It gives `back` permits of the window `window` of `quota.calls`, and
    adds `calls` that it admitted alone, and `messages`. `known` is the last loan, in case the shared counts are lost.
    """

    want: int
    back: int
    window: int
    calls: int
    messages: int
    known: "Loan | None"


class Loan(NamedTuple):
    """The answer: `granted` permits, and the shared state. Windows have their number and their end in seconds from now;
    `next_token` is the seconds until the bucket has one more token.
    """

    granted: int
    tokens: int
    next_token: float
    calls_window: int
    calls_used: int
    calls_end: float
    messages_window: int
    messages_used: int
    messages_end: float


class BorrowedAllowance:
    """The permits that were borrowed and not used yet. `held` are those at the workers."""

    def __init__(self, limits: CallerLimits, *, held: int = 0) -> None:
        self.limits = limits
        self.held = held
        self.loan: Loan | None = None
        self._received_at = 0.0
        self._permits = 0
        self._valid_until = 0.0
        self._denial: Denial | None = None
        self._back = self._calls = self._messages = 0
        self._window = 0

    def configure(self, limits: CallerLimits, _at: Instant) -> None:
        """Use other limits; ask again what they allow."""
        self.limits = limits
        self._denial = None
        self._give_back()

    def advance(self, at: Instant) -> None:
        """Give back what has expired."""
        if self._permits and at.now >= self._valid_until:
            self._give_back()
        if self._denial is not None and at.now >= self._denial.until:
            self._denial = None

    def affordable(self) -> int:
        """Return how many calls may begin now."""
        return self._permits

    def take(self, count: int) -> None:
        """Count so many calls, which begin now."""
        self._permits -= count

    def lease_spare(self, workers: int) -> int:
        """Take spare permits for one of so many workers, and return their number."""
        spare = self._permits // (2 * workers)
        self._permits -= spare
        self.held += spare
        return spare

    def lease_end(self, _at: Instant) -> tuple[float, int]:
        """Return until when a permit is valid, and the number of its window."""
        return self._valid_until, self._window

    def settle(self, usage: Usage, at: Instant) -> None:
        """Count what a worker reports: used permits, returned ones, messages."""
        self.held -= usage.used + usage.returned
        if usage.window == self._window and at.now < self._valid_until:
            self._permits += usage.returned
        elif usage.window == self._window:
            self._back += usage.returned
        self._messages += usage.messages

    def forfeit(self, count: int, _at: Instant) -> None:
        """Count so many held permits as used: their worker has ended."""
        self.held -= min(count, self.held)

    def denial(self, _at: Instant) -> Denial | None:
        """Return why and until when no call may begin; None if more permits must be borrowed to know it."""
        return self._denial

    def needs_report(self) -> bool:
        """Return whether the shared counts do not know all yet."""
        return bool(self._back or self._calls or self._messages)

    def begin_request(self, waiting: int) -> LoanRequest:
        """Return what to ask for while so many requests wait."""
        request = LoanRequest(
            waiting + self._block() if waiting else 0, self._back, self._window, self._calls, self._messages, self.loan
        )
        self._back = self._calls = self._messages = 0
        return request

    def receive(self, loan: Loan, at: Instant) -> None:
        """Add the permits of a loan. Without any, calls are denied until there are some."""
        if loan.calls_window != self._window:
            self._permits = self._back = 0  # those of a window that has ended
        self.loan, self._received_at, self._window = loan, at.now, loan.calls_window
        self._permits += loan.granted
        end = loan.calls_end if self.limits.calls is not None else math.inf
        self._valid_until = at.now + min(LOAN_TIME, end)
        states = self.states(at)
        exhausted = [state for state in states if not state.remaining]
        self._denial = None
        if exhausted and not self._permits:
            kind, _, until = max(exhausted, key=lambda state: state.resets_at)
            self._denial = Denial(kind, until, states)

    def restore(self, request: LoanRequest) -> None:
        """Keep what a request that failed has not reported."""
        self._back += request.back
        self._calls += request.calls
        self._messages += request.messages

    def add_calls(self, calls: int, messages: int) -> None:
        """Report what this gateway has counted alone."""
        self._calls += calls
        self._messages += messages

    def local(self, at: Instant) -> Allowance:
        """Return an allowance for this gateway alone, which continues the last known counts."""
        allowance, loan = Allowance(self.limits, at), self.loan
        allowance.adopt(self.held, tokens=None if loan is None else loan.tokens + self._permits)
        if loan is not None:
            if allowance.calls is not None and allowance.calls.number <= loan.calls_window:
                allowance.calls.used = loan.calls_used
            if allowance.messages is not None and allowance.messages.number <= loan.messages_window:
                allowance.messages.used = loan.messages_used + self._messages
        return allowance

    def states(self, _at: Instant) -> tuple[LimitState, ...]:
        """Return the last known state of each limit."""
        limits, loan, found = self.limits, self.loan, []
        if loan is None:
            return ()
        if limits.rate is not None:
            found.append(LimitState("rate", loan.tokens, self._received_at + loan.next_token))
        rows: tuple[tuple[LimitKind, int | None, int, float], ...] = (
            ("calls", limits.calls and limits.calls.limit, loan.calls_used, loan.calls_end),
            ("messages", limits.messages and limits.messages.limit, loan.messages_used, loan.messages_end),
        )
        for kind, limit, used, end in rows:
            if limit is not None:
                found.append(LimitState(kind, max(0, limit - used), self._received_at + end))
        return tuple(found)

    def used(self, kind: LimitKind, at: Instant) -> int:
        """Return the calls or messages of the present window, of all replicas."""
        loan = self.loan
        if loan is None or at.now >= self._received_at + (loan.calls_end if kind == "calls" else loan.messages_end):
            return 0
        if kind == "calls":
            return max(0, loan.calls_used - self._permits - self.held - self._back)
        return loan.messages_used + self._messages

    def _give_back(self) -> None:
        self._back += self._permits
        self._permits = 0

    def _block(self) -> int:
        if self.limits.rate is not None:
            return int(self.limits.rate.per_second * BLOCK_TIME)
        quotas = [quota.limit for quota in (self.limits.calls, self.limits.messages) if quota is not None]
        return min(quotas, default=0) // QUOTA_BLOCKS
