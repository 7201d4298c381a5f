"""How much of a volume a history may take: tokens lie on the same one, and must always find room."""

import os
from pathlib import Path
from typing import NamedTuple

RESERVE = 4 * 1024 * 1024
"""Bytes that stay free for tokens; of a volume below 16 MiB a quarter."""


class Volume(NamedTuple):
    """Bytes in all, and those that are free for us."""

    total: int
    free: int

    @property
    def reserve(self) -> int:
        """What stays free for tokens, and once more what SQLite's write-ahead log of a history may take."""
        return min(RESERVE, self.total // 4)

    @property
    def is_short(self) -> bool:
        """Whether a history must give back what it has."""
        return self.free < self.reserve

    @property
    def can_begin(self) -> bool:
        """Whether a history may begin."""
        return self.free >= 2 * self.reserve + self._least

    def room(self, used: int) -> int:
        """The most that a history may have whose files take `used` bytes now."""
        return max(self._least, used + self.free - 2 * self.reserve)

    @property
    def _least(self) -> int:
        return self.reserve // 4


def volume_of(path: Path) -> Volume:
    """The volume that the folder of `path` is on. Raises OSError where there is no such folder."""
    found = os.statvfs(path.parent)
    return Volume(found.f_blocks * found.f_frsize, found.f_bavail * found.f_frsize)


def bytes_used(path: Path) -> int:
    """What the history at `path` takes of its volume, with what SQLite keeps beside it."""
    return sum(_allocated(path.with_name(path.name + end)) for end in ENDS)


ENDS = ("", "-wal", "-shm")
"""Of the names of an SQLite file and what lies beside it."""


def _allocated(file: Path) -> int:
    try:
        return file.stat().st_blocks * 512
    except FileNotFoundError:
        return 0
