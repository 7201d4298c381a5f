"""A shelf in an SQLite file, for the workers of one machine; it is kept over restarts.

The file must lie on a disk of this machine: SQLite's locks do not work over a network. All work is done in one thread
of the shelf's own, which alone touches the connection. What is durable is on the disk before it is told
(`synchronous = FULL`); a token or a lease may be lost with the machine (`NORMAL`), and waits for no disk.

On a full volume it goes on with the room that it has: file and write-ahead log have some ahead of need, an entry takes
the place of the one before, and the log, which is kept short, begins again at its start.
"""

import asyncio
import contextlib
import os
import sqlite3
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

from gateway.oauth.clock import Clock
from gateway.oauth.store import StoreDown
from gateway.oauth.stores.backend_interface import LONGEST_LEASE, MOST_BYTES
from gateway.system.files import DaemonThreads

T = TypeVar("T")

PATIENCE = 5.0
"""Seconds to wait for another process that writes; `Sharing` waits less long for anything but a refresh token."""

_LOG_PAGES = 64  # in the write-ahead log before they go into the file
_AHEAD = 256 * 1024  # bytes of file and log that the volume gives before they are needed
_ROOM = 2 * _AHEAD  # bytes that a volume needs for the file, its log and their index
_OURS = 0x4F49_4347  # "OICG", SQLite's application_id
_TABLES = f"""
BEGIN IMMEDIATE;
CREATE TABLE IF NOT EXISTS entry (name TEXT PRIMARY KEY, data BLOB NOT NULL, until REAL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS lease (name TEXT PRIMARY KEY, owner TEXT NOT NULL, since REAL NOT NULL, until REAL NOT NULL)
    WITHOUT ROWID;
PRAGMA application_id = {_OURS};
COMMIT;
"""
# The length of a blob stands beside it: one that is too long is not read.
_READ = """
SELECT CASE WHEN typeof(data) = 'blob' AND length(data) <= ? THEN data ELSE x'' END
FROM entry WHERE name = ? AND (until IS NULL OR until > ?)
"""
_WRITE = "INSERT OR REPLACE INTO entry (name, data, until) VALUES (?, ?, ?)"
_FORGET = "DELETE FROM entry WHERE until <= ?"
_TAKE = "DELETE FROM entry WHERE name = ? AND data = ?"
_REMOVE = "DELETE FROM entry WHERE name = ?"
# One statement, so no two processes can both be told yes. A lease that began in the future was claimed before the
# clock was set back: it would outlive its end by as much. One that ends too late is no lease of ours.
_CLAIM = """
INSERT INTO lease (name, owner, since, until) VALUES (:name, :owner, :now, :now + :seconds)
ON CONFLICT (name) DO UPDATE SET owner = :owner, since = :now, until = :now + :seconds
WHERE lease.owner = :owner OR lease.until <= :now OR lease.since > :now + 1
    OR lease.until > lease.since + max(:seconds, :longest)
"""
_RELEASE = "DELETE FROM lease WHERE name = ? AND owner = ?"


class FileBackend:
    """The file `path`, made for its owner alone where it does not exist; see `Shelf`."""

    kind = "file"

    def __init__(self, path: str | Path, *, clock: Clock) -> None:
        self._path = Path(path)
        self._clock = clock
        self._thread = DaemonThreads(1, name="state")
        self._file: tuple[sqlite3.Connection, tuple[int, int]] | None = None

    async def read(self, name: str) -> bytes | None:
        """See `Shelf`; not what should be forgotten by now."""
        rows = await self._run(_READ, (MOST_BYTES, name, self._clock.wall()))
        data = rows[0][0] if rows else None
        assert data is None or isinstance(data, bytes)
        return data

    async def write(self, name: str, data: bytes, *, seconds: float | None) -> None:
        """See `Shelf`. What should be forgotten is, on this occasion."""
        now = self._clock.wall()
        await self._run(_FORGET, (now,))
        until = None if seconds is None else now + seconds
        await self._run(_WRITE, (name, data, until), is_durable=until is None)

    async def delete_if_equal(self, name: str, data: bytes) -> None:
        """See `Shelf`."""
        await self._run(_TAKE, (name, data))

    async def remove(self, name: str) -> None:
        """See `Shelf`."""
        await self._run(_REMOVE, (name,), is_durable=True)

    async def claim(self, name: str, *, owner: str, seconds: float) -> bool:
        """See `Shelf`."""
        values = {"name": name, "owner": owner, "now": self._clock.wall(), "seconds": seconds, "longest": LONGEST_LEASE}
        return await self._done(lambda connection: connection.execute(_CLAIM, values).rowcount) > 0

    async def release(self, name: str, *, owner: str) -> None:
        """See `Shelf`."""
        await self._run(_RELEASE, (name, owner))

    async def check(self, name: str) -> None:  # noqa: ARG002 - nothing is written
        """See `Shelf`; takes the lock of a writer, and writes nothing."""
        await self._done(_have_lock)

    async def close(self) -> None:
        """See `Shelf`."""
        await asyncio.wrap_future(self._thread.submit(self._let_go))
        self._thread.shutdown()

    async def _run(
        self, statement: str, values: tuple[object, ...], *, is_durable: bool = False
    ) -> list[tuple[object, ...]]:
        def work(connection: sqlite3.Connection) -> list[tuple[object, ...]]:
            connection.execute(f"PRAGMA synchronous = {'FULL' if is_durable else 'NORMAL'}")
            return connection.execute(statement, values).fetchall()

        return await self._done(work)

    async def _done(self, work: Callable[[sqlite3.Connection], T]) -> T:
        return await asyncio.wrap_future(self._thread.submit(partial(self._work, work)))

    # In the thread --------------------------------------------------------------------------------------------------

    def _work(self, work: Callable[[sqlite3.Connection], T]) -> T:
        try:
            return self._tried(work)
        except (sqlite3.Error, OSError) as cause:
            if not _is_full(cause):  # the log that would have to be made again may find no room
                self._let_go()
            raise StoreDown(_why(self._path, cause)) from cause

    def _tried(self, work: Callable[[sqlite3.Connection], T]) -> T:
        connection = self._connection()
        try:
            return work(connection)
        except sqlite3.Error as cause:
            if not _is_full(cause):
                raise
        connection.execute("PRAGMA wal_checkpoint(RESTART)").fetchall()
        return work(connection)

    def _connection(self) -> sqlite3.Connection:
        """The open connection, unless the file has been removed or replaced meanwhile: what is written to a removed
        file is lost.
        """
        if self._file is not None and self._file[1] == _identity(self._path):
            return self._file[0]
        self._let_go()
        _make(self._path)
        identity = _identity(self._path)
        assert identity is not None
        connection = sqlite3.connect(self._path, timeout=PATIENCE, isolation_level=None)
        try:
            _prepare(connection, self._path)
        except (sqlite3.Error, OSError):
            connection.close()
            raise
        self._file = connection, identity
        return connection

    def _let_go(self) -> None:
        if self._file is not None:
            connection, self._file = self._file[0], None
            connection.close()


def _have_lock(connection: sqlite3.Connection) -> None:
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("ROLLBACK")


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def _make(path: Path) -> None:
    """Makes the file for its owner alone from the first instant; SQLite gives `-wal` and `-shm` the file's own mode.

    A file that is there is not opened: closing it again would drop the locks that SQLite has on it in this process.
    """
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except FileExistsError:
        return
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # a file whose name is lost is lost
    finally:
        os.close(folder)


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    """Makes the tables, and turns away a file that another program uses."""
    # In this order: another process may make the tables meanwhile, and says whose they are in the same transaction.
    [tables] = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    [owner] = connection.execute("PRAGMA application_id").fetchone()
    if owner != _OURS and tables:
        raise OSError("it is another program's database")
    if path.stat().st_mode & 0o077:
        path.chmod(0o600)
    if owner != _OURS:
        connection.executescript(_TABLES)
    _write_ahead(connection)
    connection.execute(f"PRAGMA wal_autocheckpoint = {_LOG_PAGES}")
    with contextlib.suppress(sqlite3.OperationalError):  # no room, or another process writes: it does without
        connection.execute(_WRITE, ("", bytes(_AHEAD), 0.0))
        connection.execute(_REMOVE, ("",))
        connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()


def _write_ahead(connection: sqlite3.Connection) -> None:
    """Readers never wait for a writer. Of processes that change to it at the same moment SQLite turns all but one away
    at once, whatever the time limit.
    """
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


def _is_full(cause: Exception) -> bool:
    return getattr(cause, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_FULL


def _why(path: Path, cause: Exception) -> str:
    """SQLite's own words name tables and conditions, never values."""
    said = cause.strerror if isinstance(cause, OSError) and cause.strerror else str(cause)
    remedy = "; its volume is full: make room" if _has_no_room(path) else ""
    return f"the state file `{path}` cannot be used: {said}{remedy}"


def _has_no_room(path: Path) -> bool:
    """Whether the volume has less room than SQLite needs to open a file: it then says `disk I/O error`."""
    with contextlib.suppress(OSError):
        found = os.statvfs(path.parent)
        return found.f_bavail * found.f_frsize < _ROOM
    return False
