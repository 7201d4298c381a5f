"""The process that forks workers. It is created before any thread, loop or open port, and never creates one: none of
them may survive a fork.

It receives sockets on a channel from the supervisor, forks a worker with them, and reports its process id, and later
its exit status. When the channel closes, it waits for its workers and ends.
"""

import asyncio
import contextlib
import errno
import gc
import os
import signal
import socket
import struct
import traceback
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from typing import NoReturn

MAX_SOCKETS = 253
"""Sockets passed to one worker: its channel, and one for each address that it listens on. Linux passes no more
(SCM_MAX_FD)."""
WorkerMain = Callable[[socket.socket, list[socket.socket]], int]
"""Runs a worker with its end of the channel and the sockets to listen on; returns its exit status."""
ForkedWorker = tuple[int, asyncio.Future[int]]
"""Process id, and a future of the exit status or the negated number of the signal."""

# Process id and wait status of an ended worker; process id (or a negated error number) and `_FORKED` of a new one.
_MESSAGE = struct.Struct("ii")
_FORKED = -1
_EX_SOFTWARE = 70


class ForkServer:
    """The supervisor's side. Create it in a process without threads and without a loop, and use it within a loop.

    `main` is what each worker runs. `lost` is set when the fork server itself has ended.
    """

    def __init__(self, main: WorkerMain) -> None:
        self._pending: deque[asyncio.Future[ForkedWorker]] = deque()
        self._exits: dict[int, asyncio.Future[int]] = {}
        self.lost = asyncio.Event()
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        gc.freeze()  # memory pages that the collector does not touch stay shared with the workers
        self.pid = os.fork()
        if not self.pid:
            self._channel.close()
            _run_child(partial(_serve, theirs, main))
        theirs.close()
        self._channel.setblocking(False)  # noqa: FBT003 - the standard library's

    def open(self) -> None:
        """Start to receive messages, in the running loop."""
        asyncio.get_running_loop().add_reader(self._channel, self._on_message)

    async def spawn(self, channel: socket.socket, listeners: list[socket.socket]) -> ForkedWorker:
        """Fork a worker with copies of these sockets. Raise OSError if the system refuses."""
        socket.send_fds(self._channel, [b"+"], [channel.fileno(), *(listener.fileno() for listener in listeners)])
        future: asyncio.Future[ForkedWorker] = asyncio.get_running_loop().create_future()
        self._pending.append(future)
        return await future

    async def close(self) -> None:
        """Close the channel and wait until the fork server has ended; its workers must have ended before."""
        asyncio.get_running_loop().remove_reader(self._channel)
        self._channel.close()
        await asyncio.to_thread(os.waitpid, self.pid, 0)

    def _on_message(self) -> None:
        try:
            message = self._channel.recv(_MESSAGE.size)
        except BlockingIOError:
            return
        except ConnectionError:
            message = b""
        if not message:
            self._on_server_exit()
            return
        pid, status = _MESSAGE.unpack(message)
        if status == _FORKED:
            self._on_forked(pid)
        elif pid in self._exits:
            self._exits.pop(pid).set_result(os.waitstatus_to_exitcode(status))

    def _on_forked(self, pid: int) -> None:
        future = self._pending.popleft()
        if pid > 0:
            self._exits[pid] = asyncio.get_running_loop().create_future()
        if future.done():  # `spawn` was cancelled: the worker finds its channel closed, and ends
            return
        if pid > 0:
            future.set_result((pid, self._exits[pid]))
        else:
            future.set_exception(OSError(-pid, os.strerror(-pid)))

    def _on_server_exit(self) -> None:
        asyncio.get_running_loop().remove_reader(self._channel)
        self.lost.set()
        for future in self._pending:
            if not future.done():
                future.set_exception(OSError("the fork server has ended"))


# In the fork server's process -----------------------------------------------------------------------------------------


def _serve(channel: socket.socket, main: WorkerMain) -> int:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, lambda *_: _report_exits(channel, os.WNOHANG))
    while descriptors := socket.recv_fds(channel, 1, MAX_SOCKETS)[1]:
        with _sigchld_blocked():  # the start of a worker is reported before its exit
            _send_message(channel, _fork(partial(_run_worker, channel, descriptors, main)), _FORKED)
        for descriptor in descriptors:
            os.close(descriptor)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    _report_exits(channel, 0)
    return 0


def _fork(main: Callable[[], int]) -> int:
    """Fork a child that runs `main`. Return its process id, or the negated error number: memory may be free again
    later.
    """
    try:
        pid = os.fork()
    except OSError as error:
        return -(error.errno or errno.EAGAIN)
    return pid or _run_child(main)


def _run_worker(channel: socket.socket, descriptors: list[int], main: WorkerMain) -> int:
    channel.close()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
    ours, *listeners = (socket.socket(fileno=descriptor) for descriptor in descriptors)
    return main(ours, listeners)


def _report_exits(channel: socket.socket, options: int) -> None:
    """Report every worker that has ended; without WNOHANG wait for all."""
    with contextlib.suppress(ChildProcessError):
        while (end := os.waitpid(-1, options))[0]:
            _send_message(channel, *end)


def _send_message(channel: socket.socket, pid: int, status: int) -> None:
    with contextlib.suppress(OSError):  # the supervisor has ended
        channel.send(_MESSAGE.pack(pid, status))


@contextlib.contextmanager
def _sigchld_blocked() -> Iterator[None]:
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})


def _run_child(main: Callable[[], int]) -> NoReturn:
    """Run a forked child from its first step to its last: it never returns into the code of its parent."""
    status = _EX_SOFTWARE
    try:
        status = main()
    except BaseException:  # noqa: BLE001 - the outermost frame of this process
        traceback.print_exc()
    finally:
        os._exit(status)
