"""Reads files that may not answer: only regular ones, and in a thread that nobody waits for longer than a limit.

A pipe gives its bytes only once and blocks who opens it; a mount whose server has gone blocks for ever, beyond the
reach of signals. Neither may stop the loop, a stop of the gateway, or the reading of other files.
"""

import asyncio
import errno
import os
import stat
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

MAX_BYTES = 8 * 1024 * 1024
"""Most bytes of a file of certificates: those of a whole system are a quarter of a MiB."""
WITHIN = 30.0
"""Seconds that reading may take."""
MOST_ABANDONED = 16
"""Threads that may hang; when so many do, nothing more is read until one of them ends."""
_abandoned: set[threading.Thread] = set()


class NotRegular(OSError):
    """What is named is a pipe, a device, a folder or a socket."""

    def __init__(self) -> None:
        super().__init__(errno.EINVAL, "not a regular file")


def read_file(path: str | Path, limit: int) -> bytes:
    """The content of a regular file, up to `limit` bytes. Raises NotRegular, and OSError as `open` does."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # O_NONBLOCK: a pipe opens at once
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise NotRegular
    with os.fdopen(descriptor, "rb") as file:
        return file.read(limit)


def check_regular(path: str | Path) -> None:
    """Raises NotRegular, and OSError where the file cannot be opened: to be called before a library opens it."""
    read_file(path, 0)


async def in_thread(work: Callable[[], T], *, within: float = WITHIN) -> T:
    """Does `work` in a thread of its own and gives its result. Raises OSError where it takes too long: the thread is
    left behind then, and does not keep the process from ending.
    """
    _abandoned.intersection_update([thread for thread in _abandoned if thread.is_alive()])
    if len(_abandoned) >= MOST_ABANDONED:
        raise OSError(errno.ETIMEDOUT, f"{MOST_ABANDONED} earlier attempts to read files still hang")
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def finish(result: T | None, error: BaseException | None) -> None:
        if done.done():
            return
        if error is None:
            done.set_result(result)  # type: ignore[arg-type] # there is a result where there is no error
        else:
            done.set_exception(error)

    def run() -> None:
        result: T | None = None
        error: BaseException | None = None
        try:
            result = work()
        except BaseException as raised:  # noqa: BLE001 - given to who waits
            error = raised
        try:
            loop.call_soon_threadsafe(finish, result, error)
        except RuntimeError:  # the loop has gone
            return

    thread = threading.Thread(target=run, name="files", daemon=True)
    thread.start()
    try:
        async with asyncio.timeout(within):
            return await done
    except TimeoutError:
        raise OSError(errno.ETIMEDOUT, f"files or secrets do not answer within {within:g} s") from None
    finally:
        if thread.is_alive():
            _abandoned.add(thread)
