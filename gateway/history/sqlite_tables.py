"""The tables of a history in SQLite, and all statements on them.

A `batch` is one row: the lines of the calls that were written together, in the order in which they ended. An index of
single calls would cost most of what a call costs, because each id belongs to another page of it. Instead, `SEGMENT`
calls or a few more are summarized in a `segment`: their times, the 32-bit hashes of their ids, and each combination of
route, client and status. A search reads the batches of segments that may contain a match, and those that are not
summarized yet. A million calls have a thousand segments, of which an exact id matches one.
"""

import contextlib
import re
import sqlite3
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from operator import attrgetter, itemgetter
from zlib import crc32

import msgspec

from gateway.history.interface import HistoryLimits
from gateway.history.query import TIME, HistoryQuery, filter_lines, instant, newest, time_of, time_text
from gateway.observe.json_line import escape_surrogates

OURS = 0x4F49_4348  # "OICH", SQLite's application_id
VERSION = 2
"""Version of the tables; a newer gateway made a file with a higher one."""
CHUNK = 1000
"""Calls after which a transaction deletes no further batch: no writer waits long for another."""
SEGMENT = 1000
"""Calls that are summarized together."""
_SPARE = 1024 * 1024  # bytes of the file that may be empty
_PAGES = 128  # empty pages freed at once

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
PRAGMA application_id = {OURS};
PRAGMA user_version = {VERSION};
COMMIT;
"""  # noqa: S608 - numbers of this module
BEGUN = """
CREATE TABLE IF NOT EXISTS begun (
    id INTEGER PRIMARY KEY AUTOINCREMENT, process TEXT NOT NULL, number INTEGER NOT NULL, came INTEGER NOT NULL,
    line BLOB NOT NULL, UNIQUE (process, number)
)
"""
"""Calls in progress, and those whose process ended before them. A file of an older gateway lacks this table."""
MAX_BEGUN = 10_000
_BEGIN = "INSERT OR REPLACE INTO begun (process, number, came, line) VALUES (?, ?, ?, ?)"
_END = "DELETE FROM begun WHERE process = ? AND number = ?"
_END_ALL = "DELETE FROM begun WHERE process = ?"
_OLDEST_BEGUN = "SELECT id, came, (SELECT max(id) FROM begun) FROM begun ORDER BY id LIMIT 1"
_FORGET_BEGUN = "DELETE FROM begun WHERE id <= ? OR came < ?"

_INSERT = "INSERT INTO batch (calls, oldest, newest, lines) VALUES (?, ?, ?, ?)"
_REPLACE = "UPDATE batch SET calls = ?, oldest = ?, newest = ?, lines = ? WHERE id = ?"
_DELETE = "DELETE FROM batch WHERE id = ?"
_OLDEST = "SELECT id, calls, oldest, newest FROM batch ORDER BY id LIMIT 1"
_LINES = "SELECT lines FROM batch WHERE id BETWEEN ? AND ? ORDER BY id"
_ADD = "UPDATE tally SET kept = kept + ?"
_KEPT = "SELECT kept FROM tally"
_LAST = "SELECT coalesce(max(last), 0) FROM segment"
_OPEN = "SELECT coalesce(sum(calls), 0), max(id) FROM batch WHERE id > ?"
_SUMMARIZE = "INSERT INTO segment VALUES (?, ?, ?, ?, ?, ?, ?)"
_DROP = "DELETE FROM segment WHERE last < coalesce((SELECT min(id) FROM batch), 9e18)"
_MAX_ID = (1 << 63) - 1
_COLUMNS = {"instance_id": "instances", "request_id": "requests"}


class CallFacts(msgspec.Struct):
    """The fields of a line that can be searched."""

    time: str
    instance_id: str | None = None
    request_id: str | None = None
    route: str | None = None
    client: str | None = None
    status: int | None = None


_decoder = msgspec.json.Decoder(CallFacts)
_encode = msgspec.json.encode


def append(connection: sqlite3.Connection, lines: Sequence[bytes]) -> None:
    """Insert the lines of calls, all or none."""
    with transaction(connection):
        insert_batch(connection, lines)
        connection.execute(_ADD, (len(lines),))


def insert_batch(connection: sqlite3.Connection, lines: Sequence[bytes]) -> None:
    """Insert lines without counting them, in a transaction; summarize calls if they are enough for a segment."""
    connection.execute(_INSERT, _row(lines))
    last = _count(connection, _LAST)
    [(calls, newest_id)] = connection.execute(_OPEN, (last,))
    if calls >= SEGMENT:
        _summarize(connection, last + 1, newest_id)


def track(
    connection: sqlite3.Connection, process: str, *, ended: Iterable[int], began: Iterable[tuple[int, bytes]]
) -> None:
    """Insert the calls of a process that have begun, and delete those that have ended, by their numbers."""
    with transaction(connection):
        connection.executemany(_END, ((process, number) for number in ended))
        rows = ((process, number, instant(time_of(line).decode()), line) for number, line in began)
        connection.executemany(_BEGIN, rows)


def end_all(connection: sqlite3.Connection, process: str) -> None:
    """Delete all calls in progress of a process."""
    connection.execute(_END_ALL, (process,))


def begun(connection: sqlite3.Connection) -> list[tuple[str, bytes]]:
    """Return the process and the line of each call that has begun and not ended."""
    if not has_table(connection, "begun"):
        return []
    return connection.execute("SELECT process, line FROM begun").fetchall()


def forget_begun(connection: sqlite3.Connection, oldest: int) -> None:
    """Delete calls that never ended and came before `oldest` (milliseconds) or are too many."""
    found = connection.execute(_OLDEST_BEGUN).fetchone()
    if found is not None and (found[1] < oldest or found[2] - found[0] >= MAX_BEGUN):
        connection.execute(_FORGET_BEGUN, (found[2] - MAX_BEGUN, oldest))


def forget(connection: sqlite3.Connection, limits: HistoryLimits, oldest: int) -> bool:
    """Delete some calls that came before `oldest` (milliseconds), are too many, or use too much room. Return whether
    there are more of them.
    """
    first = time_text(oldest)
    if not _has_excess(connection, limits, first):
        return _shrink(connection)
    with transaction(connection):
        gone = _delete_oldest(connection, limits, first)
        connection.execute(_ADD, (-gone,))
        connection.execute(_DROP)
    return _shrink(connection) or _has_excess(connection, limits, first)


def kept(connection: sqlite3.Connection) -> int:
    """Return the number of calls."""
    return _count(connection, _KEPT)


def find(connection: sqlite3.Connection, query: HistoryQuery, check: Callable[[], object] = bool) -> list[bytes]:
    """Return the matching lines, newest first. `check` is called before each segment that is read; it may raise."""
    found: list[bytes] = []
    for first, last, latest in _segments(connection, query):
        if len(found) == query.limit and latest <= time_of(found[-1]):
            continue
        check()
        lines = _read_lines(connection, first, last)
        found = newest((*found, *filter_lines(query, lines[::-1])), query.limit)
    return found


def has_table(connection: sqlite3.Connection, name: str) -> bool:
    """Return whether the file has this table."""
    return bool(_count(connection, "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = ?", (name,)))


@contextlib.contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Run one transaction: all of it, or nothing."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # SQLite may have rolled back by itself
            connection.execute("ROLLBACK")
        raise


def _row(lines: Sequence[bytes]) -> tuple[int, str, str, bytes]:
    times = list(map(itemgetter(TIME), lines))
    return len(lines), min(times).decode(), max(times).decode(), b"".join(lines)


def _read_lines(connection: sqlite3.Connection, first: int, last: int) -> list[bytes]:
    return b"".join(lines for (lines,) in connection.execute(_LINES, (first, last))).splitlines(keepends=True)


def _summarize(connection: sqlite3.Connection, first: int, last: int) -> None:
    """Insert the segment of these batches."""
    facts: list[CallFacts] = []
    try:
        for (lines,) in connection.execute(_LINES, (first, last)):
            facts += _decoder.decode_lines(lines)
    except msgspec.MsgspecError as cause:
        raise sqlite3.DatabaseError("a stored call is not a record") from cause
    times = list(map(attrgetter("time"), facts))
    combinations = set(map(attrgetter("route", "client", "status"), facts))
    row = (last, first, min(times), max(times), b"".join(b"\n" + _encode(each) for each in combinations))
    connection.execute(_SUMMARIZE, (*row, *(_hashes(map(attrgetter(field), facts)) for field in _COLUMNS)))


def _hashes(ids: Iterable[str | None]) -> bytes:
    return array("I", map(crc32, map(str.encode, filter(None, ids)))).tobytes()


def _segments(connection: sqlite3.Connection, query: HistoryQuery) -> Iterator[tuple[int, int, bytes]]:
    """Yield the first and the last batch of each segment that may have a match, the newest first, and its latest time.
    Calls that are not summarized come first.
    """
    yield _count(connection, _LAST) + 1, _MAX_ID, b"~"  # later than any time
    condition = "newest >= ? AND oldest <= ?"
    values: list[object] = [time_text(query.since).decode(), time_text(query.until).decode()]
    for field, text in query.texts():
        if column := _COLUMNS.get(field):
            condition += f" AND instr({column}, ?)"
            values.append(_hashes([escape_surrogates(text)]))
    pattern = _combination(query)
    columns = "last, first, newest" if pattern is None else "last, first, newest, combinations"
    found = connection.execute(f"SELECT {columns} FROM segment WHERE {condition} ORDER BY last DESC", values)  # noqa: S608 - words of this module
    for last, first, latest, *combinations in found:
        if pattern is None or pattern.search(combinations[0]):
            yield first, last, latest.encode()


def _combination(query: HistoryQuery) -> re.Pattern[bytes] | None:
    """Return what a combination of a segment with a match contains; None if the query restricts none of its fields."""
    parts = []
    if query.route is not None:
        parts.append(rb"\n\[" + _literal(query.route))
    if query.client is not None:
        parts.append(rb"," + _literal(query.client))
    if query.status is not None:
        parts.append(rb"," + query.status.replace("x", "[0-9]").encode() + rb"\]")
    return re.compile(rb"[^\n]*".join(parts)) if parts else None


def _literal(text: str) -> bytes:
    return re.escape(_encode(escape_surrogates(text)))


def _has_excess(connection: sqlite3.Connection, limits: HistoryLimits, first: bytes) -> bool:
    """Return whether calls must be deleted: there are too many, they are too large, or some came before `first`."""
    oldest = connection.execute(_OLDEST).fetchone()
    return oldest is not None and (oldest[2] < first.decode() or max(_excess(connection, limits)) > 0)


def _excess(connection: sqlite3.Connection, limits: HistoryLimits) -> tuple[int, int]:
    """Return how many calls are too many, and how many of them use too much room."""
    calls = kept(connection)
    used, _ = _pages(connection)
    return 0 if limits.calls is None else calls - limits.calls, -(-calls * (used - limits.size) // used)  # rounded up


def _delete_oldest(connection: sqlite3.Connection, limits: HistoryLimits, first: bytes) -> int:
    """Delete the oldest calls batch by batch, at least `CHUNK` if as many must go. Return their number.

    For the size whole batches go; otherwise the calls of a batch that may stay are written again.
    """
    surplus, too_large = _excess(connection, limits)
    gone = 0
    while gone < CHUNK and (oldest := connection.execute(_OLDEST).fetchone()):
        batch, calls, earliest, latest = oldest
        if gone < too_large or calls <= surplus - gone or latest < first.decode():
            rest = []
        elif gone < surplus or earliest < first.decode():
            rest = [
                line
                for line in _read_lines(connection, batch, batch)[max(0, surplus - gone) :]
                if time_of(line) >= first
            ]
        else:
            break
        if rest:
            connection.execute(_REPLACE, (*_row(rest), batch))
        else:
            connection.execute(_DELETE, (batch,))
        gone += calls - len(rest)
    return gone


def _shrink(connection: sqlite3.Connection) -> bool:
    """Free a part of the file if much of it is empty. Return whether more could be freed."""
    used, empty = _pages(connection)
    if empty <= max(_SPARE, used // 4):
        return False
    connection.execute(f"PRAGMA incremental_vacuum({_PAGES})").fetchall()
    return _pages(connection)[1] < empty


def _pages(connection: sqlite3.Connection) -> tuple[int, int]:
    """Return the bytes of the file that are used, and those that are empty."""
    pages, empty, size = (
        _count(connection, f"PRAGMA {name}") for name in ("page_count", "freelist_count", "page_size")
    )
    return (pages - empty) * size, empty * size


def _count(connection: sqlite3.Connection, statement: str, values: Sequence[object] = ()) -> int:
    [(value,)] = connection.execute(statement, values)
    return int(value)
