"""The goals, and whether they are reached. A goal is a line in the table; values are ratios of the gateway to a
peer.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from bench.additions import ADDITIONS
from bench.results import Results

FLAT = 1.03
"""What "costs the same" is held to."""
CONSOLE = 1.02
"""What people who look at the console may cost a call."""
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
        is_met = self.value >= self.goal.limit if self.goal.at_least else self.value <= self.goal.limit
        return "reached" if is_met else "missed"

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


def _peer_goals() -> Iterator[Goal]:
    """Yield the goals beside the peers in CPU time, by workload."""
    for work, limit in _BY_ENVOY.items():
        yield Goal(f"{work}, CPU by Envoy's", _ratio(work, "envoy"), limit)
    for work, limit in _BY_NGINX.items():
        yield Goal(f"{work}, CPU by nginx's", _ratio(work, "nginx"), limit)


_BY_ENVOY = {
    "plain": 0.75,
    "plain-fixed": 0.60,
    "tls": 0.75,
    "post": 0.70,
    "post-tls": 0.70,
    "json": 0.80,
    "xml": 0.80,
    **dict.fromkeys(("down", "up", "down-tls", "up-tls", "down-64", "up-64", "down-64-tls", "up-64-tls"), 0.85),
    "plain-256": 0.75,
    "plain-1000": 0.75,
}
_BY_NGINX = {"plain": 2.2, "plain-fixed": 1.8, "tls": 2.0}

GOALS = (
    *_peer_goals(),
    Goal("plain at 32 connections, p50 by Envoy's", _ratio("plain", "envoy", "p50_us"), 0.85),
    Goal("plain at 32 connections, p99 by Envoy's", _ratio("plain", "envoy", "p99_us"), 0.85),
    Goal("1 MiB of JSON without a URL, renamed", _fact("renaming.none.renamed_ms"), 3, "ms"),
    Goal("1 MiB of JSON with 6,000 links to OIC, renamed", _fact("renaming.ours.renamed_ms"), 6, "ms"),
    Goal("such links, ÷ the sub_filter of nginx", _fact("sub_filter.links.ratio"), 1.5),
    Goal("history in SQLite adds", _fact("history.added_us"), 8, "µs"),
    Goal("a console by none, CPU", _fact("console.on_ratio"), CONSOLE),
    Goal("a console with 20 live readers by none, CPU", _fact("console.live_ratio"), CONSOLE),
    *(Goal(f"{about} adds", _fact(f"additions.{work}_us"), 3, "µs") for work, about in ADDITIONS.items()),
    Goal("10,000 routes by one, CPU", _fact("routes.ratio"), FLAT),
    Goal("1,000 credentials by one, CPU", _fact("credentials.ratio"), FLAT),
    Goal("10,000 idle callers add", _fact("idle.mb"), 100, "MB"),
    Goal("1 GiB down adds", _fact("stream.down_mb"), 16, "MB"),
    Goal("1 GiB up adds", _fact("stream.up_mb"), 16, "MB"),
    Goal("50 MB of JSON renamed in flight adds", _fact("renaming.most_mb"), 16, "MB"),
    Goal("token requests for 1,000 that wait", _fact("storm.requests"), 1),
    Goal("p99 with renewals by without", _fact("renewal.ratio"), NOISE),
    Goal("ready after its start within", _fact("start.ready_s"), 0.35, "s"),
    Goal("memory at rest", _fact("rest.mb"), 50, "MB"),
    Goal("two workers by one, throughput", _fact("workers.ratio"), 1.9, at_least=True),
)
