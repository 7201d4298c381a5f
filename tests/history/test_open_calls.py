"""Open calls: those of a killed process, and only those, are found as lost."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from gateway.history import sqlite_tables
from gateway.history.file import FileHistory
from gateway.history.history_file import HistoryFile, search_file
from gateway.history.open_calls import is_running, process_identity
from gateway.history.query import HistoryQuery
from gateway.observe.record import Record
from gateway.observe.timestamp import timestamp
from tests.fakes.process import ROOT
from tests.fakes.waiting import TIME_LIMIT
from tests.history.call_lines import EVERYTHING, START, ManualClock, call_line


def call(number: int, **fields: str) -> Record:
    facts: dict[str, Any] = {
        "request_id": f"request-{number}",
        "route": "orders",
        "method": "POST",
        "path": "/orders/",
        **fields,
    }
    return Record(time=timestamp(START + number), **facts)


@pytest.fixture
def history(path: Path) -> Iterator[FileHistory]:
    history = FileHistory(path, EVERYTHING, clock=ManualClock(START + 100), interval=0.001)
    yield history
    history.close(5)


def entries(path: Path) -> list[str]:
    """The request ids of the open calls in the file."""
    with closing(sqlite3.connect(path)) as connection:
        return [json.loads(line)["request_id"] for _, line in sqlite_tables.read_open_calls(connection)]


def until_entries(path: Path, *names: str) -> None:
    deadline = time.monotonic() + TIME_LIMIT
    while not path.exists() or entries(path) != list(names):
        assert time.monotonic() < deadline
        time.sleep(0)


def lost_calls(path: Path, query: HistoryQuery | None = None) -> list[dict[str, object]]:
    result = search_file(path, query or HistoryQuery(), keep=1e9, now=START + 200, until=time.monotonic() + TIME_LIMIT)
    return [document for line in result.lines if (document := json.loads(line))["error"] == "lost"]


def test_an_entry_is_there_until_the_call_has_ended(history: FileHistory, path: Path) -> None:
    one, other = call(1), call(2)
    history.begin(one)
    history.begin(other)
    until_entries(path, "request-1", "request-2")
    assert lost_calls(path) == []
    history.append([call_line(1)], [one])
    until_entries(path, "request-2")


def test_a_stop_leaves_no_entry(history: FileHistory, path: Path) -> None:
    history.begin(call(1))
    until_entries(path, "request-1")
    history.close(5)
    assert entries(path) == []


def test_the_end_of_a_call_without_an_entry_does_nothing(history: FileHistory, path: Path) -> None:
    history.append([call_line(1)], [call(1)])
    history.close(5)
    assert entries(path) == []


KILLED = """
import sys
from gateway.history.file import FileHistory
from gateway.history.interface import HistoryLimits
from gateway.observe.record import Record
history = FileHistory(sys.argv[1], HistoryLimits(None, 1e9, 1 << 40), interval=0.001)
for number, time in enumerate(sys.argv[2:]):
    facts = {"request_id": f"request-{number}", "client": f"10.0.0.{number}", "route": "orders", "caller": "erp"}
    history.begin(Record(time=time, method="POST", path="/orders/", **facts))
print("begun", flush=True)
sys.stdin.read()
"""


def test_calls_of_a_killed_process_are_found_as_lost(path: Path) -> None:
    times = [timestamp(START + number) for number in range(3)]
    with subprocess.Popen(
        [sys.executable, "-c", KILLED, str(path), *times], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"begun\n"
        until_entries(path, "request-0", "request-1", "request-2")
        assert lost_calls(path) == []
        process.send_signal(signal.SIGKILL)
    assert [each["request_id"] for each in lost_calls(path)] == ["request-2", "request-1", "request-0"]
    [match] = lost_calls(path, HistoryQuery(route="orders", client="10.0.0.1"))
    assert (match["request_id"], match["status"], match["method"], match["path"]) == (
        "request-1",
        None,
        "POST",
        "/orders/",
    )
    assert match["reason"]
    assert len(lost_calls(path, HistoryQuery(caller="erp"))) == 3
    assert lost_calls(path, HistoryQuery(caller="crm")) == []
    assert lost_calls(path, HistoryQuery(status="5xx")) == []
    assert len(lost_calls(path, HistoryQuery(limit=1))) == 1


def test_old_lost_calls_are_deleted(path: Path) -> None:
    history_file = HistoryFile(path)
    with closing(history_file):
        lines = [(number, call_line(number)) for number in range(4)]
        sqlite_tables.update_open_calls(history_file._database.connection(), "1 1", ended=(), began=lines)
        assert len(sqlite_tables.read_open_calls(history_file._database.connection())) == 4
        history_file.prune(EVERYTHING, round((START + 2) * 1000))
        assert [line for _, line in sqlite_tables.read_open_calls(history_file._database.connection())] == [
            call_line(2),
            call_line(3),
        ]


def test_the_number_of_lost_calls_is_limited(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_tables, "MAX_OPEN_CALLS", 3)
    history_file = HistoryFile(path)
    with closing(history_file):
        sqlite_tables.update_open_calls(
            history_file._database.connection(),
            "1 1",
            ended=(),
            began=[(number, call_line(number)) for number in range(10)],
        )
        history_file.prune(EVERYTHING, 0)
        assert [line for _, line in sqlite_tables.read_open_calls(history_file._database.connection())] == [
            call_line(7),
            call_line(8),
            call_line(9),
        ]


def test_a_file_of_an_older_gateway_is_read(path: Path) -> None:
    history_file = HistoryFile(path)
    history_file.append([call_line(1)])
    history_file._database.connection().execute("DROP TABLE begun")
    history_file.close()
    assert len(search_file(path, HistoryQuery(), keep=1e9, now=START, until=time.monotonic() + TIME_LIMIT).lines) == 1


def test_a_process_is_identified_by_its_start_time_too() -> None:
    name = process_identity(os.getpid())
    assert name is not None
    assert is_running(name)
    assert not is_running(f"{os.getpid()} 1")
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        ended.wait()
    assert process_identity(ended.pid) is None


AS_ROOT = () if os.getuid() == 0 else ("--map-root-user",)
HIDDEN = """
mount -t proc -o hidepid=2,gid=54322 proc /proc
exec unshare --map-user=54321 --map-group=54321 -- "$@"
"""
SIBLING = """
import os, signal
from gateway.system.hardening import forbid_dumps
from gateway.history.open_calls import is_running, process_identity
forbid_dumps()
reading, writing = os.pipe()
sibling = os.fork()
if not sibling:
    os.write(writing, process_identity(os.getpid()).encode())
    signal.pause()
name = os.read(reading, 100).decode()
assert is_running(name), name
assert not os.path.exists(f"/proc/{sibling}"), "it is not hidden"
os.kill(sibling, signal.SIGKILL)
os.waitpid(sibling, 0)
assert not is_running(name), name
"""


def test_a_process_that_proc_hides_still_runs() -> None:
    namespace = ("unshare", "--mount", "--pid", "--fork", *AS_ROOT, "--", "sh", "-ec", HIDDEN, "sh")
    done = subprocess.run(
        [*namespace, sys.executable, "-c", SIBLING], cwd=ROOT, check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
