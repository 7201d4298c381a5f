"""The results of a run: medians of workloads, facts of scale runs, and failures."""

import os
from dataclasses import asdict, dataclass, field

from bench.measure import Figures
from bench.scale import Fact


@dataclass(slots=True)
class Results:
    """`rows` by workload and contender, `facts` by scale run, `complaints` in order."""

    rows: dict[tuple[str, str], Figures] = field(default_factory=dict)
    facts: dict[str, list[Fact]] = field(default_factory=dict)
    complaints: list[str] = field(default_factory=list)
    load_before: float = field(default_factory=lambda: os.getloadavg()[0])
    """What else ran on the machine: its load average of the minute before."""

    def workloads(self) -> list[str]:
        """Return the measured workloads in order."""
        return list(dict.fromkeys(work for work, _ in self.rows))

    def contenders(self) -> list[str]:
        """Return the measured contenders in order."""
        return list(dict.fromkeys(name for _, name in self.rows))

    def ratio(self, work: str, peer: str, figure: str = "cpu_us") -> float | None:
        """Return the gateway's value divided by the peer's, if both were measured."""
        ours, theirs = self.rows.get((work, "gateway")), self.rows.get((work, peer))
        return getattr(ours, figure) / getattr(theirs, figure) if ours and theirs else None

    def fact(self, key: str) -> float | None:
        """Return a fact of a scale run by its key, if it was found."""
        return next((fact.value for facts in self.facts.values() for fact in facts if fact.key == key), None)

    def plain(self) -> dict[str, object]:
        """Return the results for JSON."""
        rows = [{"workload": work, "contender": name, **asdict(row)} for (work, name), row in self.rows.items()]
        facts = [{"run": run, **asdict(fact)} for run, found in self.facts.items() for fact in found]
        return {"workloads": rows, "scale": facts, "complaints": self.complaints, "load_before": self.load_before}
