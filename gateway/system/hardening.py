"""Protects a process that holds secrets: no core dumps, no access to its memory."""

import ctypes
import resource
import sys

_PR_SET_DUMPABLE = 4  # Linux, prctl(2)


def forbid_dumps() -> None:
    """Forbid core dumps of this process and of its forks: they would contain client secrets and tokens.

    On Linux no other process of the same user may read its memory either. A limit alone is not enough there: the kernel
    ignores it if core dumps go to a program (`core_pattern`). A restriction that the system refuses is skipped.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, hard))
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
