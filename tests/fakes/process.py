"""The real program as a separate process: `Process` runs `serve` or `sandbox`, `run` a command that ends by itself.

A start is a fork of a process that has imported the program (`tests/fakes/warm.py`), unless a test asks for a `fresh`
one, another command runs it, or its environment changes how Python starts.

No process is left: the end of a `with` block stops it, and checks for exit status 0 and an empty process group.
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

from tests.fakes import warm
from tests.fakes.gate import Caller
from tests.fakes.waiting import TIME_LIMIT, wait_until

ROOT = Path(__file__).parents[2]
INHERITED_VARIABLES = ("PATH", "HOME", "LANG", "COVERAGE_PROCESS_START")

AnyProcess = asyncio.subprocess.Process | warm.ForkedProcess
Document = dict[str, Any]
Reply = tuple[int, bytes, bytes]
"""Status, head, body."""


@dataclass(frozen=True, slots=True)
class CompletedVerb:
    """A command that has ended."""

    status: int
    out: str
    err: str


async def run(*arguments: str | Path, under: Sequence[str] = (), **variables: str) -> CompletedVerb:
    """Run `python -m gateway` with these arguments to its end; `under` is a command that runs it."""
    return await _complete(await _start(arguments, variables, out=PIPE, under=under), variables)


async def run_fresh(*arguments: str | Path, **variables: str) -> CompletedVerb:
    """Run `python -m gateway` to its end in a new interpreter."""
    return await _complete(await _start(arguments, variables, out=PIPE, is_fresh=True), variables)


async def _complete(process: AnyProcess, variables: dict[str, str]) -> CompletedVerb:
    status, out, err = await communicate(process)
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


async def communicate(process: AnyProcess, stdin: bytes | None = None) -> tuple[int, bytes, bytes]:
    """Wait for the end of a process that leads a session; in all cases leave no process of the session."""
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
    """One running gateway. `lines` are its JSON lines, `out` and `err` all bytes of its output."""

    def __init__(self, *arguments: str | Path, **variables: str) -> None:
        """`arguments` follow `python -m gateway`; `variables` are its environment."""
        self._arguments = arguments
        self._variables = variables
        self._out = PIPE
        self._under: Sequence[str] = ()
        self._descriptors: Sequence[int] = ()
        self._is_fresh = False
        self._change = asyncio.Condition()
        self._callers: list[Caller] = []
        self._has_ended = False
        self.lines: list[Document] = []
        self.out = bytearray()
        self.err = bytearray()

    def to(self, descriptor: int) -> Self:
        """Send its standard output to a descriptor; this class does not read it."""
        self._out = descriptor
        return self

    def under(self, command: Sequence[str]) -> Self:
        """Start it by another command, which must replace itself (`exec`)."""
        self._under = command
        return self

    def inheriting(self, *descriptors: int) -> Self:
        """Let it inherit these descriptors, with the same numbers."""
        self._descriptors = descriptors
        return self

    def fresh(self) -> Self:
        """Start a new interpreter, not a fork."""
        self._is_fresh = True
        return self

    async def __aenter__(self) -> Self:
        self._process = await _start(
            self._arguments,
            self._variables,
            out=self._out,
            under=self._under,
            descriptors=self._descriptors,
            is_fresh=self._is_fresh,
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

    # State ---------------------------------------------------------------------------------------------------

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def records(self) -> list[Document]:
        """Return the records of the requests that have ended."""
        return self.events("request")

    def events(self, name: str) -> list[Document]:
        """Return the lines of an event so far."""
        return [line for line in self.lines if line["event"] == name]

    def output_text(self) -> str:
        """Return all output, for a failed assertion."""
        return (self.out + self.err).decode(errors="replace")

    def memory(self, field: str = "VmHWM") -> int:
        """Return KiB of a field of /proc/PID/status: VmHWM is the highest resident size, VmRSS the present one."""
        rows = Path(f"/proc/{self.pid}/status").read_text(encoding="ascii").splitlines()
        return next(int(row.split()[1]) for row in rows if row.startswith(f"{field}:"))

    # Actions -----------------------------------------------------------------------------------------

    async def wait_started(self) -> Self:
        """Wait for both ports; then `listen` and `admin` are set."""
        [line] = await self.wait_for_events("started")
        self.listen, self.admin = str(line["listen"]), str(line["admin"])
        return self

    async def wait_for_events(self, name: str, count: int = 1) -> list[Document]:
        """Wait for this number of lines of an event; return them."""
        await self.until(lambda: len(self.events(name)) >= count)
        return self.events(name)

    async def wait_for_records(self, count: int = 1) -> list[Document]:
        """Wait for this number of records; return them."""
        return await self.wait_for_events("request", count)

    async def until(self, state: Callable[[], bool]) -> None:
        """Wait until its output makes `state` true; fail at once if its output has ended."""
        with suppress(TimeoutError):
            async with asyncio.timeout(TIME_LIMIT), self._change:
                await self._change.wait_for(lambda: state() or self._has_ended)
        assert state(), f"not in the output: {self.output_text()}"

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    async def ended(self) -> int:
        """Wait for its end and its last byte; return the exit status, and check that no child is left."""
        try:
            async with asyncio.timeout(TIME_LIMIT):
                status = await self._process.wait()
                await asyncio.gather(*self._readers)
        except TimeoutError:
            raise AssertionError(f"it has not ended: {self._threads()}\n{self.output_text()}") from None
        assert not self._is_group_alive(), "a child process was left behind"
        return status

    def _threads(self) -> str:
        """Return the name of each thread, and what it waits for in the kernel (Linux)."""
        threads = Path(f"/proc/{self.pid}/task").glob("*")
        return ", ".join(" ".join((one / name).read_text().strip() for name in ("comm", "wchan")) for one in threads)

    async def wait_group_exit(self) -> int:
        """Wait for the last byte of its whole process group; return the exit status of the first process."""
        async with asyncio.timeout(TIME_LIMIT):
            await asyncio.gather(*self._readers)
            return await self._process.wait()

    async def caller(self, address: str = "") -> Caller:
        """Open a raw connection to the port of callers, or to another address."""
        where = address or self.listen
        if where.startswith("unix:"):
            caller = Caller(*await asyncio.open_unix_connection(where.removeprefix("unix:")))
        else:
            host, _, port = where.rpartition(":")
            caller = Caller(*await asyncio.open_connection(host, int(port)))
        self._callers.append(caller)
        return caller

    async def call(self, data: bytes, *, address: str = "") -> Reply:
        """Send bytes on a new connection and read one response."""
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
        """Query the admin port; return status and document."""
        status, _, body = await self.get(path, address=self.admin)
        return status, json.loads(body)

    async def until_answer(self, path: str, condition: Callable[[Document], bool]) -> Document:
        """Query the admin port until its document meets the condition; return the document."""
        document: Document = {}

        async def is_met() -> bool:
            nonlocal document
            _, document = await self.ask(path)
            return condition(document)

        await wait_until(is_met)
        return document

    async def until_status(self, target: str, status: int) -> None:
        """Call until a response has this status."""

        async def is_status() -> bool:
            return (await self.get(target))[0] == status

        await wait_until(is_status)

    # Implementation -----------------------------------------------------------------------------------------------

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
            async with self._change:
                self._change.notify_all()

    def _is_group_alive(self) -> bool:
        try:
            os.killpg(self.pid, 0)
        except ProcessLookupError:
            return False
        return True


def request(target: str, *fields: str, method: str = "GET") -> bytes:
    """Return the head of a request."""
    return "\r\n".join([f"{method} {target} HTTP/1.1", "Host: localhost", *fields, "", ""]).encode("latin-1")


@asynccontextmanager
async def gateway(file: Path, **variables: str) -> AsyncIterator[Process]:
    """Run `serve` with a file; yield it when both ports are open."""
    async with Process("serve", "-c", file, **variables) as process:
        yield await process.wait_started()


@asynccontextmanager
async def fresh_gateway(file: Path, **variables: str) -> AsyncIterator[Process]:
    """Run `serve` with a file in a new interpreter; yield it when both ports are open."""
    async with Process("serve", "-c", file, **variables).fresh() as process:
        yield await process.wait_started()


async def _start(
    arguments: tuple[str | Path, ...],
    variables: dict[str, str],
    *,
    out: int,
    under: Sequence[str] = (),
    descriptors: Sequence[int] = (),
    is_fresh: bool = False,
) -> AnyProcess:
    inherited = {name: os.environ[name] for name in INHERITED_VARIABLES if name in os.environ}
    is_module = under[:2] == (sys.executable, "-m")
    if (is_module or not under) and not (is_fresh or descriptors) and warm.can_fork(variables):
        module = under[2] if is_module else "gateway"
        return await warm.start([*map(str, arguments)], inherited | variables, out=out, module=module)
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
