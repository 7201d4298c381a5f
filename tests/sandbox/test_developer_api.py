import json
from collections.abc import Awaitable, Callable, Mapping
from urllib.parse import urlsplit

import pytest

from gateway.sandbox import API, RegisteredClient, Sandbox

Send = Callable[..., Awaitable[tuple[int, Mapping[str, str], bytes]]]
LIST = "/ic/api/integration/v1/integrations"
ONE = "?integrationInstance=sandbox"


@pytest.fixture
def develop(sandbox: Sandbox, call: Send) -> Send:
    """Calls the design host with a token for the developer API."""

    async def develop(path: str, *, method: str = "GET") -> tuple[int, Mapping[str, str], bytes]:
        return await call(method, sandbox.design_origin + path, token=sandbox.mint(scope=API))

    return develop


@pytest.mark.parametrize(
    "path", [LIST + ONE, LIST + "/ECHO%7C01.00.0000?a=%20", "/ic/api/integration/v1/monitoring/instances"]
)
async def test_the_runtime_host_redirects_to_the_design_host(path: str, sandbox: Sandbox, call: Send) -> None:
    status, headers, _ = await call("GET", sandbox.origin + path)
    assert status == 307
    assert headers["Location"] == f"http://localhost:{urlsplit(sandbox.origin).port}{path}"


async def test_the_design_host_may_be_another_listener(sandbox: Sandbox, call: Send) -> None:
    sandbox.switches.design_origin = "http://127.0.0.2:1"
    assert (await call("GET", sandbox.origin + LIST))[1]["Location"] == f"http://127.0.0.2:1{LIST}"


async def test_without_a_token_it_answers_not_authenticated(sandbox: Sandbox, send: Send) -> None:
    status, headers, body = await send("GET", sandbox.design_origin + LIST + ONE)
    assert (status, json.loads(body)["code"]) == (401, "NotAuthenticated")
    assert headers["WWW-Authenticate"].startswith("Bearer")


async def test_a_token_for_triggers_or_a_missing_role_does_not_open_it(sandbox: Sandbox, call: Send) -> None:
    url = sandbox.design_origin + LIST + ONE
    sandbox.clients["invoker"] = RegisteredClient(secret="s", roles=frozenset({"ServiceInvoker"}))
    assert (await call("GET", url))[0] == 401
    assert (await call("GET", url, token=sandbox.mint("invoker", scope=API)))[0] == 401


async def test_it_lists_integrations(develop: Send, sandbox: Sandbox) -> None:
    items = json.loads((await develop(LIST + ONE))[2])["items"]
    echo = next(item for item in items if item["code"] == "ECHO")
    assert (echo["id"], echo["status"]) == ("ECHO|01.00.0000", "ACTIVATED")
    path = echo["links"][0]["href"].removeprefix(sandbox.design_origin)
    assert path == LIST + "/ECHO%7C01.00.0000"
    assert json.loads((await develop(path + ONE))[2]) == echo


async def test_an_integration_names_both_hosts(develop: Send, sandbox: Sandbox) -> None:
    items = {item["code"]: item for item in json.loads((await develop(LIST + ONE))[2])["items"]}
    ends = {code: item["endPointURI"] for code, item in items.items()}
    assert ends["ORDERS"] == sandbox.upstream("ORDERS")
    assert ends["HELLO"] == sandbox.soap_upstream()
    assert ends["PROJORDERS"] == sandbox.upstream("PROJORDERS", project="DEMO")
    assert all(item["redirect-url"].startswith(sandbox.design_origin + "/ic/") for item in items.values())


async def test_a_list_has_pages(develop: Send) -> None:
    document = json.loads((await develop(LIST + ONE))[2])
    first = json.loads((await develop(f"{LIST}{ONE}&limit=1"))[2])
    rest = json.loads((await develop(f"{LIST}{ONE}&offset=1&limit=99"))[2])
    assert (await develop(f"{LIST}{ONE}&limit={'9' * 5000}"))[0] == 200
    assert first["items"] + rest["items"] == document["items"]
    assert [page["hasMore"] for page in (document, first, rest)] == [False, True, False]
    assert {page["totalResults"] for page in (document, first, rest)} == {len(document["items"])}


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        (LIST, 400, "InvalidParameter"),
        (f"{LIST}/ECHO%257C01.00.0000{ONE}", 404, "NotFound"),
        (f"{LIST}/ECHO%7C02.00.0000{ONE}", 404, "NotFound"),
        (f"{LIST}/NONE%7C01.00.0000{ONE}", 404, "NotFound"),
        (f"/ic/api/integration/v1/monitoring/instances/none{ONE}", 404, "NotFound"),
    ],
)
async def test_what_is_wrong_is_named(path: str, status: int, code: str, develop: Send) -> None:
    answered, _, body = await develop(path)
    assert (answered, json.loads(body)["code"]) == (status, code)


async def test_it_only_reads(develop: Send) -> None:
    assert (await develop(LIST + ONE, method="DELETE"))[0] == 405


async def test_monitoring_knows_the_run_of_an_instance_id(develop: Send, call: Send, sandbox: Sandbox) -> None:
    _, headers, _ = await call("GET", sandbox.upstream("STATUS") + "500")
    instance_id = headers["x-oracle-ics-instance-id"]
    await call("GET", sandbox.upstream("ECHO"))
    path = "/ic/api/integration/v1/monitoring/instances"
    run = json.loads((await develop(f"{path}/{instance_id}{ONE}"))[2])
    assert (run["instanceId"], run["integrationId"], run["status"]) == (instance_id, "STATUS", "FAILED")
    listed = json.loads((await develop(f"{path}{ONE}&q={{timewindow:'1h',code:'STATUS'}}"))[2])["items"]
    assert listed == [run]
