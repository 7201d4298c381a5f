"""Read a response that a person pastes, where no browser can reach the listener."""

import asyncio
import contextlib
import os
import threading

from gateway.signin.authorization_response import MAX_LENGTH


async def read_pasted_response(descriptor: int = 0) -> str:
    """Return the next line of standard input with its line end; empty at the end of the input.

    A daemon thread reads it, so that Ctrl-C ends the process without waiting for the line.
    """
    loop = asyncio.get_running_loop()
    line: asyncio.Future[str] = loop.create_future()

    def set_line(text: str) -> None:
        if not line.done():
            line.set_result(text)

    def read() -> None:
        text = _read_line(descriptor)
        with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(set_line, text)

    threading.Thread(target=read, name="paste", daemon=True).start()
    return await line


def _read_line(descriptor: int) -> str:
    """Read the descriptor itself: a Python buffer that a thread holds when the process ends is an error."""
    text = bytearray()
    with contextlib.suppress(OSError):
        while len(text) <= MAX_LENGTH and not text.endswith(b"\n") and (piece := os.read(descriptor, 1)):
            text += piece
    return text.decode("utf-8", "replace")
