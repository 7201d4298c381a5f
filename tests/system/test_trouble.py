"""At run time `/status` explains what ails a credential or a route, in the words of `check --live`."""

from pathlib import Path
from typing import Any

import pytest

from gateway.checks.run import check
from gateway.config.load import load
from gateway.diagnosis.catalog import MISTAKES
from gateway.sandbox import Sandbox, Switches
from tests.fakes.process import Process, gateway
from tests.system.cases import CASES, document_of
from tests.system.scene import SECRETS, before, route, settings, written


async def trouble_of(process: Process, name: str = "orders") -> Any:
    _, status = await process.ask("/status")
    [told] = [route["trouble"] for route in status["routes"] if route["name"] == name]
    return told


async def test_a_missing_role_is_told_until_it_is_granted(tmp_path: Path, sandbox: Sandbox) -> None:
    sandbox.switches.roles = ()
    async with before(tmp_path, sandbox) as process:
        assert await trouble_of(process) is None
        assert (await process.get("/orders/"))[0] == 401
        told = await trouble_of(process)
        row = MISTAKES["role-missing"]
        assert (told["code"], told["remedy"]) == ("role-missing", row.remedy)
        assert told["means"].startswith(row.means)
        assert "401" in told["seen"]
        assert (told["count"], told["since"]) == (1, told["at"])
        assert await trouble_of(process, "echo") is None
        sandbox.switches.roles = ("ServiceInvoker",)
        assert (await process.get("/orders/"))[0] == 200
        assert await trouble_of(process) is None


async def test_a_flow_s_own_refusal_is_no_trouble(tmp_path: Path, sandbox: Sandbox) -> None:
    async with before(tmp_path, sandbox) as process:
        assert (await process.get("/status/404"))[0] == 404
        assert await trouble_of(process, "status") is None
        assert (await process.get("/status/404?id=0"))[0] == 404
        assert (await trouble_of(process, "status"))["code"] == "not-found"


async def test_an_upstream_that_is_not_reached_is_told_by_its_step(tmp_path: Path, sandbox: Sandbox) -> None:
    document = settings(sandbox)
    document["routes"] += [route("far", "https://oic.invalid/far/")]
    async with gateway(written(tmp_path, document), **SECRETS) as process:
        assert (await process.get("/far/"))[0] == 502
        told = await trouble_of(process, "far")
        assert (told["code"], told["means"]) == ("dns", MISTAKES["dns"].means)
        assert "oic.invalid" in told["seen"]


async def test_a_credential_that_fails_is_explained(tmp_path: Path, sandbox: Sandbox) -> None:
    sandbox.switches.application = "inactive"
    async with before(tmp_path, sandbox) as process:
        assert (await process.get("/orders/"))[0] == 502
        _, status = await process.ask("/status")
        credential = status["credentials"]["app"]
        told = credential["trouble"]
        assert (told["code"], told["remedy"]) == ("invalid_client", MISTAKES["invalid_client"].remedy)
        assert told["seen"] == "invalid_client: Client authentication failed"
        assert credential["last_error"].items() >= told.items()
        assert "the application is not activated" in told["means"]
        assert await trouble_of(process) is None, "a credential's trouble is not the route's"


# What a first look says before anything was asked again, where that is not the check's own word.
AT_FIRST = {
    "allow-list": {"role-or-allow-list", "upstream-broken"},
    "role-missing": {"role-or-allow-list"},
    "classic-url": {"not-found"},
    "wrong-version": {"not-found"},
    "secret-blank": {"invalid_client"},
    "token-url": {"unreadable"},
}


def troubles(status: Any) -> set[str]:
    """The codes of all that fails."""
    views = [*status["credentials"].values(), *status["routes"]]
    return {view["trouble"]["code"] for view in views if view["trouble"] is not None}


@pytest.mark.parametrize("name", CASES)
async def test_at_run_time_a_mistake_has_the_code_of_the_check(tmp_path: Path, name: str) -> None:
    case = CASES[name]
    async with Sandbox(switches=Switches(**case.switches)) as sandbox:
        document = document_of(tmp_path, sandbox, secret=case.secret)
        case.change(document, sandbox)
        file = written(tmp_path, {"listen": "127.0.0.1:0", "admin": "127.0.0.1:0", **document})
        findings = await check(load(file, environ={}).config)
        [code] = [finding.code for finding in findings if not finding.ok]
        async with gateway(file) as process:
            asked = len(sandbox.token_requests)
            await process.get("/orders/integrations" if "developer" in name else "/orders/")
            requests = len(sandbox.token_requests)
            first = troubles((await process.ask("/status"))[1])
            seen = first
            for _ in range(9):  # each waits half a second for what is being asked
                seen = seen if seen == {code} else troubles((await process.ask("/status"))[1])
            _, status = await process.ask("/status")
            assert asked <= requests == len(sandbox.token_requests), "to look costs a token request"
    assert seen == {code}
    assert first <= {code} | AT_FIRST.get(code, set())
    [view] = [view for view in [*status["credentials"].values(), *status["routes"]] if view["trouble"] is not None]
    told = view["trouble"]
    [finding] = [finding for finding in findings if not finding.ok]
    assert (told["means"], told["remedy"]) == (finding.means or MISTAKES[code].means, finding.remedy)
    assert "eyJ" not in str(status)
    assert case.secret.strip('" \n') not in str(status)


async def test_what_fails_is_asked_about_once_a_minute_and_what_is_well_never(tmp_path: Path, sandbox: Sandbox) -> None:
    async with before(tmp_path, sandbox) as process:
        assert (await process.get("/orders/"))[0] == 200
        for _ in range(3):
            assert await trouble_of(process) is None
        assert len(sandbox.calls) == 1
        sandbox.switches.allowlisted = False
        assert (await process.get("/orders/"))[0] == 403
        while (await trouble_of(process))["code"] != "allow-list":
            pass
        asked = len(sandbox.calls)
        for _ in range(5):
            assert (await process.get("/orders/"))[0] == 403
            assert (await trouble_of(process))["code"] == "allow-list"
        assert len(sandbox.calls) == asked + 5
        sandbox.switches.allowlisted = True
        assert (await process.get("/orders/"))[0] == 200
        assert await trouble_of(process) is None


async def test_a_caller_s_own_mistake_is_told_from_the_route_s(tmp_path: Path, sandbox: Sandbox) -> None:
    async with before(tmp_path, sandbox) as process:
        assert (await process.get("/status/404?id=0"))[0] == 404
        told = await trouble_of(process, "status")
        while "harmless" not in told["seen"]:
            told = await trouble_of(process, "status")
        assert told["code"] == "not-found"
        assert "metadata answered 200" in told["seen"]


async def test_behind_a_broad_upstream_what_was_called_is_asked_about(tmp_path: Path, sandbox: Sandbox) -> None:
    document = settings(sandbox)
    document["routes"] = [route("all", f"{sandbox.origin}/ic/")]
    async with gateway(written(tmp_path, document), **SECRETS) as process:
        assert (await process.get("/all/api/integration/v1/flows/rest/PROJORDERS/1.0/"))[0] == 404
        told = await trouble_of(process, "all")
        while told["code"] != "classic-url":
            told = await trouble_of(process, "all")
        assert "PROJORDERS/1.0/metadata answered 404" in told["seen"]


async def test_of_several_workers_the_latest_trouble_is_told(tmp_path: Path, sandbox: Sandbox) -> None:
    sandbox.switches.roles = ()
    async with before(tmp_path, sandbox, workers=2) as process:
        assert await trouble_of(process) is None
        for count in range(1, 4):
            assert (await process.get("/orders/"))[0] == 401
            told = await trouble_of(process)
            assert told["code"] == "role-missing"
            assert 1 <= told["count"] <= count
