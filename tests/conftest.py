"""The number of parallel test processes: many tests wait for processes and sockets, so each CPU has two."""

import os

import pytest

PER_CPU = 2
MOST = 16


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Return the number for `--numprocesses auto`."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(PER_CPU * cpus, MOST)
