"""The file: whom it belongs to, what may be read of it, and what happens to it from outside."""

import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from gateway.history import sqlite_tables
from gateway.history.history_file import HistoryFile, UnusableFile, read
from gateway.history.interface import HistoryLimits, Unsearchable
from gateway.history.query import HistoryQuery
from tests.history.call_lines import EVERYTHING, START, call_line

MILLI = int(START * 1000)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.db.history"


@pytest.fixture
def book(path: Path) -> Iterator[HistoryFile]:
    book = HistoryFile(path)
    yield book
    book.close()


def modes(folder: Path) -> dict[str, str]:
    return {file.name: f"{file.stat().st_mode & 0o777:o}" for file in folder.iterdir()}


def found(path: Path, query: HistoryQuery | None = None, *, keep: float = 1e9, until: float = 1e9) -> list[bytes]:
    return list(read(path, query or HistoryQuery(), keep=keep, now=START + 100, until=until).lines)


def test_it_is_its_owner_s_alone_from_the_first_instant(path: Path, book: HistoryFile) -> None:
    before = os.umask(0)
    try:
        book.append([call_line(1)])
    finally:
        os.umask(before)
    names = ("state.db.history", "state.db.history-wal", "state.db.history-shm")
    assert modes(path.parent) == dict.fromkeys(names, "600")


def test_one_that_was_opened_to_others_is_closed_to_them(path: Path, book: HistoryFile) -> None:
    book.open()
    book.close()
    path.chmod(0o644)
    book.open()
    assert modes(path.parent)["state.db.history"] == "600"


def test_what_is_written_can_be_read_at_once_and_after_a_restart(path: Path, book: HistoryFile) -> None:
    book.append([call_line(1)])
    assert found(path) == [call_line(1)]
    book.close()
    assert found(path) == [call_line(1)]
    again = HistoryFile(path)
    again.append([call_line(2)])
    again.close()
    assert found(path) == [call_line(2), call_line(1)]


def test_several_may_write_and_make_it(path: Path) -> None:
    books = [HistoryFile(path) for _ in range(4)]
    for number, book in enumerate(books):
        book.append([call_line(number)])
    assert len(found(path)) == 4
    for book in books:
        book.close()


def test_old_calls_are_hidden_before_they_are_deleted(path: Path, book: HistoryFile) -> None:
    book.append([call_line(number) for number in range(100)])
    assert found(path, HistoryQuery(limit=100), keep=10.0) == [call_line(number) for number in range(99, 89, -1)]


def test_a_reader_writes_nothing(path: Path) -> None:
    with pytest.raises(Unsearchable, match="unable to open database file"):
        found(path)
    assert not path.exists()
    path.touch()
    assert found(path) == []
    assert path.read_bytes() == b""


def test_a_search_ends_when_its_time_has_come(path: Path, book: HistoryFile) -> None:
    # Each segment has a call of the route before and after the time that is asked for, so all of them are read.
    segment = [call_line(number, route="route-0" if number in {0, 999} else "route-1") for number in range(1000)]
    for _ in range(40):
        book.append(segment)
    never = HistoryQuery(route="route-0", since=MILLI + 1000, until=MILLI + 998_000)
    assert found(path, never) == []
    with pytest.raises(Unsearchable, match="takes too long; narrow it"):
        found(path, never, until=time.monotonic() + 0.002)
    with pytest.raises(Unsearchable, match="too many searches at once"):
        found(path, never, until=time.monotonic() - 1)


def garbage(path: Path) -> None:
    path.write_bytes(b"not a database, but something that somebody wrote" * 100)


def somebody_s(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE theirs (a)")


def newer(path: Path) -> None:
    book = HistoryFile(path)
    book.append([call_line(1)])
    book.close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA user_version = {sqlite_tables.VERSION + 1}")


def folder(path: Path) -> None:
    path.mkdir()


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (garbage, "file is not a database (DatabaseError); remove it, and the gateway creates another"),
        (
            somebody_s,
            "it is the database of another program (ForeignDatabase); remove it, and the gateway creates another",
        ),
        (newer, "a newer gateway made it (ForeignDatabase); remove it, and the gateway creates another"),
        (folder, "(OperationalError)"),
    ],
)
def test_a_file_of_no_use_is_named_and_left_alone(
    path: Path, book: HistoryFile, spoil: Callable[[Path], None], told: str
) -> None:
    spoil(path)
    before = path.read_bytes() if path.is_file() else b""
    for use in (book.open, lambda: book.append([call_line(1)])):
        with pytest.raises(UnusableFile) as refused:
            use()
        assert str(path) in str(refused.value)
        assert told in str(refused.value)
        assert not refused.value.is_busy
    with pytest.raises(Unsearchable) as unread:
        found(path)
    assert told in str(unread.value)
    assert (path.read_bytes() if path.is_file() else b"") == before


def test_a_missing_folder_is_reported(tmp_path: Path) -> None:
    with pytest.raises(UnusableFile, match="No such file or directory"):
        HistoryFile(tmp_path / "nowhere" / "file").open()


def test_a_removed_file_is_not_mixed_with_its_old_log(path: Path, book: HistoryFile) -> None:
    other = HistoryFile(path)
    other.append([call_line(0)])
    book.append([call_line(number) for number in range(1, 500)])
    path.unlink()
    assert path.with_name(f"{path.name}-wal").stat().st_size > 0
    book.append([call_line(1000)])
    other.append([call_line(1001)])
    assert found(path) == [call_line(1001), call_line(1000)]
    other.close()
    book.append([call_line(1002)])
    assert found(path)[0] == call_line(1002)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def test_one_that_was_exchanged_is_used(path: Path, book: HistoryFile, tmp_path: Path) -> None:
    other = HistoryFile(tmp_path / "other")
    other.append([call_line(7)])
    other.close()
    book.append([call_line(1)])
    (tmp_path / "other").rename(path)
    for beside in ("-wal", "-shm"):
        path.with_name(path.name + beside).unlink()
    book.append([call_line(8)])
    assert found(path) == [call_line(8), call_line(7)]


def test_one_that_another_holds_is_busy(path: Path, book: HistoryFile) -> None:
    book.append([call_line(1)])
    with closing(sqlite3.connect(path, isolation_level=None)) as holder:
        holder.execute("BEGIN IMMEDIATE")
        book._database.connection().execute("PRAGMA busy_timeout = 1")
        with pytest.raises(UnusableFile) as refused:
            book.append([call_line(2)])
        assert refused.value.is_busy
        assert found(path) == [call_line(1)]
        holder.execute("ROLLBACK")
    book.append([call_line(2)])
    assert len(found(path)) == 2


def test_a_full_disk_loses_what_does_not_fit_and_nothing_else(path: Path, book: HistoryFile) -> None:
    book.append([call_line(1)])
    connection = book._database.connection()
    [pages] = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(UnusableFile, match="database or disk is full"):
        book.append([call_line(number) for number in range(2, 900)])
    assert found(path) == [call_line(1)]
    connection.execute("PRAGMA max_page_count = 4294967294")
    book.append([call_line(2)])
    assert found(path) == [call_line(2), call_line(1)]


def test_the_file_keeps_its_size_limit_and_shrinks(path: Path, book: HistoryFile) -> None:
    limits = HistoryLimits(None, 1e9, 1024 * 1024)
    for first in range(0, 10_000, 1000):
        book.append([call_line(number) for number in range(first, first + 1000)])
        while book.forget(limits, MILLI):
            pass
        assert path.stat().st_size < limits.size * 2
    assert found(path, HistoryQuery(limit=1)) == [call_line(9999)]
    assert found(path, HistoryQuery(request_id="request-9500")) == [call_line(9500)]
    grown = path.stat().st_size
    while book.forget(EVERYTHING, MILLI + 9_999_000):
        pass
    assert found(path) == [call_line(9999)]
    while book.forget(HistoryLimits(0, 1e9, 1024), MILLI):
        pass
    book.close()
    assert path.stat().st_size <= grown
    [size] = [file.stat().st_size for file in path.parent.iterdir()]
    assert size < 2 * 1024 * 1024


def test_a_killed_process_loses_only_unwritten_calls(path: Path, tmp_path: Path) -> None:
    pid = os.fork()
    if not pid:
        HistoryFile(path).append([call_line(number) for number in range(50)])
        os.kill(os.getpid(), 9)
    os.waitpid(pid, 0)
    assert len(found(path, HistoryQuery(limit=100))) == 50
    book = HistoryFile(path)
    book.append([call_line(60)])
    assert len(found(path, HistoryQuery(limit=100))) == 51
    book.close()


def test_concurrent_deletions_count_each_call_once(path: Path) -> None:
    limits = HistoryLimits(10, 1e9, 1 << 40)
    first, books = HistoryFile(path), [HistoryFile(path) for _ in range(4)]
    first.append([call_line(number) for number in range(500)])
    first.close()
    gate = threading.Barrier(len(books))

    def let_go(book: HistoryFile) -> None:
        book.open()
        gate.wait()
        while book.forget(limits, MILLI):
            pass
        book.close()

    threads = [threading.Thread(target=let_go, args=(book,)) for book in books]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found(path, HistoryQuery(limit=1000))) == 10
