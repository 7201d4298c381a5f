"""Which request does no harm."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.oic.urls import first_version_target, probe_target

API = "/ic/api/integration"


@pytest.mark.parametrize(
    ("path", "kind", "target"),
    [
        (f"{API}/v1/flows/rest/ORDERS/1.0/", "rest", f"{API}/v1/flows/rest/ORDERS/1.0/metadata"),
        (f"{API}/v1/flows/rest/ORDERS/1.0", "rest", f"{API}/v1/flows/rest/ORDERS/1.0/metadata"),
        (f"{API}/v1/flows/rest/ORDERS/1.0/items/7", "rest", f"{API}/v1/flows/rest/ORDERS/1.0/metadata"),
        (f"{API}/v2/flows/rest/project/P/ORDERS/1.0/", "rest", f"{API}/v2/flows/rest/project/P/ORDERS/1.0/metadata"),
        ("/ic/ws/integration/v1/flows/soap/HELLO/1.0/", "soap", "/ic/ws/integration/v1/flows/soap/HELLO/1.0/?wsdl"),
        (f"{API}/v1/", "developer", f"{API}/v1/integrations?limit=1"),
        (f"{API}/v1", "developer", f"{API}/v1/integrations?limit=1"),
        (f"{API}/v1/monitoring/instances", "developer", f"{API}/v1/integrations?limit=1"),
        (f"{API}/v1/flows/rest/", "other", f"{API}/v1/flows/rest/"),
        (f"{API}/v2/flows/rest/project/P/", "other", f"{API}/v2/flows/rest/project/P/"),
        ("/ic/ws/integration/v1/flows/osc/X/1.0/", "soap", "/ic/ws/integration/v1/flows/osc/X/1.0/?wsdl"),
        ("/ic/ws/integration/v1/flows/soap/X/", "soap", "/ic/ws/integration/v1/flows/soap/X/?wsdl"),
        ("/ic/ws/integration/v1/flows/soap/", "other", "/ic/ws/integration/v1/flows/soap/"),
        (f"{API}/v1/flows/rest/ORDERS/", "rest", f"{API}/v1/flows/rest/ORDERS/metadata"),
        (f"{API}/v1/flows/rest/ORDERS", "rest", f"{API}/v1/flows/rest/ORDERS/metadata"),
        (f"{API}/v2/flows/rest/project/P/ORDERS/", "rest", f"{API}/v2/flows/rest/project/P/ORDERS/metadata"),
        (f"{API}/v2/flows/rest/project/P", "other", f"{API}/v2/flows/rest/project/P"),
        (f"{API}/v2/flows/rest/project", "other", f"{API}/v2/flows/rest/project"),
        ("/", "other", "/"),
    ],
)
def test_the_path_decides_the_harmless_request(path: str, kind: str, target: str) -> None:
    found = probe_target(path)
    assert (found.kind, found.target) == (kind, target)
    assert found.method == ("OPTIONS" if kind == "other" else "GET")


def test_the_route_s_parameters_go_along() -> None:
    query = {"integrationInstance": "a b&c"}
    assert probe_target(f"{API}/v1/", query).target == f"{API}/v1/integrations?limit=1&integrationInstance=a%20b%26c"
    assert probe_target("/x", query).target == "/x?integrationInstance=a%20b%26c"
    assert probe_target("/flows/soap/A/1.0/", query).target == "/flows/soap/A/1.0/?wsdl&integrationInstance=a%20b%26c"
    assert probe_target("/v1/flows/rest/A/1.0", query).target.endswith("/metadata?integrationInstance=a%20b%26c")


@pytest.mark.parametrize(
    ("path", "is_version_mismatch", "is_good"),
    [
        ("/v1/flows/rest/A/1.0", False, True),
        ("/v2/flows/rest/project/P/A/1.0", False, True),
        ("/v1/flows/rest/project/P/A/1.0", True, True),
        ("/v2/flows/rest/A/1.0", True, True),
        ("/v1/flows/rest/A/01.00.0000", False, False),
        ("/v1/flows/rest/A/1", False, False),
        ("/flows/soap/A/1.0", False, True),
        ("/x", False, True),
    ],
)
def test_the_form_of_a_path_is_judged(path: str, *, is_version_mismatch: bool, is_good: bool) -> None:
    found = probe_target(path)
    assert (found.is_version_mismatch, found.has_valid_version) == (is_version_mismatch, is_good)


def test_another_version_may_be_asked_for() -> None:
    assert first_version_target(probe_target("/v1/flows/rest/A/2.0/x")) == "/v1/flows/rest/A/1.0/metadata"
    assert first_version_target(probe_target("/flows/soap/A/2.0/")) == "/flows/soap/A/1.0/?wsdl"
    assert first_version_target(probe_target("/v1/flows/rest/2.0/2.0/")) == "/v1/flows/rest/2.0/1.0/metadata"
    assert first_version_target(probe_target("/v1/flows/rest/A/")) == "/v1/flows/rest/A/1.0/metadata"
    assert first_version_target(probe_target("/flows/soap/A")) == "/flows/soap/A/1.0/?wsdl"
    for path in ("/v1/flows/rest/A/1.0/", "/x", f"{API}/v1/"):
        assert first_version_target(probe_target(path)) == ""


@given(st.lists(st.sampled_from(["", "ic", "api", "v1", "v2", "flows", "rest", "soap", "project", "A", "1.0"])))
def test_no_path_runs_a_flow(parts: list[str]) -> None:
    found = probe_target("/" + "/".join(parts))
    assert found.method == "OPTIONS" or found.target.partition("?")[0].endswith(("/metadata", "/integrations", "/"))
    assert (
        found.method == "OPTIONS"
        or "/?wsdl" in found.target
        or "/metadata" in found.target
        or "limit=1" in found.target
    )
