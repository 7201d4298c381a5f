"""A backend in an SQLite file, for the workers of one machine; its content outlives a restart.

One thread of the backend does all the work; no other thread uses the connection. A durable entry is on the disk before
the call returns (`synchronous = FULL`); a token or a lease may be lost if the machine fails (`NORMAL`), since its write
does not wait for the disk.

On a full volume the backend continues with the space that it has: space for the file and its write-ahead log is
allocated in advance, an entry replaces the one before, and the log is short and restarts at its beginning.
"""

import asyncio
import contextlib
import os
import sqlite3
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

from gateway.oauth.clock import Clock
from gateway.oauth.store import StoreDown
from gateway.oauth.stores.backend_interface import MAX_ENTRY_BYTES, MAX_LEASE
from gateway.system.files import DaemonThreads
from gateway.system.sqlite_file import SqliteFile, error_text, primary_code

T = TypeVar("T")

LOCK_TIMEOUT = 5.0
"""Seconds to wait for another process that writes; `FallbackStore` waits less, except for a refresh token."""

_LOG_PAGES = 64  # in the write-ahead log before they go into the file
_PREALLOCATED = 256 * 1024  # bytes of file and log that the volume provides before they are needed
_MIN_FREE = 2 * _PREALLOCATED  # bytes that a volume needs for the file, its log and their index
_APPLICATION_ID = 0x4F49_4347  # "OICG"
_SCHEMA = f"""
BEGIN IMMEDIATE;
CREATE TABLE IF NOT EXISTS entry (name TEXT PRIMARY KEY, data BLOB NOT NULL, until REAL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS lease (name TEXT PRIMARY KEY, owner TEXT NOT NULL, since REAL NOT NULL, until REAL NOT NULL)
    WITHOUT ROWID;
PRAGMA application_id = {_APPLICATION_ID};
COMMIT;
"""
# SQLite stores the length of a blob beside it: a blob that is too long is not read.
_READ = """
SELECT CASE WHEN typeof(data) = 'blob' AND length(data) <= ? THEN data ELSE x'' END
FROM entry WHERE name = ? AND (until IS NULL OR until > ?)
"""
_WRITE = "INSERT OR REPLACE INTO entry (name, data, until) VALUES (?, ?, ?)"
_DELETE_EXPIRED = "DELETE FROM entry WHERE until <= ?"
_DELETE_IF_EQUAL = "DELETE FROM entry WHERE name = ? AND data = ?"
_DELETE = "DELETE FROM entry WHERE name = ?"
# One statement, so that no two processes both get the lease. A lease that began in the future was claimed before the
# clock was set back, and would outlive its end by as much. One that ends too late was not written by the gateway.
_CLAIM = """
INSERT INTO lease (name, owner, since, until) VALUES (:name, :owner, :now, :now + :seconds)
ON CONFLICT (name) DO UPDATE SET owner = :owner, since = :now, until = :now + :seconds
WHERE lease.owner = :owner OR lease.until <= :now OR lease.since > :now + 1
    OR lease.until > lease.since + max(:seconds, :longest)
"""
_RELEASE = "DELETE FROM lease WHERE name = ? AND owner = ?"


class FileBackend:
    """A `Backend` in the file `path`, which is created for its owner alone if it does not exist."""

    kind = "file"

    def __init__(self, path: str | Path, *, clock: Clock) -> None:
        self._path = Path(path)
        self._clock = clock
        self._thread = DaemonThreads(1, name="state")
        self._file = SqliteFile(
            path, application_id=_APPLICATION_ID, schema=_SCHEMA, configure=_configure, timeout=LOCK_TIMEOUT
        )

    async def read(self, name: str) -> bytes | None:
        """Return what was written last, unless it has expired."""
        rows = await self._execute(_READ, (MAX_ENTRY_BYTES, name, self._clock.wall()))
        data = rows[0][0] if rows else None
        assert data is None or isinstance(data, bytes)
        return data

    async def write(self, name: str, data: bytes, *, seconds: float | None) -> None:
        """Write an entry, and delete all expired ones."""
        now = self._clock.wall()
        await self._execute(_DELETE_EXPIRED, (now,))
        until = None if seconds is None else now + seconds
        await self._execute(_WRITE, (name, data, until), is_durable=until is None)

    async def delete_if_equal(self, name: str, data: bytes) -> None:
        """Delete the entry if it is exactly `data`, in one step."""
        await self._execute(_DELETE_IF_EQUAL, (name, data))

    async def remove(self, name: str) -> None:
        """Delete the entry durably."""
        await self._execute(_DELETE, (name,), is_durable=True)

    async def claim(self, name: str, *, owner: str, seconds: float) -> bool:
        """Claim or extend a lease."""
        values = {"name": name, "owner": owner, "now": self._clock.wall(), "seconds": seconds, "longest": MAX_LEASE}
        return await self._run(lambda connection: connection.execute(_CLAIM, values).rowcount) > 0

    async def release(self, name: str, *, owner: str) -> None:
        """Release a lease of this owner."""
        await self._execute(_RELEASE, (name, owner))

    async def check(self, name: str) -> None:  # noqa: ARG002 - nothing is written
        """Return if the file can be used: acquire the lock of a writer, and write nothing."""
        await self._run(_acquire_lock)

    async def close(self) -> None:
        """Close the file."""
        await asyncio.wrap_future(self._thread.submit(self._file.close))
        self._thread.shutdown()

    async def _execute(
        self, statement: str, values: tuple[object, ...], *, is_durable: bool = False
    ) -> list[tuple[object, ...]]:
        def work(connection: sqlite3.Connection) -> list[tuple[object, ...]]:
            connection.execute(f"PRAGMA synchronous = {'FULL' if is_durable else 'NORMAL'}")
            return connection.execute(statement, values).fetchall()

        return await self._run(work)

    async def _run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        return await asyncio.wrap_future(self._thread.submit(partial(self._run_in_thread, work)))

    def _run_in_thread(self, work: Callable[[sqlite3.Connection], T]) -> T:
        try:
            return self._retry_if_full(work)
        except (sqlite3.Error, OSError) as cause:
            if not _is_full(cause):  # on a full volume there may be no space to create the log again
                self._file.close()
            raise StoreDown(_explain(self._path, cause)) from cause

    def _retry_if_full(self, work: Callable[[sqlite3.Connection], T]) -> T:
        connection = self._file.connection()
        try:
            return work(connection)
        except sqlite3.Error as cause:
            if not _is_full(cause):
                raise
        connection.execute("PRAGMA wal_checkpoint(RESTART)").fetchall()
        return work(connection)


def _acquire_lock(connection: sqlite3.Connection) -> None:
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("ROLLBACK")


def _configure(connection: sqlite3.Connection) -> None:
    connection.execute(f"PRAGMA wal_autocheckpoint = {_LOG_PAGES}")
    with contextlib.suppress(sqlite3.OperationalError):  # no space, or another process writes: continue without it
        connection.execute(_WRITE, ("", bytes(_PREALLOCATED), 0.0))
        connection.execute(_DELETE, ("",))
        connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()


def _is_full(error: Exception) -> bool:
    return primary_code(error) == sqlite3.SQLITE_FULL


def _explain(path: Path, error: Exception) -> str:
    remedy = "; its volume is full: make room" if _has_no_space(path) else ""
    return f"the state file `{path}` cannot be used: {error_text(error)}{remedy}"


def _has_no_space(path: Path) -> bool:
    """Return whether the volume has less space than SQLite needs to open a file: SQLite then reports `disk I/O
    error`.
    """
    with contextlib.suppress(OSError):
        volume = os.statvfs(path.parent)
        return volume.f_bavail * volume.f_frsize < _MIN_FREE
    return False
