"""Each workload with each contender that takes part in it, in interleaved rounds."""

import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from functools import partial

from bench.callers import fetch, upload
from bench.contenders import CONTENDERS, Runner, count_lines, started, verify, verify_log
from bench.measure import Bench, Figures, Load, interleaved, measure, measure_whole
from bench.stage import BenchFailed
from bench.workloads import WORKLOADS

Pair = tuple[str, str]
"""A workload and a contender, by name."""


def groups(names: Iterable[str]) -> Iterator[list[str]]:
    """Return the workloads that are measured together. Crowds come last, with restarted contenders: they enlarge
    memory.
    """
    works = [name for name in names if name in WORKLOADS]
    for crowded in (False, True):
        if group := [work for work in works if crowded == WORKLOADS[work].is_crowded]:
            yield group


def side_by_side(bench: Bench, works: list[str], contenders: Iterable[str]) -> dict[Pair, Figures]:
    """Return the medians by workload and contender. A contender that fails its check is reported and left out."""
    sent: dict[str, float] = {}
    with ExitStack() as stack:
        runners: dict[Pair, Runner] = {}
        for name in contenders:
            try:
                runners |= _ready(name, works, bench, stack)
            except BenchFailed as failed:
                bench.say(str(failed))
        written = {runner.name: count_lines(runner.log) for runner in runners.values()}
        order = sorted(runners, key=lambda pair: works.index(pair[0]))
        runs = {" ".join(pair): partial(_load, runners[pair], pair[0], sent) for pair in order}
        found = interleaved(runs, rounds=bench.rounds, seconds=bench.seconds, say=bench.say)
        for runner in {runner.name: runner for runner in runners.values()}.values():
            try:
                verify_log(runner, written[runner.name] + int(sent.get(runner.name, 0)))
            except BenchFailed as failed:
                bench.say(str(failed))
    return {pair: found[" ".join(pair)] for pair in order if " ".join(pair) in found}


def _ready(name: str, works: list[str], bench: Bench, stack: ExitStack) -> dict[Pair, Runner]:
    """Yield a started contender with correct responses, by each workload it takes part in."""
    mine = [work for work in works if work in CONTENDERS[name].works]
    if not mine:
        return {}
    runner = stack.enter_context(started(name, bench.stage))
    for work in mine:
        verify(runner, WORKLOADS[work], bench.stage)
    return {(work, name): runner for work in mine}


def _load(runner: Runner, work: str, sent: dict[str, float], seconds: float) -> Figures:
    workload = WORKLOADS[work]
    pid, url = runner.process.pid, runner.url(workload)
    if workload.is_carried_whole:
        carry = partial(upload, url, workload.size) if workload.size else partial(fetch, url)
        figures = measure_whole(pid, carry, seconds)
    else:
        figures = measure(pid, url, Load(seconds, workload.connections, workload.script))
    sent[runner.name] = sent.get(runner.name, 0) + figures.requests
    print(f"  {work:12} {runner.name:10}{figures.cpu_us:9.1f} µs{figures.requests_s:10,.0f}/s", file=sys.stderr)
    return figures
