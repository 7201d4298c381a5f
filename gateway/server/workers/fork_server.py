"""The process that forks workers: made before anything that may not live across a fork, and kept free of it.

It waits for one thing, the line to the crew: sockets come over it, a worker is forked with them, its process id
goes back, and at its end once more with the status. When the line ends, it waits for its workers and leaves too.
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

MOST_SOCKETS = 64
"""That can be handed to a worker: its line, and one for each address that it listens on."""
WorkerMain = Callable[[socket.socket, list[socket.socket]], int]
"""A worker's whole life, given its end of the line and the sockets to listen on; its exit status."""
ForkedWorker = tuple[int, asyncio.Future[int]]
"""Its process id; its end: the exit status, or less than zero the signal that killed it."""

_MESSAGE = struct.Struct("ii")  # process id; wait status of one that has ended, `_BORN` of a new one (or why not: < 0)
_FORKED = -1
_EX_SOFTWARE = 70


class ForkServer:
    """The crew's view of it. Make it in a process without threads, without a loop; use it within one.

    `work` is what each worker does. After `open`, `lost` is set when the nursery itself has gone.
    """

    def __init__(self, work: WorkerMain) -> None:
        self._pending: deque[asyncio.Future[ForkedWorker]] = deque()
        self._exits: dict[int, asyncio.Future[int]] = {}
        self.lost = asyncio.Event()
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        gc.freeze()  # what the collector does not touch stays shared
        self.pid = os.fork()
        if not self.pid:
            self._channel.close()
            _run_child(partial(_serve, theirs, work))
        theirs.close()
        self._channel.setblocking(False)  # noqa: FBT003 - the standard library's

    def open(self) -> None:
        """Begins to hear of births and ends, within the running loop."""
        asyncio.get_running_loop().add_reader(self._channel, self._on_message)

    async def spawn(self, line: socket.socket, listeners: list[socket.socket]) -> ForkedWorker:
        """One worker more, with copies of all these sockets. Raises OSError where the system gives none."""
        socket.send_fds(self._channel, [b"+"], [line.fileno(), *(listener.fileno() for listener in listeners)])
        birth: asyncio.Future[ForkedWorker] = asyncio.get_running_loop().create_future()
        self._pending.append(birth)
        return await birth

    async def close(self) -> None:
        """Lets the nursery go, and waits until it has gone; its workers must have ended."""
        asyncio.get_running_loop().remove_reader(self._channel)
        self._channel.close()
        await asyncio.to_thread(os.waitpid, self.pid, 0)

    def _on_message(self) -> None:
        try:
            news = self._channel.recv(_MESSAGE.size)
        except BlockingIOError:
            return
        except ConnectionError:
            news = b""
        if not news:
            self._on_server_exit()
            return
        pid, status = _MESSAGE.unpack(news)
        if status == _FORKED:
            self._on_forked(pid)
        elif pid in self._exits:
            self._exits.pop(pid).set_result(os.waitstatus_to_exitcode(status))

    def _on_forked(self, pid: int) -> None:
        birth = self._pending.popleft()
        if pid > 0:
            self._exits[pid] = asyncio.get_running_loop().create_future()
        if birth.done():  # nobody waits any more: the worker finds its line closed
            return
        if pid > 0:
            birth.set_result((pid, self._exits[pid]))
        else:
            birth.set_exception(OSError(-pid, os.strerror(-pid)))

    def _on_server_exit(self) -> None:
        asyncio.get_running_loop().remove_reader(self._channel)
        self.lost.set()
        for birth in self._pending:
            if not birth.done():
                birth.set_exception(OSError("the process that forks workers has gone"))


# In the nursery's process ---------------------------------------------------------------------------------------------


def _serve(line: socket.socket, work: WorkerMain) -> int:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, lambda *_: _report_exits(line, os.WNOHANG))
    while descriptors := socket.recv_fds(line, 1, MOST_SOCKETS)[1]:
        with _sigchld_blocked():  # a birth is told before its end
            _send_message(line, _fork(partial(_run_worker, line, descriptors, work)), _FORKED)
        for descriptor in descriptors:
            os.close(descriptor)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    _report_exits(line, 0)
    return 0


def _fork(life: Callable[[], int]) -> int:
    """The process id of a child that lives this life, or an error number, negated: there may be memory again later."""
    try:
        pid = os.fork()
    except OSError as error:
        return -(error.errno or errno.EAGAIN)
    return pid or _run_child(life)


def _run_worker(line: socket.socket, descriptors: list[int], work: WorkerMain) -> int:
    line.close()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
    ours, *listeners = (socket.socket(fileno=descriptor) for descriptor in descriptors)
    return work(ours, listeners)


def _report_exits(line: socket.socket, options: int) -> None:
    """Tells of every worker that has ended; without WNOHANG waits until the last one has."""
    with contextlib.suppress(ChildProcessError):
        while (end := os.waitpid(-1, options))[0]:
            _send_message(line, *end)


def _send_message(line: socket.socket, pid: int, status: int) -> None:
    with contextlib.suppress(OSError):  # nobody listens any more
        line.send(_MESSAGE.pack(pid, status))


@contextlib.contextmanager
def _sigchld_blocked() -> Iterator[None]:
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})


def _run_child(life: Callable[[], int]) -> NoReturn:
    """A forked process from its first step to its last: it never returns into what its parent was doing."""
    status = _EX_SOFTWARE
    try:
        status = life()
    except BaseException:  # noqa: BLE001 - nobody is above
        traceback.print_exc()
    finally:
        os._exit(status)
