"""The user of the process at the other end of a unix socket, as the kernel knows it."""

import pwd
import socket
import struct
import sys
from typing import Protocol

_CREDENTIALS = struct.Struct("3i")  # struct ucred: pid, uid, gid (unix(7))

MAX_USER_ID = 2**32 - 2  # (uid_t)-1 is no user: chown(2)
MAX_DIGITS = 10
IS_SUPPORTED = sys.platform == "linux"
"""Whether this system reports the user of a peer."""


class OptionReader(Protocol):
    """A socket, or the stand-in for it that an event loop provides."""

    def getsockopt(self, level: int, optname: int, buflen: int, /) -> bytes:
        """Return a socket option."""


def peer_user_id(sock: OptionReader) -> int | None:
    """Return the user id of the peer's process when it connected; None if the system does not report it."""
    if not IS_SUPPORTED:
        return None
    try:
        data = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    except OSError:
        return None
    return int(_CREDENTIALS.unpack(data)[1])


def user_id(name: str) -> int | None:
    """Return the id of a user of this system, by name or number; None if no user has this name, or none can have this
    number.
    """
    if name.isascii() and name.isdigit():
        number = int(name) if len(name) <= MAX_DIGITS else MAX_USER_ID + 1
        return number if number <= MAX_USER_ID else None
    try:
        return pwd.getpwnam(name).pw_uid
    except KeyError:
        return None
