"""The files of a configuration as patterns, and a fingerprint that changes when one of them does."""

import glob
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gateway.system.files import FileState, file_state

Fingerprint = tuple[tuple[str, FileState | None], ...]


@dataclass(frozen=True, slots=True)
class WatchedFiles:
    """Patterns of files, absolute, and their fingerprint from before they were read."""

    patterns: tuple[str, ...] = ()
    fingerprint: Fingerprint = ()

    def add(self, *patterns: str) -> "WatchedFiles":
        """Return these files and those of more patterns."""
        return WatchedFiles((*self.patterns, *patterns), (*self.fingerprint, *take_fingerprint(patterns)))


def watch_file(path: str | Path) -> WatchedFiles:
    """Return one file to watch."""
    return WatchedFiles().add(glob.escape(str(Path(path).absolute())))


def find_files(pattern: str) -> list[str]:
    """Return the files that a pattern matches, in alphabetical order."""
    return sorted(glob.glob(pattern, recursive=True))  # noqa: PTH207 - `Path.glob` refuses absolute patterns


def take_fingerprint(patterns: Sequence[str]) -> Fingerprint:
    """Return the state of each file that a pattern matches; links are followed, so that one that leads to another file
    changes it.
    """
    return tuple((file, file_state(file)) for pattern in patterns for file in find_files(pattern))
