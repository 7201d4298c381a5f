"""Send log lines to systemd-journald as entries with fields."""

import errno
import fcntl
import os
import socket
from functools import partial

from gateway.observe.journal_entry import MessageFormat, journal_entry
from gateway.observe.line_queue import MAX_BYTES, MAX_LINES
from gateway.observe.socket_writer import SocketWriter, connect_path

SOCKET = "/run/systemd/journal/socket"
_TOO_LONG = frozenset({errno.EMSGSIZE, errno.ENOBUFS})


class JournalWriter(SocketWriter):
    """Sends JSON lines as entries of the journal, whose messages have this format; its thread makes the entries."""

    def __init__(
        self,
        path: str = SOCKET,
        *,
        message_format: MessageFormat = "text",
        max_lines: int = MAX_LINES,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        connect = partial(JournalDatagrams, path, message_format)
        super().__init__(connect, max_lines=max_lines, max_bytes=max_bytes)


class JournalDatagrams:
    """The socket of journald: each entry is a datagram, or a file that one passes. The constructor raises OSError."""

    def __init__(self, path: str, message_format: MessageFormat) -> None:
        self.socket = connect_path(path, socket.SOCK_DGRAM)
        self._message_format = message_format

    def has_ended(self) -> bool:
        """Return False: the next datagram fails if journald has gone."""
        return False

    def frame(self, line: bytes, /) -> bytes:
        """Return the entry of a JSON line."""
        return journal_entry(line, self._message_format)

    def send(self, data: memoryview) -> int:
        """Send an entry."""
        try:
            return self.socket.send(data)
        except OSError as error:
            if error.errno not in _TOO_LONG:
                raise
        with open(_sealed_file(data), "rb") as file:
            socket.send_fds(self.socket, [], [file.fileno()])
        return len(data)


def _sealed_file(data: memoryview) -> int:
    """Return the descriptor of a file in memory that cannot change: journald maps it."""
    descriptor = os.memfd_create("log-entry", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        with open(descriptor, "wb", closefd=False) as file:
            file.write(data)
        seals = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, seals)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor
