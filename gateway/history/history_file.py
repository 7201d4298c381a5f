"""One SQLite file of a history, opened for writing or reading by one thread.

It is readable by its owner only. It uses a write-ahead log, so readers and a writer do not wait for each other, and
`synchronous = NORMAL`: a killed process loses nothing, a power failure may lose the last calls.
"""

import contextlib
import fcntl
import os
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

from gateway.history import sqlite_tables
from gateway.history.begun_calls import Begun, is_running, process_name
from gateway.history.free_space import SUFFIXES, bytes_used, volume_of
from gateway.history.interface import HistoryLimits, SearchResult, Unsearchable
from gateway.history.query import MIN_TIME, HistoryQuery, filter_lines, newest

BUSY_TIMEOUT = 2.0
"""Seconds to wait for another process that writes."""
_WAL_SIZE = 512 * 1024
"""Bytes in the write-ahead log before SQLite moves them into the file, and its size after that."""
_STEPS = 10_000
"""Steps of SQLite between two checks of the time limit: well below a millisecond."""
_BUSY = frozenset((sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED))
_TRANSIENT = _BUSY | {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR}
"""After these errors the file stays open: on a full disk SQLite could not create what it needs to read it again."""


class UnusableFile(Exception):
    """The file cannot be used; the text names the cause. `is_busy`: another process locks it, which passes."""

    def __init__(self, why: str, *, is_busy: bool = False) -> None:
        super().__init__(why)
        self.is_busy = is_busy


class ForeignFile(OSError):
    """The file is not a history of this version."""


class HistoryFile:
    """The file at `path`, for writing. It is created if it does not exist or was removed meanwhile."""

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)
        self._open: tuple[sqlite3.Connection, tuple[int, int]] | None = None
        self._process = process_name(os.getpid()) or str(os.getpid())
        self._tracked: set[int] = set()  # the numbers of calls under way that the open file has

    def open(self) -> None:
        """Open or create the file. Raise UnusableFile."""
        with self._translate_errors():
            self._connection()

    def append(self, lines: Sequence[bytes]) -> None:
        """Write all lines or none. Raise UnusableFile."""
        with self._translate_errors():
            sqlite_tables.append(self._connection(), lines)

    def track(self, under_way: Mapping[int, Begun]) -> None:
        """Store these calls in progress, by their numbers, and no others of this process. Raise UnusableFile."""
        if self._open is None and not under_way:
            return
        with self._translate_errors():
            connection = self._connection()
            ended, began = self._tracked - under_way.keys(), under_way.keys() - self._tracked
            if ended or began:
                lines = [(number, under_way[number].lost_line()) for number in sorted(began)]
                sqlite_tables.track(connection, self._process, ended=ended, began=lines)
                self._tracked = set(under_way)

    def forget(self, limits: HistoryLimits, oldest: int) -> bool:
        """Delete some of the calls beyond the limits. Return whether there are more. Raise UnusableFile."""
        with self._translate_errors():
            sqlite_tables.forget_begun(self._connection(), oldest)
            return sqlite_tables.forget(self._connection(), limits, oldest)

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
        except OSError:  # whoever uses the file is told
            return True
        return not volume.is_short if self._path.exists() else volume.can_start

    def truncate_log(self) -> None:
        """Move the write-ahead log into the file and free its room."""
        if self._open is not None:
            with contextlib.suppress(sqlite3.Error):
                self._open[0].execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def remove_for_room(self) -> int | None:
        """Remove the file if the volume has too little room for tokens, and close it. Return its number of calls; None
        if nothing was removed, because another process did it or the file is foreign.
        """
        calls = None
        with contextlib.suppress(sqlite3.Error, OSError), _locked_folder(self._path.parent):
            if volume_of(self._path).is_short:
                calls = self._count_calls()
                # Before it is closed: SQLite must not write what is in its log into a file that goes.
                for end in SUFFIXES:
                    self._path.with_name(self._path.name + end).unlink(missing_ok=True)
        self.close()
        return calls

    def _count_calls(self) -> int:
        """Return the number of calls in the file. Raise sqlite3.Error or OSError if it is foreign."""
        if self._open is not None and self._open[1] == _identity(self._path):
            return sqlite_tables.kept(self._open[0])
        return _count_immutable(self._path)

    def close_removed(self) -> None:
        """Close the file if it was removed: until then its room is not free."""
        if self._open is not None and self._open[1] != _identity(self._path):
            self.close()

    def close(self) -> None:
        """Close the file."""
        if self._open is not None:
            connection, self._open = self._open[0], None
            with contextlib.suppress(sqlite3.Error):
                connection.close()

    @contextlib.contextmanager
    def _translate_errors(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as cause:
            if _code(cause) not in _TRANSIENT:
                self.close()
            raise UnusableFile(_explain(self._path, cause), is_busy=_code(cause) in _BUSY) from cause

    def _connection(self) -> sqlite3.Connection:
        if self._open is not None and self._open[1] == _identity(self._path):
            return self._open[0]
        self.close()
        _create(self._path)
        identity = _identity(self._path)
        if identity is None:
            raise FileNotFoundError
        connection = sqlite3.connect(self._path, timeout=BUSY_TIMEOUT, isolation_level=None)
        try:
            _prepare(connection, self._path)
            sqlite_tables.end_all(connection, self._process)  # of before the file was opened once more
        except (sqlite3.Error, OSError):
            connection.close()
            raise
        self._open, self._tracked = (connection, identity), set()
        return connection


def read(path: str | Path, query: HistoryQuery, *, keep: float, now: float, until: float) -> SearchResult:
    """Return the matching calls of the last `keep` seconds before `now` (since the epoch).

    The file may be in use; nothing is written. Raise Unsearchable, also after the time `until` (of `time.monotonic`).
    """
    query = replace(query, since=max(MIN_TIME, query.since, round((now - keep) * 1000)))
    if time.monotonic() > until:
        raise Unsearchable("too many searches at once; try again")
    try:
        uri = f"{_uri(path)}?mode=ro"
        with contextlib.closing(
            sqlite3.connect(uri, uri=True, timeout=BUSY_TIMEOUT, isolation_level=None)
        ) as connection:
            connection.set_progress_handler(lambda: time.monotonic() > until, _STEPS)
            if not _is_ours(connection):
                return SearchResult((), 0, "file")
            lines = newest((*sqlite_tables.find(connection, query), *_find_lost(connection, query)), query.limit)
            return SearchResult(tuple(lines), sqlite_tables.kept(connection), "file")
    except (sqlite3.Error, OSError) as cause:
        if _code(cause) == sqlite3.SQLITE_INTERRUPT:
            raise Unsearchable("the search takes too long; narrow it by a time or a rarer value") from cause
        raise Unsearchable(_explain(path, cause)) from cause


def _find_lost(connection: sqlite3.Connection, query: HistoryQuery) -> Sequence[bytes]:
    """Return the matching lines of calls whose process ended first."""
    begun = sqlite_tables.begun(connection)
    running = {process: is_running(process) for process, _ in begun}
    return filter_lines(query, [line for process, line in begun if not running[process]])


def _explain(path: str | Path, cause: Exception) -> str:
    """Return what is wrong with the file. Messages of SQLite name tables and conditions, never values."""
    reason = cause.strerror if isinstance(cause, OSError) and cause.strerror else str(cause)
    is_broken = _code(cause) in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB} or isinstance(cause, ForeignFile)
    remedy = "; remove it, and the gateway creates another" if is_broken else ""
    return f"cannot use the history file `{path}`: {reason} ({type(cause).__name__}){remedy}"


def _code(cause: Exception) -> int:
    """Return the primary error code of SQLite, 0 for another error."""
    return getattr(cause, "sqlite_errorcode", 0) & 0xFF


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def _create(path: Path) -> None:
    """Create an empty file for its owner only; SQLite gives `-wal` and `-shm` the same mode.

    The write-ahead log of a removed file must be deleted first, or SQLite would apply it to the new one. The folder is
    locked meanwhile, so that the new log of another worker is not deleted. An existing file is not opened: closing it
    would drop the locks that SQLite has on it in this process.
    """
    if path.exists():
        return
    with _locked_folder(path.parent):
        if not path.exists():
            for end in SUFFIXES[1:]:
                path.with_name(path.name + end).unlink(missing_ok=True)
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))


@contextlib.contextmanager
def _locked_folder(path: Path) -> Iterator[None]:
    """Lock a folder: one process at a time creates or removes files."""
    folder = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def _count_immutable(path: Path) -> int:
    """Return the number of calls in a file of ours without reading its log, which would need room. Raise sqlite3.Error
    or ForeignFile for any other.
    """
    with contextlib.closing(sqlite3.connect(f"{_uri(path)}?mode=ro&immutable=1", uri=True)) as connection:
        if not _is_ours(connection):
            raise ForeignFile("it is empty")
        return sqlite_tables.kept(connection)


def _uri(path: str | Path) -> str:
    return f"file:{quote(str(Path(path).absolute()))}"


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    """Create the tables; reject a file of another program."""
    if not _is_ours(connection):
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")  # so that the file can become smaller again
        connection.executescript(sqlite_tables.TABLES)
    connection.execute(sqlite_tables.BEGUN)
    if path.stat().st_mode & 0o077:
        path.chmod(0o600)
    _write_ahead(connection)
    connection.execute(f"PRAGMA wal_autocheckpoint = {_WAL_SIZE // 4096}")
    connection.execute(f"PRAGMA journal_size_limit = {_WAL_SIZE}")
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("PRAGMA secure_delete = OFF")


def _is_ours(connection: sqlite3.Connection) -> bool:
    """Return False for an empty file. Raise ForeignFile for a file of another program or of a newer gateway."""
    # In this order: another process may make the tables, and with them the rest, in between.
    [found] = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    [owner] = connection.execute("PRAGMA application_id").fetchone()
    [version] = connection.execute("PRAGMA user_version").fetchone()
    if owner != sqlite_tables.OURS and found:
        raise ForeignFile("it is the database of another program")
    if owner == sqlite_tables.OURS and version > sqlite_tables.VERSION:
        raise ForeignFile("a newer gateway made it")
    return bool(owner == sqlite_tables.OURS)


def _write_ahead(connection: sqlite3.Connection) -> None:
    """Switch to the write-ahead log. If several processes do so at once, SQLite rejects all but one immediately,
    whatever the timeout.
    """
    until = time.monotonic() + BUSY_TIMEOUT
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as cause:
            if cause.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                raise
            time.sleep(0.005)
        else:
            return
