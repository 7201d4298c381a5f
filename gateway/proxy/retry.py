"""Pure: deliver a reply, or try again? The rules of second tries, as tables of facts (RFC 9110 §9.2.2, §15.5.2).

A request is never sent twice unasked: a run of OIC may move money. A reply with an instance id means that a flow ran.
Without one, a 401 is worth a fresh token once; a connection that was dead before a byte of the reply is worth another;
429 and 503 that name a time, 502 and 504, are worth waiting for once. All of it only where the body can be sent again.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Literal

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
MAX_ATTEMPTS = 3
RETRYABLE_STATUSES = frozenset({307, 401, 429, 502, 503, 504})
"""Statuses after which a request may go out again."""
MAX_RETRY_AFTER = 10.0
SHORT_PAUSE = 0.5

Replay = Literal["any", "safe", "never"]


class RetryStep(Enum):
    """What to do next."""

    DELIVER = "deliver"
    RENEW = "renew"
    """Force a fresh token, then send once more."""
    AGAIN = "again"
    """Send once more, after the pause."""


@dataclass(frozen=True, slots=True)
class RetryDecision:
    """The step, and for AGAIN how many seconds to wait before it."""

    step: RetryStep
    pause: float = 0.0


DELIVER = RetryDecision(RetryStep.DELIVER)
RENEW = RetryDecision(RetryStep.RENEW)
AT_ONCE = RetryDecision(RetryStep.AGAIN)


@dataclass(slots=True)
class RetryState:
    """What has been tried for one request, and what its route allows."""

    method: str
    replay: Replay
    idempotent: bool
    attempts: int = 0
    retried: bool = False
    """A reply was already given up for another try after a pause."""
    token_renewed: bool = False
    """A token was already forced for this request: its next reply is final."""

    @property
    def is_safe(self) -> bool:
        """The method may be repeated: by its definition, or because the route says so."""
        return self.method in SAFE_METHODS or self.idempotent

    @property
    def may_replay(self) -> bool:
        """What the route's `replay` leaves over."""
        return self.replay == "any" or (self.replay == "safe" and self.is_safe)


def decide_after_response(
    tries: RetryState,
    status: int,
    *,
    has_instance_id: bool,
    body_is_whole: bool,
    retry_after: float | None,
    random_fraction: float,
) -> RetryDecision:
    """Decides on a reply's head. `retry_after` in seconds, None without one; `luck` in [0, 1) spreads the pauses."""
    if not _is_retryable(tries, status, retry_after) or has_instance_id or not body_is_whole:
        return DELIVER
    if status == 401:
        return RENEW
    return RetryDecision(RetryStep.AGAIN, SHORT_PAUSE * random_fraction if retry_after is None else retry_after)


def _is_retryable(tries: RetryState, status: int, retry_after: float | None) -> bool:
    if tries.token_renewed or tries.attempts >= MAX_ATTEMPTS or not tries.may_replay:
        return False
    if status == 401:
        return True
    if not tries.is_safe or tries.retried:
        return False
    if status in {429, 503}:
        return retry_after is not None and retry_after <= MAX_RETRY_AFTER
    return status in {502, 504} and (retry_after is None or retry_after <= MAX_RETRY_AFTER)


def can_reconnect(tries: RetryState, *, failed_fast: bool) -> bool:
    """A connection could not be made: nothing was sent, so that another try is always safe; one is made after a pause.
    `hasty`: it failed at once; a way that is silent for the whole time limit is not tried again.
    """
    return failed_fast and tries.attempts == 1


def can_retry_stale(tries: RetryState, *, body_is_whole: bool) -> bool:
    """A kept connection closed before any byte of a reply. Whether the request was read cannot be known, so that only
    a safe method goes out again (RFC 9110 §9.2.2).
    """
    is_worth_it = tries.is_safe and tries.may_replay and body_is_whole
    return is_worth_it and not tries.token_renewed and tries.attempts < MAX_ATTEMPTS
