"""What ails a route, from its first failure to its first success."""

import pytest

from gateway.diagnosis.catalog import MISTAKES
from gateway.diagnosis.finding import Finding, failed_finding
from gateway.diagnosis.route_health import RouteHealth

HASH = "https://0123456789ABCDEF0123456789ABCDEF.integration.us-phoenix-1.ocp.oraclecloud.com:443"
UPSTREAM = "https://acme.integration.us-phoenix-1.ocp.oraclecloud.com/ic/"
SCOPE = f"{HASH}urn:opc:resource:consumer::all"
FLOWS, API = "/ic/api/integration/v1/flows/rest", "/ic/api/integration/v1"
REST = f"{FLOWS}/ORDERS/1.0/items"


def answered(
    status: int, target: str = REST, *fields: bytes, has_instance_id: bool = False, scope: str = SCOPE
) -> RouteHealth:
    health = RouteHealth(UPSTREAM, scope)
    health.record_response(status, has_instance_id=has_instance_id, at=1.0, target=target, lines=fields)
    return health


def code_of(health: RouteHealth) -> object:
    status_entry = health.as_status()
    return status_entry and status_entry["code"]


def test_a_route_begins_without_trouble() -> None:
    health = RouteHealth()
    assert (health.as_status(), health.has_problem) == (None, False)


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (403, "role-or-allow-list"),
        (415, "media-type"),
        (429, "limited-upstream"),
        (500, "upstream-failing"),
        (503, "upstream-failing"),
    ],
)
def test_a_refusal_is_a_trouble_but_a_flow_s_own_answer_is_none(status: int, code: str) -> None:
    status_entry = answered(status).as_status()
    assert status_entry is not None
    assert status_entry == {
        "code": code,
        "seen": f"the upstream responds {status} without an instance id",
        "means": MISTAKES[code].means,
        "remedy": MISTAKES[code].remedy,
        "count": 1,
        "since": 1.0,
        "at": 1.0,
    }
    assert answered(status, has_instance_id=True).as_status() is None


INVALID = b'WWW-Authenticate: Bearer error="invalid_token"'


@pytest.mark.parametrize(
    ("code", "health"),
    [
        ("redirected", answered(301)),
        ("console-url", answered(302, REST, b"Location: https://idcs.example/oauth2/v1/authorize?x=y")),
        ("developer-host", answered(307, f"{API}/integrations")),
        ("role-missing", answered(401)),
        ("other-instance", answered(401, REST, INVALID)),
        ("other-instance", answered(401, scope=SCOPE.replace("phoenix", "ashburn"))),
        ("scope-kind", answered(401, scope=f"{HASH}/ic/api/")),
        ("scope-kind", answered(401, f"{API}/integrations")),
        ("refused", answered(401, "/elsewhere")),
        ("refused", answered(403, "/elsewhere")),
        ("not-found", answered(404)),
        ("not-found", answered(404, f"{FLOWS}/ORDERS/2.0/")),
        ("not-found", answered(404, "/elsewhere")),
        ("wrong-version", answered(404, f"{FLOWS}/ORDERS/01.00.0000/")),
        ("version-missing", answered(404, f"{FLOWS}/ORDERS/")),
        ("version-missing", answered(404, "/ic/ws/integration/v1/flows/soap/HELLO/")),
        ("project-url", answered(404, f"{FLOWS}/project/P/ORDERS/1.0/")),
        ("developer-instance", answered(400, f"{API}/integrations?limit=1")),
        (None, answered(400, f"{API}/integrations?integrationInstance=acme")),
    ],
)
def test_an_answer_is_judged_as_the_check_does_it(code: str | None, health: RouteHealth) -> None:
    assert code_of(health) == code


@pytest.mark.parametrize("health", [answered(403), answered(404), RouteHealth()])
def test_facts_that_need_a_probe_are_open(health: RouteHealth) -> None:
    if not health.has_problem:
        health.record_failure("upstream-broken", "the connection broke", at=1.0)
    status_entry = health.as_status()
    assert status_entry is not None
    assert "`oic-gateway check --live`" in f"{status_entry['means']} {status_entry['remedy']}"


def test_neither_the_path_nor_the_query_of_a_caller_is_shown() -> None:
    for status in (301, 400, 401, 403, 404):
        status_entry = answered(
            status, f"{FLOWS}/ORDERS/1.0/private?key=hidden", b"Location: /x?code=hidden"
        ).as_status()
        assert "hidden" not in str(status_entry)
        assert "private" not in str(status_entry)


def found(code: str) -> Finding:
    return failed_finding(code, "route orders", "GET /x answered", step="request")


def test_the_probe_is_reported_while_the_failure_is_the_same() -> None:
    health = answered(403)
    health.record_finding(found("allow-list"), 403)
    status_entry = health.as_status()
    assert status_entry is not None
    row = MISTAKES["allow-list"]
    assert (status_entry["code"], status_entry["means"], status_entry["remedy"]) == (
        "allow-list",
        row.means,
        row.remedy,
    )
    assert status_entry["seen"] == "the upstream responds 403 without an instance id; checked again: GET /x answered"
    health.record_response(403, has_instance_id=False, at=2.0, target=REST)
    assert code_of(health) == "allow-list"
    health.record_response(404, has_instance_id=False, at=3.0, target=REST)
    assert code_of(health) == "not-found"
    health.record_response(403, has_instance_id=False, at=4.0, target=REST)
    assert code_of(health) == "role-or-allow-list"


def test_a_probe_with_another_failure_explains_nothing() -> None:
    health = answered(403)
    health.record_finding(found("role-missing"), 401)
    assert code_of(health) == "role-or-allow-list"
    health.record_finding(Finding(ok=True, subject="route orders", seen="GET /x answered 200"), 200)
    status_entry = health.as_status()
    assert status_entry is not None
    assert status_entry["code"] == "role-or-allow-list"
    assert "a harmless request succeeds: GET /x answered 200" in str(status_entry["seen"])
    health.record_response(200, has_instance_id=False, at=2.0)
    health.record_finding(found("allow-list"), 403)
    assert health.as_status() is None


@pytest.mark.parametrize("status", [200, 202, 204, 304, 400, 409, 422])
def test_other_answers_are_none(status: int) -> None:
    assert answered(status).as_status() is None


@pytest.mark.parametrize(
    ("code", "reason", "expected"),
    [
        ("upstream-unreachable", "https://x:443: name: not known", "dns"),
        ("upstream-unreachable", "https://x:443: TLS: the certificate is not trusted: x", "tls-trust"),
        ("upstream-unreachable", "https://x:443: no connection within 5 s", "timeout"),
        ("upstream-timeout", "no response in time", "upstream-timeout"),
        ("upstream-broken", "the connection ended before a response", "upstream-broken"),
    ],
)
def test_no_answer_is_a_trouble_by_its_step(code: str, reason: str, expected: str) -> None:
    health = RouteHealth()
    health.record_failure(code, reason, at=5.0)
    status_entry = health.as_status()
    assert status_entry is not None
    assert (status_entry["code"], status_entry["seen"], status_entry["at"]) == (expected, reason, 5.0)


def test_equal_failures_are_counted_another_starts_at_one() -> None:
    health = answered(401)
    health.record_response(401, has_instance_id=False, at=7.0, target=REST)
    status_entry = health.as_status()
    assert status_entry is not None
    assert (status_entry["count"], status_entry["since"], status_entry["at"]) == (2, 1.0, 7.0)
    health.record_response(404, has_instance_id=False, at=9.0, target=REST)
    status_entry = health.as_status()
    assert status_entry is not None
    assert (status_entry["code"], status_entry["count"], status_entry["since"]) == ("not-found", 1, 9.0)


@pytest.mark.parametrize(("status", "has_instance_id"), [(200, False), (200, True), (500, True), (401, True)])
def test_a_success_and_a_flow_s_answer_end_it(status: int, *, has_instance_id: bool) -> None:
    health = answered(401)
    health.record_response(status, has_instance_id=has_instance_id, at=2.0)
    assert (health.as_status(), health.has_problem) == (None, False)
    health.record_response(401, has_instance_id=False, at=3.0)
    status_entry = health.as_status()
    assert status_entry is not None
    assert (status_entry["count"], status_entry["since"]) == (1, 3.0)


def test_an_inconclusive_response_ends_no_problem() -> None:
    health = answered(401)
    health.record_response(400, has_instance_id=False, at=2.0)
    assert health.has_problem
