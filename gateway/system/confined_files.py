"""Opens files that must stay in a folder which other people can write to.

A check of the path before the file is opened proves nothing: a folder on the way can become a link in between. So each
folder on the resolved way is opened on its own, none of them through a link. openat2(2) with RESOLVE_BENEATH would
refuse absolute links that stay inside, and Python does not have it. Linux does not let people make hard links to files
of others (fs.protected_hardlinks).
"""

import errno
import os
from collections.abc import Callable
from pathlib import Path, PurePath
from typing import TypeVar

from gateway.system.confined_path import ConfinedPath

T = TypeVar("T")

_ATTEMPTS = 5
_CHANGED = frozenset((errno.ENOENT, errno.ELOOP, errno.ENOTDIR))
"""What may be over at once: the kubelet replaces the link `..data`, and removes the folder that it led to."""
_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | getattr(os, "O_PATH", 0)  # O_PATH needs no permission


class LeavesFolder(OSError):
    """A link leads out of the folder of an included file. `strerror` is "problem; remedy"."""

    def __init__(self, path: ConfinedPath) -> None:
        self.what = f"`{path}` leads out of the folder of the included file that names it"
        self.remedy = f"replace the link by a file, or by a link to a file below `{path.folder}`"
        super().__init__(errno.EXDEV, f"{self.what}; {self.remedy}")

    def __str__(self) -> str:
        return self.strerror or ""


def open_confined(path: ConfinedPath, flags: int) -> int:
    """Open a file below its folder. Raise LeavesFolder, and OSError as `os.open` does."""
    return _in_folder(path, lambda name, folder: os.open(name, flags | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder))


def confined_status(path: ConfinedPath) -> os.stat_result:
    """Return the status of a file below its folder. Raise LeavesFolder, and OSError as `os.stat` does."""
    return _in_folder(path, lambda name, folder: os.stat(name, dir_fd=folder, follow_symlinks=False))


def resolve_file(path: str | Path) -> Path:
    """Return a path without links. Raise LeavesFolder for a confined one that does."""
    return Path(_resolve(path)[1]) if isinstance(path, ConfinedPath) else Path(path).resolve()


def leaves_folder(path: ConfinedPath) -> bool:
    """Return whether a path leads out of its folder now; a file that does not exist may."""
    try:
        _resolve(path)
    except LeavesFolder:
        return True
    return False


def _resolve(path: ConfinedPath) -> tuple[str, str]:
    """Return the anchor and the file, both without links. Raise LeavesFolder."""
    anchor = os.path.realpath(path.anchor)
    folder = os.path.normpath(PurePath(anchor, path.inner))
    resolved = os.path.realpath(PurePath(folder, path.relative))
    if not resolved.startswith(f"{folder.rstrip('/')}/") or not f"{folder}/".startswith(f"{anchor.rstrip('/')}/"):
        raise LeavesFolder(path)
    return anchor, resolved


def _in_folder(path: ConfinedPath, use: Callable[[str, int], T]) -> T:
    """Return `use` of the name of a file and of the descriptor of the folder that has it; repeat it after a change."""
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            return _in_resolved_folder(path, use)
        except OSError as cause:
            if cause.errno not in _CHANGED or attempt == _ATTEMPTS:
                raise
    raise AssertionError


def _in_resolved_folder(path: ConfinedPath, use: Callable[[str, int], T]) -> T:
    anchor, resolved = _resolve(path)
    *folders, name = PurePath(resolved).relative_to(anchor).parts
    descriptor = os.open(anchor, _FOLDER_FLAGS)
    try:
        for inner in folders:
            parent, descriptor = descriptor, os.open(inner, _FOLDER_FLAGS | os.O_NOFOLLOW, dir_fd=descriptor)
            os.close(parent)
        return use(name, descriptor)
    finally:
        os.close(descriptor)
