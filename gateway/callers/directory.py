"""The callers of one configuration, by name and by proof."""

from collections.abc import Mapping
from dataclasses import dataclass

from gateway.callers.proof_table import ProofTable
from gateway.callers.replay_cache import ReplayCache
from gateway.observe.meters import CallerMeter

UNKNOWN_LABEL = "-"
"""The label of requests to routes with `callers` that have no known caller."""


@dataclass(frozen=True, slots=True)
class KnownCaller:
    """A caller of the configuration."""

    name: str
    meter: CallerMeter


@dataclass(slots=True)
class CallerDirectory:
    """All callers. `proofs` is replaced whenever a secret changes; results from an earlier table are then verified
    again.
    """

    proofs: ProofTable
    by_name: Mapping[str, KnownCaller]
    unknown_caller: KnownCaller
    """Counts the requests without a known caller."""
    replay_cache: ReplayCache
