"""Failures of token requests: what RFC 6749's `error` code decides, and how long to wait. Pure.

A failure is permanent if no retry helps before someone acts: it is retried slowly and shown with a remedy. Every other
failure, also one with an unknown code, is transient: it is retried soon, with full jitter and the server's
`Retry-After`. The `reason` of an error begins with its code and a colon.
"""

import json
from typing import NamedTuple

import msgspec
from msgspec.structs import asdict

from gateway.diagnosis.catalog import MISTAKES
from gateway.errors import TokenRefused, TokenUnavailable

LONGEST_RETRY_AFTER = 300.0


class FailureKind(NamedTuple):
    """The meaning of a code for the next try and for an operator, and the remedy."""

    permanent: bool
    means: str
    remedy: str


# RFC 6749 §5.2, §4.1.2.1, RFC 8707 §2, OpenID Connect Core §3.1.2.6; `several-resources` is ours.
PERMANENT = frozenset(
    "invalid_client unauthorized_client unsupported_grant_type invalid_scope several-resources invalid_target "
    "invalid_grant sign-in invalid_request access_denied".split()
)
_TRANSIENT = (
    "limited budget redirect unreadable token-type short-lived store superseded turn secret certificate tls-trust tls "
    "timeout dns proxy connect network broken waiting url request"
).split()

# Not a refusal by the identity domain, but no retry helps either: someone must correct something on this side.
_NEEDS_CORRECTION = frozenset("redirect token-type short-lived secret certificate tls-trust url request defect".split())

# The cause lies in this process or on this machine: another one may have the secret, the key or another release.
_LOCAL = frozenset("store secret certificate defect".split())

FAILURE_KINDS: dict[str, FailureKind] = {
    code: FailureKind(code in PERMANENT, MISTAKES[code].means, MISTAKES[code].remedy)
    for code in (*PERMANENT, *_TRANSIENT)
}


class Failure(msgspec.Struct, frozen=True):
    """The last of `count` failures in a row, `at` in epoch seconds. No new try starts before `until` (monotonic)."""

    code: str
    reason: str
    remedy: str
    permanent: bool
    count: int
    at: float
    until: float

    @property
    def is_temporary(self) -> bool:
        """Return whether the next try may succeed without a correction."""
        return not self.permanent and self.code not in _NEEDS_CORRECTION

    @property
    def is_local(self) -> bool:
        """Return whether another process may succeed now."""
        return self.code in _LOCAL

    def as_status(self) -> dict[str, object]:
        """Return the failure for `/status`: what was seen, what it means, what to do."""
        facts = {key: value for key, value in asdict(self).items() if key not in {"count", "until"}}
        kind = FAILURE_KINDS.get(self.code)
        return {"seen": self.reason, "means": kind.means if kind is not None else "", **facts}

    def to_json(self) -> str:
        """Encode the failure for sources that share the credential, without `until`: it is a local time."""
        return json.dumps({key: value for key, value in asdict(self).items() if key != "until"})


def next_failure(
    error: TokenRefused | TokenUnavailable,
    before: Failure | None,
    *,
    now: float,
    wall: float,
    random_fraction: float,
    name: str = "NAME",
) -> Failure:
    """Return the failure of the credential `name` that follows `before`, at `now` (monotonic) and `wall` (epoch);
    `random_fraction` in [0, 1).
    """
    permanent = isinstance(error, TokenRefused)
    count = 1 if before is None else before.count + 1
    wait = back_off_seconds(count, error.retry_after, permanent=permanent, random_fraction=random_fraction)
    return Failure(
        code=failure_code(error),
        reason=error.reason,
        remedy=failure_remedy(error, name),
        permanent=permanent,
        count=count,
        at=wall,
        until=now + wait,
    )


def failure_from_json(text: str, *, until: float) -> Failure | None:
    """Return the failure that another source encoded with `to_json`; None for any other text."""
    try:
        document = json.loads(text)
        code, reason, remedy = (str(document[key]) for key in ("code", "reason", "remedy"))
        permanent, count, at = bool(document["permanent"]), int(document["count"]), float(document["at"])
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
        return None
    return Failure(code, reason, remedy, permanent=permanent, count=max(1, count), at=at, until=until)


def failure_code(error: TokenRefused | TokenUnavailable) -> str:
    """Return the code at the start of the error's `reason`."""
    return error.reason.partition(":")[0]


def failure_remedy(error: TokenRefused | TokenUnavailable, name: str = "NAME") -> str:
    """Return the remedy, for the credential `name`."""
    kind = FAILURE_KINDS.get(failure_code(error))
    return kind.remedy.replace("NAME", name) if kind is not None else error.remedy


# Seconds: shortest wait, first ceiling, last ceiling; by whether the error is permanent.
_BACK_OFF = {False: (0.2, 1.0, 60.0), True: (30.0, 30.0, 300.0)}


def back_off_seconds(
    failures: int, retry_after: float | None = None, *, permanent: bool, random_fraction: float
) -> float:
    """Return the seconds until the next try after so many failures in a row: exponential with full jitter;
    `random_fraction` is in [0, 1).

    `Retry-After` is honoured up to five minutes, with up to a second of jitter, since all replicas get the same value.
    """
    least, first, last = _BACK_OFF[permanent]
    ceiling = min(last, first * 2.0 ** min(failures - 1, 20))
    wait = least + random_fraction * (ceiling - least)
    if retry_after is None:
        return wait
    return max(wait, min(retry_after, LONGEST_RETRY_AFTER) + random_fraction)
