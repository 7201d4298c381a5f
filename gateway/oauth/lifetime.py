"""How long a token lives, and what to do now. Pure: `lifetime` and `decide` are the whole policy.

A token has three states. Fresh: use it. Stale: use it and renew behind. Dead: never send it.
"""

from dataclasses import dataclass, field
from typing import Literal

from gateway.oauth.failures import Failure
from gateway.oauth.grants import LONGEST_LIFE, TokenResponse

DEFAULT_LIFE = 300.0  # neither expires_in nor a JWT: short, since guessing too long sends dead tokens
SHORTEST_LIFE = 2.0  # a token that lives for less is dead when it arrives; a back-off follows, so that it cannot spin
SHORTEST_FRESH = 0.5  # no token is renewed sooner
MARGIN = 10.0  # dead so long before the end, or a tenth of a short life: a token must not die on the way
LEAST_MARGIN = 1.0  # of a life under ten seconds: a call is on its way for a moment

TokenState = Literal["none", "fresh", "stale", "dead"]
DecisionKind = Literal["use", "renew", "fetch", "refuse"]


@dataclass(frozen=True, slots=True)
class RenewalMargin:
    """When a token becomes stale: while `share` of its life is left, `at_least` so many seconds before its end.

    No more than half of a life, so that a short one is used too, and no less than what a renewal may take before the
    token counts as dead; jitter makes it up to half as long again.
    """

    share: float = 0.2
    at_least: float = 60.0

    def seconds(self, life: float, spread: float) -> float:
        """Before the end of `life`; `spread` in [0, 1) is the jitter."""
        return min(max(self.share * life, self.at_least, 2 * _margin(life)), life / 2) * (1 + spread / 2)


@dataclass(frozen=True, slots=True)
class Token:
    """A bearer value and its times: `*_at` on the monotonic clock, `*_wall` in epoch seconds."""

    value: str = field(repr=False)
    obtained_at: float
    stale_at: float
    dead_at: float
    dead_wall: float


@dataclass(frozen=True, slots=True)
class TokenDecision:
    """What to do: `use`, `renew` (use and renew behind), `fetch` (and wait), or `refuse` until `until` (monotonic)."""

    kind: DecisionKind
    until: float = 0.0


def lifetime(
    reply: TokenResponse, now: float, *, wall: float, spread: float, lead: RenewalMargin | None = None
) -> Token:
    """The token of a reply asked for at `now` (monotonic) and `wall` (epoch); `spread` in [0, 1) is the jitter.

    Counted from the asking, not the answer, so that a slow answer cannot lengthen a life. One that lives for less than
    SHORTEST_LIFE is dead from the beginning.
    """
    life = min(_life(reply, wall), LONGEST_LIFE)
    usable = life - _margin(life) if life >= SHORTEST_LIFE else 0.0
    stale = min(max(life - (lead or RenewalMargin()).seconds(life, spread), SHORTEST_FRESH), usable - 0.1)
    return Token(reply.value, obtained_at=now, stale_at=now + stale, dead_at=now + usable, dead_wall=wall + usable)


def state(token: Token | None, *, now: float, wall: float) -> TokenState:
    """The token's state; either clock can call it dead: a suspend stops one, a jump moves the other."""
    if token is None:
        return "none"
    if now >= token.dead_at or wall >= token.dead_wall:
        return "dead"
    return "fresh" if now < token.stale_at else "stale"


# By the token's state and whether the last failure still holds off new tries.
_VERDICTS: dict[tuple[TokenState, bool], DecisionKind] = {
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
    """The verdict for a request that needs a token now."""
    held = failure is not None and now < failure.until
    kind = _VERDICTS[state(token, now=now, wall=wall), held]
    return TokenDecision(kind, until=failure.until if failure is not None and kind == "refuse" else 0.0)


def _margin(life: float) -> float:
    return min(MARGIN, max(LEAST_MARGIN, life / 10))


def _life(reply: TokenResponse, wall: float) -> float:
    """The earlier end of what `expires_in` and the JWT say; the JWT's by the identity domain's own clock.

    A clock that is wrong here must neither keep a dead token nor throw a live one away, so `wall` counts only where
    the reply tells no time and nothing else tells the life. A token may have been issued before this answer, never
    after it: the later of the two instants is the present.
    """
    here = None if reply.expires_in is not None else wall
    present = max((said for said in (reply.date, reply.claims_iat) if said is not None), default=here)
    left = None if reply.claims_exp is None or present is None else reply.claims_exp - present
    return min((life for life in (reply.expires_in, left) if life is not None), default=DEFAULT_LIFE)
