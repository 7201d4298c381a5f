import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from gateway.config.corrections.integration_url import integration
from gateway.config.corrections.pasted_text import InvalidInput
from gateway.config.values import BaseUrl

HOST = "acme-px.integration.us-phoenix-1.ocp.oraclecloud.com"
DESIGN = "https://design.integration.us-phoenix-1.ocp.oraclecloud.com"
REST = "/ic/api/integration/v1/flows/rest/ORDERS/1.0"
SOAP = "/ic/ws/integration/v1/flows/soap/HELLO/1.0"
PROJECT = "/ic/api/integration/v2/flows/rest/project/SALES/ORDERS/1.0"
RIGHT = f"https://{HOST}{REST}/"


@pytest.mark.parametrize(
    ("text", "value", "change"),
    [
        (RIGHT, RIGHT, ""),
        (f"https://{HOST}{REST}", RIGHT, "added the slash"),
        (f"https://{HOST}:443{REST}/", RIGHT, "removed `:443`"),
        (f"http://{HOST}{REST}/", RIGHT, "only TLS"),
        (f"{HOST}{REST}/", RIGHT, "added https://"),
        (f"https://{HOST.upper()}{REST}/", RIGHT, "lower case"),
        (f"{RIGHT}metadata", RIGHT, "removed `/metadata`"),
        (f"{RIGHT}metadata/", RIGHT, "removed `/metadata`"),
        (f"{RIGHT}metadata/swagger", RIGHT, "removed `/metadata`"),
        (f"{RIGHT}metadata/openapi", RIGHT, "removed `/metadata`"),
        (f"{RIGHT}?a=hunter2", RIGHT, "removed the query"),
        (f"{RIGHT}#top", RIGHT, "removed the fragment"),
        (f"{RIGHT}metadata?a=b#c", RIGHT, "removed the fragment"),
        (f"https://{HOST}{SOAP}/?wsdl", f"https://{HOST}{SOAP}/", "removed `?wsdl`"),
        (f"https://{HOST}{SOAP}?WSDL", f"https://{HOST}{SOAP}/", "removed `?wsdl`"),
        (f"https://{HOST}{PROJECT}/metadata", f"https://{HOST}{PROJECT}/", "removed `/metadata`"),
        (f"https://{HOST}//{REST[1:]}/", RIGHT, "repeated slashes"),
        (RIGHT.replace("/1.0", "|1.0"), RIGHT, "as in ORDERS/1.0"),
        (RIGHT.replace("/1.0", "|01.00.0000"), RIGHT, "as in ORDERS/1.0"),
        (RIGHT.replace("/1.0", "%7C01.00.0000"), RIGHT, "as in ORDERS/1.0"),
        (RIGHT.replace("/1.0", "%7c1.0"), RIGHT, "as in ORDERS/1.0"),
        (RIGHT.replace("/1.0", "/01.00.0000"), RIGHT, "as in ORDERS/1.0"),
        (RIGHT.replace("/1.0/", "|01.02.0003"), RIGHT, "as in ORDERS/1.0"),
        (RIGHT.replace("/1.0", "/01.00"), RIGHT, "as in ORDERS/1.0"),
        (RIGHT.replace("/1.0", "//01.00.0000"), RIGHT, "as in ORDERS/1.0"),
        (RIGHT.replace("/1.0/", "|01.00.0000/metadata"), RIGHT, "removed `/metadata`"),
        (RIGHT.replace("/1.0", "|10.00.0000"), RIGHT.replace("/1.0", "/10.0"), "as in ORDERS/1.0"),
        (RIGHT.replace("/1.0", "/2.10"), RIGHT.replace("/1.0", "/2.10"), ""),
        (f"https://{HOST}{PROJECT}/".replace("/1.0", "|01.00.0000"), f"https://{HOST}{PROJECT}/", "as in ORDERS/1.0"),
        (f"https://{HOST}{SOAP}/".replace("/1.0", "/01.00.0000"), f"https://{HOST}{SOAP}/", "as in ORDERS/1.0"),
        (
            f"http://oic.example.com{REST}/".replace("/1.0", "|1.0"),
            f"http://oic.example.com{REST}/",
            "as in ORDERS/1.0",
        ),
        (f"{RIGHT}orders", RIGHT, "removed the path after the version"),
        (f"{RIGHT}orders/{{id}}?x=1", RIGHT, "removed the path after the version"),
        (f"{DESIGN}{REST}/?integrationInstance=acme-px", RIGHT, "runs no integrations"),
        (f"http://127.0.0.1:8181{REST}/", f"http://127.0.0.1:8181{REST}/", ""),
        (f"http://oic.example.com{REST}/metadata", f"http://oic.example.com{REST}/", "`/metadata`"),
        (f"https://gw.example.com/oic{REST}/metadata", f"https://gw.example.com/oic{REST}/", "`/metadata`"),
    ],
)
def test_trigger_url_is_derived_from_pasted_text(text: str, value: str, change: str) -> None:
    found = integration(text)
    assert (found.upstream, found.kind, found.instance) == (value, "trigger", "")
    assert found.code == ("HELLO" if "soap" in value else "ORDERS")
    assert change in " ".join(found.changes)
    assert bool(found.changes) == bool(change)
    assert "hunter2" not in " ".join(found.changes)
    again = integration(value)
    assert (again.upstream, again.changes) == (value, ())


@pytest.mark.parametrize(
    ("subpath", "expected"), [("orders", "orders"), ("orders/17/", "orders/17/"), ("metadata/other", "metadata/other")]
)
def test_path_after_the_trigger_is_returned(subpath: str, expected: str) -> None:
    assert integration(RIGHT + subpath).subpath == expected
    assert integration(RIGHT + subpath).upstream == RIGHT
    assert integration(f"{RIGHT}metadata").subpath == ""


API = "/ic/api/integration/v1/integrations"


@pytest.mark.parametrize(
    ("text", "upstream", "instance", "code"),
    [
        (f"{DESIGN}{API}?integrationInstance=acme", f"{DESIGN}{API}", "acme", "integrations"),
        (f"{DESIGN}{API}?limit=5&integrationInstance=acme", f"{DESIGN}{API}", "acme", "integrations"),
        (f"https://{HOST}{API}", f"https://{HOST}{API}", "acme-px", "integrations"),
        (f"https://{HOST}:443{API}/", f"https://{HOST}{API}/", "acme-px", "integrations"),
        (f"https://{HOST}{API}?integrationInstance=other", f"https://{HOST}{API}", "other", "integrations"),
        ("https://acme.integration.ocp.oraclecloud.com" + API, "https://acme.integration.ocp.oraclecloud.com" + API,
         "", "integrations"),
        ("http://127.0.0.1:8181" + API, "http://127.0.0.1:8181" + API, "", "integrations"),
        (f"https://{HOST}/ic/api/integration/v1/monitoring/instances",
         f"https://{HOST}/ic/api/integration/v1/monitoring/instances", "acme-px", "instances"),
        (f"https://{HOST}{API}/ORDERS|01.00.0000", f"https://{HOST}{API}/ORDERS%7C01.00.0000", "acme-px",
         "integrations"),
        (f"https://{HOST}{API}/ORDERS%7C01.00.0000", f"https://{HOST}{API}/ORDERS%7C01.00.0000", "acme-px",
         "integrations"),
        (f"https://{HOST}/ic/api/integration/v1/", f"https://{HOST}/ic/api/integration/v1/", "acme-px", "api"),
    ],
)  # fmt: skip
def test_developer_api_url_gets_its_instance(text: str, upstream: str, instance: str, code: str) -> None:
    found = integration(text)
    assert (found.upstream, found.kind, found.instance, found.code) == (upstream, "api", instance, code)
    messages = " ".join((*found.changes, *found.notes))
    assert ("integrationInstance" in messages) == (bool(instance) or "127.0.0.1" in text)
    assert ("%7C" in messages) == ("|" in text)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (f"https://{HOST}/ic/integration/home/faces/link?page=designer", "page of the console"),
        (f"https://{HOST}/ic/home", "page of the console"),
        (f"https://{HOST}/", "page of the console"),
        (f"https://{HOST}", "page of the console"),
        (f"https://{HOST}/ic/builder/design", "page of the console"),
        (f"{DESIGN}/?integrationInstance=acme", "page of the console"),
        ("https://oic.example.com/ic/integration/home", "page of the console"),
        ("https://cloud.oracle.com/oic/integration-instances/ocid1.x", "page of the console"),
        ("https://idcs-0123.identity.oraclecloud.com/oauth2/v1/token", "the identity domain"),
        (f"{DESIGN}{REST}/", "runs no integrations"),
        (f"{DESIGN}{REST}/?integrationInstance=a/b", "runs no integrations"),
        (f"{DESIGN}{API}", r"append \?integrationInstance=NAME"),
        (f"https://{HOST}{API}?integrationInstance=${{path}}", "is not the name of an instance"),
        (f"https://{HOST}/ic/api/integration/v1/flows/rest/ORDERS", "before the integration's version"),
        (f"https://{HOST}/ic/api/integration/v1/flows/rest/ORDERS/", "before the integration's version"),
        (f"https://{HOST}/ic/api/integration/v2/flows/rest/project/P/ORDERS", "before the integration's version"),
        (f"{RIGHT}../x", "has a backslash"),
        (f"{RIGHT}%2e%2e/x", "has a backslash"),
        ("", "is empty"),
    ],
)
def test_other_addresses_are_rejected_with_a_reason(text: str, what: str) -> None:
    with pytest.raises(InvalidInput, match=what) as caught:
        integration(text)
    assert "; " in str(caught.value)


def test_rejection_describes_where_the_endpoint_url_is() -> None:
    with pytest.raises(InvalidInput, match="Endpoint URL"):
        integration(f"https://{HOST}/ic/integration/home/")


def test_unknown_url_stays_unchanged_with_a_note() -> None:
    found = integration("https://api.example.com/orders/v1?x=y")
    assert (found.upstream, found.kind, found.code) == ("https://api.example.com/orders/v1", "other", "orders")
    assert found.notes
    assert integration("https://api.example.com").code == "api"


URLS = st.builds(
    "{}{}{}{}{}".format,
    st.sampled_from(["", "https://", "http://", "HTTPS://"]),
    st.sampled_from([HOST, HOST.upper(), "acme.integration.ocp.oraclecloud.com", "127.0.0.1", "oic.example.com"]),
    st.sampled_from(["", ":443", ":80", ":8443"]),
    st.builds(
        "{}{}".format,
        st.sampled_from(["", REST, SOAP, PROJECT, API, "/ic/api/", "//ic/api/x", "/A|B", REST[:-4]]),
        st.one_of(
            st.sampled_from(["/metadata", "/metadata/swagger", "/"]),
            st.from_regex(r"\A(/|\||%7[Cc])[0-9.]{1,9}/?\Z"),
            st.from_regex(r"\A(/[a-zA-Z0-9._%|{}-]{0,9}){0,4}\Z"),
        ),
    ),
    st.sampled_from(["", "?wsdl", "?a=b#c", "?", "#", "?integrationInstance=acme"]),
)


@given(URLS)
def test_corrected_url_is_valid_and_needs_no_more_changes(text: str) -> None:
    try:
        once = integration(text)
    except InvalidInput:
        return
    TypeAdapter(BaseUrl).validate_python(once.upstream)
    twice = integration(once.upstream)
    assert (twice.upstream, twice.changes, twice.subpath) == (once.upstream, (), "")


@given(st.text())
def test_any_text_is_corrected_or_rejected(text: str) -> None:
    with contextlib.suppress(InvalidInput):
        TypeAdapter(BaseUrl).validate_python(integration(text).upstream)
