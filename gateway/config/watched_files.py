"""The files of a configuration as patterns, and a fingerprint that changes when one of them does."""

import glob
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

from gateway.system.files import FileState, file_state

Fingerprint = tuple[tuple[str, FileState | None], ...]


class WatchedFiles(msgspec.Struct, frozen=True):
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
    """Return the files that an absolute pattern matches, in alphabetical order. `**` matches each folder once, and no
    link that leads out of the folder before it: links can make endlessly many paths, or lead to all files.
    """
    if pattern.endswith("/**"):
        pattern += "/*"
    start, mark, rest = pattern.partition("/**/")
    if not mark:
        return sorted(glob.glob(pattern))  # noqa: PTH207 - `Path.glob` refuses absolute patterns
    folders = [folder for top in glob.glob(start or "/") for folder in _folders_below(top)]  # noqa: PTH207 - likewise
    return sorted({file for folder in folders for file in find_files(os.path.join(glob.escape(folder), rest))})  # noqa: PTH118 - a pattern is no path


def _folders_below(top: str) -> Iterator[str]:
    """Yield a folder and those below it, each once, without those whose names begin with a dot."""
    seen: set[str] = set()
    folders, links = [top], list[str]()  # links come last, so that a folder has its own path if it has one
    while folders or links:
        folder = folders.pop() if folders else links.pop()
        resolved = os.path.realpath(folder)
        if resolved in seen or (seen and not resolved.startswith(f"{os.path.realpath(top).rstrip('/')}/")):
            continue
        seen.add(resolved)
        yield folder
        with suppress(OSError), os.scandir(folder) as entries:
            for entry in entries:
                if not entry.name.startswith(".") and entry.is_dir():
                    (links if entry.is_symlink() else folders).append(entry.path)


def take_fingerprint(patterns: Sequence[str]) -> Fingerprint:
    """Return the state of each file that a pattern matches; links are followed, so that one that leads to another file
    changes it.
    """
    return tuple((file, file_state(file)) for pattern in patterns for file in find_files(pattern))
