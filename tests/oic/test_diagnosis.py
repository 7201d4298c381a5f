"""Set-up mistakes: what was seen is told, and what to do."""

import pytest

from gateway.oic.diagnosis import Finding, of_audience, of_connection

HASH = "https://0123456789ABCDEF.integration.us-phoenix-1.ocp.oraclecloud.com"
TRIGGER = f"{HASH}:443urn:opc:resource:consumer::all"
DEVELOPER = f"{HASH}:443/ic/api/"


@pytest.mark.parametrize(
    ("reason", "word"),
    [
        ("name: Name or service not known", "DNS"),
        ("TLS: the certificate is not trusted: self-signed certificate", "inspection"),
        ("TLS: WRONG_VERSION_NUMBER", "https against http"),
        ("egress proxy: the proxy answered 407", "tunnel"),
        ("no connection within 5 s", "firewall"),
        ("connect: Connection refused", "allow-list"),
        ("something else", "way from this host"),
    ],
)
@pytest.mark.parametrize("origin", ["https://acme.example:443", "https://connect.name:443"])
def test_a_failed_connection_is_explained_by_its_step(origin: str, reason: str, word: str) -> None:
    finding = of_connection(origin, f"{origin}: {reason}")
    assert (finding.ok, finding.subject, finding.seen) == (False, f"upstream {origin}", f"{origin}: {reason}")
    assert word in finding.remedy


@pytest.mark.parametrize(
    ("says", "scope", "audiences"),
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
def test_a_token_for_the_scope_s_resource_is_no_finding(says: str, scope: str, audiences: list[str]) -> None:
    assert of_audience("app", scope, audiences) is None, says


@pytest.mark.parametrize(
    ("says", "scope", "audience"),
    [
        ("another instance", TRIGGER, HASH.replace("0123", "FFFF")),
        ("a host that only begins alike", TRIGGER, HASH[:-1]),
        ("a host that goes on", TRIGGER, f"{HASH}.evil"),
        ("another port", TRIGGER, f"{HASH}:8443"),
        ("another instance's developer API", DEVELOPER, HASH.replace("0123", "FFFF")),
    ],
)
def test_a_token_for_another_resource_is_a_finding(says: str, scope: str, audience: str) -> None:
    finding = of_audience("app", scope, [audience])
    assert finding is not None, says
    assert (finding.ok, finding.subject) == (False, "credential app")
    assert audience in finding.seen
    assert "urn:opc" not in finding.seen
    assert "Copy the scope" in finding.remedy


def test_a_finding_reads_well_at_a_terminal() -> None:
    assert Finding(ok=True, subject="upstream x", seen="reached").text() == "ok   upstream x: reached"
    failed = Finding(ok=False, subject="upstream x", seen="silence", remedy="Look.")
    assert failed.text() == "FAIL upstream x: silence\n     → Look."
