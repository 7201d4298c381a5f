"""The addresses for callers, held from the start to the stop of the gateway.

A host name may have several addresses, IPv4 and IPv6; each gets a socket. A single process listens on copies of these
sockets. Several processes each get their own sockets, bound to the same TCP port with SO_REUSEPORT, so that the kernel
distributes new connections. A unix socket cannot be bound twice, and a socket that the service manager passes is bound
already: all processes listen on the same one.
"""

import contextlib
import itertools
import os
import socket
from collections.abc import Iterable, Iterator

from gateway.config.values import split_address
from gateway.system.bind import UnixSocket, bind_beside, bind_tcp, resume_handshakes
from gateway.system.passed_sockets import PassedSockets


class ListenSocket:
    """Hold `address`, HOST:PORT or unix:/path, until `close`; `is_shared` allows several processes. Sockets of this
    address among `passed` are used as they are.

    Raise OSError, with the address in its message, if the address is in use or not available.
    """

    def __init__(self, address: str, passed: PassedSockets, *, is_shared: bool = False) -> None:
        self._unix: UnixSocket | None = None
        host, port = split_address(address)
        self._sockets = passed.take(host, port)
        self._is_passed = bool(self._sockets)
        self._is_bound_once = not is_shared or address.startswith("unix:") or self._is_passed
        self.address = address
        if self._is_passed:
            self.hand_back()  # the process before may have been killed at its stop
            return
        with explain_bind_error(address):
            if address.startswith("unix:"):
                self._unix = UnixSocket(host)
                self._sockets = [self._unix.socket]
            else:
                self._sockets = bind_tcp(host, port)
        if self._unix is None:
            self.address = f"{address.rpartition(':')[0]}:{self._sockets[0].getsockname()[1]}"
            for sock in self._sockets if is_shared else ():
                # Only after bind: set before it, the port of another gateway would be shared instead of in use.
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)

    def sockets(self) -> list[socket.socket]:
        """Return bound sockets to listen on, one for each address; the caller closes them. Raise OSError."""
        if self._is_bound_once:
            return [sock.dup() for sock in self._sockets]
        with explain_bind_error(self.address):
            return [bind_beside(sock) for sock in self._sockets]

    @property
    def count(self) -> int:
        """Return the number of sockets."""
        return len(self._sockets)

    def close(self) -> None:
        """Release the address. Remove the file of a unix socket unless another process has replaced it."""
        for sock in self._sockets if not self._is_passed else ():
            sock.close()
        if self._unix is not None:
            self._unix.close()

    def hand_back(self) -> None:
        """Let passed sockets take connections for the next process, which the service manager starts for them."""
        for sock in self._sockets if self._is_passed else ():
            resume_handshakes(sock)


class ListenSockets:
    """Hold several addresses until `close`. If one cannot be bound, the others are released.

    `passed` are sockets of the service manager. `addresses` are the bound ones, in order. Raise OSError as
    `ListenSocket` does.
    """

    def __init__(self, addresses: Iterable[str], passed: PassedSockets, *, is_shared: bool = False) -> None:
        self._listen_sockets: list[ListenSocket] = []
        try:
            for address in addresses:
                self._listen_sockets.append(ListenSocket(address, passed, is_shared=is_shared))
        except OSError:
            self.close()
            raise
        self.addresses = tuple(listen_socket.address for listen_socket in self._listen_sockets)

    def sockets(self) -> list[list[socket.socket]]:
        """Return the bound sockets of each address; the caller closes them. Raise OSError."""
        groups: list[list[socket.socket]] = []
        try:
            groups.extend(listen_socket.sockets() for listen_socket in self._listen_sockets)
        except OSError:
            for sock in itertools.chain.from_iterable(groups):
                sock.close()
            raise
        return groups

    @property
    def counts(self) -> tuple[int, ...]:
        """Return the number of sockets of each address."""
        return tuple(listen_socket.count for listen_socket in self._listen_sockets)

    def close(self) -> None:
        """Release all addresses, except those of passed sockets."""
        for listen_socket in self._listen_sockets:
            listen_socket.close()

    def hand_back(self) -> None:
        """After `close`, when no process of this gateway listens any more: leave passed sockets as they were."""
        for listen_socket in self._listen_sockets:
            listen_socket.hand_back()


def join_addresses(addresses: Iterable[str]) -> str:
    """Return addresses as one text, for the log and `/status`."""
    return ", ".join(addresses)


@contextlib.contextmanager
def explain_bind_error(address: str) -> Iterator[None]:
    """Add the address to an OSError; the messages of asyncio and of the system have different forms."""
    try:
        yield
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror or str(error)
        raise OSError(error.errno, f"cannot listen on {address}: {reason}; free the address or change it") from error
