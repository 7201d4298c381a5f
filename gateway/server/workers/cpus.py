"""The number of workers for `workers: auto`."""

import os
from pathlib import Path

_QUOTA = Path("/sys/fs/cgroup/cpu.max")
"""cgroup v2, as visible inside a container: `150000 100000` means 1.5 CPUs, `max 100000` all."""


def worker_count(workers: int, *, quota: Path = _QUOTA) -> int:
    """Return the number of workers; 0 (auto) means the CPUs that affinity and the container's quota allow."""
    return workers or min(_cpu_affinity(), _cpu_quota(quota))


def _cpu_affinity() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _cpu_quota(file: Path) -> int:
    try:
        quota, period = file.read_text(encoding="ascii").split()
        return max(1, round(int(quota) / int(period)))
    except (OSError, ValueError):
        return 1 << 16
