"""What can go wrong when a token is asked for: one table by RFC 6749's `error` code, and how long to wait. Pure.

Permanent is what no second try will change before someone acts: loud, slowly tried again, with what to do. All else,
codes that are not in the table included, is transient: tried again soon, with full jitter, by the other's
`Retry-After`. The `reason` of an error begins with its code and a colon.
"""

import json
from dataclasses import asdict, dataclass
from typing import NamedTuple

from gateway.errors import TokenRefused, TokenUnavailable

LONGEST_RETRY_AFTER = 300.0


class Trouble(NamedTuple):
    """What a code means for the next try, and what an operator can do about it."""

    permanent: bool
    remedy: str


# RFC 6749 §5.2, §4.1.2.1, RFC 8707 §2, OpenID Connect Core §3.1.2.6; `several-resources` is ours.
_PERMANENT = {
    "invalid_client": "Compare client id and secret with the confidential application's General Information in the "
    "identity domain; see that the application is activated and that the secret has no blank or newline at its end.",
    "unauthorized_client": "Tick the credential's grant under Allowed Grant Types in the application's OAuth "
    "configuration, and see that the application is activated.",
    "unsupported_grant_type": "Tick the credential's grant under Allowed Grant Types; see that `token_url` ends in "
    "/oauth2/v1/token.",
    "invalid_scope": "Copy the scope from the application's Resources list: the primary audience of the right "
    "instance, then `urn:opc:resource:consumer::all` without a slash before `urn`, one resource only.",
    "several-resources": "Ask for one resource per credential, leaving `urn:opc:resource:multiresourcescope` out, or "
    "say in `resource` which of them is meant.",
    "invalid_target": "Compare the audience or resource parameter with the instance's primary audience.",
    "invalid_grant": "See that the application is activated, that the user, password, refresh token or key of the "
    "assertion still holds, and that this machine's clock is right.",
    "sign-in": "Run `oic-gateway login NAME` with the gateway's configuration; it goes on by itself then.",
    "invalid_request": "Compare `client_auth`, `scope` and `params` with what the identity domain expects.",
    "access_denied": "Grant the application the role ServiceInvoker (triggers) or ServiceDeveloper (developer API) on "
    "the instance, and look at the identity domain's sign-on and network policies.",
}

_TRANSIENT = {
    "limited": "Fewer token requests: share a credential between routes; look at the identity domain's limits (a Free "
    "domain takes 150 a minute).",
    "budget": "Fewer token requests: share a credential between routes; raise `budget` where the identity domain's "
    "limits allow it.",
    "redirect": "Set `token_url` to the identity domain's own address; a redirect is never followed with a secret.",
    "unreadable": "See that `token_url` ends in /oauth2/v1/token and that no proxy or firewall answers in its place.",
    "short-lived": "Ask the identity domain for a longer life; see that `urn:opc:resource:expiry` is not too short.",
    "store": "Bring back the store that `state` names; a refresh token is used only where its successor can be kept.",
    "superseded": "Nothing: the new one is used. If it goes on, see that no other gateway uses the same refresh token.",
    "turn": "Nothing: it is tried again. If it goes on, see what keeps this process from running.",
    "secret": "Mend the secret or key that the credential refers to; it is read anew at the next try.",
    "certificate": "Mend the files that `tls` names; they are read anew at the next try.",
    "tls-trust": "Set `tls.ca` to the authority that signed the certificate, such as that of a TLS inspecting proxy.",
    "tls": "See that `token_url` is an https address and its port speaks TLS.",
    "timeout": "See that the way to the identity domain is open; an egress proxy may be needed.",
    "dns": "See that the host name of `token_url` is right and resolves here; an egress proxy may be needed.",
    "proxy": "Look at the egress proxy: its address, its user and password, and whether it lets this host pass.",
    "connect": "See that the way to the identity domain is open; an egress proxy may be needed.",
}

TROUBLES: dict[str, Trouble] = {
    **{code: Trouble(permanent=True, remedy=remedy) for code, remedy in _PERMANENT.items()},
    **{code: Trouble(permanent=False, remedy=remedy) for code, remedy in _TRANSIENT.items()},
}
PERMANENT = frozenset(_PERMANENT)


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

    def told(self) -> dict[str, object]:
        """For people who look at `/status`."""
        return {key: value for key, value in asdict(self).items() if key not in {"count", "until"}}

    def written(self) -> str:
        """For others who share the credential; all but `until`, which is of this process's clock."""
        return json.dumps({key: value for key, value in asdict(self).items() if key != "until"})


def failed(
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


def read(text: str, *, until: float) -> Failure | None:
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
    trouble = TROUBLES.get(code_of(error))
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
