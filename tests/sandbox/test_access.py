from typing import Any

import pytest

from gateway.sandbox.access import Refusal, find_refusal
from gateway.sandbox.clients import RegisteredClient
from gateway.sandbox.scope_check import API, AUDIENCE, OTHER_AUDIENCE, TRIGGER
from gateway.sandbox.switches import Switches

CLIENTS = {
    "invoker": RegisteredClient(secret="s", roles=frozenset({"ServiceInvoker"})),
    "nothing": RegisteredClient(secret="s", roles=frozenset()),
    "as-switched": RegisteredClient(secret="s"),
}
GOOD: dict[str, Any] = {"exp": 100, "aud": AUDIENCE, "scope": TRIGGER, "client_id": "invoker"}


def judged(
    claims: dict[str, Any] | None,
    *,
    permission: str = TRIGGER,
    authorization: str | None = "Bearer t",
    switches: Switches | None = None,
) -> str:
    refusal = find_refusal(
        authorization,
        permission=permission,
        verify=lambda _token: claims,
        clients=CLIENTS,
        switches=switches or Switches(),
        now=99.0,
    )
    return f"{refusal.status} {refusal.challenge}" if refusal else "good"


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
    assert judged(GOOD, authorization=authorization) == '401 Bearer realm="OIC"'


def test_a_missing_role_is_refused_though_the_token_is_good() -> None:
    assert judged({**GOOD, "client_id": "nothing"}) == '401 Bearer realm="OIC"'
    assert judged({**GOOD, "scope": API}, permission=API) == '401 Bearer realm="OIC"'


def test_roles_that_a_client_lacks_are_those_of_the_switch() -> None:
    user = Switches(roles=("ServiceUser",), role_refusal=403)
    claims = {**GOOD, "client_id": "as-switched"}
    assert judged(claims) == "good"
    assert judged(claims, switches=user).startswith("403 ")
    assert judged({**claims, "scope": API}, permission=API, switches=user) == "good"
    assert judged(GOOD, switches=user) == "good"
    assert Refusal().status == 401
