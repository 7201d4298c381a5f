"""Names: one that hangs in DNS harms nobody else, and known addresses serve while the name server is silent."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from gateway.sandbox import Sandbox
from tests.fakes.certificates import server_context, server_pem
from tests.fakes.nameserver import NameServer
from tests.fakes.process import Process, request
from tests.fakes.waiting import TIME_LIMIT, wait_until
from tests.system.scene import SECRETS, credential, route, written

NAMES = ("identity.test", "healthy.test", "hanging.test")
ADDRESSES = dict.fromkeys(NAMES, "127.0.0.1")


@asynccontextmanager
async def named(folder: Path, names: NameServer, **more: Any) -> AsyncIterator[Process]:
    """Routes to `healthy.test`, each with a credential of its own at `identity.test`, and one to `hanging.test`."""
    pem = server_pem(folder, *NAMES)
    async with Sandbox(ssl_context=server_context(pem)) as sandbox:
        token_url = sandbox.token_url.replace("127.0.0.1", "identity.test")
        identity = credential(token_url, tls={"ca": str(pem)}, scope=sandbox.scope)
        healthy = sandbox.upstream("ORDERS").replace("127.0.0.1", "healthy.test")
        hanging = sandbox.upstream("ORDERS").replace("127.0.0.1", "hanging.test")
        document = {
            "listen": "127.0.0.1:0",
            "admin": "127.0.0.1:0",
            "pool": {"max_age": "1ms"},  # each call makes a connection
            "credentials": {f"app{n}": identity | {"params": {"n": str(n)}} for n in range(8)},
            "defaults": {"tls": {"ca": str(pem)}, "timeout": {"connect": "60s"}},
            "routes": [
                *(route(f"orders{n}", healthy) | {"credential": f"app{n}"} for n in range(8)),
                *(route(f"hanging{n}", hanging) | {"credential": f"app{n}"} for n in range(2)),
            ],
            **more,
        }
        process = Process("serve", "-c", written(folder, document), **SECRETS).under(names.command(folder))
        async with process as gate:
            yield await gate.wait_started()


@pytest.mark.parametrize("workers", [1, 2])
async def test_a_name_that_hangs_delays_no_other_call_or_token(tmp_path: Path, workers: int) -> None:
    async with (
        NameServer(ADDRESSES, silent=("hanging.test",)) as names,
        named(tmp_path, names, workers=workers) as gate,
        asyncio.timeout(TIME_LIMIT),
    ):
        for n in range(2):
            await (await gate.caller()).send(request(f"/hanging{n}/"))
        await names.wait_for_query("hanging.test")
        assert [(await gate.get(f"/orders{n}/"))[0] for n in range(8)] == [200] * 8
        status = await gate.until_answer("/status", lambda status: "hanging.test" in status["names"])
        hanging = status["names"]["hanging.test"]
        assert (hanging["state"], hanging["addresses"], hanging["resolved"]) == ("unresolved", [], None)
        assert set(status["names"]) == {"hanging.test"}
        assert len(await gate.wait_for_records(8)) == 8


async def served_until(gate: Process, event: str) -> None:
    """Call until there is a line of an event."""

    async def is_there() -> bool:
        assert (await gate.get("/orders0/"))[0] == 200
        return bool(gate.events(event))

    await wait_until(is_there)


async def test_known_addresses_serve_while_the_name_server_is_silent(tmp_path: Path) -> None:
    async with (
        NameServer(ADDRESSES) as names,
        named(tmp_path, names) as gate,
        asyncio.timeout(TIME_LIMIT),
    ):
        assert (await gate.get("/orders0/"))[0] == 200
        _, status = await gate.ask("/status")
        assert status["names"] == {}
        names.is_dead = True

        async def is_stale() -> bool:
            assert (await gate.get("/orders0/"))[0] == 200
            return "healthy.test" in (await gate.ask("/status"))[1]["names"]

        await wait_until(is_stale)
        for n in range(1, 8):  # these need a token each
            assert (await gate.get(f"/orders{n}/"))[0] == 200
        known = (await gate.until_answer("/status", lambda status: len(status["names"]) >= 2))["names"]
        assert set(known) == {"identity.test", "healthy.test"}
        for problem in known.values():
            assert (problem["state"], problem["addresses"]) == ("stale", ["127.0.0.1"])
            assert problem["error"].startswith("no answer for ")
            assert problem["resolved"] < problem["since"]
        stale = {line["name"]: line["addresses"] for line in await gate.wait_for_events("name-stale", 2)}
        assert stale == {"identity.test": ["127.0.0.1"], "healthy.test": ["127.0.0.1"]}
        assert not gate.events("name-resolved")


async def test_stale_addresses_begin_and_end_with_an_event(tmp_path: Path) -> None:
    async with (
        NameServer(ADDRESSES) as names,
        named(tmp_path, names) as gate,
        asyncio.timeout(TIME_LIMIT),
    ):
        assert (await gate.get("/orders0/"))[0] == 200
        names.is_failing = True
        await served_until(gate, "name-stale")
        assert (await gate.get("/orders0/"))[0] == 200
        names.is_failing = False
        await served_until(gate, "name-resolved")
        [stale], [resolved] = gate.events("name-stale"), gate.events("name-resolved")
        assert (stale["level"], stale["name"], stale["addresses"]) == ("warning", "healthy.test", ["127.0.0.1"])
        assert "Temporary failure in name resolution; its last good addresses are used" in stale["message"]
        assert (resolved["level"], resolved["name"], resolved["addresses"]) == ("info", "healthy.test", ["127.0.0.1"])
