"""How many workers `workers: auto` means."""

import os
from pathlib import Path

_QUOTA = Path("/sys/fs/cgroup/cpu.max")
"""cgroup v2, as seen within a container: `150000 100000` is one and a half CPUs, `max 100000` all of them."""


def worker_count(workers: int, *, quota: Path = _QUOTA) -> int:
    """The number of workers; 0 (auto) is the CPUs that this process may use: by affinity and container's quota."""
    return workers or min(_affinity(), _quota(quota))


def _affinity() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _quota(file: Path) -> int:
    try:
        most, period = file.read_text(encoding="ascii").split()
        return max(1, round(int(most) / int(period)))
    except (OSError, ValueError):
        return 1 << 16
