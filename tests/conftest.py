"""The number of parallel test processes, the order of tests, garbage collection, the settings of hypothesis, and
fixtures: a port without a server, an hour that does not end.

Many tests wait for processes and sockets, so each CPU has two test processes.
"""

import gc
import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from tests.fakes.ports import reserved_port
from tests.fakes.waiting import is_within_an_hour, wait_until

settings.register_profile("busy machine", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy machine")

PER_CPU = 2
MOST = 16
SLOW = "tests/system/"
"""Tests that start processes and wait for them: half of the time of all."""


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Return the number for `--numprocesses auto`."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(PER_CPU * cpus, MOST)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin the part of each test process with its share of the slow tests.

    At first each process has a part of the list. One that has no more tests takes some from the end of another's part:
    these should be short, or one process is left with a long test after the other.
    """
    count = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    slow = [item for item in items if item.nodeid.startswith(SLOW)]
    short = [item for item in items if not item.nodeid.startswith(SLOW)]
    items.clear()
    for left in range(count, 0, -1):
        for tests in (slow, short):
            size = len(tests) // left
            items += tests[:size]
            del tests[:size]


def pytest_sessionstart() -> None:
    """Switch garbage collection off while tests are collected: they all stay."""
    gc.disable()


def pytest_collection_finish() -> None:
    """Exempt the collected tests from garbage collection: to examine all of them costs a twelfth of the CPU time."""
    gc.freeze()
    gc.enable()


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port of 127.0.0.1 that refuses connections for as long as the test runs."""
    with reserved_port() as port:
        yield port


@pytest.fixture
async def within_an_hour() -> None:
    """Begin the test when its hour of UTC goes on for long enough: its quotas must not begin again meanwhile."""
    await wait_until(is_within_an_hour)
