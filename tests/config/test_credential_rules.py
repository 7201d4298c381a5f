"""Keys that a grant and a client authentication require, allow and exclude."""

from typing import get_args

import pytest

from gateway.config.credential_rules import CLIENT_AUTH_KEYS, GRANT_KEYS, check_credential
from gateway.config.model import CredentialSettings
from gateway.oauth import client_auth, grants

URL = "https://idcs.example/oauth2/v1/token"
KEYS: dict[str, object] = {
    "client_secret": {"env": "S"},
    "signing": {"private_key": {"env": "K"}},
    "tls.cert": {"cert": "c.pem"},
    "refresh_token": {"env": "R"},
    "username": "u",
    "password": {"env": "P"},
    "subject": "s",
    "redirect_uri": "http://127.0.0.1:8400/",
}


def problems_of(**credential: object) -> dict[str, str]:
    """Return the problems by the path of the key in the credential."""
    found = check_credential(("credentials", "app"), {"token_url": URL, **credential})
    return {".".join(map(str, issue.steps[2:])): f"{issue.what}; {issue.remedy}" for issue in found}


def complete_credential(grant: str, method: str) -> dict[str, object]:
    """Return a credential with all keys that the grant and the client authentication require."""
    needed = {key.partition(".")[0]: KEYS[key] for key in (*GRANT_KEYS[grant], *CLIENT_AUTH_KEYS[method])}
    return {"grant": grant, "client_auth": method, **needed}


def test_tables_match_the_model_and_the_token_requests() -> None:
    assert set(GRANT_KEYS) == set(get_args(CredentialSettings.model_fields["grant"].annotation)) == set(grants.GRANTS)
    methods = get_args(CredentialSettings.model_fields["client_auth"].annotation)
    assert set(CLIENT_AUTH_KEYS) == set(methods) == set(client_auth.CLIENT_AUTH)


@pytest.mark.parametrize("method", CLIENT_AUTH_KEYS)
@pytest.mark.parametrize("grant", GRANT_KEYS)
def test_complete_credential_has_no_problems(grant: str, method: str) -> None:
    found = problems_of(**complete_credential(grant, method))
    if (grant, method) == ("client_credentials", "none"):
        expected = "is only for clients that can authenticate (RFC 6749 §4.4); choose `client_auth`"
        assert found == {"grant": expected}
    elif grant == "tls_client_auth" and method != "tls":
        expected = "uses the client certificate instead of a secret; set `client_auth: tls`"
        assert found.pop("grant") == expected
    else:
        assert found == {}


@pytest.mark.parametrize(
    ("grant", "method", "key"),
    [(grant, method, key) for grant in GRANT_KEYS for method in ("basic", "tls", "none") for key in GRANT_KEYS[grant]]
    + [("password", method, key) for method in CLIENT_AUTH_KEYS for key in CLIENT_AUTH_KEYS[method]],
)
def test_missing_key_names_what_requires_it_and_the_remedy(grant: str, method: str, key: str) -> None:
    credential = complete_credential(grant, method)
    del credential[key.partition(".")[0]]
    found = problems_of(**credential)[key]
    assert found.startswith("is missing, `grant: " if key in GRANT_KEYS[grant] else "is missing, `client_auth: ")
    assert "; add `" in found


def test_empty_key_is_missing() -> None:
    assert "is missing" in problems_of(client_secret=None)["client_secret"]


@pytest.mark.parametrize(
    ("more", "key", "remedy"),
    [
        ({"username": "u"}, "username", "`grant: password`"),
        ({"password": {"env": "P"}}, "password", "`grant: password`"),
        ({"subject": "s"}, "subject", "`grant: jwt_bearer`"),
        ({"refresh_token": {"env": "R"}}, "refresh_token", "`grant: refresh_token`"),
        ({"redirect_uri": "http://h/"}, "redirect_uri", "`grant: authorization_code`"),
        ({"authorize_url": "https://h/"}, "authorize_url", "`grant: authorization_code`"),
        ({"revoke_url": "https://h/"}, "revoke_url", "`grant: authorization_code`"),
        ({"issuer": "https://h/"}, "issuer", "`grant: authorization_code`"),
        ({"signing": {}}, "signing", "`client_auth: private_key_jwt`"),
    ],
)
def test_unused_key_is_reported(more: dict[str, object], key: str, remedy: str) -> None:
    assert problems_of(client_secret={"env": "S"}, **more) == {
        key: (f"is not used by `grant: client_credentials` with `client_auth: basic`; remove it, or set {remedy}")
    }


def test_secret_that_is_not_sent_is_reported() -> None:
    found = problems_of(client_auth="tls", tls={"cert": "c"}, client_secret={"env": "S"})
    assert found["client_secret"].endswith("remove it, or set `client_auth: basic`")


def test_certificate_requires_tls_and_allows_a_secret() -> None:
    credential = {"client_secret": {"env": "S"}, "tls": {"cert": "c"}}
    assert problems_of(**credential) == {}
    assert problems_of(**credential | {"token_url": "http://127.0.0.1/token"}) == {
        "tls.cert": "has no effect without TLS; use https in `token_url`"
    }


@pytest.mark.parametrize("key", ["key", "key_password"])
def test_key_requires_its_certificate(key: str) -> None:
    found = problems_of(client_secret={"env": "S"}, tls={key: "x"})
    assert found == {f"tls.{key}": "requires `cert`; add `cert`, or remove this key"}


@pytest.mark.parametrize("key", ["audience", "resource"])
def test_parameter_may_not_be_set_twice(key: str) -> None:
    found = problems_of(client_secret={"env": "S"}, params={key: "x"}, **{key: "y"})
    assert found == {f"params.{key}": f"is set together with `{key}`; remove one of them"}
    assert problems_of(client_secret={"env": "S"}, params={key: "x"}) == {}


def test_sign_in_urls_are_required_if_not_derivable() -> None:
    credential = complete_credential("authorization_code", "none")
    elsewhere = credential | {"token_url": "https://idcs.example/oauth"}
    assert set(problems_of(**elsewhere)) == {"authorize_url", "revoke_url"}
    assert problems_of(**elsewhere, authorize_url="https://h/a", revoke_url="https://h/r") == {}


@pytest.mark.parametrize(
    "odd", [{"grant": "implicit"}, {"client_auth": ["basic"]}, {"grant": 7}, {"token_url": 7}, {"tls": [], "params": 7}]
)
def test_values_of_wrong_type_are_left_to_the_model(odd: dict[str, object]) -> None:
    assert problems_of(**{"client_secret": {"env": "S"}, **odd}) == {}
