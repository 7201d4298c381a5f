"""A stop: requests under way finish, new ones are refused, a second signal hurries, nothing waits for idle callers."""

import asyncio
import signal
from pathlib import Path

import pytest

from gateway.sandbox import Sandbox, Switches
from tests.fakes.identity import Identity
from tests.fakes.process import request
from tests.fakes.upstream import ScriptedConnection, Upstream
from tests.system.scene import before, between

STREAMED = {"replay_limit": "0B"}
"""Bodies go to the upstream from their first byte."""


@pytest.fixture
def gated(sandbox: Sandbox) -> asyncio.Event:
    """Holds SLOW until it is set."""
    sandbox.switches.slow_gate = asyncio.Event()
    return sandbox.switches.slow_gate


async def is_refused(address: str) -> bool:
    """Nobody listens any more."""
    host, _, port = address.rpartition(":")
    try:
        _, writer = await asyncio.open_connection(host, int(port))
    except ConnectionRefusedError:
        return True
    writer.close()
    return False


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_slow_request_completes_and_new_ones_are_refused(
    tmp_path: Path, sandbox: Sandbox, gated: asyncio.Event, number: signal.Signals
) -> None:
    async with before(tmp_path, sandbox) as gate:
        slow = asyncio.create_task(gate.get("/slow/1"))
        await sandbox.calls.reached(1)
        gate.signal(number)
        await gate.wait_for_events("draining")
        assert await is_refused(gate.listen)
        status, ready = await gate.ask("/readyz")
        assert (status, ready) == (503, {"state": "draining"})
        assert (await gate.ask("/livez"))[0] == 200
        gated.set()
        assert (await slow)[0] == 200
        assert await gate.ended() == 0
        assert gate.events("draining")[0]["under_way"] == 1
        assert gate.events("stopped")[0]["drained"] is True
        assert [record["status"] for record in gate.records] == [200]


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("admin", ["127.0.0.1:0", "unix:{folder}/admin"])
async def test_quit_drains_as_a_signal_does(
    tmp_path: Path, sandbox: Sandbox, gated: asyncio.Event, workers: int, admin: str
) -> None:
    more = {"workers": workers, "admin": admin.format(folder=tmp_path), "admin_quit": True}
    async with before(tmp_path, sandbox, **more) as gate:
        slow = asyncio.create_task(gate.get("/slow/1"))
        await sandbox.calls.reached(1)
        assert (await gate.get("/quit", method="POST", address=gate.admin))[0] == 202
        await gate.wait_for_events("draining")
        assert await is_refused(gate.listen)
        assert (await gate.ask("/readyz")) == (503, {"state": "draining"})
        # Neither a second request nor the signal of a pod that ends meanwhile cuts the call off.
        assert (await gate.get("/quit", method="POST", address=gate.admin))[0] == 202
        gate.signal(signal.SIGTERM)
        assert (await gate.ask("/livez"))[0] == 200
        gated.set()
        assert (await slow)[0] == 200
        assert await gate.ended() == 0
        assert len(gate.events("draining")) == 1
        assert gate.events("stopped")[0]["drained"] is True


async def test_a_signal_after_quit_and_signal_stops_at_once(
    tmp_path: Path, sandbox: Sandbox, gated: asyncio.Event
) -> None:
    async with before(tmp_path, sandbox, admin_quit=True) as gate:
        slow = await gate.caller()
        await slow.send(request("/slow/1"))
        await sandbox.calls.reached(1)
        await gate.get("/quit", method="POST", address=gate.admin)
        await gate.wait_for_events("draining")
        gate.signal(signal.SIGTERM)
        gate.signal(signal.SIGINT)
        assert await gate.ended() == 1
        gated.set()


@pytest.mark.parametrize("workers", [1, 2])
async def test_quit_is_off_by_default(tmp_path: Path, sandbox: Sandbox, workers: int) -> None:
    async with before(tmp_path, sandbox, workers=workers) as gate:
        assert (await gate.get("/quit", method="POST", address=gate.admin))[0] == 404
        assert (await gate.get("/orders/"))[0] == 200


async def test_the_reply_of_a_drained_request_ends_its_connection(
    tmp_path: Path, sandbox: Sandbox, gated: asyncio.Event
) -> None:
    async with before(tmp_path, sandbox) as gate:
        caller = await gate.caller()
        await caller.send(request("/slow/1"))
        await sandbox.calls.reached(1)
        gate.signal(signal.SIGTERM)
        await gate.wait_for_events("draining")
        gated.set()
        assert (await caller.reply())[0] == 200
        assert await caller.read_to_end() == b""
        assert await gate.ended() == 0


async def test_an_upload_in_progress_completes(tmp_path: Path, sandbox: Sandbox) -> None:
    async with before(tmp_path, sandbox, defaults=STREAMED) as gate:
        caller = await gate.caller()
        await caller.send(request("/upload/", "Content-Length: 200000", method="POST") + b"a" * 100_000)
        await sandbox.calls.reached(1)
        gate.signal(signal.SIGTERM)
        await gate.wait_for_events("draining")
        await caller.send(b"b" * 100_000)
        status, _, body = await caller.reply()
        assert status == 200
        assert b'"length": 200000' in body
        assert await gate.ended() == 0


async def test_a_pipelined_request_is_closed_by_the_response_before(
    tmp_path: Path, sandbox: Sandbox, gated: asyncio.Event
) -> None:
    async with before(tmp_path, sandbox, defaults=STREAMED) as gate:
        upload, caller = await gate.caller(), await gate.caller()
        await upload.send(request("/upload/", "Content-Length: 2", method="POST") + b"a")
        await caller.send(request("/slow/1") + request("/orders/"))
        await sandbox.calls.reached(2)
        gate.signal(signal.SIGTERM)
        await gate.wait_for_events("draining")
        gated.set()
        status, head, _ = await caller.reply()
        assert status == 200
        assert b"\r\nConnection: close\r\n" in head
        assert await caller.read_to_end() == b""
        await upload.send(b"b")
        assert (await upload.reply())[0] == 200
        assert await gate.ended() == 0
        assert sandbox.calls.total == 2


async def test_a_second_signal_truncates_responses_visibly(tmp_path: Path) -> None:
    async def half(peer: ScriptedConnection) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
        await peer.reader.read()

    async with Identity() as identity, Upstream(half) as upstream, between(tmp_path, identity, upstream) as gate:
        caller = await gate.caller()
        await caller.send(request("/orders/1"))
        await caller.head()
        assert await caller.reader.readexactly(4) == b"half"
        gate.signal(signal.SIGTERM)
        await gate.wait_for_events("draining")
        gate.signal(signal.SIGTERM)
        assert await caller.read_to_end() == b""  # 96 bytes short of its length: broken for every client
        assert await gate.ended() == 1
        assert gate.events("stopped")[0]["drained"] is False
        [record] = gate.records
        assert (record["status"], record["bytes_out"]) == (200, 4)
        assert record["error"] == "draining"


async def test_a_forced_stop_resets_a_response_without_length(tmp_path: Path) -> None:
    async def endless(peer: ScriptedConnection) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\n\r\nhalf")
        await peer.reader.read()

    async with Identity() as identity, Upstream(endless) as upstream, between(tmp_path, identity, upstream) as gate:
        caller = await gate.caller()
        await caller.send(b"GET /orders/1 HTTP/1.0\r\n\r\n")  # its body ends with the connection
        await caller.head()
        assert await caller.reader.readexactly(4) == b"half"
        gate.signal(signal.SIGTERM)
        await gate.wait_for_events("draining")
        gate.signal(signal.SIGTERM)
        with pytest.raises(ConnectionResetError):
            await caller.reader.read()
        assert await gate.ended() == 1


async def test_the_drain_has_a_limit(tmp_path: Path, sandbox: Sandbox, gated: asyncio.Event) -> None:
    async with before(tmp_path, sandbox, drain="100ms") as gate:
        caller = await gate.caller()
        await caller.send(request("/slow/1"))
        await sandbox.calls.reached(1)
        gate.signal(signal.SIGTERM)
        assert await caller.read_to_end() == b""
        assert await gate.ended() == 1
        [record] = gate.records
        assert record["error"] == "draining"


async def test_idle_connections_close_at_once(tmp_path: Path, sandbox: Sandbox) -> None:
    async with before(tmp_path, sandbox) as gate:
        silent, connection = await gate.caller(), await gate.caller()
        await connection.send(request("/orders/"))
        assert (await connection.reply())[0] == 200
        started_at = asyncio.get_running_loop().time()
        gate.signal(signal.SIGTERM)
        assert await silent.read_to_end() == await connection.read_to_end() == b""
        assert await gate.ended() == 0
        assert asyncio.get_running_loop().time() - started_at < 5


async def test_a_token_request_under_way_does_not_hold_a_stop(tmp_path: Path) -> None:
    async with (
        Sandbox(switches=Switches(token_gate=asyncio.Event())) as sandbox,
        before(tmp_path, sandbox, drain="100ms") as gate,
    ):
        caller = await gate.caller()
        await caller.send(request("/orders/"))
        await sandbox.token_requests.reached(1)
        gate.signal(signal.SIGTERM)
        assert await gate.ended() == 1
        assert len(gate.records) == 1
        assert not sandbox.calls
