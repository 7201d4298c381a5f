import asyncio
import hashlib
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest

from gateway.sandbox import API, OTHER_AUDIENCE, RegisteredClient, Sandbox
from gateway.sandbox.switches import InstanceIds

Send = Callable[..., Awaitable[tuple[int, Mapping[str, str], bytes]]]
ID = "x-oracle-ics-instance-id"


async def test_a_good_bearer_runs_a_flow(sandbox: Sandbox, call: Send) -> None:
    status, headers, _ = await call("GET", sandbox.upstream("ECHO"))
    assert status == 200
    assert len(headers[ID]) == 22
    assert headers["opc-request-id"].count("/") == 2
    assert headers["Strict-Transport-Security"] == "max-age=15768000; includeSubDomains"


async def test_an_issued_token_works_until_it_expires(sandbox: Sandbox, ask: Send, call: Send, clock: Any) -> None:
    token = json.loads((await ask())[2])["access_token"]
    assert (await call("GET", sandbox.upstream("ECHO"), token=token))[0] == 200
    clock.time += 3600
    status, headers, _ = await call("GET", sandbox.upstream("ECHO"), token=token)
    assert status == 401
    assert "expired" in headers["WWW-Authenticate"]


async def test_refused_bearers_run_nothing(sandbox: Sandbox, call: Send, send: Send) -> None:
    sandbox.clients["no-role"] = RegisteredClient(secret="s", roles=frozenset())
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


async def test_a_role_granted_later_ends_the_401(sandbox: Sandbox, call: Send) -> None:
    token = sandbox.mint("no-role")
    assert (await call("GET", sandbox.upstream("ECHO"), token=token))[0] == 401
    sandbox.clients["no-role"] = RegisteredClient(secret="s")
    assert (await call("GET", sandbox.upstream("ECHO"), token=token))[0] == 200


async def test_roles_follow_the_switch(sandbox: Sandbox, call: Send) -> None:
    sandbox.switches.roles = ("ServiceUser",)
    assert (await call("GET", sandbox.upstream("ECHO")))[0] == 401
    sandbox.switches.role_refusal = 403
    status, headers, body = await call("GET", sandbox.upstream("ECHO"))
    assert (status, json.loads(body)["title"]) == (403, "Forbidden")
    assert not {ID, "WWW-Authenticate"} & set(headers)
    sandbox.switches.roles = ("ServiceInvoker",)
    assert (await call("GET", sandbox.upstream("ECHO")))[0] == 200
    api = sandbox.design_origin + "/ic/api/integration/v1/integrations?integrationInstance=demo"
    status, _, body = await call("GET", api, token=sandbox.mint(scope=API))
    assert (status, json.loads(body)["code"]) == (403, "NotAuthorized")


@pytest.mark.parametrize("path", ["flows/rest/ECHO/1.0/", "integrations"])
async def test_who_is_not_on_the_allow_list_runs_nothing(path: str, sandbox: Sandbox, call: Send, ask: Send) -> None:
    url = f"{sandbox.origin}/ic/api/integration/v1/{path}"
    sandbox.switches.allowlisted = False
    status, headers, body = await call("GET", url)
    assert (status, headers["Content-Type"], b"Forbidden" in body, ID in headers) == (403, "text/html", True, False)
    sandbox.switches.allowlist_refusal = "reset"
    with pytest.raises(aiohttp.ClientOSError):
        await call("POST", url, data=b"x")
    assert (await ask())[0] == 200


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
        "/ic/api/integration/v1/flows/rest/PROJORDERS/1.0/",
        "/ic/api/integration/v1/flows/rest/PROJORDERS/1.0/metadata",
        "/ic/api/integration/v2/flows/rest/project/OTHER/PROJORDERS/1.0/",
        "/ic/api/integration/v2/flows/rest/project/DEMO/PROJORDERS/2.0/",
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
    url = sandbox.upstream("PROJORDERS", project="DEMO")
    assert (await call("GET", url))[0] == (await call("GET", url + "metadata"))[0] == 200


async def test_instance_ids_follow_the_switch(sandbox: Sandbox, call: Send) -> None:
    sandbox.switches.instance_ids = "decimal"
    assert (await call("GET", sandbox.upstream("ECHO")))[1][ID].isdigit()
    sandbox.switches.instance_ids = "none"
    assert ID not in (await call("GET", sandbox.upstream("ECHO")))[1]
    assert [len(entry.instance_id) > 0 for entry in sandbox.calls] == [True, False]


async def test_an_id_may_stand_in_the_body_alone(sandbox: Sandbox, call: Send) -> None:
    sandbox.switches.instance_ids = "body"
    for method, path in (("GET", ""), ("GET", "1001"), ("POST", "")):
        _, headers, body = await call(method, sandbox.upstream("ORDERS") + path, data=b"{}")
        assert ID not in headers
        assert json.loads(body)["oicInstanceId"] == sandbox.calls[-1].instance_id
        assert len(sandbox.calls[-1].instance_id) == 22
    sandbox.switches.instance_ids = "none"
    assert b"oicInstanceId" not in (await call("POST", sandbox.upstream("ORDERS"), data=b"{}"))[2]


@pytest.mark.parametrize("kind", ["uuid", "decimal", "body"])
async def test_a_description_starts_no_run(kind: InstanceIds, sandbox: Sandbox, call: Send) -> None:
    sandbox.switches.instance_ids = kind
    rest, soap = sandbox.upstream("ORDERS"), sandbox.soap_upstream()
    for url in (rest + "metadata", rest + "metadata/swagger", rest + "metadata/openapi.yaml", soap + "?wsdl"):
        status, headers, _ = await call("GET", url)
        assert (status, ID in headers, sandbox.calls[-1].instance_id) == (200, False, "")
    monitoring = sandbox.design_origin + "/ic/api/integration/v1/monitoring/instances?integrationInstance=demo"
    token = sandbox.mint(scope=API)
    assert json.loads((await call("GET", monitoring, token=token))[2])["items"] == []
    await call("GET", rest)
    assert len(json.loads((await call("GET", monitoring, token=token))[2])["items"]) == 1


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
