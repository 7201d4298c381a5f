"""Diagnose a credential: connection to the token endpoint, discovery, token or refusal, claims, clocks."""

import re
from collections.abc import Callable
from typing import Any, NamedTuple

from gateway.content.untrusted_text import read_host, read_origin, read_url
from gateway.diagnosis.catalog import MISTAKES
from gateway.diagnosis.catalog.network_mistakes import NETWORK_MISTAKES
from gateway.diagnosis.connections import connection_failure_code, diagnose_connection
from gateway.diagnosis.facts import CredentialProbe, Discovery
from gateway.diagnosis.finding import Finding, failed_finding
from gateway.oic.scopes import remove_slash_before_urn, scope_error

MAX_CLOCK_SKEW = 60.0
"""Tolerated difference of two clocks in seconds: identity servers allow about as much, and `Date` has whole seconds."""
MIN_TOKEN_LIFETIME = 60.0
"""Seconds: a token with a shorter lifetime is renewed all the time."""

_SIGNED = frozenset({"private_key_jwt", "tls"})
_SERVER_ERROR = re.compile(r"\(5\d\d\)")  # the form of a status in the reasons of `oauth.grants`

# Reasons that only mean that the token endpoint cannot be reached.
_UNREACHABLE = frozenset((*NETWORK_MISTAKES, "waiting", "certificate"))

# Refusals for which the configuration or other facts give a more specific code.
_SPECIFIC_CODE: dict[str, Callable[[CredentialProbe], str]] = {
    "invalid_client": lambda probe: rank_causes(probe)[0].code,
    "invalid_scope": lambda probe: scope_error(probe.config.scope) or "invalid_scope",
    "invalid_grant": lambda probe: "clock-skew" if breaks_assertions(probe) else "invalid_grant",
    "redirect": lambda probe: _token_url_code(probe, "redirect"),
    "unreadable": lambda probe: _token_url_code(
        probe, "domain-failing" if _SERVER_ERROR.search(probe.reason) else "unreadable"
    ),
}


# Facts that are added to a refusal, by catalog code.
_DETAILS: dict[str, Callable[[CredentialProbe], str]] = {
    "scope-slash": lambda probe: (
        f"`scope` is {probe.config.scope}, and should be {remove_slash_before_urn(probe.config.scope)}"
    ),
    **dict.fromkeys(
        ("invalid_scope", "scope-form", "scope-several"), lambda probe: f"`scope` is {probe.config.scope or 'not set'}"
    ),
    "token-url": lambda probe: f"the token endpoint is {probe.discovery.token_endpoint}",
    "clock-skew": lambda probe: compare_clocks(probe.skew),
}


def diagnose_credential(probe: CredentialProbe) -> list[Finding]:
    """Return all findings about a credential, in the order of the steps."""
    subject = f"credential {probe.config.name}"
    code = probe.reason.partition(":")[0]
    if probe.connection.step and code in _UNREACHABLE:  # a token proves that the connection works
        return [diagnose_connection(probe.connection, subject, seen=_connection_reason(probe))]
    connection = [] if probe.connection.step else [diagnose_connection(probe.connection, subject)]
    found = _diagnose_discovery(probe.discovery, subject)
    if probe.reason:
        return [*connection, *found, diagnose_refusal(probe), *_diagnose_clock(probe, refusal=probe.reason)]
    return [*connection, *found, *_diagnose_token(probe, subject), *_diagnose_claims(probe, subject)]


def diagnose_refusal(probe: CredentialProbe) -> Finding:
    """Return the finding for a refusal, by its code and the other facts."""
    subject, code = f"credential {probe.config.name}", probe.reason.partition(":")[0]
    specify = _SPECIFIC_CODE.get(code)
    entry = code if specify is None else specify(probe)
    if code == "invalid_client":
        return _diagnose_invalid_client(probe, entry, subject)
    details = _DETAILS.get(entry)
    seen = probe.reason if details is None else f"{probe.reason}; {details(probe)}"
    return failed_finding(entry if entry in MISTAKES else "domain-failing", subject, seen, step="token")


def _diagnose_invalid_client(probe: CredentialProbe, code: str, subject: str) -> Finding:
    """Return one finding that lists all possible causes, the most likely first."""
    listed = "; ".join(f"({number}) {cause.describe(probe)}" for number, cause in enumerate(rank_causes(probe), 1))
    means = f"The identity domain rejects this client or its secret. Causes, most likely first: {listed}."
    remedy = MISTAKES["invalid_client"].remedy
    if code != "invalid_client":
        remedy = f"{MISTAKES[code].remedy} {remedy}"
    return failed_finding(code, subject, probe.reason, step="token", means=means, remedy=remedy)


def _diagnose_discovery(found: Discovery, subject: str) -> list[Finding]:
    """Return the finding of discovery, never a failure: other authorization servers may publish no document."""
    if not found.status:
        return []
    seen = f"no discovery document ({found.status})"
    if found.token_endpoint:
        seen = f"the token endpoint is {found.token_endpoint}"
    return [Finding(ok=True, subject=subject, seen=seen, step="discovery")]


def _diagnose_token(probe: CredentialProbe, subject: str) -> list[Finding]:
    seen = f"a token with a lifetime of {probe.lifetime:.0f} s"
    if probe.lifetime < MIN_TOKEN_LIFETIME:
        return [failed_finding("short-lived", subject, seen, step="token")]
    return [Finding(ok=True, subject=subject, seen=seen, step="token")]


def _diagnose_claims(probe: CredentialProbe, subject: str) -> list[Finding]:
    claims, config = probe.claims, probe.config
    findings = [
        diagnose_audience(config.name, config.scope, read_audiences(claims)),
        _diagnose_client(probe, subject),
        *_diagnose_clock(probe),
    ]
    if failures := [finding for finding in findings if finding is not None]:
        return failures
    seen = f"for {', '.join(read_audiences(claims)) or 'no audience'}" if claims else "an opaque token, no claims"
    clocks = "" if probe.skew is None else f", {compare_clocks(probe.skew)}"
    return [Finding(ok=True, subject=subject, seen=f"{seen}{clocks}", step="claims")]


def _diagnose_client(probe: CredentialProbe, subject: str) -> Finding | None:
    client = probe.claims.get("client_id")
    if not isinstance(client, str) or client == probe.config.client_id:
        return None
    seen = f"the token is for client {client[:64]!a}, the configuration has {probe.config.client_id}"
    return failed_finding("client-other", subject, seen, step="claims")


def _diagnose_clock(probe: CredentialProbe, *, refusal: str = "") -> list[Finding]:
    """Return a finding if the clocks differ, unless they already explain the `refusal`."""
    if not has_skew(probe) or (refusal and breaks_assertions(probe)):
        return []
    return [failed_finding("clock-skew", f"credential {probe.config.name}", compare_clocks(probe.skew), step="claims")]


def read_audiences(claims: Any) -> list[str]:
    """Return the claim `aud`, a string or a list of strings (RFC 7519 §4.1.3), as a list."""
    value = claims.get("aud")
    return [item for item in (value if isinstance(value, list) else [value]) if isinstance(item, str)]


def _connection_reason(probe: CredentialProbe) -> str:
    """Return the reason, with the failed step of the connection if the reason does not contain it."""
    connection = probe.connection
    return (
        probe.reason
        if connection_failure_code(connection) in probe.reason
        else f"{probe.reason}; {connection.step}: {connection.detail}"
    )


def _token_url_code(probe: CredentialProbe, code: str) -> str:
    endpoint = probe.discovery.token_endpoint
    return "token-url" if endpoint and _normalize_url(endpoint) != _normalize_url(probe.config.token_url) else code


def _normalize_url(url: str) -> str:
    """Return origin and path of the URL, for comparison."""
    parts, origin = read_url(url), read_origin(url)
    return url if parts is None or origin is None else f"{origin}{parts.path.rstrip('/')}"


def diagnose_audience(credential: str, scope: str, audiences: list[str]) -> Finding | None:
    """Return a finding if the token is for none of the resources of its scope: OIC responds 401. Else None."""
    bases = [word.partition("urn:opc:")[0] for word in scope.split() if word.lower().startswith("http")]
    if not bases or not audiences or any(_is_audience_of(audience, bases) for audience in audiences):
        return None
    seen = f"the token is for {', '.join(audiences)}, the scope asks for {', '.join(bases)}"
    return failed_finding("audience-other", f"credential {credential}", seen, step="claims")


def _is_audience_of(audience: str, bases: list[str]) -> bool:
    if not audience.lower().startswith("http"):  # `urn:…` names a kind of resource, not one
        return True
    bare = audience.rstrip("/").lower().removesuffix(":443")
    return any(f"{base.lower()}/".startswith((f"{bare}/", f"{bare}:443/")) for base in bases)


def has_skew(probe: CredentialProbe) -> bool:
    """Return whether the clocks differ by more than `MAX_CLOCK_SKEW`."""
    return probe.skew is not None and abs(probe.skew) > MAX_CLOCK_SKEW


def breaks_assertions(probe: CredentialProbe) -> bool:
    """Return whether the clocks differ too much for an assertion that is signed here and checked there."""
    return has_skew(probe) and (probe.config.client_auth == "private_key_jwt" or probe.config.grant == "jwt_bearer")


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


def rank_causes(probe: CredentialProbe) -> list[Cause]:
    """Return the possible causes of `invalid_client`, the most likely first."""
    weighed = [(cause.weight(probe), cause) for cause in _CAUSES]
    return [cause for weight, cause in sorted(weighed, key=lambda pair: -pair[0]) if weight]


def _is_signed(probe: CredentialProbe) -> bool:
    return probe.config.client_auth in _SIGNED


def _describe_suspicious_secret(probe: CredentialProbe) -> str:
    return f"the configured secret {next(filter(None, probe.config.suspicious_secrets))}"


def _describe_suspicious_client_id(probe: CredentialProbe) -> str:
    return f"the configured client id {probe.config.suspicious_client_id}"


def _describe_wrong_secret(probe: CredentialProbe) -> str:
    several = " (all configured ones are rejected)" if len(probe.config.suspicious_secrets) > 1 else ""
    return f"the secret is not the application's, or was regenerated{several}"


def _describe_other_domain(probe: CredentialProbe) -> str:
    return f"the application is in another identity domain than {read_host(probe.config.token_url)}"


_CAUSES = (
    Cause(lambda probe: 9 * breaks_assertions(probe), lambda probe: compare_clocks(probe.skew), "clock-skew"),
    Cause(lambda probe: 8 * any(probe.config.suspicious_secrets), _describe_suspicious_secret, "secret-blank"),
    Cause(lambda probe: 7 * bool(probe.config.suspicious_client_id), _describe_suspicious_client_id, "client-id-shape"),
    Cause(lambda probe: 6 * _is_signed(probe), lambda _: "the key or certificate is not registered", "client-key"),
    Cause(lambda probe: 5 * (not _is_signed(probe)), _describe_wrong_secret),
    # An application that is not active is more likely than two wrong secrets.
    Cause(
        lambda probe: 6 if len(probe.config.suspicious_secrets) > 1 else 4, lambda _: "the application is not activated"
    ),
    Cause(lambda _: 3, lambda probe: f"client id {probe.config.client_id} is of another application, or was deleted"),
    Cause(lambda _: 2, _describe_other_domain),
    Cause(lambda probe: 1 * (not _is_signed(probe)), lambda _: "Client type is not Confidential"),
)
