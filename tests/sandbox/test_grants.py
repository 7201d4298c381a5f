"""The identity domain's grants and client authentications, asked over HTTP; TLS is in tests/system/test_grants.py."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import parse_qs, quote, urlencode, urlsplit

import jwt
import pytest

from gateway.sandbox import DEFAULT_PASSWORD, DEFAULT_USER, RegisteredClient, Sandbox
from gateway.sandbox.clients import thumbprint
from tests.fakes.keys import pair

Send = Callable[..., Awaitable[tuple[int, Mapping[str, str], bytes]]]
JsonResponse = tuple[int, dict[str, Any]]

JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
GRANTS = frozenset({"client_credentials", "password", "refresh_token", "authorization_code", JWT_BEARER})
BACK = "https://app.example/back?tenant=1"
VERIFIER = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
CHALLENGE = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
PASSWORD = {"grant_type": "password", "username": DEFAULT_USER, "password": DEFAULT_PASSWORD}


@pytest.fixture
async def sandbox(clock: Callable[[], float]) -> AsyncIterator[Sandbox]:
    clients = {
        "app": RegisteredClient(
            secret="s", grants=GRANTS, redirect_uris=frozenset({BACK}), certificates={"alias": CERTIFICATE}
        ),
        "page": RegisteredClient(is_public=True, grants=GRANTS, redirect_uris=frozenset({BACK})),
    }
    async with Sandbox(clients=clients, now=clock) as started:
        yield started


CERTIFICATE = pair().certificate


@pytest.fixture
def ask(sandbox: Sandbox, send: Send) -> Callable[..., Awaitable[JsonResponse]]:
    """Sends a form of the client `app`; None leaves a parameter out."""

    async def ask(path: str = "", **form: str | None) -> JsonResponse:
        parameters = {"client_id": "app", "client_secret": "s", "scope": sandbox.scope, **form}
        data = {name: value for name, value in parameters.items() if value is not None}
        status, _, body = await send("POST", path or sandbox.token_url, data=data)
        return status, json.loads(body or b"{}")

    return ask


def claims(reply: dict[str, Any]) -> dict[str, Any]:
    token_claims: dict[str, Any] = jwt.decode(reply["access_token"], options={"verify_signature": False})
    return token_claims


async def test_a_users_token_speaks_for_the_user(ask: Any, sandbox: Sandbox) -> None:
    status, reply = await ask(**PASSWORD)
    token = claims(reply)
    assert (status, token["sub"], token["sub_type"], token["client_id"]) == (200, DEFAULT_USER, "user", "app")
    assert "refresh_token" not in reply
    assert "refresh_token" in (await ask(**PASSWORD, scope=f"{sandbox.scope} offline_access"))[1]


@pytest.mark.parametrize(
    ("more", "error"),
    [
        ({"password": "wrong"}, "invalid_grant"),
        ({"username": "nobody"}, "invalid_grant"),
        ({"username": None}, "invalid_request"),
        ({"password": None}, "invalid_request"),
    ],
)
async def test_a_wrong_user_is_refused(more: dict[str, str | None], error: str, ask: Any) -> None:
    status, reply = await ask(**{**PASSWORD, **more})
    assert (status, reply["error"]) == (400, error)


async def test_the_journal_keeps_no_password(ask: Any, sandbox: Sandbox) -> None:
    await ask(**PASSWORD)
    assert DEFAULT_PASSWORD not in repr(list(sandbox.token_requests)) + repr(sandbox.users)


def assertion(now: float, subject: str = "app", head: dict[str, str] | None = None, **more: Any) -> str:
    assertion = {
        "iss": "app",
        "sub": subject,
        "aud": ["https://identity.oraclecloud.com/"],
        "exp": now + 60,
        "jti": str(len(subject)),
        **more,
    }
    written = {name: value for name, value in assertion.items() if value is not None}
    headers = {"kid": "alias"} if head is None else head
    return jwt.encode(written, pair(more.pop("key", "rsa")).private, algorithm="RS256", headers=headers)


def signed(value: str) -> dict[str, str | None]:
    kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
    return {
        "grant_type": "client_credentials",
        "client_assertion": value,
        "client_assertion_type": kind,
        "client_secret": None,
    }


@pytest.mark.parametrize("head", [{"kid": "alias"}, {"x5t": thumbprint(CERTIFICATE)}, {"kid": "no", "x5t": "no"}, {}])
async def test_a_client_assertion_is_found_by_kid_or_x5t(
    head: dict[str, str], ask: Any, sandbox: Sandbox, clock: Any
) -> None:
    status, reply = await ask(**signed(assertion(clock(), head=head)))
    good = head in ({"kid": "alias"}, {"x5t": thumbprint(CERTIFICATE)})
    assert (status, reply.get("error")) == ((200, None) if good else (401, "invalid_client"))
    assert sandbox.token_requests[-1].client_auth == "private_key_jwt"


async def test_an_assertion_is_taken_once(ask: Any, clock: Any) -> None:
    form = signed(assertion(clock()))
    assert [(await ask(**form))[0] for _ in range(2)] == [200, 401]


@pytest.mark.parametrize(
    "more",
    [
        {"iss": "other"},
        {"subject": "other"},
        {"aud": "https://other/"},
        {"aud": None},
        {"exp": 1},
        {"exp": None},
        {"sub": None},
    ],
)
async def test_a_wrong_client_assertion_is_refused(more: dict[str, Any], ask: Any, clock: Any) -> None:
    status, reply = await ask(**signed(assertion(clock(), **more)))
    assert (status, reply["error"]) == (401, "invalid_client")


async def test_an_assertion_of_another_key_or_algorithm_is_refused(ask: Any, clock: Any) -> None:
    payload = {"iss": "app", "sub": "app", "aud": "https://identity.oraclecloud.com/", "exp": clock() + 60}
    forged = jwt.encode(payload, pair(name="other").private, algorithm="RS256", headers={"kid": "alias"})
    hashed = jwt.encode(payload, "k" * 32, algorithm="HS256", headers={"kid": "alias"})
    for value in (forged, hashed, "no.jwt", ""):
        assert (await ask(**signed(value)))[0] == 401


async def test_two_proofs_are_one_too_many(ask: Any, clock: Any) -> None:
    status, reply = await ask(**{**signed(assertion(clock())), "client_secret": "s"})
    assert (status, reply["error"]) == (400, "invalid_request")


async def test_a_user_assertion(ask: Any, clock: Any) -> None:
    status, reply = await ask(grant_type=JWT_BEARER, assertion=assertion(clock(), DEFAULT_USER))
    assert (status, claims(reply)["sub"]) == (200, DEFAULT_USER)
    status, reply = await ask(grant_type=JWT_BEARER, assertion=assertion(clock(), "nobody"))
    assert (status, reply["error"]) == (400, "invalid_grant")


async def test_without_tls_there_is_no_certificate(ask: Any, sandbox: Sandbox) -> None:
    sandbox.clients["app"] = RegisteredClient(secret="s", grants=frozenset({"tls_client_auth"}))
    assert (await ask(grant_type="tls_client_auth"))[1]["error"] == "invalid_client"


async def test_a_public_client_only_sends_its_id(ask: Any) -> None:
    form = {**PASSWORD, "client_secret": None}
    assert (await ask(**form, client_id="page"))[0] == 200
    assert (await ask(**form))[1]["error"] == "invalid_client"
    assert (await ask(**{**form, "grant_type": "client_credentials"}, client_id="page"))[1][
        "error"
    ] == "unauthorized_client"


@pytest.fixture
def agree(sandbox: Sandbox, send: Send) -> Callable[..., Awaitable[dict[str, str]]]:
    """Signs in; gives what comes back to the redirect URI."""

    async def agree(**more: str) -> dict[str, str]:
        parameters = {
            "response_type": "code",
            "client_id": "page",
            "redirect_uri": BACK,
            "scope": f"{sandbox.scope} offline_access",
            "state": "st&=",
            "code_challenge": CHALLENGE,
            "code_challenge_method": "S256",
            **more,
        }
        status, headers, _ = await send("GET", f"{sandbox.authorize_url}?{urlencode(parameters, quote_via=quote)}")
        if status != 302:
            return {"status": str(status)}
        assert headers["Location"].startswith(f"{BACK}&")
        return {name: value for name, [value] in parse_qs(urlsplit(headers["Location"]).query).items()}

    return agree


def exchange(code: str, **more: str) -> dict[str, str | None]:
    return {
        "grant_type": "authorization_code",
        "client_id": "page",
        "client_secret": None,
        "scope": None,
        "code": code,
        "redirect_uri": BACK,
        "code_verifier": VERIFIER,
        **more,
    }


async def test_a_sign_in_brings_a_code_and_the_code_a_token(ask: Any, agree: Any) -> None:
    back = await agree()
    assert back["state"] == "st&="
    status, reply = await ask(**exchange(back["code"]))
    assert (status, claims(reply)["sub"]) == (200, DEFAULT_USER)
    assert reply["refresh_token"]


@pytest.mark.parametrize(
    "more",
    [{"code_verifier": "x" * 43}, {"redirect_uri": "https://app.example/"}, {"client_id": "other"}, {"code": "other"}],
)
async def test_a_code_is_bound_to_its_request(more: dict[str, str], ask: Any, agree: Any, sandbox: Sandbox) -> None:
    sandbox.clients["other"] = sandbox.clients["page"]
    code = (await agree())["code"]
    status, reply = await ask(**{**exchange(code), **more})
    assert (status, reply["error"]) == (400, "invalid_grant")


async def test_a_code_lives_three_minutes(ask: Any, agree: Any, clock: Any) -> None:
    early, late = (await agree())["code"], (await agree())["code"]
    clock.time += 179
    assert (await ask(**exchange(early)))[0] == 200
    clock.time += 1
    assert (await ask(**exchange(late)))[0] == 400


async def test_a_code_used_twice_ends_the_sign_in(ask: Any, agree: Any) -> None:
    code = (await agree())["code"]
    token = (await ask(**exchange(code)))[1]["refresh_token"]
    assert (await ask(**exchange(code)))[0] == 400
    assert (await ask(**refresh(token)))[0] == 400


@pytest.mark.parametrize(
    ("more", "error"),
    [
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"scope": "everything"}, "invalid_scope"),
        ({"code_challenge": ""}, "invalid_request"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
    ],
)
async def test_a_wrong_sign_in_comes_back_with_the_error(more: dict[str, str], error: str, agree: Any) -> None:
    back = await agree(**more)
    assert (back["error"], back["state"]) == (error, "st&=")
    assert "code" not in back


async def test_without_a_sign_in_access_is_denied(agree: Any, sandbox: Sandbox) -> None:
    sandbox.switches.signed_in = ""
    assert (await agree())["error"] == "access_denied"


@pytest.mark.parametrize("more", [{"client_id": "nobody"}, {"redirect_uri": "https://evil.example/"}])
async def test_an_unregistered_redirect_uri_is_never_used(more: dict[str, str], agree: Any) -> None:
    assert await agree(**more) == {"status": "400"}


@pytest.mark.parametrize(
    ("uri", "is_good"),
    [
        ("http://127.0.0.1:8400/", True),
        ("http://127.0.0.1:65123/back/x?y=z", True),
        ("http://127.0.0.1/", True),
        ("http://[::1]:1/", True),
        ("http://127.0.0.1:80@evil.example/", False),
        ("http://127.0.0.1.evil.example/", False),
        ("http://127.0.0.1:8400/#f", False),
        ("http://127.0.0.1:8400/\r\nX: y", False),
        ("http://localhost:8400/", False),
        ("https://127.0.0.1:8400/", False),
        ("", False),
    ],
)
async def test_the_default_client_is_sent_back_to_loopback(
    uri: str, sandbox: Sandbox, send: Send, *, is_good: bool
) -> None:
    query = {"response_type": "code", "client_id": sandbox.client_id, "redirect_uri": uri, "scope": sandbox.scope}
    status, headers, _ = await send("GET", f"{sandbox.authorize_url}?{urlencode(query)}")
    assert (status, "Location" in headers) == ((302, True) if is_good else (400, False))
    assert headers.get("Location", uri).startswith(uri)


def refresh(token: str, **more: str | None) -> dict[str, str | None]:
    return {
        "grant_type": "refresh_token",
        "client_id": "page",
        "client_secret": None,
        "scope": None,
        "refresh_token": token,
        **more,
    }


async def test_a_refresh_token_is_used_again_and_again(ask: Any, sandbox: Sandbox, clock: Any) -> None:
    token = sandbox.mint_refresh("page")
    for _ in range(2):
        status, reply = await ask(**refresh(token))
        assert (status, "refresh_token" in reply) == (200, False)
    assert (await ask(**refresh(token, client_id="app", client_secret="s")))[1]["error"] == "invalid_grant"
    assert (await ask(**refresh(token, scope="https://more")))[1]["error"] == "invalid_scope"
    clock.time += sandbox.switches.refresh_lifetime
    assert (await ask(**refresh(token)))[1]["error"] == "invalid_grant"


async def test_with_rotation_a_second_use_ends_the_family(ask: Any, sandbox: Sandbox) -> None:
    sandbox.switches.rotate_refresh_tokens = True
    first = sandbox.mint_refresh("page")
    second = (await ask(**refresh(first)))[1]["refresh_token"]
    third = (await ask(**refresh(second)))[1]["refresh_token"]
    assert len({first, second, third}) == 3
    assert (await ask(**refresh(first)))[1]["error"] == "invalid_grant"
    assert (await ask(**refresh(third)))[1]["error"] == "invalid_grant"


async def test_a_used_refresh_token_may_be_taken_again_for_a_while(ask: Any, sandbox: Sandbox, clock: Any) -> None:
    sandbox.switches.rotate_refresh_tokens, sandbox.switches.refresh_grace = True, 10
    first = sandbox.mint_refresh("page")
    successors = {(await ask(**refresh(first)))[1]["refresh_token"] for _ in range(2)}
    assert len(successors) == 2
    for successor in successors:
        assert (await ask(**refresh(successor)))[0] == 200
    clock.time += 10
    assert (await ask(**refresh(first)))[1]["error"] == "invalid_grant"
    assert (await ask(**refresh(successors.pop())))[1]["error"] == "invalid_grant"


async def test_a_revoked_refresh_token_is_refused(ask: Any, sandbox: Sandbox) -> None:
    token, other = sandbox.mint_refresh("page"), sandbox.mint_refresh("page")
    form = {"client_id": "page", "client_secret": None}
    assert (await ask(sandbox.revoke_url, token=token))[0] == 200  # of another client: nothing happens
    assert (await ask(**refresh(token)))[0] == 200
    assert (await ask(sandbox.revoke_url, **form, token=token))[0] == 200
    assert (await ask(sandbox.revoke_url, **form, token="unknown"))[0] == 200
    assert [(await ask(**refresh(one)))[0] for one in (token, other)] == [400, 200]
    assert (await ask(sandbox.revoke_url, client_secret="wrong", token=other))[0] == 401
    sandbox.revoke_signins()
    assert (await ask(**refresh(other)))[0] == 400


async def test_resource_may_be_repeated(sandbox: Sandbox, send: Send) -> None:
    pairs = [("grant_type", "client_credentials"), ("client_id", "app"), ("client_secret", "s")]
    pairs += [("scope", sandbox.scope), ("resource", "https://one"), ("resource", "https://two")]
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    assert (await send("POST", sandbox.token_url, data=urlencode(pairs), headers=headers))[0] == 200
