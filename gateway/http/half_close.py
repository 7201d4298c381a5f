"""Detect whether a caller that has closed its side still waits for a response: `shutdown` and `close` send the same
FIN.

A unix socket shows the difference at once, and TCP does once the peer has sent RST. For a peer on this machine, the
kernel knows whether a process still holds its socket (sock_diag(7)). For other peers, it cannot be known.
"""

import asyncio
import contextlib
import errno
import ipaddress
import select
import socket
import struct
from collections.abc import Callable

SOCK_DIAG_BY_FAMILY = 20
NLM_F_REQUEST = 1
NLMSG_ERROR = 2
NETLINK_HEADER = struct.Struct("=IHHII")
DIAG_REQUEST = struct.Struct("=BBBBI")
PORTS = struct.Struct("!HH")
NO_COOKIE = b"\xff" * 8
INODE_OFFSET = 4 + 48 + 16  # in struct inet_diag_msg, after four bytes, the socket id and four numbers
PROBE_INTERVAL = 10  # seconds, also before the first probe
PROBES = 3
POLL_GONE = select.POLLHUP | select.POLLERR
FIRST_CHECK, CHECK_INTERVAL = 0.01, 1.0
"""Seconds until a caller that has closed its side is first checked, and between further checks."""


class HalfCloseMonitor:
    """Watches a connection whose peer has closed its side, and aborts it once the peer has closed it completely."""

    def __init__(
        self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop, *, may_wait: Callable[[], bool]
    ) -> None:
        """`may_wait` returns whether a peer that still holds the connection may wait for its response."""
        self._transport = transport
        self._may_wait = may_wait
        self._loop = loop
        self._was_held = False
        enable_keepalive(transport.get_extra_info("socket"))
        self._timer = loop.call_later(FIRST_CHECK, self._check)

    def cancel(self) -> None:
        """Stop the checks."""
        self._timer.cancel()

    def _check(self) -> None:
        if self._transport.is_closing():
            return
        gone, self._was_held = check_peer(self._transport.get_extra_info("socket"), was_held=self._was_held)
        if gone or not self._may_wait():
            self._transport.abort()
        else:
            self._timer = self._loop.call_later(CHECK_INTERVAL, self._check)


def enable_keepalive(sock: socket.socket) -> None:
    """Enable TCP keepalive. If the peer has closed the connection, its kernel answers a probe with RST, on Linux after
    a minute at most. If the machine is down, there is no answer.
    """
    if sock.family in {socket.AF_INET, socket.AF_INET6}:
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, PROBE_INTERVAL)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, PROBE_INTERVAL)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, PROBES)


def check_peer(sock: socket.socket, *, was_held: bool) -> tuple[bool, bool]:
    """Return whether the peer of a half-closed connection has closed it completely, and whether a process of this
    machine holds the socket of the peer. `was_held` is the second value of the previous call.
    """
    poll = select.poll()
    poll.register(sock.fileno(), 0)
    if any(state & POLL_GONE for _, state in poll.poll(0)):
        return True, False
    if sock.family not in {socket.AF_INET, socket.AF_INET6}:
        return False, False
    with contextlib.suppress(OSError):  # sock_diag may be forbidden
        holder = _peer_socket_inode(sock.getpeername(), sock.getsockname())
        return (was_held, False) if holder is None else (holder == 0, holder != 0)
    return False, was_held


def _peer_socket_inode(peer: tuple[object, ...], local: tuple[object, ...]) -> int | None:
    """Return the inode of the peer's socket; 0 if no process holds it, None if it is not on this machine.

    Raise OSError if the kernel does not answer.
    """
    source, target = _address(peer[0]), _address(local[0])
    family = socket.AF_INET if source.version == 4 else socket.AF_INET6
    ports = PORTS.pack(int(str(peer[1])), int(str(local[1])))
    identity = ports + source.packed.ljust(16, b"\0") + target.packed.ljust(16, b"\0") + bytes(4) + NO_COOKIE
    body = DIAG_REQUEST.pack(family, socket.IPPROTO_TCP, 0, 0, 0xFFFFFFFF) + identity
    with socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC, 4) as netlink:  # NETLINK_SOCK_DIAG
        netlink.setblocking(False)  # noqa: FBT003 - standard library; the kernel answers within the send
        netlink.send(
            NETLINK_HEADER.pack(NETLINK_HEADER.size + len(body), SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST, 0, 0) + body
        )
        response = netlink.recv(4096)
    _, kind, *_ = NETLINK_HEADER.unpack_from(response)
    if kind == NLMSG_ERROR:
        (number,) = struct.unpack_from("=i", response, NETLINK_HEADER.size)
        if -number != errno.ENOENT:
            raise OSError(-number, "sock_diag")
        return None
    (inode,) = struct.unpack_from("=I", response, NETLINK_HEADER.size + INODE_OFFSET)
    return int(inode)


def _address(text: object) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    address = ipaddress.ip_address(str(text).partition("%")[0])
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address
