"""What the console gets from real processes, one and several: tokens, checks, series, live calls, actions."""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import jwt
import pytest

from gateway.sandbox import Sandbox
from tests.fakes.console_program import CONSOLE
from tests.fakes.identity import Identity, token
from tests.fakes.process import Document, Process, request
from tests.fakes.upstream import Upstream
from tests.fakes.waiting import TIME_LIMIT, wait_until
from tests.system.scene import SECRETS, route, settings, simple, written

PLANTED = "planted-secret-4711"
SIGNED = {"iss": "https://issuer", "sub": "app", "iat": 1_700_000_000, "exp": 1_900_000_000, "custom": "private"}


@asynccontextmanager
async def console(file: Path, **variables: str) -> AsyncIterator[Process]:
    """Run the gateway of a file, with its console as JSON."""
    async with Process("serve", "-c", file, **SECRETS, **variables).under(CONSOLE) as process:
        yield await process.wait_started()


async def ask(gate: Process, method: str, **query: str | float) -> Any:
    """Return the answer of a method of the backend."""
    status, document = await gate.ask(f"/console/{method}?{urlencode(query)}")
    assert status == 200, document
    return document


async def use_all(gate: Process, upstream: Upstream, count: int, target: str = "/orders/") -> set[str]:
    """Call on new connections until all processes have served a call; return the tokens that the last calls used."""
    for _ in range(200):
        assert (await gate.get(target))[0] == 200
        status = (await gate.ask("/status"))[1]
        views = [view["credentials"]["app"] for view in status.get("workers", [status])]
        if len(views) == count and all(view["state"] == "fresh" for view in views):
            return {str(call.field("authorization")) for call in upstream.requests[-20:]}
    raise AssertionError("a process got no call")


async def count_calls(gate: Process) -> int:
    """Return the calls of the series."""
    return sum((await ask(gate, "series"))["calls"])


class Watch:
    """A reader of live calls."""

    def __init__(self, gate: Process) -> None:
        self._gate = gate
        self.lines: list[Document] = []

    async def begin(self) -> None:
        host, _, port = self._gate.admin.rpartition(":")
        self._reader, self._writer = await asyncio.open_connection(host, int(port))
        self._writer.write(request("/console/watch_calls"))
        await self._reader.readuntil(b"\r\n\r\n")
        await self._reader.readuntil(b"\n")

    async def read(self, count: int) -> list[Document]:
        """Read until so many calls have arrived."""
        async with asyncio.timeout(TIME_LIMIT):
            while len(self.lines) < count:
                line = await self._reader.readline()
                if line.startswith(b"{"):
                    self.lines.append(json.loads(line))
        return self.lines

    def end(self) -> None:
        self._writer.close()


@pytest.mark.parametrize("workers", [1, 2])
async def test_all_processes_use_a_renewed_token(tmp_path: Path, workers: int) -> None:
    tokens = [jwt.encode(SIGNED | {"jti": str(number)}, "k" * 32) for number in range(10)]
    async with Identity(*map(token, tokens)) as identity, Upstream() as upstream:
        file = written(tmp_path, simple(identity.url, upstream.url, workers=workers, console={}))
        async with console(file) as gate:
            assert await ask(gate, "credential_claims", name="app") is None
            await use_all(gate, upstream, workers)
            claims = await ask(gate, "credential_claims", name="app")
            assert (claims["issued_at"], claims["expires_at"]) == (1_700_000_000, 1_900_000_000)
            assert claims["values"] == {"iss": "https://issuer", "sub": "app"}
            renewed = await ask(gate, "renew_token", name="app")
            assert renewed["ok"], renewed
            assert len(identity.requests) == workers + 1
            upstream.requests.clear()
            for _ in range(20):
                await gate.get("/orders/")
            assert {call.field("authorization") for call in upstream.requests} == {f"Bearer {tokens[workers]}"}
            fetches = await ask(gate, "token_fetches", name="app")
            assert [fetch["trigger"] for fetch in fetches] == ["forced", *["caller"] * workers]
            assert {fetch["outcome"] for fetch in fetches} == {"ok"}
            assert len({fetch["process"] for fetch in fetches}) == workers
            refused = await ask(gate, "renew_token", name="none")
            assert not refused["ok"]
            assert refused["remedy"]
            assert not (await ask(gate, "sign_out", name="app"))["ok"]
            assert not any(one in gate.output_text() for one in tokens)


@pytest.mark.parametrize("workers", [1, 2])
async def test_checks_series_and_live_calls(tmp_path: Path, sandbox: Sandbox, workers: int) -> None:
    document = settings(sandbox, workers=workers, console={})
    document["services"] = {"acme": {"url": sandbox.upstream("ORDERS").partition("/ic/")[0], "calls": 10}}
    async with console(written(tmp_path, document)) as gate:
        watch = Watch(gate)
        await watch.begin()
        for _ in range(30):
            assert (await gate.get("/orders/"))[0] == 200
        assert (await gate.get("/nothing/"))[0] == 404
        lines = await watch.read(31)
        assert [line["event"] for line in lines] == ["request"] * 31
        assert sum(line["route"] == "orders" for line in lines) == 30
        watch.end()

        async def has_calls() -> bool:
            return await count_calls(gate) == 31

        await wait_until(has_calls)
        orders = await ask(gate, "series", subject="route", name="orders")
        assert sum(orders["calls"]) == 30
        assert orders["errors"] == {}
        assert any(value for value in orders["p95_ms"])
        service = await ask(gate, "series", subject="service", name="acme")
        assert sum(service["calls"]) == 30
        assert set(service["limit"]) <= {10, None}
        assert sum((await ask(gate, "series"))["errors"]["caller"]) == 1
        assert (await ask(gate, "series", subject="route", name="none"))["times"] == []

        found = await ask(gate, "check_credential", name="app")
        assert {finding["step"] for finding in found} >= {"token"}
        assert all(finding["ok"] for finding in found), found
        found = await ask(gate, "check_route", name="orders")
        assert [finding["subject"].partition(" ")[0] for finding in found] == ["upstream", "route"]
        assert all(finding["ok"] for finding in found), found
        assert await ask(gate, "check_route", name="none") == []


@pytest.mark.parametrize("workers", [1, 2])
async def test_an_operator_closes_a_circuit(tmp_path: Path, workers: int) -> None:
    async with Identity() as identity, Upstream() as upstream:
        document = simple(identity.url, upstream.url, workers=workers, console={})
        document["services"] = {"acme": {"url": upstream.url}}
        async with console(written(tmp_path, document)) as gate:
            upstream.script += [b"HTTP/1.1 502 Bad\r\nContent-Length: 0\r\n\r\n"] * 5
            await gate.until_status("/orders/", 503)
            status = (await gate.ask("/status"))[1]
            assert status["services"]["acme"]["circuit"]["state"] == "open"
            closed = await ask(gate, "close_breaker", service="acme")
            assert closed["ok"], closed
            got = [await gate.get("/orders/") for _ in range(10)]
            assert {g[0] for g in got} == {200}, gate.output_text()[-6000:]
            assert "was not open" in (await ask(gate, "close_breaker", service="acme"))["message"]
            assert not (await ask(gate, "close_breaker", service="none"))["ok"]
            await gate.wait_for_events("circuit-closed")


async def test_a_reload_and_the_configuration_without_secrets(tmp_path: Path, sandbox: Sandbox) -> None:
    document = settings(sandbox, workers=2, console={})
    document["credentials"]["app"]["params"] = {"tenant": PLANTED}
    document["routes"][0]["headers"] = {"set": {"X-Key": PLANTED}, "remove": ["X-Other"]}
    file = written(tmp_path, document)
    async with console(file) as gate:
        view = await ask(gate, "configuration")
        assert (view["files"], view["last_reload"]) == ([str(file)], None)
        blocks = {block["name"]: block for block in view["blocks"]}
        assert "env: APP_SECRET" in blocks["credentials.app"]["text"]
        assert "X-Key: …" in blocks["routes.orders"]["text"]
        assert "X-Other" in blocks["routes.orders"]["text"]
        assert PLANTED not in json.dumps(view)
        lines = file.read_text(encoding="utf-8").splitlines()
        assert {block["file"] for block in blocks.values()} == {str(file)}
        assert lines[blocks["credentials.app"]["line"] - 1].strip() == '"app": {'
        order = lines[blocks["routes.orders"]["line"] :]
        assert order[0].strip() == '"name": "orders",'
        document["routes"].append(route("more", sandbox.upstream("ORDERS")))
        written(tmp_path, document)
        result = await ask(gate, "reload")
        assert result["ok"], result
        assert "added routes.more" in result["details"]
        view = await ask(gate, "configuration")
        assert view["last_reload"]["added"] == ["routes.more"]
        assert "routes.more" in {block["name"] for block in view["blocks"]}
        file.write_text("routes: []\n", encoding="utf-8")
        result = await ask(gate, "reload")
        assert not result["ok"]
        assert any("routes: is an empty list" in line for line in result["details"])
        assert (await ask(gate, "configuration"))["last_reload"]["problems"]


async def test_live_calls_and_series_survive_a_killed_worker(tmp_path: Path, sandbox: Sandbox) -> None:
    async with console(written(tmp_path, settings(sandbox, workers=2, console={}))) as gate:
        watch = Watch(gate)
        await watch.begin()
        os.kill((await gate.ask("/status"))[1]["workers"][0]["pid"], signal.SIGKILL)
        await gate.wait_for_events("worker-started", 3)
        count = 0
        async with asyncio.timeout(TIME_LIMIT):
            while len({worker["pid"] for worker in await busy_workers(gate)}) < 2:
                assert (await gate.get("/orders/"))[0] == 200
                count += 1

        async def has_all_calls() -> bool:
            return await count_calls(gate) >= count

        await wait_until(has_all_calls)
        assert len(await watch.read(count)) >= count
        watch.end()


async def test_100_readers_watch_calls_and_one_never_reads(tmp_path: Path, sandbox: Sandbox) -> None:
    async with console(written(tmp_path, settings(sandbox, workers=2, console={}))) as gate:
        readers = [Watch(gate) for _ in range(100)]
        for reader in readers:
            await reader.begin()
        caller = await gate.caller()
        for _ in range(300):
            await caller.send(request("/orders/"))
            assert (await caller.reply())[0] == 200
        sleeper, *others = readers
        for lines in await asyncio.gather(*(reader.read(300) for reader in others)):
            assert [line["event"] for line in lines] == ["request"] * 300
        assert (await gate.ask("/readyz"))[0] == 200
        for reader in (sleeper, *others):
            reader.end()
        assert (await gate.get("/orders/"))[0] == 200


async def busy_workers(gate: Process) -> list[Document]:
    workers: list[Document] = (await gate.ask("/status"))[1]["workers"]
    return [worker for worker in workers if worker["credentials"]["app"]["fetches"]["ok"]]


async def test_the_console_comes_and_goes_with_a_reload(tmp_path: Path, sandbox: Sandbox) -> None:
    document = settings(sandbox, workers=2)
    file = written(tmp_path, document)
    async with console(file) as gate:
        assert (await gate.ask("/console/series"))[0] == 404
        written(tmp_path, document | {"console": {}})
        gate.signal(signal.SIGHUP)
        await gate.wait_for_events("reloaded")
        assert (await gate.get("/orders/"))[0] == 200

        async def has_calls() -> bool:
            return await count_calls(gate) >= 1

        await wait_until(has_calls)
        assert await ask(gate, "token_fetches", name="app") is not None
        written(tmp_path, document)
        gate.signal(signal.SIGHUP)
        await gate.wait_for_events("reloaded", 2)
        assert (await gate.ask("/console/series"))[0] == 404
