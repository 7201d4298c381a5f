"""Tables of the results: for the terminal, and as Markdown between markers of docs/performance.md."""

import platform
from collections.abc import Iterable, Sequence
from datetime import date

from bench.contenders import CONTENDERS
from bench.goals import Verdict
from bench.interpreter import interpreter
from bench.renaming import BODIES, LARGE
from bench.results import Results
from bench.runs import RUNS
from bench.workloads import WORKLOADS

_PEERS = ("envoy", "nginx")
RENAMING = "renaming"
_LARGE = (
    ("plain_ms", 2, " ms"),
    ("renamed_ms", 2, " ms"),
    ("ratio", 1, ""),
    ("plain_mib_s", 0, " MiB/s"),
    ("renamed_mib_s", 0, " MiB/s"),
    ("plain_mb", 1, " MB"),
    ("renamed_mb", 1, " MB"),
)
_SMALL = (("plain_us", 1, " µs"), ("renamed_us", 1, " µs"), ("ratio", 2, ""))
_DETAILS = {"requests_s": "req/s", "p50_us": "p50 µs", "p99_us": "p99 µs", "rss_mb": "RSS MB"}

Table = list[Sequence[str]]


def cpu_table(results: Results) -> Table:
    """Return CPU microseconds per request by workload and contender, and the gateway's ratios."""
    names = results.contenders()
    peers = [peer for peer in _PEERS if {peer, "gateway"} <= set(names)]
    titles = ["CPU µs per request", *names, *(f"gateway / {peer}" for peer in peers)]
    return [titles, *([work, *_cpu(results, work, names, peers)] for work in results.workloads())]


def _cpu(results: Results, work: str, names: Iterable[str], peers: Iterable[str]) -> list[str]:
    rows = (results.rows.get((work, name)) for name in names)
    ratios = (results.ratio(work, peer) for peer in peers)
    return [*(_sign(row.cpu_us if row else None, 1) for row in rows), *(_sign(ratio, 2) for ratio in ratios)]


def detail_table(results: Results) -> Table:
    """Return throughput, latency and memory by workload and contender."""
    rows: Table = [["workload", "contender", *_DETAILS.values()]]
    for (work, name), row in results.rows.items():
        rows.append([work, name, *(_sign(getattr(row, key), 0) for key in _DETAILS)])
    return rows


def scale_table(results: Results) -> Table:
    """Return the facts of the scale runs."""
    rows: Table = [["run", "what", "found"]]
    for run, facts in results.facts.items():
        if run == RENAMING:  # has tables of its own
            continue
        rows += [[run, fact.label, f"{_short(fact.value)} {fact.unit}".strip()] for fact in facts]
    return rows


def renaming_tables(results: Results) -> list[Table]:
    """Return the cost of rewriting URLs: large bodies per MiB, small ones per request."""
    titles = ("CPU per MiB", "renamed", "renamed / plain", "speed", "renamed", "memory", "renamed")
    large: Table = [["body, plain and renamed", *titles]]
    small: Table = [["body, plain and renamed", "CPU per request", "renamed", "renamed / plain"]]
    for name, body in BODIES.items():
        table, columns = (large, _LARGE) if body.size == LARGE else (small, _SMALL)
        cells = ((results.fact(f"{RENAMING}.{name}.{key}"), digits, unit) for key, digits, unit in columns)
        table.append([body.about, *(f"{_sign(value, digits)}{unit}" for value, digits, unit in cells)])
    return [large, small]


def renaming_section(results: Results, *, day: date, rounds: int, seconds: float) -> str:
    """Return the text between its own markers after a run of `renaming`."""
    return "\n\n".join([_run_summary(results, day, rounds, seconds), *map(markdown, renaming_tables(results))])


def goal_table(verdicts: Iterable[Verdict]) -> Table:
    """Return each goal, its limit, the value and the verdict."""
    rows: Table = [["to reach", "limit", "found", ""]]
    rows += [[verdict.goal.about, verdict.limit, verdict.shown, verdict.word] for verdict in verdicts]
    return rows


def aligned(table: Table) -> str:
    """Return a table for the terminal: the first column left-aligned, numbers right-aligned."""
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = (
        [f"{row[0]:{widths[0]}}", *(f"{cell:>{width}}" for cell, width in zip(row[1:], widths[1:], strict=True))]
        for row in table
    )
    return "\n".join("  ".join(line).rstrip() for line in lines)


def markdown(table: Table, *, left: int = 1) -> str:
    """Return a Markdown table whose first `left` columns are text."""
    rule = ["---" if number < left else "---:" for number in range(len(table[0]))]
    return "\n".join(f"| {' | '.join(row)} |" for row in (table[0], rule, *table[1:]))


def about_contenders() -> str:
    """Return a line for each contender, as Markdown."""
    return markdown([["contender", "what it does"], *([name, each.about] for name, each in CONTENDERS.items())], left=2)


def about_runs() -> str:
    """Return a line for each workload and each scale run, as Markdown."""
    works = ([name, work.about] for name, work in WORKLOADS.items())
    runs = ([name, (run.__doc__ or "").splitlines()[0]] for name, run in RUNS.items())
    return markdown([["name", "requests"], *works, *runs], left=2)


def section(results: Results, verdicts: Sequence[Verdict], *, day: date, rounds: int, seconds: float) -> str:
    """Return the text between the markers after a complete run."""
    reached = sum(verdict.word == "reached" for verdict in verdicts)
    parts = [
        f"{_run_summary(results, day, rounds, seconds)} {reached} of {len(verdicts)} goals reached.",
        markdown(cpu_table(results)),
        markdown(goal_table(verdicts)),
        markdown(scale_table(results), left=2),
        markdown(detail_table(results), left=2),
        *(f"* {complaint}" for complaint in results.complaints),
    ]
    return "\n\n".join(parts)


def put(document: str, name: str, inner: str) -> str:
    """Return the document with the text between the markers of `name` replaced. Raise ValueError if they are
    missing.
    """
    begin, end = (f"<!-- {name}: {side} -->" for side in ("begin", "end"))
    if begin not in document or end not in document:
        raise ValueError(f"the document needs the markers {begin} and {end}")
    return f"{document.partition(begin)[0]}{begin}\n\n{inner}\n\n{end}{document.partition(end)[2]}"


def _run_summary(results: Results, day: date, rounds: int, seconds: float) -> str:
    where = f"{interpreter()}, {platform.system()} {platform.machine()}"
    return (
        f"{day}, {where}: medians of {rounds} rounds of {seconds:g} s; load average before the run "
        f"{results.load_before:.1f}.\nA quiet machine has less than 0.2."
    )


def _sign(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:,.{digits}f}"


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 or value == int(value) else f"{value:.2f}" if value < 10 else f"{value:.1f}"
