"""Diagnose a credential: connection to the token endpoint, discovery, token or refusal, claims, clocks."""

import re
from collections.abc import Callable
from typing import Any, NamedTuple

from gateway.content.foreign_text import host_of, read_url
from gateway.diagnosis.catalog import MISTAKES
from gateway.diagnosis.catalog.network_mistakes import NETWORK_MISTAKES
from gateway.diagnosis.connections import code_of, diagnose_connection
from gateway.diagnosis.facts import CredentialProbe, Discovery
from gateway.diagnosis.finding import Finding, failed
from gateway.oic.scopes import scope_error, without_slash_before_urn

SKEW = 60.0
"""Tolerated difference of two clocks in seconds: identity servers allow about as much, and `Date` has whole seconds."""
SHORT = 60.0
"""Seconds: a token with a shorter lifetime is renewed all the time."""

_SIGNED = frozenset({"private_key_jwt", "tls"})
_FAILING = re.compile(r"\(5\d\d\)")  # the form of a status in the reasons of `oauth.grants`

# Reasons that only mean that the token endpoint cannot be reached.
_UNREACHABLE = frozenset((*NETWORK_MISTAKES, "waiting", "certificate"))

# Refusals for which the configuration or other facts give a more specific code.
_SPECIFIC_CODE: dict[str, Callable[[CredentialProbe], str]] = {
    "invalid_client": lambda asked: causes(asked)[0].code,
    "invalid_scope": lambda asked: scope_error(asked.shape.scope) or "invalid_scope",
    "invalid_grant": lambda asked: "clock-skew" if breaks_assertions(asked) else "invalid_grant",
    "redirect": lambda asked: _elsewhere(asked, "redirect"),
    "unreadable": lambda asked: _elsewhere(asked, "domain-failing" if _FAILING.search(asked.reason) else "unreadable"),
}


# Facts that are added to a refusal, by catalog code.
_DETAILS: dict[str, Callable[[CredentialProbe], str]] = {
    "scope-slash": lambda asked: (
        f"`scope` is {asked.shape.scope}, and should be {without_slash_before_urn(asked.shape.scope)}"
    ),
    **dict.fromkeys(
        ("invalid_scope", "scope-form", "scope-several"), lambda asked: f"`scope` is {asked.shape.scope or 'not set'}"
    ),
    "token-url": lambda asked: f"the token endpoint is {asked.discovery.token_endpoint}",
    "clock-skew": lambda asked: compare_clocks(asked.skew),
}


def diagnose_credential(asked: CredentialProbe) -> list[Finding]:
    """Return all findings about a credential, in the order of the steps."""
    subject = f"credential {asked.shape.name}"
    code = asked.reason.partition(":")[0]
    if asked.contact.step and code in _UNREACHABLE:  # a token proves that the connection works
        return [diagnose_connection(asked.contact, subject, seen=_connection_reason(asked))]
    connection = [] if asked.contact.step else [diagnose_connection(asked.contact, subject)]
    found = _of_discovery(asked.discovery, subject)
    if asked.reason:
        return [*connection, *found, diagnose_refusal(asked), *_of_clock(asked, but=asked.reason)]
    return [*connection, *found, *_of_token(asked, subject), *_of_claims(asked, subject)]


def diagnose_refusal(asked: CredentialProbe) -> Finding:
    """Return the finding for a refusal, by its code and the other facts."""
    subject, code = f"credential {asked.shape.name}", asked.reason.partition(":")[0]
    specify = _SPECIFIC_CODE.get(code)
    row = code if specify is None else specify(asked)
    if code == "invalid_client":
        return _of_invalid_client(asked, row, subject)
    details = _DETAILS.get(row)
    seen = asked.reason if details is None else f"{asked.reason}; {details(asked)}"
    return failed(row if row in MISTAKES else "domain-failing", subject, seen, step="token")


def _of_invalid_client(asked: CredentialProbe, row: str, subject: str) -> Finding:
    """Return one finding that lists all possible causes, the most likely first."""
    listed = "; ".join(f"({number}) {cause.describe(asked)}" for number, cause in enumerate(causes(asked), 1))
    means = f"The identity domain rejects this client or its secret. Causes, most likely first: {listed}."
    remedy = MISTAKES["invalid_client"].remedy
    if row != "invalid_client":
        remedy = f"{MISTAKES[row].remedy} {remedy}"
    return failed(row, subject, asked.reason, step="token", means=means, remedy=remedy)


def _of_discovery(found: Discovery, subject: str) -> list[Finding]:
    """Return the finding of discovery, never a failure: other authorization servers may publish no document."""
    if not found.status:
        return []
    seen = f"no discovery document ({found.status})"
    if found.token_endpoint:
        seen = f"the token endpoint is {found.token_endpoint}"
    return [Finding(ok=True, subject=subject, seen=seen, step="discovery")]


def _of_token(asked: CredentialProbe, subject: str) -> list[Finding]:
    seen = f"a token with a lifetime of {asked.life:.0f} s"
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
    seen = f"for {', '.join(audiences(claims)) or 'no audience'}" if claims else "an opaque token, no claims"
    clocks = "" if asked.skew is None else f", {compare_clocks(asked.skew)}"
    return [Finding(ok=True, subject=subject, seen=f"{seen}{clocks}", step="claims")]


def _of_client(asked: CredentialProbe, subject: str) -> Finding | None:
    client = asked.claims.get("client_id")
    if not isinstance(client, str) or client == asked.shape.client_id:
        return None
    seen = f"the token is for client {client[:64]!a}, the configuration has {asked.shape.client_id}"
    return failed("client-other", subject, seen, step="claims")


def _of_clock(asked: CredentialProbe, *, but: str = "") -> list[Finding]:
    """Return a finding if the clocks differ, unless they already explain the refusal `but`."""
    if not has_skew(asked) or (but and breaks_assertions(asked)):
        return []
    return [failed("clock-skew", f"credential {asked.shape.name}", compare_clocks(asked.skew), step="claims")]


def audiences(claims: Any) -> list[str]:
    """Return the claim `aud`, a string or a list of strings (RFC 7519 §4.1.3), as a list."""
    value = claims.get("aud")
    return [item for item in (value if isinstance(value, list) else [value]) if isinstance(item, str)]


def _connection_reason(asked: CredentialProbe) -> str:
    """Return the reason, with the failed step of the connection if the reason does not contain it."""
    contact = asked.contact
    return asked.reason if code_of(contact) in asked.reason else f"{asked.reason}; {contact.step}: {contact.detail}"


def _elsewhere(asked: CredentialProbe, code: str) -> str:
    endpoint = asked.discovery.token_endpoint
    return "token-url" if endpoint and _comparable(endpoint) != _comparable(asked.shape.token_url) else code


def _comparable(url: str) -> str:
    """Return the URL without a default port, for comparison."""
    parts = read_url(url)
    return url if parts is None else f"{parts.authority.lower().removesuffix(':443')}{parts.path.rstrip('/')}"


def diagnose_audience(credential: str, scope: str, audiences: list[str]) -> Finding | None:
    """Return a finding if the token is for none of the resources of its scope: OIC responds 401. Else None."""
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


def has_skew(asked: CredentialProbe) -> bool:
    """Return whether the clocks differ by more than `SKEW`."""
    return asked.skew is not None and abs(asked.skew) > SKEW


def breaks_assertions(asked: CredentialProbe) -> bool:
    """Return whether the clocks differ too much for an assertion that is signed here and checked there."""
    return has_skew(asked) and (asked.shape.client_auth == "private_key_jwt" or asked.shape.grant == "jwt_bearer")


def compare_clocks(skew: float | None) -> str:
    """Return the difference of the clocks as text."""
    if skew is None or abs(skew) < 2:
        return "the clocks agree"
    return f"the identity domain's clock is {abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} this machine's"


class Cause(NamedTuple):
    """A cause of `invalid_client`: how likely it is by the other facts (0: impossible), its text, its catalog code."""

    weight: Callable[[CredentialProbe], int]
    describe: Callable[[CredentialProbe], str]
    code: str = "invalid_client"


def causes(asked: CredentialProbe) -> list[Cause]:
    """Return the possible causes of `invalid_client`, the most likely first."""
    weighed = [(cause.weight(asked), cause) for cause in _CAUSES]
    return [cause for weight, cause in sorted(weighed, key=lambda pair: -pair[0]) if weight]


def _is_signed(asked: CredentialProbe) -> bool:
    return asked.shape.client_auth in _SIGNED


def _odd_secret(asked: CredentialProbe) -> str:
    return f"the configured secret {next(filter(None, asked.shape.doubts))}"


def _odd_id(asked: CredentialProbe) -> str:
    return f"the configured client id {asked.shape.client_id_doubt}"


def _wrong_secret(asked: CredentialProbe) -> str:
    several = " (all configured ones are rejected)" if len(asked.shape.doubts) > 1 else ""
    return f"the secret is not the application's, or was regenerated{several}"


def _other_domain(asked: CredentialProbe) -> str:
    return f"the application is in another identity domain than {host_of(asked.shape.token_url)}"


_CAUSES = (
    Cause(lambda asked: 9 * breaks_assertions(asked), lambda asked: compare_clocks(asked.skew), "clock-skew"),
    Cause(lambda asked: 8 * any(asked.shape.doubts), _odd_secret, "secret-blank"),
    Cause(lambda asked: 7 * bool(asked.shape.client_id_doubt), _odd_id, "client-id-shape"),
    Cause(lambda asked: 6 * _is_signed(asked), lambda _: "the key or certificate is not registered", "client-key"),
    Cause(lambda asked: 5 * (not _is_signed(asked)), _wrong_secret),
    # An application that is not active is more likely than two wrong secrets.
    Cause(lambda asked: 6 if len(asked.shape.doubts) > 1 else 4, lambda _: "the application is not activated"),
    Cause(lambda _: 3, lambda asked: f"client id {asked.shape.client_id} is of another application, or was deleted"),
    Cause(lambda _: 2, _other_domain),
    Cause(lambda asked: 1 * (not _is_signed(asked)), lambda _: "Client type is not Confidential"),
)
