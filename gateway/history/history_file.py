"""One SQLite file of a history, opened to be written or to be read; used by one thread.

It is made for its owner alone, in a write-ahead log (readers and a writer do not wait for each other), and waits for no
disk (`synchronous = NORMAL`): the end of the process loses nothing, that of the machine the last calls.
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
from gateway.history.free_space import ENDS, bytes_used, volume_of
from gateway.history.interface import HistoryLimits, SearchResult, Unsearchable
from gateway.history.query import FIRST, HistoryQuery, filter_lines, newest

PATIENCE = 2.0
"""Seconds to wait for another process that writes."""
_LOG = 512 * 1024
"""Bytes in the write-ahead log before they go into the file, and that it shrinks to."""
_STEPS = 10_000
"""Of SQLite's own between two looks at the clock: well below a millisecond."""
_BUSY = frozenset((sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED))
_PASSING = _BUSY | {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR}
"""After these the file stays open: on a full disk what it needs to be read could not be made anew."""


class UnusableFile(Exception):
    """The file cannot be used; the text says why. `is_busy`: another process holds it, which passes."""

    def __init__(self, why: str, *, is_busy: bool = False) -> None:
        super().__init__(why)
        self.is_busy = is_busy


class ForeignFile(OSError):
    """The file is none of ours."""


class HistoryFile:
    """The file at `path`, to be written; made where it does not exist, and anew where it was removed meanwhile."""

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)
        self._open: tuple[sqlite3.Connection, tuple[int, int]] | None = None
        self._process = process_name(os.getpid()) or str(os.getpid())
        self._tracked: set[int] = set()  # the numbers of calls under way that the open file has

    def open(self) -> None:
        """Raises Unusable where that cannot be done."""
        with self._telling():
            self._connection()

    def append(self, lines: Sequence[bytes]) -> None:
        """Writes lines, all or none. Raises Unusable."""
        with self._telling():
            sqlite_tables.append(self._connection(), lines)

    def track(self, under_way: Mapping[int, Begun]) -> None:
        """Has the file hold these calls under way, by their numbers, and no others of this process. Raises Unusable."""
        if self._open is None and not under_way:
            return
        with self._telling():
            connection = self._connection()
            ended, began = self._tracked - under_way.keys(), under_way.keys() - self._tracked
            if ended or began:
                lines = [(number, under_way[number].lost_line()) for number in sorted(began)]
                sqlite_tables.track(connection, self._process, ended=ended, began=lines)
                self._tracked = set(under_way)

    def forget(self, limits: HistoryLimits, oldest: int) -> bool:
        """Lets go of some calls that are too old or too many; whether there are more of them. Raises Unusable."""
        with self._telling():
            sqlite_tables.forget_begun(self._connection(), oldest)
            return sqlite_tables.forget(self._connection(), limits, oldest)

    def room(self) -> int | None:
        """The bytes that the volume has for calls; None where that is not known, or another kind of trouble."""
        try:
            return volume_of(self._path).room(bytes_used(self._path))
        except OSError:
            return None

    def has_room(self) -> bool:
        """Whether the volume has enough left for tokens; before it begins, for a history too."""
        try:
            volume = volume_of(self._path)
        except OSError:  # whoever uses the file is told
            return True
        return not volume.is_short if self._path.exists() else volume.can_begin

    def empty_log(self) -> None:
        """Has all that is in the write-ahead log go into the file, and gives the log's room back."""
        if self._open is not None:
            with contextlib.suppress(sqlite3.Error):
                self._open[0].execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def give_up(self) -> int | None:
        """Removes the file where the volume has too little left for tokens, and lets go of it; how many calls were in
        it. None where nothing was removed: another process has done so, or the file is none of ours.
        """
        calls = None
        with contextlib.suppress(sqlite3.Error, OSError), _only_one(self._path.parent):
            if volume_of(self._path).is_short:
                calls = self._calls()
                # Before it is closed: SQLite must not write what is in its log into a file that goes.
                for end in ENDS:
                    self._path.with_name(self._path.name + end).unlink(missing_ok=True)
        self.close()
        return calls

    def _calls(self) -> int:
        """How many calls are in the file. Raises sqlite3.Error or OSError where it is none of ours."""
        if self._open is not None and self._open[1] == _identity(self._path):
            return sqlite_tables.kept(self._open[0])
        return _calls_in(self._path)

    def let_go_of_removed(self) -> None:
        """Closes the file if it was removed: before that its room is not free."""
        if self._open is not None and self._open[1] != _identity(self._path):
            self.close()

    def close(self) -> None:
        """Lets go of the file."""
        if self._open is not None:
            connection, self._open = self._open[0], None
            with contextlib.suppress(sqlite3.Error):
                connection.close()

    @contextlib.contextmanager
    def _telling(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as cause:
            if _code(cause) not in _PASSING:
                self.close()
            raise UnusableFile(_told(self._path, cause), is_busy=_code(cause) in _BUSY) from cause

    def _connection(self) -> sqlite3.Connection:
        if self._open is not None and self._open[1] == _identity(self._path):
            return self._open[0]
        self.close()
        _make(self._path)
        identity = _identity(self._path)
        if identity is None:
            raise FileNotFoundError
        connection = sqlite3.connect(self._path, timeout=PATIENCE, isolation_level=None)
        try:
            _prepare(connection, self._path)
            sqlite_tables.end_all(connection, self._process)  # of before the file was opened once more
        except (sqlite3.Error, OSError):
            connection.close()
            raise
        self._open, self._tracked = (connection, identity), set()
        return connection


def read(path: str | Path, query: HistoryQuery, *, keep: float, now: float, until: float) -> SearchResult:
    """The calls of the last `keep` seconds before `now` (since the epoch) that answer the query.

    The file may be in use; nothing is written. Raises Unsearchable, also when `until` (of `time.monotonic`) has come.
    """
    query = replace(query, since=max(FIRST, query.since, round((now - keep) * 1000)))
    if time.monotonic() > until:
        raise Unsearchable("too many searches at once; try again")
    try:
        uri = f"{_uri(path)}?mode=ro"
        with contextlib.closing(sqlite3.connect(uri, uri=True, timeout=PATIENCE, isolation_level=None)) as connection:
            connection.set_progress_handler(lambda: time.monotonic() > until, _STEPS)
            if not _is_ours(connection):
                return SearchResult((), 0, "file")
            lines = newest((*sqlite_tables.find(connection, query), *_lost(connection, query)), query.limit)
            return SearchResult(tuple(lines), sqlite_tables.kept(connection), "file")
    except (sqlite3.Error, OSError) as cause:
        if _code(cause) == sqlite3.SQLITE_INTERRUPT:
            raise Unsearchable("the search takes too long; narrow it by a time or a rarer value") from cause
        raise Unsearchable(_told(path, cause)) from cause


def _lost(connection: sqlite3.Connection, query: HistoryQuery) -> Sequence[bytes]:
    """The lines of calls that answer the query and whose process ended before they did."""
    begun = sqlite_tables.begun(connection)
    running = {process: is_running(process) for process, _ in begun}
    return filter_lines(query, [line for process, line in begun if not running[process]])


def _told(path: str | Path, cause: Exception) -> str:
    """What is wrong with the file. SQLite's own words name tables and conditions, never values."""
    said = cause.strerror if isinstance(cause, OSError) and cause.strerror else str(cause)
    is_broken = _code(cause) in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB} or isinstance(cause, ForeignFile)
    remedy = "; remove it, and another is made" if is_broken else ""
    return f"the history's file `{path}` cannot be used: {said} ({type(cause).__name__}){remedy}"


def _code(cause: Exception) -> int:
    """SQLite's primary error code, 0 of another error."""
    return getattr(cause, "sqlite_errorcode", 0) & 0xFF


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def _make(path: Path) -> None:
    """Makes an empty file for its owner alone; SQLite gives `-wal` and `-shm` the file's own mode.

    The log of a file that somebody removed must go first: SQLite would take it for the new one's. The folder is locked
    meanwhile, so that no other worker's new log goes with it. A file that is there is not opened: closing it again
    would drop the locks that SQLite has on it in this process.
    """
    if path.exists():
        return
    with _only_one(path.parent):
        if not path.exists():
            for end in ENDS[1:]:
                path.with_name(path.name + end).unlink(missing_ok=True)
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))


@contextlib.contextmanager
def _only_one(path: Path) -> Iterator[None]:
    """One process at a time makes or removes files in a folder."""
    folder = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def _calls_in(path: Path) -> int:
    """How many calls a file holds that is ours; its log is not read, which would need room. Raises sqlite3.Error or
    Foreign of any other.
    """
    with contextlib.closing(sqlite3.connect(f"{_uri(path)}?mode=ro&immutable=1", uri=True)) as connection:
        if not _is_ours(connection):
            raise ForeignFile("it is empty")
        return sqlite_tables.kept(connection)


def _uri(path: str | Path) -> str:
    return f"file:{quote(str(Path(path).absolute()))}"


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    """Makes the tables, and turns away a file that another program uses."""
    if not _is_ours(connection):
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")  # so that the file can become smaller again
        connection.executescript(sqlite_tables.TABLES)
    connection.execute(sqlite_tables.BEGUN)
    if path.stat().st_mode & 0o077:
        path.chmod(0o600)
    _write_ahead(connection)
    connection.execute(f"PRAGMA wal_autocheckpoint = {_LOG // 4096}")
    connection.execute(f"PRAGMA journal_size_limit = {_LOG}")
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("PRAGMA secure_delete = OFF")


def _is_ours(connection: sqlite3.Connection) -> bool:
    """False of an empty file. Raises Foreign of one that is somebody else's."""
    # In this order: another process may make the tables, and with them the rest, in between.
    [found] = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    [owner] = connection.execute("PRAGMA application_id").fetchone()
    [version] = connection.execute("PRAGMA user_version").fetchone()
    if owner != sqlite_tables.OURS and found:
        raise ForeignFile("it is another program's database")
    if owner == sqlite_tables.OURS and version > sqlite_tables.VERSION:
        raise ForeignFile("it was made by a newer gateway")
    return bool(owner == sqlite_tables.OURS)


def _write_ahead(connection: sqlite3.Connection) -> None:
    """Of processes that change to it at the same moment SQLite turns all but one away at once, whatever the limit."""
    until = time.monotonic() + PATIENCE
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as cause:
            if cause.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                raise
            time.sleep(0.005)
        else:
            return
