"""Pure: which one-time proofs were used already. Bounded in time and in number; no proof is accepted twice."""

import hashlib

FRESHNESS = 300.0
"""Seconds by which the creation of a proof may differ from the present time."""
MAX_ENTRIES = 100_000
"""Maximum number of proofs in memory. Above it, the oldest are dropped, and proofs that are as old are refused."""
_GROUP_SECONDS = 30.0  # seconds of creation times that share a group


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
        """Remember a proof. Return False if it was used before, or may have been used before. Times are in seconds."""
        if created < self._floor or abs(now - created) > FRESHNESS:
            return False
        group = int(created // _GROUP_SECONDS)
        digests = self._groups.setdefault(group, set())
        digest = hashlib.sha256(proof.encode("utf-8", "surrogatepass")).digest()[:16]
        if digest in digests:
            return False
        digests.add(digest)
        self._count += 1
        self._forget(now)
        return True

    def _forget(self, now: float) -> None:
        """Drop groups that are too old, and the oldest ones while there are too many proofs."""
        while self._groups:
            oldest = min(self._groups)
            end = (oldest + 1) * _GROUP_SECONDS
            if end >= now - FRESHNESS and self._count <= self._max_entries:
                return
            self._count -= len(self._groups.pop(oldest))
            self._floor = max(self._floor, end)
