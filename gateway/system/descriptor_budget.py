"""How many connections fit into the file descriptors of a process: a pure calculation from its limit of open files."""

import errno
from typing import NamedTuple

SHORTAGE_ERRORS = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))
"""Errors of a call that needs a new descriptor when none is free, or the system has no memory for one."""
RESERVE = 128
"""Descriptors for tokens, stores, the log, the admin port, files and libraries; half of a small limit."""
ANSWERED_PER_REFUSED = 8
"""For each of so many served connections, one more connection may get an error response."""


class Capacity(NamedTuple):
    """The shares of the `files` of one process: `connections` of served callers, `refused` connections that only get an
    error response, and `upstreams`, the connections to all upstreams together.
    """

    files: int
    connections: int
    refused: int
    upstreams: int


def share_files(files: int, *, connections: int, pools: int) -> Capacity:
    """Divide a limit of open files: `connections` is the configured number, `pools` the most that all pools may hold.

    Upstreams get at most half, since a caller needs at most one connection to an upstream.
    """
    free = max(4, files - min(RESERVE, files // 2))
    callers = free - min(pools, free // 2)
    served = max(1, min(connections, callers * ANSWERED_PER_REFUSED // (ANSWERED_PER_REFUSED + 1)))
    refused = max(1, served // ANSWERED_PER_REFUSED)
    return Capacity(files, served, refused, max(1, free - served - refused))
