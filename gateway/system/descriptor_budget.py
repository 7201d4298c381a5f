"""How many connections fit into the file descriptors of a process: a pure calculation from its limit of open files."""

from typing import NamedTuple

RESERVE = 128
"""Descriptors for tokens, stores, the log, the admin port, files and libraries; half of a limit that is small."""
ANSWERED_PER_REFUSED = 8
"""For so many connections that are served, one more is held to be told why it is not served."""


class Capacity(NamedTuple):
    """How the `files` of one process are shared: `connections` of callers that are served, `refused` connections that
    are only told why they are not, and `upstreams`, the connections to all upstreams together.
    """

    files: int
    connections: int
    refused: int
    upstreams: int


def share_files(files: int, *, connections: int, pools: int) -> Capacity:
    """Shares a limit of open files: `connections` is the configured number, `pools` what all pools may hold at most.

    Upstreams get what they may use, but no more than half: a caller needs at most one connection to an upstream.
    """
    free = max(4, files - min(RESERVE, files // 2))
    callers = free - min(pools, free // 2)
    served = max(1, min(connections, callers * ANSWERED_PER_REFUSED // (ANSWERED_PER_REFUSED + 1)))
    refused = max(1, served // ANSWERED_PER_REFUSED)
    return Capacity(files, served, refused, max(1, free - served - refused))
