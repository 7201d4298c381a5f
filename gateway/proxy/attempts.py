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
REPEATED = frozenset({307, 401, 429, 502, 503, 504})
"""Statuses after which a request may go out again."""
LONGEST_WAIT = 10.0
SHORT_PAUSE = 0.5

Replay = Literal["any", "safe", "never"]


class Step(Enum):
    """What to do next."""

    DELIVER = "deliver"
    RENEW = "renew"
    """Force a fresh token, then send once more."""
    AGAIN = "again"
    """Send once more, after the pause."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The step, and for AGAIN how many seconds to wait before it."""

    step: Step
    pause: float = 0.0


DELIVER = Verdict(Step.DELIVER)
RENEW = Verdict(Step.RENEW)
AT_ONCE = Verdict(Step.AGAIN)


@dataclass(slots=True)
class Tries:
    """What has been tried for one request, and what its route allows."""

    method: str
    replay: Replay
    idempotent: bool
    attempts: int = 0
    replied: bool = False
    """A reply was already given up for another try after a pause."""
    renewed: bool = False
    """A token was already forced for this request: its next reply is final."""

    @property
    def is_safe(self) -> bool:
        """The method may be repeated: by its definition, or because the route says so."""
        return self.method in SAFE_METHODS or self.idempotent

    @property
    def may_replay(self) -> bool:
        """What the route's `replay` leaves over."""
        return self.replay == "any" or (self.replay == "safe" and self.is_safe)


def after_reply(
    tries: Tries,
    status: int,
    *,
    has_instance_id: bool,
    body_is_whole: bool,
    retry_after: float | None,
    luck: float,
) -> Verdict:
    """Decides on a reply's head. `retry_after` in seconds, None without one; `luck` in [0, 1) spreads the pauses."""
    if not _is_worth_it(tries, status, retry_after) or has_instance_id or not body_is_whole:
        return DELIVER
    if status == 401:
        return RENEW
    return Verdict(Step.AGAIN, SHORT_PAUSE * luck if retry_after is None else retry_after)


def _is_worth_it(tries: Tries, status: int, retry_after: float | None) -> bool:
    if tries.renewed or tries.attempts >= MAX_ATTEMPTS or not tries.may_replay:
        return False
    if status == 401:
        return True
    if not tries.is_safe or tries.replied:
        return False
    if status in {429, 503}:
        return retry_after is not None and retry_after <= LONGEST_WAIT
    return status in {502, 504} and (retry_after is None or retry_after <= LONGEST_WAIT)


def may_dial_again(tries: Tries, *, hasty: bool) -> bool:
    """A connection could not be made: nothing was sent, so that another try is always safe; one is made after a pause.
    `hasty`: it failed at once; a way that is silent for the whole time limit is not tried again.
    """
    return hasty and tries.attempts == 1


def may_follow_stale(tries: Tries, *, body_is_whole: bool) -> bool:
    """A kept connection closed before any byte of a reply. Whether the request was read cannot be known, so that only
    a safe method goes out again (RFC 9110 §9.2.2).
    """
    is_worth_it = tries.is_safe and tries.may_replay and body_is_whole
    return is_worth_it and not tries.renewed and tries.attempts < MAX_ATTEMPTS
