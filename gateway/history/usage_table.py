"""The table of usage in the file of a history, and all statements on it.

A row has the sums of one hour, service, route and caller of all processes: each adds what it has counted. The rows of
another source, such as the memory of a process, take part in a report by a temporary table.
"""

import sqlite3
from collections.abc import Iterable, Sequence

from gateway.history.sqlite_tables import transaction
from gateway.history.usage_buckets import UsageRow
from gateway.history.usage_query import Grouping, UsageGroup, UsageQuery

USAGE = """
CREATE TABLE IF NOT EXISTS usage (
    hour TEXT NOT NULL, service TEXT NOT NULL, route TEXT NOT NULL, caller TEXT NOT NULL,
    calls INTEGER NOT NULL, messages INTEGER NOT NULL, PRIMARY KEY (hour, service, route, caller)
) WITHOUT ROWID
"""
"""A file of an older gateway lacks this table."""
ROW_SIZE = 100
"""Bytes of a row, about."""
_ADD = """
INSERT INTO usage VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET calls = calls + excluded.calls, messages = messages + excluded.messages
"""
_FORGET = "DELETE FROM usage WHERE hour < ?"
_EXCESS = "SELECT hour FROM usage ORDER BY hour DESC LIMIT 1 OFFSET ?"
_FORGET_WITH = "DELETE FROM usage WHERE hour <= ?"
_NEWEST = "SELECT hour, service, route, caller, calls, messages FROM usage ORDER BY hour DESC LIMIT ?"
_EXISTS = "SELECT count(*) FROM sqlite_master WHERE name = 'usage'"
_FROM_TABLE, _FROM_OTHER = "SELECT * FROM usage", "SELECT * FROM temp.other"
_OTHER = "CREATE TEMP TABLE other (hour, service, route, caller, calls, messages)"
# In a query with max(), SQLite takes the other columns from the row with the maximum.
_GROUPS = """
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


def forget_usage(connection: sqlite3.Connection, *, oldest: str, most: int) -> None:
    """Delete hours before `oldest`, and the oldest ones beyond `most` rows."""
    connection.execute(_FORGET, (oldest,))
    if excess := connection.execute(_EXCESS, (most,)).fetchone():
        connection.execute(_FORGET_WITH, excess)


def newest_usage(connection: sqlite3.Connection, limit: int) -> list[UsageRow]:
    """Return the rows of the newest hours, at most `limit`."""
    if not has_usage(connection):
        return []
    shared: dict[str, str] = {}  # thousands of rows have the same few names
    return [
        UsageRow._make(shared.setdefault(each, each) if isinstance(each, str) else each for each in row)
        for row in connection.execute(_NEWEST, (limit,))
    ]


def has_usage(connection: sqlite3.Connection) -> bool:
    """Return whether the file has the table."""
    return bool(connection.execute(_EXISTS).fetchone()[0])


def group_usage(
    connection: sqlite3.Connection, query: UsageQuery, others: Iterable[UsageRow]
) -> tuple[tuple[UsageGroup, ...], tuple[UsageGroup, ...]]:
    """Return the groups of the query, and those by service, of the table, if there is one, and of `others`."""
    connection.execute(_OTHER)
    connection.executemany("INSERT INTO temp.other VALUES (?, ?, ?, ?, ?, ?)", others)
    sources = f"{_FROM_OTHER} UNION ALL {_FROM_TABLE}" if has_usage(connection) else _FROM_OTHER
    services = _groups(connection, query, "service", sources)
    return services if query.by == "service" else _groups(connection, query, query.by, sources), services


def _groups(connection: sqlite3.Connection, query: UsageQuery, by: Grouping, sources: str) -> tuple[UsageGroup, ...]:
    statement = _GROUPS.format(by=by, sources=sources, order="name" if by == "hour" else "sum(messages) DESC, name")
    return tuple(UsageGroup(*row) for row in connection.execute(statement, (query.first_hour, query.last_hour)))
