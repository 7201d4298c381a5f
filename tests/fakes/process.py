"""The real program as a process of its own: `Process` runs `serve` or `sandbox`, `run` a verb that ends by itself.

Nothing is left behind: leaving a `Process` stops it and wants exit status 0 and an empty process group.
"""

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.fakes.gate import Caller
from tests.fakes.waiting import TIME_LIMIT

ROOT = Path(__file__).parents[2]
INHERITED_VARIABLES = ("PATH", "HOME", "LANG", "COVERAGE_PROCESS_START")

Document = dict[str, Any]
Reply = tuple[int, bytes, bytes]
"""Status, head, body."""


@dataclass(frozen=True, slots=True)
class CompletedVerb:
    """A verb that has come to its end."""

    status: int
    out: str
    err: str


async def run(*arguments: str | Path, under: Sequence[str] = (), **variables: str) -> CompletedVerb:
    """Run `python -m gateway` with these arguments to its end; `under` is a command that runs it."""
    status, out, err = await communicate(await _start(arguments, variables, out=PIPE, under=under))
    encoding = variables.get("PYTHONIOENCODING", "utf-8")
    return CompletedVerb(status, out.decode(encoding), err.decode(encoding))


async def run_command(
    *command: str | Path, stdin: bytes = b"", cwd: Path = ROOT, env: dict[str, str] | None = None
) -> tuple[int, bytes, bytes]:
    """Run any command to its end; return exit status, standard output and standard error."""
    process = await asyncio.create_subprocess_exec(
        *command, cwd=cwd, env=env, stdin=PIPE, stdout=PIPE, stderr=PIPE, start_new_session=True
    )
    return await communicate(process, stdin)


async def communicate(process: asyncio.subprocess.Process, stdin: bytes | None = None) -> tuple[int, bytes, bytes]:
    """Wait for the end of a process that leads a session; leave no process of it behind, whatever happens."""
    try:
        async with asyncio.timeout(TIME_LIMIT):
            out, err = await process.communicate(stdin)
            return await process.wait(), out, err
    finally:
        kill_group(process.pid)
        await process.wait()


def kill_group(pid: int) -> None:
    """Kill all processes of a group, if there are any."""
    with suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)


class Process:
    """One running gateway. `lines` are its JSON lines, `out` and `err` every byte that it said."""

    def __init__(self, *arguments: str | Path, **variables: str) -> None:
        """`arguments` follow `python -m gateway`; `variables` are its environment."""
        self._arguments = arguments
        self._variables = variables
        self._out = PIPE
        self._under: Sequence[str] = ()
        self._descriptors: Sequence[int] = ()
        self._change = asyncio.Condition()
        self._callers: list[Caller] = []
        self._has_ended = False
        self.lines: list[Document] = []
        self.out = bytearray()
        self.err = bytearray()

    def to(self, descriptor: int) -> Self:
        """Has its stdout go there, unread by this class."""
        self._out = descriptor
        return self

    def under(self, command: Sequence[str]) -> Self:
        """Has another command run it, which must become it (`exec`)."""
        self._under = command
        return self

    def inheriting(self, *descriptors: int) -> Self:
        """Leaves these descriptors of the test open in it, under the same numbers."""
        self._descriptors = descriptors
        return self

    async def __aenter__(self) -> Self:
        self._process = await _start(
            self._arguments, self._variables, out=self._out, under=self._under, descriptors=self._descriptors
        )
        self._readers = [asyncio.create_task(self._read_errors())]
        if self._process.stdout is not None:
            self._readers.append(asyncio.create_task(self._read(self._process.stdout)))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for caller in self._callers:
            caller.close()
        try:
            if self._process.returncode is None:
                self.signal(signal.SIGTERM)
                status = await self.ended()
                assert error is not None or status == 0, f"exit status {status}: {self.output_text()}"
        finally:
            kill_group(self.pid)
            await self._process.wait()
            await asyncio.gather(*self._readers)

    # What it is ---------------------------------------------------------------------------------------------------

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def records(self) -> list[Document]:
        """The one line of each request that has ended so far."""
        return self.events("request")

    def events(self, name: str) -> list[Document]:
        """The lines of that event so far."""
        return [line for line in self.lines if line["event"] == name]

    def output_text(self) -> str:
        """Everything said, for a failed assertion."""
        return (self.out + self.err).decode(errors="replace")

    def memory(self, field: str = "VmHWM") -> int:
        """KiB of a field of /proc/PID/status: VmHWM is the highest resident size so far, VmRSS the present one."""
        rows = Path(f"/proc/{self.pid}/status").read_text(encoding="ascii").splitlines()
        return next(int(row.split()[1]) for row in rows if row.startswith(f"{field}:"))

    # What is done with it -----------------------------------------------------------------------------------------

    async def wait_started(self) -> Self:
        """Waits for both ports; from here on `listen` and `admin` are known."""
        [line] = await self.wait_for_events("started")
        self.listen, self.admin = str(line["listen"]), str(line["admin"])
        return self

    async def wait_for_events(self, name: str, count: int = 1) -> list[Document]:
        """Waits for so many lines of that event; gives them."""
        await self.until(lambda: len(self.events(name)) >= count)
        return self.events(name)

    async def wait_for_records(self, count: int = 1) -> list[Document]:
        """Waits for so many records; gives them."""
        return await self.wait_for_events("request", count)

    async def until(self, state: Callable[[], bool]) -> None:
        """Wait until its output makes this true; fail at once when its output has ended."""
        with suppress(TimeoutError):
            async with asyncio.timeout(TIME_LIMIT), self._change:
                await self._change.wait_for(lambda: state() or self._has_ended)
        assert state(), f"not in the output: {self.output_text()}"

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    async def ended(self) -> int:
        """Waits for its end and for its last byte; gives the exit status, and sees that no child is left."""
        async with asyncio.timeout(TIME_LIMIT):
            status = await self._process.wait()
            await asyncio.gather(*self._readers)
        assert not self._is_group_alive(), "a child process was left behind"
        return status

    async def wait_group_exit(self) -> int:
        """Waits until its last process has ended, and with it the last byte, whoever their parent is by then."""
        async with asyncio.timeout(TIME_LIMIT):
            await asyncio.gather(*self._readers)
            return await self._process.wait()

    async def caller(self, address: str = "") -> Caller:
        """A raw connection to the callers' port, or to another address."""
        where = address or self.listen
        if where.startswith("unix:"):
            caller = Caller(*await asyncio.open_unix_connection(where.removeprefix("unix:")))
        else:
            host, _, port = where.rpartition(":")
            caller = Caller(*await asyncio.open_connection(host, int(port)))
        self._callers.append(caller)
        return caller

    async def call(self, data: bytes, *, address: str = "") -> Reply:
        """Says bytes on a connection of their own and reads one reply."""
        caller = await self.caller(address)
        async with asyncio.timeout(TIME_LIMIT):
            await caller.send(data)
            reply = await caller.reply()
        caller.close()
        return reply

    async def get(self, target: str, *fields: str, method: str = "GET", address: str = "") -> Reply:
        return await self.call(request(target, *fields, method=method), address=address)

    async def post(self, target: str, body: bytes, *fields: str) -> Reply:
        return await self.call(request(target, f"Content-Length: {len(body)}", *fields, method="POST") + body)

    async def ask(self, path: str) -> tuple[int, Document]:
        """Ask the admin port; return status and document."""
        status, _, body = await self.get(path, address=self.admin)
        return status, json.loads(body)

    async def until_answer(self, path: str, condition: Callable[[Document], bool]) -> Document:
        """Ask the admin port until its document meets the condition; return the document."""
        async with asyncio.timeout(TIME_LIMIT):
            while not condition(document := (await self.ask(path))[1]):
                pass
            return document

    # Behind it ----------------------------------------------------------------------------------------------------

    async def _read(self, stream: asyncio.StreamReader) -> None:
        while piece := await stream.readline():
            self.out += piece
            if piece.startswith(b"{"):
                self.lines.append(json.loads(piece))
            async with self._change:
                self._change.notify_all()
        self._has_ended = True
        async with self._change:
            self._change.notify_all()

    async def _read_errors(self) -> None:
        assert self._process.stderr is not None
        while piece := await self._process.stderr.read(65536):
            self.err += piece

    def _is_group_alive(self) -> bool:
        try:
            os.killpg(self.pid, 0)
        except ProcessLookupError:
            return False
        return True


def request(target: str, *fields: str, method: str = "GET") -> bytes:
    """A request's head."""
    return "\r\n".join([f"{method} {target} HTTP/1.1", "Host: localhost", *fields, "", ""]).encode("latin-1")


@asynccontextmanager
async def gateway(file: Path, **variables: str) -> AsyncIterator[Process]:
    """`serve` by a file, both ports open."""
    async with Process("serve", "-c", file, **variables) as process:
        yield await process.wait_started()


async def _start(
    arguments: tuple[str | Path, ...],
    variables: dict[str, str],
    *,
    out: int,
    under: Sequence[str] = (),
    descriptors: Sequence[int] = (),
) -> asyncio.subprocess.Process:
    inherited = {name: os.environ[name] for name in INHERITED_VARIABLES if name in os.environ}
    return await asyncio.create_subprocess_exec(
        *under,
        sys.executable,
        "-m",
        "gateway",
        *map(str, arguments),
        cwd=ROOT,
        env=inherited | variables,
        stdin=DEVNULL,
        stdout=out,
        stderr=PIPE,
        limit=1 << 20,
        start_new_session=True,
        pass_fds=descriptors,
    )
