"""Two releases on one Redis: a rolling upgrade, and entries that only the newer release can read.

The newer release is a copy of the program with another version, which writes more, or in another format.
"""

import asyncio
import shutil
import signal
from contextlib import AsyncExitStack
from pathlib import Path

from gateway.sandbox import RegisteredClient, Sandbox, Switches
from tests.fakes.load import Load
from tests.fakes.process import ROOT, Process, gateway, request
from tests.fakes.redis import RedisServer
from tests.fakes.upstream import Upstream
from tests.system.scene import route, written

STATE_KEY = {"STATE_KEY": "0123456789abcdef" * 4}
CLIENT = RegisteredClient(is_public=True, grants=frozenset({"refresh_token"}))
NEWER = "99.0.0"
ANOTHER_FIELD = ("encrypted.py", "    return json.dumps({key:", '    return json.dumps({"kind": "newer"} | {key:')
ANOTHER_FORMAT = ("entry_cipher.py", '_VERSION = b"\\x01"', '_VERSION = b"\\x02"')


def newer_program(folder: Path, change: tuple[str, str, str]) -> dict[str, str]:
    """Copy the program as a newer release, with one change of a module of the stores; return the variables that run
    it.
    """
    package = folder / "newer" / "gateway"
    shutil.copytree(ROOT / "gateway", package)  # with its bytecode, or the start takes seconds
    (package / "__init__.py").write_text(f'"""A newer release."""\n\n__version__ = "{NEWER}"\n', encoding="utf-8")
    module, before, after = change
    file = package / "oauth" / "stores" / module
    text = file.read_text(encoding="utf-8")
    assert before in text
    file.write_text(text.replace(before, after), encoding="utf-8")
    return {"PYTHONPATH": str(package.parent), "PYTHONSAFEPATH": "1"}


def config(folder: Path, server: RedisServer, sandbox: Sandbox, upstream: Upstream) -> Path:
    """Return a configuration in which replicas share everything that they can share."""
    credential = {
        "grant": "refresh_token",
        "refresh_token": {"env": "GIVEN"},
        "client_auth": "none",
        "client_id": "page",
        "token_url": sandbox.token_url,
        "token_wait": "30s",
        "renew": {"share": 0, "at_least": "10ms"},
    }
    document = {
        "listen": "127.0.0.1:0",
        "admin": "127.0.0.1:0",
        "state": {"redis": {"url": server.url}, "keys": [{"env": "STATE_KEY"}], "timeout": "5s"},
        "credentials": {"given": credential},
        "callers": {"erp": {"networks": ["127.0.0.0/8"], "quota": {"calls": "1000000/h"}}},
        "services": {"acme": {"url": upstream.url, "calls": 8, "wait": "30s"}},
        "routes": [route("orders", upstream.url, credential="given", callers=["erp"])],
    }
    return written(folder, document)


async def is_newer(gate: Process) -> bool:
    """Return whether a process runs the newer release."""
    _, _, text = await gate.get("/metrics", address=gate.admin)
    return f'oic_gateway_build_info{{version="{NEWER}"}}'.encode() in text


async def test_rolling_upgrade_loses_no_call_and_no_token(tmp_path: Path) -> None:
    newer = newer_program(tmp_path, ANOTHER_FIELD)
    switches = Switches(rotate_refresh_tokens=True, token_lifetime=4)
    async with (
        Sandbox(switches=switches, clients={"page": CLIENT}) as sandbox,
        Upstream() as upstream,
        RedisServer() as server,
        AsyncExitStack() as stack,
    ):
        file = config(tmp_path, server, sandbox, upstream)
        variables = {"GIVEN": sandbox.mint_refresh("page"), **STATE_KEY}
        gates: list[Process] = []
        loads: list[Load] = []

        async def stop(number: int) -> None:
            gates[number].signal(signal.SIGTERM)
            await loads[number].wait_until_refused()
            assert await gates[number].ended() == 0

        for number, more in enumerate(({}, {}, newer, newer)):
            gates.append(await stack.enter_async_context(gateway(file, **variables, **more)))
            assert await is_newer(gates[-1]) == bool(more)
            assert (await gates[-1].ask("/readyz"))[0] == 200
            loads.append(Load(gates[-1].listen, request("/orders/"), count=2))
            await sandbox.token_requests.reached(len(sandbox.token_requests) + 2)
            if more:
                await stop(number - 2)
        await loads[-1].wait_for_answers(100)
        await stop(2)
        await stop(3)
        assert [(load.lost, set(load.answers)) for load in loads] == [([], {200})] * 4
        # The identity domain refuses a refresh token that is used twice, and all that came of it.
        assert {call.status for call in sandbox.token_requests if call.status} == {200}
        lines = [line["event"] for gate in gates for line in gate.lines]
        assert {"store-unreadable", "places-unshared", "limits-unshared", "store-down"}.isdisjoint(lines)


async def test_refresh_token_of_another_format_is_left_alone(tmp_path: Path) -> None:
    newer = newer_program(tmp_path, ANOTHER_FORMAT)
    switches = Switches(rotate_refresh_tokens=True)
    async with (
        Sandbox(switches=switches, clients={"page": CLIENT}) as sandbox,
        Upstream() as upstream,
        RedisServer() as server,
    ):
        file = config(tmp_path, server, sandbox, upstream)
        variables = {"GIVEN": sandbox.mint_refresh("page"), **STATE_KEY}
        async with (
            gateway(file, **variables, **newer) as new,
            gateway(file, **variables) as old,
            server.client() as redis,
        ):
            assert (await new.get("/orders/"))[0] == 200
            [name] = await redis.keys("oic-gateway:1:secret:*")
            entry = await redis.get(name)
            call = asyncio.create_task(old.get("/orders/"))
            status = await old.until_answer("/status", lambda document: document["credentials"]["given"]["last_error"])
            error = status["credentials"]["given"]["last_error"]
            assert (error["code"], "`state.keys`" in error["remedy"]) == ("store", True)
            assert {line["entry"] for line in await old.wait_for_events("store-unreadable")} >= {name.decode()}
            assert (len(sandbox.token_requests), await redis.get(name)) == (1, entry)
            call.cancel()
            assert (await new.get("/orders/"))[0] == 200
