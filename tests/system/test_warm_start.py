"""A start as a fork of the warm server is like the start of a new process."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

from gateway.sandbox import Sandbox
from tests.fakes.process import ROOT, Process, gateway, run, run_fresh
from tests.fakes.waiting import TIME_LIMIT
from tests.system.scene import SECRETS, before, settings, written

# A test process that ends without stopping its gateway.
ABANDONING = """
import asyncio, os, sys
from tests.fakes.process import Process

async def start(file):
    process = Process("serve", "-c", file, APP_SECRET="unused")
    await (await process.__aenter__()).wait_started()
    print(process.pid, flush=True)
    os._exit(0)

asyncio.run(start(sys.argv[1]))
"""


async def test_a_fork_prints_what_a_new_process_prints(tmp_path: Path, sandbox: Sandbox) -> None:
    file = written(tmp_path, settings(sandbox))
    unknown = os.fsdecode(b"/nowhere/\xff.yaml")
    cases: list[tuple[list[str | Path], int, dict[str, str]]] = [
        (["check", "-c", file], 78, {}),
        (["token", "app", "--claims", "-c", file], 78, {}),
        (["check", "-c", unknown], 78, {}),
        (["check", "-c", unknown], 78, {"PYTHONIOENCODING": "ascii"}),
        (["check", "--live", "-c", file], 69, {"APP_SECRET": "wrong", "PYTHONIOENCODING": "cp1252"}),
        (["schema"], 0, {}),
        (["serv"], 2, {}),
    ]
    for words, status, variables in cases:
        forked = await run(*words, **variables)
        assert forked.status == status
        assert forked == await run_fresh(*words, **variables)


async def test_a_fork_has_only_the_variables_it_was_given(tmp_path: Path, sandbox: Sandbox) -> None:
    async with before(tmp_path, sandbox) as gate:
        assert (await gate.get("/orders/"))[0] == 200
    ended = await run("check", "-c", tmp_path / "gateway.yaml")
    assert (ended.status, "APP_SECRET" in ended.err) == (78, True)


async def test_forks_end_by_signals_as_new_processes_do(tmp_path: Path, sandbox: Sandbox) -> None:
    file = written(tmp_path, settings(sandbox))
    async with gateway(file, **SECRETS) as first, gateway(file, **SECRETS) as second:
        second.signal(signal.SIGKILL)
        assert await second.ended() == -signal.SIGKILL
        assert (await first.get("/orders/"))[0] == 200
        first.signal(signal.SIGTERM)
        assert await first.ended() == 0


async def test_a_fork_dies_with_the_test_process(tmp_path: Path, sandbox: Sandbox) -> None:
    file = written(tmp_path, settings(sandbox))
    done = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", ABANDONING, str(file)], cwd=ROOT, capture_output=True, check=True
    )
    pidfd = None
    try:
        pidfd = os.pidfd_open(int(done.stdout))
    except ProcessLookupError:
        return
    ended = asyncio.Event()
    asyncio.get_running_loop().add_reader(pidfd, ended.set)
    try:
        async with asyncio.timeout(TIME_LIMIT):
            await ended.wait()
    finally:
        asyncio.get_running_loop().remove_reader(pidfd)
        os.close(pidfd)


async def test_standard_output_may_be_a_descriptor(tmp_path: Path) -> None:
    with (tmp_path / "out").open("wb") as out:
        async with Process("--version").to(out.fileno()) as process:
            assert await process.ended() == 0
    assert (tmp_path / "out").read_text(encoding="ascii").startswith("oic-gateway ")
