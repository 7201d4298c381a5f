"""The admin port serves the console only if the configuration has one."""

import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gateway.sandbox import Sandbox
from tests.system.scene import before, simple, written

CONSOLE_ONLY = ("gateway.console", "gateway.server.console_data", "gateway.observe.time_series", "jinja2", "argon2")
NEVER = ("gateway.notifications",)
# Both kinds of gateway are imported, one is built.
LIST_MODULES = """
import asyncio, sys
import gateway.server.single_process, gateway.server.workers.supervisor
from gateway.config.load import load
from gateway.observe.log import set_up_log
from gateway.server.reloader import Reloader
from gateway.server.single_process import SingleProcess

async def build():
    environ = {"APP_SECRET": "x"}
    loaded = load(sys.argv[1], environ=environ)
    reloader = Reloader(loaded, lambda: loaded)
    SingleProcess(loaded.config, set_up_log("info", "json"), environ=environ, reloader=reloader)

asyncio.run(build())
print(*sys.modules, sep="\\n")
"""


@pytest.fixture
async def sandbox(tmp_path: Path) -> AsyncIterator[Sandbox]:
    async with Sandbox() as running:
        yield running


@pytest.mark.parametrize(("more", "expected"), [({}, set()), ({"console": {}}, set(CONSOLE_ONLY))])
def test_a_gateway_without_console_imports_none_of_it(tmp_path: Path, more: dict[str, Any], expected: set[str]) -> None:
    file = written(tmp_path, simple("http://127.0.0.1:1/token", "http://127.0.0.1:1/", **more))
    command = [sys.executable, "-c", LIST_MODULES, str(file)]
    modules = subprocess.run(command, capture_output=True, check=True, text=True).stdout.split()
    assert {name for name in (*CONSOLE_ONLY, *NEVER) if name in modules} == expected


@pytest.mark.parametrize("workers", [1, 2])
async def test_each_kind_of_gateway_serves_the_console(tmp_path: Path, sandbox: Sandbox, workers: int) -> None:
    async with before(tmp_path, sandbox, console={}, workers=workers) as gate:
        status, head, _ = await gate.get("/", address=gate.admin)
        assert status == 303
        assert b"location: /console/\r\n" in head.lower()
        status, head, body = await gate.get("/console/", address=gate.admin)
        assert status == 200
        assert b"content-security-policy: default-src 'none';" in head.lower()
        assert b"<h1>Overview" in body
        assert (await gate.get("/console/static/console.css", address=gate.admin))[0] == 200
        assert (await gate.get("/console/static/../layout.html", address=gate.admin))[0] == 404
        assert (await gate.get("/console/nothing", address=gate.admin))[0] == 404


async def test_a_gateway_without_console_has_no_trace_of_it(tmp_path: Path, sandbox: Sandbox) -> None:
    async with before(tmp_path, sandbox) as gate:
        assert (await gate.get("/", address=gate.admin))[0] == 404
        assert (await gate.get("/console/", address=gate.admin))[0] == 404
