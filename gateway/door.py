"""Where callers come in: the address of the callers' port, held from the start to the stop of the whole gateway.

One process listens on the one socket that the door gives. Several processes each get a socket of their own, bound to
the same TCP port (SO_REUSEPORT: the system deals new connections out among those that listen); on a unix socket, which
cannot be bound twice, all of them listen on the same one. The door itself accepts nothing.
"""

import contextlib
import os
import socket
from collections.abc import Iterator

from gateway.config.values import split_address


class Door:
    """Holds `address`, HOST:PORT or unix:/path, until `close`; for several processes when `is_shared`.

    Raises OSError, with the address in its words, where it is taken or cannot be had.
    """

    def __init__(self, address: str, *, is_shared: bool = False) -> None:
        self._is_shared = is_shared
        with naming(address):
            self._socket = _bound_path(address) if address.startswith("unix:") else _bound(address)
        self._path = split_address(address)[0] if address.startswith("unix:") else ""
        self.address = address if self._path else f"{address.rpartition(':')[0]}:{self._socket.getsockname()[1]}"
        if is_shared and not self._path:
            # Only now: set before, another gateway's port would be shared instead of found taken.
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)

    def socket(self) -> socket.socket:
        """A bound socket to listen on, the caller's to close. Raises OSError."""
        if not self._is_shared or self._path:
            return self._socket.dup()
        with naming(self.address):
            return _beside(self._socket)

    def close(self) -> None:
        """Lets go of the address; the file of a unix socket goes away."""
        self._socket.close()
        if self._path:
            _unlink(self._path)


@contextlib.contextmanager
def naming(address: str) -> Iterator[None]:
    """Says in an OSError which address it is about; asyncio and the system word theirs differently."""
    try:
        yield
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise OSError(error.errno, f"cannot listen on {address}: {reason}; free the address or change it") from error


def _bound(address: str) -> socket.socket:
    host, port = split_address(address)
    family, kind, proto, _, where = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    sock = socket.socket(family, kind, proto)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    return _bind(sock, where)


def _beside(holder: socket.socket) -> socket.socket:
    """One more socket bound to where the holder is."""
    sock = socket.socket(holder.family, holder.type, holder.proto)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    return _bind(sock, holder.getsockname())


def _bound_path(address: str) -> socket.socket:
    path, _ = split_address(address)
    _unlink(path)  # one left by a killed process would keep the next from starting
    return _bind(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM), path)


def _bind(sock: socket.socket, where: str | tuple[object, ...]) -> socket.socket:
    try:
        sock.bind(where)
    except OSError:
        sock.close()
        raise
    return sock


def _unlink(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)  # noqa: PTH108 - a socket's address, not a path of ours
