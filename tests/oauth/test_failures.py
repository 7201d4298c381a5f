import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import TokenRefused, TokenUnavailable
from gateway.oauth.failures import (
    FAILURE_KINDS,
    PERMANENT,
    Failure,
    back_off_seconds,
    failure_code,
    failure_from_json,
    failure_remedy,
    next_failure,
)

NOW, WALL = 1000.0, 1_800_000_000.0
RFC_6749 = {"invalid_request", "invalid_client", "invalid_grant", "unauthorized_client", "unsupported_grant_type"}


def after(
    error: TokenRefused | TokenUnavailable, before: Failure | None = None, random_fraction: float = 0.0
) -> Failure:
    return next_failure(error, before, now=NOW, wall=WALL, random_fraction=random_fraction)


def test_all_codes_of_a_token_endpoint_are_in_the_table() -> None:  # RFC 6749 5.2
    assert {*RFC_6749, "invalid_scope"} <= PERMANENT
    assert all(FAILURE_KINDS[code].permanent == (code in PERMANENT) for code in FAILURE_KINDS)


@pytest.mark.parametrize("code", sorted(FAILURE_KINDS))
def test_every_code_has_a_remedy(code: str) -> None:
    kind = TokenRefused if FAILURE_KINDS[code].permanent else TokenUnavailable
    failure = after(kind(reason=f"{code}: it happened"))
    assert failure.remedy == failure_remedy(kind(reason=f"{code}: x")) == FAILURE_KINDS[code].remedy
    assert len(failure.remedy) > 30


def test_an_unknown_code_has_the_remedy_of_the_error() -> None:
    error = TokenUnavailable(reason="slow_down: wait")
    assert (failure_code(error), failure_remedy(error)) == ("slow_down", TokenUnavailable.remedy)


def test_a_wrong_secret_is_tried_again_slowly_and_a_timeout_soon() -> None:
    wrong, late = after(TokenRefused(reason="invalid_client: no")), after(TokenUnavailable(reason="timeout: late"))
    assert (wrong.permanent, wrong.until) == (True, NOW + 30)
    assert (late.permanent, late.until) == (False, NOW + 0.2)


def test_failures_in_a_row_are_counted() -> None:
    error = TokenUnavailable(reason="timeout: late")
    first = after(error, random_fraction=0.5)
    second = after(error, first, random_fraction=0.5)
    assert (first.count, second.count) == (1, 2)
    assert second.until - NOW > first.until - NOW


@pytest.mark.parametrize(
    ("failures", "permanent", "least", "most"),
    [
        (1, False, 0.2, 1),
        (2, False, 0.2, 2),
        (4, False, 0.2, 8),
        (7, False, 0.2, 60),
        (5000, False, 0.2, 60),
        (1, True, 30, 30),
        (2, True, 30, 60),
        (99, True, 30, 300),
    ],
)
def test_the_back_off_doubles_with_full_jitter(failures: int, *, permanent: bool, least: float, most: float) -> None:
    assert back_off_seconds(failures, permanent=permanent, random_fraction=0.0) == least
    assert back_off_seconds(failures, permanent=permanent, random_fraction=1.0) == pytest.approx(most)


@pytest.mark.parametrize(("retry_after", "wait"), [(0.0, 0.5), (20.0, 20.5), (1e9, 300.5)])
def test_retry_after_is_honoured_within_bounds(retry_after: float, wait: float) -> None:
    assert back_off_seconds(1, retry_after, permanent=False, random_fraction=0.5) == pytest.approx(max(wait, 0.6))


@given(st.integers(1, 10**6), st.floats(0, math.inf) | st.none(), st.booleans(), st.floats(0, 1, exclude_max=True))
def test_a_wait_is_bounded(failures: int, retry_after: float | None, permanent: bool, jitter: float) -> None:  # noqa: FBT001 - drawn
    assert 0.2 <= back_off_seconds(failures, retry_after, permanent=permanent, random_fraction=jitter) <= 301


def test_what_one_has_met_another_can_read() -> None:
    failure_state = after(TokenRefused(reason="invalid_scope: no"))
    assert failure_from_json(failure_state.to_json(), until=failure_state.until) == failure_state
    status_entry = failure_state.as_status()
    assert status_entry == {
        "code": "invalid_scope",
        "seen": "invalid_scope: no",
        "means": FAILURE_KINDS["invalid_scope"].means,
        "reason": "invalid_scope: no",
        "remedy": FAILURE_KINDS["invalid_scope"].remedy,
        "permanent": True,
        "at": WALL,
    }


GOOD = json.loads(after(TokenRefused(reason="invalid_scope: no")).to_json())
BAD: list[object] = [{**GOOD, "count": math.inf}, {**GOOD, "at": None}, {**GOOD, "at": "soon"}, {}, [], 7, None, "x"]


@pytest.mark.parametrize("text", [*map(json.dumps, BAD), "", "{", "[" * 100_000])
def test_what_cannot_be_read_is_no_failure(text: str) -> None:
    assert failure_from_json(text, until=NOW) is None


@given(
    st.text() | st.dictionaries(st.sampled_from(sorted(GOOD)), st.integers() | st.text() | st.none()).map(json.dumps)
)
def test_any_text_is_a_failure_or_none(text: str) -> None:
    found = failure_from_json(text, until=NOW)
    assert found is None or (found.until == NOW and found.count >= 1)
