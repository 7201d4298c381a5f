"""Every grant and client authentication that Authlib's server supports, over HTTP."""

import secrets
import time
from collections.abc import Callable
from functools import partial
from urllib.parse import parse_qs, urlsplit

import aiohttp
import pytest
from joserfc.jwk import ECKey, KeySet, RSAKey

from gateway.errors import TokenRefused
from gateway.oauth.assertions import jose_header, make_claims, sign
from gateway.oauth.authorization import authorization_url, code_challenge
from gateway.oauth.endpoint import TokenEndpoint
from gateway.oauth.grants import build_token_request
from gateway.oauth.token_request import TokenRequestBuilder
from tests.fakes.authlib_server import AUDIENCE, PASSWORD, USER, Client, serving
from tests.fakes.keys import pair

ALGORITHMS = {"rsa": "RS256", "ec": "ES256"}
METHODS = {
    "basic": "client_secret_basic",
    "post": "client_secret_post",
    "private_key_jwt": "client_assertion_jwt",
    "none": "none",
}
JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
GRANTS = ("client_credentials", "password", "refresh_token", "authorization_code", JWT_BEARER)


def client(way: str, kind: str = "rsa") -> Client:
    imported = (RSAKey if kind == "rsa" else ECKey).import_key(pair(kind).key, {"kid": "alias"})
    return Client(
        "orders", "s3cret +&=", method=METHODS[way], scope="orders stock", keys=KeySet([imported]), grants=GRANTS
    )


def assertion(subject: str, kind: str = "rsa", *, issuer: str = "orders", age: float = 0.0) -> Callable[[], str]:
    def make() -> str:
        key = pair(kind).private
        now = time.time() - age
        claims = make_claims(issuer, subject, audience=AUDIENCE, now=now, life=60.0, jti=secrets.token_hex(8))
        return sign(claims, key, algorithm=ALGORITHMS[kind], headers=jose_header(key, kid="alias"))

    return make


def requests(url: str, grant: str, way: str, **readers: Callable[[], str]) -> TokenRequestBuilder:
    return TokenRequestBuilder(
        partial(build_token_request, url, client_id="orders", scope="orders"),
        grant=grant,
        client_auth=way,
        endpoint=TokenEndpoint(),
        readers={"client_assertion": assertion("orders"), **readers},
        client_secrets=[lambda: "wrong", lambda: "s3cret +&="],
    )


@pytest.mark.parametrize("way", ["basic", "post", "private_key_jwt"])
async def test_client_credentials(way: str) -> None:
    with serving(client(way)) as (url, server):
        asks = requests(url, "client_credentials", way)
        for _ in range(2):  # a second assertion is another one
            assert (await asks.send(asks.build())).value == server.issued[-1]


@pytest.mark.parametrize("way", METHODS)
async def test_password_and_then_its_rotating_refresh_token(way: str) -> None:
    with serving(client(way)) as (url, server):
        asks = requests(url, "password", way, username=lambda: USER, password=lambda: PASSWORD)
        reply = await asks.send(asks.build())
        assert reply.value == server.issued[-1]
        assert reply.refresh_token in server.refresh_tokens
        again = await asks.send(asks.build("refresh_token", refresh_token=reply.refresh_token))
        assert again.value == server.issued[-1] != reply.value
        assert list(server.refresh_tokens) == [again.refresh_token]
        with pytest.raises(TokenRefused) as caught:
            await asks.send(asks.build("refresh_token", refresh_token=reply.refresh_token))
        assert caught.value.reason.startswith("invalid_grant: ")


async def test_a_refresh_token_from_outside() -> None:
    with serving(client("basic")) as (url, server):
        first = requests(url, "password", "basic", username=lambda: USER, password=lambda: PASSWORD)
        refresh_token = (await first.send(first.build())).refresh_token or ""
        asks = requests(url, "refresh_token", "basic", refresh_token=lambda: refresh_token)
        assert (await asks.send(asks.build())).value == server.issued[-1]


@pytest.mark.parametrize("kind", ALGORITHMS)
async def test_a_user_assertion(kind: str) -> None:
    with serving(client("basic", kind)) as (url, server):
        asks = requests(url, "jwt_bearer", "basic", assertion=assertion(USER, kind))
        assert (await asks.send(asks.build())).value == server.issued[-1]


@pytest.mark.parametrize("kind", ALGORITHMS)
async def test_a_client_assertion_of_each_kind_of_key(kind: str) -> None:
    with serving(client("private_key_jwt", kind)) as (url, server):
        readers = {"client_assertion": assertion("orders", kind)}
        asks = requests(url, "client_credentials", "private_key_jwt", **readers)
        assert (await asks.send(asks.build())).value == server.issued[-1]


@pytest.mark.parametrize("way", METHODS)
async def test_a_sign_in_with_pkce(way: str) -> None:
    verifier, back = secrets.token_urlsafe(48), "http://127.0.0.1:8400/"
    with serving(client(way)) as (url, server):
        sign_in = authorization_url(
            url.replace("/token", "/authorize"),
            client_id="orders",
            redirect_uri=back,
            state="st",
            challenge=code_challenge(verifier),
            scope="orders",
        )
        async with aiohttp.ClientSession() as browser, browser.get(sign_in, allow_redirects=False) as answer:
            query = parse_qs(urlsplit(answer.headers["Location"]).query)
        assert query["state"] == ["st"]
        asks = requests(url, "authorization_code", way)
        [code] = query["code"]
        stolen = asks.build("authorization_code", code=code, redirect_uri=back, code_verifier=verifier[::-1])
        with pytest.raises(TokenRefused):
            await asks.send(stolen)
        exchange = asks.build("authorization_code", code=code, redirect_uri=back, code_verifier=verifier)
        reply = await asks.send(exchange)
        assert reply.value == server.issued[-1]
        again = await asks.send(asks.build(refresh_token=reply.refresh_token or ""))
        assert again.value == server.issued[-1]


@pytest.mark.parametrize(
    ("grant", "way", "readers", "code"),
    [
        ("password", "basic", {"username": lambda: USER, "password": lambda: "wrong"}, "invalid_request"),
        ("refresh_token", "basic", {"refresh_token": lambda: "unknown"}, "invalid_grant"),
        ("jwt_bearer", "basic", {"assertion": assertion("nobody")}, "invalid_grant"),
        ("jwt_bearer", "basic", {"assertion": assertion(USER, age=3600)}, "invalid_grant"),
        ("client_credentials", "private_key_jwt", {"client_assertion": assertion("other")}, "invalid_client"),
        (
            "client_credentials",
            "private_key_jwt",
            {"client_assertion": assertion("orders", age=3600)},
            "invalid_client",
        ),
    ],
)
async def test_what_authlib_refuses_is_refused_for_good(
    *, grant: str, way: str, readers: dict[str, Callable[[], str]], code: str
) -> None:
    with serving(client(way)) as (url, server):
        asks = requests(url, grant, way, **readers)
        with pytest.raises(TokenRefused) as caught:
            await asks.send(asks.build())
        assert caught.value.reason.startswith(f"{code}: ")
        assert server.issued == []
