"""Files of version 1, which has a row and five indexes for each call: how they are read, and moved into batches."""

import sqlite3

from gateway.history.query import HistoryQuery
from gateway.history.sqlite_tables import TABLES, has_table, insert_batch, transaction

TABLE = "call"
_INDEXES = ("by_instance", "by_request", "by_route", "by_client", "by_class")
_SHIFT = 20  # an id is the millisecond of a call's arrival, shifted, plus a number
_BATCH = 250  # calls moved in one transaction
_OLDEST = "SELECT id, line FROM call ORDER BY id LIMIT ?"
_DELETE = "DELETE FROM call WHERE id <= ?"


def find(connection: sqlite3.Connection, query: HistoryQuery) -> list[bytes]:
    """Return the matching lines, newest first; none if the file has no calls of version 1."""
    if not has_table(connection, TABLE):
        return []
    terms = ["id >= ?", "id < ?"]
    values: list[object] = [query.since << _SHIFT, (query.until + 1) << _SHIFT]
    for column, text in query.texts():
        terms.append(f"{column} = ?")
        values.append(text)
    if query.status is not None:
        terms.append("status BETWEEN ? AND ?")
        values += [int(query.status.replace("x", digit)) for digit in "09"]
    statement = f"SELECT line FROM call WHERE {' AND '.join(terms)} ORDER BY id DESC LIMIT ?"  # noqa: S608 - columns of the table
    return [line for (line,) in connection.execute(statement, (*values, query.limit))]


def move(connection: sqlite3.Connection) -> None:
    """Move all calls into batches, in parts, between which other processes may write. Continue after a killed process,
    and beside another that does the same.
    """
    if not has_table(connection, TABLE):
        return
    connection.executescript(TABLES)
    for index in _INDEXES:
        connection.execute(f"DROP INDEX IF EXISTS {index}")
    while _move_oldest(connection):
        pass


def _move_oldest(connection: sqlite3.Connection) -> bool:
    """Move the oldest calls; drop the table after the last ones. Return whether it still exists."""
    with transaction(connection):
        if not has_table(connection, TABLE):
            return False
        if rows := connection.execute(_OLDEST, (_BATCH,)).fetchall():
            insert_batch(connection, [line for _, line in rows])
            connection.execute(_DELETE, (rows[-1][0],))
        else:
            connection.execute("DROP TABLE call")
        return bool(rows)
