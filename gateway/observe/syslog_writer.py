"""Send log lines to a syslog receiver: over a unix socket, or over TCP with octet counting (RFC 6587 §3.4.1)."""

import errno
import os
import socket
from functools import partial

from gateway.observe.line_queue import MAX_BYTES, MAX_LINES
from gateway.observe.socket_writer import SocketWriter, connect_path
from gateway.observe.syslog_message import count_octets, end_line, printable_ascii

_CONNECT_TIMEOUT = 10.0
_TCP_OPTIONS = (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 15), ("TCP_USER_TIMEOUT", 60_000))
"""How Linux finds that the receiver's host is dead: probes of an idle connection (s), no acknowledgement (ms)."""
_MAX_READS = 64


class SyslogWriter(SocketWriter):
    """Sends whole messages to the unix socket at a path or to a TCP address (host, port)."""

    def __init__(
        self, address: str | tuple[str, int], *, max_lines: int = MAX_LINES, max_bytes: int = MAX_BYTES
    ) -> None:
        connect = partial(_connect_unix, address) if isinstance(address, str) else partial(_connect_tcp, address)
        super().__init__(connect, max_lines=max_lines, max_bytes=max_bytes)


class SyslogDatagrams:
    """A unix datagram socket: each message is a datagram."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection

    def has_ended(self) -> bool:
        """Return False: the next datagram fails if the receiver has gone."""
        return False

    def frame(self, line: bytes, /) -> bytes:
        """Return the message."""
        return line

    def send(self, data: memoryview) -> int:
        """Send a datagram."""
        return self.socket.send(data)


class SyslogStream:
    """A connection over TCP, or of a unix stream socket, whose messages end with a line feed."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self.frame = end_line if connection.family == socket.AF_UNIX else count_octets

    def has_ended(self) -> bool:
        """Return whether the receiver has closed the connection, or its half. Anything that it has sent is dropped: it
        would hide the end, and a close with unread bytes would reset the connection and lose sent messages.
        """
        try:
            for _ in range(_MAX_READS):
                if not self.socket.recv(65536):
                    return True
        except BlockingIOError:
            return False
        return False

    def send(self, data: memoryview) -> int:
        """Send as many bytes as the connection accepts."""
        return self.socket.send(data)


def host_name() -> str:
    """Return the name of this host for messages."""
    return printable_ascii(os.uname().nodename)


def _connect_unix(path: str) -> SyslogDatagrams | SyslogStream:
    """Connect to a datagram socket or, if the path is of another kind, to a stream socket."""
    try:
        return SyslogDatagrams(connect_path(path, socket.SOCK_DGRAM))
    except OSError as error:
        if error.errno != errno.EPROTOTYPE:
            raise
    return SyslogStream(connect_path(path, socket.SOCK_STREAM))


def _connect_tcp(address: tuple[str, int]) -> SyslogStream:
    connection = socket.create_connection(address, timeout=_CONNECT_TIMEOUT)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _TCP_OPTIONS:
        if hasattr(socket, name):
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
    connection.setblocking(False)  # noqa: FBT003 - Python's own
    return SyslogStream(connection)
