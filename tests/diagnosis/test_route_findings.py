"""What an upstream's answer means."""

from typing import Any

import pytest

from gateway.diagnosis.facts import ProbeResponse, RouteProbe
from gateway.diagnosis.finding import Finding
from gateway.diagnosis.route_findings import diagnose_route, request_failure_code
from gateway.oic.urls import probe_target

HOST = "https://acme.integration.us-phoenix-1.ocp.oraclecloud.com"
HASH = "https://0123456789ABCDEF0123456789ABCDEF.integration.us-phoenix-1.ocp.oraclecloud.com:443"
TRIGGER = f"{HASH}urn:opc:resource:consumer::all"
REST, SOAP, API = (
    "/ic/api/integration/v1/flows/rest/A/1.0/",
    "/ic/ws/integration/v1/flows/soap/A/1.0/",
    "/ic/api/integration/v1/",
)


def judged(status: int, path: str = REST, *, text: str = "", bare: int = 0, **more: Any) -> Finding:
    fields = {key.replace("_", "-"): value for key, value in more.pop("fields", {}).items()}
    query = more.pop("query", {})
    target = probe_target(path, query)
    facts = {"scope": TRIGGER} | more
    tried = RouteProbe(
        HOST + path,
        target.method,
        target.target,
        query,
        ProbeResponse(status, fields, text),
        status_without_token=bare,
        **facts,
    )
    return diagnose_route(tried, "orders", target)


ID = {"x-oracle-ics-instance-id": "lJrSjUUVEfGXW0tyvl-GZA"}
INVALID = {"www-authenticate": 'Bearer error="invalid_token"'}
QUERY = {"integrationInstance": "acme"}


@pytest.mark.parametrize(
    ("code", "finding"),
    [
        ("", judged(200)),
        ("", judged(204, API)),
        ("", judged(401, fields=ID)),
        ("", judged(503, fields=ID)),
        ("", judged(405)),
        ("", judged(501, "/elsewhere/")),
        ("role-missing", judged(401)),
        ("role-missing", judged(401, SOAP)),
        ("refused", judged(401, "/elsewhere/")),
        ("refused", judged(403, "/elsewhere/", bare=401)),
        ("other-instance", judged(401, fields=INVALID)),
        ("other-instance", judged(401, scope=TRIGGER.replace("phoenix", "ashburn"))),
        ("scope-kind", judged(401, API)),
        ("scope-kind", judged(401, scope=f"{HASH}/ic/api/")),
        ("role-missing", judged(401, API, scope=f"{HASH}/ic/api/")),
        ("role-missing", judged(403, bare=401)),
        ("role-missing", judged(403)),
        ("allow-list", judged(403, bare=403)),
        ("allow-list", judged(403, "/elsewhere/", bare=403)),
        ("classic-url", judged(404)),
        ("version-missing", judged(404, "/ic/api/integration/v1/flows/rest/A/")),
        ("version-missing", judged(404, "/ic/api/integration/v2/flows/rest/project/P/A/", other_version="1.0")),
        ("version-missing", judged(404, "/ic/ws/integration/v1/flows/soap/A/")),
        ("not-found", judged(404, "/ic/ws/integration/v1/flows/osc/A/1.0/")),
        ("not-found", judged(404, SOAP)),
        ("not-found", judged(404, API)),
        ("not-found", judged(404, "/ic/api/integration/v2/flows/rest/project/P/A/1.0/")),
        ("project-url", judged(404, "/ic/api/integration/v1/flows/rest/project/P/A/1.0/")),
        ("project-url", judged(404, "/ic/api/integration/v2/flows/rest/A/1.0/")),
        ("wrong-version", judged(404, "/ic/api/integration/v1/flows/rest/A/2.0/")),
        ("wrong-version", judged(404, "/ic/api/integration/v1/flows/rest/A/01.00.0000/")),
        ("wrong-version", judged(404, "/ic/api/integration/v2/flows/rest/A/2.0/", other_version="1.0")),
        ("classic-url", judged(404, "/ic/api/integration/v1/flows/rest/A/1.3/")),
        ("developer-host", judged(307, API, fields={"location": "https://design.example/ic/api/"})),
        ("developer-host", judged(307, API, query=QUERY)),
        ("developer-instance", judged(400, API)),
        ("developer-instance", judged(400, API, query=QUERY, text="integrationInstance acme is unknown")),
        ("", judged(400, API, query=QUERY)),
        ("console-url", judged(302, "/ic/home/", fields={"location": "https://idcs/oauth2/v1/authorize?state=s"})),
        ("console-url", judged(303, fields={"location": "/ui/v1/signin"})),
        ("redirected", judged(301, fields={"location": "https://new.example/"})),
        ("redirected", judged(307, fields={"location": "https://new.example/"})),
        ("limited-upstream", judged(429)),
        ("upstream-failing", judged(500)),
        ("upstream-failing", judged(503, "/elsewhere/")),
    ],
)
def test_each_answer_has_its_explanation(code: str, finding: Finding) -> None:
    assert (finding.ok, finding.code) == (not code, code)
    assert finding.subject == "route orders"
    assert finding.step == "request"
    assert " answered " in finding.seen


def test_that_nothing_is_there_of_an_unknown_url_is_a_note() -> None:
    finding = judged(404, "/elsewhere/")
    assert (finding.ok, finding.is_warning, finding.code) == (True, True, "unknown-url")
    assert finding.text().startswith("note route orders: unknown-url: OPTIONS /elsewhere/ answered 404\n")
    assert "only that the network path is open" in finding.means


def test_other_meanings_of_a_response_are_named() -> None:
    assert "each has its own primary audience" in judged(401).means
    assert "URLs hold the integration's major version" in judged(404).means


def test_a_redirect_s_query_and_other_strange_text_is_not_shown() -> None:
    seen = judged(302, fields={"location": "https://idcs.example/login?code=secret"}).seen
    assert "https://idcs.example/login" in seen
    assert "secret" not in seen
    assert "\x1b" not in judged(401, "/elsewhere/", fields={"www-authenticate": "\x1b[31m" + "x" * 5000}).seen
    assert len(judged(401, f"/{'x' * 5000}/").seen) < 300


@pytest.mark.parametrize(
    ("code", "error", "bare"),
    [
        ("allow-list", "upstream-broken: the connection ended before a response", 0),
        ("upstream-broken", "upstream-broken: the head was cut off", 401),
        ("upstream-timeout", "upstream-timeout: no reply within 10 s", 0),
        ("dns", f"upstream-unreachable: {HOST}:443: name: not known", 0),
        ("tls-trust", f"upstream-unreachable: {HOST}:443: TLS: the certificate is not trusted: x", 0),
    ],
)
def test_silence_has_its_explanation(code: str, error: str, bare: int) -> None:
    target = probe_target(REST)
    finding = diagnose_route(
        RouteProbe(HOST + REST, target.method, target.target, error=error, status_without_token=bare), "orders", target
    )
    assert (finding.ok, finding.code, finding.seen) == (False, code, f"GET {target.target}: {error}")


def test_an_error_not_of_the_upstream_is_of_the_network() -> None:
    assert request_failure_code("overloaded: x") == "network"
