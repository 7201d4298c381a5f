"""One measurement: `wrk` loads a contender, /proc shows the cost.

CPU time is user plus system time of the contender's whole process tree, including workers and helpers.
"""

import itertools
import json
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import astuple, dataclass, replace
from pathlib import Path
from typing import TypeVar

from bench.stage import LOAD_CPU, BenchFailed, Stage

WARM_UP = 1.0  # seconds
SHORT_TURNS = 3
"""Short turns in the place of a long one."""

Key = TypeVar("Key")

_FAILURES = (BenchFailed, OSError, subprocess.CalledProcessError)

_REPORT = """
done = function(summary, latency)
  local e = summary.errors
  io.write(string.format('{"requests":%d,"seconds":%f,"p50_us":%d,"p99_us":%d,"errors":%d}',
    summary.requests, summary.duration / 1e6, latency:percentile(50), latency:percentile(99),
    e.connect + e.read + e.write + e.status + e.timeout))
end
"""


@dataclass(frozen=True, slots=True)
class Figures:
    """What a contender used and delivered under one load: microseconds of CPU per request, memory, and the results
    of wrk.
    """

    cpu_us: float
    requests_s: float
    p50_us: float
    p99_us: float
    rss_mb: float
    requests: float


@dataclass(frozen=True, slots=True)
class Load:
    """The options of wrk: seconds, connections, and a script that makes requests."""

    seconds: float
    connections: int = 32
    script: str = ""


def measure(pid: int, url: str, load: Load) -> Figures:
    """Load one contender. Raise BenchFailed unless every request succeeds."""
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as file:
        file.write(load.script + _REPORT)
        file.flush()
        wrk = ["taskset", "-c", str(LOAD_CPU), "wrk", "-t1", f"-c{load.connections}", f"-d{load.seconds:g}s"]
        before = cpu_s(pid)
        done = subprocess.run(
            [*wrk, "--timeout", "20s", "-s", file.name, url], capture_output=True, text=True, check=True
        )
        used = cpu_s(pid) - before
    results = json.loads(done.stdout.splitlines()[-1])
    requests = results["requests"]
    if results["errors"] or not requests:
        raise BenchFailed(f"{results['errors']} of {requests} requests failed at {url}")
    return Figures(
        cpu_us=used / requests * 1e6,
        requests_s=requests / results["seconds"],
        p50_us=results["p50_us"],
        p99_us=results["p99_us"],
        rss_mb=rss_mb(pid),
        requests=requests,
    )


def measure_whole(pid: int, carry: Callable[[], object], seconds: float) -> Figures:
    """Carry one whole body after the other until the time is over: wrk would cut off the last one."""
    before, started_at = cpu_s(pid), time.monotonic()
    ends = [started_at]
    while ends[-1] < started_at + seconds:
        carry()
        ends.append(time.monotonic())
    took = sorted((end - start) * 1e6 for start, end in itertools.pairwise(ends))
    count = len(took)
    return Figures(
        cpu_us=(cpu_s(pid) - before) / count * 1e6,
        requests_s=count / (ends[-1] - started_at),
        p50_us=took[count // 2],
        p99_us=took[-1],
        rss_mb=rss_mb(pid),
        requests=count,
    )


def measure_share(pid: int, url: str, load: Load) -> tuple[Figures, float]:
    """Return the result of `measure`, and the share of CPU time of the busiest process of the tree."""
    before = cpu_by_member(pid)
    figures = measure(pid, url, load)
    used = [seconds - before.get(member, 0.0) for member, seconds in cpu_by_member(pid).items()]
    return figures, max(used) / sum(used)


def interleaved(
    runs: Mapping[Key, Callable[[float], Figures]], *, rounds: int, seconds: float, say: Callable[[str], None]
) -> dict[Key, Figures]:
    """Return the medians of runs that alternate in both directions after a short warm-up.

    Each run receives its seconds. A run that fails when it counts is reported and left out from then on.
    """
    for run in runs.values():
        with suppress(*_FAILURES):
            run(WARM_UP)
    found: dict[Key, list[Figures]] = {key: [] for key in runs}
    for number in range(rounds):
        for key in list(found)[:: -1 if number % 2 else 1]:
            try:
                found[key].append(runs[key](seconds))
            except _FAILURES as error:
                say(f"{key}: {error}")
                del found[key]
    return {key: median(each) for key, each in found.items()}


def median(rounds: Sequence[Figures]) -> Figures:
    """Return the median of each figure by itself."""
    return Figures(*(statistics.median(column) for column in zip(*map(astuple, rounds), strict=True)))


@dataclass(frozen=True, slots=True)
class Bench:
    """The parameters of a run: the stage, number and length of loads, and how to report failures."""

    stage: Stage
    rounds: int
    seconds: float
    say: Callable[[str], None]

    def with_short_turns(self) -> "Bench":
        """Return the same with shorter and more turns, for figures that differ by a percent."""
        return replace(self, rounds=self.rounds * SHORT_TURNS, seconds=self.seconds / SHORT_TURNS)

    def turns(self, runs: dict[str, Callable[[float], Figures]]) -> dict[str, Figures]:
        """Return the medians of interleaved loads. Raise BenchFailed if one of them failed."""
        found = interleaved(runs, rounds=self.rounds, seconds=self.seconds, say=self.say)
        if missing := sorted(runs.keys() - found.keys()):
            raise BenchFailed(f"no figures for {', '.join(missing)}")
        return found


def tree(pid: int) -> list[int]:
    """Return a process and all its descendants."""
    children = " ".join(path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/children")).split()
    return [pid, *(member for child in children for member in tree(int(child)))]


def cpu_s(pid: int) -> float:
    """Return user and system time of the tree, including ended children."""
    return sum(cpu_by_member(pid).values())


def cpu_by_member(pid: int) -> dict[int, float]:
    """Return user and system seconds by process id, including ended children (proc(5): fields 14 to 17 of stat)."""
    stats = {member: Path(f"/proc/{member}/stat").read_text().rpartition(")")[2].split() for member in tree(pid)}
    ticks = os.sysconf("SC_CLK_TCK")
    return {member: sum(map(int, stat[11:15])) / ticks for member, stat in stats.items()}


def rss_mb(pid: int) -> float:
    """Return the resident memory of the tree."""
    pages = sum(int(Path(f"/proc/{member}/statm").read_text().split()[1]) for member in tree(pid))
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def forget_peak(pid: int) -> None:
    """Reset the value of `peak_mb` (proc(5), clear_refs)."""
    for member in tree(pid):
        Path(f"/proc/{member}/clear_refs").write_text("5")


def peak_mb(pid: int) -> float:
    """Return the highest resident memory of the tree since `forget_peak`."""
    return sum(_status_kb(member, "VmHWM") for member in tree(pid)) * 1024 / 1e6


def _status_kb(pid: int, field: str) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next((int(line.split()[1]) for line in lines if line.startswith(field + ":")), 0)
