from typing import Any

import pytest

from gateway.sandbox.access import refuses
from gateway.sandbox.clients import Client
from gateway.sandbox.scopes import API, AUDIENCE, OTHER_AUDIENCE, TRIGGER

CLIENTS = {
    "invoker": Client(secret="s", roles=frozenset({"ServiceInvoker"})),
    "nothing": Client(secret="s", roles=frozenset()),
}
GOOD: dict[str, Any] = {"exp": 100, "aud": AUDIENCE, "scope": TRIGGER, "client_id": "invoker"}


def judged(claims: dict[str, Any] | None, *, permission: str = TRIGGER, authorization: str | None = "Bearer t") -> str:
    challenge = refuses(authorization, permission=permission, verify=lambda _token: claims, clients=CLIENTS, now=99.0)
    return challenge or "good"


def test_a_good_bearer() -> None:
    assert judged(GOOD) == "good"
    assert judged({**GOOD, "aud": [OTHER_AUDIENCE, AUDIENCE]}, authorization="bearer t") == "good"


@pytest.mark.parametrize(
    ("claims", "words"),
    [
        (None, "not valid"),
        ({**GOOD, "exp": 99}, "expired"),
        ({**GOOD, "aud": OTHER_AUDIENCE}, "another resource"),
        ({**GOOD, "scope": API}, "another resource"),
    ],
)
def test_a_bad_token_is_named(claims: dict[str, Any] | None, words: str) -> None:
    assert 'error="invalid_token"' in judged(claims)
    assert words in judged(claims)


@pytest.mark.parametrize("authorization", [None, "", "Basic dDp0"])
def test_no_bearer_gets_a_bare_challenge(authorization: str | None) -> None:
    assert judged(GOOD, authorization=authorization) == 'Bearer realm="OIC"'


def test_a_missing_role_is_refused_though_the_token_is_good() -> None:
    assert judged({**GOOD, "client_id": "nothing"}) == 'Bearer realm="OIC"'
    assert judged({**GOOD, "scope": API}, permission=API) == 'Bearer realm="OIC"'
