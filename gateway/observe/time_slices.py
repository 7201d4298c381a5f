"""Long work on a loop that serves callers, in slices between which the loop runs other tasks."""

import asyncio
import contextlib
import sys
import time
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

T = TypeVar("T")

TURN = 0.0005
"""Seconds of work between two yields to the loop, plus one piece. A call waits for several of them."""
CHUNK = 16 * 1024
"""Bytes of text that are sent at once, about as many as one turn makes."""


SWITCH = 0.0005
"""Seconds after which a computing thread releases the interpreter to the loop; Python's default is 0.005."""


@contextlib.contextmanager
def short_switch_interval() -> Iterator[None]:
    """Use `SWITCH` while threads compute beside a loop that serves callers."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH)
    try:
        yield
    finally:
        sys.setswitchinterval(usual)


async def free_in_slices(objects: list[Any]) -> None:
    """Empty a list whose objects nothing else refers to. Freed with their container they would take one long step."""

    def pop_all() -> Iterator[None]:
        while objects:
            objects.pop()
            yield

    await run_in_slices(pop_all())


async def run_in_slices(pieces: Iterable[T]) -> list[T]:
    """Return the items of the iterable. After each `TURN` the loop runs other tasks."""
    done = []
    until = time.perf_counter() + TURN
    for piece in pieces:
        done.append(piece)
        if time.perf_counter() >= until:
            await asyncio.sleep(0)
            until = time.perf_counter() + TURN
    return done


def encode_chunks(pieces: Iterable[str]) -> Iterator[bytes]:
    """Yield the text in UTF-8, in chunks of at least `CHUNK` bytes except the last."""
    buffer: list[str] = []
    size = 0
    for piece in pieces:
        buffer.append(piece)
        size += len(piece)
        if size >= CHUNK:
            yield "".join(buffer).encode()
            buffer, size = [], 0
    yield "".join(buffer).encode()
