"""Send log lines to the socket of a receiver (syslog, journald) in a thread."""

import contextlib
import errno
import select
import socket
from collections.abc import Callable
from typing import Protocol

from gateway.observe.line_queue import MAX_BYTES, MAX_LINES, LineQueue

RETRY_PAUSE = 1.0
"""Seconds between two attempts to connect."""
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
    """

    def __init__(
        self, connect: Callable[[], LineConnection], *, max_lines: int = MAX_LINES, max_bytes: int = MAX_BYTES
    ) -> None:
        self._connect = connect
        self._connection: LineConnection | None = None
        self._too_long = 0
        self._queue = LineQueue(self._run, name="log-sender", max_lines=max_lines, max_bytes=max_bytes)
        self._queue.start()

    @property
    def lost(self) -> int:
        """Number of lines that were dropped."""
        return self._queue.refused + self._too_long

    def write(self, data: bytes) -> None:
        """Queue a line."""
        self._queue.put(data)

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
        except (OSError, UnicodeError):  # the latter: a host name that IDNA cannot encode
            self._disconnect()
            return False

    def _send(self, line: bytes, connection: LineConnection) -> bool:
        """Send a whole frame. Return False if the thread was abandoned."""
        rest = memoryview(connection.frame(line))
        while rest and not self._queue.abandoned:
            try:
                rest = rest[connection.send(rest) :]
            except BlockingIOError:
                _wait_writable(connection.socket)
            except OSError as error:
                if error.errno != errno.EMSGSIZE:
                    raise
                self._too_long += 1
                return True
        return not rest

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


def _wait_writable(connection: socket.socket) -> None:
    """Wait until a send may succeed, or for a short time."""
    poll = select.poll()
    poll.register(connection, select.POLLOUT)
    poll.poll(_STALL_PAUSE * 1000)
