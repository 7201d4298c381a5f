"""The goals, and whether they are reached. A goal is a line in the table; values are ratios of the gateway to a
peer.
"""

from collections.abc import Callable
from dataclasses import dataclass

from bench.results import Results

NOISE = 1.10
"""What "adds nothing" to a p99 is held to: two equal runs differ by as much."""


@dataclass(frozen=True, slots=True)
class Goal:
    """`found` returns the value, None if it was not measured; it must be at most (`at_least`: at least) `limit`."""

    about: str
    found: Callable[[Results], float | None]
    limit: float
    unit: str = ""
    at_least: bool = False


@dataclass(frozen=True, slots=True)
class Verdict:
    """A goal and its result."""

    goal: Goal
    value: float | None

    @property
    def word(self) -> str:
        """Return `reached`, `missed` or `not measured`."""
        if self.value is None:
            return "not measured"
        kept = self.value >= self.goal.limit if self.goal.at_least else self.value <= self.goal.limit
        return "reached" if kept else "missed"

    @property
    def limit(self) -> str:
        """Return the limit in short form."""
        return f"{'≥' if self.goal.at_least else '≤'} {self.goal.limit:g}{_unit(self.goal)}"

    @property
    def shown(self) -> str:
        """Return the value in short form."""
        return "-" if self.value is None else f"{self.value:.{0 if self.goal.unit == 'MB' else 2}f}{_unit(self.goal)}"


def verdicts(results: Results) -> list[Verdict]:
    """Return the verdict on each goal."""
    return [Verdict(goal, goal.found(results)) for goal in GOALS]


def _ratio(work: str, peer: str, figure: str = "cpu_us") -> Callable[[Results], float | None]:
    return lambda results: results.ratio(work, peer, figure)


def _fact(key: str) -> Callable[[Results], float | None]:
    return lambda results: results.fact(key)


def _unit(goal: Goal) -> str:
    return f" {goal.unit}" if goal.unit else ""


GOALS = (
    Goal("plain, CPU by Envoy's", _ratio("plain", "envoy"), 0.75),
    Goal("plain, CPU by nginx's", _ratio("plain", "nginx"), 2.0),
    Goal("post, CPU by Envoy's", _ratio("post", "envoy"), 0.70),
    Goal("tls, CPU by Envoy's", _ratio("tls", "envoy"), 1.0),
    Goal("down, CPU by Envoy's", _ratio("down", "envoy"), 1.0),
    Goal("up, CPU by Envoy's", _ratio("up", "envoy"), 1.0),
    Goal("plain at 32 connections, p99 by Envoy's", _ratio("plain", "envoy", "p99_us"), 1.0),
    Goal("10,000 routes by one, CPU", _fact("routes.ratio"), 1.05),
    Goal("10,000 idle callers add", _fact("idle.mb"), 100, "MB"),
    Goal("1 GiB down adds", _fact("stream.down_mb"), 16, "MB"),
    Goal("1 GiB up adds", _fact("stream.up_mb"), 16, "MB"),
    Goal("50 MB of JSON renamed in flight adds", _fact("renaming.most_mb"), 16, "MB"),
    Goal("token requests for 1,000 that wait", _fact("storm.requests"), 1),
    Goal("p99 with renewals by without", _fact("renewal.ratio"), NOISE),
    Goal("ready after its start within", _fact("start.ready_s"), 0.7, "s"),
    Goal("memory at rest", _fact("rest.mb"), 60, "MB"),
    Goal("two workers by one, throughput", _fact("workers.ratio"), 1.7, at_least=True),
)
