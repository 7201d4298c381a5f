"""How long a token lives, and whether to use or renew it now. Pure; `make_token` and `decide_token_use` are the policy.

A token has three states. Fresh: use it. Stale: use it and renew in the background. Dead: never send it.
"""

from dataclasses import dataclass, field
from typing import Literal

import msgspec

from gateway.oauth.failures import Failure
from gateway.oauth.grants import MAX_LIFETIME, TokenResponse

DEFAULT_LIFETIME = 300.0
"""Without `expires_in` and a JWT: short, since a guess that is too long sends dead tokens."""
MIN_LIFETIME = 2.0
"""A token with a shorter lifetime is dead when it arrives. A back-off follows, so that fetches do not spin."""
MIN_FRESH_TIME = 0.5
"""No token is renewed earlier than this after it was obtained."""
EXPIRY_MARGIN = 10.0
"""A token counts as dead this long before its end, or a tenth of a short lifetime: it must not expire on the way."""
MIN_EXPIRY_MARGIN = 1.0
"""The margin of a lifetime under ten seconds: a call takes a moment to arrive. All in seconds."""

TokenState = Literal["none", "fresh", "stale", "dead"]
DecisionKind = Literal["use", "renew", "fetch", "refuse"]


class RenewalMargin(msgspec.Struct, frozen=True):
    """When a token becomes stale: when `share` of its lifetime is left, but at least `min_seconds` before its end.

    The margin is at most half of the lifetime, so that a short-lived token is used too, and at least the time that a
    renewal may take before the token counts as dead. Jitter extends it by up to a half.
    """

    share: float
    min_seconds: float

    def seconds_before_end(self, lifetime: float, random_fraction: float) -> float:
        """Return the seconds before the end of `lifetime`; `random_fraction` in [0, 1) is the jitter."""
        margin = max(self.share * lifetime, self.min_seconds, 2 * _expiry_margin(lifetime))
        return min(margin, lifetime / 2) * (1 + random_fraction / 2)


@dataclass(frozen=True, slots=True)
class Token:
    """A bearer value and its times: by the monotonic clock, except `usable_until_wall` in epoch seconds. The token is
    sent only before both `usable_until` and `usable_until_wall`, which precede its end by a margin.
    """

    value: str = field(repr=False)
    obtained_at: float
    stale_at: float
    usable_until: float
    usable_until_wall: float


class TokenDecision(msgspec.Struct, frozen=True):
    """What to do: `use`, `renew` (use, and renew in the background), `fetch` (and wait), or `refuse` until `until`
    (monotonic).
    """

    kind: DecisionKind
    until: float = 0.0


def make_token(
    response: TokenResponse, now: float, *, wall: float, random_fraction: float, margin: RenewalMargin
) -> Token:
    """Return the token of a response; its request was sent at `now` (monotonic) and `wall` (epoch). `random_fraction`
    in [0, 1) is the jitter.

    The lifetime starts with the request, not the response, so that a slow response cannot extend it. A token with less
    than MIN_LIFETIME is dead from the start.
    """
    lifetime = min(_response_lifetime(response, wall), MAX_LIFETIME)
    usable = lifetime - _expiry_margin(lifetime) if lifetime >= MIN_LIFETIME else 0.0
    stale = min(max(lifetime - margin.seconds_before_end(lifetime, random_fraction), MIN_FRESH_TIME), usable - 0.1)
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


# By the token's state, and by whether the last failure's back-off still lasts.
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
    is_backing_off = failure is not None and now < failure.until
    kind = _DECISIONS[token_state(token, now=now, wall=wall), is_backing_off]
    return TokenDecision(kind, until=failure.until if failure is not None and kind == "refuse" else 0.0)


def _expiry_margin(lifetime: float) -> float:
    return min(EXPIRY_MARGIN, max(MIN_EXPIRY_MARGIN, lifetime / 10))


def _response_lifetime(response: TokenResponse, wall: float) -> float:
    """Return the shorter of `expires_in` and the lifetime by the JWT's `exp`, a time of the identity domain's clock.

    A wrong local clock must neither keep a dead token nor drop a valid one, so `wall` is used only if the response has
    neither a time nor `expires_in`. A token is never issued after its response: the later of `Date` and `iat` is the
    present.
    """
    local = None if response.expires_in is not None else wall
    present = max((time for time in (response.date, response.claims_iat) if time is not None), default=local)
    left = None if response.claims_exp is None or present is None else response.claims_exp - present
    return min((lifetime for lifetime in (response.expires_in, left) if lifetime is not None), default=DEFAULT_LIFETIME)
