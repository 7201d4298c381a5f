"""Writes files that must survive a crash: whole files at once, and lines at the end of a file."""

import fcntl
import os
import stat
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from gateway.system.files import NotRegular

PRIVATE = 0o600


def edit_file(path: Path, edit: Callable[[bytes], bytes]) -> None:
    """Replace the content of a file by what `edit` returns for it, for a missing file for an empty content. Create it
    with mode 0600; an existing file keeps its owner.

    Readers see the old or the new content, and edits of several processes do not overwrite each other. Raise OSError;
    then nothing is changed.
    """
    target = path.resolve()  # a symbolic link stays one
    folder = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        former = target.stat() if target.exists() else None
        content = edit(target.read_bytes() if former is not None else b"")
        descriptor, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fchmod(descriptor, PRIVATE)
                if former is not None and (former.st_uid, former.st_gid) != (os.geteuid(), os.getegid()):
                    os.fchown(descriptor, former.st_uid, former.st_gid)
                os.fsync(descriptor)
            Path(name).replace(target)
        except BaseException:
            with suppress(FileNotFoundError):
                Path(name).unlink()
            raise
        os.fsync(folder)  # without it, a crash could lose the name of the new file
    finally:
        os.close(folder)


def append_line(path: Path, line: bytes) -> None:
    """Append a line, with its line feed, to a regular file and wait until it is on the disk. Create the file with mode
    0600. A line that a crash or a full disk has cut short is ended first. Raise OSError.
    """
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK  # O_NONBLOCK: a pipe opens at once
    descriptor = os.open(path, flags, PRIVATE)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise NotRegular
        size = status.st_size
        begins_line = size == 0 or os.pread(descriptor, 1, size - 1) == b"\n"
        rest = memoryview(line if begins_line else b"\n" + line)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
        os.fdatasync(descriptor)
    finally:
        os.close(descriptor)
