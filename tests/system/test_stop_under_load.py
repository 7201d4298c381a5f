"""A stop under load: every call that was sent is answered, whether on a kept connection or in the accept queue."""

import asyncio
import os
import signal
from pathlib import Path

import pytest

from gateway.sandbox import Sandbox
from tests.fakes.load import Load, fill_backlog, read_status
from tests.fakes.process import request
from tests.system.scene import before


@pytest.mark.parametrize(("workers", "listen"), [(1, "127.0.0.1:0"), (4, "127.0.0.1:0"), (1, "unix"), (2, "unix")])
async def test_no_call_is_lost_at_a_stop(tmp_path: Path, sandbox: Sandbox, workers: int, listen: str) -> None:
    address = f"unix:{tmp_path}/gw" if listen == "unix" else listen
    async with before(tmp_path, sandbox, workers=workers, listen=address) as gate:
        load = Load(gate.listen, request("/orders/"), count=32)
        await load.wait_for_answers(200)
        gate.signal(signal.SIGTERM)
        await load.wait_until_refused()
        assert await gate.ended() == 0
        assert load.lost == []
        assert set(load.answers) == {200}
        assert len(gate.records) == load.answers.total()
        assert {record["status"] for record in gate.records} == {200}


@pytest.mark.parametrize("workers", [1, 2])
async def test_calls_in_the_accept_queue_are_answered(tmp_path: Path, sandbox: Sandbox, workers: int) -> None:
    async with before(tmp_path, sandbox, workers=workers) as gate:
        _, status = await gate.ask("/status")
        pids = [worker["pid"] for worker in status["workers"]] if workers > 1 else [gate.pid]
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        callers = await asyncio.to_thread(fill_backlog, gate.listen, request("/orders/"), 20)
        if workers == 1:  # it hears the signal before it can accept
            gate.signal(signal.SIGTERM)
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
        if workers > 1:
            gate.signal(signal.SIGTERM)
        lines = await asyncio.gather(*(asyncio.to_thread(read_status, caller) for caller in callers))
        assert set(lines) == {b"HTTP/1.1 200 OK\r\n"}
        assert await gate.ended() == 0


async def test_an_idle_connection_gets_one_more_response(tmp_path: Path, sandbox: Sandbox) -> None:
    sandbox.switches.slow_gate = asyncio.Event()
    async with before(tmp_path, sandbox) as gate:
        slow = asyncio.create_task(gate.get("/slow/1"))
        connection = await gate.caller()
        await connection.send(request("/orders/"))
        assert (await connection.reply())[0] == 200
        await sandbox.calls.reached(2)
        gate.signal(signal.SIGTERM)
        await gate.wait_for_events("draining")
        await connection.send(request("/orders/"))
        status, head, _ = await connection.reply()
        assert status == 200
        assert b"\r\nConnection: close\r\n" in head
        assert await connection.read_to_end() == b""
        sandbox.switches.slow_gate.set()
        assert (await slow)[0] == 200
        assert await gate.ended() == 0
        assert [record["status"] for record in gate.records] == [200, 200, 200]


async def test_a_rejection_during_a_stop_closes_the_connection(tmp_path: Path, sandbox: Sandbox) -> None:
    async with before(tmp_path, sandbox) as gate:
        connection = await gate.caller()
        await connection.send(request("/nope"))
        assert b"\r\nConnection: close\r\n" not in (await connection.reply())[1]
        gate.signal(signal.SIGTERM)
        await gate.wait_for_events("draining")
        await connection.send(request("/nope"))
        status, head, _ = await connection.reply()
        assert status == 404
        assert b"\r\nConnection: close\r\n" in head
        assert await gate.ended() == 0


async def test_a_head_that_does_not_come_to_its_end_is_answered(tmp_path: Path, sandbox: Sandbox) -> None:
    async with before(tmp_path, sandbox) as gate:
        caller = await gate.caller()
        await caller.send(b"GET /orders/ HTTP/1.1\r\nHost: gw\r\n")
        gate.signal(signal.SIGTERM)
        status, head, _ = await caller.reply()
        assert status == 503
        assert b"\r\nX-Gateway-Error: draining\r\n" in head
        caller.close()
        assert await gate.ended() == 0
        [record] = gate.records
        assert (record["status"], record["error"]) == (503, "draining")
