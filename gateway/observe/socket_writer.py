"""Send log lines to the socket of a receiver (syslog, journald) in a thread."""

import contextlib
import errno
import select
import socket
import time
from collections.abc import Callable
from typing import Protocol

from gateway.observe.line_queue import MAX_BYTES, MAX_LINES, LineQueue

RETRY_PAUSE = 1.0
"""Seconds between two attempts to connect."""
OUTAGE_AFTER = 10.0
"""Seconds without an accepted byte after which an outage is reported."""
_CLOSING_PAUSE = 0.02
_STALL_PAUSE = 0.5  # seconds between two looks at a receiver that reads nothing


class LineConnection(Protocol):
    """A connection to a receiver; its socket does not block."""

    socket: socket.socket

    def has_ended(self) -> bool:
        """Return whether the receiver has closed the connection: a line that is sent then would be lost."""

    def frame(self, line: bytes, /) -> bytes:
        """Return the bytes that carry a line."""

    def send(self, data: memoryview) -> int:
        """Send bytes of a frame and return how many were accepted. Raise BlockingIOError if none, or OSError."""


class SocketWriter:
    """Sends whole lines to a receiver. `write` never blocks and never raises.

    While the receiver is away or reads nothing, lines wait in the queue; when it is full, further ones are dropped and
    counted in `lost`. On a new connection, an unfinished frame begins again. `connect` raises OSError.

    The thread calls `on_outage` with the cause if the receiver accepts nothing for `OUTAGE_AFTER`, and then
    `on_recovery` with the number of lines that were lost meanwhile.
    """

    def __init__(
        self, connect: Callable[[], LineConnection], *, max_lines: int = MAX_LINES, max_bytes: int = MAX_BYTES
    ) -> None:
        self.on_outage: Callable[[str], None] = lambda _: None
        self.on_recovery: Callable[[int], None] = lambda _: None
        self._connect = connect
        self._connection: LineConnection | None = None
        self._too_long = 0
        self._failing_since: float | None = None
        self._lost_before = 0
        self._is_reported = False
        self._queue = LineQueue(self._run, name="log-sender", max_lines=max_lines, max_bytes=max_bytes)
        self.write, self.write_all = self._queue.put, self._queue.put_all
        """Queue a line, or several."""
        self._queue.start()

    @property
    def lost(self) -> int:
        """Number of lines that were dropped."""
        return self._queue.refused + self._too_long

    def close(self, timeout: float) -> bool:
        """Refuse further lines, and block up to `timeout` seconds until all are sent. Return whether they are."""
        return self._queue.close(timeout)

    def _run(self) -> None:
        queue = self._queue
        while not queue.closing:
            queue.wait_for_work()
            self._drain()
        self._drain()
        self._disconnect()

    def _drain(self) -> None:
        queue = self._queue
        while queue.pending and not queue.abandoned:
            if self._deliver(queue.pending[0]):
                queue.release(len(queue.pending.popleft()))
                self._end_failure()  # now the queue has room for its report
            else:
                queue.pause(_CLOSING_PAUSE if queue.closing else RETRY_PAUSE)

    def _deliver(self, line: bytes) -> bool:
        """Send a line, by a new connection if the present one is broken. Return False if the receiver is away."""
        with contextlib.suppress(OSError):
            if self._connection is not None and not self._connection.has_ended() and self._send(line, self._connection):
                return True
        self._disconnect()
        if self._queue.abandoned:
            return False
        try:
            self._connection = self._connect()
            return self._send(line, self._connection)
        except (OSError, UnicodeError) as error:  # the latter: a host name that IDNA cannot encode
            self._disconnect()
            self._note_failure(getattr(error, "strerror", None) or str(error))
            return False

    def _send(self, line: bytes, connection: LineConnection) -> bool:
        """Send a whole frame. Return False if the thread was abandoned."""
        rest = memoryview(connection.frame(line))
        while rest and not self._queue.abandoned:
            try:
                rest = rest[connection.send(rest) :]
            except BlockingIOError:
                if not _wait_writable(connection.socket):
                    self._note_failure("it reads nothing")
            except OSError as error:
                if error.errno != errno.EMSGSIZE:
                    raise
                self._too_long += 1
                return True
        return not rest

    def _note_failure(self, cause: str) -> None:
        now = time.monotonic()
        if self._failing_since is None:
            self._failing_since, self._lost_before = now, self.lost
        if now - self._failing_since >= OUTAGE_AFTER and not self._is_reported and not self._queue.closing:
            self._is_reported = True
            self.on_outage(cause)

    def _end_failure(self) -> None:
        self._failing_since = None
        if self._is_reported:
            self._is_reported = False
            self.on_recovery(self.lost - self._lost_before)

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.socket.close()
            self._connection = None


def connect_path(path: str, kind: socket.SocketKind) -> socket.socket:
    """Return a socket that is connected to a unix socket and does not block. Raise OSError."""
    connection = socket.socket(socket.AF_UNIX, kind)
    try:
        connection.setblocking(False)  # noqa: FBT003 - Python's own
        connection.connect(path)
    except OSError:
        connection.close()
        raise
    return connection


def _wait_writable(connection: socket.socket) -> bool:
    """Wait until a send may succeed, or for a short time. Return whether it may."""
    poll = select.poll()
    poll.register(connection, select.POLLOUT)
    return bool(poll.poll(_STALL_PAUSE * 1000))
