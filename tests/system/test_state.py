"""`state:` in the real process: kept over restarts, shared, said when it cannot be, and nobody waits for it."""

import signal
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.identity import Identity
from tests.fakes.process import Document, Process, gateway, run
from tests.fakes.redis import RedisServer
from tests.fakes.upstream import Upstream
from tests.oauth.backends import all_bytes, modes
from tests.system.scene import SECRETS, credential, simple, written

KEY, OTHER_KEY = "0123456789abcdef" * 4, "fedcba9876543210" * 4
TARGET = "/orders/1"


@dataclass(frozen=True)
class Place:
    """Where the gateway stands, and what stands about it."""

    folder: Path
    identity: Identity
    upstream: Upstream
    key: Path

    @property
    def state_folder(self) -> Path:
        return self.folder / "state"

    def file_store(self) -> dict[str, Any]:
        return {"path": str(self.state_folder / "state.db"), "keys": [{"file": str(self.key)}], "timeout": "20s"}

    def redis_store(self, server: RedisServer) -> dict[str, Any]:
        return {"redis": {"url": server.url}, "keys": [{"file": str(self.key)}], "timeout": "20s"}

    def written(self, *, scope: str = "a", **more: Any) -> Path:
        """The gateway's file; another `scope` is another token."""
        app = credential(self.identity.url, scope=scope)
        document = simple(self.identity.url, self.upstream.url, **more) | {"credentials": {"app": app}}
        return written(self.folder, document)

    def gateway(self, **more: Any) -> AbstractAsyncContextManager[Process]:
        return gateway(self.written(**more), **SECRETS)

    def change_key(self, text: str) -> None:
        self.key.write_text(text, encoding="ascii")


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    async with Identity() as identity, Upstream() as upstream:
        place = Place(tmp_path, identity, upstream, tmp_path / "key")
        place.change_key(KEY)
        place.state_folder.mkdir()
        yield place


@pytest.fixture
async def server() -> AsyncIterator[RedisServer]:
    async with RedisServer() as running:
        yield running


async def store_up(gate: Process) -> float:
    _, _, text = await gate.get("/metrics", address=gate.admin)
    [line] = [line for line in text.decode().splitlines() if line.startswith("oic_gateway_store_up ")]
    return float(line.split()[1])


async def ready(gate: Process) -> Document:
    status, document = await gate.ask("/readyz")
    assert status == 200, document
    return document


async def test_a_token_survives_a_restart_for_its_credential_only(place: Place) -> None:
    for _ in range(2):
        async with place.gateway(state=place.file_store()) as gate:
            assert (await gate.get(TARGET))[0] == 200
            assert set(modes(place.state_folder).values()) == {"600"}
            assert b"token-1" not in all_bytes(place.state_folder)
            assert (await ready(gate))["store"] == {"ok": True, "kind": "file", "why": ""}
    assert len(place.identity.requests) == 1


async def test_status_names_the_memory_store(place: Place) -> None:
    async with place.gateway() as gate:
        assert (await gate.ask("/status"))[1]["store"] == {"ok": True, "kind": "memory", "why": ""}
        assert (await ready(gate))["state"] == "ready"
        assert await store_up(gate) == 1


@pytest.mark.parametrize("workers", [1, 2])
async def test_a_store_that_goes_and_comes_back(place: Place, server: RedisServer, workers: int) -> None:
    common = {"state": place.redis_store(server), "workers": workers}
    async with place.gateway(**common) as gate:
        assert (await gate.get(TARGET))[0] == 200
        assert (await ready(gate))["state"] == "ready"
        assert await store_up(gate) == 1
        await server.kill()
        assert (await gate.get(TARGET))[0] == 200
        place.written(scope="another", **common)
        gate.signal(signal.SIGHUP)
        await gate.wait_for_events("reloaded")
        await ready(gate)  # each worker wants the new token, and finds out
        await gate.wait_for_events("store-down", workers)
        document = await ready(gate)
        assert (document["state"], document["store"]["ok"]) == ("degraded", False)
        assert "cannot be reached" in document["store"]["why"]
        assert (await gate.ask("/status"))[1]["store"] == document["store"]
        assert await store_up(gate) == 0
        assert (await gate.get(TARGET))[0] == 200
        probed = await run("probe", "--admin", gate.admin)
        assert probed.status == 0
        await server.start()
        await gate.wait_for_events("store-up", workers)
        assert (await ready(gate))["state"] == "ready"
        assert await store_up(gate) == 1
        assert KEY not in gate.output_text()
        async with server.client() as client:
            assert len(await client.keys("*:token:*")) == 2  # the new one, and the old one that Redis had lost


@pytest.mark.parametrize("problem", ["killed", "paused"])
async def test_a_store_that_is_down_at_start_does_not_stop_calls(
    place: Place, server: RedisServer, problem: str
) -> None:
    if problem == "paused":
        server.pause()
    else:
        await server.kill()
    async with place.gateway(state=place.redis_store(server) | {"timeout": "3s"}) as gate:
        assert (await gate.get(TARGET))[0] == 200
        [record] = await gate.wait_for_records()
        assert record["token_wait_ms"] < 9000  # the store is asked three times, but waited for once
        assert (await ready(gate))["state"] == "degraded"


async def test_a_reload_changes_store_and_keys_and_reuses_the_token(place: Place, server: RedisServer) -> None:
    async def reload(count: int) -> None:
        gate.signal(signal.SIGHUP)
        await gate.wait_for_events("reloaded", count)
        assert (await gate.get(TARGET))[0] == 200

    async with place.gateway() as gate:
        assert (await gate.get(TARGET))[0] == 200
        place.written(state=place.file_store() | {"timeout": "5s"})
        await reload(1)
        place.written(state=place.redis_store(server) | {"timeout": "5s"})
        await reload(2)
        assert (await ready(gate))["store"]["kind"] == "redis"
        async with server.client() as client:
            [name] = await client.keys("*:token:*")
            before = await client.get(name)
            place.change_key(OTHER_KEY)
            await reload(3)
            assert await client.get(name) != before
        assert gate.events("store-down") == []
    assert len(place.identity.requests) == 1


async def test_check_live_tries_the_store(place: Place, server: RedisServer) -> None:
    file = place.written(state=place.redis_store(server))
    checked = await run("check", "-c", file, "--live", **SECRETS)
    assert checked.status == 0
    assert "ok   state (redis): can be read and written" in checked.out
    await server.kill()
    checked = await run("check", "-c", file, "--live", **SECRETS)
    assert checked.status == 69
    assert "FAIL state (redis): state: Redis: it cannot be reached" in checked.out


async def test_an_invalid_state_key_stops_the_start(place: Place) -> None:
    place.change_key("short")
    ended = await run("serve", "-c", place.written(state=place.file_store()), **SECRETS)
    assert ended.status == 78
    assert "openssl rand -base64 32" in ended.err
    assert modes(place.state_folder) == {}
