"""Pure: whether to deliver a response or to send the request again (RFC 9110 §9.2.2, §15.5.2).

A request is retried only by these rules: an OIC flow may move money, and a response with an instance id means that a
flow ran. Without one, a 401 allows one retry with a new token, a connection that closed before any response byte allows
another connection, and 429 or 503 with Retry-After, 502 and 504 allow one retry after a pause. The body must be whole.
"""

from enum import Enum, auto
from typing import Literal

import msgspec

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
MAX_ATTEMPTS = 3
RETRYABLE_STATUSES = frozenset({307, 401, 429, 502, 503, 504})
"""Statuses after which a request may be sent again."""
MAX_RETRY_AFTER = 10.0
SHORT_PAUSE = 0.5

ReplayPolicy = Literal["any", "safe", "never"]


class RetryStep(Enum):
    """What to do next."""

    DELIVER = auto()
    RENEW_TOKEN = auto()
    """Force a token renewal, then send again."""
    RESEND = auto()
    """Send again, after the pause."""


class RetryDecision(msgspec.Struct, frozen=True):
    """The step, and for RESEND the seconds to wait before it."""

    step: RetryStep
    pause: float = 0.0


DELIVER = RetryDecision(RetryStep.DELIVER)
RENEW_TOKEN = RetryDecision(RetryStep.RENEW_TOKEN)
RESEND_NOW = RetryDecision(RetryStep.RESEND)


class RetryState(msgspec.Struct):
    """The attempts of one request, and what its route allows."""

    method: str
    replay_policy: ReplayPolicy
    is_idempotent_route: bool
    attempts: int = 0
    was_retried: bool = False
    """A response was already dropped for a retry after a pause."""
    was_token_renewed: bool = False
    """A token renewal was already forced for this request: its next response is final."""
    is_final: bool = False
    """A flow may have run: nothing is sent again."""

    @property
    def is_repeatable(self) -> bool:
        """Return whether the method may be repeated: by its definition, or because the route is `idempotent`."""
        return self.method in SAFE_METHODS or self.is_idempotent_route

    @property
    def may_retry(self) -> bool:
        """Return whether the route's `replay` allows another attempt."""
        return not self.is_final and (
            self.replay_policy == "any" or (self.replay_policy == "safe" and self.is_repeatable)
        )


def decide_after_response(
    state: RetryState,
    status: int,
    *,
    has_instance_id: bool,
    body_is_replayable: bool,
    retry_after: float | None,
    random_fraction: float,
) -> RetryDecision:
    """Decide by a response head. `retry_after` is in seconds; `random_fraction` in [0, 1) spreads the pauses."""
    if not _is_retryable(state, status, retry_after) or has_instance_id or not body_is_replayable:
        return DELIVER
    if status == 401:
        return RENEW_TOKEN
    return RetryDecision(RetryStep.RESEND, SHORT_PAUSE * random_fraction if retry_after is None else retry_after)


def _is_retryable(state: RetryState, status: int, retry_after: float | None) -> bool:
    if state.was_token_renewed or state.attempts >= MAX_ATTEMPTS or not state.may_retry:
        return False
    if status == 401:
        return True
    if not state.is_repeatable or state.was_retried:
        return False
    if status in {429, 503}:
        return retry_after is not None and retry_after <= MAX_RETRY_AFTER
    return status in {502, 504} and (retry_after is None or retry_after <= MAX_RETRY_AFTER)


def can_reconnect(state: RetryState, *, failed_fast: bool) -> bool:
    """Return whether to dial again after a connection failed. Nothing was sent, so this is always safe; it is done
    once, and only if dialing `failed_fast`: a host that was silent for the whole time limit is not tried again.
    """
    return failed_fast and state.attempts == 1


def can_retry_stale_connection(state: RetryState, *, body_is_replayable: bool) -> bool:
    """Return whether to send again after a reused connection closed before any response byte. The upstream may have
    read the request, so only a safe method is repeated, which is stricter than RFC 9110 §9.2.2.
    """
    is_repeatable = state.method in SAFE_METHODS and state.may_retry and body_is_replayable
    return is_repeatable and not state.was_token_renewed and state.attempts < MAX_ATTEMPTS
