"""How long a token lives, and what to do now. Pure: `lifetime`, `decide` and `next_try` are the whole policy.

A token has three states. Fresh: use it. Stale: use it and renew behind. Dead: never send it.
"""

from dataclasses import dataclass, field
from typing import Literal

from gateway.oauth.grants import LONGEST_LIFE, TokenReply

DEFAULT_LIFE = 300.0  # neither expires_in nor a JWT: short, since guessing too long sends dead tokens
SHORTEST_LIFE = 1.0  # a token that says less is kept so long all the same, so that it cannot spin
LEAD = 300.0  # renewed at least so long before the end, or a quarter of a short life; up to twice that with jitter
MARGIN = 10.0  # dead so long before the end, or a tenth of a short life: a token must not die on the way

LONGEST_RETRY_AFTER = 300.0

State = Literal["none", "fresh", "stale", "dead"]
Kind = Literal["use", "renew", "fetch", "refuse"]


@dataclass(frozen=True, slots=True)
class Token:
    """A bearer value and its times: `*_at` on the monotonic clock, `*_wall` in epoch seconds."""

    value: str = field(repr=False)
    obtained_at: float
    stale_at: float
    dead_at: float
    dead_wall: float


@dataclass(frozen=True, slots=True)
class Failure:
    """The last failed try: no new one before `until` (monotonic). `at` is the time of day, `count` the tries so far."""

    code: str
    reason: str
    remedy: str
    permanent: bool
    count: int
    at: float
    until: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """What to do: `use`, `renew` (use and renew behind), `fetch` (and wait), or `refuse` until `until` (monotonic)."""

    kind: Kind
    until: float = 0.0


def lifetime(reply: TokenReply, now: float, *, wall: float, spread: float) -> Token:
    """The token of a reply asked for at `now` (monotonic) and `wall` (epoch); `spread` in [0, 1) is the jitter.

    Counted from the asking, not the answer, so that a slow answer cannot lengthen a life.
    """
    life = min(max(_life(reply, wall), SHORTEST_LIFE), LONGEST_LIFE)
    usable = life - min(MARGIN, life / 10)
    stale = life - min(LEAD, life / 4) * (1 + spread)
    return Token(reply.value, obtained_at=now, stale_at=now + stale, dead_at=now + usable, dead_wall=wall + usable)


def state(token: Token | None, *, now: float, wall: float) -> State:
    """The token's state; either clock can call it dead: a suspend stops one, a jump moves the other."""
    if token is None:
        return "none"
    if now >= token.dead_at or wall >= token.dead_wall:
        return "dead"
    return "fresh" if now < token.stale_at else "stale"


# By the token's state and whether the last failure still holds off new tries.
_VERDICTS: dict[tuple[State, bool], Kind] = {
    ("fresh", False): "use",
    ("fresh", True): "use",
    ("stale", False): "renew",
    ("stale", True): "use",
    ("dead", False): "fetch",
    ("dead", True): "refuse",
    ("none", False): "fetch",
    ("none", True): "refuse",
}


def decide(token: Token | None, failure: Failure | None, *, now: float, wall: float) -> Verdict:
    """The verdict for a request that needs a token now."""
    held = failure is not None and now < failure.until
    kind = _VERDICTS[state(token, now=now, wall=wall), held]
    return Verdict(kind, until=failure.until if failure is not None and kind == "refuse" else 0.0)


# Seconds: least wait, first ceiling, last ceiling; by whether the error is permanent.
_BACK_OFF = {False: (0.2, 1.0, 60.0), True: (30.0, 30.0, 300.0)}


def next_try(failures: int, retry_after: float | None = None, *, permanent: bool, luck: float) -> float:
    """Seconds until the next try after `failures` in a row: exponential with full jitter, `luck` in [0, 1).

    `Retry-After` is honoured up to five minutes, with up to a second of jitter: all replicas were told the same.
    """
    least, first, last = _BACK_OFF[permanent]
    ceiling = min(last, first * 2.0 ** min(failures - 1, 20))
    wait = least + luck * (ceiling - least)
    if retry_after is None:
        return wait
    return max(wait, min(retry_after, LONGEST_RETRY_AFTER) + luck)


def _life(reply: TokenReply, wall: float) -> float:
    if reply.expires_in is not None:
        return reply.expires_in
    if reply.claims_exp is None:
        return DEFAULT_LIFE
    # By the server's own clock where it shows; a token may have been issued before this answer, never after it.
    return reply.claims_exp - max((said for said in (reply.date, reply.claims_iat) if said is not None), default=wall)
