from urllib.parse import parse_qsl, urlsplit

import pytest

from gateway.oauth.authorization import authorization_url, code_challenge, revocation_request

URL = "https://idcs.example/oauth2/v1/authorize"


def test_the_address_byte_for_byte() -> None:
    assert authorization_url(
        URL,
        client_id="an id",
        redirect_uri="http://127.0.0.1:8400/",
        state="st",
        challenge="ch",
        scope="a:443urn:opc offline_access",
        audience="aud",
        resource=("r1", "r2"),
        params={"prompt": "login"},
    ) == (
        f"{URL}?response_type=code&client_id=an%20id&redirect_uri=http%3A%2F%2F127.0.0.1%3A8400%2F&state=st"
        "&code_challenge=ch&code_challenge_method=S256&scope=a%3A443urn%3Aopc%20offline_access&audience=aud"
        "&resource=r1&resource=r2&prompt=login"
    )


def test_a_query_that_is_there_is_kept() -> None:
    url = authorization_url(f"{URL}?tenant=x", client_id="c", redirect_uri="http://h/", state="s", challenge="h")
    assert url.startswith(f"{URL}?tenant=x&response_type=code&client_id=c&")


@pytest.mark.parametrize("name", ["state", "client_id", "code_challenge_method", "response_type", "scope"])
def test_params_overwrite_nothing(name: str) -> None:
    url = authorization_url(
        URL, client_id="c", redirect_uri="http://h/", state="s", challenge="h", scope="sc", params={name: "evil"}
    )
    assert "evil" not in url
    assert [key for key, _ in parse_qsl(urlsplit(url).query)].count(name) == 1


def test_the_challenge_is_the_example_of_rfc_7636() -> None:
    verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
    assert code_challenge(verifier) == "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"


def test_a_revocation_proves_the_client_and_shows_nothing() -> None:
    revoke = revocation_request(
        "https://h/revoke", client_id="c", token="hunter2", client_auth="post", client_secret="s3cret"
    )
    assert revoke.body == b"token=hunter2&token_type_hint=refresh_token&client_id=c&client_secret=s3cret"
    assert {"hunter2", "s3cret"} <= set(revoke.secret_texts)
    assert "hunter2" not in repr(revoke)
    public = revocation_request("https://h/revoke", client_id="c", token="t", client_auth="none")
    assert public.body == b"token=t&token_type_hint=refresh_token&client_id=c"
