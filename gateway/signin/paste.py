"""An answer that a person pastes, where no browser can reach the listener."""

import asyncio
import contextlib
import os
import threading

from gateway.signin.authorization_response import LONGEST


async def read_pasted_response(descriptor: int = 0) -> str:
    """The next line of standard input with its line end; empty at the end of the input.

    A thread reads it, one that nobody waits for: a person who presses Ctrl-C is not asked for the line all the same.
    """
    loop = asyncio.get_running_loop()
    line: asyncio.Future[str] = loop.create_future()

    def take(text: str) -> None:
        if not line.done():
            line.set_result(text)

    def read() -> None:
        text = _line(descriptor)
        with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(take, text)

    threading.Thread(target=read, name="paste", daemon=True).start()
    return await line


def _line(descriptor: int) -> str:
    """Read by hand: a buffer of Python's that a thread holds at the end of the process is an error."""
    text = bytearray()
    with contextlib.suppress(OSError):
        while len(text) <= LONGEST and not text.endswith(b"\n") and (piece := os.read(descriptor, 1)):
            text += piece
    return text.decode("utf-8", "replace")
