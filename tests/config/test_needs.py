"""What a grant and a client authentication need, may have, and cannot stand."""

from typing import get_args

import pytest

from gateway.config.credential_rules import CLIENT_AUTH, GRANTS, needs_of
from gateway.config.model import Credential
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


def said(**credential: object) -> dict[str, str]:
    """What is found, by the place within the credential."""
    found = needs_of(("credentials", "app"), {"token_url": URL, **credential})
    return {".".join(map(str, finding.steps[2:])): f"{finding.what}; {finding.remedy}" for finding in found}


def whole(grant: str, way: str) -> dict[str, object]:
    """A credential with all that both need."""
    needed = {key.partition(".")[0]: KEYS[key] for key in (*GRANTS[grant], *CLIENT_AUTH[way])}
    return {"grant": grant, "client_auth": way, **needed}


def test_the_tables_name_what_the_file_and_the_token_requests_know() -> None:
    assert set(GRANTS) == set(get_args(Credential.model_fields["grant"].annotation)) == set(grants.GRANTS)
    ways = get_args(Credential.model_fields["client_auth"].annotation)
    assert set(CLIENT_AUTH) == set(ways) == set(client_auth.CLIENT_AUTH)


@pytest.mark.parametrize("way", CLIENT_AUTH)
@pytest.mark.parametrize("grant", GRANTS)
def test_with_all_that_both_need_nothing_is_found(grant: str, way: str) -> None:
    found = said(**whole(grant, way))
    if (grant, way) == ("client_credentials", "none"):
        expected = "is only for clients that can authenticate (RFC 6749 §4.4); choose `client_auth`"
        assert found == {"grant": expected}
    elif grant == "tls_client_auth" and way != "tls":
        expected = "uses the client certificate instead of a secret; set `client_auth: tls`"
        assert found.pop("grant") == expected
    else:
        assert found == {}


@pytest.mark.parametrize(
    ("grant", "way", "key"),
    [(grant, way, key) for grant in GRANTS for way in ("basic", "tls", "none") for key in GRANTS[grant]]
    + [("password", way, key) for way in CLIENT_AUTH for key in CLIENT_AUTH[way]],
)
def test_whatever_is_missing_is_named_with_its_user_and_remedy(grant: str, way: str, key: str) -> None:
    credential = whole(grant, way)
    del credential[key.partition(".")[0]]
    found = said(**credential)[key]
    assert found.startswith("is missing, `grant: " if key in GRANTS[grant] else "is missing, `client_auth: ")
    assert "; add `" in found


def test_an_empty_key_is_missing() -> None:
    assert "is missing" in said(client_secret=None)["client_secret"]


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
def test_what_nobody_uses_is_named(more: dict[str, object], key: str, remedy: str) -> None:
    assert said(client_secret={"env": "S"}, **more) == {
        key: (f"is not used by `grant: client_credentials` with `client_auth: basic`; remove it, or set {remedy}")
    }


def test_a_secret_that_is_not_sent_is_named() -> None:
    found = said(client_auth="tls", tls={"cert": "c"}, client_secret={"env": "S"})
    assert found["client_secret"].endswith("remove it, or set `client_auth: basic`")


def test_a_certificate_may_be_shown_beside_a_secret_but_not_without_tls() -> None:
    credential = {"client_secret": {"env": "S"}, "tls": {"cert": "c"}}
    assert said(**credential) == {}
    assert said(**credential | {"token_url": "http://127.0.0.1/token"}) == {
        "tls.cert": "has no effect without TLS; use https in `token_url`"
    }


@pytest.mark.parametrize("key", ["key", "key_password"])
def test_a_key_is_nothing_without_its_certificate(key: str) -> None:
    found = said(client_secret={"env": "S"}, tls={key: "x"})
    assert found == {f"tls.{key}": "requires `cert`; add `cert`, or remove this key"}


@pytest.mark.parametrize("key", ["audience", "resource"])
def test_a_parameter_is_said_once(key: str) -> None:
    found = said(client_secret={"env": "S"}, params={key: "x"}, **{key: "y"})
    assert found == {f"params.{key}": f"is set together with `{key}`; remove one of them"}
    assert said(client_secret={"env": "S"}, params={key: "x"}) == {}


def test_where_to_sign_in_is_told_by_the_token_url_or_by_hand() -> None:
    person = whole("authorization_code", "none")
    elsewhere = person | {"token_url": "https://idcs.example/oauth"}
    assert set(said(**elsewhere)) == {"authorize_url", "revoke_url"}
    assert said(**elsewhere, authorize_url="https://h/a", revoke_url="https://h/r") == {}


@pytest.mark.parametrize(
    "odd", [{"grant": "implicit"}, {"client_auth": ["basic"]}, {"grant": 7}, {"token_url": 7}, {"tls": [], "params": 7}]
)
def test_what_has_another_kind_is_left_to_the_model(odd: dict[str, object]) -> None:
    assert said(**{"client_secret": {"env": "S"}, **odd}) == {}
