import asyncio
import base64
import json
from collections.abc import Awaitable, Callable, Mapping
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import quote_plus

import aiohttp
import jwt
import pytest

from gateway.sandbox import AUDIENCE, OTHER_AUDIENCE, Sandbox
from gateway.sandbox.switches import TokenFault

Send = Callable[..., Awaitable[tuple[int, Mapping[str, str], bytes]]]

TRIGGER = "urn:opc:resource:consumer::all"


def basic(client_id: str, secret: str) -> str:
    return "Basic " + base64.b64encode(f"{client_id}:{secret}".encode()).decode()


def read(body: bytes) -> Any:
    return json.loads(body)


async def test_a_token_reply_has_the_shape_of_a_real_one(sandbox: Sandbox, ask: Send) -> None:
    status, headers, body = await ask()
    reply = read(body)
    assert status == 200
    assert headers["Content-Type"] == "application/json"
    assert headers["Cache-Control"] == "no-store"
    assert headers["X-ORACLE-DMS-ECID"]
    assert "Server" not in headers
    assert set(reply) == {"access_token", "token_type", "expires_in"}
    assert (reply["token_type"], reply["expires_in"]) == ("Bearer", 3600)
    assert 1300 <= len(reply["access_token"]) <= 1500


async def test_a_token_is_signed_and_carries_the_claims(
    sandbox: Sandbox, ask: Send, send: Send, clock: Callable[[], float]
) -> None:
    token = read((await ask())[2])["access_token"]
    sandbox.switches.jwks_open = True
    jwks = read((await send("GET", sandbox.origin + "/admin/v1/SigningCert/jwk"))[2])
    key = jwt.PyJWKSet.from_dict(jwks)[jwt.get_unverified_header(token)["kid"]]
    claims = jwt.decode(token, key, algorithms=["RS256"], audience=AUDIENCE, options={"verify_exp": False})
    assert claims["iss"] == "https://identity.oraclecloud.com/"
    assert claims["sub"] == claims["client_id"] == sandbox.client_id
    assert (claims["sub_type"], claims["scope"], claims["aud"]) == ("client", TRIGGER, AUDIENCE)
    assert (claims["iat"], claims["exp"]) == (int(clock()), int(clock()) + 3600)
    assert {"jti", "tenant", "client_name"} <= set(claims)


async def test_signing_keys_are_closed_by_default(sandbox: Sandbox, send: Send) -> None:
    assert (await send("GET", sandbox.origin + "/admin/v1/SigningCert/jwk"))[0] == 401


async def test_discovery_names_the_token_endpoint(sandbox: Sandbox, send: Send) -> None:
    _, _, body = await send("GET", sandbox.origin + "/.well-known/openid-configuration")
    assert read(body)["token_endpoint"] == sandbox.token_url


async def test_audience_may_be_a_list(sandbox: Sandbox, ask: Send) -> None:
    sandbox.switches.audience_as_list = True
    token = read((await ask())[2])["access_token"]
    assert jwt.decode(token, options={"verify_signature": False})["aud"] == [AUDIENCE]


async def test_basic_wants_id_and_secret_form_urlencoded(sandbox: Sandbox, ask: Send) -> None:
    client_id, secret = "awkward+id", sandbox.clients["awkward+id"].secret
    assert (await ask(basic=basic(quote_plus(client_id), quote_plus(secret))))[0] == 200
    assert (await ask(basic=basic(client_id, secret)))[0] == 401


async def test_post_authentication_works(sandbox: Sandbox, ask: Send) -> None:
    answer = await ask(basic="", client_id="awkward+id", client_secret=sandbox.clients["awkward+id"].secret)
    assert answer[0] == 200
    assert sandbox.token_requests[-1].client_auth == "post"


@pytest.mark.parametrize(
    "authorization",
    [
        basic("sandbox-app", "wrong"),
        basic("sandbox-app", "idcscs-5f0c1d8e-sandbox-only%0A"),
        basic("nobody", "s"),
        basic("asleep", "s"),
        basic("sandbox-app", ""),
        "Basic !!!",
        "Basic c2FuZGJveA==",
        "Digest x",
        "",
    ],
)
async def test_a_wrong_client_is_refused_in_the_known_words(authorization: str, ask: Send) -> None:
    status, headers, body = await ask(basic=authorization)
    assert status == 401
    assert read(body) == {"error": "invalid_client", "error_description": "Client authentication failed"}
    assert headers["WWW-Authenticate"].startswith("Basic ")


@pytest.mark.parametrize(
    ("form", "error"),
    [
        ({"grant_type": "device_code"}, "unsupported_grant_type"),
        ({"grant_type": None}, "invalid_request"),
        ({"client_secret": "both"}, "invalid_request"),
        ({"scope": None}, "invalid_scope"),
        ({"scope": f"{AUDIENCE}/{TRIGGER}"}, "invalid_scope"),
        ({"scope": "everything"}, "invalid_scope"),
    ],
)
async def test_a_wrong_request_is_refused(form: dict[str, str | None], error: str, ask: Send) -> None:
    status, _, body = await ask(**form)
    assert (status, read(body)["error"]) == (400, error)


async def test_a_grant_that_is_not_ticked_is_refused(ask: Send) -> None:
    for answer in (await ask(basic=basic("no-grant", "s")), await ask(grant_type="tls_client_auth")):
        assert (answer[0], read(answer[2])["error"]) == (401, "unauthorized_client")
    assert (await ask())[0] == 200


async def test_a_switch_unticks_a_grant_of_all(ask: Send, sandbox: Sandbox) -> None:
    sandbox.switches.allowed_grants = ("password",)
    status, _, body = await ask()
    assert (status, read(body)["error"]) == (401, "unauthorized_client")


async def test_an_application_that_is_not_activated_is_no_client(ask: Send, sandbox: Sandbox, send: Send) -> None:
    sandbox.switches.application = "inactive"
    status, _, body = await ask()
    assert (status, read(body)["error"]) == (401, "invalid_client")
    form = {"client_id": sandbox.client_id, "client_secret": sandbox.client_secret, "token": "t"}
    assert (await send("POST", sandbox.revoke_url, data=form))[0] == 401
    sandbox.switches.application = "active"
    assert (await ask())[0] == 200


async def test_a_scope_of_another_instance_is_granted(ask: Send, sandbox: Sandbox) -> None:
    token = read((await ask(scope=sandbox.other_scope))[2])["access_token"]
    assert jwt.decode(token, options={"verify_signature": False})["aud"] == OTHER_AUDIENCE


@pytest.mark.parametrize("offset", [400.0, -400.0])
async def test_a_clock_that_is_off_shows_in_date_and_claims(
    offset: float, ask: Send, call: Send, sandbox: Sandbox, clock: Callable[[], float]
) -> None:
    sandbox.switches.clock_offset = offset
    _, headers, body = await ask()
    token = read(body)["access_token"]
    claims = jwt.decode(token, options={"verify_signature": False, "verify_iat": False, "verify_exp": False})
    assert (claims["iat"], claims["exp"]) == (int(clock() + offset), int(clock() + offset) + 3600)
    for shown in (headers, (await call("GET", sandbox.upstream("ECHO"), token=token))[1]):
        assert parsedate_to_datetime(shown["Date"]).timestamp() == int(clock() + offset)


@pytest.mark.parametrize(
    ("body", "media_type"),
    [
        (b"grant_type=client_credentials&grant_type=client_credentials", "application/x-www-form-urlencoded"),
        (b'{"grant_type":"client_credentials"}', "application/json"),
        (b"grant_type=\xff", "application/x-www-form-urlencoded"),
        (b"scope=" + b"x" * 70_000, "application/x-www-form-urlencoded"),
    ],
)
async def test_an_unreadable_request_is_refused(body: bytes, media_type: str, sandbox: Sandbox, send: Send) -> None:
    authorization = aiohttp.encode_basic_auth(sandbox.client_id, sandbox.client_secret)
    headers = {"Content-Type": media_type, "Authorization": authorization}
    status, _, reply = await send("POST", sandbox.token_url, data=body, headers=headers)
    assert (status, read(reply)["error"]) == (400, "invalid_request")


async def test_only_post_gets_tokens(sandbox: Sandbox, send: Send) -> None:
    status, headers, _ = await send("GET", sandbox.token_url)
    assert (status, headers["Allow"]) == (405, "POST")


async def test_a_scope_can_shorten_the_life(ask: Send, sandbox: Sandbox) -> None:
    reply = read((await ask(scope=f"{sandbox.scope} urn:opc:resource:expiry=90"))[2])
    claims = jwt.decode(reply["access_token"], options={"verify_signature": False})
    assert (reply["expires_in"], claims["exp"] - claims["iat"]) == (90, 90)


async def test_several_resources_answer_in_another_shape(ask: Send, sandbox: Sandbox) -> None:
    both = f"{sandbox.scope} {OTHER_AUDIENCE}{TRIGGER}"
    assert read((await ask(scope=both))[2])["error"] == "invalid_scope"
    tokens = read((await ask(scope=f"{both} urn:opc:resource:multiresourcescope"))[2])["tokenResponses"]
    audiences = [jwt.decode(one["access_token"], options={"verify_signature": False})["aud"] for one in tokens]
    assert audiences == [AUDIENCE, OTHER_AUDIENCE]


async def test_the_journal_keeps_no_secret(sandbox: Sandbox, ask: Send) -> None:
    await ask(basic="", client_id=sandbox.client_id, client_secret=sandbox.client_secret)
    entry = sandbox.token_requests[0]
    assert (entry.client_id, entry.client_auth, entry.status) == (sandbox.client_id, "post", 200)
    assert entry.form == {
        "grant_type": "client_credentials",
        "scope": sandbox.scope,
        "client_id": sandbox.client_id,
    }
    assert sandbox.client_secret not in repr(entry) + repr(sandbox.clients)


@pytest.mark.parametrize(("how", "value"), [("string", "3600"), ("float", 3600.0), ("int", 3600), ("missing", None)])
async def test_the_lifetime_is_written_in_variants(how: Any, value: object, sandbox: Sandbox, ask: Send) -> None:
    sandbox.switches.expires_in = how
    reply = read((await ask())[2])
    assert reply.get("expires_in") == value
    assert type(reply.get("expires_in")) is type(value)


@pytest.mark.parametrize(
    ("kind", "status", "start"),
    [
        ("empty", 200, b""),
        ("html", 200, b"<!DOCTYPE html>"),
        ("truncated", 200, b'{"access_token"'),
        ("no-token", 200, b'{"token_type"'),
        ("400", 400, b'{"error":"invalid_request"'),
        ("429", 429, b'{"error"'),
        ("500", 500, b'{"error"'),
        ("503", 503, b"<html>"),
    ],
)
async def test_faults_of_the_token_endpoint(
    kind: TokenFault, status: int, start: bytes, sandbox: Sandbox, ask: Send
) -> None:
    sandbox.switches.token_fault = kind
    sandbox.switches.token_retry_after = "7"
    answered, headers, body = await ask()
    assert answered == status
    assert body.startswith(start)
    assert bool(body) is bool(start)
    assert headers.get("Retry-After") == ("7" if status in {429, 503} else None)
    sandbox.switches.token_fault = ""
    assert (await ask())[0] == 200


async def test_an_outage_closes_the_connection_without_an_answer(sandbox: Sandbox, ask: Send) -> None:
    sandbox.switches.token_fault = "outage"
    with pytest.raises(aiohttp.ServerDisconnectedError):
        await ask()
    assert sandbox.token_requests[0].status == 0


async def test_the_budget_answers_429_until_the_window_has_passed(sandbox: Sandbox, ask: Send, clock: Any) -> None:
    sandbox.switches.token_budget_per_second = 2
    assert [(await ask())[0] for _ in range(3)] == [200, 200, 429]
    clock.time += 1
    assert (await ask())[0] == 200


async def test_a_gate_delays_the_response_of_a_recorded_request(sandbox: Sandbox, ask: Send) -> None:
    gate = sandbox.switches.token_gate = asyncio.Event()
    task = asyncio.ensure_future(ask())
    await sandbox.token_requests.reached(1)
    assert (task.done(), sandbox.token_requests[0].status) == (False, 0)
    gate.set()
    assert (await task)[0] == 200


async def test_a_changed_secret_counts_at_once(sandbox: Sandbox, ask: Send) -> None:
    old = aiohttp.encode_basic_auth(sandbox.client_id, sandbox.client_secret)
    sandbox.rotate_secret("new one")
    assert (await ask(basic=old))[0] == 401
    assert (await ask(basic=basic(sandbox.client_id, "new+one")))[0] == 200
