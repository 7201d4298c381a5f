"""A log file that several processes write, and that is renamed while they do: by them at a size, or by logrotate.

Each process appends whole batches to its own descriptor (O_APPEND, which Linux does not mix). Before each batch it
looks whether the path still leads to this file; if not, it opens the new one. What another process has written to the
renamed file in between stays there, so no line is lost.
"""

import contextlib
import fcntl
import os
from pathlib import Path

MODE = 0o640
_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK  # O_NONBLOCK: a pipe opens at once


class LogFile:
    """The file `path`. Above `max_bytes` (0: never) it is renamed to PATH.1, PATH.1 to PATH.2, and so on to `count`.
    The constructor raises OSError.
    """

    def __init__(self, path: Path, *, max_bytes: int = 0, count: int = 1) -> None:
        self._path = path
        self._max_bytes = max_bytes
        self._count = count
        self.descriptor = os.open(path, _FLAGS, MODE)

    def prepare(self) -> int:
        """Return the descriptor for the next batch: that of the present file. If the file cannot be opened or renamed,
        the former one stays in use.
        """
        with contextlib.suppress(OSError):
            if not self._is_current():
                self._open()
            elif self._is_full():
                self._rotate()
        return self.descriptor

    def _is_current(self) -> bool:
        try:
            present = self._path.stat()
        except FileNotFoundError:
            return False
        own = os.fstat(self.descriptor)
        return (present.st_dev, present.st_ino) == (own.st_dev, own.st_ino)

    def _is_full(self) -> bool:
        return 0 < self._max_bytes <= os.fstat(self.descriptor).st_size

    def _open(self) -> None:
        former, self.descriptor = self.descriptor, os.open(self._path, _FLAGS, MODE)
        os.close(former)  # it also releases the lock

    def _rotate(self) -> None:
        try:
            fcntl.flock(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:  # another process renames it now
            return
        try:
            if self._is_current():
                for number in range(self._count - 1, -1, -1):
                    with contextlib.suppress(FileNotFoundError):
                        self._numbered(number).replace(self._numbered(number + 1))
            self._open()
        except OSError:
            fcntl.flock(self.descriptor, fcntl.LOCK_UN)

    def _numbered(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}") if number else self._path
