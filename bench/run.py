"""The gateway beside its peers, in one run on one machine.

An absolute time of a small machine means nothing, a ratio within one run does. The contender works alone on CPU 0,
upstream and load on CPU 1, in interleaved rounds; the result is CPU time per request (docs/performance.md). A complete
run writes bench/result.json, docs/performance.svg and the tables of docs/performance.md; `--only renaming --write`
replaces the table of that run.
"""

import argparse
import json
import platform
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # so that this file can be run by its name

from bench import report
from bench.beside import groups, side_by_side
from bench.contenders import CONTENDERS
from bench.goals import Verdict, verdicts
from bench.interpreter import install_interpreter, interpreter
from bench.measure import Bench
from bench.peers import install_peers, install_tools
from bench.picture import picture
from bench.results import Results
from bench.runs import RUNS
from bench.stage import HERE, BenchFailed, opened
from bench.workloads import WORKLOADS

DOCS = HERE.parent / "docs"
OF_PEERS = {"envoy", "mitmproxy"}
QUICK = argparse.Namespace(
    only=("plain", "plain-fixed", "tls", "post", "post-tls", "xml"),
    contenders=("gateway", "nginx", "envoy"),
    rounds=3,
    seconds=1.0,
)
FULL = argparse.Namespace(only=(*WORKLOADS, *RUNS), contenders=tuple(CONTENDERS), rounds=3, seconds=5.0)


def main() -> int:
    options = parse_options()
    results = Results()
    try:
        install_tools()
        install_interpreter()
        if OF_PEERS & set(options.contenders):
            install_peers()
        with opened() as stage:
            bench = Bench(stage, options.rounds, options.seconds, partial(complain, results))
            for works in groups(options.only):
                results.rows |= side_by_side(bench, works, options.contenders)
            for name in (name for name in options.only if name in RUNS):
                run(bench, name, results)
    except BenchFailed as failed:
        print(f"bench: {failed}", file=sys.stderr)
        return 1
    judged = verdicts(results)
    show(results, judged)
    if options.write:
        write(results, judged, options)
    return 1 if results.complaints else 0


def parse_options() -> argparse.Namespace:
    """Return the parsed command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="six workloads, three contenders, short rounds")
    parser.add_argument("--only", type=names(FULL.only), help=f"of {', '.join(FULL.only)}")
    parser.add_argument("--contenders", type=names(FULL.contenders), help=f"of {', '.join(FULL.contenders)}")
    parser.add_argument("--gateway-only", action="store_const", dest="contenders", const=("gateway",))
    parser.add_argument("--rounds", type=int, help="that count, after one to warm up")
    parser.add_argument("--seconds", type=float, help="of each load")
    parser.add_argument("--write", action="store_true", help="write the files, as a complete run does")
    options = parser.parse_args()
    options.write |= not (options.quick or options.only or options.contenders)
    for name, value in vars(QUICK if options.quick else FULL).items():
        if getattr(options, name) is None:
            setattr(options, name, value)
    return options


def names(known: tuple[str, ...]) -> Callable[[str], tuple[str, ...]]:
    def parse(text: str) -> tuple[str, ...]:
        if unknown := sorted(set(text.split(",")) - set(known)):
            raise argparse.ArgumentTypeError(f"unknown: {', '.join(unknown)}; known: {', '.join(known)}")
        return tuple(name for name in known if name in text.split(","))

    return parse


def run(bench: Bench, name: str, results: Results) -> None:
    """Run one scale run; a failure is reported, and the others continue."""
    print(f"  {name} ...", file=sys.stderr)
    try:
        results.facts[name] = RUNS[name](bench)
    except (BenchFailed, OSError) as failed:
        complain(results, f"{name}: {failed}")


def complain(results: Results, text: str) -> None:
    results.complaints.append(text)
    print(f"bench: {text}", file=sys.stderr)


def show(results: Results, judged: list[Verdict]) -> None:
    """Print the tables on the terminal."""
    if results.rows:
        print(report.aligned(report.cpu_table(results)), "", sep="\n")
        print(report.aligned(report.detail_table(results)), "", sep="\n")
    if results.facts.keys() - {report.RENAMING}:
        print(report.aligned(report.scale_table(results)), "", sep="\n")
    if report.RENAMING in results.facts:
        print(*map(report.aligned, report.renaming_tables(results)), "", sep="\n\n")
    if measured := [verdict for verdict in judged if verdict.value is not None]:
        print(report.aligned(report.goal_table(measured)))


def write(results: Results, judged: list[Verdict], options: argparse.Namespace) -> None:
    """Write the files of a run; values that it did not measure stay."""
    now = datetime.now(UTC)
    of_run = {"day": now.date(), "rounds": options.rounds, "seconds": options.seconds}
    parts = {"contenders": report.about_contenders(), "runs": report.about_runs()}
    if report.RENAMING in results.facts:
        parts[report.RENAMING] = report.renaming_section(results, **of_run)
    if results.rows:
        parts["last run"] = report.section(results, judged, **of_run)
        (HERE / "result.json").write_text(json.dumps(as_json(results, judged, options, now), indent=2) + "\n")
        (DOCS / "performance.svg").write_text(picture(results))
    page = DOCS / "performance.md"
    text = page.read_text()
    for name, inner in parts.items():
        text = report.put(text, name, inner)
    page.write_text(text)


def as_json(results: Results, judged: list[Verdict], options: argparse.Namespace, now: datetime) -> dict[str, object]:
    """Return all results for JSON."""
    goals = [{"goal": each.goal.about, "limit": each.limit, "value": each.value, "is": each.word} for each in judged]
    facts = {"time": f"{now:%Y-%m-%dT%H:%MZ}", "machine": platform.platform(), "python": str(interpreter())}
    return {**facts, "rounds": options.rounds, "seconds": options.seconds, **results.plain(), "goals": goals}


if __name__ == "__main__":
    sys.exit(main())
