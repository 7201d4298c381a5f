"""The path of a file that must stay in a folder, whatever links lead to. Pure; `confined_files` opens it."""

from pathlib import Path
from typing import Any, Self


class ConfinedPath(str):
    """The path of a file that an included configuration file names. It is a string for messages; each time that the
    file is opened, all links to it must stay below the folder of the included file.

    `anchor` is the part of the folder that the operator has named, `inner` the rest of it without links, `relative` the
    path of the file from there. Methods of `str` return plain strings: pass the object itself to
    `gateway.system.files`, and join it by `join_folder`.
    """

    __slots__ = ("anchor", "inner", "relative")
    anchor: str
    inner: str
    relative: str

    def __new__(cls, path: str, *, anchor: str, inner: str, relative: str) -> Self:
        """Confine a path."""
        confined = super().__new__(cls, path)
        confined.anchor, confined.inner, confined.relative = anchor, inner, relative
        return confined

    def __getnewargs_ex__(self) -> tuple[tuple[str], dict[str, Any]]:
        """Return what a copy in another process is made from."""
        return (str(self),), {"anchor": self.anchor, "inner": self.inner, "relative": self.relative}

    @property
    def folder(self) -> Path:
        """Return the folder, for messages."""
        return Path(self.anchor, self.inner)


def join_folder(folder: Path, file: str) -> Path | ConfinedPath:
    """Return the path of a file that is relative to a folder. A confined one is absolute, and stays confined."""
    return file if isinstance(file, ConfinedPath) else folder / file
