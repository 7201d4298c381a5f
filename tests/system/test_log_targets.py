"""The log of the whole gateway in a file: workers, a rename from outside, formats and sampling."""

import json
import signal
from pathlib import Path
from typing import Any

from gateway.sandbox import Sandbox
from tests.fakes.process import Process, run
from tests.fakes.waiting import wait_until
from tests.system.scene import SECRETS, settings, written


async def wait_started(process: Process, file: Path) -> None:
    """Wait for the line `started` in the log file; set the addresses."""
    [line] = await wait_for(file, "started")
    process.listen, process.admin = str(line["listen"]), str(line["admin"])


async def wait_for(file: Path, event: str, count: int = 1) -> list[dict[str, Any]]:
    """Wait for this number of lines of an event in the file and in those that it was renamed to."""
    found: list[dict[str, Any]] = []

    async def is_there() -> bool:
        lines = [line for each in file.parent.glob(f"{file.name}*") for line in each.read_bytes().splitlines()]
        found[:] = [row for row in map(json.loads, lines) if row["event"] == event]
        return len(found) >= count

    await wait_until(is_there)
    return found


async def test_workers_write_one_file_through_renames_and_sigusr1(tmp_path: Path, sandbox: Sandbox) -> None:
    file = tmp_path / "logs" / "log"
    file.parent.mkdir()
    document = settings(sandbox, workers=2, log={"to": {"path": str(file)}})
    async with Process("serve", "-c", written(tmp_path, document), **SECRETS) as gate:
        await wait_started(gate, file)
        for number in range(6):
            for _ in range(5):
                assert (await gate.get("/orders/"))[0] == 200
            file.rename(file.with_name(f"log-{number}"))
            gate.signal(signal.SIGUSR1)
            await wait_for(file, "log-reopened", number + 1)
            assert file.exists()
        records = await wait_for(file, "request", 30)
        assert len({record["request_id"] for record in records}) == len(records) == 30
        assert gate.out == b""


async def test_a_combined_log_has_records_only(tmp_path: Path, sandbox: Sandbox) -> None:
    file = tmp_path / "access"
    document = settings(sandbox, log={"format": "combined", "to": {"path": str(file)}})
    async with Process("serve", "-c", written(tmp_path, document), **SECRETS) as gate:
        await gate.until(lambda: b'"started"' in gate.err)
        [line] = [json.loads(row) for row in gate.err.splitlines() if b'"started"' in row]
        gate.listen, gate.admin = line["listen"], line["admin"]
        assert (await gate.get("/orders/?secret=1"))[0] == 200
    [line] = file.read_bytes().splitlines()
    assert b'] "GET /orders/ HTTP/1.1" 200 ' in line


async def test_sampling_logs_every_error(tmp_path: Path, sandbox: Sandbox) -> None:
    document = settings(sandbox, log={"sample": 1e-9})
    async with Process("serve", "-c", written(tmp_path, document), **SECRETS) as gate:
        await gate.wait_started()
        assert (await gate.get("/orders/"))[0] == 200
        assert (await gate.get("/none/"))[0] == 404
        assert (await gate.get("/status/500"))[0] == 500
        assert (await gate.get("/status/404"))[0] == 404
        await gate.wait_for_records(3)
        _, document = await gate.ask("/instances")
        assert len(document["instances"]) >= 1
    assert [record["status"] for record in gate.records] == [404, 500, 404]


async def test_a_log_file_that_cannot_be_opened_is_exit_69(tmp_path: Path, sandbox: Sandbox) -> None:
    for workers in (1, 2):
        document = settings(sandbox, workers=workers, log={"to": {"path": str(tmp_path / "missing" / "log")}})
        ended = await run("serve", "-c", written(tmp_path, document), **SECRETS)
        assert ended.status == 69
        assert "(log.to.path) cannot be opened (No such file or directory)" in ended.err
