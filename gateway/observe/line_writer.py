"""Lines on their way out: a bounded queue and a thread of its own, so that no reader of stdout can stall the loop.

No lock stands between the loop and the thread: a line may also come from a destructor (an unclosed socket's warning)
that the garbage collector runs in the middle of anything, where taking a lock twice would hang the process. What is
used instead, `deque.append` and `SimpleQueue.put`, is documented as safe there.

Several processes may share a pipe or a socket. What is longer than a pipe takes in one piece would mix with the lines
of the others, so each of them locks the target while it writes (POSIX record locks, which end with their process).
"""

import contextlib
import errno
import fcntl
import os
import select
import stat
import threading
import time
from collections import deque
from collections.abc import Iterator
from queue import Empty, SimpleQueue
from typing import Protocol

MAX_LINES = 10_000
MAX_BYTES = 16 * 1024 * 1024
INTERVAL = 0.05  # seconds in which lines gather before they are written at once
_BATCH = 256  # lines
_BUSY_PAUSE = 0.02  # a pipe that is full and non-blocking
_FAULT_PAUSE = 1.0  # a disk that is full, or worse
_LOCK_PAUSE = 0.001
_LOCK_LIMIT = 2.0  # a process that holds the lock of a target with room, and writes nothing, is stopped
_GONE = frozenset({errno.EPIPE, errno.ECONNRESET, errno.EBADF, errno.ENOTCONN})


class HasFileno(Protocol):
    """An open file, socket or pipe."""

    def fileno(self) -> int:
        """The number that the operating system knows it by."""


class LineWriter:
    """Writes whole lines to a file descriptor from a thread; `write` never blocks, never raises, and is thread-safe.

    At most `max_lines` lines or `max_bytes` bytes wait; beyond that, or when the reader is gone for good, lines are
    dropped and counted in `lost`. A busy or full target is tried again from the very byte where it stopped.
    """

    __slots__ = (
        *("lost", "_abandoned", "_bell", "_closing", "_descriptor", "_given", "_idle", "_interval", "_is_file"),
        "_is_stream",
        *("_max_bytes", "_max_lines", "_pending", "_sending", "_taken", "_thread"),
    )

    def __init__(
        self,
        target: int | HasFileno,
        *,
        interval: float = INTERVAL,
        max_lines: int = MAX_LINES,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        # Of our own: when the target is closed under us, its number may soon belong to a caller's socket.
        self._descriptor = os.dup(target if isinstance(target, int) else target.fileno())
        mode = os.fstat(self._descriptor).st_mode
        self._is_file = stat.S_ISREG(mode)
        self._is_stream = stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)
        self._interval = interval
        self._max_lines = max_lines
        self._max_bytes = max_bytes
        self._pending: deque[bytes] = deque()
        self._bell: SimpleQueue[None] = SimpleQueue()
        self._taken = self._given = self._sending = self.lost = 0
        self._idle = self._closing = self._abandoned = False
        self._thread = threading.Thread(target=self._run, name="line-writer", daemon=True)
        self._thread.start()

    def write(self, data: bytes) -> None:
        """Queues `data`, one or more whole lines; they are out within the interval if the target takes them."""
        size = len(data)
        if len(self._pending) >= self._max_lines or self._taken - self._given + size > self._max_bytes:
            self.lost += 1
            return
        self._pending.append(data)
        self._taken += size
        if self._idle:  # rings once per batch, not once per line
            self._idle = False
            self._bell.put(None)

    def close(self, timeout: float) -> bool:
        """Takes no more lines and waits up to `timeout` seconds (blocking) for the rest to go out.

        True when all are out; else those left are counted as lost and the thread is left to itself.
        """
        self._max_lines = 0
        self._closing = True
        self._bell.put(None)
        self._thread.join(timeout)
        if not self._thread.is_alive():
            return True
        self._abandoned = True
        self.lost += len(self._pending) + self._sending
        return False

    def _run(self) -> None:
        while not self._closing:
            self._idle = True
            if not self._pending:  # looked at after `_idle` is set: a line that came before has not rung
                self._bell.get()
            self._idle = False
            self._pause(self._interval)
            self._drain()
        self._drain()
        os.close(self._descriptor)

    def _drain(self) -> None:
        while self._pending and not self._abandoned:
            lines = self._batch()
            self._sending = len(lines)
            data = b"".join(lines)
            with self._locked():
                if not self._send(memoryview(data)) and not self._abandoned:
                    self.lost += len(lines)
            self._sending = 0
            self._given += len(data)

    def _batch(self) -> list[bytes]:
        """The lines of the next write. Into anything but a file go no more than a pipe takes in one piece (PIPE_BUF,
        POSIX write): several processes may share it, and their lines must not mix.
        """
        take = self._pending.popleft
        if self._is_file:
            return [take() for _ in range(min(len(self._pending), _BATCH))]
        lines = [take()]
        size = len(lines[0])
        while self._pending and (size := size + len(self._pending[0])) <= select.PIPE_BUF:
            lines.append(take())
        return lines

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Keeps other processes from writing to a stream. Without the lock where the system has none, and where a
        stopped process holds it: its line may break, the lines of the others go on.
        """
        is_locked = self._is_stream and self._lock()
        try:
            yield
        finally:
            if is_locked:
                with contextlib.suppress(OSError):
                    fcntl.lockf(self._descriptor, fcntl.LOCK_UN)

    def _lock(self) -> bool:
        until = time.monotonic() + _LOCK_LIMIT
        while not self._abandoned:
            try:
                fcntl.lockf(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if not _has_room(self._descriptor):  # who holds it waits for the reader
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
        """Whether all of it went out; false when nobody will ever read it, or nobody waits for it any more."""
        while rest and not self._abandoned:
            try:
                rest = rest[os.write(self._descriptor, rest) :]
            except BlockingIOError:
                self._pause(_BUSY_PAUSE)
            except OSError as error:
                if error.errno in _GONE:
                    return False
                self._pause(_BUSY_PAUSE if self._closing else _FAULT_PAUSE)
        return not rest

    def _pause(self, seconds: float) -> None:
        """Waits, less long when the writer is being closed."""
        try:
            self._bell.get(timeout=min(seconds, _BUSY_PAUSE) if self._closing else seconds)
        except Empty:
            return


def _has_room(descriptor: int) -> bool:
    """Whether a write would not have to wait."""
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    return bool(poll.poll(0))
