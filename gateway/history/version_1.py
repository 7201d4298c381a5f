"""Read files of version 1, which have a row and five indexes for each call, and migrate them to batches."""

import sqlite3

from gateway.history.query import HistoryQuery
from gateway.history.sqlite_tables import TABLES, has_table, insert_batch, transaction

TABLE = "call"
_INDEXES = ("by_instance", "by_request", "by_route", "by_client", "by_class")
_SHIFT = 20  # an id is the epoch milliseconds of the arrival, shifted by these bits, plus a number
_BATCH_SIZE = 250  # calls that one transaction migrates
_OLDEST = "SELECT id, line FROM call ORDER BY id LIMIT ?"
_DELETE = "DELETE FROM call WHERE id <= ?"


def find_lines(connection: sqlite3.Connection, query: HistoryQuery) -> list[bytes]:
    """Return the matching lines, newest first; none if the file has no calls of version 1, which has no callers."""
    if query.caller is not None or not has_table(connection, TABLE):
        return []
    terms = ["id >= ?", "id < ?"]
    values: list[object] = [query.since << _SHIFT, (query.until + 1) << _SHIFT]
    for column, text in query.exact_fields():
        terms.append(f"{column} = ?")
        values.append(text)
    if query.status is not None:
        terms.append("status BETWEEN ? AND ?")
        values += [int(query.status.replace("x", digit)) for digit in "09"]
    statement = f"SELECT line FROM call WHERE {' AND '.join(terms)} ORDER BY id DESC LIMIT ?"  # noqa: S608 - columns of the table
    return [line for (line,) in connection.execute(statement, (*values, query.limit))]


def migrate(connection: sqlite3.Connection) -> None:
    """Migrate all calls to batches, in short transactions between which other processes can write.

    Several processes may do this at the same time. A migration that was interrupted is continued.
    """
    if not has_table(connection, TABLE):
        return
    connection.executescript(TABLES)
    for index in _INDEXES:
        connection.execute(f"DROP INDEX IF EXISTS {index}")
    while _migrate_oldest(connection):
        pass


def _migrate_oldest(connection: sqlite3.Connection) -> bool:
    """Migrate the oldest calls; drop the table if there are none. Return whether the table still exists."""
    with transaction(connection):
        if not has_table(connection, TABLE):
            return False
        if rows := connection.execute(_OLDEST, (_BATCH_SIZE,)).fetchall():
            insert_batch(connection, [line for _, line in rows])
            connection.execute(_DELETE, (rows[-1][0],))
        else:
            connection.execute("DROP TABLE call")
        return bool(rows)
