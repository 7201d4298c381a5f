"""Message packs: how many synchronous runs an OIC service instance allows at once. Pure.

Oracle's service limits: 100 synchronous runs for each pack, 400 with a licence of one's own (BYOL), at most 2,000.
"""

from typing import Literal

Licence = Literal["included", "byol"]

RUNS_PER_PACK: dict[Licence, int] = {"included": 100, "byol": 400}
MOST_RUNS = 2000
_RESERVE = 10
"""Percent that are left to others: schedules, other clients, parallel branches within a flow."""


def synchronous_runs(packs: int, licence: Licence) -> int:
    """Return how many synchronous runs the packs allow at once."""
    return min(MOST_RUNS, packs * RUNS_PER_PACK[licence])


def default_calls(packs: int, licence: Licence) -> int:
    """Return how many calls the gateway sends at once if the configuration names no number: 90 % of the runs."""
    return synchronous_runs(packs, licence) * (100 - _RESERVE) // 100
