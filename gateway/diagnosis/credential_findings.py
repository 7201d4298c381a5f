"""Judges what became of a credential: the way to its token endpoint, discovery, token or refusal, claims."""

import re
from collections.abc import Callable
from typing import Any

from gateway.content.foreign_text import read_url
from gateway.diagnosis.catalog import MISTAKES
from gateway.diagnosis.catalog.network_mistakes import NETWORK_MISTAKES
from gateway.diagnosis.clock_skew import compared, is_apart, is_late
from gateway.diagnosis.connections import code_of, diagnose_connection
from gateway.diagnosis.facts import CredentialProbe, Discovery
from gateway.diagnosis.finding import Finding, failed
from gateway.diagnosis.invalid_client import causes
from gateway.oic.scopes import scope_error, without_slash_before_urn

SHORT = 60.0
"""Seconds: a token that lives for less is renewed all the time."""

_FAILING = re.compile(r"\(5\d\d\)")  # how `oauth.grants` tells the status

# Refusals that say no more than that there was no way to the token endpoint.
_NO_WAY = frozenset((*NETWORK_MISTAKES, "waiting", "certificate"))

# The refusals that what is configured, or what else was seen, explains better.
_CLOSER: dict[str, Callable[[CredentialProbe], str]] = {
    "invalid_client": lambda asked: causes(asked)[0].code,
    "invalid_scope": lambda asked: scope_error(asked.shape.scope) or "invalid_scope",
    "invalid_grant": lambda asked: "clock-skew" if is_late(asked) else "invalid_grant",
    "redirect": lambda asked: _elsewhere(asked, "redirect"),
    "unreadable": lambda asked: _elsewhere(asked, "domain-failing" if _FAILING.search(asked.reason) else "unreadable"),
}


# What is told beside a refusal, by its row.
_MORE: dict[str, Callable[[CredentialProbe], str]] = {
    "scope-slash": lambda asked: (
        f"`scope` is {asked.shape.scope}, and would be {without_slash_before_urn(asked.shape.scope)}"
    ),
    **dict.fromkeys(
        ("invalid_scope", "scope-form", "scope-several"), lambda asked: f"`scope` is {asked.shape.scope or 'not said'}"
    ),
    "token-url": lambda asked: f"the token endpoint is {asked.discovery.token_endpoint}",
    "clock-skew": lambda asked: compared(asked.skew),
}


def diagnose_credential(asked: CredentialProbe) -> list[Finding]:
    """All that is to be said of a credential, in the order of the steps."""
    subject = f"credential {asked.shape.name}"
    code = asked.reason.partition(":")[0]
    if asked.contact.step and code in _NO_WAY:  # where a token came, the way is open, whatever the look at it says
        return [diagnose_connection(asked.contact, subject, seen=_one_way(asked))]
    way = [] if asked.contact.step else [diagnose_connection(asked.contact, subject)]
    found = _of_discovery(asked.discovery, subject)
    if asked.reason:
        return [*way, *found, diagnose_refusal(asked), *_of_clock(asked, but=asked.reason)]
    return [*way, *found, *_of_token(asked, subject), *_of_claims(asked, subject)]


def diagnose_refusal(asked: CredentialProbe) -> Finding:
    """What a refusal means, by its code and all that is known besides."""
    subject, code = f"credential {asked.shape.name}", asked.reason.partition(":")[0]
    closer = _CLOSER.get(code)
    row = code if closer is None else closer(asked)
    if code == "invalid_client":
        return _of_invalid_client(asked, row, subject)
    more = _MORE.get(row)
    seen = asked.reason if more is None else f"{asked.reason}; {more(asked)}"
    return failed(row if row in MISTAKES else "domain-failing", subject, seen, step="token")


def _of_invalid_client(asked: CredentialProbe, row: str, subject: str) -> Finding:
    """One answer, many causes: all are told, the most likely first."""
    listed = "; ".join(f"({number}) {cause.words(asked)}" for number, cause in enumerate(causes(asked), 1))
    means = f"The identity domain does not take this client with this proof. The likeliest cause first: {listed}."
    remedy = MISTAKES["invalid_client"].remedy
    if row != "invalid_client":
        remedy = f"{MISTAKES[row].remedy} {remedy}"
    return failed(row, subject, asked.reason, step="token", means=means, remedy=remedy)


def _of_discovery(found: Discovery, subject: str) -> list[Finding]:
    """Never a failure by itself: other servers than identity domains may publish nothing."""
    if not found.status:
        return []
    seen = f"no discovery document ({found.status})"
    if found.token_endpoint:
        seen = f"the token endpoint is {found.token_endpoint}"
    return [Finding(ok=True, subject=subject, seen=seen, step="discovery")]


def _of_token(asked: CredentialProbe, subject: str) -> list[Finding]:
    seen = f"a token that lives {asked.life:.0f} s"
    if asked.life < SHORT:
        return [failed("short-lived", subject, seen, step="token")]
    return [Finding(ok=True, subject=subject, seen=seen, step="token")]


def _of_claims(asked: CredentialProbe, subject: str) -> list[Finding]:
    claims, shape = asked.claims, asked.shape
    faults = [
        diagnose_audience(shape.name, shape.scope, audiences(claims)),
        _of_client(asked, subject),
        *_of_clock(asked),
    ]
    if bad := [finding for finding in faults if finding is not None]:
        return bad
    seen = f"for {', '.join(audiences(claims)) or 'no audience'}" if claims else "an opaque token: it says nothing"
    clocks = "" if asked.skew is None else f", {compared(asked.skew)}"
    return [Finding(ok=True, subject=subject, seen=f"{seen}{clocks}", step="claims")]


def _of_client(asked: CredentialProbe, subject: str) -> Finding | None:
    said = asked.claims.get("client_id")
    if not isinstance(said, str) or said == asked.shape.client_id:
        return None
    seen = f"the token is for client {said[:64]!a}, the configuration says {asked.shape.client_id}"
    return failed("client-other", subject, seen, step="claims")


def _of_clock(asked: CredentialProbe, *, but: str = "") -> list[Finding]:
    """Clocks that differ are a finding of their own, unless the refusal `but` was explained by them."""
    if not is_apart(asked) or (but and is_late(asked)):
        return []
    return [failed("clock-skew", f"credential {asked.shape.name}", compared(asked.skew), step="claims")]


def audiences(claims: Any) -> list[str]:
    """The claim `aud`, a string or a list of them (RFC 7519 §4.1.3), as a list."""
    said = claims.get("aud")
    return [item for item in (said if isinstance(said, list) else [said]) if isinstance(item, str)]


def _one_way(asked: CredentialProbe) -> str:
    """The refusal in its own words, and the step where the connection failed where those do not say it."""
    contact = asked.contact
    return asked.reason if code_of(contact) in asked.reason else f"{asked.reason}; {contact.step}: {contact.detail}"


def _elsewhere(asked: CredentialProbe, code: str) -> str:
    said = asked.discovery.token_endpoint
    return "token-url" if said and _bare(said) != _bare(asked.shape.token_url) else code


def _bare(url: str) -> str:
    """Without the port that everybody leaves out."""
    parts = read_url(url)
    return url if parts is None else f"{parts.authority.lower().removesuffix(':443')}{parts.path.rstrip('/')}"


def diagnose_audience(credential: str, scope: str, audiences: list[str]) -> Finding | None:
    """A token for none of the resources in its scope: OIC will answer 401. None where one fits or it cannot be told."""
    bases = [word.partition("urn:opc:")[0] for word in scope.split() if word.lower().startswith("http")]
    if not bases or not audiences or any(_is_audience_of(audience, bases) for audience in audiences):
        return None
    seen = f"the token is for {', '.join(audiences)}, the scope asks for {', '.join(bases)}"
    return failed("audience-other", f"credential {credential}", seen, step="claims")


def _is_audience_of(audience: str, bases: list[str]) -> bool:
    if not audience.lower().startswith("http"):  # `urn:…` names a kind of resource, not one
        return True
    bare = audience.rstrip("/").lower().removesuffix(":443")
    return any(f"{base.lower()}/".startswith((f"{bare}/", f"{bare}:443/")) for base in bases)
