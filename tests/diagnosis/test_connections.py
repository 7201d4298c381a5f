"""A connection that failed is explained by the step that failed, and by the certificate that was shown."""

import pytest
from msgspec.structs import replace

from gateway.diagnosis.catalog import MISTAKES
from gateway.diagnosis.connections import connection_failure_code, diagnose_connection, dial_failure_code
from gateway.diagnosis.facts import ConnectionProbe, ServerCertificate

ORIGIN = "https://acme.integration.us-phoenix-1.ocp.oraclecloud.com:443"
GOOD = ServerCertificate("oic", "DigiCert", ("a.example", "b.example"), not_before=1e9, not_after=2e9)
NOW = 1.5e9


def contact(
    step: str = "", detail: str = "", origin: str = "https://oic.example:443", **more: object
) -> ConnectionProbe:
    return ConnectionProbe(origin, step, detail, now=NOW, **more)  # type: ignore[arg-type] # each test says what it means


@pytest.mark.parametrize(
    ("code", "seen"),
    [
        ("dns", contact("name", "Name or service not known")),
        ("connect", contact("connect", "Connection refused")),
        ("timeout", contact("time", "no connection within 5 s")),
        ("certificate", contact("files", "not there")),
        ("proxy", contact("egress proxy", "name: Name or service not known", proxy="proxy:3128")),
        ("proxy", contact("egress proxy", "connect: Connection refused", proxy="proxy:3128")),
        ("proxy", contact("egress proxy", "the proxy answered 403", proxy="proxy:3128")),
        ("proxy-login", contact("egress proxy", "the proxy answered 407", proxy="proxy:3128")),
        ("tls", contact("TLS", "WRONG_VERSION_NUMBER")),
        ("tls", contact("TLS", "WRONG_VERSION_NUMBER", proxy="proxy:3128")),
        ("tls-trust", contact("TLS", "not trusted", verify_error=20, certificate=GOOD)),
        ("tls-trust", contact("TLS", "not trusted", verify_error=20)),
        ("tls-trust", contact("TLS", "not trusted", verify_error=20, origin=ORIGIN, certificate=GOOD)),
        (
            "tls-inspection",
            contact("TLS", "x", verify_error=20, origin=ORIGIN, certificate=ServerCertificate("x", "ACME Root")),
        ),
        ("tls-inspection", contact("TLS", "x", verify_error=19, certificate=ServerCertificate("x", "Zscaler Root CA"))),
        (
            "tls-inspection",
            contact("TLS", "x", verify_error=19, certificate=ServerCertificate("x", "ACME Corp Firewall")),
        ),
        ("tls-expired", contact("TLS", "x", verify_error=10, certificate=GOOD)),
        ("tls-expired", contact("TLS", "x", verify_error=9, certificate=GOOD)),
        ("tls-name", contact("TLS", "x", verify_error=62, certificate=GOOD)),
        ("tls-name", contact("TLS", "x", verify_error=64, certificate=GOOD)),
        ("network", contact("something", "else")),
    ],
)
def test_each_step_has_its_explanation(code: str, seen: ConnectionProbe) -> None:
    finding = diagnose_connection(seen, f"upstream {seen.origin}")
    assert (finding.ok, finding.code, finding.step) == (False, code, "connection")
    assert connection_failure_code(seen) == code
    assert finding.seen.startswith(f"{seen.origin}: {seen.step}: {seen.detail}")


def test_a_failure_behind_an_egress_proxy_names_it() -> None:
    seen = diagnose_connection(contact("time", "no connection within 5 s", proxy="proxy:3128"), "upstream x").seen
    assert seen.endswith("(through the egress proxy proxy:3128)")


@pytest.mark.parametrize(("begins", "ends", "both"), [(0.0, 9.0, True), (20.0, 30.0, True), (0.0, 30.0, False)])
def test_an_untrusted_expired_certificate_has_both_findings(begins: float, ends: float, *, both: bool) -> None:
    shown = ServerCertificate("x", "Somebody", not_before=begins, not_after=ends)
    finding = diagnose_connection(
        replace(contact("TLS", "x", verify_error=20, certificate=shown), now=10.0), "upstream x"
    )
    assert finding.code == "tls-trust"
    assert (MISTAKES["tls-expired"].means in finding.means) is both
    assert (MISTAKES["tls-expired"].remedy in finding.remedy) is both
    assert MISTAKES["tls-trust"].remedy in finding.remedy


def test_what_is_known_of_a_good_connection_is_shown() -> None:
    good = contact(tls_version="TLSv1.3", proxy="proxy:3128", certificate=GOOD)
    assert diagnose_connection(good, "credential app").seen == (
        "https://oic.example:443 reached by TLSv1.3, through the egress proxy proxy:3128; certificate of oic for "
        "a.example, b.example, issued by DigiCert, until 2033-05-18 03:33 UTC"
    )
    assert (
        diagnose_connection(contact(), "upstream https://oic.example:443").text()
        == "ok   upstream https://oic.example:443: reached"
    )


@pytest.mark.parametrize(
    ("begins", "ends", "words"), [(0, 1, "expired on 1970-01-01"), (2e9, 3e9, "not valid before 2033")]
)
def test_a_certificate_outside_its_validity_is_named(begins: float, ends: float, words: str) -> None:
    seen = contact(
        "TLS", "x", verify_error=10, certificate=ServerCertificate("a", "b", not_before=begins, not_after=ends)
    )
    assert words in diagnose_connection(seen, "upstream x").seen


def test_of_many_names_a_few_are_shown() -> None:
    many = ServerCertificate("a", "b", tuple(f"n{number}" for number in range(100)), not_after=2e9)
    assert "for n0, n1, n2, n3 …," in diagnose_connection(contact(certificate=many), "upstream x").seen


@pytest.mark.parametrize("origin", ["https://acme.example:443", "https://connect.name:443"])
@pytest.mark.parametrize(
    ("reason", "code"),
    [
        ("name: Name or service not known", "dns"),
        ("TLS: the certificate is not trusted: self-signed certificate", "tls-trust"),
        ("TLS: the certificate is not trusted: certificate has expired", "tls-expired"),
        ("TLS: the certificate is not trusted: Hostname mismatch, certificate is not valid for 'x'.", "tls-name"),
        ("TLS: WRONG_VERSION_NUMBER", "tls"),
        ("egress proxy: the proxy answered 407", "proxy-login"),
        ("egress proxy: the proxy answered 502", "proxy"),
        ("no connection within 5 s", "timeout"),
        ("connect: Connection refused", "connect"),
        ("the connection closed as soon as it was made", "network"),
    ],
)
def test_a_reason_alone_is_explained_by_its_step(origin: str, reason: str, code: str) -> None:
    assert dial_failure_code(f"{origin}: {reason}") == code
