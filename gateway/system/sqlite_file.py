"""SQLite database files that processes of one machine share: creates them for their owner alone, opens and recognizes
them.

The file must lie on a local disk: SQLite's locks do not work over a network. It has a write-ahead log, so that readers
and a writer do not wait for each other.
"""

import contextlib
import fcntl
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

SUFFIXES = ("", "-wal", "-shm")
"""Suffixes of the database file itself, and of the files that SQLite keeps beside it."""


class ForeignDatabase(OSError):
    """The file belongs to another program, or to a gateway of another version."""


class SqliteFile:
    """The database file at `path`; used by one thread.

    `schema` is the script that creates the tables, and sets `application_id` and `version` in the same transaction.
    `configure` is called with each new connection. A writer waits `timeout` seconds for another process.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        application_id: int,
        schema: str,
        configure: Callable[[sqlite3.Connection], None],
        timeout: float,
        version: int = 0,
    ) -> None:
        self.path = Path(path)
        self._application_id = application_id
        self._version = version
        self._schema = schema
        self._configure = configure
        self._timeout = timeout
        self._open: tuple[sqlite3.Connection, tuple[int, int]] | None = None

    @property
    def open_connection(self) -> sqlite3.Connection | None:
        """Return the connection that is open, if any; the file may have been removed."""
        return None if self._open is None else self._open[0]

    def is_current(self) -> bool:
        """Return whether the open connection still leads to the file at the path: it may have been removed or
        replaced. What is written to a removed file is lost.
        """
        return self._open is not None and self._open[1] == _identity(self.path)

    def connection(self) -> sqlite3.Connection:
        """Return a connection to the file at the path; create the file if it does not exist. Raise sqlite3.Error or
        OSError.
        """
        if self._open is not None and self.is_current():
            return self._open[0]
        self.close()
        _create(self.path)
        identity = _identity(self.path)
        if identity is None:
            raise FileNotFoundError
        connection = sqlite3.connect(self.path, timeout=self._timeout, isolation_level=None)
        try:
            if not is_own_database(connection, self._application_id, self._version):
                connection.executescript(self._schema)
            if self.path.stat().st_mode & 0o077:
                self.path.chmod(0o600)
            self._write_ahead(connection)
            self._configure(connection)
        except (sqlite3.Error, OSError):
            connection.close()
            raise
        self._open = connection, identity
        return connection

    def close(self) -> None:
        """Close the connection, if any."""
        if self._open is not None:
            connection, self._open = self._open[0], None
            with contextlib.suppress(sqlite3.Error):
                connection.close()

    def _write_ahead(self, connection: sqlite3.Connection) -> None:
        """Switch to a write-ahead log. If processes do so at the same moment, SQLite refuses all but one at once,
        whatever the timeout.
        """
        end = time.monotonic() + self._timeout
        while True:
            try:
                connection.execute("PRAGMA journal_mode = WAL")
            except sqlite3.OperationalError as cause:
                if cause.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > end:
                    raise
                time.sleep(0.005)
            else:
                return


def is_own_database(connection: sqlite3.Connection, application_id: int, version: int) -> bool:
    """Return True for a database with this id and version, False for an empty one. Raise ForeignDatabase for another
    program's and for one with another version.
    """
    # In this order: another process may create the tables, and set the id with them, in between.
    [tables] = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    [owner] = connection.execute("PRAGMA application_id").fetchone()
    [found_version] = connection.execute("PRAGMA user_version").fetchone()
    if owner != application_id and tables:
        raise ForeignDatabase("it is the database of another program")
    if owner == application_id and found_version != version:
        raise ForeignDatabase(f"{'a newer' if found_version > version else 'an older'} gateway made it")
    return bool(owner == application_id)


@contextlib.contextmanager
def open_read_only(path: str | Path, *, timeout: float, is_immutable: bool = False) -> Iterator[sqlite3.Connection]:
    """Open a database file, which may be in use, for reading. A reader waits `timeout` seconds for another process.
    `is_immutable`: do not read the write-ahead log. Raise sqlite3.Error.
    """
    uri = f"file:{quote(str(Path(path).absolute()))}?mode=ro{'&immutable=1' if is_immutable else ''}"
    with contextlib.closing(sqlite3.connect(uri, uri=True, timeout=timeout, isolation_level=None)) as connection:
        yield connection


@contextlib.contextmanager
def open_in_memory() -> Iterator[sqlite3.Connection]:
    """Open an empty database that exists only in memory, until its end."""
    with contextlib.closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        yield connection


def primary_code(error: Exception) -> int:
    """Return SQLite's primary result code; 0 for any other error."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def error_text(error: Exception) -> str:
    """Return the text of an error of SQLite, which names tables and conditions, never values, or of the system."""
    return error.strerror if isinstance(error, OSError) and error.strerror else str(error)


@contextlib.contextmanager
def locked_folder(path: Path) -> Iterator[int]:
    """Hold the lock of a folder: one process at a time creates or removes database files in it."""
    folder = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield folder
    finally:
        os.close(folder)


def remove_database(path: Path) -> None:
    """Remove a database file with its log; with the folder locked."""
    for suffix in SUFFIXES:
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def _create(path: Path) -> None:
    """Create an empty file for its owner alone; SQLite gives `-wal` and `-shm` the same mode.

    The log of a file that was removed must go first: SQLite would take it for the log of the new one. An existing file
    is not opened: closing it again would drop the locks that SQLite has on it in this process.
    """
    if path.exists():
        return
    with locked_folder(path.parent) as folder:
        if not path.exists():
            remove_database(path)
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
            os.fsync(folder)  # without it, a crash could lose the name of the new file


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino
