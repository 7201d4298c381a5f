"""What a scope says of itself, and whether a token fits it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.diagnosis.credential_findings import diagnose_audience
from gateway.oic.scopes import find_region, remove_slash_before_urn, scope_error, scope_kind, scope_resources

HASH = "https://0123456789ABCDEF0123456789ABCDEF.integration.us-phoenix-1.ocp.oraclecloud.com"
TRIGGER = f"{HASH}:443urn:opc:resource:consumer::all"
DEVELOPER = f"{HASH}:443/ic/api/"


@pytest.mark.parametrize(
    ("audience_claim", "scope", "audiences"),
    [
        ("a trigger's scope", TRIGGER, [f"{HASH}:443"]),
        ("without the port", TRIGGER, [HASH]),
        ("with a slash at the end", TRIGGER, [f"{HASH}:443/"]),
        ("in another letter case", TRIGGER, [f"{HASH}:443".lower()]),
        ("a port that only the token names", f"{HASH}urn:opc:resource:consumer::all", [f"{HASH}:443"]),
        ("the developer API's scope", DEVELOPER, [f"{HASH}:443"]),
        ("the developer API's scope as audience", DEVELOPER, [DEVELOPER]),
        ("one of several audiences", TRIGGER, ["https://other", f"{HASH}:443"]),
        ("one of several scopes", f"urn:opc:resource:expiry=600 https://other:443urn:opc:x {TRIGGER}", [f"{HASH}:443"]),
        ("an audience that names a kind", TRIGGER, ["urn:opc:lbaas:logicalguid=x"]),
        ("no audience", TRIGGER, []),
        ("no scope", "", [f"{HASH}:443"]),
        ("a scope without a resource", "urn:opc:resource:consumer::all", [f"{HASH}:443"]),
    ],
)
def test_a_token_for_the_scope_s_resource_is_no_finding(audience_claim: str, scope: str, audiences: list[str]) -> None:
    assert diagnose_audience("app", scope, audiences) is None, audience_claim


@pytest.mark.parametrize(
    ("audience_claim", "scope", "audience"),
    [
        ("another instance", TRIGGER, HASH.replace("0123", "FFFF")),
        ("a host that only begins alike", TRIGGER, HASH[:-1]),
        ("a host that goes on", TRIGGER, f"{HASH}.evil"),
        ("another port", TRIGGER, f"{HASH}:8443"),
        ("another instance's developer API", DEVELOPER, HASH.replace("0123", "FFFF")),
    ],
)
def test_a_token_for_another_resource_is_a_finding(audience_claim: str, scope: str, audience: str) -> None:
    finding = diagnose_audience("app", scope, [audience])
    assert finding is not None, audience_claim
    assert (finding.ok, finding.subject, finding.code) == (False, "credential app", "audience-other")
    assert audience in finding.seen
    assert "urn:opc" not in finding.seen
    assert "Copy the scope" in finding.remedy


@pytest.mark.parametrize(
    ("scope", "expected"),
    [
        (TRIGGER, ""),
        (DEVELOPER, ""),
        (TRIGGER.lower(), ""),
        (f"{TRIGGER} offline_access urn:opc:resource:expiry=600", ""),
        ("urn:opc:resource:consumer::all", ""),
        (f"{HASH}:443/urn:opc:resource:consumer::all", "scope-slash"),
        (f"{TRIGGER} {HASH}:443/urn:opc:resource:consumer::all", "scope-slash"),
        (f"{TRIGGER} {DEVELOPER}", "scope-several"),
        (f"{TRIGGER} urn:opc:resource:consumer::all", "scope-several"),
        ("", "scope-form"),
        ("offline_access", "scope-form"),
        ("https://acme.integration.us-phoenix-1.ocp.oraclecloud.com:443urn:opc:resource:consumer::all", "scope-form"),
        (TRIGGER.replace(":443", ""), "scope-form"),
        (f"{HASH}:443", "scope-form"),
        ("urn:opc:idm:__myscopes__", "scope-form"),
    ],
)
def test_the_form_of_a_scope_shows_its_mistake(scope: str, expected: str) -> None:
    assert scope_error(scope) == expected


def test_a_slash_before_urn_can_be_taken_out() -> None:
    assert (
        remove_slash_before_urn(f"{HASH}:443//urn:opc:resource:consumer::all offline_access")
        == f"{TRIGGER} offline_access"
    )
    assert remove_slash_before_urn(DEVELOPER) == DEVELOPER


@pytest.mark.parametrize(
    ("scope", "expected"),
    [(TRIGGER, "trigger"), (DEVELOPER, "api"), (f"{TRIGGER} {DEVELOPER}", ""), ("x", ""), ("", "")],
)
def test_a_scope_opens_triggers_or_the_developer_api(scope: str, expected: str) -> None:
    assert scope_kind(scope) == expected


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        (TRIGGER, "us-phoenix-1"),
        ("https://acme.integration.eu-frankfurt-1.ocp.oraclecloud.com/ic/", "eu-frankfurt-1"),
        ("https://design.integration.us-ashburn-1.ocp.oraclecloud.com", "us-ashburn-1"),
        ("https://acme.integration.ocp.oraclecloud.com", ""),
        ("https://oic.example.com", ""),
    ],
)
def test_a_host_of_oic_3_names_its_region(url: str, expected: str) -> None:
    assert find_region(url) == expected


@given(st.text())
def test_any_text_is_read(scope: str) -> None:
    assert scope_error(scope) in {"", "scope-slash", "scope-several", "scope-form"}
    assert scope_error(remove_slash_before_urn(scope)) != "scope-slash"
    assert len(scope_resources(scope)) <= len(scope.split())
