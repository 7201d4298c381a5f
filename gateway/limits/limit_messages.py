"""The messages between the gate of a worker and the coordinator of its caller. Pure.

Both directions keep their order. A gate has at most one `RequestPermits` without an answer; it is answered by grants of
`waiters` permits, or by `DenyCalls`. Times are those of the monotonic clock, which all processes of a machine share.
"""

from typing import NamedTuple

from gateway.limits.caller_limits import LimitKind


class LimitState(NamedTuple):
    """The present state of one limit: `remaining` calls or messages; more are available at `resets_at`."""

    kind: LimitKind
    remaining: int
    resets_at: float


class Denial(NamedTuple):
    """No call may begin before `until`, because of the limit `kind`. `states` are those of all limits."""

    kind: LimitKind
    until: float
    states: tuple[LimitState, ...]


class Usage(NamedTuple):
    """What happened since the last message: `used` permits, the last one at `used_at`, and `returned` ones, all of the
    window `window` of `quota.calls`; and `messages` that OIC bills.
    """

    used: int
    used_at: float
    returned: int
    window: int
    messages: int


class RequestPermits(NamedTuple):
    """`waiters` requests wait for a permit."""

    waiters: int
    usage: Usage


class ReportUsage(NamedTuple):
    """Permits were used or are returned, or messages were counted."""

    usage: Usage


class GrantPermits(NamedTuple):
    """A permit for each of `waiters` waiting requests, which use them now, and `spare` ones for later requests, before
    `valid_until`, in the window `window` of `quota.calls`.
    """

    waiters: int
    spare: int
    valid_until: float
    window: int


class DenyCalls(NamedTuple):
    """All requests that wait, and those that come before `denial.until`, are refused."""

    denial: Denial


class RecallPermits(NamedTuple):
    """Return all spare permits now."""


LimitGateMessage = RequestPermits | ReportUsage
LimitMessage = GrantPermits | DenyCalls | RecallPermits
