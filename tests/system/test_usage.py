"""Billed messages of the real process: exact sums by caller, route, service and hour, alone and with workers."""

import base64
import csv
import json
import os
import signal
import sqlite3
from collections import Counter
from contextlib import AbstractAsyncContextManager, closing
from pathlib import Path
from typing import Any

import pytest

from gateway.history.usage_query import FLOOR
from gateway.oic.billed_messages import MESSAGE_SIZE
from gateway.sandbox import Sandbox
from tests.fakes.process import Document, Process, gateway, run
from tests.system.scene import SECRETS, Settings, settings, written
from tests.system.test_history import file_of, history_settings, metric

WORKERS = pytest.mark.parametrize("workers", [1, 2])
BOTH = pytest.mark.parametrize("where", ["memory", "file"])
PASSWORDS = {"ERP": "s3cr3t-of-erp", "CRM": "s3cr3t-of-crm"}
CALLS: list[tuple[str, str | None, int, int]] = [
    ("upload", "ERP", 0, 1),
    ("upload", "ERP", MESSAGE_SIZE, 1),
    ("upload", "ERP", MESSAGE_SIZE + 1, 2),
    ("upload", "CRM", 3 * MESSAGE_SIZE, 3),
    ("echo", "ERP", 10, 1),
    ("async", None, 10, 1),
    ("async", None, 10, 1),
]
"""Route, caller, size of the body, messages."""
BY_CALLER = {"erp": (4, 5), "crm": (1, 3), None: (2, 2)}
BY_ROUTE = {"upload": (4, 7), "echo": (1, 1), "async": (2, 2)}


def scene(folder: Path, sandbox: Sandbox, *, in_file: bool, **more: Any) -> Path:
    """Two routes for two callers, others without; all belong to one service."""
    document: Settings = settings(sandbox, **history_settings(folder, in_file=in_file), **more)
    passwords = {name: {"username": name.lower(), "password": {"env": name}} for name in PASSWORDS}
    document["callers"] = {name.lower(): {"basic": basic} for name, basic in passwords.items()}
    document["services"] = {"acme": {"url": sandbox.origin, "packs": 1, "calls": 50}}
    for route in document["routes"]:
        if route["name"] in {"upload", "echo"}:
            route["callers"] = ["erp", "crm"]
    return written(folder, document)


def running(file: Path) -> AbstractAsyncContextManager[Process]:
    return gateway(file, **SECRETS, **PASSWORDS)


async def call_all(gate: Process) -> None:
    for route, caller, size, _ in CALLS:
        proof = base64.b64encode(f"{caller.lower()}:{PASSWORDS[caller]}".encode()).decode() if caller else ""
        status, _, _ = await gate.post(f"/{route}/", b"x" * size, *([f"Authorization: Basic {proof}"] if proof else []))
        assert status < 300


async def report(gate: Process, by: str = "route") -> Document:
    status, document = await gate.ask(f"/usage?by={by}")
    assert status == 200, document
    return document


async def sums(gate: Process, by: str) -> dict[str | None, tuple[int, int]]:
    return {row[by]: (row["calls"], row["messages"]) for row in (await report(gate, by))["usage"]}


@BOTH
@WORKERS
async def test_calls_have_exact_sums_by_each_grouping(
    tmp_path: Path, sandbox: Sandbox, workers: int, where: str
) -> None:
    file = scene(tmp_path, sandbox, in_file=where == "file", workers=workers)
    async with running(file) as gate:
        await call_all(gate)
        assert (await gate.get("/upload/"))[0] == 401
        records = await gate.wait_for_records(len(CALLS) + 1)
        assert Counter(record["messages"] for record in records) == Counter([0, *(messages for *_, messages in CALLS)])
        assert await sums(gate, "caller") == BY_CALLER
        assert await sums(gate, "route") == BY_ROUTE
        assert await sums(gate, "service") == {"acme": (7, 10)}
        hours: Counter[str] = Counter()
        for record in (record for record in records if record["messages"]):
            hours[f"{record['time'][:13]}:00:00Z"] += record["messages"]
        assert {row["hour"]: row["messages"] for row in (await report(gate, "hour"))["usage"]} == hours
        document = await report(gate)
        assert (document["calls"], document["messages"], document["where"]) == (7, 10, where)
        assert (document["lost"], document["floor"], document.get("stuck")) == (0, FLOOR, None)
        [service] = document["services"]
        assert (service["packs"], service["hourly_messages"]) == (1, 5000)
        assert service["peak_messages"] == max(hours.values())
        assert await metric(gate, 'oic_gateway_messages_total{route="upload"}') == 7
        assert await metric(gate, 'oic_gateway_caller_messages_total{caller="crm"}') == 3
        assert (await gate.ask("/usage?by=all"))[0] == 400


@WORKERS
async def test_usage_in_a_file_outlives_the_gateway(tmp_path: Path, sandbox: Sandbox, workers: int) -> None:
    file = scene(tmp_path, sandbox, in_file=True, workers=workers)
    async with running(file) as gate:
        await call_all(gate)
        gate.signal(signal.SIGTERM)
        assert await gate.ended() == 0
        assert gate.events("usage-lost") == []
    ended = await run("usage", "-c", file, "--by", "caller", "--json")
    assert (ended.status, ended.err) == (0, "")
    assert {row["caller"]: row["messages"] for row in json.loads(ended.out)["usage"]} == {"erp": 5, "crm": 3, None: 2}
    async with running(file) as gate:
        await call_all(gate)
        assert (await report(gate))["messages"] == 20
        ended = await run("usage", "--admin", gate.admin, "--by", "route", "--csv")
        head, *rows = csv.reader(ended.out.splitlines())
        assert head[:3] == ["route", "calls", "messages_at_least"]
        assert [row[:3] for row in rows] == [["upload", "8", "14"], ["async", "4", "4"], ["echo", "2", "2"]]
        ended = await run("usage", "--admin", gate.admin, "--until", "2h", "--since", "3h")
        assert (ended.status, ended.err) == (1, "")
        assert FLOOR in ended.out


async def test_a_killed_worker_leaves_what_was_written(tmp_path: Path, sandbox: Sandbox) -> None:
    async with running(scene(tmp_path, sandbox, in_file=True, workers=2)) as gate:
        await call_all(gate)
        assert (await report(gate))["messages"] == 10  # and so it is written
        for worker in (await gate.ask("/status"))[1]["workers"]:
            os.kill(worker["pid"], signal.SIGKILL)
        await gate.wait_for_events("worker-started", 4)
        await call_all(gate)
        assert await sums(gate, "route") == {name: (2 * calls, 2 * sent) for name, (calls, sent) in BY_ROUTE.items()}


async def test_a_locked_file_delays_usage_and_loses_none(tmp_path: Path, sandbox: Sandbox) -> None:
    async with running(scene(tmp_path, sandbox, in_file=True)) as gate:
        await report(gate)
        with closing(sqlite3.connect(file_of(tmp_path), isolation_level=None)) as holder:
            holder.execute("BEGIN EXCLUSIVE")
            await call_all(gate)
            await gate.wait_for_events("history-down")
            holder.execute("ROLLBACK")
        await gate.until_answer("/usage", lambda document: document["messages"] == 10)
        await gate.wait_for_events("history-up")


async def test_a_reload_moves_usage_from_memory_to_a_file(tmp_path: Path, sandbox: Sandbox) -> None:
    async with running(scene(tmp_path, sandbox, in_file=False)) as gate:
        await call_all(gate)
        assert (await report(gate))["where"] == "memory"
        scene(tmp_path, sandbox, in_file=True)
        gate.signal(signal.SIGHUP)
        await gate.wait_for_events("reloaded")
        await call_all(gate)
        document = await report(gate)
        assert (document["where"], document["messages"]) == ("file", 20)
