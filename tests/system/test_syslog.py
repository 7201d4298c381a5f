"""The log of the gateway in Debian's rsyslog, over a unix socket and over TCP with octet counting."""

import asyncio
import json
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gateway.sandbox import Sandbox
from tests.fakes.ports import reserved_port
from tests.fakes.process import Process, kill_group
from tests.fakes.waiting import TIME_LIMIT, wait_until
from tests.system.scene import SECRETS, settings, written

CONFIG = """
global(workDirectory="{folder}" maxMessageSize="64k")
module(load="imuxsock" SysSock.Use="off")
module(load="imtcp")
input(type="imuxsock" Socket="{folder}/socket" CreatePath="on" UseSpecialParser="off" ParseHostname="on"
      RateLimit.Interval="0")
input(type="imtcp" port="{port}" address="127.0.0.1")
template(name="row" type="string" string="%pri-text% %app-name% %msgid% %msg%\\n")
action(type="omfile" file="{folder}/received" template="row")
"""


@asynccontextmanager
async def rsyslog(folder: Path, port: int) -> AsyncIterator[None]:
    program = shutil.which("rsyslogd", path="/usr/sbin:/usr/bin")
    assert program, "apt-get install rsyslog"
    config = folder / "rsyslog.conf"
    config.write_text(CONFIG.format(folder=folder, port=port), encoding="ascii")
    process = await asyncio.create_subprocess_exec(
        program, "-n", "-f", config, "-i", folder / "pid", start_new_session=True
    )
    try:
        yield
    finally:
        kill_group(process.pid)
        await process.wait()


@pytest.mark.parametrize("kind", ["unix", "tcp"])
async def test_rsyslog_receives_every_line_of_all_workers(tmp_path: Path, sandbox: Sandbox, kind: str) -> None:
    received = tmp_path / "received"

    async def lines() -> list[str]:
        text = await asyncio.to_thread(received.read_text, "utf-8") if received.exists() else ""
        return text.splitlines()

    async def is_started() -> bool:
        return any(" started " in line for line in await lines())

    async def has_all() -> bool:
        return sum(" request " in line for line in await lines()) >= 20

    with reserved_port() as port:
        target = f"unix:{tmp_path}/socket" if kind == "unix" else f"127.0.0.1:{port}"
        document = settings(sandbox, workers=2, log={"to": {"syslog": target}})
        # The gateway starts first: its lines wait until the receiver is there.
        async with Process("serve", "-c", written(tmp_path, document), **SECRETS) as gate, rsyslog(tmp_path, port):
            async with asyncio.timeout(TIME_LIMIT):
                await wait_until(is_started)
            [row] = [line for line in await lines() if " started " in line]
            prefix, _, text = row.partition("{")
            assert prefix.split() == ["local0.info", "oic-gateway", "started"]
            gate.listen = json.loads("{" + text)["listen"]
            for _ in range(19):
                assert (await gate.get("/orders/"))[0] == 200
            assert (await gate.get("/status/500"))[0] == 500
            await wait_until(has_all)
            rows = [line for line in await lines() if " request " in line]
            assert len({json.loads(row[row.index("{") :])["request_id"] for row in rows}) == len(rows) == 20
            assert sum(row.startswith("local0.warn") for row in rows) == 1
            assert gate.out == b""
