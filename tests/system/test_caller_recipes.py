"""The recipes of docs/callers.md, run as they are printed against the real program, where their client is installed."""

import re
from pathlib import Path

import pytest

from gateway.sandbox import Sandbox
from tests.fakes.process import ROOT, run_command
from tests.system.scene import before

TEXT = (ROOT / "docs" / "callers.md").read_text(encoding="utf-8")
ADDRESS = "127.0.0.1:8080"


def recipes(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)


async def run(*command: str | Path) -> str:
    status, out, err = await run_command(*command)
    assert status == 0, out + err
    return out.decode(errors="replace")


@pytest.mark.parametrize("line", recipes("sh")[0].splitlines(), ids=["rest", "soap"])
async def test_curl_recipes_work_as_printed(line: str, tmp_path: Path, sandbox: Sandbox) -> None:
    async with before(tmp_path, sandbox) as gateway:
        await run(
            "sh", "-c", line.replace(ADDRESS, gateway.listen).replace("curl", "curl --fail --silent --show-error")
        )
        [record] = await gateway.wait_for_records()
    assert record["status"] in {200, 201}
    assert record["instance_id"]


async def test_perl_recipe_works_as_printed(tmp_path: Path, sandbox: Sandbox) -> None:
    [text] = recipes("perl")
    async with before(tmp_path, sandbox) as gateway:
        script = tmp_path / "orders.pl"
        script.write_text(text.replace(ADDRESS, gateway.listen), encoding="utf-8")
        ended = await run("perl", script)
        [record] = await gateway.wait_for_records()
    assert ended.split() == ["201", record["instance_id"]]
