"""Port numbers that are known before a server binds them, and that no other test gets in the meantime.

They are below the range from which the kernel assigns ports. A bound socket that does not listen reserves each of them:
connections are refused until the server listens, and the server can bind the same port.
"""

import random
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_FIRST = 10_000
_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")


class ReservedPort:
    """A port of 127.0.0.1, `number`, reserved until `release` or the end of the process."""

    def __init__(self) -> None:
        end = int(_RANGE.read_text(encoding="ascii").split()[0])
        while True:
            self._socket = socket.socket()
            try:
                self._socket.bind(("127.0.0.1", random.randrange(_FIRST, end)))
            except OSError:  # another test has it, or another program
                self._socket.close()
            else:
                break
        self.number: int = self._socket.getsockname()[1]
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # the server sets it, too, and may bind

    def release(self) -> None:
        """Release the port."""
        self._socket.close()


@contextmanager
def reserved_port() -> Iterator[int]:
    """Reserve a port within `with`."""
    port = ReservedPort()
    try:
        yield port.number
    finally:
        port.release()
