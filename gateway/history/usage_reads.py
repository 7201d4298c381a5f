"""Make a usage report of the file of a history and of the rows in memory."""

import sqlite3
from collections.abc import Iterable, Mapping
from pathlib import Path

from gateway.history.history_file import open_for_reading
from gateway.history.interface import StorageKind
from gateway.history.usage_buckets import UsageRow
from gateway.history.usage_query import PackAllowance, UsageQuery, UsageReport
from gateway.history.usage_table import group_usage
from gateway.system.sqlite_file import open_in_memory


def read_usage(
    path: str | Path, query: UsageQuery, *, allowances: Mapping[str, PackAllowance], until: float
) -> UsageReport:
    """Report the usage in the file, which may be in use. Raise Unsearchable, also after `until` (`time.monotonic`)."""
    return _read(path, query, (), allowances, until)


def join_usage(
    path: str | Path | None,
    query: UsageQuery,
    others: Iterable[UsageRow],
    *,
    allowances: Mapping[str, PackAllowance],
    until: float,
) -> UsageReport:
    """Report the usage of `others` and of the file, if it exists. Raise Unsearchable, also after `until`."""
    if path is not None and Path(path).exists():
        return _read(path, query, others, allowances, until)
    with open_in_memory() as connection:
        return _report(connection, query, others, allowances, "memory" if path is None else "file")


def _read(
    path: str | Path,
    query: UsageQuery,
    others: Iterable[UsageRow],
    allowances: Mapping[str, PackAllowance],
    until: float,
) -> UsageReport:
    with open_for_reading(path, until=until) as connection:
        if connection is None:
            return join_usage(None, query, others, allowances=allowances, until=until)
        connection.execute("PRAGMA temp_store = MEMORY")
        return _report(connection, query, others, allowances, "file")


def _report(
    connection: sqlite3.Connection,
    query: UsageQuery,
    others: Iterable[UsageRow],
    allowances: Mapping[str, PackAllowance],
    where: StorageKind,
) -> UsageReport:
    groups, services = group_usage(connection, query, others)
    return UsageReport(query, groups, services, allowances, where)
