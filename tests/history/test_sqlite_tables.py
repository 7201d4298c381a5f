"""The tables of a history: searches, segments, and the deletion of old calls."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.history import sqlite_tables
from gateway.history.interface import HistoryLimits
from gateway.history.query import HistoryQuery, filter_lines, newest_lines
from gateway.observe.timestamp import timestamp
from tests.history.call_lines import EVERYTHING, START, call_line, query_of

MILLI = int(START * 1000)
MANY = 20_000
CALLERS = ['"caller":"erp",', '"caller":null,', '"caller":"crm",', ""]
"""The callers of the first, second, third and fourth 5000 calls."""
SEGMENTS = MANY // sqlite_tables.SEGMENT_SIZE


def open_tables() -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.executescript(sqlite_tables.TABLES)
    return connection


@pytest.fixture
def empty() -> Iterator[sqlite3.Connection]:
    with closing(open_tables()) as connection:
        yield connection


def numbered_line(number: int) -> bytes:
    """The line of call `number`, which arrived this number of milliseconds after `START`."""
    return (
        f'{{"time":"{timestamp(START + number / 1000 + 0.0001)}","request_id":"request-{number}","route":"route-'
        f'{number % 10}","client":"10.0.0.{number % 20}","status":{503 if number % 5000 == 3 else 200},'
        f"{CALLERS[number // 5000 % 4]}"
        f'"instance_id":"instance-{number}"}}\n'
    ).encode()


@pytest.fixture(scope="module")
def many() -> Iterator[sqlite3.Connection]:
    with closing(open_tables()) as connection:
        for first in range(0, MANY, 250):
            sqlite_tables.append_lines(connection, [numbered_line(number) for number in range(first, first + 250)])
        yield connection


def find_numbers(connection: sqlite3.Connection, query: HistoryQuery) -> tuple[list[int], int]:
    """The numbers of the matching calls, and how many segments were read."""
    steps: list[None] = []
    lines = sqlite_tables.find_lines(connection, query, lambda: steps.append(None))
    return [int(json.loads(line)["request_id"].partition("-")[2]) for line in lines], len(steps) - 1


@pytest.mark.parametrize(
    ("parameters", "numbers", "read"),
    [
        ({"id": "instance-7777"}, [7777], 1),
        ({"request_id": "request-7777"}, [7777], 1),
        ({"request_id": "request-7777", "route": "route-7"}, [7777], 1),
        ({"id": "instance-7777", "route": "route-8"}, [], 1),
        ({"id": "instance"}, [], 0),
        ({"status": "5xx"}, [15_003, 10_003, 5003, 3], 4),
        ({"status": "503", "route": "route-3", "limit": "2"}, [15_003, 10_003], 2),
        ({"status": "404"}, [], 0),
        ({"route": "none", "status": "2xx"}, [], 0),
        ({"route": "route-3", "client": "10.0.0.7"}, [], 0),
        ({"client": "10.0.0.7", "limit": "2"}, [19_987, 19_967], 1),
        ({"caller": "crm", "limit": "2"}, [14_999, 14_998], 1),
        ({"caller": "erp", "route": "route-3", "status": "5xx"}, [3], 1),
        ({"caller": "erp", "client": "10.0.0.7", "limit": "1"}, [4987], 1),
        ({"caller": "crm", "route": "route-3", "client": "10.0.0.7"}, [], 0),
        ({"caller": "10.0.0.7"}, [], 0),
        ({"limit": "3"}, [19_999, 19_998, 19_997], 1),
    ],
)
def test_a_search_reads_only_segments_with_a_match(
    many: sqlite3.Connection, parameters: dict[str, str], numbers: list[int], read: int
) -> None:
    assert find_numbers(many, query_of(START + 100, **parameters)) == (numbers, read)


def test_a_search_reads_only_segments_of_its_time(many: sqlite3.Connection) -> None:
    query = HistoryQuery(route="route-3", since=MILLI + 3000, until=MILLI + 5000, limit=500)
    numbers, read = find_numbers(many, query)
    assert numbers == list(range(4993, 3000, -10))
    assert read <= 4


def test_many_calls_are_counted_and_summarized(many: sqlite3.Connection) -> None:
    assert sqlite_tables.count_calls(many) == MANY
    assert many.execute("SELECT count(*) FROM segment").fetchone() == (SEGMENTS,)


def test_a_long_call_is_found_among_later_ones(many: sqlite3.Connection) -> None:
    """A call is written when it ends: an early one may be in a late segment."""
    with closing(open_tables()) as connection:
        many.backup(connection)
        sqlite_tables.append_lines(connection, [numbered_line(number) for number in range(5)])
        sqlite_tables.append_lines(connection, [numbered_line(number) for number in range(MANY, MANY + 1000)])
        numbers, read = find_numbers(connection, HistoryQuery(until=MILLI + 4, limit=20))
        assert numbers == [4, 4, 3, 3, 2, 2, 1, 1, 0, 0]
        assert read == 2
        assert find_numbers(connection, HistoryQuery(limit=2))[0] == [MANY + 999, MANY + 998]


VALUES = {
    "route": st.sampled_from(["a", "b"]),
    "client": st.sampled_from(["c", "d"]),
    "caller": st.sampled_from([None, "c", "e"]),
}
CALLS = st.lists(
    st.tuples(st.integers(0, 5), *VALUES.values(), st.sampled_from([200, 404, 502, 503, None])), min_size=1, max_size=12
)
QUERIES = st.builds(
    HistoryQuery,
    route=st.none() | VALUES["route"],
    client=st.none() | VALUES["client"],
    caller=VALUES["caller"],
    status=st.sampled_from([None, "502", "5xx", "2xx"]),
    since=st.sampled_from([0, MILLI, MILLI + 2000]),
    until=st.sampled_from([MILLI + 3000, MILLI + 9000]),
    limit=st.integers(1, 5),
)


@given(CALLS, QUERIES, st.integers(1, 6), st.integers(1, 4))
def test_file_and_memory_find_the_same_calls(
    calls: list[tuple[int, str, str, str | None, int | None]], query: HistoryQuery, segment: int, batch: int
) -> None:
    lines = [
        call_line(at, route=route, client=client, caller=caller, status=status)
        for at, route, client, caller, status in calls
    ]
    with closing(open_tables()) as connection, pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(sqlite_tables, "SEGMENT_SIZE", segment)
        for first in range(0, len(lines), batch):
            sqlite_tables.append_lines(connection, lines[first : first + batch])
        assert sqlite_tables.find_lines(connection, query) == newest_lines(
            filter_lines(query, lines[::-1]), query.limit
        )


def test_calls_of_the_same_millisecond_keep_their_order(empty: sqlite3.Connection) -> None:
    lines = [call_line(1, request_id=str(number)) for number in range(5)]
    sqlite_tables.append_lines(empty, lines[:3])
    sqlite_tables.append_lines(empty, lines[3:])
    assert sqlite_tables.find_lines(empty, HistoryQuery()) == lines[::-1]
    assert sqlite_tables.count_calls(empty) == 5


def test_a_batch_is_written_completely_or_not_at_all(empty: sqlite3.Connection) -> None:
    empty.execute("CREATE TRIGGER no BEFORE INSERT ON segment BEGIN SELECT raise(ABORT, 'no'); END")
    with pytest.raises(sqlite3.IntegrityError):
        sqlite_tables.append_lines(empty, [call_line(number) for number in range(sqlite_tables.SEGMENT_SIZE)])
    assert (sqlite_tables.count_calls(empty), sqlite_tables.find_lines(empty, HistoryQuery())) == (0, [])
    sqlite_tables.append_lines(empty, [call_line(1)])
    assert sqlite_tables.count_calls(empty) == 1


def test_the_oldest_calls_beyond_a_limit_are_deleted(empty: sqlite3.Connection) -> None:
    sqlite_tables.append_lines(empty, [call_line(number) for number in range(100)])
    assert not sqlite_tables.prune_calls(empty, EVERYTHING, MILLI)
    assert sqlite_tables.count_calls(empty) == 100
    sqlite_tables.prune_calls(empty, EVERYTHING, MILLI + 30_000)
    assert sqlite_tables.count_calls(empty) == 70
    sqlite_tables.prune_calls(empty, HistoryLimits(50, 1e9, 1 << 40), MILLI)
    assert sqlite_tables.count_calls(empty) == 50
    assert sqlite_tables.find_lines(empty, HistoryQuery(limit=100))[-1] == call_line(50)
    sqlite_tables.prune_calls(empty, HistoryLimits(None, 1e9, 1), MILLI)
    assert sqlite_tables.count_calls(empty) == 0


def test_old_calls_of_a_batch_are_deleted_alone(empty: sqlite3.Connection) -> None:
    sqlite_tables.append_lines(empty, [call_line(number) for number in (9, 1, 8, 2, 3, 7)])
    sqlite_tables.prune_calls(empty, EVERYTHING, MILLI + 5000)
    assert sqlite_tables.find_lines(empty, HistoryQuery()) == [call_line(9), call_line(8), call_line(7)]
    sqlite_tables.prune_calls(empty, HistoryLimits(1, 1e9, 1 << 40), MILLI)
    assert sqlite_tables.find_lines(empty, HistoryQuery()) == [call_line(7)]


def test_many_calls_are_deleted_in_parts(empty: sqlite3.Connection) -> None:
    batch, count = 100, 2 * sqlite_tables.PRUNE_STEP + 10
    for first in range(0, count, batch):
        sqlite_tables.append_lines(empty, [call_line(number) for number in range(first, min(count, first + batch))])
    rounds = 0
    while sqlite_tables.prune_calls(empty, HistoryLimits(5, 1e9, 1 << 40), MILLI):
        rounds += 1
        assert sqlite_tables.count_calls(empty) == count - rounds * sqlite_tables.PRUNE_STEP
    assert (rounds, sqlite_tables.count_calls(empty)) == (2, 5)


def test_a_segment_is_deleted_with_its_calls(empty: sqlite3.Connection) -> None:
    sqlite_tables.append_lines(empty, [call_line(number) for number in range(sqlite_tables.SEGMENT_SIZE)])
    sqlite_tables.append_lines(empty, [call_line(5000)])
    assert empty.execute("SELECT count(*) FROM segment").fetchone() == (1,)
    while sqlite_tables.prune_calls(empty, HistoryLimits(0, 1e9, 1 << 40), MILLI):
        pass
    assert empty.execute("SELECT count(*) FROM segment").fetchone() == (0,)
    sqlite_tables.append_lines(empty, [call_line(6000)])
    assert sqlite_tables.find_lines(empty, HistoryQuery()) == [call_line(6000)]


def test_a_caller_is_found_in_summaries_without_callers(empty: sqlite3.Connection) -> None:
    """An earlier gateway of the same tables recorded callers, but did not summarize them."""
    size = sqlite_tables.SEGMENT_SIZE
    sqlite_tables.append_lines(empty, [call_line(number, caller="erp") for number in range(size)])
    old = empty.execute("SELECT combinations FROM segment").fetchone()[0].replace(b',"erp"', b"")
    assert old == b'\n["orders","127.0.0.1",200]'
    empty.execute("UPDATE segment SET combinations = ?", (old,))
    sqlite_tables.append_lines(empty, [call_line(size + number, caller="crm") for number in range(size)])
    assert find_numbers(empty, HistoryQuery(caller="erp", limit=2)) == ([size - 1, size - 2], 1)
    assert find_numbers(empty, HistoryQuery(caller="erp", route="orders", status="2xx", limit=1)) == ([size - 1], 1)
    assert find_numbers(empty, HistoryQuery(caller="erp", status="5xx")) == ([], 0)
    assert find_numbers(empty, HistoryQuery(caller="crm", limit=1)) == ([2 * size - 1], 1)


def test_any_text_of_a_value_is_found(empty: sqlite3.Connection) -> None:
    texts = ["ü", 'a"b', "a\\b", "a.*[b", "\u2028", "\x85", "line\nline", "tab\t", "\ud800"]
    lines = [
        call_line(number, request_id=text, route=text, client=text, caller=text) for number, text in enumerate(texts)
    ]
    sqlite_tables.append_lines(empty, [*lines, *(call_line(number) for number in range(100, 1100))])
    for text, line in zip(texts, lines, strict=True):
        queries = (
            *(HistoryQuery(request_id=text), HistoryQuery(route=text), HistoryQuery(client=text, status="2xx")),
            HistoryQuery(caller=text),
        )
        for query in queries:
            assert sqlite_tables.find_lines(empty, query) == [line]
