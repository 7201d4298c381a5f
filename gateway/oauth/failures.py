"""What can go wrong when a token is asked for: what RFC 6749's `error` code decides, and how long to wait. Pure.

Permanent is what no second try will change before someone acts: loud, slowly tried again, with what to do. All else,
codes that are not in the table included, is transient: tried again soon, with full jitter, by the other's
`Retry-After`. The `reason` of an error begins with its code and a colon.
"""

import json
from dataclasses import asdict, dataclass
from typing import NamedTuple

from gateway.diagnosis.catalog import MISTAKES
from gateway.errors import TokenRefused, TokenUnavailable

LONGEST_RETRY_AFTER = 300.0


class FailureKind(NamedTuple):
    """What a code means for the next try and for an operator, and what that one can do about it."""

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

# No refusal of the identity domain, but not over within seconds either: someone must mend something on this side.
_LASTING = frozenset("redirect token-type short-lived secret certificate tls-trust url request defect".split())

FAILURE_KINDS: dict[str, FailureKind] = {
    code: FailureKind(code in PERMANENT, MISTAKES[code].means, MISTAKES[code].remedy)
    for code in (*PERMANENT, *_TRANSIENT)
}


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

    @property
    def may_pass(self) -> bool:
        """Whether the next try may succeed without anybody's doing."""
        return not self.permanent and self.code not in _LASTING

    def as_status(self) -> dict[str, object]:
        """For people who look at `/status`: what was seen → what it means → what to do."""
        told = {key: value for key, value in asdict(self).items() if key not in {"count", "until"}}
        trouble = FAILURE_KINDS.get(self.code)
        return {"seen": self.reason, "means": trouble.means if trouble is not None else "", **told}

    def to_json(self) -> str:
        """For others who share the credential; all but `until`, which is of this process's clock."""
        return json.dumps({key: value for key, value in asdict(self).items() if key != "until"})


def next_failure(
    error: TokenRefused | TokenUnavailable,
    before: Failure | None,
    *,
    now: float,
    wall: float,
    luck: float,
    name: str = "NAME",
) -> Failure:
    """The failure of the credential `name` that follows `before`, at `now` (monotonic) and `wall` (epoch); `luck` in
    [0, 1).
    """
    permanent = isinstance(error, TokenRefused)
    count = 1 if before is None else before.count + 1
    wait = next_try(count, error.retry_after, permanent=permanent, luck=luck)
    return Failure(
        code=code_of(error),
        reason=error.reason,
        remedy=remedy_for(error, name),
        permanent=permanent,
        count=count,
        at=wall,
        until=now + wait,
    )


def from_json(text: str, *, until: float) -> Failure | None:
    """The failure that another has `written`; None where it cannot be read, whoever wrote it."""
    try:
        document = json.loads(text)
        code, reason, remedy = (str(document[key]) for key in ("code", "reason", "remedy"))
        permanent, count, at = bool(document["permanent"]), int(document["count"]), float(document["at"])
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
        return None
    return Failure(code, reason, remedy, permanent=permanent, count=max(1, count), at=at, until=until)


def code_of(error: TokenRefused | TokenUnavailable) -> str:
    """The code at the beginning of the error's `reason`."""
    return error.reason.partition(":")[0]


def remedy_for(error: TokenRefused | TokenUnavailable, name: str = "NAME") -> str:
    """What an operator can do about it, for the credential `name`."""
    trouble = FAILURE_KINDS.get(code_of(error))
    return trouble.remedy.replace("NAME", name) if trouble is not None else error.remedy


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
