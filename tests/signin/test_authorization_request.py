from urllib.parse import parse_qs, urlsplit

import pytest

from gateway.config.model import CredentialSettings
from gateway.oauth.authorization import code_challenge
from gateway.signin.authorization_request import build_authorization_request, can_listen

BACK = "http://127.0.0.1:8400/"


def credential(**more: object) -> CredentialSettings:
    base = {"grant": "authorization_code", "token_url": "https://idcs.example/oauth2/v1/token", "client_id": "c"}
    return CredentialSettings.model_validate({**base, **more})


def test_what_is_asked_for() -> None:
    ask = build_authorization_request(
        credential(scope="s offline_access", params={"prompt": "login"}), redirect_uri=BACK
    )
    parts = urlsplit(ask.url)
    query = {name: value for name, [value] in parse_qs(parts.query).items()}
    assert (parts.netloc, parts.path) == ("idcs.example", "/oauth2/v1/authorize")
    assert query == {
        "response_type": "code",
        "client_id": "c",
        "redirect_uri": BACK,
        "state": ask.state,
        "code_challenge": code_challenge(ask.verifier),
        "code_challenge_method": "S256",
        "scope": "s offline_access",
        "prompt": "login",
    }
    assert ask.verifier not in ask.url
    for secret in (ask.state, ask.verifier):
        assert secret not in repr(ask)


def test_each_request_has_its_own_state_and_verifier() -> None:
    one, other = (build_authorization_request(credential(), redirect_uri=BACK) for _ in range(2))
    assert len({one.state, other.state, one.verifier, other.verifier}) == 4
    assert min(map(len, (one.state, one.verifier))) >= 43  # RFC 7636 §4.1


@pytest.mark.parametrize(
    ("issuer", "configured", "good"),
    [
        ("https://idcs.example", None, True),
        ("https://idcs.example:443/realms/x", None, True),
        ("HTTPS://IDCS.example/", None, True),
        ("http://idcs.example", None, False),
        ("https://idcs.example:8443", None, False),
        ("https://evil.example", None, False),
        ("https://idcs.example.evil", None, False),
        ("", None, False),
        ("https://[", None, False),
        ("https://idcs.example:x", None, False),
        ("https://identity.oraclecloud.com", "https://identity.oraclecloud.com/", True),
        ("https://idcs.example", "https://identity.oraclecloud.com/", False),
    ],
)
def test_who_may_answer(issuer: str, configured: str | None, *, good: bool) -> None:
    assert build_authorization_request(credential(issuer=configured), redirect_uri=BACK).is_issuer(issuer) is good


@pytest.mark.parametrize(
    ("redirect_uri", "can"),
    [
        (BACK, True),
        ("http://localhost:8400/x", True),
        ("http://[::1]:8400/", True),
        ("https://127.0.0.1:8400/", False),
        ("http://gateway.example/", False),
    ],
)
def test_where_a_browser_finds_us(redirect_uri: str, *, can: bool) -> None:
    assert can_listen(redirect_uri) is can
