"""`kill -9` at any point of a rotation: the refresh token is never lost by us."""

import asyncio
import os
import signal
import sqlite3
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import pytest

from gateway.errors import TokenRefused
from gateway.oauth.clock import SystemClock
from gateway.oauth.fetch_lease import LEASE_SECONDS
from gateway.sandbox import RegisteredClient, Sandbox, Switches
from tests.fakes.identity import Identity, token
from tests.fakes.process import ROOT, Process, gateway, run
from tests.fakes.redis import RedisServer
from tests.fakes.rotation import KEY, open_store, rotate_token
from tests.fakes.upstream import Upstream
from tests.fakes.waiting import TIME_LIMIT
from tests.system.scene import Settings, route, written

STATE_KEY = {"STATE_KEY": "0123456789abcdef" * 4}
CLIENT = RegisteredClient(is_public=True, grants=frozenset({"refresh_token"}))


class Later(SystemClock):
    """When the lease of one who was killed has ended."""

    def monotonic(self) -> float:
        return SystemClock.monotonic() + LEASE_SECONDS + 1

    def wall(self) -> float:
        return SystemClock.wall() + LEASE_SECONDS + 1


class RotationProcess:
    """The program of tests.fakes.rotation."""

    async def __aenter__(self) -> Self:
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "tests.fakes.rotation"),
            cwd=ROOT,
            env={"PATH": os.environ["PATH"]},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        await self._process.communicate()

    async def killed(self, file: Path, url: str, point: int) -> str:
        """The line where it was killed; empty when there are no more."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{file} {url} {point}\n".encode())
        async with asyncio.timeout(TIME_LIMIT):
            line = (await self._process.stdout.readline()).decode().strip()
        assert line
        return "" if line == "end" else line


@dataclass(frozen=True, slots=True)
class Outcome:
    """Whether the server had seen the token, whether what came of it was kept, whether the next process could go on."""

    is_used: bool
    is_kept: bool
    can_continue: bool


async def outcome(rotation: RotationProcess, sandbox: Sandbox, file: Path, point: int) -> tuple[str, Outcome]:
    """Kill one rotation at its `point`th point; return its line, and the outcome."""
    first = sandbox.mint_refresh("page")
    store = open_store(file, SystemClock())
    await store.put_refresh_token(KEY, first)
    before = len(sandbox.token_requests)
    line = await rotation.killed(file, sandbox.token_url, point)
    is_used = len(sandbox.token_requests) > before
    stored = await store.get_refresh_token(KEY)
    assert stored, line
    await store.close()
    try:
        await rotate_token(file, sandbox.token_url, Later())
    except TokenRefused as error:
        return line, Outcome(
            is_used, stored != first, can_continue=not error.reason.startswith("sign-in: the refresh token")
        )
    return line, Outcome(is_used, stored != first, can_continue=True)


@pytest.mark.parametrize(("grace", "step"), [(60, 3), (0, 1)], ids=["a server with grace", "a strict server"])
async def test_a_rotation_killed_at_any_point_can_go_on(tmp_path: Path, grace: int, step: int) -> None:
    """The next process goes on, unless a strict server has rotated the token and the process died before it stored it.

    The process is killed at every line of the modules that hold the lease, rotate and write, and where others begin.
    """
    switches = Switches(rotate_refresh_tokens=True, refresh_grace=grace)
    seen: list[Outcome] = []
    async with Sandbox(switches=switches, clients={"page": CLIENT}) as sandbox, RotationProcess() as rotation:
        while True:
            line, found = await outcome(rotation, sandbox, tmp_path / f"{len(seen)}.db", len(seen) * step + 1)
            if not line:
                break
            assert found.is_used or not found.is_kept, line
            assert found.can_continue == (bool(grace) or found.is_kept or not found.is_used), line
            seen.append(found)
    assert len(seen) * step > 100
    assert {(found.is_used, found.is_kept) for found in seen} == {(False, False), (True, False), (True, True)}


@pytest.fixture(params=["sqlite", "redis"])
async def state(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Any]:
    """`state:`, and what stops the store from answering, and lets it."""
    keys = {"keys": [{"env": "STATE_KEY"}], "timeout": "5s"}
    if request.param == "sqlite":
        yield {"path": str(tmp_path / "state.db"), **keys}, None
        return
    async with RedisServer() as server:
        yield {"redis": {"url": server.url}, **keys}, server


def config(folder: Path, state: Settings, url: str, upstream: str) -> Path:
    """A refresh token from outside: no one need sign in first."""
    credential = {
        "grant": "refresh_token",
        "refresh_token": {"env": "GIVEN"},
        "client_auth": "none",
        "client_id": "c",
        "token_url": url,
        "token_wait": "30s",
    }
    return written(
        folder,
        {
            "listen": "127.0.0.1:0",
            "admin": "127.0.0.1:0",
            "state": state,
            "credentials": {"given": credential},
            "routes": [route("orders", upstream, credential="given")],
        },
    )


@contextmanager
def stopped(settings: Settings, server: RedisServer | None) -> Iterator[None]:
    """The store takes nothing meanwhile."""
    if server is not None:
        server.pause()
        yield
        server.resume()
        return
    with closing(sqlite3.connect(settings["path"], isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("ROLLBACK")


def used(identity: Identity) -> list[str]:
    return [request.form["refresh_token"][0] for request in identity.requests]


async def killed(gate: Process, call: asyncio.Task[Any]) -> None:
    os.kill(gate.pid, signal.SIGKILL)
    await gate.wait_group_exit()
    await asyncio.gather(call, return_exceptions=True)


async def test_killed_before_the_answer_the_same_token_is_sent_again(tmp_path: Path, state: Any) -> None:
    """The server may have rotated: it is asked with the same token again, while it still takes it."""
    script = (token("never").behind(asyncio.Event()), token("a", refresh_token="R2"))
    async with Identity(*script) as identity, Upstream() as upstream:
        file = config(tmp_path, state[0], identity.url, upstream.url)
        async with gateway(file, GIVEN="G1", **STATE_KEY) as gate:
            call = asyncio.create_task(gate.get("/orders/"))
            await identity.wait_for_requests(1)
            await killed(gate, call)
        async with gateway(file, GIVEN="G1", **STATE_KEY) as again:
            assert (await again.get("/orders/"))[0] == 200
        assert (await run("token", "--force", "given", "-c", file, GIVEN="G1", **STATE_KEY)).status == 0
    assert used(identity) == ["G1", "G1", "R2"]


async def test_killed_while_the_store_writes_the_new_token(tmp_path: Path, state: Any) -> None:
    gate_of_answer = asyncio.Event()
    settings, server = state
    script = (token("a", refresh_token="R2").behind(gate_of_answer), token("b", refresh_token="R3"))
    async with Identity(*script) as identity, Upstream() as upstream:
        file = config(tmp_path, settings, identity.url, upstream.url)
        async with gateway(file, GIVEN="G1", **STATE_KEY) as gate:
            call = asyncio.create_task(gate.get("/orders/"))
            await identity.wait_for_requests(1)
            with stopped(settings, server):
                gate_of_answer.set()
                await gate.until_answer("/status", lambda status: status["credentials"]["given"]["fetches"]["ok"])
                assert not call.done()
                await killed(gate, call)
        async with gateway(file, GIVEN="G1", **STATE_KEY) as again:
            assert (await again.get("/orders/"))[0] == 200
    assert used(identity) in (["G1", "G1"], ["G1", "R2"])  # Redis may have got it before it was stopped


async def test_a_second_signal_does_not_cut_a_rotation_short(tmp_path: Path, state: Any) -> None:
    gate_of_answer = asyncio.Event()
    script = (token("a", refresh_token="R2").behind(gate_of_answer), token("b", refresh_token="R3"))
    async with Identity(*script) as identity, Upstream() as upstream:
        file = config(tmp_path, state[0], identity.url, upstream.url)
        async with gateway(file, GIVEN="G1", **STATE_KEY) as gate:
            call = asyncio.create_task(gate.get("/orders/"))
            await identity.wait_for_requests(1)
            gate.signal(signal.SIGTERM)
            await gate.wait_for_events("draining")
            gate.signal(signal.SIGTERM)
            await gate.wait_for_records(1)
            gate_of_answer.set()
            assert await gate.ended() == 1
            await asyncio.gather(call, return_exceptions=True)
        async with gateway(file, GIVEN="G1", **STATE_KEY) as again:
            assert (await again.get("/orders/"))[0] == 200
    assert used(identity) == ["G1", "R2"]


async def test_a_reload_lets_a_running_rotation_end(tmp_path: Path, state: Any) -> None:
    gate_of_answer = asyncio.Event()
    script = (token("a", refresh_token="R2").behind(gate_of_answer), token("b", refresh_token="R3"))
    async with Identity(*script) as identity, Upstream() as upstream:
        file = config(tmp_path, state[0], identity.url, upstream.url)
        async with gateway(file, GIVEN="G1", **STATE_KEY) as gate:
            call = asyncio.create_task(gate.get("/orders/"))
            await identity.wait_for_requests(1)
            file.write_text(file.read_text().replace('"30s"', '"31s"'), encoding="utf-8")
            gate.signal(signal.SIGHUP)
            await gate.wait_for_events("reloaded")
            another = asyncio.create_task(gate.get("/orders/"))
            gate_of_answer.set()
            assert [(await call)[0], (await another)[0]] == [200, 200]
        assert (await run("token", "--force", "given", "-c", file, GIVEN="G1", **STATE_KEY)).out == "b\n"
    assert used(identity) == ["G1", "R2"]
