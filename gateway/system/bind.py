"""Binds listening sockets: all addresses of a name, and unix sockets that no other process uses.

It removes only a socket that this process has bound, or one on which no process listens any more.
"""

import contextlib
import ctypes
import errno
import fcntl
import os
import select
import socket
import stat
import struct
import time
from collections.abc import Iterator

UNAVAILABLE = frozenset(
    (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)
)  # a family or an address that this machine does not have
LOOPBACK = ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1"))
TRIES = 10  # attempts to find a port that is free at several addresses
SO_ATTACH_FILTER, SO_DETACH_FILTER = 26, 27  # Linux
# Classic BPF program over the TCP header. It drops a packet whose flags (byte 13) have SYN without ACK.
NO_SYN = struct.pack(
    "HBBIHBBIHBBIHBBIHBBI", 0x30, 0, 0, 13, 0x54, 0, 0, 0x12, 0x15, 0, 1, 0x02, 6, 0, 0, 0, 6, 0, 0, 2**32 - 1
)
PROBE = 1.0  # seconds for another process to accept a connection
LOCK_TIMEOUT = 5.0  # seconds that other processes may hold the lock of the folder
PAUSE = 0.01


def bind_tcp(host: str, port: int) -> list[socket.socket]:
    """Bind every address of a host (empty: all of the machine) to one port; port 0 chooses one.

    `localhost` is 127.0.0.1 and ::1, whatever the resolver returns (RFC 6761 §6.3). Addresses of a family that the
    machine lacks are skipped. Raise OSError if none is left, or if one cannot be bound.
    """
    addresses = _resolve(host, port)
    for _ in range(TRIES if port == 0 and len(addresses) > 1 else 0):  # the port may be in use at one of them
        with contextlib.suppress(OSError):
            return _bind_all(addresses, port)
    return _bind_all(addresses, port)


class UnixSocket:
    """Listens on a path until `close`, which removes the file unless another process has replaced it. `socket` already
    listens, so that no other process takes it for an abandoned one. Raise OSError if the path is in use, or is no
    socket.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            with _folder_lock(os.path.dirname(path) or "."):  # noqa: PTH120 - a socket's address
                self._bind()
                self._identity = _identity(path)
                self.socket.listen()
        except OSError:
            self.socket.close()
            raise

    def close(self) -> None:
        """Close the socket, and remove the file unless another process has replaced it."""
        self.socket.close()
        if self._identity is not None and _identity(self._path) == self._identity:
            _unlink(self._path)
        self._identity = None

    def _bind(self) -> None:
        try:
            self.socket.bind(self._path)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            _remove_abandoned(self._path)
            self.socket.bind(self._path)


def _resolve(host: str, port: int) -> list[tuple[int, tuple[object, ...]]]:
    """Return the family and the socket address for each address of the host."""
    if host.lower() == "localhost":
        return [(family, (address, port)) for family, address in LOOPBACK]
    addresses = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    return list(dict.fromkeys((int(family), address) for family, _, _, _, address in addresses))


def _bind_all(addresses: list[tuple[int, tuple[object, ...]]], port: int) -> list[socket.socket]:
    bound: list[socket.socket] = []
    absent: OSError | None = None
    try:
        for family, address in addresses:
            try:
                bound.append(_bind_one(family, (address[0], port, *address[2:]), is_one_of_many=len(addresses) > 1))
            except OSError as error:
                if error.errno not in UNAVAILABLE:
                    raise
                absent = error
                continue
            port = bound[0].getsockname()[1]
        if absent is not None and not bound:
            raise absent
    except OSError:
        for sock in bound:
            sock.close()
        raise
    return bound


def _bind_one(family: int, address: tuple[object, ...], *, is_one_of_many: bool) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if is_one_of_many and family == socket.AF_INET6:  # the IPv4 addresses have sockets of their own
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(address)
    except OSError as error:
        sock.close()
        reason = (error.strerror or str(error)).lower()
        raise OSError(error.errno, f"cannot bind {address[0]}, port {address[1]}: {reason}") from error
    return sock


def bind_beside(holder: socket.socket) -> socket.socket:
    """Bind another socket to the holder's address (SO_REUSEPORT, which the holder must have set)."""
    sock = socket.socket(holder.family, holder.type, holder.proto)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if holder.family == socket.AF_INET6:
            only = holder.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, only)
        sock.bind(holder.getsockname())
    except OSError:
        sock.close()
        raise
    return sock


def stop_handshakes(listener: socket.socket) -> None:
    """Make the system ignore new connections, if it can; connections whose handshake has begun can still be accepted. A
    client repeats its SYN after a second: by then the socket is closed, and the connection is refused.
    """
    program = ctypes.create_string_buffer(NO_SYN, len(NO_SYN))
    with contextlib.suppress(OSError):
        listener.setsockopt(
            socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("HL", len(NO_SYN) // 8, ctypes.addressof(program))
        )


def resume_handshakes(listener: socket.socket) -> None:
    """Undo `stop_handshakes`: a socket of the service manager outlives this process."""
    with contextlib.suppress(OSError):
        listener.setsockopt(socket.SOL_SOCKET, SO_DETACH_FILTER, 0)


def is_local_only(listener: socket.socket) -> bool:
    """Return whether only this machine can reach the socket."""
    name = listener.getsockname()
    return not isinstance(name, tuple) or name[0] == "::1" or str(name[0]).startswith("127.")


def readable_descriptors(descriptors: list[int]) -> set[int]:
    """Return the descriptors that are readable: a connection to accept, bytes, or the end."""
    poll = select.poll()
    for descriptor in descriptors:
        poll.register(descriptor, select.POLLIN)
    return {descriptor for descriptor, _ in poll.poll(0)}


@contextlib.contextmanager
def _folder_lock(folder: str) -> Iterator[None]:
    """Let one process at a time bind sockets in a folder. Raise OSError if another process holds the lock.

    Without the lock, two processes may find the same abandoned socket, and one may remove what the other has just
    bound: until the new socket listens, it refuses connections as the abandoned one does, and it may have the same
    inode number. A folder that cannot be locked is used without the lock.
    """
    descriptor = -1
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if descriptor >= 0:
            _lock(descriptor)
        yield
    finally:
        if descriptor >= 0:
            os.close(descriptor)


def _lock(descriptor: int) -> None:
    deadline = time.monotonic() + LOCK_TIMEOUT
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise OSError(f"another process has locked its folder for {LOCK_TIMEOUT:g} s") from None
            time.sleep(PAUSE)
        except OSError:  # not every file system has locks
            return
        else:
            return


def _remove_abandoned(path: str) -> None:
    """Remove the socket of a process that has ended without removing it. Raise OSError for anything else."""
    identity = _identity(path)
    if identity is None:  # removed meanwhile
        return
    if not stat.S_ISSOCK(os.lstat(path).st_mode):
        raise OSError("a file that is not a socket has this name, and is left alone")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(PROBE)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            pass
        except OSError as error:
            raise OSError(f"another process may listen on this socket ({error.strerror or error})") from error
        else:
            raise OSError("another process listens on this socket")
    if _identity(path) == identity:
        _unlink(path)


def _identity(path: str) -> tuple[int, int] | None:
    """Return device and inode of the file or link with this name; None if there is none."""
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino


def _unlink(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)  # noqa: PTH108 - a socket's address
