"""The tables of a history in SQLite, and every question that they are asked.

A call's `id` is the millisecond in which it came, shifted, and a number within it: the order of ids is the order of
time, in every index too, so that the newest calls of a route are read off its end. What a search may ask for beside the
value that leads it stands in the index as well: only lines that are shown are fetched.
"""

import contextlib
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence

import msgspec

from gateway.history.interface import HistoryLimits
from gateway.history.query import HistoryQuery, instant

OURS = 0x4F49_4348  # "OICH", SQLite's application_id
VERSION = 1
"""Of the tables; a file with a higher one was made by a newer gateway."""
CHUNK = 500
"""Most calls that are forgotten at once: no writer has to wait long for another."""
_SHIFT = 20  # a million calls in a millisecond
_SAMPLE = 1000
_SPARE = 1024 * 1024  # bytes of the file that may stand empty

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
"""Calls under way, and those whose process ended before they did. A file of an older gateway has no such table."""
MOST_BEGUN = 10_000
_BEGIN = "INSERT OR REPLACE INTO begun (process, number, came, line) VALUES (?, ?, ?, ?)"
_END = "DELETE FROM begun WHERE process = ? AND number = ?"
_END_ALL = "DELETE FROM begun WHERE process = ?"
_OLDEST_BEGUN = "SELECT id, came, (SELECT max(id) FROM begun) FROM begun ORDER BY id LIMIT 1"
_FORGET_BEGUN = "DELETE FROM begun WHERE id <= ? OR came < ?"
_NOTE = f"""
INSERT INTO call (id, instance_id, request_id, route, client, status, line)
SELECT coalesce(max(id) + 1, ?1), ?2, ?3, ?4, ?5, ?6, ?7 FROM call WHERE id BETWEEN ?1 AND ?1 + {(1 << _SHIFT) - 1}
"""  # noqa: S608 - see above
_COUNT = "UPDATE tally SET kept = kept + ?"
_KEPT = "SELECT kept FROM tally"
_OLD = "SELECT count(*) FROM (SELECT 1 FROM call WHERE id < ? LIMIT ?)"
_FORGET = "DELETE FROM call WHERE id IN (SELECT id FROM call ORDER BY id LIMIT ?)"

# By what leads a search: its index, and the condition on what leads.
_LEADERS = {
    "instance_id": ("by_instance", "instance_id = ?"),
    "request_id": ("by_request", "request_id = ?"),
    "route": ("by_route", "route = ?"),
    "client": ("by_client", "client = ?"),
    "class": ("by_class", "class = ?"),
}
_UNIQUE = ("instance_id", "request_id")


class CallFacts(msgspec.Struct):
    """What a line is searched by."""

    time: str
    instance_id: str | None = None
    request_id: str | None = None
    route: str | None = None
    client: str | None = None
    status: int | None = None


_facts = msgspec.json.Decoder(CallFacts).decode


def append(connection: sqlite3.Connection, lines: Sequence[bytes]) -> None:
    """Writes the lines of calls, all or none."""
    with _change(connection):
        connection.executemany(_NOTE, map(_row, lines))
        connection.execute(_COUNT, (len(lines),))


def track(
    connection: sqlite3.Connection, process: str, *, ended: Iterable[int], began: Iterable[tuple[int, bytes]]
) -> None:
    """Writes which calls of a process have begun, and takes out those that have ended, by their numbers."""
    with _change(connection):
        connection.executemany(_END, ((process, number) for number in ended))
        rows = ((process, number, instant(_facts(line).time), line) for number, line in began)
        connection.executemany(_BEGIN, rows)


def end_all(connection: sqlite3.Connection, process: str) -> None:
    """Takes out all calls of a process."""
    connection.execute(_END_ALL, (process,))


def begun(connection: sqlite3.Connection) -> list[tuple[str, bytes]]:
    """The process and the line of each call that has begun and not ended."""
    if not _number(connection, "SELECT count(*) FROM sqlite_master WHERE name = 'begun'"):
        return []
    return connection.execute("SELECT process, line FROM begun").fetchall()


def forget_begun(connection: sqlite3.Connection, oldest: int) -> None:
    """Lets go of calls that never ended and came before `oldest` (milliseconds), or are too many."""
    found = connection.execute(_OLDEST_BEGUN).fetchone()
    if found is not None and (found[1] < oldest or found[2] - found[0] >= MOST_BEGUN):
        connection.execute(_FORGET_BEGUN, (found[2] - MOST_BEGUN, oldest))


def forget(connection: sqlite3.Connection, limits: HistoryLimits, oldest: int) -> bool:
    """Lets go of up to `CHUNK` calls that came before `oldest` (milliseconds), that are too many, or take too much
    room. True when there are more of them.
    """
    excess = _excess(connection, limits, oldest)
    if excess > 0:
        with _change(connection):
            excess = _excess(connection, limits, oldest)  # once more: others let go of them too
            gone = connection.execute(_FORGET, (max(0, min(excess, CHUNK)),)).rowcount
            connection.execute(_COUNT, (-gone,))
    return _shrunk(connection) or excess > CHUNK or (excess > 0 and _room(connection)[0] > limits.size)


def kept(connection: sqlite3.Connection) -> int:
    """How many calls there are."""
    return _number(connection, _KEPT)


def find(connection: sqlite3.Connection, query: HistoryQuery) -> list[bytes]:
    """The lines that answer the query, newest first."""
    statement, values = plan(query, lambda *question: _number(connection, *question))
    return [line for (line,) in connection.execute(statement, values)]


def plan(query: HistoryQuery, number: Callable[[str, Sequence[object]], int]) -> tuple[str, list[object]]:
    """The statement that finds the lines. What leads is the value that the fewest calls have; `number` tells how many,
    since SQLite would guess.
    """
    span: tuple[str, list[object]] = "id >= ? AND id < ?", [query.since << _SHIFT, (query.until + 1) << _SHIFT]
    leaders: dict[str, object] = dict(query.texts())
    if query.status is not None:
        leaders["class"] = int(query.status[0])
    leader = min(leaders, key=lambda name: _commonness(name, leaders[name], span, number), default=None)
    index, condition = _LEADERS[leader] if leader else ("", "")
    terms = [(condition, [leaders[leader]])] if leader else []
    terms += [(f"+{name} = ?", [text]) for name, text in query.texts() if name != leader]
    terms += [("+status BETWEEN ? AND ?", _statuses(query.status))] if query.status is not None else []
    terms.append(span)
    where = " AND ".join(text for text, _ in terms)
    by = f"INDEXED BY {index}" if index else "NOT INDEXED"
    statement = f"SELECT line FROM call {by} WHERE {where} ORDER BY id DESC LIMIT ?"  # noqa: S608 - words of this module
    return statement, [value for _, values in terms for value in values] + [query.limit]


def _commonness(
    name: str, value: object, span: tuple[str, list[object]], number: Callable[[str, Sequence[object]], int]
) -> int:
    if name in _UNIQUE:
        return -1
    index, condition = _LEADERS[name]
    inner = f"SELECT 1 FROM call INDEXED BY {index} WHERE {condition} AND {span[0]} LIMIT {_SAMPLE}"  # noqa: S608 - see above
    return number(f"SELECT count(*) FROM ({inner})", [value, *span[1]])  # noqa: S608 - see above


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
    """How many of the oldest calls must go; counted up to a little more than `CHUNK`."""
    old = _number(connection, _OLD, (oldest << _SHIFT, CHUNK + 1))
    surplus = 0 if limits.calls is None else kept(connection) - limits.calls
    used, _ = _room(connection)
    too_large = -(-kept(connection) * (used - limits.size) // used)  # rounded up
    return max(old, surplus, too_large)


def _shrunk(connection: sqlite3.Connection) -> bool:
    """Gives a part of the file back where much of it stands empty; true when more could be."""
    used, empty = _room(connection)
    if empty <= max(_SPARE, used // 4):
        return False
    connection.execute(f"PRAGMA incremental_vacuum({CHUNK // 4})").fetchall()
    return _room(connection)[1] < empty


def _room(connection: sqlite3.Connection) -> tuple[int, int]:
    """Bytes of the file that are used, and that stand empty."""
    pages, empty, size = (
        _number(connection, f"PRAGMA {name}") for name in ("page_count", "freelist_count", "page_size")
    )
    return (pages - empty) * size, empty * size


def _number(connection: sqlite3.Connection, question: str, values: Sequence[object] = ()) -> int:
    [(number,)] = connection.execute(question, values)
    return int(number)


@contextlib.contextmanager
def _change(connection: sqlite3.Connection) -> Iterator[None]:
    """One transaction: all of it, or nothing."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except sqlite3.Error:
        if connection.in_transaction:  # SQLite may have rolled back by itself
            connection.execute("ROLLBACK")
        raise
