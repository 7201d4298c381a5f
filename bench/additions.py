"""What the checks of a caller and the limits of a service add to a call of the gateway."""

from bench.beside import side_by_side
from bench.measure import Bench
from bench.scale import Fact
from bench.stage import BenchFailed

ADDITIONS = {"key": "a caller with a key", "basic": "a caller with Basic", "limit": "a limit of calls at once"}
"""Workloads that differ from `plain` by what they add."""


def additions(bench: Bench) -> list[Fact]:
    """Compare `plain` with a caller that has an API key, one with Basic, and a service with a limit."""
    found = side_by_side(bench.with_short_turns(), ["plain", *ADDITIONS], ["gateway"])
    figures = {work: each.cpu_us for (work, _), each in found.items()}
    if figures.keys() != {"plain", *ADDITIONS}:
        raise BenchFailed("a workload has no figure")
    return [
        Fact(f"additions.{work}_us", f"{about} adds", figures[work] - figures["plain"], "µs")
        for work, about in ADDITIONS.items()
    ]
