"""Where callers come in: the address of the callers' port, held from the start to the stop of the whole gateway.

A name may stand for several addresses, IPv4 and IPv6: each has a socket. One process listens on the sockets that the
door gives. Several processes each get sockets of their own, bound to the same TCP port (SO_REUSEPORT: the system deals
new connections out among those that listen); on a unix socket, which cannot be bound twice, all of them listen on the
same one. The door itself accepts nothing.
"""

import contextlib
import os
import socket
from collections.abc import Iterator

from gateway.config.values import split_address
from gateway.system.bind import UnixSocket, bind_beside, bind_tcp


class ListenSocket:
    """Holds `address`, HOST:PORT or unix:/path, until `close`; for several processes when `is_shared`.

    Raises OSError, with the address in its words, where it is taken or cannot be had.
    """

    def __init__(self, address: str, *, is_shared: bool = False) -> None:
        self._is_shared = is_shared
        self._unix: UnixSocket | None = None
        host, port = split_address(address)
        with explain_bind_error(address):
            if address.startswith("unix:"):
                self._unix = UnixSocket(host)
                self._sockets = [self._unix.socket]
            else:
                self._sockets = bind_tcp(host, port)
        self.address = address
        if self._unix is None:
            self.address = f"{address.rpartition(':')[0]}:{self._sockets[0].getsockname()[1]}"
            for sock in self._sockets if is_shared else ():
                # Only now: set before, another gateway's port would be shared instead of found taken.
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)

    def sockets(self) -> list[socket.socket]:
        """Bound sockets to listen on, one for each address, the caller's to close. Raises OSError."""
        if not self._is_shared or self._unix is not None:
            return [sock.dup() for sock in self._sockets]
        with explain_bind_error(self.address):
            return [bind_beside(sock) for sock in self._sockets]

    def close(self) -> None:
        """Lets go of the address; the file of a unix socket goes away, unless another process has put its own there."""
        for sock in self._sockets:
            sock.close()
        if self._unix is not None:
            self._unix.close()


@contextlib.contextmanager
def explain_bind_error(address: str) -> Iterator[None]:
    """Says in an OSError which address it is about; asyncio and the system word theirs differently."""
    try:
        yield
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror or str(error)
        raise OSError(error.errno, f"cannot listen on {address}: {reason}; free the address or change it") from error
