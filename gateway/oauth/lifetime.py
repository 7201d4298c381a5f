"""How long a token lives, and what to do now. Pure: `lifetime` and `decide` are the whole policy.

A token has three states. Fresh: use it. Stale: use it and renew in the background. Dead: never send it.
"""

from dataclasses import dataclass, field
from typing import Literal

from gateway.oauth.failures import Failure
from gateway.oauth.grants import LONGEST_LIFE, TokenResponse

DEFAULT_LIFE = 300.0  # without expires_in and a JWT: short, since too long a guess sends dead tokens
SHORTEST_LIFE = (
    2.0  # a token that lives for less is dead when it arrives; a back-off follows, so that fetches do not spin
)
SHORTEST_FRESH = 0.5  # no token is renewed earlier
MARGIN = 10.0  # dead so long before the end, or a tenth of a short life: it must not expire on the way
LEAST_MARGIN = 1.0  # for a life under ten seconds: a call takes a moment to arrive

TokenState = Literal["none", "fresh", "stale", "dead"]
DecisionKind = Literal["use", "renew", "fetch", "refuse"]


@dataclass(frozen=True, slots=True)
class RenewalMargin:
    """When a token becomes stale: when `share` of its life is left, and `at_least` so many seconds before its end.

    The margin is at most half of a life, so that a short one is used too, and at least the time that a renewal may take
    before the token counts as dead. Jitter makes it up to half as long again.
    """

    share: float
    at_least: float

    def seconds(self, life: float, spread: float) -> float:
        """Return the seconds before the end of `life`; `spread` in [0, 1) is the jitter."""
        return min(max(self.share * life, self.at_least, 2 * _margin(life)), life / 2) * (1 + spread / 2)


@dataclass(frozen=True, slots=True)
class Token:
    """A bearer value and its times: `*_at` by the monotonic clock, `*_wall` in epoch seconds."""

    value: str = field(repr=False)
    obtained_at: float
    stale_at: float
    dead_at: float
    dead_wall: float


@dataclass(frozen=True, slots=True)
class TokenDecision:
    """What to do: `use`, `renew` (use, and renew in the background), `fetch` (and wait), or `refuse` until `until`
    (monotonic).
    """

    kind: DecisionKind
    until: float = 0.0


def lifetime(response: TokenResponse, now: float, *, wall: float, spread: float, margin: RenewalMargin) -> Token:
    """Return the token of a response to a request of `now` (monotonic) and `wall` (epoch); `spread` in [0, 1) is the
    jitter.

    The life starts with the request, not the response, so that a slow response cannot extend it. A token with less
    than SHORTEST_LIFE is dead from the start.
    """
    life = min(_life(response, wall), LONGEST_LIFE)
    usable = life - _margin(life) if life >= SHORTEST_LIFE else 0.0
    stale = min(max(life - margin.seconds(life, spread), SHORTEST_FRESH), usable - 0.1)
    return Token(response.value, obtained_at=now, stale_at=now + stale, dead_at=now + usable, dead_wall=wall + usable)


def state(token: Token | None, *, now: float, wall: float) -> TokenState:
    """Return the token's state. Either clock can make it dead: a suspend stops one, a jump moves the other."""
    if token is None:
        return "none"
    if now >= token.dead_at or wall >= token.dead_wall:
        return "dead"
    return "fresh" if now < token.stale_at else "stale"


# By the token's state, and by whether the last failure still holds off new tries.
_DECISIONS: dict[tuple[TokenState, bool], DecisionKind] = {
    ("fresh", False): "use",
    ("fresh", True): "use",
    ("stale", False): "renew",
    ("stale", True): "use",
    ("dead", False): "fetch",
    ("dead", True): "refuse",
    ("none", False): "fetch",
    ("none", True): "refuse",
}


def decide(token: Token | None, failure: Failure | None, *, now: float, wall: float) -> TokenDecision:
    """Return the decision for a request that needs a token now."""
    held = failure is not None and now < failure.until
    kind = _DECISIONS[state(token, now=now, wall=wall), held]
    return TokenDecision(kind, until=failure.until if failure is not None and kind == "refuse" else 0.0)


def _margin(life: float) -> float:
    return min(MARGIN, max(LEAST_MARGIN, life / 10))


def _life(response: TokenResponse, wall: float) -> float:
    """Return the shorter life of `expires_in` and the JWT's `exp`, which counts by the identity domain's clock.

    A wrong local clock must neither keep a dead token nor drop a valid one, so `wall` counts only if the response has
    no time and no `expires_in`. A token may have been issued before the response, never after it: the later of `Date`
    and `iat` is the present.
    """
    local = None if response.expires_in is not None else wall
    present = max((time for time in (response.date, response.claims_iat) if time is not None), default=local)
    left = None if response.claims_exp is None or present is None else response.claims_exp - present
    return min((life for life in (response.expires_in, left) if life is not None), default=DEFAULT_LIFE)
