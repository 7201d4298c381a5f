"""The real program at a real pseudo-terminal, with a person who reads and types."""

import asyncio
import fcntl
import os
import pty
import signal
import struct
import sys
import termios
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.fakes.process import INHERITED_VARIABLES, ROOT, kill_group
from tests.fakes.waiting import TIME_LIMIT

_WIDE = struct.pack("HHHH", 50, 400, 0, 0)


def restore_interrupt() -> None:
    """Restore the default of SIGINT, as at a terminal: a script ignores it in processes that it starts with `&`."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Terminal:
    """`async with Terminal(folder, "init") as terminal`: the process runs in `folder`. `shown` is the screen so far."""

    def __init__(self, folder: Path, *arguments: str, **variables: str) -> None:
        self._folder = folder
        self._arguments = arguments
        self._variables = variables
        self._change = asyncio.Event()
        self._read_to = 0
        self.shown = ""

    async def __aenter__(self) -> Self:
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, _WIDE)
        inherited = {name: os.environ[name] for name in INHERITED_VARIABLES if name in os.environ}
        # A session leader that opens a terminal gets it as its controlling terminal: Ctrl-C and /dev/tty work.
        at_it = ("sh", "-c", 'exec "$@" <"$0" >"$0" 2>&1', os.ttyname(theirs))
        self._process = await asyncio.create_subprocess_exec(
            *at_it,
            *(sys.executable, "-m", "gateway", *self._arguments),
            cwd=self._folder,
            env={**inherited, "PYTHONPATH": str(ROOT), **self._variables},
            start_new_session=True,
            preexec_fn=restore_interrupt,
        )
        os.set_blocking(self._ours, False)
        self._theirs = theirs
        asyncio.get_running_loop().add_reader(self._ours, self._take)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        kill_group(self._process.pid)
        await self._process.wait()
        asyncio.get_running_loop().remove_reader(self._ours)
        os.close(self._ours)
        os.close(self._theirs)

    async def wait_for_text(self, text: str) -> None:
        """Wait until the screen shows this text, below the previous one."""
        try:
            async with asyncio.timeout(TIME_LIMIT):
                while (found := self.shown.find(text, self._read_to)) < 0:
                    self._change.clear()
                    await self._change.wait()
        except TimeoutError:
            raise AssertionError(f"not shown: {text!r} in {self.shown[self._read_to :]!r}") from None
        self._read_to = found + len(text)

    def type_line(self, line: str) -> None:
        """Type a line and Enter; control characters act as at a terminal."""
        os.write(self._ours, f"{line}\n".encode())

    def press_key(self, key: str) -> None:
        """Press one key, such as `\\x03` for Ctrl-C."""
        os.write(self._ours, key.encode())

    async def answer_prompt(self, prompt: str, line: str) -> None:
        """Wait for the prompt, and answer it."""
        await self.wait_for_text(prompt)
        self.type_line(line)

    async def wait_exit(self) -> int:
        """Wait for the end; return the exit status. `shown` is then complete."""
        async with asyncio.timeout(TIME_LIMIT):
            status = await self._process.wait()
        self._take()
        return status

    def _take(self) -> None:
        try:
            while piece := os.read(self._ours, 65536):
                self.shown += piece.decode(errors="replace").replace("\r\n", "\n")
                self._change.set()
        except BlockingIOError:
            pass
        except OSError:  # the other end is closed
            asyncio.get_running_loop().remove_reader(self._ours)
