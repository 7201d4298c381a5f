import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.oauth.grants import LONGEST_LIFE, TokenReply
from gateway.oauth.lifetime import DEFAULT_LIFE, Failure, Token, decide, lifetime, next_try, state

NOW, WALL = 1000.0, 1_800_000_000.0
TOKEN = Token("abc", obtained_at=NOW, stale_at=NOW + 60, dead_at=NOW + 100, dead_wall=WALL + 100)


def failure(until: float) -> Failure:
    return Failure("timeout", "timeout: late", "wait", permanent=False, count=1, at=WALL, until=until)


def made(reply: TokenReply, spread: float = 0.0) -> Token:
    return lifetime(reply, NOW, wall=WALL, spread=spread)


def test_an_hour_is_renewed_five_to_ten_minutes_ahead_and_dead_ten_seconds_before_its_end() -> None:
    token = made(TokenReply("abc", expires_in=3600.0))
    assert (token.stale_at, token.dead_at, token.dead_wall) == (NOW + 3300, NOW + 3590, WALL + 3590)
    assert made(TokenReply("abc", expires_in=3600.0), spread=0.5).stale_at == NOW + 3150
    assert token.obtained_at == NOW


def test_a_short_life_has_short_margins() -> None:  # defect 4
    token = made(TokenReply("abc", expires_in=5.0))
    assert (token.stale_at, token.dead_at) == (NOW + 3.75, NOW + 4.5)


@pytest.mark.parametrize(
    ("reply", "life"),
    [
        (TokenReply("a"), DEFAULT_LIFE),
        (TokenReply("a", expires_in=60.0, claims_exp=WALL + 999), 60.0),
        (TokenReply("a", claims_exp=WALL + 600), 600.0),
        (TokenReply("a", claims_exp=WALL + 600, claims_iat=WALL - 5), 605.0),
        (TokenReply("a", claims_exp=WALL + 600, claims_iat=WALL - 3000, date=WALL), 600.0),
        (TokenReply("a", claims_exp=WALL + 9600, claims_iat=WALL + 9000, date=WALL + 9000), 600.0),
        (TokenReply("a", claims_exp=WALL - 600), 1.0),
        (TokenReply("a", claims_iat=WALL), DEFAULT_LIFE),
        (TokenReply("a", expires_in=0.001), 1.0),
        (TokenReply("a", claims_exp=WALL + 10 * LONGEST_LIFE), LONGEST_LIFE),
    ],
)
def test_the_life_is_expires_in_then_the_jwt_then_a_short_default(
    reply: TokenReply, life: float
) -> None:  # defects 5, 16
    assert made(reply).dead_at == pytest.approx(NOW + life - min(10, life / 10))


@given(
    st.floats(0, 1e9, exclude_min=True) | st.none(),
    st.floats(1, 1e11) | st.none(),
    st.floats(1, 1e11) | st.none(),
    st.floats(0, 1, exclude_max=True),
)
def test_no_life_can_spin(
    expires_in: float | None, exp: float | None, date: float | None, spread: float
) -> None:  # defects 4, 5
    token = made(TokenReply("a", expires_in=expires_in, claims_exp=exp, date=date), spread)
    assert token.stale_at - NOW >= 0.5
    assert token.stale_at < token.dead_at
    assert token.dead_at - NOW <= LONGEST_LIFE


@pytest.mark.parametrize(
    ("later", "wall_later", "expected"),
    [
        (0, 0, "fresh"),
        (59.9, 59.9, "fresh"),
        (60, 60, "stale"),
        (99.9, 99.9, "stale"),
        (100, 100, "dead"),
        (0, 100, "dead"),  # the monotonic clock slept: defect 20
        (100, 0, "dead"),  # the wall clock was set back: defect 20
        (0, -9999, "fresh"),
    ],
)
def test_a_token_is_dead_when_either_clock_says_so(later: float, wall_later: float, expected: str) -> None:
    assert state(TOKEN, now=NOW + later, wall=WALL + wall_later) == expected


@pytest.mark.parametrize(
    ("token", "later", "held", "kind"),
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
def test_the_verdict_is_a_table(token: Token | None, later: float, *, held: bool, kind: str) -> None:
    now = NOW + later
    last = failure(until=now + 1 if held else now)
    verdict = decide(token, last, now=now, wall=WALL + later)
    assert verdict.kind == kind
    assert verdict.until == (last.until if kind == "refuse" else 0.0)


@given(st.floats(0, 300), st.floats(-300, 300), st.booleans())
def test_a_dead_token_is_never_used(later: float, wall_later: float, failing: bool) -> None:  # defect 2 # noqa: FBT001 - drawn
    now, wall = NOW + later, WALL + wall_later
    verdict = decide(TOKEN, failure(now + 5) if failing else None, now=now, wall=wall)
    dead = now >= TOKEN.dead_at or wall >= TOKEN.dead_wall
    assert (verdict.kind in {"fetch", "refuse"}) == dead


def test_a_token_shows_no_value() -> None:
    assert "abc" not in repr(TOKEN)


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
    assert next_try(failures, permanent=permanent, luck=0.0) == least
    assert next_try(failures, permanent=permanent, luck=1.0) == pytest.approx(most)


@pytest.mark.parametrize(("retry_after", "wait"), [(0.0, 0.5), (20.0, 20.5), (1e9, 300.5)])
def test_retry_after_is_honoured_within_bounds(retry_after: float, wait: float) -> None:
    assert next_try(1, retry_after, permanent=False, luck=0.5) == pytest.approx(max(wait, 0.6))
