"""The history file: its mode, its limits, and files that are locked, damaged, removed or replaced."""

import os
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from gateway.history import sqlite_tables
from gateway.history.history_file import HistoryFile, UnusableHistoryFile, search_file
from gateway.history.interface import HistoryLimits, Unsearchable
from gateway.history.query import HistoryQuery
from tests.history.call_lines import EVERYTHING, START, call_line

MILLI = int(START * 1000)


def modes(folder: Path) -> dict[str, str]:
    return {file.name: f"{file.stat().st_mode & 0o777:o}" for file in folder.iterdir()}


def find_lines(path: Path, query: HistoryQuery | None = None, *, keep: float = 1e9, until: float = 1e9) -> list[bytes]:
    return list(search_file(path, query or HistoryQuery(), keep=keep, now=START + 100, until=until).lines)


def test_only_the_owner_can_read_the_file_from_its_creation(path: Path, history_file: HistoryFile) -> None:
    before = os.umask(0)
    try:
        history_file.append([call_line(1)])
    finally:
        os.umask(before)
    names = ("state.db.history", "state.db.history-wal", "state.db.history-shm")
    assert modes(path.parent) == dict.fromkeys(names, "600")


def test_the_mode_of_a_readable_file_is_corrected(path: Path, history_file: HistoryFile) -> None:
    history_file.open()
    history_file.close()
    path.chmod(0o644)
    history_file.open()
    assert modes(path.parent)["state.db.history"] == "600"


def test_written_calls_are_found_at_once_and_after_a_restart(path: Path, history_file: HistoryFile) -> None:
    history_file.append([call_line(1)])
    assert find_lines(path) == [call_line(1)]
    history_file.close()
    assert find_lines(path) == [call_line(1)]
    second = HistoryFile(path)
    second.append([call_line(2)])
    second.close()
    assert find_lines(path) == [call_line(2), call_line(1)]


def test_several_processes_may_create_and_write_the_file(path: Path) -> None:
    files = [HistoryFile(path) for _ in range(4)]
    for number, history_file in enumerate(files):
        history_file.append([call_line(number)])
    assert len(find_lines(path)) == 4
    for history_file in files:
        history_file.close()


def test_old_calls_are_hidden_before_they_are_deleted(path: Path, history_file: HistoryFile) -> None:
    history_file.append([call_line(number) for number in range(100)])
    assert find_lines(path, HistoryQuery(limit=100), keep=10.0) == [call_line(number) for number in range(99, 89, -1)]


def test_a_reader_writes_nothing(path: Path) -> None:
    with pytest.raises(Unsearchable, match="unable to open database file"):
        find_lines(path)
    assert not path.exists()
    path.touch()
    assert find_lines(path) == []
    assert path.read_bytes() == b""


def test_a_search_ends_at_its_time_limit(path: Path, history_file: HistoryFile) -> None:
    # Each segment has calls of the route before and after the times of the query, so all segments are read.
    segment = [call_line(number, route="route-0" if number in {0, 999} else "route-1") for number in range(1000)]
    for _ in range(40):
        history_file.append(segment)
    no_match = HistoryQuery(route="route-0", since=MILLI + 1000, until=MILLI + 998_000)
    assert find_lines(path, no_match) == []
    with pytest.raises(Unsearchable, match="takes too long; narrow it"):
        find_lines(path, no_match, until=time.monotonic() + 0.002)
    with pytest.raises(Unsearchable, match="too many searches at once"):
        find_lines(path, no_match, until=time.monotonic() - 1)


def garbage(path: Path) -> None:
    path.write_bytes(b"not a database" * 400)


def other_program(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE other (a)")


def newer(path: Path) -> None:
    write_with_version(path, sqlite_tables.SCHEMA_VERSION + 1)


def older(path: Path) -> None:
    write_with_version(path, sqlite_tables.SCHEMA_VERSION - 1)


def write_with_version(path: Path, version: int) -> None:
    history_file = HistoryFile(path)
    history_file.append([call_line(1)])
    history_file.close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA user_version = {version}")


def folder(path: Path) -> None:
    path.mkdir()


@pytest.mark.parametrize(
    ("make_unusable", "message"),
    [
        (garbage, "file is not a database (DatabaseError); remove it, and the gateway creates another"),
        (
            other_program,
            "it is the database of another program (ForeignDatabase); remove it, and the gateway creates another",
        ),
        (newer, "a newer gateway made it (ForeignDatabase); remove it, and the gateway creates another"),
        (older, "an older gateway made it (ForeignDatabase); remove it, and the gateway creates another"),
        (folder, "(OperationalError)"),
    ],
)
def test_an_unusable_file_is_named_and_not_changed(
    path: Path, history_file: HistoryFile, make_unusable: Callable[[Path], None], message: str
) -> None:
    make_unusable(path)
    before = path.read_bytes() if path.is_file() else b""
    for use in (history_file.open, lambda: history_file.append([call_line(1)])):
        with pytest.raises(UnusableHistoryFile) as raised:
            use()
        assert str(path) in str(raised.value)
        assert message in str(raised.value)
        assert not raised.value.is_busy
    with pytest.raises(Unsearchable) as unreadable:
        find_lines(path)
    assert message in str(unreadable.value)
    assert (path.read_bytes() if path.is_file() else b"") == before


def test_a_missing_folder_is_reported(tmp_path: Path) -> None:
    with pytest.raises(UnusableHistoryFile, match="No such file or directory"):
        HistoryFile(tmp_path / "nowhere" / "file").open()


def test_a_removed_file_is_not_mixed_with_its_old_log(path: Path, history_file: HistoryFile) -> None:
    other = HistoryFile(path)
    other.append([call_line(0)])
    history_file.append([call_line(number) for number in range(1, 500)])
    path.unlink()
    assert path.with_name(f"{path.name}-wal").stat().st_size > 0
    history_file.append([call_line(1000)])
    other.append([call_line(1001)])
    assert find_lines(path) == [call_line(1001), call_line(1000)]
    other.close()
    history_file.append([call_line(1002)])
    assert find_lines(path)[0] == call_line(1002)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def test_a_replaced_file_is_used(path: Path, history_file: HistoryFile, tmp_path: Path) -> None:
    other = HistoryFile(tmp_path / "other")
    other.append([call_line(7)])
    other.close()
    history_file.append([call_line(1)])
    (tmp_path / "other").rename(path)
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink()
    history_file.append([call_line(8)])
    assert find_lines(path) == [call_line(8), call_line(7)]


def test_a_locked_file_is_busy(path: Path, history_file: HistoryFile) -> None:
    history_file.append([call_line(1)])
    with closing(sqlite3.connect(path, isolation_level=None)) as holder:
        holder.execute("BEGIN IMMEDIATE")
        history_file._database.connection().execute("PRAGMA busy_timeout = 1")
        with pytest.raises(UnusableHistoryFile) as raised:
            history_file.append([call_line(2)])
        assert raised.value.is_busy
        assert find_lines(path) == [call_line(1)]
        holder.execute("ROLLBACK")
    history_file.append([call_line(2)])
    assert len(find_lines(path)) == 2


def test_a_full_disk_loses_only_the_calls_that_do_not_fit(path: Path, history_file: HistoryFile) -> None:
    history_file.append([call_line(1)])
    connection = history_file._database.connection()
    [pages] = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(UnusableHistoryFile, match="database or disk is full"):
        history_file.append([call_line(number) for number in range(2, 900)])
    assert find_lines(path) == [call_line(1)]
    connection.execute("PRAGMA max_page_count = 4294967294")
    history_file.append([call_line(2)])
    assert find_lines(path) == [call_line(2), call_line(1)]


def test_the_file_keeps_its_size_limit_and_shrinks(path: Path, history_file: HistoryFile) -> None:
    limits = HistoryLimits(None, 1e9, 1024 * 1024)
    for first in range(0, 10_000, 1000):
        history_file.append([call_line(number) for number in range(first, first + 1000)])
        while history_file.prune(limits, MILLI):
            pass
        assert path.stat().st_size < limits.size * 2
    assert find_lines(path, HistoryQuery(limit=1)) == [call_line(9999)]
    assert find_lines(path, HistoryQuery(request_id="request-9500")) == [call_line(9500)]
    grown = path.stat().st_size
    while history_file.prune(EVERYTHING, MILLI + 9_999_000):
        pass
    assert find_lines(path) == [call_line(9999)]
    while history_file.prune(HistoryLimits(0, 1e9, 1024), MILLI):
        pass
    history_file.close()
    assert path.stat().st_size <= grown
    [size] = [file.stat().st_size for file in path.parent.iterdir()]
    assert size < 2 * 1024 * 1024


def test_a_killed_process_loses_only_unwritten_calls(path: Path, tmp_path: Path) -> None:
    pid = os.fork()
    if not pid:
        HistoryFile(path).append([call_line(number) for number in range(50)])
        os.kill(os.getpid(), 9)
    os.waitpid(pid, 0)
    assert len(find_lines(path, HistoryQuery(limit=100))) == 50
    history_file = HistoryFile(path)
    history_file.append([call_line(60)])
    assert len(find_lines(path, HistoryQuery(limit=100))) == 51
    history_file.close()


def test_concurrent_deletions_count_each_call_once(path: Path) -> None:
    limits = HistoryLimits(10, 1e9, 1 << 40)
    first, files = HistoryFile(path), [HistoryFile(path) for _ in range(4)]
    first.append([call_line(number) for number in range(500)])
    first.close()
    barrier = threading.Barrier(len(files))

    def prune_all(history_file: HistoryFile) -> None:
        history_file.open()
        barrier.wait()
        while history_file.prune(limits, MILLI):
            pass
        history_file.close()

    threads = [threading.Thread(target=prune_all, args=(history_file,)) for history_file in files]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(find_lines(path, HistoryQuery(limit=1000))) == 10
