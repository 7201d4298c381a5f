"""One SQLite file of a history, opened for writing or reading by one thread.

It is readable by its owner only. It uses a write-ahead log, so readers and a writer do not wait for each other, and
`synchronous = NORMAL`: a killed process loses nothing, a power failure may lose the last calls.
"""

import contextlib
import os
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from gateway.history import sqlite_tables, usage_table, version_1
from gateway.history.begun_calls import OpenCall, is_running, process_name
from gateway.history.free_space import bytes_used, volume_of
from gateway.history.interface import HistoryLimits, SearchResult, Unsearchable
from gateway.history.query import MIN_TIME, HistoryQuery, filter_lines, newest
from gateway.history.usage_buckets import MAX_BUCKETS, UsageRow
from gateway.system.sqlite_file import (
    ForeignDatabase,
    SqliteFile,
    database_uri,
    error_text,
    is_own_database,
    locked_folder,
    primary_code,
    remove_database,
)

BUSY_TIMEOUT = 2.0
"""Seconds to wait for another process that writes."""
_WAL_SIZE = 1024 * 1024
"""Bytes in the write-ahead log before SQLite moves them into the file, and its size after that."""
_STEPS = 10_000
"""Steps of SQLite between two checks of the time limit: well below a millisecond."""
_TOO_LONG = "the search takes too long; narrow it by a time or a rarer value"
_BUSY = frozenset((sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED))
_TRANSIENT = _BUSY | {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR}
"""After these errors the file stays open: on a full disk SQLite could not create what it needs to read it again."""


class UnusableFile(Exception):
    """The file cannot be used; the text names the cause. `is_busy`: another process locks it, which passes."""

    def __init__(self, why: str, *, is_busy: bool = False) -> None:
        super().__init__(why)
        self.is_busy = is_busy


class RemovedHistory(NamedTuple):
    """What a removed file had: the number of its calls, and the newest rows of its usage."""

    calls: int
    usage: list[UsageRow]


class HistoryFile:
    """The file at `path`, for writing. It is created if it does not exist or was removed meanwhile."""

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)
        self._database = SqliteFile(
            path,
            application_id=sqlite_tables.OURS,
            version=sqlite_tables.VERSION,
            # INCREMENTAL: so that the file can shrink again.
            schema=f"PRAGMA auto_vacuum = INCREMENTAL;{sqlite_tables.TABLES}",
            configure=self._configure,
            timeout=BUSY_TIMEOUT,
        )
        self._process = process_name(os.getpid()) or str(os.getpid())
        self._tracked: set[int] = set()  # the numbers of calls under way that the open file has

    def open(self) -> None:
        """Open or create the file. Raise UnusableFile."""
        with self._translate_errors():
            self._database.connection()

    def append(self, lines: Sequence[bytes]) -> None:
        """Write all lines or none. Raise UnusableFile."""
        with self._translate_errors():
            sqlite_tables.append(self._database.connection(), lines)

    def track(self, under_way: Mapping[int, OpenCall]) -> None:
        """Store these calls in progress, by their numbers, and no others of this process. Raise UnusableFile."""
        if self._database.open_connection is None and not under_way:
            return
        with self._translate_errors():
            connection = self._database.connection()
            ended, began = self._tracked - under_way.keys(), under_way.keys() - self._tracked
            if ended or began:
                lines = [(number, under_way[number].lost_line()) for number in sorted(began)]
                sqlite_tables.track(connection, self._process, ended=ended, began=lines)
                self._tracked = set(under_way)

    def add_usage(self, rows: Sequence[UsageRow]) -> None:
        """Add these rows to the usage, all or none. Raise UnusableFile."""
        with self._translate_errors():
            usage_table.add_usage(self._database.connection(), rows)

    def forget_usage(self, *, oldest: str, most: int) -> None:
        """Delete the usage of hours before `oldest`, and of the oldest ones beyond `most` rows. Raise UnusableFile."""
        with self._translate_errors():
            usage_table.forget_usage(self._database.connection(), oldest=oldest, most=most)

    def forget(self, limits: HistoryLimits, oldest: int) -> bool:
        """Delete some of the calls beyond the limits. Return whether there are more. Raise UnusableFile."""
        with self._translate_errors():
            sqlite_tables.forget_begun(self._database.connection(), oldest)
            return sqlite_tables.forget(self._database.connection(), limits, oldest)

    def room(self) -> int | None:
        """Return the bytes that the volume has for calls; None if they cannot be determined."""
        try:
            return volume_of(self._path).room(bytes_used(self._path))
        except OSError:
            return None

    def has_room(self) -> bool:
        """Return whether the volume has enough room for tokens and, before the file exists, for a history too."""
        try:
            volume = volume_of(self._path)
        except OSError:  # reported by the next use of the file
            return True
        return not volume.is_short if self._path.exists() else volume.can_start

    def truncate_log(self) -> None:
        """Move the write-ahead log into the file and free its room."""
        if (connection := self._database.open_connection) is not None:
            with contextlib.suppress(sqlite3.Error):
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def remove_for_room(self) -> RemovedHistory | None:
        """Remove the file if the volume has too little room for tokens, and close it. Return what it had; None if
        nothing was removed, because another process did it or the file is foreign.
        """
        removed = None
        with contextlib.suppress(sqlite3.Error, OSError), locked_folder(self._path.parent):
            if volume_of(self._path).is_short:
                removed = self._read_contents()
                # Before it is closed: SQLite must not write what is in its log into a file that goes.
                remove_database(self._path)
        self.close()
        return removed

    def _read_contents(self) -> RemovedHistory:
        """Return what is known of the file before it goes. Raise sqlite3.Error or OSError if it is foreign."""
        connection = self._database.open_connection
        if connection is not None and self._database.is_current():
            return _contents(connection)
        return _read_immutable(self._path)

    def close_removed(self) -> None:
        """Close the file if it was removed: until then its room is not free."""
        if not self._database.is_current():
            self.close()

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    @contextlib.contextmanager
    def _translate_errors(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as cause:
            if primary_code(cause) not in _TRANSIENT:
                self.close()
            raise UnusableFile(_explain(self._path, cause), is_busy=primary_code(cause) in _BUSY) from cause

    def _configure(self, connection: sqlite3.Connection) -> None:
        connection.execute(f"PRAGMA wal_autocheckpoint = {_WAL_SIZE // 4096}")
        connection.execute(f"PRAGMA journal_size_limit = {_WAL_SIZE}")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA secure_delete = OFF")
        connection.execute(sqlite_tables.BEGUN)
        connection.execute(usage_table.USAGE)
        version_1.move(connection)
        sqlite_tables.end_all(connection, self._process)  # calls of this process in an earlier connection
        self._tracked = set()


def read(path: str | Path, query: HistoryQuery, *, keep: float, now: float, until: float) -> SearchResult:
    """Return the matching calls of the last `keep` seconds before `now` (since the epoch).

    The file may be in use; nothing is written. Raise Unsearchable, also after the time `until` (of `time.monotonic`).
    """
    query = replace(query, since=max(MIN_TIME, query.since, round((now - keep) * 1000)))
    with open_for_reading(path, until=until) as connection:
        if connection is None:
            return SearchResult((), 0, "file")
        lines = newest(_find_all(connection, query, until), query.limit)
        return SearchResult(tuple(lines), sqlite_tables.kept(connection), "file")


@contextlib.contextmanager
def open_for_reading(path: str | Path, *, until: float) -> Iterator[sqlite3.Connection | None]:
    """Open a file that may be in use; nothing is written. None if it is empty.

    Raise Unsearchable if it cannot be read, also after the time `until` (of `time.monotonic`).
    """
    if time.monotonic() > until:
        raise Unsearchable("too many searches at once; try again")
    try:
        uri = f"{database_uri(path)}?mode=ro"
        with contextlib.closing(
            sqlite3.connect(uri, uri=True, timeout=BUSY_TIMEOUT, isolation_level=None)
        ) as connection:
            connection.set_progress_handler(lambda: time.monotonic() > until, _STEPS)
            is_ours = is_own_database(connection, sqlite_tables.OURS, sqlite_tables.VERSION)
            connection.execute("BEGIN")  # the same rows for all statements
            yield connection if is_ours else None
    except (sqlite3.Error, OSError) as cause:
        if primary_code(cause) == sqlite3.SQLITE_INTERRUPT:
            raise Unsearchable(_TOO_LONG) from cause
        raise Unsearchable(_explain(path, cause)) from cause


def _find_all(connection: sqlite3.Connection, query: HistoryQuery, until: float) -> Iterator[bytes]:
    """Yield the matching lines of the tables. Raise Unsearchable after the time `until`."""

    def check() -> None:
        if time.monotonic() > until:
            raise Unsearchable(_TOO_LONG)

    if sqlite_tables.has_table(connection, "batch"):
        yield from sqlite_tables.find(connection, query, check)
    yield from version_1.find(connection, query)
    yield from _find_lost(connection, query)


def _find_lost(connection: sqlite3.Connection, query: HistoryQuery) -> Sequence[bytes]:
    """Return the matching lines of calls whose process ended first."""
    begun = sqlite_tables.begun(connection)
    running = {process: is_running(process) for process, _ in begun}
    return filter_lines(query, [line for process, line in begun if not running[process]])


def _explain(path: str | Path, cause: Exception) -> str:
    """Return what is wrong with the file. Messages of SQLite name tables and conditions, never values."""
    is_broken = primary_code(cause) in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB} or isinstance(
        cause, ForeignDatabase
    )
    remedy = "; remove it, and the gateway creates another" if is_broken else ""
    return f"cannot use the history file `{path}`: {error_text(cause)} ({type(cause).__name__}){remedy}"


def _contents(connection: sqlite3.Connection) -> RemovedHistory:
    return RemovedHistory(sqlite_tables.kept(connection), usage_table.newest_usage(connection, MAX_BUCKETS))


def _read_immutable(path: Path) -> RemovedHistory:
    """Return what a file of ours has, without reading its log, which would need room. Raise sqlite3.Error or
    ForeignDatabase for any other.
    """
    with contextlib.closing(sqlite3.connect(f"{database_uri(path)}?mode=ro&immutable=1", uri=True)) as connection:
        if not is_own_database(connection, sqlite_tables.OURS, sqlite_tables.VERSION):
            raise ForeignDatabase("it is empty")
        return _contents(connection)
