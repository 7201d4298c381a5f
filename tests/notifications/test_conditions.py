"""What is worth a notification, from the states of credentials, services, callers and listeners."""

from typing import Any

from gateway.diagnosis.limit_findings import limit_problem
from gateway.diagnosis.service_findings import service_problem
from gateway.notifications.conditions import (
    Condition,
    ProcessReport,
    certificate_conditions,
    merge_reports,
    process_report,
    quota_conditions,
)
from gateway.notifications.notification import notification
from gateway.oauth.failures import Failure

NOW = 1_800_000_000.0
DAY = 86400.0


def status(code: str = "", *, permanent: bool = True, at: float = NOW, obtained: float | None = None) -> dict[str, Any]:
    failure = Failure(code, f"{code}: no", "Do it.", permanent=permanent, count=1, at=at, until=0)
    return {"last_error": failure.as_status() if code else None, "obtained": obtained}


def report(**credentials: dict[str, Any]) -> ProcessReport:
    return process_report(credentials, services={}, callers={}, listeners=[], now=NOW)


def test_only_failures_that_need_a_person_are_reported() -> None:
    found = report(
        a=status("sign-in"), b=status("invalid_client"), c=status("network", permanent=False), d=status()
    ).conditions
    assert [(one.event, one.name) for one in found] == [("sign-in-needed", "a"), ("token-refused", "b")]


def test_a_later_token_of_any_process_ends_a_failure() -> None:
    failed = report(a=status("invalid_client", at=NOW - 10))
    assert [one.at for one in merge_reports([failed, report(a=status("invalid_client", at=NOW))])] == [NOW]
    assert merge_reports([failed, report(a=status(obtained=NOW - 5))]) == []
    assert merge_reports([failed, report(a=status(obtained=NOW - 20))]) == [*failed.conditions]


def test_open_circuits_and_used_quotas_are_reported() -> None:
    problem = service_problem(failure="status 502", open_for=5, limit=None, configured_limit=None, waiting=0)
    services = {
        "acme": {"circuit": {"state": "half-open"}, "problem": problem},
        "busy": {"circuit": {"state": "closed"}, "problem": problem},
    }
    used = {"rate": None, "messages": None, "calls": {"used": 5, "limit": 5}, "problem": limit_problem("calls")}
    slowed = {"rate": {}, "messages": None, "calls": {"used": 1, "limit": 5}, "problem": limit_problem("rate")}
    found = process_report({}, services=services, callers={"erp": used, "lab": slowed}, listeners=[], now=NOW)
    assert [(one.event, one.name) for one in found.conditions] == [("breaker-open", "acme"), ("quota", "erp")]
    assert [*quota_conditions({"lab": slowed}, NOW)] == []


def test_a_certificate_is_reported_before_it_expires() -> None:
    def seen(left: float, problem: str | None = None) -> list[str]:
        listener = {"address": "0.0.0.0:8443", "certificate": {"expires_at": NOW + left, "problem": problem}}
        return [one.seen for one in certificate_conditions([listener, {"address": "127.0.0.1:80"}], NOW)]

    assert seen(20 * DAY) == []
    assert seen(10 * DAY) == ["the certificate expires in 10.0 days"]
    assert seen(-1) == ["the certificate has expired"]
    assert seen(20 * DAY, "no PEM") == ["the certificate cannot be read again: no PEM"]


def test_a_notification_is_text_without_markup_and_with_a_link() -> None:
    condition = Condition(
        "token-refused", "credential", "a b", "invalid_client", "<!channel> & \x1b[1m\nx", "Why.", "Do it.", NOW
    )
    document = notification(condition, gateway="gw", console_url="https://console/")
    assert document["url"] == "https://console/console/credentials/a%20b"
    assert document["text"].startswith(
        "OIC gateway gw: credential a b: the identity domain refuses it: &lt;!channel&gt;"
    )
    assert "\x1b" not in document["text"]
    assert document["text"].endswith(f"Why.\nDo it.\n{document['url']}")
    assert (document["credential"], document["event"], document["remedy"]) == ("a b", "token-refused", "Do it.")
    assert notification(condition, gateway="gw", console_url=None)["url"] is None
