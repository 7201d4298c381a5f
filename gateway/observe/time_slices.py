"""Long work on a loop that serves callers, in pieces between which they have their turn."""

import asyncio
import contextlib
import sys
import time
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

T = TypeVar("T")

TURN = 0.0005
"""Seconds that a turn of the work takes, more or less one piece. A call waits for several of them on its way."""
CHUNK = 16 * 1024
"""Bytes of text that are made and sent at once, about as many as a turn makes."""


SWITCH = 0.0005
"""Seconds after which a thread that computes lets the loop go on, in place of Python's 0.005."""


@contextlib.contextmanager
def short_switches() -> Iterator[None]:
    """While threads compute beside a loop that serves callers."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH)
    try:
        yield
    finally:
        sys.setswitchinterval(usual)


async def free_in_turns(objects: list[Any]) -> None:
    """Empty a list whose objects nothing else refers to. Freed with their container they would take one long step."""

    def pop_all() -> Iterator[None]:
        while objects:
            objects.pop()
            yield

    await work_in_turns(pop_all())


async def work_in_turns(pieces: Iterable[T]) -> list[T]:
    """What the iterable gives. Whatever else waits for the loop goes ahead after each `TURN`."""
    done = []
    until = time.perf_counter() + TURN
    for piece in pieces:
        done.append(piece)
        if time.perf_counter() >= until:
            await asyncio.sleep(0)
            until = time.perf_counter() + TURN
    return done


def encode_chunks(pieces: Iterable[str]) -> Iterator[bytes]:
    """The text in UTF-8, in chunks of `CHUNK` bytes or a piece more."""
    held: list[str] = []
    size = 0
    for piece in pieces:
        held.append(piece)
        size += len(piece)
        if size >= CHUNK:
            yield "".join(held).encode()
            held, size = [], 0
    yield "".join(held).encode()
