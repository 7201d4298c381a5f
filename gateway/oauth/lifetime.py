"""How long a token lives, and what to do now. Pure: `make_token` and `decide_token_use` are the whole policy.

A token has three states. Fresh: use it. Stale: use it and renew in the background. Dead: never send it.
"""

from dataclasses import dataclass, field
from typing import Literal

from gateway.oauth.failures import Failure
from gateway.oauth.grants import MAX_LIFETIME, TokenResponse

DEFAULT_LIFETIME = 300.0  # without expires_in and a JWT: short, since too long a guess sends dead tokens
MIN_LIFETIME = (
    2.0  # a token that lives for less is dead when it arrives; a back-off follows, so that fetches do not spin
)
MIN_FRESH_TIME = 0.5  # no token is renewed earlier
EXPIRY_MARGIN = 10.0  # dead so long before the end, or a tenth of a short lifetime: it must not expire on the way
MIN_EXPIRY_MARGIN = 1.0  # for a lifetime under ten seconds: a call takes a moment to arrive

TokenState = Literal["none", "fresh", "stale", "dead"]
DecisionKind = Literal["use", "renew", "fetch", "refuse"]


@dataclass(frozen=True, slots=True)
class RenewalMargin:
    """When a token becomes stale: when `share` of its lifetime is left, and `at_least` so many seconds before its end.

    The margin is at most half of a lifetime, so that a short one is used too, and at least the time that a renewal may
    take before the token counts as dead. Jitter makes it up to half as long again.
    """

    share: float
    at_least: float

    def seconds_before_end(self, lifetime: float, spread: float) -> float:
        """Return the seconds before the end of `lifetime`; `spread` in [0, 1) is the jitter."""
        return min(max(self.share * lifetime, self.at_least, 2 * _expiry_margin(lifetime)), lifetime / 2) * (
            1 + spread / 2
        )


@dataclass(frozen=True, slots=True)
class Token:
    """A bearer value and its times: by the monotonic clock, `usable_until_wall` in epoch seconds. A token is not
    sent after either `usable_until`, which precedes its end by a margin.
    """

    value: str = field(repr=False)
    obtained_at: float
    stale_at: float
    usable_until: float
    usable_until_wall: float


@dataclass(frozen=True, slots=True)
class TokenDecision:
    """What to do: `use`, `renew` (use, and renew in the background), `fetch` (and wait), or `refuse` until `until`
    (monotonic).
    """

    kind: DecisionKind
    until: float = 0.0


def make_token(response: TokenResponse, now: float, *, wall: float, spread: float, margin: RenewalMargin) -> Token:
    """Return the token of a response to a request of `now` (monotonic) and `wall` (epoch); `spread` in [0, 1) is the
    jitter.

    The lifetime starts with the request, not the response, so that a slow response cannot extend it. A token with less
    than MIN_LIFETIME is dead from the start.
    """
    lifetime = min(_response_lifetime(response, wall), MAX_LIFETIME)
    usable = lifetime - _expiry_margin(lifetime) if lifetime >= MIN_LIFETIME else 0.0
    stale = min(max(lifetime - margin.seconds_before_end(lifetime, spread), MIN_FRESH_TIME), usable - 0.1)
    return Token(
        response.value,
        obtained_at=now,
        stale_at=now + stale,
        usable_until=now + usable,
        usable_until_wall=wall + usable,
    )


def token_state(token: Token | None, *, now: float, wall: float) -> TokenState:
    """Return the token's state. Either clock can make it dead: a suspend stops one, a jump moves the other."""
    if token is None:
        return "none"
    if now >= token.usable_until or wall >= token.usable_until_wall:
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


def decide_token_use(token: Token | None, failure: Failure | None, *, now: float, wall: float) -> TokenDecision:
    """Return the decision for a request that needs a token now."""
    held = failure is not None and now < failure.until
    kind = _DECISIONS[token_state(token, now=now, wall=wall), held]
    return TokenDecision(kind, until=failure.until if failure is not None and kind == "refuse" else 0.0)


def _expiry_margin(lifetime: float) -> float:
    return min(EXPIRY_MARGIN, max(MIN_EXPIRY_MARGIN, lifetime / 10))


def _response_lifetime(response: TokenResponse, wall: float) -> float:
    """Return the shorter lifetime of `expires_in` and the JWT's `exp`, which counts by the identity domain's clock.

    A wrong local clock must neither keep a dead token nor drop a valid one, so `wall` counts only if the response has
    no time and no `expires_in`. A token may have been issued before the response, never after it: the later of `Date`
    and `iat` is the present.
    """
    local = None if response.expires_in is not None else wall
    present = max((time for time in (response.date, response.claims_iat) if time is not None), default=local)
    left = None if response.claims_exp is None or present is None else response.claims_exp - present
    return min((lifetime for lifetime in (response.expires_in, left) if lifetime is not None), default=DEFAULT_LIFETIME)
