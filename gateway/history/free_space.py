"""How much of a volume a history may use. Tokens may be on the same volume, and their writes must never fail."""

import os
from pathlib import Path
from typing import NamedTuple

RESERVE = 4 * 1024 * 1024
"""Bytes that stay free for tokens; a quarter of the volume if it is below 16 MiB."""


class Volume(NamedTuple):
    """The size of a volume, and how many of its bytes are free for this process."""

    total: int
    free: int

    @property
    def reserve(self) -> int:
        """Bytes that stay free for tokens, and again for the write-ahead log of the history."""
        return min(RESERVE, self.total // 4)

    @property
    def is_short(self) -> bool:
        """Whether the history must free the room that it uses."""
        return self.free < self.reserve

    @property
    def can_start(self) -> bool:
        """Whether there is enough room to create a history."""
        return self.free >= 2 * self.reserve + self._min_room

    def room(self, used: int) -> int:
        """Return the maximum size of a history whose files now use `used` bytes."""
        return max(self._min_room, used + self.free - 2 * self.reserve)

    @property
    def _min_room(self) -> int:
        return self.reserve // 4


def volume_of(path: Path) -> Volume:
    """Return the volume that contains the folder of `path`. Raise OSError if the folder does not exist."""
    stats = os.statvfs(path.parent)
    return Volume(stats.f_blocks * stats.f_frsize, stats.f_bavail * stats.f_frsize)


def bytes_used(path: Path) -> int:
    """Return the bytes that the history at `path` uses, with the other files that SQLite creates for it."""
    from gateway.system.sqlite_file import SUFFIXES  # noqa: PLC0415 - imports sqlite3

    return sum(_allocated(path.with_name(path.name + end)) for end in SUFFIXES)


def _allocated(file: Path) -> int:
    try:
        return file.stat().st_blocks * 512
    except FileNotFoundError:
        return 0
