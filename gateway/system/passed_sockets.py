"""Take the listening sockets that the service manager passes, by systemd's protocol (sd_listen_fds(3)).

Such a socket stays open in the service manager while the process restarts, so no connection is refused meanwhile.
"""

import ipaddress
import os
import socket
from collections.abc import Mapping

FIRST = 3
"""The number of the first passed descriptor (SD_LISTEN_FDS_START)."""


MAX_DIGITS = 9
"""Digits of a number of descriptors; `int` raises ValueError above 4300."""


class PassedSockets:
    """The sockets that the variables `environ` name, until they are taken or closed.

    Raise OSError if a passed descriptor is not a listening stream socket.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        count, pid = environ.get("LISTEN_FDS", ""), environ.get("LISTEN_PID", "")
        self._sockets: list[socket.socket] = []
        if not count.isdecimal() or len(count) > MAX_DIGITS or pid != str(os.getpid()):
            return
        for number in range(FIRST, FIRST + int(count)):
            os.set_inheritable(number, False)  # noqa: FBT003 - the standard library's
            sock = socket.socket(fileno=number)
            self._sockets.append(sock)
            if sock.type != socket.SOCK_STREAM or not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                self.close()
                raise OSError(None, f"descriptor {number} of the service manager does not listen; use ListenStream=")
            sock.setblocking(False)  # noqa: FBT003 - the standard library's

    def take(self, host: str, port: int) -> list[socket.socket]:
        """Return the sockets of this address, which the caller closes: the path of a unix socket with port 0, or a host
        and its port. An empty host is every address of the machine.
        """
        taken = [sock for sock in self._sockets if _is_at(sock, host, port)]
        self._sockets = [sock for sock in self._sockets if sock not in taken]
        return taken

    def require_all_taken(self) -> None:
        """Raise OSError if a socket is left: its callers would wait for ever."""
        if left := ", ".join(map(_name, self._sockets)):
            self.close()
            raise OSError(
                None,
                f"the service manager passes {left}, which is no address of `listen` or `admin`; "
                "write the same address in the configuration and in ListenStream=",
            )

    def close(self) -> None:
        """Close the sockets that are not taken."""
        for sock in self._sockets:
            sock.close()
        self._sockets = []


def _is_at(sock: socket.socket, host: str, port: int) -> bool:
    address = sock.getsockname()
    if sock.family == socket.AF_UNIX:
        return port == 0 and address == host
    return bool(address[1] == port) and _plain(address[0]) in _addresses(host)


def _addresses(host: str) -> set[str]:
    """Return the texts of the addresses that a host of the configuration means."""
    if host in {"", "*"}:
        return {"0.0.0.0", "::"}  # noqa: S104 - compared, not bound
    if host.lower() == "localhost":
        return {"127.0.0.1", "::1"}
    return {_plain(host)}


def _plain(host: str) -> str:
    """Return an address in its usual spelling; a name as it is."""
    try:
        return str(ipaddress.ip_address(host.strip("[]")))
    except ValueError:
        return host.lower()


def _name(sock: socket.socket) -> str:
    address = sock.getsockname()
    if sock.family == socket.AF_UNIX:
        return f"unix:{address}"
    return f"[{address[0]}]:{address[1]}" if ":" in address[0] else f"{address[0]}:{address[1]}"
