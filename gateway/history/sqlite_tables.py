"""The tables of a history in SQLite, and all statements on them.

A row of `batch` has the lines of the calls that were written together, in the order in which the calls ended. An index
of calls would make a write several times as expensive, because each id changes another page of the index. Instead, a
row of `segment` summarizes `SEGMENT_SIZE` calls or a few more: their times, 32-bit hashes of their ids, and each
combination of route, client, caller and status. A search reads the batches of the segments that may contain a match,
and the batches that are not summarized yet. A million calls have a thousand segments; an exact id matches about one of
them.
"""

import contextlib
import re
import sqlite3
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from operator import attrgetter
from zlib import crc32

import msgspec
from msgspec.structs import replace

from gateway.history.interface import HistoryLimits
from gateway.history.query import HistoryQuery, filter_lines, format_time, newest_lines, parse_time, time_of
from gateway.observe.json_line import escape_surrogates

APPLICATION_ID = 0x4F49_4348  # "OICH", SQLite's application_id
SCHEMA_VERSION = 2
"""Version of the tables. A file with another version is not used."""
PRUNE_STEP = 1000
"""Calls after which a transaction deletes no further batch, so that other writers do not wait long."""
SEGMENT_SIZE = 1000
"""Minimum number of calls in a segment."""
_MAX_EMPTY = 1024 * 1024  # bytes of the file that may stay unused
_VACUUM_PAGES = 128  # unused pages that are freed at once

TABLES = f"""
BEGIN IMMEDIATE;
CREATE TABLE IF NOT EXISTS batch (
    id INTEGER PRIMARY KEY, calls INTEGER NOT NULL, oldest TEXT NOT NULL, newest TEXT NOT NULL, lines BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS segment (
    last INTEGER PRIMARY KEY, first INTEGER NOT NULL, oldest TEXT NOT NULL, newest TEXT NOT NULL,
    combinations BLOB NOT NULL, instances BLOB NOT NULL, requests BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS tally (kept INTEGER NOT NULL);
INSERT INTO tally SELECT 0 WHERE NOT EXISTS (SELECT * FROM tally);
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {SCHEMA_VERSION};
COMMIT;
"""  # noqa: S608 - numbers of this module
OPEN_CALL_TABLE = """
CREATE TABLE IF NOT EXISTS begun (
    id INTEGER PRIMARY KEY AUTOINCREMENT, process TEXT NOT NULL, number INTEGER NOT NULL, came INTEGER NOT NULL,
    line BLOB NOT NULL, UNIQUE (process, number)
)
"""
"""Open calls, also those of processes that have ended. A file of an older gateway does not have this table."""
MAX_OPEN_CALLS = 10_000
_INSERT_OPEN_CALL = "INSERT OR REPLACE INTO begun (process, number, came, line) VALUES (?, ?, ?, ?)"
_DELETE_OPEN_CALL = "DELETE FROM begun WHERE process = ? AND number = ?"
_DELETE_OPEN_CALLS_OF = "DELETE FROM begun WHERE process = ?"
_OLDEST_OPEN_CALL = "SELECT id, came, (SELECT max(id) FROM begun) FROM begun ORDER BY id LIMIT 1"
_PRUNE_OPEN_CALLS = "DELETE FROM begun WHERE id <= ? OR came < ?"

_INSERT_BATCH = "INSERT INTO batch (calls, oldest, newest, lines) VALUES (?, ?, ?, ?)"
_REPLACE_BATCH = "UPDATE batch SET calls = ?, oldest = ?, newest = ?, lines = ? WHERE id = ?"
_DELETE_BATCH = "DELETE FROM batch WHERE id = ?"
_OLDEST_BATCH = "SELECT id, calls, oldest, newest FROM batch ORDER BY id LIMIT 1"
_LINES = "SELECT lines FROM batch WHERE id BETWEEN ? AND ? ORDER BY id"
_TIMES = "SELECT min(oldest), max(newest) FROM batch WHERE id BETWEEN ? AND ?"
_COUNT_CALLS = "UPDATE tally SET kept = kept + ?"
_KEPT = "SELECT kept FROM tally"
_LAST_SUMMARIZED = "SELECT coalesce(max(last), 0) FROM segment"
_UNSUMMARIZED = "SELECT coalesce(sum(calls), 0), max(id) FROM batch WHERE id > ?"
_INSERT_SEGMENT = "INSERT INTO segment VALUES (?, ?, ?, ?, ?, ?, ?)"
_DELETE_EMPTY_SEGMENTS = "DELETE FROM segment WHERE last < coalesce((SELECT min(id) FROM batch), 9e18)"
_MAX_ID = (1 << 63) - 1
_COMBINATION = ("route", "client", "caller", "status")
"""Fields of a combination. An older gateway stored those without `caller`."""
_COLUMNS = {"instances": ("instance_id",), "requests": ("request_id", "trace_id")}
"""By column with hashes of ids: the fields whose ids are in it. An older gateway recorded no trace ids."""


class CallFacts(msgspec.Struct, gc=False):
    """The fields of a line that a segment summarizes. Without tracking by the garbage collector, a fifth faster."""

    instance_id: str | None = None
    request_id: str | None = None
    trace_id: str | None = None
    route: str | None = None
    client: str | None = None
    caller: str | None = None
    status: int | None = None


_decoder = msgspec.json.Decoder(CallFacts)
_encode = msgspec.json.encode


def append_lines(connection: sqlite3.Connection, lines: Sequence[bytes]) -> None:
    """Insert the lines of calls, all or none."""
    with transaction(connection):
        insert_batch(connection, lines)
        connection.execute(_COUNT_CALLS, (len(lines),))


def insert_batch(connection: sqlite3.Connection, lines: Sequence[bytes]) -> None:
    """Insert lines within a transaction, without counting them. Add a segment if there are enough calls for one."""
    connection.execute(_INSERT_BATCH, _batch_row(lines))
    last = _select_number(connection, _LAST_SUMMARIZED)
    [(calls, newest_id)] = connection.execute(_UNSUMMARIZED, (last,))
    if calls >= SEGMENT_SIZE:
        _summarize(connection, last + 1, newest_id)


def update_open_calls(
    connection: sqlite3.Connection, process: str, *, ended: Iterable[int], began: Iterable[tuple[int, bytes]]
) -> None:
    """Insert the calls of a process that `began`, and delete those that have `ended`, by their numbers."""
    with transaction(connection):
        connection.executemany(_DELETE_OPEN_CALL, ((process, number) for number in ended))
        rows = ((process, number, parse_time(time_of(line).decode()), line) for number, line in began)
        connection.executemany(_INSERT_OPEN_CALL, rows)


def delete_open_calls(connection: sqlite3.Connection, process: str) -> None:
    """Delete all open calls of a process."""
    connection.execute(_DELETE_OPEN_CALLS_OF, (process,))


def read_open_calls(connection: sqlite3.Connection) -> list[tuple[str, bytes]]:
    """Return the process and the line of each open call."""
    if not has_table(connection, "begun"):
        return []
    return connection.execute("SELECT process, line FROM begun").fetchall()


def prune_open_calls(connection: sqlite3.Connection, oldest: int) -> None:
    """Delete open calls that arrived before `oldest` (epoch milliseconds), and the oldest beyond `MAX_OPEN_CALLS`."""
    row = connection.execute(_OLDEST_OPEN_CALL).fetchone()
    if row is None:
        return
    first_id, arrival, last_id = row
    if arrival < oldest or last_id - first_id >= MAX_OPEN_CALLS:
        connection.execute(_PRUNE_OPEN_CALLS, (last_id - MAX_OPEN_CALLS, oldest))


def prune_calls(connection: sqlite3.Connection, limits: HistoryLimits, oldest: int) -> bool:
    """Delete some of the calls that arrived before `oldest` (epoch milliseconds) or exceed the number or the size.
    Return whether more are left.
    """
    first = format_time(oldest)
    if not _has_excess(connection, limits, first):
        return _free_pages(connection)
    with transaction(connection):
        deleted = _delete_oldest(connection, limits, first)
        connection.execute(_COUNT_CALLS, (-deleted,))
        connection.execute(_DELETE_EMPTY_SEGMENTS)
    return _free_pages(connection) or _has_excess(connection, limits, first)


def count_calls(connection: sqlite3.Connection) -> int:
    """Return the number of calls."""
    return _select_number(connection, _KEPT)


def find_lines(connection: sqlite3.Connection, query: HistoryQuery, check: Callable[[], object] = bool) -> list[bytes]:
    """Return the matching lines, newest first. Call `check` before each segment is read; it may raise."""
    found: list[bytes] = []
    for first, last, latest in _find_segments(connection, query):
        if len(found) == query.limit and latest <= time_of(found[-1]):
            continue
        check()
        lines = _read_lines(connection, first, last)
        found = newest_lines((*found, *filter_lines(query, lines[::-1])), query.limit)
    return found


def has_table(connection: sqlite3.Connection, name: str) -> bool:
    """Return whether the database has this table."""
    return bool(
        _select_number(connection, "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = ?", (name,))
    )


@contextlib.contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Run the statements in one transaction: all take effect, or none."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # after some errors, SQLite has rolled back already
            connection.execute("ROLLBACK")
        raise


def _batch_row(lines: Sequence[bytes]) -> tuple[int, str, str, bytes]:
    # Lines begin with their time: they sort by it.
    return len(lines), time_of(min(lines)).decode(), time_of(max(lines)).decode(), b"".join(lines)


def _read_lines(connection: sqlite3.Connection, first: int, last: int) -> list[bytes]:
    return b"".join(lines for (lines,) in connection.execute(_LINES, (first, last))).splitlines(keepends=True)


def _summarize(connection: sqlite3.Connection, first: int, last: int) -> None:
    """Insert the segment that summarizes these batches."""
    facts: list[CallFacts] = []
    [(oldest, newest)] = connection.execute(_TIMES, (first, last))
    try:
        for (lines,) in connection.execute(_LINES, (first, last)):
            facts += _decoder.decode_lines(lines)
    except msgspec.MsgspecError as cause:
        raise sqlite3.DatabaseError("a stored line is not a record") from cause
    combinations = set(map(attrgetter(*_COMBINATION), facts))
    row = (last, first, oldest, newest, b"".join(b"\n" + _encode(each) for each in combinations))
    hashes = (b"".join(_hash_ids(map(attrgetter(field), facts)) for field in fields) for fields in _COLUMNS.values())
    connection.execute(_INSERT_SEGMENT, (*row, *hashes))


def _hash_ids(ids: Iterable[str | None]) -> bytes:
    return array("I", map(crc32, map(str.encode, filter(None, ids)))).tobytes()


def _find_segments(connection: sqlite3.Connection, query: HistoryQuery) -> Iterator[tuple[int, int, bytes]]:
    """Yield the first and the last batch of each segment that may have a match, and its latest time; newest first.

    The batches that are not summarized are yielded before all segments.
    """
    yield _select_number(connection, _LAST_SUMMARIZED) + 1, _MAX_ID, b"~"  # `~` sorts after every time
    condition = "newest >= ? AND oldest <= ?"
    values: list[object] = [format_time(query.since).decode(), format_time(query.until).decode()]
    for field, text in query.exact_fields():
        if column := next((name for name, fields in _COLUMNS.items() if field in fields), None):
            condition += f" AND instr({column}, ?)"
            values.append(_hash_ids([escape_surrogates(text)]))
    can_match = _combination_filter(query)
    columns = "last, first, newest" if can_match is None else "last, first, newest, combinations"
    rows = connection.execute(f"SELECT {columns} FROM segment WHERE {condition} ORDER BY last DESC", values)  # noqa: S608 - columns of the table
    for last, first, latest, *combinations in rows:
        if can_match is None or can_match(combinations[0]):
            yield first, last, latest.encode()


def _combination_filter(query: HistoryQuery) -> Callable[[bytes], object] | None:
    """Return a predicate of the combinations of a segment: whether they can match. None if the query has no condition
    on their fields.
    """
    pattern, without_caller = _combination_pattern(query), _combination_pattern(replace(query, caller=None))
    if pattern is None or query.caller is None:
        return pattern and pattern.search

    def can_match(combinations: bytes) -> object:
        if _has_callers(combinations):
            return pattern.search(combinations)
        return without_caller is None or without_caller.search(combinations)

    return can_match


def _has_callers(combinations: bytes) -> bool:
    """Return whether the combinations of a segment contain callers; those of an older gateway do not."""
    return len(msgspec.json.decode(combinations.split(b"\n", 2)[1])) == len(_COMBINATION)


def _combination_pattern(query: HistoryQuery) -> re.Pattern[bytes] | None:
    """Return a pattern of the combinations that match; None if the query has no condition on their fields."""
    parts = []
    if query.route is not None:
        parts.append(rb"\n\[" + _json_pattern(query.route))
    if query.client is not None:
        parts.append(rb"," + _json_pattern(query.client))
    if query.caller is not None:
        parts.append(rb"," + _json_pattern(query.caller) + rb"(?=,(?:null|[0-9]+)\])")
    if query.status is not None:
        parts.append(rb"," + query.status.replace("x", "[0-9]").encode() + rb"\]")
    return re.compile(rb"[^\n]*".join(parts)) if parts else None


def _json_pattern(text: str) -> bytes:
    return re.escape(_encode(escape_surrogates(text)))


def _has_excess(connection: sqlite3.Connection, limits: HistoryLimits, first: bytes) -> bool:
    """Return whether calls must be deleted: by number, by size, or because some arrived before `first`."""
    oldest = connection.execute(_OLDEST_BATCH).fetchone()
    return oldest is not None and (oldest[2] < first.decode() or max(_excess(connection, limits)) > 0)


def _excess(connection: sqlite3.Connection, limits: HistoryLimits) -> tuple[int, int]:
    """Return how many calls exceed the maximum number, and how many exceed the size."""
    calls = count_calls(connection)
    used, _ = _used_and_empty_bytes(connection)
    return 0 if limits.calls is None else calls - limits.calls, -(-calls * (used - limits.size) // used)  # rounded up


def _delete_oldest(connection: sqlite3.Connection, limits: HistoryLimits, first: bytes) -> int:
    """Delete the oldest calls in excess, batch by batch, until `PRUNE_STEP` calls are deleted. Return their number.

    If the size is exceeded, whole batches are deleted. Otherwise the calls of a batch that may stay are written again.
    """
    by_number, by_size = _excess(connection, limits)
    deleted = 0
    while deleted < PRUNE_STEP and (oldest := connection.execute(_OLDEST_BATCH).fetchone()):
        batch, calls, earliest, latest = oldest
        if deleted < by_size or calls <= by_number - deleted or latest < first.decode():
            rest = []
        elif deleted < by_number or earliest < first.decode():
            rest = [
                line
                for line in _read_lines(connection, batch, batch)[max(0, by_number - deleted) :]
                if time_of(line) >= first
            ]
        else:
            break
        if rest:
            connection.execute(_REPLACE_BATCH, (*_batch_row(rest), batch))
        else:
            connection.execute(_DELETE_BATCH, (batch,))
        deleted += calls - len(rest)
    return deleted


def _free_pages(connection: sqlite3.Connection) -> bool:
    """Free some unused pages if many are unused. Return whether more could be freed."""
    used, empty = _used_and_empty_bytes(connection)
    if empty <= max(_MAX_EMPTY, used // 4):
        return False
    connection.execute(f"PRAGMA incremental_vacuum({_VACUUM_PAGES})").fetchall()
    return _used_and_empty_bytes(connection)[1] < empty


def _used_and_empty_bytes(connection: sqlite3.Connection) -> tuple[int, int]:
    """Return how many bytes of the file are used, and how many are unused."""
    pages, empty, size = (
        _select_number(connection, f"PRAGMA {name}") for name in ("page_count", "freelist_count", "page_size")
    )
    return (pages - empty) * size, empty * size


def _select_number(connection: sqlite3.Connection, statement: str, values: Sequence[object] = ()) -> int:
    [(value,)] = connection.execute(statement, values)
    return int(value)
