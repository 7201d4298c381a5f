"""What SQLite is asked: by the right index, whatever is combined, in a million calls as well."""

import re
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.history import sqlite_tables
from gateway.history.interface import HistoryLimits
from gateway.history.query import HistoryQuery, filter_lines, newest
from tests.history.call_lines import EVERYTHING, START, asked, call_line

MILLI = int(START * 1000)
MILLION = 1_000_000
FILL = f"""
WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < {MILLION - 1})
INSERT INTO call (id, instance_id, request_id, route, client, status, line)
SELECT ({MILLI} + i) << 20, 'instance-' || i, 'request-' || i, 'route-' || (i % 10), '10.0.0.' || (i % 20),
    iif(i % 5000 = 3, 503, 200), CAST(i AS BLOB) FROM n
"""


def opened() -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.executescript(sqlite_tables.TABLES)
    return connection


@pytest.fixture
def empty() -> Iterator[sqlite3.Connection]:
    with closing(opened()) as connection:
        yield connection


@pytest.fixture(scope="module")
def million() -> Iterator[sqlite3.Connection]:
    with closing(opened()) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute(FILL)
        connection.execute("UPDATE tally SET kept = ?", (MILLION,))
        yield connection


def number(connection: sqlite3.Connection, question: str, values: Sequence[object]) -> int:
    [(found,)] = connection.execute(question, values)
    return int(found)


def plan(connection: sqlite3.Connection, query: HistoryQuery) -> str:
    statement, values = sqlite_tables.plan(query, lambda *question: number(connection, *question))
    return " / ".join(row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}", values))


@pytest.mark.parametrize(
    ("given_", "index"),
    [
        ({"id": "instance-777777"}, "by_instance (instance_id=? AND rowid>? AND rowid<?)"),
        ({"request_id": "request-777777"}, "by_request (request_id=? AND rowid>? AND rowid<?)"),
        ({"route": "route-3"}, "by_route (route=? AND id>? AND id<?)"),
        ({"client": "10.0.0.7"}, "by_client (client=? AND id>? AND id<?)"),
        ({"status": "5xx"}, "by_class (class=? AND id>? AND id<?)"),
        ({"status": "503"}, "by_class (class=? AND id>? AND id<?)"),
        ({"route": "route-3", "status": "5xx"}, "by_class (class=? AND id>? AND id<?)"),
        ({"route": "none", "status": "2xx"}, "by_route (route=? AND id>? AND id<?)"),
        ({"route": "route-3", "client": "none"}, "by_client (client=? AND id>? AND id<?)"),
        ({"route": "route-3", "id": "instance-777777"}, "by_instance (instance_id=? AND rowid>? AND rowid<?)"),
    ],
)
def test_a_search_uses_the_index_of_the_rarest_value(
    million: sqlite3.Connection, given_: dict[str, str], index: str
) -> None:
    assert plan(million, asked(START + 2000, **given_)) == f"SEARCH call USING INDEX {index}"


def test_without_a_value_the_newest_rows_are_read(million: sqlite3.Connection) -> None:
    for query in (HistoryQuery(), HistoryQuery(since=MILLI + 5)):
        assert plan(million, query) == "SEARCH call USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)"


@pytest.mark.parametrize("given_", [{"route": "route-3", "client": "10.0.0.7"}, {"route": "route-3", "status": "404"}])
def test_a_search_without_matches_reads_only_an_index(million: sqlite3.Connection, given_: dict[str, str]) -> None:
    """Half a million lines would be fetched for it otherwise: only the index may be walked."""
    statement, values = sqlite_tables.plan(asked(**given_), lambda *question: number(million, *question))
    steps = [row[1] for row in million.execute(f"EXPLAIN {statement}", values)]
    assert "DeferredSeek" in steps
    began = steps.index("DeferredSeek")
    assert "Column" in steps[began:]
    assert sqlite_tables.find(million, asked(**given_)) == []


def test_a_million_calls_are_searched_correctly(million: sqlite3.Connection) -> None:
    assert sqlite_tables.find(million, asked(id="instance-777777")) == [b"777777"]
    assert sqlite_tables.find(million, asked(id="instance")) == []
    assert sqlite_tables.find(million, asked(status="5xx", route="route-3", limit="3")) == [
        b"995003",
        b"990003",
        b"985003",
    ]
    assert sqlite_tables.find(million, HistoryQuery(route="route-3", until=MILLI + 500_000, limit=2)) == [
        b"499993",
        b"499983",
    ]
    assert sqlite_tables.kept(million) == MILLION


VALUES = {"route": st.sampled_from(["a", "b"]), "client": st.sampled_from(["c", "d"])}
CALLS = st.lists(
    st.tuples(st.integers(0, 5), *VALUES.values(), st.sampled_from([200, 404, 502, 503, None])), min_size=1, max_size=12
)
QUERIES = st.builds(
    HistoryQuery,
    route=st.none() | VALUES["route"],
    client=st.none() | VALUES["client"],
    status=st.sampled_from([None, "502", "5xx", "2xx"]),
    since=st.sampled_from([0, MILLI, MILLI + 2000]),
    until=st.sampled_from([MILLI + 3000, MILLI + 9000]),
    limit=st.integers(1, 5),
)


@given(CALLS, QUERIES)
def test_file_and_memory_find_the_same_calls(
    calls: list[tuple[int, str, str, int | None]], query: HistoryQuery
) -> None:
    lines = [call_line(at, route=route, client=client, status=status) for at, route, client, status in calls]
    with closing(opened()) as connection:
        sqlite_tables.append(connection, lines)
        assert sqlite_tables.find(connection, query) == newest(filter_lines(query, lines[::-1]), query.limit)


def test_calls_of_one_moment_keep_their_order(empty: sqlite3.Connection) -> None:
    lines = [call_line(1, request_id=str(number)) for number in range(5)]
    sqlite_tables.append(empty, lines[:3])
    sqlite_tables.append(empty, lines[3:])
    assert sqlite_tables.find(empty, HistoryQuery()) == lines[::-1]
    assert sqlite_tables.kept(empty) == 5


def test_a_batch_is_written_completely_or_not_at_all(empty: sqlite3.Connection) -> None:
    empty.execute("CREATE TRIGGER no BEFORE INSERT ON call WHEN NEW.status = 500 BEGIN SELECT raise(ABORT, 'no'); END")
    with pytest.raises(sqlite3.IntegrityError):
        sqlite_tables.append(empty, [call_line(1), call_line(2, status=500)])
    assert (sqlite_tables.kept(empty), sqlite_tables.find(empty, HistoryQuery())) == (0, [])
    sqlite_tables.append(empty, [call_line(1)])
    assert sqlite_tables.kept(empty) == 1


def test_the_oldest_calls_beyond_a_limit_are_deleted(empty: sqlite3.Connection) -> None:
    sqlite_tables.append(empty, [call_line(number) for number in range(100)])
    assert not sqlite_tables.forget(empty, EVERYTHING, MILLI)
    assert sqlite_tables.kept(empty) == 100
    sqlite_tables.forget(empty, EVERYTHING, MILLI + 30_000)
    assert sqlite_tables.kept(empty) == 70
    sqlite_tables.forget(empty, HistoryLimits(50, 1e9, 1 << 40), MILLI)
    assert sqlite_tables.kept(empty) == 50
    assert sqlite_tables.find(empty, HistoryQuery(limit=100))[-1] == call_line(50)
    sqlite_tables.forget(empty, HistoryLimits(None, 1e9, 1), MILLI)
    assert sqlite_tables.kept(empty) == 0


def test_many_calls_are_deleted_in_parts(empty: sqlite3.Connection) -> None:
    count = 2 * sqlite_tables.CHUNK + 10
    sqlite_tables.append(empty, [call_line(number) for number in range(count)])
    rounds = 0
    while sqlite_tables.forget(empty, HistoryLimits(5, 1e9, 1 << 40), MILLI):
        rounds += 1
        assert sqlite_tables.kept(empty) == count - rounds * sqlite_tables.CHUNK
    assert (rounds, sqlite_tables.kept(empty)) == (2, 5)


def test_every_index_that_is_used_exists() -> None:
    made = set(re.findall(r"INDEX IF NOT EXISTS (\w+)", sqlite_tables.TABLES))
    assert made == set(sqlite_tables.INDEXES.values())
