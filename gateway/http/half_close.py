"""Whether a caller that has ended its side is still there. FIN does not tell: `shutdown` and `close` send the same.

A unix socket shows the difference at once, and so does TCP once the peer has answered with RST. For a peer on this
machine the system knows whether a process still holds its socket (sock_diag(7)); of others nothing more can be known.
"""

import contextlib
import errno
import ipaddress
import select
import socket
import struct

SOCK_DIAG_BY_FAMILY = 20
NLM_F_REQUEST = 1
NLMSG_ERROR = 2
HEADER = struct.Struct("=IHHII")
REQUEST = struct.Struct("=BBBBI")
PORTS = struct.Struct("!HH")
NO_COOKIE = b"\xff" * 8
INODE_AT = 4 + 48 + 16  # in struct inet_diag_msg: four bytes, the socket's id, four numbers before it
PROBE_AFTER = 10  # seconds, and between probes
PROBES = 3
GONE = select.POLLHUP | select.POLLERR


def keep_probing(sock: socket.socket) -> None:
    """Has the system probe the peer: one that is gone answers with RST, at the latest when it has forgotten the
    connection (Linux: after a minute), and a machine that is gone with nothing.
    """
    if sock.family in {socket.AF_INET, socket.AF_INET6}:
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, PROBE_AFTER)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, PROBE_AFTER)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, PROBES)


def is_gone(sock: socket.socket, *, was_held: bool) -> tuple[bool, bool]:
    """Give whether the peer of a connection whose end has been read is gone, and whether a process of this machine is
    known to hold its socket; `was_held`: so the last answer said.
    """
    poll = select.poll()
    poll.register(sock.fileno(), 0)
    if any(state & GONE for _, state in poll.poll(0)):
        return True, False
    if sock.family not in {socket.AF_INET, socket.AF_INET6}:
        return False, False
    with contextlib.suppress(OSError):  # the system may not let us ask
        holder = _holder(sock.getpeername(), sock.getsockname())
        return (was_held, False) if holder is None else (holder == 0, holder != 0)
    return False, was_held


def _holder(peer: tuple[object, ...], local: tuple[object, ...]) -> int | None:
    """The inode of the peer's socket, 0 where no process holds it; None where it is none of this machine. Raises
    OSError where the system does not tell.
    """
    source, target = _address(peer[0]), _address(local[0])
    family = socket.AF_INET if source.version == 4 else socket.AF_INET6
    ports = PORTS.pack(int(str(peer[1])), int(str(local[1])))
    identity = ports + source.packed.ljust(16, b"\0") + target.packed.ljust(16, b"\0") + bytes(4) + NO_COOKIE
    body = REQUEST.pack(family, socket.IPPROTO_TCP, 0, 0, 0xFFFFFFFF) + identity
    with socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC, 4) as netlink:  # NETLINK_SOCK_DIAG
        netlink.setblocking(False)  # noqa: FBT003 - the standard library's; the kernel answers within the send
        netlink.send(HEADER.pack(HEADER.size + len(body), SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST, 0, 0) + body)
        answer = netlink.recv(4096)
    _, kind, *_ = HEADER.unpack_from(answer)
    if kind == NLMSG_ERROR:
        (number,) = struct.unpack_from("=i", answer, HEADER.size)
        if -number != errno.ENOENT:
            raise OSError(-number, "sock_diag")
        return None
    (inode,) = struct.unpack_from("=I", answer, HEADER.size + INODE_AT)
    return int(inode)


def _address(text: object) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    address = ipaddress.ip_address(str(text).partition("%")[0])
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address
