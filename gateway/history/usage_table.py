"""The table of usage in the file of a history, and all statements on it.

A row has the sums of one hour, service, route and caller over all processes: each process adds its counts. Rows of
another source, such as the memory of a process, are included in a report through a temporary table.
"""

import sqlite3
from collections.abc import Iterable, Sequence

from gateway.history.sqlite_tables import has_table, transaction
from gateway.history.usage_buckets import UsageRow
from gateway.history.usage_query import Grouping, UsageGroup, UsageQuery

USAGE_TABLE = """
CREATE TABLE IF NOT EXISTS usage (
    hour TEXT NOT NULL, service TEXT NOT NULL, route TEXT NOT NULL, caller TEXT NOT NULL,
    calls INTEGER NOT NULL, messages INTEGER NOT NULL, PRIMARY KEY (hour, service, route, caller)
) WITHOUT ROWID
"""
"""A file of an older gateway does not have this table."""
ROW_SIZE = 100
"""Approximate bytes of a row."""
_ADD = """
INSERT INTO usage VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET calls = calls + excluded.calls, messages = messages + excluded.messages
"""
_DELETE_BEFORE = "DELETE FROM usage WHERE hour < ?"
_FIRST_EXCESS_HOUR = "SELECT hour FROM usage ORDER BY hour DESC LIMIT 1 OFFSET ?"
_DELETE_UP_TO = "DELETE FROM usage WHERE hour <= ?"
_NEWEST = "SELECT hour, service, route, caller, calls, messages FROM usage ORDER BY hour DESC LIMIT ?"
_FROM_TABLE, _FROM_OTHER = "SELECT * FROM usage", "SELECT * FROM temp.other"
_OTHER = "CREATE TEMP TABLE other (hour, service, route, caller, calls, messages)"
# In a query with max(), SQLite returns the other columns of the row that has the maximum.
_SELECT_GROUPS = """
SELECT name, sum(calls), sum(messages), hour, max(messages) FROM (
    SELECT {by} AS name, hour, sum(calls) AS calls, sum(messages) AS messages FROM (
        {sources}
    ) WHERE hour BETWEEN ? AND ? GROUP BY name, hour ORDER BY hour
) GROUP BY name ORDER BY {order}
"""


def add_usage(connection: sqlite3.Connection, rows: Sequence[UsageRow]) -> None:
    """Add the rows to those of the table, all or none."""
    with transaction(connection):
        connection.executemany(_ADD, rows)


def prune_usage(connection: sqlite3.Connection, *, oldest: str, max_rows: int) -> None:
    """Delete hours before `oldest`, and the oldest hours beyond `max_rows` rows."""
    connection.execute(_DELETE_BEFORE, (oldest,))
    if excess := connection.execute(_FIRST_EXCESS_HOUR, (max_rows,)).fetchone():
        connection.execute(_DELETE_UP_TO, excess)


def newest_usage(connection: sqlite3.Connection, limit: int) -> list[UsageRow]:
    """Return the rows of the newest hours, at most `limit`."""
    if not has_table(connection, "usage"):
        return []
    shared: dict[str, str] = {}  # thousands of rows share few names
    return [
        UsageRow._make(shared.setdefault(each, each) if isinstance(each, str) else each for each in row)
        for row in connection.execute(_NEWEST, (limit,))
    ]


def group_usage(
    connection: sqlite3.Connection, query: UsageQuery, others: Iterable[UsageRow]
) -> tuple[tuple[UsageGroup, ...], tuple[UsageGroup, ...]]:
    """Return the groups of the query, and the groups by service. They include the table, if it exists, and `others`."""
    connection.execute(_OTHER)
    connection.executemany("INSERT INTO temp.other VALUES (?, ?, ?, ?, ?, ?)", others)
    sources = f"{_FROM_OTHER} UNION ALL {_FROM_TABLE}" if has_table(connection, "usage") else _FROM_OTHER
    services = _groups(connection, query, "service", sources)
    return services if query.by == "service" else _groups(connection, query, query.by, sources), services


def _groups(connection: sqlite3.Connection, query: UsageQuery, by: Grouping, sources: str) -> tuple[UsageGroup, ...]:
    statement = _SELECT_GROUPS.format(
        by=by, sources=sources, order="name" if by == "hour" else "sum(messages) DESC, name"
    )
    return tuple(UsageGroup(*row) for row in connection.execute(statement, (query.first_hour, query.last_hour)))
