"""The contract's rules of second tries, row by row."""

from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.proxy.retry import (
    DELIVER,
    MAX_ATTEMPTS,
    MAX_RETRY_AFTER,
    RENEW_TOKEN,
    RESEND_NOW,
    SHORT_PAUSE,
    ReplayPolicy,
    RetryDecision,
    RetryState,
    RetryStep,
    can_reconnect,
    can_retry_stale_connection,
    decide_after_response,
)


@dataclass(frozen=True)
class Row:
    """One reply, and what follows. Left out: the facts of a first try of a GET on a route without settings."""

    title: str
    status: int
    follows: RetryDecision
    method: str = "GET"
    replay: ReplayPolicy = "any"
    idempotent: bool = False
    attempts: int = 1
    replied: bool = False
    renewed: bool = False
    instance_id: bool = False
    whole: bool = True
    retry_after: float | None = None


def again(pause: float) -> RetryDecision:
    return RetryDecision(RetryStep.RESEND, pause)


HALF = again(SHORT_PAUSE / 2)
TABLE = [
    # An instance id means that a flow ran: never again.
    Row("401 of a run", 401, DELIVER, instance_id=True),
    Row("503 of a run", 503, DELIVER, instance_id=True, retry_after=1),
    Row("502 of a run", 502, DELIVER, instance_id=True),
    Row("a run on an idempotent route", 504, DELIVER, instance_id=True, idempotent=True),
    # 401: one forced renewal, for any method with a whole body.
    Row("401 to GET", 401, RENEW_TOKEN),
    Row("401 to POST", 401, RENEW_TOKEN, method="POST"),
    Row("401 to DELETE", 401, RENEW_TOKEN, method="DELETE"),
    Row("401 to a body that is gone", 401, DELIVER, method="POST", whole=False),
    Row("401 after a renewal", 401, DELIVER, renewed=True, attempts=2),
    Row("401 after a wait", 401, RENEW_TOKEN, replied=True, attempts=2),
    Row("401 at the last attempt", 401, DELIVER, attempts=MAX_ATTEMPTS),
    Row("401 ignores Retry-After", 401, RENEW_TOKEN, retry_after=5),
    Row("403 is an answer", 403, DELIVER),
    # `replay` narrows.
    Row("safe: GET", 401, RENEW_TOKEN, replay="safe"),
    Row("safe: POST", 401, DELIVER, replay="safe", method="POST"),
    Row("safe: POST on an idempotent route", 401, RENEW_TOKEN, replay="safe", method="POST", idempotent=True),
    Row("never: GET", 401, DELIVER, replay="never"),
    Row("never: idempotent", 503, DELIVER, replay="never", idempotent=True, retry_after=1),
    Row("never: 502", 502, DELIVER, replay="never"),
    # 429 and 503 that name a time.
    Row("429 that names a time", 429, again(2), retry_after=2),
    Row("503 that names a time", 503, again(0), retry_after=0),
    Row("503 that names the longest time", 503, again(MAX_RETRY_AFTER), retry_after=MAX_RETRY_AFTER),
    Row("503 that names too long a time", 503, DELIVER, retry_after=MAX_RETRY_AFTER + 0.1),
    Row("429 without a time", 429, DELIVER),
    Row("503 without a time", 503, DELIVER),
    Row("503 to HEAD", 503, again(1), method="HEAD", retry_after=1),
    Row("503 to OPTIONS", 503, again(1), method="OPTIONS", retry_after=1),
    Row("503 to POST", 503, DELIVER, method="POST", retry_after=1),
    Row("503 to PUT: idempotent by RFC, not by OIC", 503, DELIVER, method="PUT", retry_after=1),
    Row("503 to POST on an idempotent route", 503, again(1), method="POST", idempotent=True, retry_after=1),
    Row("503 to a body that is gone", 503, DELIVER, method="POST", idempotent=True, whole=False, retry_after=1),
    Row("503 again", 503, DELIVER, replied=True, attempts=2, retry_after=1),
    Row("503 after a renewal", 503, DELIVER, renewed=True, attempts=2, retry_after=1),
    Row("503 after a stale connection", 503, again(1), attempts=2, retry_after=1),
    Row("503 at the last attempt", 503, DELIVER, attempts=MAX_ATTEMPTS, retry_after=1),
    # 502 and 504.
    Row("502", 502, HALF),
    Row("504", 504, HALF),
    Row("504 that names a time", 504, again(3), retry_after=3),
    Row("504 that names too long a time", 504, DELIVER, retry_after=MAX_RETRY_AFTER + 1),
    Row("502 to POST", 502, DELIVER, method="POST"),
    Row("502 to POST on an idempotent route", 502, HALF, method="POST", idempotent=True),
    Row("502 again", 502, DELIVER, replied=True, attempts=2),
    # Everything else is OIC's answer.
    *[
        Row(f"{status}", status, DELIVER, retry_after=1)
        for status in (200, 202, 302, 400, 404, 408, 409, 415, 500, 501)
    ],
]


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.title)
def test_a_reply_and_what_follows(row: Row) -> None:
    tries = RetryState(row.method, row.replay, row.idempotent, row.attempts, row.replied, row.renewed)
    verdict = decide_after_response(
        tries,
        row.status,
        has_instance_id=row.instance_id,
        body_is_replayable=row.whole,
        retry_after=row.retry_after,
        random_fraction=0.5,
    )
    assert verdict == row.follows


FACTS = st.fixed_dictionaries(
    {
        "has_instance_id": st.booleans(),
        "body_is_replayable": st.booleans(),
        "retry_after": st.none() | st.floats(0, 100),
        "random_fraction": st.floats(0, 1, exclude_max=True),
    }
)
METHODS = st.sampled_from(["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE", "PURGE"])
REPLAYS: st.SearchStrategy[ReplayPolicy] = st.sampled_from(["any", "safe", "never"])


RESPONSES = st.lists(st.tuples(st.sampled_from([200, 401, 429, 500, 502, 503, 504]), FACTS), min_size=8, max_size=12)


@given(tries=st.builds(RetryState, METHODS, REPLAYS, st.booleans()), responses=RESPONSES)
def test_every_sequence_of_responses_ends_soon(tries: RetryState, responses: list[tuple[int, dict[str, Any]]]) -> None:
    rejected = paused = 0
    for status, facts in responses:
        tries.attempts += 1
        verdict = decide_after_response(tries, status, **facts)
        if verdict.step is RetryStep.DELIVER:
            break
        assert not facts["has_instance_id"]
        assert facts["body_is_replayable"]
        assert tries.replay_policy != "never"
        assert tries.method in {"GET", "HEAD", "OPTIONS"} or tries.is_idempotent_route or status == 401
        assert 0 <= verdict.pause <= MAX_RETRY_AFTER
        rejected += verdict.step is RetryStep.RENEW_TOKEN
        paused += verdict.step is RetryStep.RESEND
        tries.was_token_renewed = tries.was_token_renewed or verdict.step is RetryStep.RENEW_TOKEN
        tries.was_retried = tries.was_retried or verdict.step is RetryStep.RESEND
    assert rejected <= 1
    assert paused <= 1
    assert tries.attempts <= MAX_ATTEMPTS


@pytest.mark.parametrize(
    ("attempts", "hasty", "again"),
    [(1, True, True), (1, False, False), (2, True, False), (2, False, False)],
)
def test_a_connection_that_failed_at_once_is_tried_once_more(attempts: int, *, hasty: bool, again: bool) -> None:
    for replay in ("any", "safe", "never"):
        assert (
            can_reconnect(RetryState("POST", replay, is_idempotent_route=False, attempts=attempts), failed_fast=hasty)
            is again
        )


@pytest.mark.parametrize(
    ("tries", "whole", "again"),
    [
        (RetryState("GET", "any", is_idempotent_route=False, attempts=1), True, True),
        (RetryState("OPTIONS", "safe", is_idempotent_route=False, attempts=2), True, True),
        (RetryState("GET", "any", is_idempotent_route=False, attempts=1), False, False),
        (RetryState("GET", "never", is_idempotent_route=False, attempts=1), True, False),
        (RetryState("POST", "any", is_idempotent_route=False, attempts=1), True, False),
        (RetryState("PUT", "any", is_idempotent_route=False, attempts=1), True, False),
        (RetryState("POST", "any", is_idempotent_route=True, attempts=1), True, False),
        (RetryState("POST", "safe", is_idempotent_route=True, attempts=1), True, False),
        (RetryState("GET", "any", is_idempotent_route=False, attempts=2, was_token_renewed=True), True, False),
        (RetryState("GET", "any", is_idempotent_route=False, attempts=MAX_ATTEMPTS), True, False),
    ],
)
def test_after_a_stale_connection_only_safe_methods_are_retried(tries: RetryState, *, whole: bool, again: bool) -> None:
    assert can_retry_stale_connection(tries, body_is_replayable=whole) is again


def test_a_random_fraction_spreads_the_pauses() -> None:
    def pause(fraction: float) -> float:
        tries = RetryState("GET", "any", is_idempotent_route=False, attempts=1)
        return decide_after_response(
            tries, 502, has_instance_id=False, body_is_replayable=True, retry_after=None, random_fraction=fraction
        ).pause

    assert (pause(0.0), pause(0.25)) == (0.0, SHORT_PAUSE / 4)
    assert RESEND_NOW.pause == 0.0
