"""Write log lines to a file descriptor or a log file in a thread.

Several processes may share a pipe or a socket. A write of more than PIPE_BUF bytes could mix with their lines.
Therefore each process locks the target while it writes (POSIX record locks, which the kernel releases when the process
ends).
"""

import contextlib
import errno
import fcntl
import os
import select
import stat
import time
from collections.abc import Iterator
from typing import Protocol

from gateway.observe.line_queue import MAX_BYTES, MAX_LINES, LineQueue
from gateway.observe.log_file import LogFile

WRITE_INTERVAL = 0.05  # seconds between two writes
_MAX_BATCH = 256  # lines
_BUSY_PAUSE = 0.02  # seconds after a non-blocking pipe was full
_ERROR_PAUSE = 1.0  # seconds after a full disk or another error
_LOCK_PAUSE = 0.001
_LOCK_LIMIT = 2.0  # seconds; a process that holds the lock longer, while the target is writable, is stopped
_NO_READER = frozenset({errno.EPIPE, errno.ECONNRESET, errno.EBADF, errno.ENOTCONN})


class HasFileno(Protocol):
    """An open file, socket or pipe."""

    def fileno(self) -> int:
        """Return the file descriptor."""


class LineWriter:
    """Writes whole lines to a file descriptor or a `LogFile` in a thread. `write` never blocks, never raises, and is
    thread-safe.

    Lines are dropped and counted in `lost` if the queue is full or the reader of the target has left. If the target was
    busy or full, writing continues with the first unwritten byte.
    """

    __slots__ = (
        *("_descriptor", "_file", "_interval", "_is_file", "_is_stream", "_queue", "_sending", "_unwritten"),
        *("write", "write_all"),
    )

    def __init__(
        self,
        target: int | HasFileno | LogFile,
        *,
        interval: float = WRITE_INTERVAL,
        max_lines: int = MAX_LINES,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        self._file = target if isinstance(target, LogFile) else None
        # A duplicate: if other code closes the target, its number may be reused for the socket of a caller.
        self._descriptor = (
            target.descriptor
            if isinstance(target, LogFile)
            else os.dup(target if isinstance(target, int) else target.fileno())
        )
        mode = os.fstat(self._descriptor).st_mode
        self._is_file = stat.S_ISREG(mode)
        self._is_stream = stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)
        self._interval = interval
        self._sending = self._unwritten = 0
        self._queue = LineQueue(self._run, name="line-writer", max_lines=max_lines, max_bytes=max_bytes)
        self.write, self.write_all = self._queue.put, self._queue.put_all
        """Queue a line, or several."""
        self._queue.start()

    @property
    def lost(self) -> int:
        """Number of lines that were dropped."""
        return self._queue.refused + self._unwritten

    def close(self, timeout: float) -> bool:
        """Refuse further lines, and block up to `timeout` seconds until all are written. Return whether they are.

        If not, the other lines count as lost, and the thread is abandoned.
        """
        if self._queue.close(timeout):
            return True
        self._unwritten += self._sending
        return False

    def _run(self) -> None:
        while not self._queue.closing:
            self._queue.wait_for_work()
            self._pause(self._interval)
            self._drain()
        self._drain()
        os.close(self._descriptor)

    def _drain(self) -> None:
        queue = self._queue
        while queue.pending and not queue.abandoned:
            lines = self._next_batch()
            self._sending = len(lines)
            data = b"".join(lines)
            if self._file is not None:
                self._descriptor = self._file.prepare()
            with self._locked():
                if not self._send(memoryview(data)) and not queue.abandoned:
                    self._unwritten += len(lines)
            self._sending = 0
            queue.release(len(data))

    def _next_batch(self) -> list[bytes]:
        """Return the lines of the next write: at most PIPE_BUF bytes, which POSIX does not mix with other writes, or
        one longer line. A write to a file has no such limit.
        """
        pending = self._queue.pending
        if self._is_file:
            return [pending.popleft() for _ in range(min(len(pending), _MAX_BATCH))]
        lines = [pending.popleft()]
        size = len(lines[0])
        while pending and (size := size + len(pending[0])) <= select.PIPE_BUF:
            lines.append(pending.popleft())
        return lines

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold the lock on a stream. Continue without the lock if the system has none, or if a stopped process holds
        it: then only a line of that process can be broken.
        """
        is_locked = self._is_stream and self._acquire_lock()
        try:
            yield
        finally:
            if is_locked:
                with contextlib.suppress(OSError):
                    fcntl.lockf(self._descriptor, fcntl.LOCK_UN)

    def _acquire_lock(self) -> bool:
        until = time.monotonic() + _LOCK_LIMIT
        while not self._queue.abandoned:
            try:
                fcntl.lockf(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if not _is_writable(self._descriptor):  # its holder waits for the reader
                    until = time.monotonic() + _LOCK_LIMIT
                elif time.monotonic() > until:
                    return False
                time.sleep(_LOCK_PAUSE)
            except OSError:
                return False
            else:
                return True
        return False

    def _send(self, rest: memoryview) -> bool:
        """Write all of it. Return False if the reader of the target has left, or if the thread was abandoned."""
        while rest and not self._queue.abandoned:
            try:
                rest = rest[os.write(self._descriptor, rest) :]
            except BlockingIOError:
                self._pause(_BUSY_PAUSE)
            except OSError as error:
                if error.errno in _NO_READER:
                    return False
                self._pause(_BUSY_PAUSE if self._queue.closing else _ERROR_PAUSE)
        return not rest

    def _pause(self, seconds: float) -> None:
        """Wait this time, or less while the writer is closed."""
        self._queue.pause(min(seconds, _BUSY_PAUSE) if self._queue.closing else seconds)


def _is_writable(descriptor: int) -> bool:
    """Return whether a write would not block."""
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    return bool(poll.poll(0))
