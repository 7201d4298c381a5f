"""A process that has few file descriptors, or none left: it says so, and its health can be asked."""

import asyncio
import json
import re
import resource
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gateway.sandbox import Sandbox
from tests.fakes.gate import Caller
from tests.fakes.identity import Identity, token
from tests.fakes.process import Process, request
from tests.fakes.upstream import Upstream, reply
from tests.fakes.waiting import TIME_LIMIT
from tests.system.scene import SECRETS, settings, simple, written

FILES = 100


@asynccontextmanager
async def with_few_files(folder: Path, sandbox: Sandbox, files: int = FILES, **more: object) -> AsyncIterator[Process]:
    process = Process("serve", "-c", written(folder, settings(sandbox, **more)), **SECRETS)
    async with process.under(("sh", "-c", f'ulimit -n {files}; exec "$@"', "sh")) as gate:
        yield await gate.wait_started()


def open_files(gate: Process) -> int:
    return len(list(Path(f"/proc/{gate.pid}/fd").iterdir()))


async def idle_callers(gate: Process, count: int, address: str = "") -> list[Caller]:
    """Connections that say nothing, as many as are let in out of so many."""
    tried = await asyncio.gather(*(gate.caller(address) for _ in range(count)), return_exceptions=True)
    return [caller for caller in tried if isinstance(caller, Caller)]


async def counted(gate: Process, name: str) -> float:
    _, _, text = await gate.get("/metrics", address=gate.admin)
    return sum(float(value) for value in re.findall(rf"^{name}(?:{{.*}})? (\S+)$", text.decode(), re.MULTILINE))


@pytest.mark.parametrize("workers", [1, 2])
async def test_idle_callers_leave_descriptors_for_the_rest(tmp_path: Path, sandbox: Sandbox, workers: int) -> None:
    async with with_few_files(tmp_path, sandbox, workers=workers) as gate:
        assert (await gate.get("/orders/"))[0] == 200
        [warned] = gate.events("connections-reduced")
        assert "not 10000 (`limits.connections`)" in warned["message"]
        idle = await idle_callers(gate, 2 * workers * FILES)
        await gate.wait_for_events("connections-full", workers)
        assert (await gate.ask("/livez"))[0] == 200
        assert (await gate.ask("/readyz"))[0] == 200
        _, status = await gate.ask("/status")
        callers = status["callers"]
        assert callers["connections"] == callers["limit"] < workers * FILES / 2
        assert callers["refused"]["limit"] > 0
        assert not callers["open_files"]["short"]
        assert await counted(gate, "oic_gateway_connections_refused_total") == sum(callers["refused"].values())
        for caller in idle:
            caller.close()
        await gate.until_answer("/status", lambda status: not status["callers"]["connections"])
        assert (await gate.get("/orders/"))[0] == 200
        assert len(gate.events("connections-full")) == workers
        assert gate.events("files-exhausted") == []


async def test_idle_admin_connections_leave_room_for_callers(tmp_path: Path, sandbox: Sandbox) -> None:
    async with with_few_files(tmp_path, sandbox) as gate:
        await idle_callers(gate, 2 * FILES, gate.admin)
        assert (await gate.ask("/livez"))[0] == 200
        assert (await gate.get("/orders/"))[0] == 200
        assert open_files(gate) < FILES / 2 + 16


async def test_many_origins_share_what_upstreams_may_use(tmp_path: Path, sandbox: Sandbox) -> None:
    async with asyncio.timeout(TIME_LIMIT), Sandbox() as other, Sandbox() as third:
        routes = [
            {"name": f"r{number}", "path": f"/r{number}/", "upstream": one.upstream("ORDERS"), "credential": "app"}
            for number, one in enumerate((sandbox, other, third))
        ]
        async with with_few_files(tmp_path, sandbox, 40, routes=routes) as gate:
            for _ in range(4):
                calls = await asyncio.gather(*(gate.get(f"/r{number % 3}/") for number in range(6)))
                assert {status for status, _, _ in calls} <= {200, 401}
            assert open_files(gate) < 40
            assert gate.events("files-exhausted") == []


async def test_without_descriptors_an_event_is_logged_and_health_works(tmp_path: Path, sandbox: Sandbox) -> None:
    async with with_few_files(tmp_path, sandbox) as gate:
        caller: Caller = await gate.caller()
        lowered = open_files(gate)
        resource.prlimit(gate._process.pid, resource.RLIMIT_NOFILE, (lowered, FILES))
        await gate.wait_for_events("files-exhausted")
        refused = await gate.caller()
        assert await refused.read_to_end() == b""
        for _ in range(3):
            assert (await gate.ask("/livez"))[0] == 200
        _, status = await gate.ask("/status")
        assert status["callers"]["open_files"]["short"] is True
        assert await counted(gate, "oic_gateway_file_shortages_total") > 0
        resource.prlimit(gate._process.pid, resource.RLIMIT_NOFILE, (FILES, FILES))
        caller.close()
        await gate.until_answer("/status", lambda status: not status["callers"]["open_files"]["short"])
        assert (await gate.get("/orders/"))[0] == 200
        assert len(gate.events("files-exhausted")) == 1


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_without_a_descriptor_for_the_upstream_calls_get_503(tmp_path: Path, host: str) -> None:
    closing = reply(200, b"{}", "Connection: close")
    async with Identity(token("a")) as identity, Upstream(closing, closing) as upstream:
        document = simple(identity.url, upstream.url.replace("127.0.0.1", host))
        async with Process("serve", "-c", written(tmp_path, document), **SECRETS) as gate:
            await gate.wait_started()
            caller: Caller = await gate.caller()
            await caller.send(request("/orders/"))
            assert (await caller.reply())[0] == 200
            soft, hard = resource.prlimit(gate.pid, resource.RLIMIT_NOFILE)
            resource.prlimit(gate.pid, resource.RLIMIT_NOFILE, (3, hard))
            await caller.send(request("/orders/"))
            status, _, body = await caller.reply()
            assert (status, json.loads(body)["code"]) == (503, "overloaded")
            resource.prlimit(gate.pid, resource.RLIMIT_NOFILE, (soft, hard))
            await caller.send(request("/orders/"))
            assert (await caller.reply())[0] == 200
            assert len(upstream.requests) == 2
