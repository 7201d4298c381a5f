"""The last calls of the real process, alone and with workers, in memory and in a file; the verb that finds them."""

import asyncio
import json
import os
import resource
import signal
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from gateway.history.history_file import BUSY_TIMEOUT
from gateway.sandbox import Sandbox
from tests.fakes.process import Document, Process, gateway, request, run
from tests.fakes.waiting import TIME_LIMIT
from tests.system.scene import SECRETS, Settings, before, route, settings, written

WORKERS = pytest.mark.parametrize("workers", [1, 2])
BOTH = pytest.mark.parametrize("where", ["memory", "file"])


def history_settings(folder: Path, *, in_file: bool) -> Settings:
    """The `state` that has calls kept there."""
    if not in_file:
        return {}
    key = folder / "key"
    key.write_text("0123456789abcdef" * 4, encoding="ascii")
    (folder / "state").mkdir(exist_ok=True)
    return {"state": {"path": str(folder / "state" / "state.db"), "keys": [{"file": str(key)}]}}


def file_of(folder: Path) -> Path:
    return folder / "state" / "state.db.history"


async def search(gate: Process, **parameters: str) -> Document:
    query = "&".join(f"{name}={quote(value)}" for name, value in parameters.items())
    status, document = await gate.ask(f"/instances?{query}")
    assert status == 200, document
    return document


async def found(gate: Process, **parameters: str) -> list[Document]:
    instances: list[Document] = (await search(gate, **parameters))["instances"]
    return instances


async def calls(gate: Process, count: int, target: str = "/orders/") -> list[Document]:
    """Makes so many calls, on a connection each; gives their records."""
    known = len(gate.records)
    for _ in range(count):
        assert (await gate.get(target))[0] == 200
    return (await gate.wait_for_records(known + count))[known:]


async def metric(gate: Process, name: str) -> float:
    _, _, text = await gate.get("/metrics", address=gate.admin)
    [line] = [line for line in text.decode().splitlines() if line.startswith(f"{name} ")]
    return float(line.split()[1])


async def wait_for_calls(gate: Process, history_settings: int) -> Document:
    """Until so many are; what it tells then."""
    return await gate.until_answer("/instances?", lambda document: document["kept"] == history_settings)


@BOTH
@WORKERS
async def test_a_call_is_found_at_once_by_whatever_is_known_of_it(
    tmp_path: Path, sandbox: Sandbox, workers: int, where: str
) -> None:
    async with before(
        tmp_path, sandbox, workers=workers, **history_settings(tmp_path, in_file=where == "file")
    ) as gate:
        assert await search(gate) == {"instances": [], "kept": 0, "where": where, "lost": 0}
        for number in range(12):
            status, _, _ = await gate.get("/orders/", f"X-Request-Id: mine-{number}")
            assert status == 200
            [only] = await found(gate, request_id=f"mine-{number}")
            [record] = [
                record for record in await gate.wait_for_records(number + 1) if record["request_id"] == f"mine-{number}"
            ]
            assert only == record
            assert await found(gate, id=record["instance_id"]) == [record]
        await gate.get("/nowhere/1")
        [lost_one] = await found(gate, status="404")
        assert (lost_one["path"], lost_one["route"], lost_one["error"]) == ("/nowhere/1", None, "no-route")
        assert await found(gate, status="4xx") == [lost_one]
        assert len(await found(gate, route="orders")) == 12
        assert len(await found(gate, client="127.0.0.1", limit="5")) == 5
        assert await found(gate, client="10.0.0.1") == []
        assert await found(gate, since="0s") == []
        assert len(await found(gate, since="1h")) == 13
        assert await found(gate, until="1h") == []
        times = [each["time"] for each in await found(gate)]
        assert times == sorted(times, reverse=True)
        middle = times[6]
        assert all(each["time"] >= middle for each in await found(gate, since=middle))
        assert (await search(gate))["kept"] == 13


@BOTH
async def test_calls_of_all_workers_are_one_history_newest_first(tmp_path: Path, sandbox: Sandbox, where: str) -> None:
    async with before(tmp_path, sandbox, workers=2, **history_settings(tmp_path, in_file=where == "file")) as gate:
        records = await calls(gate, 60)
        document = await search(gate, limit="1000")
        assert document["kept"] == 60
        ids = [record["request_id"] for record in document["instances"]]
        assert sorted(ids) == sorted(record["request_id"] for record in records)
        times = [record["time"] for record in document["instances"]]
        assert times == sorted(times, reverse=True)
        assert [each["time"] for each in await found(gate, limit="7")] == times[:7]


@WORKERS
async def test_a_file_outlives_the_gateway_and_is_read_without_it(
    tmp_path: Path, sandbox: Sandbox, workers: int
) -> None:
    more = history_settings(tmp_path, in_file=True)
    async with before(tmp_path, sandbox, workers=workers, **more) as gate:
        records = await calls(gate, 8)
    instance = records[0]["instance_id"]
    assert f"{file_of(tmp_path).stat().st_mode & 0o777:o}" == "600"
    ended = await run("instances", "-c", tmp_path / "gateway.yaml", instance, "--json")
    assert (ended.status, ended.err) == (0, "")
    document = json.loads(ended.out)
    assert (document["instances"], document["kept"], document["where"]) == ([records[0]], 8, "file")
    async with before(tmp_path, sandbox, workers=workers, **more) as gate:
        assert await found(gate, id=instance) == [records[0]]
        await calls(gate, 1)
        assert (await search(gate))["kept"] == 9


@WORKERS
async def test_the_verb_shows_a_table(tmp_path: Path, sandbox: Sandbox, workers: int) -> None:
    async with before(tmp_path, sandbox, workers=workers) as gate:
        [record] = await calls(gate, 1, "/orders/")
        ended = await run("instances", "--admin", gate.admin, record["instance_id"])
        assert (ended.status, ended.err) == (0, "1 found; 1 calls are kept in memory\n")
        head, row = ended.out.splitlines()
        assert head.split() == ["TIME", "STATUS", "METHOD", "ROUTE", "PATH", "INSTANCE", "MS", "ERROR"]
        assert row.split()[:6] == [record["time"], "200", "GET", "orders", "/orders/", record["instance_id"]]
        by_file = written(tmp_path, settings(sandbox, admin=gate.admin), "ask.yaml")
        assert (await run("instances", "-c", by_file, "--route", "orders", "--status", "2xx")).status == 0
        assert (await run("instances", OIC_GATEWAY_ADMIN=gate.admin)).status == 0
        assert (await run("instances", "--admin", gate.admin, "--since", "0s")).status == 1
        assert (await run("instances", "--admin", gate.admin, "--status", "5x")).status == 2
    ended = await run("instances", "--admin", gate.admin)
    assert (ended.status, ended.out) == (69, "")
    assert f"no gateway responds at {gate.admin}" in ended.err


async def test_a_stop_leaves_nothing_unwritten(tmp_path: Path, sandbox: Sandbox) -> None:
    async with before(tmp_path, sandbox, **history_settings(tmp_path, in_file=True)) as gate:
        await asyncio.gather(*(gate.get("/orders/") for _ in range(50)))
        gate.signal(signal.SIGTERM)
        assert await gate.ended() == 0
    with closing(sqlite3.connect(file_of(tmp_path))) as connection:
        assert connection.execute("SELECT sum(calls), (SELECT kept FROM tally) FROM batch").fetchone() == (50, 50)


async def test_one_that_is_killed_loses_what_it_had_not_written(tmp_path: Path, sandbox: Sandbox) -> None:
    more = history_settings(tmp_path, in_file=True)
    async with before(tmp_path, sandbox, workers=2, **more) as gate:
        await calls(gate, 20)
        assert (await search(gate))["kept"] == 20  # and so it is written
        for worker in (await gate.ask("/status"))[1]["workers"]:
            os.kill(worker["pid"], signal.SIGKILL)
        await gate.wait_for_events("worker-started", 4)
        await calls(gate, 5)
        assert (await search(gate))["kept"] == 25
        assert len(await found(gate, limit="100")) == 25


async def test_unsafe_calls_of_a_killed_worker_are_found_as_lost(tmp_path: Path, sandbox: Sandbox) -> None:
    sandbox.switches.slow_gate = asyncio.Event()
    async with before(tmp_path, sandbox, workers=2, **history_settings(tmp_path, in_file=True)) as gate:
        await calls(gate, 1)
        for method in ("POST", "GET"):
            caller = await gate.caller()
            await caller.send(request("/slow/1", f"X-Request-Id: {method}", "Content-Length: 0", method=method))
        await sandbox.calls.reached(3)
        with closing(sqlite3.connect(file_of(tmp_path))) as connection:
            async with asyncio.timeout(TIME_LIMIT):
                while connection.execute("SELECT count(*) FROM begun").fetchone() != (1,):
                    await gate.ask("/livez")
        assert len(await found(gate)) == 1
        for worker in (await gate.ask("/status"))[1]["workers"]:
            os.kill(worker["pid"], signal.SIGKILL)
        await gate.wait_for_events("worker-started", 4)
        [lost, _] = await found(gate)
        assert (lost["request_id"], lost["route"], lost["method"], lost["status"]) == ("POST", "slow", "POST", None)
        assert lost["error"] == "lost"
        sandbox.switches.slow_gate.set()
    ended = await run("instances", "-c", tmp_path / "gateway.yaml", "--request-id", "POST", **SECRETS)
    assert (ended.status, "lost" in ended.out) == (0, True)


async def test_calls_in_memory_end_with_their_worker(tmp_path: Path, sandbox: Sandbox) -> None:
    async with before(tmp_path, sandbox, workers=2) as gate:
        await calls(gate, 20)
        for worker in (await gate.ask("/status"))[1]["workers"]:
            os.kill(worker["pid"], signal.SIGKILL)
        await gate.wait_for_events("worker-started", 4)
        assert (await search(gate))["kept"] == 0
        await calls(gate, 1)
        assert (await search(gate))["kept"] == 1


async def test_a_stuck_worker_is_named_and_delays_nothing(tmp_path: Path, sandbox: Sandbox) -> None:
    async with before(tmp_path, sandbox, workers=2) as gate:
        await calls(gate, 10)
        pid = (await gate.ask("/status"))[1]["workers"][0]["pid"]
        os.kill(pid, signal.SIGSTOP)
        try:
            assert (await search(gate))["stuck"] == [pid]
        finally:
            os.kill(pid, signal.SIGCONT)
        assert (await search(gate))["kept"] == 10


@WORKERS
async def test_a_full_disk_loses_history_and_never_a_call(tmp_path: Path, sandbox: Sandbox, workers: int) -> None:
    async with before(tmp_path, sandbox, workers=workers, **history_settings(tmp_path, in_file=True)) as gate:
        await calls(gate, 3)
        assert (await search(gate))["kept"] == 3
        pids = [worker["pid"] for worker in (await gate.ask("/status"))[1].get("workers", [])] or [gate.pid]
        limit = file_of(tmp_path).stat().st_size // 2
        for pid in pids:
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
        for _ in range(10):
            await calls(gate, 5)
            await search(gate)
        [event, *_] = await gate.wait_for_events("history-down", 1)
        assert (event["level"], "cannot use the history file" in event["message"]) == ("warning", True)
        assert len(gate.events("history-down")) <= workers
        document = await search(gate)
        assert document["lost"] > 0
        assert document["lost"] + document["kept"] == 53
        assert await metric(gate, "oic_gateway_history_lost_total") == document["lost"]
        assert (await gate.ask("/readyz"))[0] == 200
        assert (await gate.ask("/status"))[1]["history"]["ok"] is False
        for pid in pids:
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        [record] = await calls(gate, 1)
        assert await found(gate, id=record["instance_id"]) == [record]
        assert (await gate.wait_for_events("history-up"))[0]["lost"] > 0


async def test_a_file_that_is_somebody_else_s_is_left_alone(tmp_path: Path, sandbox: Sandbox) -> None:
    more = history_settings(tmp_path, in_file=True)
    file_of(tmp_path).write_bytes(b"this is not a database" * 300)
    before_it = file_of(tmp_path).read_bytes()
    async with before(tmp_path, sandbox, **more) as gate:
        await gate.wait_for_events("history-down")
        await calls(gate, 3)
        status, problem = await gate.ask("/instances")
        assert (status, "remove it, and the gateway creates another" in problem["detail"]) == (503, True)
        assert await metric(gate, "oic_gateway_history_lost_total") == 3
        assert file_of(tmp_path).read_bytes() == before_it
        ended = await run("instances", "--admin", gate.admin)
        assert (ended.status, "is not a database" in ended.err) == (69, True)
        assert len(gate.events("history-down")) == 1
        file_of(tmp_path).unlink()
        await calls(gate, 1)
        assert (await search(gate))["kept"] == 1
        await gate.wait_for_events("history-up")


@WORKERS
async def test_a_file_that_another_holds_slows_no_call(tmp_path: Path, sandbox: Sandbox, workers: int) -> None:
    async with before(tmp_path, sandbox, workers=workers, **history_settings(tmp_path, in_file=True)) as gate:
        await calls(gate, 2)
        assert (await search(gate))["kept"] == 2
        with closing(sqlite3.connect(file_of(tmp_path), isolation_level=None)) as holder:
            holder.execute("BEGIN EXCLUSIVE")
            records = await calls(gate, 20)
            assert max(record["duration_ms"] for record in records) < 1000 * BUSY_TIMEOUT  # as long as the file waits
            assert (await search(gate))["kept"] == 2
            await gate.wait_for_events("history-down")
            holder.execute("ROLLBACK")

        assert (await wait_for_calls(gate, 22))["lost"] == 0
        await gate.wait_for_events("history-up")


@WORKERS
async def test_reading_again_changes_how_much_and_where(tmp_path: Path, sandbox: Sandbox, workers: int) -> None:
    document = settings(sandbox, workers=workers)
    async with gateway(written(tmp_path, document), **SECRETS) as gate:
        await calls(gate, 12)

        async def read_again(count: int, **more: Any) -> None:
            written(tmp_path, document | more)
            gate.signal(signal.SIGHUP)
            await gate.wait_for_events("reloaded", count)

        await read_again(1, history={"calls": 2})
        assert (await search(gate))["kept"] <= 2 * workers
        await read_again(2, history={"calls": 0})
        status, problem = await gate.ask("/instances")
        assert (status, "`history.calls` is 0" in problem["detail"]) == (404, True)
        assert (await run("instances", "--admin", gate.admin)).status == 69
        await calls(gate, 1)
        await read_again(3)
        await calls(gate, 1)
        assert (await search(gate))["kept"] == 1
        await read_again(4, **history_settings(tmp_path, in_file=True))
        await calls(gate, 3)
        found = await search(gate)
        assert (found["kept"], found["where"]) == (3, "file")
        await read_again(5, history={"calls": 1}, **history_settings(tmp_path, in_file=True))
        await calls(gate, 1)

        await wait_for_calls(gate, 1)
        assert gate.events("restart-needed") == []


async def test_limits_hold(tmp_path: Path, sandbox: Sandbox) -> None:
    async with before(tmp_path, sandbox, history={"calls": 4}) as gate:
        records = await calls(gate, 10)
        document = await search(gate, limit="100")
        assert document["kept"] == 4
        assert [each["request_id"] for each in document["instances"]] == [
            each["request_id"] for each in records[:-5:-1]
        ]


async def test_a_terminal_gateway_still_stores_json_records(tmp_path: Path, sandbox: Sandbox) -> None:
    async with before(tmp_path, sandbox, log={"format": "json"}) as gate:
        await calls(gate, 1)
    document = settings(sandbox, log={"format": "text"}, admin=f"unix:{tmp_path}/admin", listen=f"unix:{tmp_path}/gate")
    async with Process("serve", "-c", written(tmp_path, document), **SECRETS) as gate:
        await gate.until(lambda: b"listening on" in gate.out)
        assert (await gate.get("/orders/", address=f"unix:{tmp_path}/gate"))[0] == 200
        gate.admin = f"unix:{tmp_path}/admin"
        [record] = await found(gate)
        assert (record["route"], record["status"], record["event"]) == ("orders", 200, "request")


async def test_a_state_in_redis_keeps_calls_in_memory(tmp_path: Path, sandbox: Sandbox) -> None:
    state = history_settings(tmp_path, in_file=True)["state"]
    redis = {"state": {"redis": {"url": "redis://127.0.0.1:1"}, "keys": state["keys"]}}
    async with before(tmp_path, sandbox, **redis) as gate:
        await calls(gate, 1)
        assert (await search(gate))["where"] == "memory"


async def test_query_strings_are_never_stored(tmp_path: Path, sandbox: Sandbox) -> None:
    document = settings(sandbox, **history_settings(tmp_path, in_file=True))
    document["routes"] = [route("orders", sandbox.upstream("ORDERS"))]
    async with gateway(written(tmp_path, document), **SECRETS) as gate:
        await gate.get("/orders/1?password=hunter2", "Authorization: Basic aHVudGVyMg==")
        assert len(await found(gate)) == 1
    kept_bytes = b"".join(file.read_bytes() for file in file_of(tmp_path).parent.iterdir())
    assert b"hunter2" not in kept_bytes
    assert b"aHVudGVyMg" not in kept_bytes
