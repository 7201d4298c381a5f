"""The queue and the thread of a history file: nothing waits, lost calls are counted and logged once."""

import asyncio
import json
import logging
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from gateway.history import history_file, timed_reads
from gateway.history.file import FileHistory
from gateway.history.history_file import search_file
from gateway.history.interface import HistoryLimits, Unsearchable
from gateway.history.query import HistoryQuery
from tests.fakes.waiting import TIME_LIMIT, wait_until
from tests.history.call_lines import EVERYTHING, START, ManualClock, call_line, query_of
from tests.history.conftest import OpenHistory

Events = Callable[[], list[tuple[str, str]]]


@pytest.fixture
def events(caplog: pytest.LogCaptureFixture) -> Events:
    """A function that returns name and message of the events so far."""
    caplog.set_level(logging.INFO, "gateway.history")
    return lambda: [(event.event, event.getMessage()) for event in caplog.records]  # type: ignore[attr-defined] # `log_event` adds it


def write_garbage(path: Path) -> None:
    path.write_bytes(b"not a database" * 400)


def remove(path: Path) -> None:
    path.unlink()


async def find_ids(history: FileHistory, query: HistoryQuery | None = None) -> list[str]:
    return [json.loads(line)["request_id"] for line in (await history.find(query or HistoryQuery())).lines]


async def wait_for_calls(history: FileHistory, count: int) -> None:
    async def are_there() -> bool:
        return (await history.find(HistoryQuery())).kept == count

    await wait_until(are_there)


async def test_an_appended_call_is_found_at_once(open_history: OpenHistory) -> None:
    history = open_history(interval=60)
    for number in range(30):
        history.append([call_line(number)])
        assert await find_ids(history, query_of(id=f"instance-{number}")) == [f"request-{number}"]
    result = await history.find(HistoryQuery())
    assert (len(result.lines), result.kept, result.where, result.lost) == (20, 30, "file", 0)
    assert history.health().ok


def test_calls_are_written_without_a_search(open_history: OpenHistory, path: Path) -> None:
    history = open_history()
    for number in range(3):
        history.append([call_line(number)])
        while not path.exists() or stored_calls(path) == number:
            time.sleep(0)
        assert stored_calls(path) == number + 1


def stored_calls(path: Path) -> int:
    return search_file(path, HistoryQuery(), keep=1e9, now=START, until=time.monotonic() + TIME_LIMIT).kept


async def test_a_stop_writes_queued_calls_and_accepts_no_more(open_history: OpenHistory, path: Path) -> None:
    history = open_history(interval=60)
    for number in range(2500):
        history.append([call_line(number)])
    history.close(5)
    history.append([call_line(9999)])
    assert (stored_calls(path), history.lost) == (2500, 1)
    assert len(await find_ids(history)) == 20


async def test_calls_survive_a_restart(open_history: OpenHistory) -> None:
    first = open_history()
    first.append([call_line(1)])
    first.close(5)
    second = open_history()
    second.append([call_line(2)])
    assert await find_ids(second) == ["request-2", "request-1"]


async def test_several_histories_write_one_file(open_history: OpenHistory) -> None:
    histories = [open_history() for _ in range(3)]
    threads = [threading.Thread(target=append_many, args=(history, mark)) for mark, history in enumerate(histories)]
    for thread in threads:
        thread.start()
    for thread in threads:
        await asyncio.to_thread(thread.join)
    await wait_for_calls(histories[0], 1500)
    assert [history.lost for history in histories] == [0, 0, 0]


def append_many(history: FileHistory, mark: int) -> None:
    for number in range(500):
        history.append([call_line(number, request_id=f"{mark}-{number}")])


async def test_retention_follows_the_clock_and_the_limits(open_history: OpenHistory) -> None:
    clock = ManualClock(START + 100)
    history = open_history(HistoryLimits(None, 60.0, 1 << 30), clock=clock)
    for number in range(100):
        history.append([call_line(number)])
    assert len(await find_ids(history, HistoryQuery(limit=1000))) == 60
    clock.now += 30
    assert len(await find_ids(history, HistoryQuery(limit=1000))) == 30
    history.set_limits(HistoryLimits(5, 60.0, 1 << 30))
    history.append([call_line(100)])
    await history.flush()
    await wait_for_calls(history, 5)
    clock.now += 1000
    history.append([call_line(1120)])
    await wait_for_calls(history, 1)
    assert await find_ids(history) == ["request-1120"]


async def test_calls_beyond_the_queue_are_lost_and_counted(open_history: OpenHistory, events: Events) -> None:
    history = open_history(max_lines=10, interval=60)
    await history.flush()
    for number in range(100):
        history.append([call_line(number)])
    assert history.lost == 90
    assert len(await find_ids(history)) == 10
    assert events() == [
        ("history-down", "calls are not recorded in the history: calls come faster than the disk can write them")
    ]
    history.append([call_line(200)])
    await history.flush()
    assert [event for event, _ in events()] == ["history-down", "history-up"]


async def test_the_start_and_end_of_a_problem_are_logged_once(
    open_history: OpenHistory, path: Path, events: Events
) -> None:
    write_garbage(path)
    history = open_history()
    for number in range(3):
        history.append([call_line(number)])
        with pytest.raises(Unsearchable, match="file is not a database"):
            await find_ids(history)
    assert history.lost == 3
    assert not history.health().ok
    assert "remove it" in history.health().why
    remove(path)
    history.append([call_line(7)])
    assert await find_ids(history) == ["request-7"]
    assert [event for event, _ in events()] == ["history-down", "history-up"]
    assert history.health().ok
    assert history.lost == 3


def test_a_file_in_a_missing_folder_only_loses_calls(tmp_path: Path) -> None:
    history = FileHistory(tmp_path / "none" / "file", EVERYTHING, interval=0.001)
    history.append([call_line(1)])
    history.close(5)
    assert history.lost == 1


async def test_only_the_queue_waits_for_a_locked_file(open_history: OpenHistory, path: Path, events: Events) -> None:
    history = open_history()
    history.append([call_line(1)])
    await history.flush()
    with closing(sqlite3.connect(path, isolation_level=None)) as holder:
        holder.execute("BEGIN IMMEDIATE")
        started_at = time.monotonic()
        for number in range(2, 50):
            history.append([call_line(number)])
        assert time.monotonic() - started_at < 48 * history_file.BUSY_TIMEOUT
        assert await find_ids(history) == ["request-1"]
        while not events():
            await history.flush()
        assert history.lost == 0
        holder.execute("ROLLBACK")
    await wait_for_calls(history, 49)
    assert history.lost == 0
    assert [event for event, _ in events()] == ["history-down", "history-up"]


async def test_a_stop_does_not_wait_for_a_lock(
    open_history: OpenHistory, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history_file, "BUSY_TIMEOUT", 2 * TIME_LIMIT)  # a stop that waits for the file takes longer
    history = open_history()
    history.append([call_line(1)])
    await history.flush()
    with closing(sqlite3.connect(path, isolation_level=None)) as holder:
        holder.execute("BEGIN IMMEDIATE")
        history.append([call_line(2)])
        started_at = time.monotonic()
        history.close(0.1)
        assert time.monotonic() - started_at < TIME_LIMIT
        holder.execute("ROLLBACK")


async def test_a_removed_file_is_created_again(open_history: OpenHistory, path: Path) -> None:
    history = open_history()
    history.append([call_line(1)])
    await history.flush()
    remove(path)
    history.append([call_line(2)])
    assert await find_ids(history) == ["request-2"]
    assert history.lost == 0


async def test_many_searches_at_once_all_succeed(open_history: OpenHistory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timed_reads, "SEARCH_TIMEOUT", TIME_LIMIT)  # the searches wait for each other
    history = open_history()
    for number in range(100):
        history.append([call_line(number)])
    await history.flush()
    results = await asyncio.gather(*(find_ids(history, query_of(id=f"instance-{number}")) for number in range(50)))
    assert results == [[f"request-{number}"] for number in range(50)]
