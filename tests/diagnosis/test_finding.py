from gateway.diagnosis import Finding, failed_finding, findings_document, skipped_finding
from gateway.diagnosis.catalog import MISTAKES
from gateway.diagnosis.finding import warning_finding


def test_a_finding_reads_well_at_a_terminal() -> None:
    assert Finding(ok=True, subject="upstream x", seen="reached").text() == "ok   upstream x: reached"
    failed = Finding(ok=False, subject="upstream x", seen="silence", remedy="Look.")
    assert failed.text() == "FAIL upstream x: silence\n     → Look."
    whole = Finding(ok=False, subject="upstream x", seen="silence", means="Nobody.", remedy="Look.")
    assert whole.text() == "FAIL upstream x: silence\n     → Nobody.\n     → Look."


def test_a_finding_shows_its_code_once() -> None:
    assert (
        failed_finding("allow-list", "route x", "GET answered 403").text().startswith("FAIL route x: allow-list: GET")
    )
    seen = "invalid_client: Client authentication failed"
    assert failed_finding("invalid_client", "credential x", seen).text().startswith(f"FAIL credential x: {seen}\n")
    assert (
        failed_finding("secret-blank", "credential x", seen)
        .text()
        .startswith(f"FAIL credential x: secret-blank: {seen}\n")
    )


def test_a_note_is_no_failure() -> None:
    finding = warning_finding("unknown-url", "route x", "404")
    assert (finding.ok, finding.is_warning) == (True, True)
    assert finding.text().startswith("note route x: unknown-url: 404\n     → ")
    assert not any(one.is_warning for one in (skipped_finding("route x", "no token"), failed_finding("dns", "c", "d")))


def test_a_mistake_is_described_by_its_row() -> None:
    finding = failed_finding("allow-list", "route x", "403", step="request")
    row = MISTAKES["allow-list"]
    assert (finding.ok, finding.code, finding.means, finding.remedy) == (False, "allow-list", row.means, row.remedy)
    assert (
        failed_finding("allow-list", "route x", "403", means="Other.", remedy="That.")
        .text()
        .endswith("→ Other.\n     → That.")
    )


def test_a_remedy_names_the_credential() -> None:
    assert "`oic-gateway login shop`" in failed_finding("sign-in", "credential shop", "sign-in: nobody").remedy
    assert "NAME-OF-THE-INSTANCE" in failed_finding("developer-instance", "route shop", "400").remedy


def test_what_was_left_out_is_no_failure() -> None:
    finding = skipped_finding("route x", "no token")
    assert finding.ok
    assert finding.text() == "skip route x: not tried: no token"


def test_the_document_has_one_shape() -> None:
    document = findings_document(
        [Finding(ok=True, subject="a", seen="b", step="token"), failed_finding("dns", "c", "d")]
    )
    assert document["ok"] is False
    assert document["findings"][0] == {
        "ok": True,
        "subject": "a",
        "step": "token",
        "code": "",
        "seen": "b",
        "means": "",
        "remedy": "",
    }
    assert document["findings"][1]["code"] == "dns"
    assert findings_document([]) == {"ok": True, "findings": []}
