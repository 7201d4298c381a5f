"""The callers of one configuration, by proof."""

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from gateway.callers.proof_table import ProofTable
from gateway.callers.replay_cache import ReplayCache


class ScopedProofs(msgspec.Struct, frozen=True, eq=False):
    """The proofs of the callers of each scope (`SourceFile.scope`): its own callers, and those of the main file. Equal
    only to itself.
    """

    every: ProofTable
    """The proofs of all callers: none of them may be forwarded."""
    by_scope: Mapping[str, ProofTable]
    """Has the scope of the main file, which is empty; scopes without callers of their own are not listed."""

    def for_scope(self, scope: str) -> ProofTable:
        """Return the proofs that count on the routes of a scope. Those of another scope must not: a request whose
        proofs name two callers is refused, so a team could refuse requests to the routes of others.
        """
        found = self.by_scope.get(scope)
        return self.by_scope[""] if found is None else found


@dataclass(slots=True)
class CallerDirectory:
    """All callers. `proofs` is replaced whenever a secret changes; results from an earlier table are then verified
    again.
    """

    proofs: ScopedProofs
    replay_cache: ReplayCache
