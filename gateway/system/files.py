"""Reads files that may hang: only regular ones, in a thread, with a time limit.

A pipe returns its bytes only once, and blocks on open. A mount whose server is gone blocks for ever, and ignores
signals. Neither may block the loop, a stop of the gateway, or the reading of other files. The threads of the loop's
executor cannot be used: they are few, and the process waits for them at its end.
"""

import errno
import os
import stat
import sys
import threading
from collections.abc import Callable, Hashable, Iterator
from concurrent.futures import Future, wait
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue
from typing import Any, TypeVar

from gateway.system.confined_files import confined_status, open_confined
from gateway.system.confined_path import ConfinedPath

T = TypeVar("T")
FileState = tuple[int, int, int]

MAX_BYTES = 8 * 1024 * 1024
"""Most bytes of a file of certificates: those of a whole system are a quarter of a MiB."""
DEFAULT_TIMEOUT = 30.0
"""Seconds that a read may take."""
MAX_ABANDONED = 4
"""Largest number of hanging threads of one owner; above it, nothing is read for this owner until one of them ends."""
_DESCRIPTORS = "/proc/self/fd" if sys.platform == "linux" else "/dev/fd"
"""The folder with the open files of this process."""
_abandoned: dict[Hashable, set[Future[Any]]] = {}
_lock = threading.Lock()


class NotRegular(OSError):
    """The file is a pipe, a device, a folder or a socket."""

    def __init__(self) -> None:
        super().__init__(errno.EINVAL, "not a regular file")


def read_file(path: str | Path, limit: int) -> bytes:
    """Return the content of a regular file, up to `limit` bytes. Raise NotRegular, LeavesFolder for a confined path
    that does, and OSError as `open` does.
    """
    with os.fdopen(_open_regular(path), "rb") as file:
        return file.read(limit)


@contextmanager
def library_path(path: str | Path) -> Iterator[str]:
    """Yield the path by which a library opens a regular file. Raise NotRegular, and OSError if it cannot be opened.

    A confined file is opened here, and the path leads to its descriptor: a link could replace the file before the
    library opens it.
    """
    descriptor = _open_regular(path)
    try:
        yield f"{_DESCRIPTORS}/{descriptor}" if isinstance(path, ConfinedPath) else str(path)
    finally:
        os.close(descriptor)


def file_status(path: str | Path) -> os.stat_result:
    """Return the status of a file, of a confined one only in its folder. Raise OSError or ValueError."""
    return confined_status(path) if isinstance(path, ConfinedPath) else Path(path).stat()


def file_state(path: str | Path) -> FileState | None:
    """Return a value that changes when the content of a file does; None for a file that cannot be found."""
    try:
        status = file_status(path)
    except (OSError, ValueError):
        return None
    return status.st_mtime_ns, status.st_ino, status.st_size


async def in_thread(work: Callable[[], T], *, owner: Hashable, within: float = DEFAULT_TIMEOUT) -> T:
    """Run `work` in its own thread and return its result. Raise TimeoutError, which is an OSError, if it takes too
    long: the thread is then abandoned, and does not keep the process from ending.

    Hanging threads count for `owner`, so that one owner's files do not block another.
    """
    import asyncio  # noqa: PLC0415 - verbs that only read a file need no loop

    result = _start(work, owner)
    waiting = asyncio.wrap_future(result)
    try:
        await asyncio.wait({waiting}, timeout=within)
        if not waiting.done():
            raise OSError(errno.ETIMEDOUT, f"files or secrets do not answer within {within:g} s")
        return waiting.result()
    finally:
        waiting.cancel()
        _abandon(result, owner)


def run_with_timeout(work: Callable[[], T], *, owner: Hashable, timeout: float) -> T:
    """Run `work` as `in_thread` does, for a caller without a loop."""
    result = _start(work, owner)
    wait((result,), timeout=timeout)
    if not result.done():
        _abandon(result, owner)
        raise OSError(errno.ETIMEDOUT, f"no answer within {timeout:g} s")
    return result.result()


class DaemonThreads:
    """A pool of daemon threads for work on files; it ends with this object. Since a file may hang, the process does not
    wait for them at its end, as it does for those of `ThreadPoolExecutor`.
    """

    def __init__(self, count: int, *, name: str) -> None:
        self._count = count
        self._name = name
        self._threads = 0
        self._queue: SimpleQueue[Callable[[], None] | None] = SimpleQueue()

    def submit(self, work: Callable[[], T]) -> "Future[T]":
        """Do `work` in one of the threads."""
        result: Future[T] = Future()

        def run() -> None:
            if not result.set_running_or_notify_cancel():
                return
            try:
                result.set_result(work())
            except BaseException as raised:  # noqa: BLE001 - passed to the one who waits
                result.set_exception(raised)

        self._queue.put(run)
        if self._threads < self._count:
            self._threads += 1
            threading.Thread(target=_run_queue, args=(self._queue,), name=self._name, daemon=True).start()
        return result

    def __del__(self) -> None:
        self.shutdown()

    def shutdown(self) -> None:
        """Let the threads end after the work that was submitted."""
        for _ in range(self._threads):
            self._queue.put(None)
        self._threads = 0


def _open_regular(path: str | Path) -> int:
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK  # O_NONBLOCK: a pipe opens at once
    descriptor = open_confined(path, flags) if isinstance(path, ConfinedPath) else os.open(path, flags)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise NotRegular
    return descriptor


def _run_queue(queue: "SimpleQueue[Callable[[], None] | None]") -> None:
    while (run := queue.get()) is not None:
        run()
        del run  # it may hold the owner of the threads


def _start(work: Callable[[], T], owner: Hashable) -> "Future[T]":
    with _lock:
        for known, results in tuple(_abandoned.items()):
            results.difference_update([result for result in results if result.done()])
            if not results:
                del _abandoned[known]
        if len(_abandoned.get(owner, ())) >= MAX_ABANDONED:
            raise OSError(errno.ETIMEDOUT, f"{MAX_ABANDONED} earlier attempts still hang")
    result: Future[T] = Future()
    result.set_running_or_notify_cancel()  # so that it cannot be cancelled

    def run() -> None:
        try:
            result.set_result(work())
        except BaseException as raised:  # noqa: BLE001 - passed to the one who waits
            result.set_exception(raised)

    threading.Thread(target=run, name="files", daemon=True).start()
    return result


def _abandon(result: "Future[Any]", owner: Hashable) -> None:
    with _lock:
        if not result.done():
            _abandoned.setdefault(owner, set()).add(result)
