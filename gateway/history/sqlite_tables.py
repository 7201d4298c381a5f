"""The tables of a history in SQLite, and all statements on them.

The `id` of a call is the millisecond of its arrival, shifted, plus a number. So the order of ids is the order of time
in every index, and the newest calls of a route are read from its end. An index also contains the other columns that a
search may restrict: only lines that are returned are fetched.
"""

import contextlib
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence

import msgspec

from gateway.history.interface import HistoryLimits
from gateway.history.query import HistoryQuery, instant

OURS = 0x4F49_4348  # "OICH", SQLite's application_id
VERSION = 1
"""Version of the tables; a newer gateway made a file with a higher one."""
CHUNK = 500
"""Calls deleted in one transaction: no writer waits long for another."""
_SHIFT = 20  # a million calls in a millisecond
_SAMPLE = 1000
_SPARE = 1024 * 1024  # bytes of the file that may be empty

TABLES = f"""
BEGIN IMMEDIATE;
CREATE TABLE IF NOT EXISTS call (
    id INTEGER PRIMARY KEY, instance_id TEXT, request_id TEXT, route TEXT, client TEXT, status INTEGER,
    class INTEGER AS (status / 100) VIRTUAL, line BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS by_instance ON call (instance_id) WHERE instance_id IS NOT NULL;
CREATE INDEX IF NOT EXISTS by_request ON call (request_id);
CREATE INDEX IF NOT EXISTS by_route ON call (route, id, client, status);
CREATE INDEX IF NOT EXISTS by_client ON call (client, id, route, status);
CREATE INDEX IF NOT EXISTS by_class ON call (class, id, status, route, client);
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
_INSERT = f"""
INSERT INTO call (id, instance_id, request_id, route, client, status, line)
SELECT coalesce(max(id) + 1, ?1), ?2, ?3, ?4, ?5, ?6, ?7 FROM call WHERE id BETWEEN ?1 AND ?1 + {(1 << _SHIFT) - 1}
"""  # noqa: S608 - see above
_COUNT = "UPDATE tally SET kept = kept + ?"
_KEPT = "SELECT kept FROM tally"
_OLD = "SELECT count(*) FROM (SELECT 1 FROM call WHERE id < ? LIMIT ?)"
_FORGET = "DELETE FROM call WHERE id IN (SELECT id FROM call ORDER BY id LIMIT ?)"

INDEXES = {
    "instance_id": "by_instance",
    "request_id": "by_request",
    "route": "by_route",
    "client": "by_client",
    "class": "by_class",
}
"""Index of each column that can be searched."""
_UNIQUE = ("instance_id", "request_id")


class CallFacts(msgspec.Struct):
    """The fields of a line that can be searched."""

    time: str
    instance_id: str | None = None
    request_id: str | None = None
    route: str | None = None
    client: str | None = None
    status: int | None = None


_facts = msgspec.json.Decoder(CallFacts).decode


def append(connection: sqlite3.Connection, lines: Sequence[bytes]) -> None:
    """Insert the lines of calls, all or none."""
    with _transaction(connection):
        connection.executemany(_INSERT, map(_row, lines))
        connection.execute(_COUNT, (len(lines),))


def track(
    connection: sqlite3.Connection, process: str, *, ended: Iterable[int], began: Iterable[tuple[int, bytes]]
) -> None:
    """Insert the calls of a process that have begun, and delete those that have ended, by their numbers."""
    with _transaction(connection):
        connection.executemany(_END, ((process, number) for number in ended))
        rows = ((process, number, instant(_facts(line).time), line) for number, line in began)
        connection.executemany(_BEGIN, rows)


def end_all(connection: sqlite3.Connection, process: str) -> None:
    """Delete all calls in progress of a process."""
    connection.execute(_END_ALL, (process,))


def begun(connection: sqlite3.Connection) -> list[tuple[str, bytes]]:
    """Return the process and the line of each call that has begun and not ended."""
    if not _count(connection, "SELECT count(*) FROM sqlite_master WHERE name = 'begun'"):
        return []
    return connection.execute("SELECT process, line FROM begun").fetchall()


def forget_begun(connection: sqlite3.Connection, oldest: int) -> None:
    """Delete calls that never ended and came before `oldest` (milliseconds) or are too many."""
    found = connection.execute(_OLDEST_BEGUN).fetchone()
    if found is not None and (found[1] < oldest or found[2] - found[0] >= MAX_BEGUN):
        connection.execute(_FORGET_BEGUN, (found[2] - MAX_BEGUN, oldest))


def forget(connection: sqlite3.Connection, limits: HistoryLimits, oldest: int) -> bool:
    """Delete up to `CHUNK` calls that came before `oldest` (milliseconds), are too many, or use too much room. Return
    whether there are more of them.
    """
    excess = _excess(connection, limits, oldest)
    if excess > 0:
        with _transaction(connection):
            excess = _excess(connection, limits, oldest)  # again: other processes delete them too
            gone = connection.execute(_FORGET, (max(0, min(excess, CHUNK)),)).rowcount
            connection.execute(_COUNT, (-gone,))
    return _shrink(connection) or excess > CHUNK or (excess > 0 and _pages(connection)[0] > limits.size)


def kept(connection: sqlite3.Connection) -> int:
    """Return the number of calls."""
    return _count(connection, _KEPT)


def find(connection: sqlite3.Connection, query: HistoryQuery) -> list[bytes]:
    """Return the matching lines, newest first."""
    statement, values = plan(query, lambda *counting: _count(connection, *counting))
    return [line for (line,) in connection.execute(statement, values)]


def plan(query: HistoryQuery, count: Callable[[str, Sequence[object]], int]) -> tuple[str, list[object]]:
    """Return the statement that finds the lines, and its values.

    The index of the rarest value is used; `count` runs a query that counts, since SQLite would guess. (Of a million
    calls of one route, a search for another client takes 0.5 ms by the client and 0.9 s by the route.)
    """
    span: tuple[str, list[object]] = "id >= ? AND id < ?", [query.since << _SHIFT, (query.until + 1) << _SHIFT]
    values: dict[str, object] = dict(query.texts())
    if query.status is not None:
        values["class"] = int(query.status[0])
    rarest = min(values, key=lambda column: _frequency(column, values[column], span, count), default=None)
    terms = [(f"{rarest} = ?", [values[rarest]])] if rarest else []
    terms += [(f"+{column} = ?", [text]) for column, text in query.texts() if column != rarest]
    terms += [("+status BETWEEN ? AND ?", _statuses(query.status))] if query.status is not None else []
    terms.append(span)
    where = " AND ".join(text for text, _ in terms)
    by = f"INDEXED BY {INDEXES[rarest]}" if rarest else "NOT INDEXED"
    statement = f"SELECT line FROM call {by} WHERE {where} ORDER BY id DESC LIMIT ?"  # noqa: S608 - words of this module
    return statement, [value for _, values in terms for value in values] + [query.limit]


def _frequency(
    column: str, value: object, span: tuple[str, list[object]], count: Callable[[str, Sequence[object]], int]
) -> int:
    """Return how many calls have this value, counted up to `_SAMPLE`."""
    if column in _UNIQUE:
        return -1
    calls = f"SELECT 1 FROM call INDEXED BY {INDEXES[column]} WHERE {column} = ? AND {span[0]} LIMIT {_SAMPLE}"  # noqa: S608 - see above
    return count(f"SELECT count(*) FROM ({calls})", [value, *span[1]])  # noqa: S608 - see above


def _statuses(status: str) -> list[object]:
    return [int(status.replace("x", "0")), int(status.replace("x", "9"))]


def _row(line: bytes) -> tuple[object, ...]:
    facts = _facts(line)
    return (
        instant(facts.time) << _SHIFT,
        facts.instance_id,
        facts.request_id,
        facts.route,
        facts.client,
        facts.status,
        line,
    )


def _excess(connection: sqlite3.Connection, limits: HistoryLimits, oldest: int) -> int:
    """Return how many of the oldest calls must be deleted; counts little further than `CHUNK`."""
    old = _count(connection, _OLD, (oldest << _SHIFT, CHUNK + 1))
    surplus = 0 if limits.calls is None else kept(connection) - limits.calls
    used, _ = _pages(connection)
    too_large = -(-kept(connection) * (used - limits.size) // used)  # rounded up
    return max(old, surplus, too_large)


def _shrink(connection: sqlite3.Connection) -> bool:
    """Free a part of the file if much of it is empty. Return whether more could be freed."""
    used, empty = _pages(connection)
    if empty <= max(_SPARE, used // 4):
        return False
    connection.execute(f"PRAGMA incremental_vacuum({CHUNK // 4})").fetchall()
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


@contextlib.contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Run one transaction: all of it, or nothing."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except sqlite3.Error:
        if connection.in_transaction:  # SQLite may have rolled back by itself
            connection.execute("ROLLBACK")
        raise
