"""The limit of every wait in the tests, and a wait for a condition that a test has to ask for.

A test waits for a condition and never measures time. The limit is there so that a hang fails: it is long enough for a
machine whose CPUs are all busy.
"""

import asyncio
from collections.abc import Awaitable, Callable

TIME_LIMIT = 60.0  # seconds after which a wait has hung
BACKLOG = 4096
"""Connections that the kernel holds for a fake that accepts them late; beyond, connecting takes seconds."""


async def wait_until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Ask, with input or output each time, until the condition holds; raise TimeoutError after `TIME_LIMIT`."""
    async with asyncio.timeout(TIME_LIMIT):
        while not await condition():
            pass
