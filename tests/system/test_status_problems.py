"""At run time `/status` explains the problem of a credential or route with the texts of `check --live`."""

from pathlib import Path
from typing import Any

import pytest

from gateway.checks.run import run_checks
from gateway.config.load import load
from gateway.diagnosis.catalog import MISTAKES
from gateway.sandbox import Sandbox, Switches
from tests.fakes.process import Process, gateway
from tests.system.cases import CASES, document_of
from tests.system.scene import SECRETS, before, route, settings, written


async def problem_of(process: Process, name: str = "orders") -> Any:
    _, status = await process.ask("/status")
    [problem] = [route["problem"] for route in status["routes"] if route["name"] == name]
    return problem


async def test_a_missing_role_is_shown_until_it_is_granted(tmp_path: Path, sandbox: Sandbox) -> None:
    sandbox.switches.roles = ()
    async with before(tmp_path, sandbox) as process:
        assert await problem_of(process) is None
        assert (await process.get("/orders/"))[0] == 401
        problem = await problem_of(process)
        row = MISTAKES["role-missing"]
        assert (problem["code"], problem["remedy"]) == ("role-missing", row.remedy)
        assert problem["means"].startswith(row.means)
        assert "401" in problem["seen"]
        assert (problem["count"], problem["since"]) == (1, problem["at"])
        assert await problem_of(process, "echo") is None
        sandbox.switches.roles = ("ServiceInvoker",)
        assert (await process.get("/orders/"))[0] == 200
        assert await problem_of(process) is None


async def test_an_error_that_a_flow_made_is_no_problem(tmp_path: Path, sandbox: Sandbox) -> None:
    async with before(tmp_path, sandbox) as process:
        assert (await process.get("/status/404"))[0] == 404
        assert await problem_of(process, "status") is None
        assert (await process.get("/status/404?id=0"))[0] == 404
        assert (await problem_of(process, "status"))["code"] == "not-found"


async def test_an_unreachable_upstream_is_explained(tmp_path: Path, sandbox: Sandbox) -> None:
    document = settings(sandbox)
    document["routes"] += [route("far", "https://oic.invalid/far/")]
    async with gateway(written(tmp_path, document), **SECRETS) as process:
        assert (await process.get("/far/"))[0] == 502
        problem = await problem_of(process, "far")
        assert (problem["code"], problem["means"]) == ("dns", MISTAKES["dns"].means)
        assert "oic.invalid" in problem["seen"]


async def test_a_failing_credential_is_explained(tmp_path: Path, sandbox: Sandbox) -> None:
    sandbox.switches.application = "inactive"
    async with before(tmp_path, sandbox) as process:
        assert (await process.get("/orders/"))[0] == 502
        _, status = await process.ask("/status")
        credential = status["credentials"]["app"]
        problem = credential["problem"]
        assert (problem["code"], problem["remedy"]) == ("invalid_client", MISTAKES["invalid_client"].remedy)
        assert problem["seen"] == "invalid_client: Client authentication failed"
        assert credential["last_error"].items() >= problem.items()
        assert "the application is not activated" in problem["means"]
        assert await problem_of(process) is None, "a credential's problem is not the route's"


# The first diagnosis, where it differs from the final one of the check.
AT_FIRST = {
    "allow-list": {"role-or-allow-list", "upstream-broken"},
    "role-missing": {"role-or-allow-list"},
    "classic-url": {"not-found"},
    "wrong-version": {"not-found"},
    "secret-blank": {"invalid_client"},
    "token-url": {"unreadable"},
}


def problems(status: Any) -> set[str]:
    """Return the codes of all problems."""
    views = [*status["credentials"].values(), *status["routes"]]
    return {view["problem"]["code"] for view in views if view["problem"] is not None}


@pytest.mark.parametrize("name", CASES)
async def test_at_run_time_a_mistake_has_the_code_of_the_check(tmp_path: Path, name: str) -> None:
    case = CASES[name]
    async with Sandbox(switches=Switches(**case.switches)) as sandbox:
        document = document_of(tmp_path, sandbox, secret=case.secret)
        case.change(document, sandbox)
        file = written(tmp_path, {"listen": "127.0.0.1:0", "admin": "127.0.0.1:0", **document})
        findings = await run_checks(load(file, environ={}).config)
        [code] = [finding.code for finding in findings if not finding.ok]
        async with gateway(file) as process:
            count = len(sandbox.token_requests)
            await process.get("/orders/integrations" if "developer" in name else "/orders/")
            requests = len(sandbox.token_requests)
            first = problems((await process.ask("/status"))[1])
            codes = first
            for _ in range(9):  # each waits half a second for what is being asked
                codes = codes if codes == {code} else problems((await process.ask("/status"))[1])
            _, status = await process.ask("/status")
            assert count <= requests == len(sandbox.token_requests), "to look costs a token request"
    assert codes == {code}
    assert first <= {code} | AT_FIRST.get(code, set())
    [view] = [view for view in [*status["credentials"].values(), *status["routes"]] if view["problem"] is not None]
    problem = view["problem"]
    [finding] = [finding for finding in findings if not finding.ok]
    assert (problem["means"], problem["remedy"]) == (finding.means or MISTAKES[code].means, finding.remedy)
    assert "eyJ" not in str(status)
    assert case.secret.strip('" \n') not in str(status)


async def test_only_failures_are_probed_and_once_a_minute(tmp_path: Path, sandbox: Sandbox) -> None:
    async with before(tmp_path, sandbox) as process:
        assert (await process.get("/orders/"))[0] == 200
        for _ in range(3):
            assert await problem_of(process) is None
        assert len(sandbox.calls) == 1
        sandbox.switches.allowlisted = False
        assert (await process.get("/orders/"))[0] == 403
        while (await problem_of(process))["code"] != "allow-list":
            pass
        count = len(sandbox.calls)
        for _ in range(5):
            assert (await process.get("/orders/"))[0] == 403
            assert (await problem_of(process))["code"] == "allow-list"
        assert len(sandbox.calls) == count + 5
        sandbox.switches.allowlisted = True
        assert (await process.get("/orders/"))[0] == 200
        assert await problem_of(process) is None


async def test_a_mistake_of_a_caller_is_recognized(tmp_path: Path, sandbox: Sandbox) -> None:
    async with before(tmp_path, sandbox) as process:
        assert (await process.get("/status/404?id=0"))[0] == 404
        problem = await problem_of(process, "status")
        while "harmless" not in problem["seen"]:
            problem = await problem_of(process, "status")
        assert problem["code"] == "not-found"
        assert "metadata answered 200" in problem["seen"]


async def test_a_broad_upstream_is_probed_at_the_called_path(tmp_path: Path, sandbox: Sandbox) -> None:
    document = settings(sandbox)
    document["routes"] = [route("all", f"{sandbox.origin}/ic/")]
    async with gateway(written(tmp_path, document), **SECRETS) as process:
        assert (await process.get("/all/api/integration/v1/flows/rest/PROJORDERS/1.0/"))[0] == 404
        problem = await problem_of(process, "all")
        while problem["code"] != "classic-url":
            problem = await problem_of(process, "all")
        assert "PROJORDERS/1.0/metadata answered 404" in problem["seen"]


async def test_several_workers_show_the_latest_problem(tmp_path: Path, sandbox: Sandbox) -> None:
    sandbox.switches.roles = ()
    async with before(tmp_path, sandbox, workers=2) as process:
        assert await problem_of(process) is None
        for count in range(1, 4):
            assert (await process.get("/orders/"))[0] == 401
            problem = await problem_of(process)
            assert problem["code"] == "role-missing"
            assert 1 <= problem["count"] <= count
