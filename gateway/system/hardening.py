"""What a process that holds secrets forbids itself."""

import ctypes
import resource
import sys

_PR_SET_DUMPABLE = 4  # Linux, prctl(2)


def forbid_dumps() -> None:
    """No core dump of this process, nor of one that it forks: client secrets and tokens would stand in it.

    On Linux no other process of the same user may read its memory either. A limit alone is not enough there: the kernel
    ignores it where core dumps go to a program (`core_pattern`). What the system does not let us forbid stays as it is.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, hard))
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
