"""The log of the gateway in a real systemd-journald, which runs in a mount namespace with a /run of its own."""

import asyncio
import json
import os
import shutil
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from gateway.observe.journal_writer import SOCKET, JournalWriter
from gateway.observe.json_line import json_line
from gateway.sandbox import Sandbox
from tests.fakes.process import Process, kill_group, run, run_command
from tests.fakes.waiting import TIME_LIMIT, wait_until
from tests.system.scene import SECRETS, settings, written

Entry = dict[str, Any]
AS_ROOT = () if os.geteuid() == 0 else ("--map-root-user",)
PREPARE = """
mount -t tmpfs tmpfs /run/systemd
mount -t tmpfs tmpfs /run/log 2>/dev/null || { mount -t tmpfs tmpfs /run; mkdir /run/log /run/systemd; }
mkdir -p /run/systemd/journal /run/systemd/journald.conf.d /run/log/journal
printf '[Journal]\\nStorage=volatile\\nReadKMsg=no\\nAudit=no\\nRateLimitIntervalSec=0\\n' \\
    >/run/systemd/journald.conf.d/test.conf
echo ready
exec cat
"""


class Journald:
    """A namespace in which journald runs while `running` is entered. Its files stay in between."""

    def __init__(self, namespace: int) -> None:
        user = ("--user", "--preserve-credentials") if AS_ROOT else ()
        self.enter = ("nsenter", "--target", str(namespace), *user, "--mount", "--")
        self._root = Path(f"/proc/{namespace}/root")

    @property
    def socket(self) -> Path:
        return Path(f"{self._root}{SOCKET}")

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run journald; at the end it is killed."""
        programs = [Path(folder, "systemd-journald") for folder in ("/usr/lib/systemd", "/lib/systemd")]
        program = next((each for each in programs if each.is_file()), None)
        assert program, "apt-get install systemd"
        self.socket.unlink(missing_ok=True)
        process = await asyncio.create_subprocess_exec(
            *self.enter, program, stdin=DEVNULL, stderr=DEVNULL, start_new_session=True
        )
        try:
            yield
        finally:
            kill_group(process.pid)
            await process.wait()

    async def is_listening(self) -> bool:
        """Return whether journald has made its socket."""
        return self.socket.is_socket()

    def command(self, *arguments: str) -> tuple[str, ...]:
        """Return the command that prints entries."""
        program = shutil.which("journalctl")
        assert program, "apt-get install systemd"
        return program, "--directory", f"{self._root}/run/log/journal", "--all", "--quiet", "--no-pager", *arguments

    async def wait_for(self, count: int, *matches: str) -> list[Entry]:
        """Wait for this number of entries with these fields; return them."""
        entries: list[Entry] = []

        async def are_there() -> bool:
            _, out, _ = await run_command(*self.command("--output=json", *matches))
            entries[:] = map(json.loads, out.splitlines())
            return len(entries) >= count

        await wait_until(are_there)
        return entries


@asynccontextmanager
async def journald_namespace() -> AsyncIterator[Journald]:
    """Make a namespace that ends with the block."""
    holder = await asyncio.create_subprocess_exec(
        *("unshare", "--mount", *AS_ROOT, "--", "sh", "-ec", PREPARE), stdin=PIPE, stdout=PIPE, start_new_session=True
    )
    try:
        assert holder.stdout is not None
        assert await holder.stdout.readline() == b"ready\n"
        yield Journald(holder.pid)
    finally:
        kill_group(holder.pid)
        await holder.wait()


async def test_journald_has_every_line_with_its_fields(tmp_path: Path, sandbox: Sandbox) -> None:
    file = written(tmp_path, settings(sandbox, workers=2, log={"to": "journald"}))
    async with journald_namespace() as journald, AsyncExitStack() as first:
        await first.enter_async_context(journald.running())
        async with Process("serve", "-c", file, **SECRETS).under(journald.enter) as gate:
            [started] = await journald.wait_for(1, "OIC_EVENT=started")
            gate.listen, gate.admin = started["OIC_LISTEN"], started["OIC_ADMIN"]
            for _ in range(9):
                assert (await gate.get("/orders/"))[0] == 200
            assert (await gate.get("/status/500"))[0] == 500
            await journald.wait_for(10, "OIC_EVENT=request")
            await first.aclose()
            for _ in range(10):
                assert (await gate.get("/orders/"))[0] == 200
            async with journald.running():
                records = await journald.wait_for(20, "OIC_EVENT=request")
                workers = {entry["OIC_PID"] for entry in await journald.wait_for(2, "OIC_EVENT=worker-started")}
                _, text, _ = await run_command(*journald.command("--output=cat", "OIC_STATUS=500"))
        assert len({record["OIC_REQUEST_ID"] for record in records}) == len(records) == 20
        assert {record["SYSLOG_IDENTIFIER"] for record in records} == {"oic-gateway"}
        assert [record["OIC_STATUS"] for record in records if record["PRIORITY"] == "4"] == ["500"]
        assert {record["_PID"] for record in records} <= workers
        assert text.startswith(b"500 GET ")
        assert gate.out == b""


async def test_journald_takes_an_entry_above_the_datagram_limit() -> None:
    async with journald_namespace() as journald, journald.running():
        await wait_until(journald.is_listening)
        writer = JournalWriter(str(journald.socket))
        note = "line\n" * 200_000
        writer.write(json_line({"level": "error", "event": "defect", "message": "m", "note": note}))
        [entry] = await journald.wait_for(1, "OIC_EVENT=defect")
        assert entry["OIC_NOTE"] == note
        assert await asyncio.to_thread(writer.close, TIME_LIMIT)
        assert writer.lost == 0


async def test_without_journald_the_gateway_does_not_start(tmp_path: Path, sandbox: Sandbox) -> None:
    file = written(tmp_path, settings(sandbox, log={"to": "journald"}))
    async with journald_namespace() as journald:
        ended = await run("serve", "-c", file, under=journald.enter, **SECRETS)
    assert ended.status == 69
    assert f"journald (log.to) has no socket `{SOCKET}` (No such file or directory)" in ended.err
