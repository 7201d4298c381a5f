"""The log of the gateway in Debian's rsyslog and syslog-ng, over a unix socket and over TCP with octet counting."""

import asyncio
import io
import json
import os
import shutil
import sys
from asyncio.subprocess import DEVNULL
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gateway.observe.syslog_message import MAX_MESSAGE, syslog_message
from gateway.observe.syslog_writer import SyslogWriter
from gateway.sandbox import Sandbox
from tests.fakes.ports import reserved_port
from tests.fakes.process import Process, kill_group
from tests.fakes.waiting import TIME_LIMIT
from tests.system.scene import SECRETS, settings, written

RSYSLOG = """
global(workDirectory="{folder}" maxMessageSize="64k")
module(load="imuxsock" SysSock.Use="off")
module(load="imtcp")
input(type="imuxsock" Socket="{folder}/socket" CreatePath="on" UseSpecialParser="off" ParseHostname="on"
      RateLimit.Interval="0")
input(type="imtcp" port="{port}" address="127.0.0.1")
template(name="row" type="string" string="%pri-text% %app-name% %msgid% %msg%\\n")
action(type="ompipe" pipe="{folder}/received" template="row")
"""
SYSLOG_NG = """
@version: 3.38
source receivers {{
    unix-dgram("{folder}/socket" flags(syslog-protocol));
    unix-stream("{folder}/stream" flags(syslog-protocol));
    syslog(ip("127.0.0.1") port({port}) transport("tcp"));
}};
destination received {{ pipe("{folder}/received" template("$FACILITY.$LEVEL $PROGRAM $MSGID $MSG\\n")); }};
log {{ source(receivers); destination(received); }};
"""
UNPACKED = Path(sys.prefix) / "syslog-ng"


def rsyslog(folder: Path, port: int) -> list[str]:
    """Return the command that runs rsyslog."""
    program = shutil.which("rsyslogd", path="/usr/sbin:/usr/bin")
    assert program, "apt-get install rsyslog"
    config = folder / "rsyslog.conf"
    config.write_text(RSYSLOG.format(folder=folder, port=port), encoding="ascii")
    return [program, "-n", "-f", str(config), "-i", f"{folder}/pid"]


def syslog_ng(folder: Path, port: int) -> list[str]:
    """Return the command that runs syslog-ng."""
    program = UNPACKED / "usr" / "sbin" / "syslog-ng"
    assert program.is_file(), "run `make test`, or `make .venv/syslog-ng/.installed`"
    config = folder / "syslog-ng.conf"
    config.write_text(SYSLOG_NG.format(folder=folder, port=port), encoding="ascii")
    files = [f"--cfgfile={config}", *(f"--{name}={folder}/{name}" for name in ("persist-file", "control", "pidfile"))]
    [modules] = UNPACKED.glob("usr/lib/syslog-ng/*.*/")
    return [str(program), "--foreground", "--no-caps", f"--module-path={modules}", *files]


RECEIVERS = {"rsyslog": rsyslog, "syslog-ng": syslog_ng}


@asynccontextmanager
async def running(command: Sequence[str]) -> AsyncIterator[None]:
    """Run a receiver; at the end it is killed."""
    libraries = {"LD_LIBRARY_PATH": str(UNPACKED / "usr" / "lib" / "syslog-ng")}
    process = await asyncio.create_subprocess_exec(
        *command, env=os.environ | libraries, stdin=DEVNULL, stderr=DEVNULL, start_new_session=True
    )
    try:
        yield
    finally:
        kill_group(process.pid)
        await process.wait()


class Received:
    """The named pipe into which a receiver writes a row for each message."""

    def __init__(self, rows: asyncio.StreamReader) -> None:
        self._reader = rows
        self._rows: list[str] = []

    async def wait_for(self, msgid: str, count: int) -> list[str]:
        """Wait for this number of rows with a MSGID; return them."""
        async with asyncio.timeout(TIME_LIMIT):
            while len(self._named(msgid)) < count:
                self._rows.append((await self._reader.readline()).decode().rstrip("\n"))
        return self._named(msgid)

    def _named(self, msgid: str) -> list[str]:
        return [row for row in self._rows if f" {msgid} " in row]


@asynccontextmanager
async def receiving(folder: Path) -> AsyncIterator[Received]:
    """Make the pipe. This process holds both ends, so that it stays open while a receiver restarts."""
    path = folder / "received"
    os.mkfifo(path)
    reader = asyncio.StreamReader(limit=1 << 20)
    with io.FileIO(os.open(path, os.O_RDWR | os.O_NONBLOCK)) as pipe:
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), pipe
        )
        try:
            yield Received(reader)
        finally:
            transport.close()


@pytest.mark.parametrize("kind", ["unix", "tcp"])
@pytest.mark.parametrize("receiver", RECEIVERS)
async def test_receivers_have_every_line_of_all_workers(
    tmp_path: Path, sandbox: Sandbox, receiver: str, kind: str
) -> None:
    with reserved_port() as port:
        command = RECEIVERS[receiver](tmp_path, port)
        target = f"unix:{tmp_path}/socket" if kind == "unix" else f"127.0.0.1:{port}"
        document = settings(sandbox, workers=2, log={"to": {"syslog": target}})
        # The gateway starts first: its lines wait until the receiver is there.
        async with (
            receiving(tmp_path) as received,
            Process("serve", "-c", written(tmp_path, document), **SECRETS) as gate,
        ):
            async with running(command):
                [row] = await received.wait_for("started", 1)
                prefix, _, text = row.partition("{")
                assert prefix.split() == ["local0.info", "oic-gateway", "started"]
                gate.listen = json.loads("{" + text)["listen"]
                for _ in range(9):
                    assert (await gate.get("/orders/"))[0] == 200
                assert (await gate.get("/status/500"))[0] == 500
                await received.wait_for("request", 10)
            for _ in range(10):
                assert (await gate.get("/orders/"))[0] == 200
            async with running(command):
                rows = await received.wait_for("request", 20)
        assert len({json.loads(row[row.index("{") :])["request_id"] for row in rows}) == len(rows) == 20
        assert sum(row.startswith("local0.warn") for row in rows) == 1
        assert gate.out == b""


@pytest.mark.parametrize("kind", ["unix", "stream", "tcp"])
async def test_a_long_message_harms_no_other_one(tmp_path: Path, kind: str) -> None:
    with reserved_port() as port:
        addresses: dict[str, str | tuple[str, int]] = {"unix": f"{tmp_path}/socket", "stream": f"{tmp_path}/stream"}
        writer = SyslogWriter(addresses.get(kind, ("127.0.0.1", port)))
        async with receiving(tmp_path) as received, running(syslog_ng(tmp_path, port)):
            lines = [b"x" * size for size in (10, 2 * MAX_MESSAGE, 20)]
            messages = [
                syslog_message(line, level="error", time="", event="defect", host="gw", process=1) for line in lines
            ]
            for message in messages:
                writer.write(message)
            rows = await received.wait_for("defect", 3)
    assert [row.count("x") for row in rows] == [message.count(b"x") for message in messages]
    assert await asyncio.to_thread(writer.close, TIME_LIMIT)
