"""Several client secrets in order, and what is read for each request."""

from collections.abc import Callable
from functools import partial
from urllib.parse import parse_qs

import pytest

from gateway.errors import TokenRefused, TokenUnavailable
from gateway.oauth.grants import TokenRequest, TokenResponse, build_token_request
from gateway.oauth.token_request import TokenRequestBuilder

PLAN = partial(build_token_request, "https://idcs.example/token", client_id="orders")


class Endpoint:
    """Takes the secrets that are `good`; `used_secrets` are those that were shown."""

    def __init__(self, *good: str, code: str = "invalid_client") -> None:
        self.good = set(good)
        self.code = code
        self.used_secrets: list[str] = []

    async def __call__(self, request: TokenRequest) -> TokenResponse:
        [secret] = parse_qs(request.body.decode())["client_secret"]
        self.used_secrets.append(secret)
        if secret not in self.good:
            raise TokenRefused(reason=f"{self.code}: no")
        return TokenResponse(f"for {secret}")


def reader(current_secrets: dict[str, str], name: str) -> Callable[[], str]:
    def read() -> str:
        if name not in current_secrets:
            raise FileNotFoundError(name)
        return current_secrets[name]

    return read


def requests(endpoint: Endpoint, current_secrets: dict[str, str]) -> TokenRequestBuilder:
    secrets = [reader(current_secrets, name) for name in ("new", "old")]
    return TokenRequestBuilder(
        PLAN, grant="client_credentials", client_auth="post", endpoint=endpoint, readers={}, client_secrets=secrets
    )


async def test_the_next_secret_is_tried_at_once_in_the_same_fetch() -> None:
    endpoint = Endpoint("2")
    asks = requests(endpoint, {"new": "1", "old": "2"})
    assert (await asks.send(asks.build())).value == "for 2"
    assert endpoint.used_secrets == ["1", "2"]


async def test_the_one_that_worked_goes_first_until_one_changes() -> None:
    endpoint, current_secrets = Endpoint("2"), {"new": "1", "old": "2"}
    asks = requests(endpoint, current_secrets)
    for _ in range(2):
        await asks.send(asks.build())
    assert endpoint.used_secrets == ["1", "2", "2"]
    current_secrets["new"] = "3"
    endpoint.good, endpoint.used_secrets = {"3"}, []
    await asks.send(asks.build())
    await asks.send(asks.build())
    assert endpoint.used_secrets == ["3", "3"]


async def test_other_secrets_are_tried_when_the_last_good_is_gone() -> None:
    endpoint = Endpoint("2")
    asks = requests(endpoint, {"new": "1", "old": "2"})
    await asks.send(asks.build())
    endpoint.good, endpoint.used_secrets = {"1"}, []
    assert (await asks.send(asks.build())).value == "for 1"
    assert endpoint.used_secrets == ["2", "1"]


async def test_when_all_are_wrong_each_is_tried_once() -> None:
    endpoint = Endpoint()
    asks = requests(endpoint, {"new": "1", "old": "2"})
    with pytest.raises(TokenRefused):
        await asks.send(asks.build())
    assert endpoint.used_secrets == ["1", "2"]


@pytest.mark.parametrize("code", ["invalid_scope", "unauthorized_client", "invalid_grant", "invalid_request"])
async def test_another_refusal_is_not_the_secrets_fault(code: str) -> None:
    endpoint = Endpoint(code=code)
    asks = requests(endpoint, {"new": "1", "old": "2"})
    with pytest.raises(TokenRefused) as caught:
        await asks.send(asks.build())
    assert caught.value.reason == f"{code}: no"
    assert endpoint.used_secrets == ["1"]


async def test_an_outage_is_not_the_secrets_fault() -> None:
    async def down(_request: TokenRequest) -> TokenResponse:
        raise TokenUnavailable(reason="timeout: no complete answer in time")

    asks = TokenRequestBuilder(
        PLAN,
        grant="client_credentials",
        client_auth="basic",
        endpoint=down,
        readers={},
        client_secrets=[lambda: "1", lambda: "2"],
    )
    with pytest.raises(TokenUnavailable):
        await asks.send(asks.build())


async def test_a_secret_that_cannot_be_read_is_passed_over() -> None:
    endpoint = Endpoint("2")
    asks = requests(endpoint, {"old": "2"})
    await asks.send(asks.build())
    assert endpoint.used_secrets == ["2"]


def test_when_none_can_be_read_the_first_is_named() -> None:
    with pytest.raises(FileNotFoundError, match="new"):
        requests(Endpoint(), {}).build()


def test_no_secret_is_kept_or_shown() -> None:
    asks = requests(Endpoint(), {"new": "hunter2", "old": "hunter3"})
    token_request = asks.build()
    assert token_request.fallback is not None
    for shown in (repr(token_request), repr(vars(asks)), token_request.secret_id, token_request.fallback.secret_id):
        assert "hunter" not in shown


def form_of(request: TokenRequest) -> dict[str, list[str]]:
    return parse_qs(request.body.decode())


def test_each_request_reads_only_the_values_it_needs() -> None:
    current_secrets = {"assertion": "u-1", "client_assertion": "c-1"}
    asks = TokenRequestBuilder(
        PLAN,
        grant="jwt_bearer",
        client_auth="private_key_jwt",
        endpoint=Endpoint(),
        readers={name: reader(current_secrets, name) for name in ("assertion", "client_assertion", "password")},
    )
    assert form_of(asks.build())["assertion"] == ["u-1"]
    current_secrets.update(assertion="u-2", client_assertion="c-2")
    form = form_of(asks.build())
    assert (form["assertion"], form["client_assertion"]) == (["u-2"], ["c-2"])


def test_a_sign_in_exchanges_its_code_and_then_refreshes() -> None:
    asks = TokenRequestBuilder(PLAN, grant="authorization_code", client_auth="none", endpoint=Endpoint(), readers={})
    code = asks.build("authorization_code", code="c", redirect_uri="http://127.0.0.1/", code_verifier="v")
    assert code.body == (
        b"grant_type=authorization_code&code=c&redirect_uri=http%3A%2F%2F127.0.0.1%2F&code_verifier=v&client_id=orders"
    )
    assert asks.build(refresh_token="r").body == b"grant_type=refresh_token&refresh_token=r&client_id=orders"


def test_before_the_sign_in_there_is_nothing_to_ask_with() -> None:
    asks = TokenRequestBuilder(PLAN, grant="authorization_code", client_auth="none", endpoint=Endpoint(), readers={})
    with pytest.raises(TokenRefused) as caught:
        asks.build()
    assert caught.value.reason.startswith("sign-in: ")


def test_a_rotated_refresh_token_goes_before_the_configured_one() -> None:
    readers = {"refresh_token": lambda: "first"}
    asks = TokenRequestBuilder(PLAN, grant="refresh_token", client_auth="none", endpoint=Endpoint(), readers=readers)
    assert form_of(asks.build())["refresh_token"] == ["first"]
    assert form_of(asks.build(refresh_token="second"))["refresh_token"] == ["second"]
