import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.oauth.failures import Failure
from gateway.oauth.grants import MAX_LIFETIME, TokenResponse
from gateway.oauth.lifetime import DEFAULT_LIFETIME, RenewalMargin, Token, decide_token_use, make_token, token_state
from tests.oauth.scene import MARGIN

NOW, WALL = 1000.0, 1_800_000_000.0
TOKEN = Token("abc", obtained_at=NOW, stale_at=NOW + 60, usable_until=NOW + 100, usable_until_wall=WALL + 100)


def failure(until: float) -> Failure:
    return Failure("timeout", "timeout: late", "wait", permanent=False, count=1, at=WALL, until=until)


def compute_token(reply: TokenResponse, random_fraction: float = 0.0, margin: RenewalMargin = MARGIN) -> Token:
    return make_token(reply, NOW, wall=WALL, random_fraction=random_fraction, margin=margin)


def test_a_token_of_an_hour_is_renewed_when_a_fifth_is_left() -> None:
    token = compute_token(TokenResponse("abc", expires_in=3600.0))
    assert (token.stale_at, token.usable_until, token.usable_until_wall) == (NOW + 2880, NOW + 3590, WALL + 3590)
    assert compute_token(TokenResponse("abc", expires_in=3600.0), random_fraction=0.5).stale_at == NOW + 2700
    assert token.obtained_at == NOW


def test_a_short_life_has_short_margins() -> None:
    token = compute_token(TokenResponse("abc", expires_in=5.0))
    assert (token.stale_at, token.usable_until) == (NOW + 2.5, NOW + 4.0)


@pytest.mark.parametrize("life", [2.0, 3.0, 5.0, 9.9, 10.0, 30.0, 99.0])
def test_a_margin_is_at_least_a_second(life: float) -> None:
    token = compute_token(TokenResponse("abc", expires_in=life), random_fraction=0.9)
    assert token.usable_until <= NOW + life - 1.0
    assert NOW < token.stale_at < token.usable_until


@pytest.mark.parametrize(
    "reply",
    [
        TokenResponse("a", expires_in=0.0),
        TokenResponse("a", expires_in=1.9),
        TokenResponse("a", expires_in=0.0, claims_exp=WALL + 600, date=WALL),
        TokenResponse("a", expires_in=3600.0, claims_exp=WALL - 600, date=WALL),
        TokenResponse("a", claims_exp=WALL - 600),
    ],
)
def test_a_life_that_is_over_is_a_dead_token(reply: TokenResponse) -> None:
    assert token_state(compute_token(reply), now=NOW, wall=WALL) == "dead"


@pytest.mark.parametrize(
    ("margin", "life", "before_its_end"),
    [
        (RenewalMargin(share=0.2, min_seconds=60), 3600, 720),
        (RenewalMargin(share=0.2, min_seconds=60), 200, 60),
        (RenewalMargin(share=0.2, min_seconds=60), 100, 50),
        (RenewalMargin(share=0.0, min_seconds=30), 3600, 30),
        (RenewalMargin(share=0.0, min_seconds=1), 3600, 20),
        (RenewalMargin(share=0.5, min_seconds=30), 3600, 1800),
        (RenewalMargin(share=0.0, min_seconds=9000), 3600, 1800),
    ],
)
def test_the_renewal_margin_is_at_most_half_of_the_life(
    margin: RenewalMargin, life: float, before_its_end: float
) -> None:
    assert compute_token(TokenResponse("a", expires_in=life), margin=margin).stale_at == NOW + life - before_its_end
    jittered = compute_token(TokenResponse("a", expires_in=life), random_fraction=0.999, margin=margin)
    assert NOW + life - 1.5 * before_its_end < jittered.stale_at < NOW + life - before_its_end


@pytest.mark.parametrize(
    ("reply", "life"),
    [
        (TokenResponse("a"), DEFAULT_LIFETIME),
        (TokenResponse("a", expires_in=60.0, claims_exp=WALL + 999), 60.0),
        (TokenResponse("a", expires_in=3600.0, claims_exp=WALL + 600, date=WALL), 600.0),
        (TokenResponse("a", expires_in=3600.0, claims_exp=WALL + 600, claims_iat=WALL), 600.0),
        (TokenResponse("a", expires_in=3600.0, claims_exp=WALL - 600), 3600.0),  # only a clock here calls it dead
        (TokenResponse("a", expires_in=math.inf), MAX_LIFETIME),
        (TokenResponse("a", expires_in=math.inf, claims_exp=WALL + 600, date=WALL), 600.0),
        (TokenResponse("a", claims_exp=WALL + 600), 600.0),
        (TokenResponse("a", claims_exp=WALL + 600, claims_iat=WALL - 5), 605.0),
        (TokenResponse("a", claims_exp=WALL + 600, claims_iat=WALL - 3000, date=WALL), 600.0),
        (TokenResponse("a", claims_exp=WALL + 9600, claims_iat=WALL + 9000, date=WALL + 9000), 600.0),
        (TokenResponse("a", claims_iat=WALL), DEFAULT_LIFETIME),
        (TokenResponse("a", claims_exp=WALL + 10 * MAX_LIFETIME), MAX_LIFETIME),
    ],
)
def test_the_life_is_expires_in_else_the_jwt_else_a_default(reply: TokenResponse, life: float) -> None:
    assert compute_token(reply).usable_until == pytest.approx(NOW + life - min(10, life / 10))


SECONDS = st.floats(1, 1e11)
MARGINS = st.builds(RenewalMargin, share=st.floats(0, 0.5), min_seconds=st.floats(0.001, 1e6))
SPREADS = st.floats(0, 1, exclude_max=True)


@given(st.floats(0, math.inf) | st.none(), SECONDS | st.none(), SECONDS | st.none(), SPREADS, MARGINS)
def test_no_life_can_spin(
    expires_in: float | None, exp: float | None, date: float | None, random_fraction: float, margin: RenewalMargin
) -> None:
    token = compute_token(TokenResponse("a", expires_in=expires_in, claims_exp=exp, date=date), random_fraction, margin)
    assert token.stale_at < token.usable_until
    assert token.stale_at - NOW >= 0.5 or token.usable_until == NOW  # a failure, which is backed off from
    assert token.usable_until - NOW <= MAX_LIFETIME


@given(
    st.floats(1, 1e6) | st.none(),  # what expires_in says
    st.floats(1, 1e6),  # how long the identity domain will really honour the token
    st.floats(-1e8, 1e8),  # how far the clock here is off
    st.floats(0, 1e6),  # how much later the token is used
    st.floats(-1e6, 1e6),  # how far the clock here jumps meanwhile
)
def test_a_dead_token_is_never_used_whatever_the_clocks_do(
    expires_in: float | None, life: float, off: float, later: float, jump: float
) -> None:
    true = WALL + off  # the identity domain's clock
    reply = TokenResponse("a", expires_in=expires_in, claims_exp=true + life, date=true)
    token = compute_token(reply)
    verdict = decide_token_use(token, None, now=NOW + later, wall=WALL + later + jump)
    if later > max(life, 1) or (expires_in is not None and later > max(expires_in, 1)):
        assert verdict.kind == "fetch"


@given(st.floats(1, 1e6), st.floats(-1e8, 1e8), st.floats(0, 1e6), SPREADS)
def test_a_clock_that_is_wrong_throws_no_live_token_away(
    life: float, off: float, later: float, random_fraction: float
) -> None:
    true = WALL + off
    token = compute_token(TokenResponse("a", expires_in=life, claims_exp=true + life + 1, date=true), random_fraction)
    if life >= 2 and later < life - min(10, max(1, life / 10)) - 1e-3:
        assert token_state(token, now=NOW + later, wall=WALL + later) in {"fresh", "stale"}


@given(st.floats(0, 7200), st.floats(-7200, 7200))
def test_a_suspend_that_stops_one_clock_is_seen_by_the_other(slept: float, drift: float) -> None:
    token = compute_token(TokenResponse("a", expires_in=3600.0))
    stopped = decide_token_use(token, None, now=NOW + 1, wall=WALL + 1 + slept)
    counted = decide_token_use(token, None, now=NOW + 1 + slept, wall=WALL + 1 + drift)
    if slept + 1 >= 3590:
        assert (stopped.kind, counted.kind) == ("fetch", "fetch")


@pytest.mark.parametrize(
    ("later", "wall_later", "expected"),
    [
        (0, 0, "fresh"),
        (59.9, 59.9, "fresh"),
        (60, 60, "stale"),
        (99.9, 99.9, "stale"),
        (100, 100, "dead"),
        (0, 100, "dead"),  # the monotonic clock slept
        (100, 0, "dead"),  # the wall clock was set back
        (0, -9999, "fresh"),
    ],
)
def test_a_token_expires_by_the_earlier_of_two_clocks(later: float, wall_later: float, expected: str) -> None:
    assert token_state(TOKEN, now=NOW + later, wall=WALL + wall_later) == expected


@pytest.mark.parametrize(
    ("token", "later", "is_backing_off", "kind"),
    [
        (TOKEN, 0, False, "use"),
        (TOKEN, 0, True, "use"),
        (TOKEN, 60, False, "renew"),
        (TOKEN, 60, True, "use"),
        (TOKEN, 100, False, "fetch"),
        (TOKEN, 100, True, "refuse"),
        (None, 0, False, "fetch"),
        (None, 0, True, "refuse"),
    ],
)
def test_the_verdict_is_a_table(token: Token | None, later: float, *, is_backing_off: bool, kind: str) -> None:
    now = NOW + later
    last = failure(until=now + 1 if is_backing_off else now)
    verdict = decide_token_use(token, last, now=now, wall=WALL + later)
    assert verdict.kind == kind
    assert verdict.until == (last.until if kind == "refuse" else 0.0)


@given(st.floats(0, 300), st.floats(-300, 300), st.booleans())
def test_a_dead_token_is_never_used(later: float, wall_later: float, failing: bool) -> None:  # noqa: FBT001 - drawn
    now, wall = NOW + later, WALL + wall_later
    verdict = decide_token_use(TOKEN, failure(now + 5) if failing else None, now=now, wall=wall)
    dead = now >= TOKEN.usable_until or wall >= TOKEN.usable_until_wall
    assert (verdict.kind in {"fetch", "refuse"}) == dead


def test_a_token_shows_no_value() -> None:
    assert "abc" not in repr(TOKEN)
