"""A process that ends badly leaves no secret behind: no core dump, and no memory that others may read."""

import asyncio
import os
import re
import subprocess
import sys
from pathlib import Path

from gateway.sandbox import Sandbox
from tests.fakes.process import ROOT, Process
from tests.system.scene import SECRETS, settings, written
from tests.system.test_workers import children

SCRIPT = """
import ctypes, os
from gateway.system.hardening import forbid_dumps
forbid_dumps()
child = os.fork()
ended = os.waitpid(child, 0)[1] if child else 0
print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0), flush=True)  # PR_GET_DUMPABLE
if not child:
    os.abort()
print(os.WCOREDUMP(ended))
"""


def test_neither_a_process_nor_its_children_can_be_dumped(tmp_path: Path) -> None:
    command = ("sh", "-c", 'ulimit -c unlimited; exec "$@"', "sh", sys.executable, "-c", SCRIPT)
    environ = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["0", "0", "False"]
    assert list(tmp_path.iterdir()) == []


async def test_no_process_of_the_gateway_dumps_core(tmp_path: Path, sandbox: Sandbox) -> None:
    process = Process("serve", "-c", written(tmp_path, settings(sandbox, workers=2)), **SECRETS)
    async with process.under(("sh", "-c", 'ulimit -c unlimited; exec "$@"', "sh")) as gate:
        await gate.wait_started()
        await gate.wait_for_events("worker-started", 2)
        [fork_server] = children(gate.pid)
        members = [gate.pid, fork_server, *children(fork_server)]
        assert len(members) == 4
        for pid in members:
            limits = await asyncio.to_thread(Path(f"/proc/{pid}/limits").read_text, encoding="ascii")
            assert re.search(r"^Max core file size +0 ", limits, re.MULTILINE), pid
