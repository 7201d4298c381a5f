"""Send log lines to a syslog receiver in a thread: RFC 5424 messages, over a unix datagram socket, or over TCP with
octet counting (RFC 6587 §3.4.1).
"""

import errno
import os
import select
import socket
from collections.abc import Callable

from gateway.observe.line_queue import MAX_BYTES, MAX_LINES, LineQueue

NAME = "oic-gateway"
RETRY_PAUSE = 1.0
"""Seconds between two attempts to connect."""
_CLOSING_PAUSE = 0.02
_SEND_TIMEOUT = 10.0
_LOCAL0 = 16
_SEVERITIES = {"debug": 7, "info": 6, "warning": 4, "error": 3, "critical": 2}  # RFC 5424 §6.2.1


def syslog_message(line: bytes, *, level: str, time: str, event: str, host: str, process: int) -> bytes:
    """Return a line as an RFC 5424 message of the facility local0; `event` is its MSGID."""
    priority = _LOCAL0 * 8 + _SEVERITIES.get(level, 6)
    return f"<{priority}>1 {time} {host} {NAME} {process} {event[:32]} - ".encode() + line.rstrip(b"\n")


class SyslogWriter:
    """Sends whole messages to `unix:/path` or to a TCP address (host, port). `write` never blocks and never raises.

    While the receiver is away, messages wait in the queue; when it is full, further ones are dropped and counted in
    `lost`.
    """

    def __init__(
        self, address: str | tuple[str, int], *, max_lines: int = MAX_LINES, max_bytes: int = MAX_BYTES
    ) -> None:
        self._address = address
        self._socket: socket.socket | None = None
        self._too_long = 0
        self._queue = LineQueue(self._run, name="syslog", max_lines=max_lines, max_bytes=max_bytes)
        self._frame: Callable[[bytes], bytes] = _identity if isinstance(address, str) else _count_octets
        self._queue.start()

    @property
    def lost(self) -> int:
        """Number of messages that were dropped."""
        return self._queue.refused + self._too_long

    def write(self, data: bytes) -> None:
        """Queue a message."""
        self._queue.put(self._frame(data))

    def close(self, timeout: float) -> bool:
        """Refuse further messages, and block up to `timeout` seconds until all are sent. Return whether they are."""
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
            if not self._send(queue.pending[0]):
                queue.pause(_CLOSING_PAUSE if queue.closing else RETRY_PAUSE)
                continue
            queue.release(len(queue.pending.popleft()))

    def _send(self, message: bytes) -> bool:
        try:
            if self._socket is not None and not isinstance(self._address, str) and _has_ended(self._socket):
                self._disconnect()
            if self._socket is None:
                self._socket = self._connect()
            self._socket.sendall(message)
        except OSError as error:
            if error.errno == errno.EMSGSIZE:
                self._too_long += 1
                return True
            self._disconnect()
            return False
        return True

    def _connect(self) -> socket.socket:
        if not isinstance(self._address, str):
            return socket.create_connection(self._address, timeout=_SEND_TIMEOUT)
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            connection.settimeout(_SEND_TIMEOUT)
            connection.connect(self._address)
        except OSError:
            connection.close()
            raise
        return connection

    def _disconnect(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def host_name() -> str:
    """Return the name of this host for messages."""
    return os.uname().nodename.replace(" ", "-")[:255] or "-"


def _has_ended(connection: socket.socket) -> bool:
    """Return whether the receiver has closed the connection: a message that is sent then would be lost."""
    poll = select.poll()
    poll.register(connection, select.POLLIN)
    return bool(poll.poll(0)) and not connection.recv(1, socket.MSG_PEEK)


def _identity(message: bytes) -> bytes:
    return message


def _count_octets(message: bytes) -> bytes:
    return b"%d %b" % (len(message), message)
