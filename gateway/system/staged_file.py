"""Replaces the content of a file in two steps: everything that can fail is tried before the new content is known."""

import fcntl
import glob
import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from gateway.system.confined_files import resolve_file
from gateway.system.files import read_file

RESERVED_BYTES = 4096
_MAX_BYTES = 1024 * 1024
_MARK = "rotation"


@contextmanager
def lock_folders(paths: Iterable[str | Path]) -> Iterator[None]:
    """Lock the folders of these files. Raise BlockingIOError if another process holds a lock, OSError for a folder that
    cannot be opened.
    """
    with ExitStack() as stack:
        for folder in sorted({resolve_file(path).parent for path in paths}):
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            stack.callback(os.close, descriptor)
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield


class StagedFile:
    """The replacement of the existing file `path`; a symbolic link stays one.

    The constructor proves that the file can be replaced: it replaces it by its own content, with the same mode, owner
    and times. Then it reserves room for the new content in a file beside it, with mode 0600. Raise OSError; then
    nothing has changed. Lock the folder before.
    """

    def __init__(self, path: str | Path) -> None:
        self.target = resolve_file(path)
        self.former_content = read_file(self.target, _MAX_BYTES)
        self._status = self.target.stat()
        self.leftovers = tuple(self.target.parent.glob(f".{glob.escape(self.target.name)}.{_MARK}-*"))
        """Files of earlier replacements that were not finished."""
        self._stage(self.former_content)
        try:
            self._replace(times=(self._status.st_atime_ns, self._status.st_mtime_ns))
            self._stage(bytes(RESERVED_BYTES))
        except BaseException:
            self.discard()
            raise

    def write(self, content: bytes) -> None:
        """Write the new content durably to the file beside the target. Raise OSError."""
        descriptor = os.open(self.temporary, os.O_WRONLY | os.O_CLOEXEC)
        try:
            rest = memoryview(content)
            while rest:
                rest = rest[os.write(descriptor, rest) :]
            os.ftruncate(descriptor, len(content))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def publish(self) -> None:
        """Replace the target by what was written. Raise OSError; then the content is still in `temporary`."""
        self._replace()

    def discard(self) -> None:
        """Remove the file beside the target."""
        with suppress(OSError):
            self.temporary.unlink()

    def find_unpublished(self) -> Path | None:
        """Return the newest leftover with complete content that is not the present one; None if there is none."""
        found = [path for path in self.leftovers if self._has_new_content(path)]
        return max(found, key=lambda path: path.stat().st_mtime_ns, default=None)

    def remove_leftovers(self) -> None:
        """Remove the files of earlier replacements that were not finished."""
        for leftover in self.leftovers:
            with suppress(OSError):
                leftover.unlink()

    def _has_new_content(self, path: Path) -> bool:
        """Return whether a leftover is neither reserved room, which `write` may have begun to fill, nor a copy of the
        present content or of its beginning.
        """
        try:
            content = read_file(path, _MAX_BYTES)
        except OSError:
            return False
        return b"\0" not in content and not self.former_content.strip().startswith(content.strip())

    def _stage(self, content: bytes) -> None:
        descriptor, name = tempfile.mkstemp(prefix=f".{self.target.name}.{_MARK}-", dir=self.target.parent)
        os.close(descriptor)
        self.temporary = Path(name)
        try:
            self.write(content)
        except BaseException:
            self.discard()
            raise

    def _replace(self, *, times: tuple[int, int] | None = None) -> None:
        owner = self._status.st_uid, self._status.st_gid
        status = self.temporary.stat()
        if owner != (status.st_uid, status.st_gid):
            os.chown(self.temporary, *owner)
        self.temporary.chmod(self._status.st_mode & 0o7777)
        if times is not None:
            os.utime(self.temporary, ns=times)
        try:
            self.temporary.replace(self.target)
        except OSError:
            self.temporary.chmod(0o600)
            raise
        _sync_folder(self.target.parent)


def keep_privately(content: bytes, folders: Iterable[Path], name: str) -> Path | None:
    """Write the content durably to a new file with mode 0600 in the first of the folders that takes it. Return its
    path, None if none does.
    """
    for folder in folders:
        with suppress(OSError):
            descriptor, path = tempfile.mkstemp(prefix=f"{name}-", dir=folder)
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(descriptor)
            _sync_folder(folder)
            return Path(path)
    return None


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)  # without it, a crash could lose the name of the new file
    finally:
        os.close(descriptor)
