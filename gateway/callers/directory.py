"""The callers of one configuration, as the request pipeline looks them up."""

from collections.abc import Mapping
from dataclasses import dataclass

from gateway.callers.proof_table import ProofTable
from gateway.callers.replay_cache import ReplayCache
from gateway.observe.meters import CallerMeter

UNKNOWN = "-"
"""The label of requests to routes with `callers` that come from no known caller."""


@dataclass(frozen=True, slots=True)
class KnownCaller:
    """A caller of the configuration."""

    name: str
    meter: CallerMeter


@dataclass(slots=True)
class CallerDirectory:
    """All callers. `proofs` is replaced whenever a secret changes; what was verified with another table is verified
    again.
    """

    proofs: ProofTable
    known: Mapping[str, KnownCaller]
    unknown: KnownCaller
    """Counts the requests of no known caller."""
    seen: ReplayCache
