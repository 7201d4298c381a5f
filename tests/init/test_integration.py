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
        (f"https://{HOST}:443{REST}/", RIGHT, "left off `:443`"),
        (f"http://{HOST}{REST}/", RIGHT, "TLS only"),
        (f"{HOST}{REST}/", RIGHT, "put https:// before"),
        (f"https://{HOST.upper()}{REST}/", RIGHT, "small letters"),
        (f"{RIGHT}metadata", RIGHT, "left off `/metadata`"),
        (f"{RIGHT}metadata/", RIGHT, "left off `/metadata`"),
        (f"{RIGHT}metadata/swagger", RIGHT, "left off `/metadata`"),
        (f"{RIGHT}metadata/openapi", RIGHT, "left off `/metadata`"),
        (f"{RIGHT}?a=hunter2", RIGHT, "left off the query"),
        (f"{RIGHT}#top", RIGHT, "left off the fragment"),
        (f"{RIGHT}metadata?a=b#c", RIGHT, "left off the fragment"),
        (f"https://{HOST}{SOAP}/?wsdl", f"https://{HOST}{SOAP}/", "left off `?wsdl`"),
        (f"https://{HOST}{SOAP}?WSDL", f"https://{HOST}{SOAP}/", "left off `?wsdl`"),
        (f"https://{HOST}{PROJECT}/metadata", f"https://{HOST}{PROJECT}/", "left off `/metadata`"),
        (f"https://{HOST}//{REST[1:]}/", RIGHT, "single slashes"),
        (RIGHT.replace("/1.0", "|1.0"), RIGHT, "as in ORDERS/1.0"),
        (RIGHT.replace("/1.0", "|01.00.0000"), RIGHT, "as in ORDERS/1.0"),
        (RIGHT.replace("/1.0", "%7C01.00.0000"), RIGHT, "as in ORDERS/1.0"),
        (RIGHT.replace("/1.0", "%7c1.0"), RIGHT, "as in ORDERS/1.0"),
        (RIGHT.replace("/1.0", "/01.00.0000"), RIGHT, "as in ORDERS/1.0"),
        (RIGHT.replace("/1.0/", "|01.02.0003"), RIGHT, "as in ORDERS/1.0"),
        (RIGHT.replace("/1.0", "/01.00"), RIGHT, "as in ORDERS/1.0"),
        (RIGHT.replace("/1.0", "//01.00.0000"), RIGHT, "as in ORDERS/1.0"),
        (RIGHT.replace("/1.0/", "|01.00.0000/metadata"), RIGHT, "left off `/metadata`"),
        (RIGHT.replace("/1.0", "|10.00.0000"), RIGHT.replace("/1.0", "/10.0"), "as in ORDERS/1.0"),
        (RIGHT.replace("/1.0", "/2.10"), RIGHT.replace("/1.0", "/2.10"), ""),
        (f"https://{HOST}{PROJECT}/".replace("/1.0", "|01.00.0000"), f"https://{HOST}{PROJECT}/", "as in ORDERS/1.0"),
        (f"https://{HOST}{SOAP}/".replace("/1.0", "/01.00.0000"), f"https://{HOST}{SOAP}/", "as in ORDERS/1.0"),
        (
            f"http://oic.example.com{REST}/".replace("/1.0", "|1.0"),
            f"http://oic.example.com{REST}/",
            "as in ORDERS/1.0",
        ),
        (f"{RIGHT}orders", RIGHT, "left off what follows the version"),
        (f"{RIGHT}orders/{{id}}?x=1", RIGHT, "left off what follows the version"),
        (f"{DESIGN}{REST}/?integrationInstance=acme-px", RIGHT, "runs no integrations"),
        (f"http://127.0.0.1:8181{REST}/", f"http://127.0.0.1:8181{REST}/", ""),
        (f"http://oic.example.com{REST}/metadata", f"http://oic.example.com{REST}/", "`/metadata`"),
        (f"https://gw.example.com/oic{REST}/metadata", f"https://gw.example.com/oic{REST}/", "`/metadata`"),
    ],
)
def test_the_trigger_is_found(text: str, value: str, change: str) -> None:
    found = integration(text)
    assert (found.upstream, found.kind, found.instance) == (value, "trigger", "")
    assert found.code == ("HELLO" if "soap" in value else "ORDERS")
    assert change in " ".join(found.changes)
    assert bool(found.changes) == bool(change)
    assert "hunter2" not in " ".join(found.changes)
    again = integration(value)
    assert (again.upstream, again.changes) == (value, ())


@pytest.mark.parametrize(
    ("below", "said"), [("orders", "orders"), ("orders/17/", "orders/17/"), ("metadata/other", "metadata/other")]
)
def test_what_lies_below_the_trigger_is_told(below: str, said: str) -> None:
    assert integration(RIGHT + below).below == said
    assert integration(RIGHT + below).upstream == RIGHT
    assert integration(f"{RIGHT}metadata").below == ""


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
def test_the_developer_api_is_asked_of_an_instance(text: str, upstream: str, instance: str, code: str) -> None:
    found = integration(text)
    assert (found.upstream, found.kind, found.instance, found.code) == (upstream, "api", instance, code)
    said = " ".join((*found.changes, *found.notes))
    assert ("integrationInstance" in said) == (bool(instance) or "127.0.0.1" in text)
    assert ("%7C" in said) == ("|" in text)


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
        (f"{DESIGN}{API}", r"write \?integrationInstance=NAME"),
        (f"https://{HOST}{API}?integrationInstance=${{path}}", "is no name of an instance"),
        (f"https://{HOST}/ic/api/integration/v1/flows/rest/ORDERS", "before the integration's version"),
        (f"https://{HOST}/ic/api/integration/v1/flows/rest/ORDERS/", "before the integration's version"),
        (f"https://{HOST}/ic/api/integration/v2/flows/rest/project/P/ORDERS", "before the integration's version"),
        (f"{RIGHT}../x", "has a backslash"),
        (f"{RIGHT}%2e%2e/x", "has a backslash"),
        ("", "is empty"),
    ],
)
def test_what_is_no_integration_is_explained(text: str, what: str) -> None:
    with pytest.raises(InvalidInput, match=what) as caught:
        integration(text)
    assert "; " in str(caught.value)


def test_the_page_that_has_the_endpoint_s_url_is_named() -> None:
    with pytest.raises(InvalidInput, match="Endpoint URL"):
        integration(f"https://{HOST}/ic/integration/home/")


def test_any_other_url_is_kept_with_a_note() -> None:
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
def test_correcting_twice_changes_nothing_and_the_loader_takes_it(text: str) -> None:
    try:
        once = integration(text)
    except InvalidInput:
        return
    TypeAdapter(BaseUrl).validate_python(once.upstream)
    twice = integration(once.upstream)
    assert (twice.upstream, twice.changes, twice.below) == (once.upstream, (), "")


@given(st.text())
def test_any_text_is_corrected_or_refused(text: str) -> None:
    with contextlib.suppress(InvalidInput):
        TypeAdapter(BaseUrl).validate_python(integration(text).upstream)
