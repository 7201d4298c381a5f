"""The SQLite file of a history, opened for writing or reading by one thread.

Only its owner can read it. It uses a write-ahead log, so readers and writers do not wait for each other. With
`synchronous = NORMAL`, a killed process loses nothing, and a power failure may lose the last calls.
"""

import contextlib
import os
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from msgspec.structs import replace

from gateway.history import sqlite_tables, usage_table
from gateway.history.free_space import bytes_used, volume_of
from gateway.history.interface import HistoryLimits, SearchResult, Unsearchable
from gateway.history.open_calls import OpenCall, is_running, process_identity
from gateway.history.query import MIN_TIME, HistoryQuery, filter_lines, newest_lines
from gateway.history.usage_buckets import MAX_BUCKETS, UsageRow
from gateway.system.sqlite_file import (
    ForeignDatabase,
    SqliteFile,
    error_text,
    is_own_database,
    locked_folder,
    open_read_only,
    primary_code,
    remove_database,
)

BUSY_TIMEOUT = 2.0
"""Seconds to wait for another process that writes."""
_WAL_SIZE = 1024 * 1024
"""Bytes of the write-ahead log at which SQLite moves them into the file, and its maximum size after that; less on a
small volume, so that the log stays within the room that is kept free for it.
"""
_PROGRESS_STEPS = 10_000
"""Steps of SQLite's virtual machine between two checks of the time limit: well below a millisecond."""
_TOO_LONG = "the search takes too long; narrow it by a time or a rarer value"
_BUSY = frozenset((sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED))
_TRANSIENT = _BUSY | {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR}
"""After these errors the file stays open: on a full disk, SQLite could not open it again."""


class UnusableHistoryFile(Exception):
    """The file cannot be used; the text names the cause. `is_busy`: another process locks it now."""

    def __init__(self, why: str, *, is_busy: bool = False) -> None:
        super().__init__(why)
        self.is_busy = is_busy


class RemovedHistory(NamedTuple):
    """The number of calls in a removed file, and the newest rows of its usage."""

    calls: int
    usage: list[UsageRow]


class HistoryFile:
    """The file at `path`, for writing. It is created if it does not exist, also if another process has removed it."""

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)
        self._database = SqliteFile(
            path,
            application_id=sqlite_tables.APPLICATION_ID,
            version=sqlite_tables.SCHEMA_VERSION,
            # INCREMENTAL, so that the file can shrink.
            schema=f"PRAGMA auto_vacuum = INCREMENTAL;{sqlite_tables.TABLES}",
            configure=self._configure,
            timeout=BUSY_TIMEOUT,
        )
        self._process_identity = process_identity(os.getpid()) or str(os.getpid())
        self._stored_open_calls: set[int] = set()  # the numbers of the open calls in the file

    def open(self) -> None:
        """Open or create the file. Raise UnusableHistoryFile."""
        with self._translate_errors():
            self._database.connection()

    def append(self, lines: Sequence[bytes]) -> None:
        """Write all lines or none. Raise UnusableHistoryFile."""
        with self._translate_errors():
            sqlite_tables.append_lines(self._database.connection(), lines)

    def update_open_calls(self, open_calls: Mapping[int, OpenCall]) -> None:
        """Make these the only stored open calls of this process, by their numbers. Raise UnusableHistoryFile."""
        if self._database.open_connection is None and not open_calls:
            return
        with self._translate_errors():
            connection = self._database.connection()
            ended, began = self._stored_open_calls - open_calls.keys(), open_calls.keys() - self._stored_open_calls
            if ended or began:
                lines = [(number, open_calls[number].lost_line()) for number in sorted(began)]
                sqlite_tables.update_open_calls(connection, self._process_identity, ended=ended, began=lines)
                self._stored_open_calls = set(open_calls)

    def add_usage(self, rows: Sequence[UsageRow]) -> None:
        """Add these rows to the usage, all or none. Raise UnusableHistoryFile."""
        with self._translate_errors():
            usage_table.add_usage(self._database.connection(), rows)

    def prune_usage(self, *, oldest: str, max_rows: int) -> None:
        """Delete the usage of hours before `oldest`, and the oldest hours beyond `max_rows` rows. Raise
        UnusableHistoryFile.
        """
        with self._translate_errors():
            usage_table.prune_usage(self._database.connection(), oldest=oldest, max_rows=max_rows)

    def prune(self, limits: HistoryLimits, oldest: int) -> bool:
        """Delete some of the calls beyond the limits. Return whether more are left. Raise UnusableHistoryFile."""
        with self._translate_errors():
            sqlite_tables.prune_open_calls(self._database.connection(), oldest)
            return sqlite_tables.prune_calls(self._database.connection(), limits, oldest)

    def available_room(self) -> int | None:
        """Return how many bytes calls may use on the volume; None if this cannot be determined."""
        try:
            return volume_of(self._path).room(bytes_used(self._path))
        except OSError:
            return None

    def has_room(self) -> bool:
        """Return whether the volume has enough room for tokens and, before the file exists, for a history too."""
        try:
            volume = volume_of(self._path)
        except OSError:  # the next use of the file reports it
            return True
        return not volume.is_short if self._path.exists() else volume.can_start

    def checkpoint(self) -> None:
        """Move the write-ahead log into the file, and truncate it."""
        if (connection := self._database.open_connection) is not None:
            with contextlib.suppress(sqlite3.Error):
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def remove_for_room(self) -> RemovedHistory | None:
        """Close the file, and remove it if the volume has too little room for tokens.

        Return its contents; None if it was not removed, because another process removed it or it is no history.
        """
        removed = None
        with contextlib.suppress(sqlite3.Error, OSError), locked_folder(self._path.parent):
            if volume_of(self._path).is_short:
                removed = self._read_contents()
                # Remove it before it is closed: at the close, SQLite would write the log into the file.
                remove_database(self._path)
        self.close()
        return removed

    def _read_contents(self) -> RemovedHistory:
        """Return the contents of the file before its removal. Raise sqlite3.Error or OSError if it is no history."""
        connection = self._database.open_connection
        if connection is not None and self._database.is_current():
            return _read_contents_of(connection)
        return _read_immutable(self._path)

    def close_removed(self) -> None:
        """Close the file if it was removed: its room is free only after that."""
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
            raise UnusableHistoryFile(
                _describe_error(self._path, cause), is_busy=primary_code(cause) in _BUSY
            ) from cause

    def _configure(self, connection: sqlite3.Connection) -> None:
        wal_size = min(_WAL_SIZE, volume_of(self._path).reserve // 2)
        connection.execute(f"PRAGMA wal_autocheckpoint = {wal_size // 4096}")
        connection.execute(f"PRAGMA journal_size_limit = {wal_size}")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA secure_delete = OFF")
        connection.execute(sqlite_tables.OPEN_CALL_TABLE)
        connection.execute(usage_table.USAGE_TABLE)
        sqlite_tables.delete_open_calls(
            connection, self._process_identity
        )  # those of an earlier connection of this process
        self._stored_open_calls = set()


def search_file(path: str | Path, query: HistoryQuery, *, keep: float, now: float, until: float) -> SearchResult:
    """Return the matching calls of the last `keep` seconds before `now` (epoch seconds).

    The file may be in use; nothing is written. Raise Unsearchable, also if the search lasts longer than `until` (as
    `time.monotonic`).
    """
    query = replace(query, since=max(MIN_TIME, query.since, round((now - keep) * 1000)))
    with open_for_reading(path, until=until) as connection:
        if connection is None:
            return SearchResult((), 0, "file")
        lines = newest_lines(_find_all(connection, query, until), query.limit)
        return SearchResult(tuple(lines), sqlite_tables.count_calls(connection), "file")


@contextlib.contextmanager
def open_for_reading(path: str | Path, *, until: float) -> Iterator[sqlite3.Connection | None]:
    """Open a file that may be in use; nothing is written. The connection is None if the file is empty.

    Raise Unsearchable if the file cannot be read, or if reading lasts longer than `until` (as `time.monotonic`).
    """
    if time.monotonic() > until:
        raise Unsearchable("too many searches at once; try again")
    try:
        with open_read_only(path, timeout=BUSY_TIMEOUT) as connection:
            connection.set_progress_handler(lambda: time.monotonic() > until, _PROGRESS_STEPS)
            is_history = is_own_database(connection, sqlite_tables.APPLICATION_ID, sqlite_tables.SCHEMA_VERSION)
            connection.execute("BEGIN")  # so that all statements see the same rows
            yield connection if is_history else None
    except (sqlite3.Error, OSError) as cause:
        if primary_code(cause) == sqlite3.SQLITE_INTERRUPT:
            raise Unsearchable(_TOO_LONG) from cause
        raise Unsearchable(_describe_error(path, cause)) from cause


def _find_all(connection: sqlite3.Connection, query: HistoryQuery, until: float) -> Iterator[bytes]:
    """Yield the matching lines of all tables. Raise Unsearchable after the time `until`."""

    def check() -> None:
        if time.monotonic() > until:
            raise Unsearchable(_TOO_LONG)

    yield from sqlite_tables.find_lines(connection, query, check)
    yield from _find_lost(connection, query)


def _find_lost(connection: sqlite3.Connection, query: HistoryQuery) -> Sequence[bytes]:
    """Return the matching lines of open calls whose process has ended."""
    open_calls = sqlite_tables.read_open_calls(connection)
    running = {process: is_running(process) for process, _ in open_calls}
    return filter_lines(query, [line for process, line in open_calls if not running[process]])


def _describe_error(path: str | Path, cause: Exception) -> str:
    """Return the problem with the file, and a remedy. Messages of SQLite contain no values of rows."""
    is_broken = primary_code(cause) in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB} or isinstance(
        cause, ForeignDatabase
    )
    remedy = "; remove it, and the gateway creates another" if is_broken else ""
    return f"cannot use the history file `{path}`: {error_text(cause)} ({type(cause).__name__}){remedy}"


def _read_contents_of(connection: sqlite3.Connection) -> RemovedHistory:
    return RemovedHistory(sqlite_tables.count_calls(connection), usage_table.newest_usage(connection, MAX_BUCKETS))


def _read_immutable(path: Path) -> RemovedHistory:
    """Return the contents of a history file. Its write-ahead log is not read: that would need room on the volume.

    Raise sqlite3.Error or ForeignDatabase for any other file.
    """
    with open_read_only(path, timeout=BUSY_TIMEOUT, is_immutable=True) as connection:
        if not is_own_database(connection, sqlite_tables.APPLICATION_ID, sqlite_tables.SCHEMA_VERSION):
            raise ForeignDatabase("the file is empty")
        return _read_contents_of(connection)
