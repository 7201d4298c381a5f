"""Pure: which one-time proofs were used already. Bounded in time and in number, and it never forgets one too early."""

import hashlib

FRESHNESS = 300.0
"""Seconds by which the creation of a proof may differ from the present time."""
MAX_ENTRIES = 100_000
"""Largest number of proofs in memory. Above it, the oldest ones are dropped, and proofs as old as these are refused."""
_SPAN = 30.0  # seconds of creation times that share a group


class ReplayCache:
    """The proofs that were used, in groups by their creation time."""

    def __init__(self, *, max_entries: int = MAX_ENTRIES) -> None:
        self._max_entries = max_entries
        self._groups: dict[int, set[bytes]] = {}
        self._count = 0
        self._floor = float("-inf")  # proofs created before it are refused

    def __len__(self) -> int:
        """Return the number of proofs in memory."""
        return self._count

    def admit(self, proof: str, *, created: float, now: float) -> bool:
        """Remember a proof. Return False if it was used before, or may have been. Times are in seconds."""
        if created < self._floor or abs(now - created) > FRESHNESS:
            return False
        group = int(created // _SPAN)
        known = self._groups.setdefault(group, set())
        digest = hashlib.sha256(proof.encode("utf-8", "surrogatepass")).digest()[:16]
        if digest in known:
            return False
        known.add(digest)
        self._count += 1
        self._forget(now)
        return True

    def _forget(self, now: float) -> None:
        """Drop groups that are too old, and the oldest ones while there are too many proofs."""
        while self._groups:
            oldest = min(self._groups)
            end = (oldest + 1) * _SPAN
            if end >= now - FRESHNESS and self._count <= self._max_entries:
                return
            self._count -= len(self._groups.pop(oldest))
            self._floor = max(self._floor, end)
