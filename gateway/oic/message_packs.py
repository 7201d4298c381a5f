"""Message packs: how many synchronous runs at once and how many messages an hour an OIC service instance has. Pure.

Oracle's service limits: 100 synchronous runs for each pack, 400 with a licence of one's own (BYOL), at most 2,000. A
pack is 5,000 messages an hour, 20,000 with a licence of one's own.
"""

from typing import Literal

Licence = Literal["included", "byol"]

RUNS_PER_PACK: dict[Licence, int] = {"included": 100, "byol": 400}
MAX_SYNCHRONOUS_RUNS = 2000
MESSAGES_PER_PACK: dict[Licence, int] = {"included": 5000, "byol": 20_000}
_RESERVE = 10
"""Percent that are left to others: schedules, other clients, parallel branches within a flow."""


def synchronous_runs(packs: int, licence: Licence) -> int:
    """Return how many synchronous runs the packs allow at once."""
    return min(MAX_SYNCHRONOUS_RUNS, packs * RUNS_PER_PACK[licence])


def default_call_limit(packs: int, licence: Licence) -> int:
    """Return how many calls the gateway sends at once if the configuration names no number: 90 % of the runs."""
    return synchronous_runs(packs, licence) * (100 - _RESERVE) // 100


def hourly_messages(packs: int, licence: Licence) -> int:
    """Return how many messages an hour the packs contain."""
    return packs * MESSAGES_PER_PACK[licence]
