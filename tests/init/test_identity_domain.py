import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from gateway.config.corrections.identity_domain import token_url
from gateway.config.corrections.pasted_text import InvalidInput
from gateway.config.values import HttpUrl

TENANT = "idcs-0123456789abcdef0123456789abcdef"
HOST = f"{TENANT}.identity.oraclecloud.com"
RIGHT = f"https://{HOST}/oauth2/v1/token"
REGIONAL = f"{TENANT}.us-phoenix-idcs-1.identity.us-phoenix-1.oci.oraclecloud.com"


@pytest.mark.parametrize(
    ("text", "value", "change"),
    [
        (RIGHT, RIGHT, ""),
        (f"https://{HOST}", RIGHT, "added /oauth2/v1/token"),
        (f"https://{HOST}/", RIGHT, "added /oauth2/v1/token"),
        (f"https://{HOST}:443", RIGHT, "removed `:443`"),
        (f"https://{HOST}:443/oauth2/v1/token", RIGHT, "removed `:443`"),
        (HOST, RIGHT, "added https://"),
        (f"{HOST}:443/oauth2/v1/token", RIGHT, "added https://"),
        (TENANT, RIGHT, "to the domain's name"),
        (TENANT.upper(), RIGHT, "to the domain's name"),
        (f"http://{HOST}/oauth2/v1/token", RIGHT, "only TLS"),
        (f"https://{HOST.upper()}/oauth2/v1/token", RIGHT, "lower case"),
        (f"https://{HOST}/OAUTH2/V1/TOKEN", RIGHT, "corrected the path"),
        (f"https://{HOST}/oauth2/v1/token/", RIGHT, "corrected the path"),
        (f"https://{HOST}/oauth2/v1/authorize?client_id=1", RIGHT, "another endpoint"),
        (f"https://{HOST}/oauth2/v1/", RIGHT, "another endpoint"),
        (f"https://{HOST}/ui/v1/adminconsole", RIGHT, "the domain's console"),
        (f"https://{HOST}/ui/v1/myconsole?root=my-info#x", RIGHT, "removed the query and fragment"),
        (f"https://{HOST}/.well-known/openid-configuration", RIGHT, "the discovery document"),
        (f"https://{HOST}/.well-known/idcs-configuration", RIGHT, "the discovery document"),
        (f"https://{HOST}/admin/v1/Users", RIGHT, "administration"),
        (f"https://{HOST}/something/else", RIGHT, "removed the path"),
        (f"https://{HOST}/oauth2/v1/token?x=1", RIGHT, "removed the query"),
        (f"https://{REGIONAL}:443", f"https://{REGIONAL}/oauth2/v1/token", "added"),
        (f'"{RIGHT}"', RIGHT, "quotes"),
        (f" {RIGHT}\n", RIGHT, "white space"),
        # For other servers, the host and paths that are not pages of an identity domain stay unchanged.
        ("https://login.example.com", "https://login.example.com/oauth2/v1/token", "added"),
        ("https://login.example.com:8443/", "https://login.example.com:8443/oauth2/v1/token", "added"),
        ("https://login.example.com/realms/a/token?b=c", "https://login.example.com/realms/a/token?b=c", ""),
        ("https://login.example.com/realms/a/token#d", "https://login.example.com/realms/a/token", "fragment"),
        ("https://login.example.com/oauth2/token", "https://login.example.com/oauth2/token", ""),
        ("https://login.example.com/ui/v1/signin", "https://login.example.com/oauth2/v1/token", "console"),
        ("http://127.0.0.1:8181", "http://127.0.0.1:8181/oauth2/v1/token", "added"),
        ("127.0.0.1:8181", "http://127.0.0.1:8181/oauth2/v1/token", "added http://"),
    ],
)
def test_token_endpoint_is_derived_from_pasted_text(text: str, value: str, change: str) -> None:
    found = token_url(text)
    assert found.value == value
    assert change in " ".join(found.changes)
    assert bool(found.changes) == bool(change)
    again = token_url(value)
    assert (again.value, again.changes) == (value, ())


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("https://cloud.oracle.com/identity/domains/ocid1.domain.oc1..x?region=us-phoenix-1", "the cloud console"),
        ("https://console.us-phoenix-1.oraclecloud.com/identity/domains", "the cloud console"),
        ("https://login.us-phoenix-1.oraclecloud.com/v1/oauth2/authorize", "the cloud console"),
        ("https://identity.oraclecloud.com/", "the issuer that all identity domains share"),
        ("https://acme.integration.us-phoenix-1.ocp.oraclecloud.com", "the OIC instance"),
        ("https://design.integration.us-phoenix-1.ocp.oraclecloud.com/?integrationInstance=a", "the OIC instance"),
        ("https://login.example.com/realms/a/.well-known/openid-configuration", "a discovery document"),
        ("https://app:hunter2@login.example.com", "contains a user or password"),
        ("", "is empty"),
        ("idcs", ""),
    ],
)
def test_other_addresses_are_rejected_with_a_reason(text: str, what: str) -> None:
    if not what:
        assert token_url(text).value == "https://idcs/oauth2/v1/token"
        return
    with pytest.raises(InvalidInput, match=what) as caught:
        token_url(text)
    assert "; " in str(caught.value)
    assert "hunter2" not in str(caught.value)


URLS = st.builds(
    "{}{}{}{}{}".format,
    st.sampled_from(["", "https://", "http://", "HTTPS://", "//"]),
    st.sampled_from([HOST, HOST.upper(), REGIONAL, "login.example.com", "127.0.0.1", "[::1]", "x"]),
    st.sampled_from(["", ":443", ":80", ":8443"]),
    st.one_of(
        st.sampled_from(["", "/", "/ui/v1/x", "/oauth2/v1/token"]), st.from_regex(r"(/[a-zA-Z0-9._%-]{0,9}){0,4}")
    ),
    st.sampled_from(["", "?a=b", "#c", "?a=b#c", "?", "#"]),
)


@given(URLS)
def test_corrected_url_is_valid_and_needs_no_more_changes(text: str) -> None:
    try:
        once = token_url(text)
    except InvalidInput:
        return
    TypeAdapter(HttpUrl).validate_python(once.value)
    twice = token_url(once.value)
    assert (twice.value, twice.changes) == (once.value, ())


@given(st.text())
def test_any_text_is_corrected_or_rejected(text: str) -> None:
    with contextlib.suppress(InvalidInput):
        TypeAdapter(HttpUrl).validate_python(token_url(text).value)
