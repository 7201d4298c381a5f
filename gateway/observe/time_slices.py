"""Do long work on a loop that serves callers, in slices between which other tasks run."""

import asyncio
import contextlib
import sys
import time
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

T = TypeVar("T")

SLICE_TIME = 0.0005
"""Seconds of work before other tasks run. The last piece of work may exceed it."""
CHUNK_SIZE = 16 * 1024
"""Minimum bytes of text in a chunk, about as many as one slice of time produces."""
SWITCH_INTERVAL = 0.0005
"""Seconds after which a computing thread releases the interpreter to the loop; Python's default is 0.005."""


@contextlib.contextmanager
def short_switch_interval() -> Iterator[None]:
    """Use `SWITCH_INTERVAL` while threads compute in the process of a loop that serves callers."""
    original = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_INTERVAL)
    try:
        yield
    finally:
        sys.setswitchinterval(original)


async def free_in_slices(objects: list[Any]) -> None:
    """Empty a list whose objects have no other reference. Freed together with the list, they would block the loop."""

    def pop_all() -> Iterator[None]:
        while objects:
            objects.pop()
            yield

    await run_in_slices(pop_all())


async def run_in_slices(pieces: Iterable[T]) -> list[T]:
    """Return the items of the iterable. Other tasks run after each `SLICE_TIME`."""
    done = []
    until = time.perf_counter() + SLICE_TIME
    for piece in pieces:
        done.append(piece)
        if time.perf_counter() >= until:
            await asyncio.sleep(0)
            until = time.perf_counter() + SLICE_TIME
    return done


def encode_chunks(pieces: Iterable[str]) -> Iterator[bytes]:
    """Yield the text in UTF-8, in chunks of at least `CHUNK_SIZE` bytes except the last."""
    buffer: list[str] = []
    size = 0
    for piece in pieces:
        buffer.append(piece)
        size += len(piece)
        if size >= CHUNK_SIZE:
            yield "".join(buffer).encode()
            buffer, size = [], 0
    yield "".join(buffer).encode()
