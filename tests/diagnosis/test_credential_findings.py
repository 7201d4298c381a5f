"""What became of a credential, judged by all that is known of it."""

from typing import Any

import pytest

from gateway.diagnosis.credential_findings import diagnose_credential, diagnose_refusal, read_audiences
from gateway.diagnosis.facts import ConnectionProbe, CredentialConfig, CredentialProbe, Discovery
from gateway.diagnosis.finding import Finding

ORIGIN = "https://idcs-1.identity.oraclecloud.com:443"
TOKEN_URL = "https://idcs-1.identity.oraclecloud.com/oauth2/v1/token"
AUDIENCE = "https://0123456789ABCDEF0123456789ABCDEF.integration.us-phoenix-1.ocp.oraclecloud.com:443"
SCOPE = f"{AUDIENCE}urn:opc:resource:consumer::all"
REFUSED = "invalid_client: Client authentication failed"


def shape(**more: Any) -> CredentialConfig:
    settings = {
        "grant": "client_credentials",
        "client_auth": "basic",
        "client_id": "7f0e",
        "scope": SCOPE,
        "suspicious_secrets": ("",),
    }
    return CredentialConfig("app", token_url=TOKEN_URL, **(settings | more))


def probe(
    reason: str = "", *, contact: ConnectionProbe | None = None, skew: float | None = 0.0, **more: Any
) -> CredentialProbe:
    keys: dict[str, Any] = {"lifetime": 3600.0}
    keys |= {key: more.pop(key) for key in ("claims", "lifetime", "discovery") if key in more}
    return CredentialProbe(shape(**more), contact or ConnectionProbe(ORIGIN), reason=reason, skew=skew, **keys)


def bad(facts: CredentialProbe) -> list[Finding]:
    return [finding for finding in diagnose_credential(facts) if not finding.ok]


def means(facts: CredentialProbe) -> str:
    return diagnose_refusal(facts).means


def test_a_good_credential_is_good_in_every_step() -> None:
    claims = {"aud": AUDIENCE, "client_id": "7f0e"}
    findings = diagnose_credential(probe(claims=claims, discovery=Discovery(200, TOKEN_URL)))
    assert [finding.step for finding in findings] == ["connection", "discovery", "token", "claims"]
    assert all(finding.ok for finding in findings)
    assert findings[-1].seen == f"for {AUDIENCE}, the clocks agree"


def test_an_opaque_token_is_no_mistake() -> None:
    assert diagnose_credential(probe())[-1].seen == "an opaque token, no claims, the clocks agree"


def test_the_causes_of_invalid_client_stand_in_their_usual_order() -> None:
    text = means(probe(REFUSED))
    order = [
        "(1) the secret",
        "(2) the application is not activated",
        "(3) client id 7f0e",
        "(4) the application is in",
    ]
    assert [text.index(words) for words in order] == sorted(text.index(words) for words in order)
    assert "idcs-1.identity.oraclecloud.com" in text
    assert "Client type is not Confidential" in text
    assert diagnose_refusal(probe(REFUSED)).code == "invalid_client"


@pytest.mark.parametrize(
    ("code", "first", "more"),
    [
        (
            "secret-blank",
            "(1) the configured secret has white space",
            {"suspicious_secrets": ("", "has white space at an end")},
        ),
        ("client-id-shape", "(1) the configured client id is a URL", {"suspicious_client_id": "is a URL"}),
        ("client-key", "(1) the key or certificate", {"client_auth": "private_key_jwt", "suspicious_secrets": ()}),
        ("client-key", "(1) the key or certificate", {"client_auth": "tls", "suspicious_secrets": ()}),
        ("invalid_client", "(1) the application is not activated", {"suspicious_secrets": ("", "")}),
        ("clock-skew", "(1) the identity domain's clock is 90 s", {"client_auth": "private_key_jwt", "skew": 90.0}),
    ],
)
def test_what_else_is_known_changes_the_order(code: str, first: str, more: dict[str, Any]) -> None:
    finding = diagnose_refusal(probe(REFUSED, **more))
    assert finding.code == code
    assert f"first: {first}" in finding.means
    assert "the application is not activated" in finding.means, "no cause is left out"
    assert "choose Activate" in finding.remedy


def test_a_signed_client_has_no_secret_to_be_wrong() -> None:
    assert "the secret" not in means(probe(REFUSED, client_auth="private_key_jwt", suspicious_secrets=()))


def test_a_wrong_clock_is_a_separate_finding_for_a_secret() -> None:
    codes = [finding.code for finding in bad(probe(REFUSED, skew=-90.0))]
    assert codes == ["invalid_client", "clock-skew"]
    signed = probe("invalid_grant: Assertion expired", skew=-90.0, grant="jwt_bearer")
    assert [finding.code for finding in bad(signed)] == ["clock-skew"]
    assert "90 s behind this machine's" in bad(signed)[0].seen


@pytest.mark.parametrize("skew", [None, 0.0, 59.0, -59.0])
def test_clocks_that_differ_a_little_are_no_mistake(skew: float | None) -> None:
    assert bad(probe(skew=skew)) == []
    assert diagnose_refusal(probe("invalid_grant: no", skew=skew, grant="jwt_bearer")).code == "invalid_grant"


@pytest.mark.parametrize("code", ["unauthorized_client", "invalid_request", "sign-in", "limited", "secret", "budget"])
def test_other_refusals_are_explained_by_their_code(code: str) -> None:
    finding = diagnose_refusal(probe(f"{code}: x"))
    assert (finding.code, finding.seen, finding.step) == (code, f"{code}: x", "token")


def test_an_unknown_code_is_explained() -> None:
    assert diagnose_refusal(probe("slow_down: wait (503)")).code == "domain-failing"
    assert diagnose_refusal(probe("unreadable: the answer is not an OAuth one (503)")).code == "domain-failing"
    assert diagnose_refusal(probe("unreadable: the answer is not an OAuth one (200)")).code == "unreadable"


def test_a_missing_scope_is_named() -> None:
    assert diagnose_refusal(probe("invalid_scope: x", scope="")).seen == "invalid_scope: x; `scope` is not set"


def test_a_token_endpoint_that_is_elsewhere_is_named() -> None:
    other = Discovery(200, "https://idcs-1.identity.oraclecloud.com:443/oauth2/v2/token")
    finding = diagnose_refusal(probe("unreadable: no OAuth answer (404)", discovery=other))
    assert finding.code == "token-url"
    assert "/oauth2/v2/token" in finding.seen
    same = Discovery(200, TOKEN_URL.replace(".com", ".com:443"))
    assert diagnose_refusal(probe("unreadable: no OAuth answer (404)", discovery=same)).code == "unreadable"


def test_without_a_connection_nothing_else_is_reported() -> None:
    facts = probe("connect: no connection (X)", contact=ConnectionProbe(ORIGIN, "connect", "Connection refused"))
    [finding] = diagnose_credential(facts)
    assert (finding.code, finding.step, finding.seen) == ("connect", "connection", "connect: no connection (X)")
    proxied = ConnectionProbe(ORIGIN, "egress proxy", "the proxy answered 407", proxy="p:1")
    [finding] = diagnose_credential(probe("proxy: the egress proxy refuses the tunnel (X)", contact=proxied))
    assert finding.code == "proxy-login"
    assert finding.seen.endswith("(X); egress proxy: the proxy answered 407")


def test_an_unreadable_secret_is_reported_without_a_connection() -> None:
    facts = probe("secret: not there", contact=ConnectionProbe(ORIGIN, "connect", "Connection refused"))
    assert [finding.code for finding in bad(facts)] == ["secret"]


def test_a_token_proves_the_way() -> None:
    assert bad(probe(contact=ConnectionProbe(ORIGIN, "time", "no connection within 5 s"))) == []


@pytest.mark.parametrize(
    ("code", "facts"),
    [
        ("short-lived", probe(lifetime=59.0)),
        ("audience-other", probe(claims={"aud": ["https://other.example"]})),
        ("client-other", probe(claims={"aud": AUDIENCE, "client_id": "other"})),
        ("clock-skew", probe(skew=61.0)),
    ],
)
def test_a_token_that_is_no_good_is_a_finding(code: str, facts: CredentialProbe) -> None:
    assert [finding.code for finding in bad(facts)] == [code]


def test_a_stranger_s_claim_is_shown_safely() -> None:
    [finding] = bad(probe(claims={"client_id": "\x1b[31m" + "x" * 500}))
    assert "\x1b" not in finding.seen
    assert len(finding.seen) < 200


@pytest.mark.parametrize(
    ("claim", "expected"), [("a", ["a"]), (["a", "b"], ["a", "b"]), (["a", 7], ["a"]), (None, []), (7, []), ({}, [])]
)
def test_an_audience_is_a_string_or_a_list(claim: object, expected: list[str]) -> None:
    assert read_audiences({"aud": claim}) == expected
