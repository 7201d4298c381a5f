"""Start the program as a fork of a process that has imported it: it takes a tenth of the CPU time of a new process.

The server is a process that imports what `serve` imports at its start, and nothing more: what the program imports
later, a fork imports later, too. It also builds the validators of the configuration, which pydantic builds at their
first use: half of the CPU time of a start. For each start it forks itself. The fork gets arguments, environment and
standard streams, and runs `python -m gateway` until the interpreter ends. When the test process ends, the server kills
all forks that are left.

A fork is not a new interpreter: `/proc/PID/cmdline` and `/proc/PID/environ` are those of the server, and part of its
memory is shared. A test that is about these, or about the start itself, starts the program `fresh`.
"""

import asyncio
import atexit
import gc
import json
import os
import runpy
import selectors
import signal
import socket
import subprocess
import sys
from asyncio.subprocess import PIPE
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
READ_AT_START = ("PYTHON", "LC_", "LANG", "MALLOC_", "COVERAGE_")
"""Beginnings of the variables that the interpreter reads when it starts."""
ENCODING = "PYTHONIOENCODING"
"""One of them, which a fork can follow."""
MAX_REQUEST = 1 << 16
MAX_LINE = 1 << 20


def can_fork(variables: Mapping[str, str]) -> bool:
    """Return whether a fork behaves like a new process with these variables beside the inherited ones."""
    is_linux = hasattr(os, "pidfd_open")
    return (
        is_linux
        and "COVERAGE_PROCESS_START" not in os.environ
        and not any(name.startswith(READ_AT_START) for name in variables if name != ENCODING)
    )


class ForkedProcess:
    """A start, with the methods of `asyncio.subprocess.Process` that tests use. Its standard input is `/dev/null`."""

    def __init__(
        self, events: asyncio.StreamReader, out: asyncio.StreamReader | None, err: asyncio.StreamReader
    ) -> None:
        """The lines of `events` are the process id and the exit status."""
        self._events = events
        self._exit: asyncio.Task[int] | None = None
        self.stdout = out
        self.stderr = err
        self.pid = 0
        self.returncode: int | None = None

    async def wait_started(self) -> None:
        """Wait until the process exists."""
        self.pid = await self._read_event()
        self._exit = asyncio.create_task(self._read_exit())

    async def wait(self) -> int:
        """Wait for the end. Return the exit status, or the negated number of the signal."""
        assert self._exit is not None
        return await asyncio.shield(self._exit)

    async def communicate(self, stdin: bytes | None = None) -> tuple[bytes, bytes]:
        """Read standard output and standard error, and wait for the end."""
        assert stdin is None
        assert self.stdout is not None
        out, err = await asyncio.gather(self.stdout.read(), self.stderr.read())
        await self.wait()
        return out, err

    def send_signal(self, number: int) -> None:
        """Send a signal. Raise ProcessLookupError if the process has ended."""
        if self.returncode is not None:
            raise ProcessLookupError
        os.kill(self.pid, number)

    async def _read_event(self) -> int:
        line = await self._events.readline()
        assert line, "the warm server has ended; its error is in the output of the test process"
        return int(line)

    async def _read_exit(self) -> int:
        self.returncode = await self._read_event()
        await self._events.read()  # the pipe is closed at its end
        return self.returncode


async def start(arguments: list[str], environ: dict[str, str], *, out: int, module: str = "gateway") -> ForkedProcess:
    """Run `python -m MODULE` with these arguments. `out` is a file descriptor for standard output, or PIPE."""
    request = json.dumps({"arguments": [module, *arguments], "environ": environ}).encode()
    events, events_end = await _open_pipe()
    err, err_end = await _open_pipe()
    stdout, out_end = await _open_pipe() if out == PIPE else (None, out)
    try:
        socket.send_fds(_server(), [request], [events_end, out_end, err_end])
    finally:
        for descriptor in {events_end, out_end, err_end} - {out}:
            os.close(descriptor)
    process = ForkedProcess(events, stdout, err)
    await process.wait_started()
    return process


async def _open_pipe() -> tuple[asyncio.StreamReader, int]:
    ours, theirs = os.pipe()
    reader = asyncio.StreamReader(limit=MAX_LINE)
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(ours, "rb", buffering=0)
    )
    return reader, theirs


@cache
def _server() -> socket.socket:
    """Start the server of this test process; return the channel to it."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        server = subprocess.Popen(
            [sys.executable, "-m", "tests.fakes.warm", str(theirs.fileno())],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
            start_new_session=True,
        )

    def stop() -> None:
        ours.close()
        server.wait()

    atexit.register(stop)
    return ours


# In the server --------------------------------------------------------------------------------------------------------


def import_program() -> None:
    """Import what `serve` imports, in its order."""
    from gateway.network.aiohttp_import import import_aiohttp  # noqa: PLC0415

    import_aiohttp()
    from gateway.cli import main, serve  # noqa: F401, PLC0415
    from gateway.observe import log  # noqa: F401, PLC0415
    from gateway.server import single_process  # noqa: F401, PLC0415
    from gateway.server.workers import cpus  # noqa: F401, PLC0415


def build_validators() -> None:
    """Build the validators of all mappings of the configuration."""
    from gateway.config.strict_model import StrictModel  # noqa: PLC0415

    models = [StrictModel]
    for model in models:
        model.model_rebuild()
        models += model.__subclasses__()


def serve_forks(channel: socket.socket) -> list[str] | None:
    """Fork for each request, and report the ends of the forks. Return the arguments in a fork, and None in the server
    when the channel is closed.
    """
    forks: dict[int, tuple[int, int]] = {}  # descriptor of the process: process id, pipe for events
    with selectors.DefaultSelector() as selector:
        selector.register(channel, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fd in forks:
                    selector.unregister(key.fd)
                    _report_exit(key.fd, *forks.pop(key.fd))
                    continue
                request, descriptors, _, _ = socket.recv_fds(channel, MAX_REQUEST, 3)
                if not request:
                    for pid, _ in forks.values():
                        with suppress(ProcessLookupError):
                            os.killpg(pid, signal.SIGKILL)
                    return None
                events, out, err = descriptors
                if not (pid := os.fork()):
                    for descriptor in (events, *forks, *(pipe for _, pipe in forks.values())):
                        os.close(descriptor)
                    channel.close()
                    return _become(json.loads(request), out, err)
                os.close(out)
                os.close(err)
                os.write(events, b"%d\n" % pid)
                descriptor = os.pidfd_open(pid)
                forks[descriptor] = pid, events
                selector.register(descriptor, selectors.EVENT_READ)


def _report_exit(descriptor: int, pid: int, events: int) -> None:
    os.close(descriptor)
    _, status = os.waitpid(pid, 0)
    with suppress(BrokenPipeError):  # the test has given up
        os.write(events, b"%d\n" % os.waitstatus_to_exitcode(status))
    os.close(events)


def _become(request: dict[str, object], out: int, err: int) -> list[str]:
    """Make the fork a process like a new one; return its arguments."""
    os.setsid()
    for source, target in ((out, 1), (err, 2)):
        os.dup2(source, target)
        os.close(source)
    arguments, environ = request["arguments"], request["environ"]
    assert isinstance(arguments, list)
    assert isinstance(environ, dict)
    os.environ.clear()
    os.environ.update(environ)
    if encoding := environ.get(ENCODING):
        _open_streams(encoding)
    return arguments


def _open_streams(encoding: str) -> None:
    """Open the streams for text in an encoding, as the interpreter does at its start."""
    out = open(1, "w", encoding=encoding, closefd=False)  # noqa: SIM115
    err = open(2, "w", 1, encoding, "backslashreplace", closefd=False)  # noqa: SIM115
    vars(sys).update(stdout=out, __stdout__=out, stderr=err, __stderr__=err)


if __name__ == "__main__":
    import_program()
    build_validators()
    gc.freeze()
    with socket.socket(fileno=int(sys.argv[1])) as listening:
        words = serve_forks(listening)
    if words is not None:
        sys.argv = words
        runpy.run_module(words[0], run_name="__main__", alter_sys=True)
