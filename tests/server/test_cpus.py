import os
from pathlib import Path

import pytest

from gateway.server.workers.cpus import worker_count

CPUS = len(os.sched_getaffinity(0))


@pytest.mark.parametrize(
    ("quota", "count"),
    [("100000 100000", 1), ("50000 100000", 1), ("6400000 100000", CPUS), ("max 100000", CPUS), ("", CPUS)],
)
def test_auto_uses_the_cpus_of_affinity_and_quota(tmp_path: Path, quota: str, count: int) -> None:
    file = tmp_path / "cpu.max"
    file.write_text(quota, encoding="ascii")
    assert worker_count(0, quota=file) == count


def test_auto_without_a_quota_uses_affinity(tmp_path: Path) -> None:
    assert worker_count(0, quota=tmp_path / "none") == CPUS


def test_an_explicit_number_is_used(tmp_path: Path) -> None:
    assert worker_count(7, quota=tmp_path / "none") == 7
