import asyncio
import hashlib
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

import pytest

from gateway.sandbox import API, OTHER_AUDIENCE, Client, Sandbox

Send = Callable[..., Awaitable[tuple[int, Mapping[str, str], bytes]]]
ID = "x-oracle-ics-instance-id"


async def test_a_good_bearer_runs_a_flow(sandbox: Sandbox, call: Send) -> None:
    status, headers, _ = await call("GET", sandbox.upstream("ECHO"))
    assert status == 200
    assert len(headers[ID]) == 22
    assert headers["opc-request-id"].count("/") == 2
    assert headers["Strict-Transport-Security"] == "max-age=15768000; includeSubDomains"


async def test_a_token_that_was_asked_for_works_until_it_expires(
    sandbox: Sandbox, ask: Send, call: Send, clock: Any
) -> None:
    token = json.loads((await ask())[2])["access_token"]
    assert (await call("GET", sandbox.upstream("ECHO"), token=token))[0] == 200
    clock.time += 3600
    status, headers, _ = await call("GET", sandbox.upstream("ECHO"), token=token)
    assert status == 401
    assert "expired" in headers["WWW-Authenticate"]


async def test_refused_bearers_run_nothing(sandbox: Sandbox, call: Send, send: Send) -> None:
    sandbox.clients["no-role"] = Client(secret="s", roles=frozenset())
    for token in (
        "forged",
        sandbox.mint(audience=OTHER_AUDIENCE),
        sandbox.mint(scope=API),
        sandbox.mint("no-role"),
        sandbox.mint("stranger"),
        sandbox.mint(lifetime=0),
    ):
        status, headers, body = await call("GET", sandbox.upstream("ECHO"), token=token)
        assert (status, json.loads(body)["o:errorCode"]) == (401, "401")
        assert headers["WWW-Authenticate"].startswith("Bearer ")
        assert headers["opc-request-id"]
        assert ID not in headers
    assert (await send("GET", sandbox.upstream("ECHO")))[0] == 401


async def test_a_role_granted_later_mends_the_401(sandbox: Sandbox, call: Send) -> None:
    token = sandbox.mint("no-role")
    assert (await call("GET", sandbox.upstream("ECHO"), token=token))[0] == 401
    sandbox.clients["no-role"] = Client(secret="s")
    assert (await call("GET", sandbox.upstream("ECHO"), token=token))[0] == 200


async def test_revoked_tokens_are_refused_and_new_ones_work(sandbox: Sandbox, call: Send) -> None:
    token = sandbox.mint()
    sandbox.revoke_all()
    assert (await call("GET", sandbox.upstream("ECHO"), token=token))[0] == 401
    assert (await call("GET", sandbox.upstream("ECHO")))[0] == 200


async def test_an_outage_of_validation_refuses_every_bearer(sandbox: Sandbox, call: Send) -> None:
    sandbox.switches.refuse_bearers = True
    assert (await call("GET", sandbox.upstream("ECHO")))[0] == 401
    sandbox.switches.refuse_bearers = False
    assert (await call("GET", sandbox.upstream("ECHO")))[0] == 200


@pytest.mark.parametrize(
    "path",
    [
        "/ic/api/integration/v1/flows/rest/UNKNOWN/1.0/",
        "/ic/api/integration/v1/flows/rest/ECHO/2.0/",
        "/ic/api/integration/v1/flows/rest/HELLO/1.0/",
        "/ic/api/integration/v2/flows/rest/ECHO/1.0/",
        "/ic/ws/integration/v1/flows/soap/ECHO/1.0/",
        "/ic/home",
    ],
)
async def test_what_is_not_activated_is_not_found(path: str, sandbox: Sandbox, call: Send) -> None:
    status, headers, body = await call("GET", sandbox.origin + path)
    assert (status, json.loads(body)["o:errorCode"]) == (404, "404")
    assert ID not in headers


async def test_a_project_has_urls_of_its_own(sandbox: Sandbox, call: Send) -> None:
    url = sandbox.upstream("ORDERS", project="DEMO")
    assert urlsplit(url).path == "/ic/api/integration/v2/flows/rest/project/DEMO/ORDERS/1.0/"
    _, headers, _ = await call("POST", url, data=b"{}")
    assert headers["Location"] == url + "1003"


async def test_instance_ids_follow_the_switch(sandbox: Sandbox, call: Send) -> None:
    sandbox.switches.instance_ids = "decimal"
    assert (await call("GET", sandbox.upstream("ECHO")))[1][ID].isdigit()
    sandbox.switches.instance_ids = "none"
    assert ID not in (await call("GET", sandbox.upstream("ECHO")))[1]
    assert [len(entry.instance_id) > 0 for entry in sandbox.calls] == [True, False]


async def test_a_fault_of_oic_comes_without_an_id(sandbox: Sandbox, call: Send) -> None:
    sandbox.switches.fault_status = 503
    sandbox.switches.fault_retry_after = "3"
    status, headers, _ = await call("GET", sandbox.upstream("ECHO"))
    assert (status, headers["Retry-After"], ID in headers) == (503, "3", False)


async def test_the_journal_shows_the_request_byte_for_byte(sandbox: Sandbox, call: Send) -> None:
    target = "/ic/api/integration/v1/flows/rest/ECHO/1.0/a%7cb/%2E/%C3%A9?x=%20&x=2&y"
    await call("POST", sandbox.origin + target, headers={"X-OdD": "1"}, data=b"abc")
    entry = sandbox.calls[0]
    assert (entry.method, entry.target, entry.status) == ("POST", target, 200)
    assert (b"X-OdD", b"1") in entry.headers
    assert (entry.body_length, entry.body_complete) == (3, True)
    assert entry.body_sha256 == hashlib.sha256(b"abc").hexdigest()
    assert entry.header("x-odd") == "1"
    assert "Bearer" not in repr(entry)


async def test_a_held_flow_is_seen_before_it_answers(sandbox: Sandbox, call: Send) -> None:
    gate = sandbox.switches.slow_gate = asyncio.Event()
    calling = asyncio.ensure_future(call("GET", sandbox.upstream("SLOW") + "300"))
    await sandbox.calls.reached(1)
    assert not calling.done()
    gate.set()
    assert (await calling)[0] == 200
