"""What `/readyz` and `/status` show of a token source. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from gateway.oauth.failures import Failure
from gateway.oauth.lifetime import Token, token_state


class Readiness(msgspec.Struct, frozen=True):
    """Whether there is a token, or one can be obtained; if not, code, cause and remedy of the failure, and the seconds
    until the next try. A failure may also accompany a token that is still valid.
    """

    ok: bool
    code: str = ""
    why: str = ""
    remedy: str = ""
    next_try_s: float | None = None


@dataclass(slots=True)
class SourceCounters:
    """How callers used a token source."""

    waiters: int = 0
    coalesced: int = 0
    replays: int = 0
    obtained_at: float | None = None
    """When the present token was obtained, in epoch seconds."""


class EndpointFacts(msgspec.Struct, frozen=True):
    """What a token source knows of its token endpoint: `fetches` by result, requests left in the rate limit, clock skew
    in seconds.
    """

    fetches: Mapping[str, int] = msgspec.field(default_factory=dict)
    budget_left: int | None = None
    clock_skew: float | None = None


def source_status(
    token: Token | None,
    failure: Failure | None,
    *,
    now: float,
    wall: float,
    counters: SourceCounters,
    endpoint: EndpointFacts,
) -> dict[str, object]:
    """Return the facts for `/status` at `now` (monotonic) and `wall` (epoch): durations in seconds, `obtained` and `at`
    in epoch seconds; no secret, no token.
    """
    return {
        "state": token_state(token, now=now, wall=wall),
        "expires_in_s": None
        if token is None
        else _tenths(min(token.usable_until - now, token.usable_until_wall - wall)),
        "obtained": counters.obtained_at,
        "last_error": None if failure is None else failure.as_status(),
        "next_try_s": None if failure is None else _tenths(failure.until - now),
        "fetches": dict(endpoint.fetches),
        "waiters": counters.waiters,
        "coalesced": counters.coalesced,
        "replays": counters.replays,
        "budget_left": endpoint.budget_left,
        "clock_skew_s": None if endpoint.clock_skew is None else round(endpoint.clock_skew, 1),
    }


def _tenths(seconds: float) -> float:
    return max(0.0, round(seconds, 1))
