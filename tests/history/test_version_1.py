"""A history file of an earlier gateway, with a row for each call: searched as it is, migrated by the first writer."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from gateway.history import sqlite_tables, version_1
from gateway.history.history_file import HistoryFile, search_file
from gateway.history.interface import HistoryLimits
from gateway.history.query import HistoryQuery
from tests.history.call_lines import EVERYTHING, START, call_line, query_of

MILLI = int(START * 1000)
COUNT = 1300
TABLES = f"""
PRAGMA auto_vacuum = INCREMENTAL;
BEGIN IMMEDIATE;
CREATE TABLE call (
    id INTEGER PRIMARY KEY, instance_id TEXT, request_id TEXT, route TEXT, client TEXT, status INTEGER,
    class INTEGER AS (status / 100) VIRTUAL, line BLOB NOT NULL
);
CREATE INDEX by_instance ON call (instance_id) WHERE instance_id IS NOT NULL;
CREATE INDEX by_request ON call (request_id);
CREATE INDEX by_route ON call (route, id, client, status);
CREATE INDEX by_client ON call (client, id, route, status);
CREATE INDEX by_class ON call (class, id, status, route, client);
CREATE TABLE tally (kept INTEGER NOT NULL);
INSERT INTO tally SELECT {COUNT};
PRAGMA application_id = {sqlite_tables.APPLICATION_ID};
PRAGMA user_version = 1;
COMMIT;
"""
INSERT = "INSERT INTO call (id, instance_id, request_id, route, client, status, line) VALUES (?, ?, ?, ?, ?, ?, ?)"


def old_line(number: int) -> bytes:
    return call_line(number, route=f"route-{number % 3}", status=503 if number == 7 else 200)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "state.db.history"
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.executescript(TABLES)
        connection.execute("BEGIN")
        for number in range(COUNT):
            ids, route, status = (
                (f"instance-{number}", f"request-{number}"),
                f"route-{number % 3}",
                503 if number == 7 else 200,
            )
            row = ((MILLI + number * 1000) << 20, *ids, route, "127.0.0.1", status, old_line(number))
            connection.execute(INSERT, row)
        connection.execute("COMMIT")
    return path


def find_lines(path: Path, query: HistoryQuery) -> list[bytes]:
    return list(search_file(path, query, keep=1e9, now=START + 2 * COUNT, until=1e9).lines)


def tables(path: Path) -> set[str]:
    with closing(sqlite3.connect(path)) as connection:
        return {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}


def check_searches(path: Path) -> None:
    assert find_lines(path, query_of(id="instance-5")) == [old_line(5)]
    assert find_lines(path, query_of(request_id="request-1299")) == [old_line(1299)]
    assert find_lines(path, query_of(status="5xx", route="route-1")) == [old_line(7)]
    assert find_lines(path, query_of(status="503", route="route-2")) == []
    assert find_lines(path, query_of(client="127.0.0.1", limit="2")) == [old_line(1299), old_line(1298)]
    assert find_lines(path, query_of(caller="erp")) == []
    assert find_lines(path, HistoryQuery(until=MILLI + 3000)) == [old_line(number) for number in (3, 2, 1, 0)]
    assert find_lines(path, HistoryQuery(limit=2000)) == [old_line(number) for number in reversed(range(COUNT))]


def test_calls_of_an_old_file_are_read_without_a_gateway(path: Path) -> None:
    before = path.read_bytes()
    check_searches(path)
    assert search_file(path, HistoryQuery(), keep=1e9, now=START, until=1e9).kept == COUNT
    assert path.read_bytes() == before


def test_an_old_file_is_migrated_when_it_is_opened(path: Path, history_file: HistoryFile) -> None:
    history_file.open()
    check_searches(path)
    assert not {name for name in tables(path) if name == version_1.TABLE or name.startswith("by_")}
    history_file.append([call_line(COUNT)])
    assert find_lines(path, HistoryQuery(limit=2)) == [call_line(COUNT), old_line(COUNT - 1)]
    assert search_file(path, HistoryQuery(), keep=1e9, now=START, until=1e9).kept == COUNT + 1
    while history_file.prune(HistoryLimits(10, 1e9, 1 << 40), MILLI):
        pass
    assert find_lines(path, HistoryQuery(limit=20))[-1] == old_line(COUNT - 9)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (sqlite_tables.SCHEMA_VERSION,)
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def test_an_interrupted_migration_is_continued(
    path: Path, history_file: HistoryFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    migrate = version_1._migrate_oldest
    monkeypatch.setattr(version_1, "_migrate_oldest", lambda connection: migrate(connection) and False)
    history_file.open()
    assert version_1.TABLE in tables(path)
    check_searches(path)
    history_file.close()
    monkeypatch.undo()
    history_file.open()
    assert version_1.TABLE not in tables(path)
    check_searches(path)


def test_several_processes_migrate_one_file(path: Path) -> None:
    files = [HistoryFile(path) for _ in range(3)]
    for number, history_file in enumerate(files):
        history_file.append([call_line(COUNT + number)])
        assert not history_file.prune(EVERYTHING, MILLI)
    assert len(find_lines(path, HistoryQuery(limit=2000))) == COUNT + 3
    for history_file in files:
        history_file.close()
