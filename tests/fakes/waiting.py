"""The limit of every wait in the tests, and a wait for a condition that a test must poll.

A test waits for a condition and never measures time. The limit is there so that a hang fails: it is long enough for a
machine whose CPUs are all busy.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable

TIME_LIMIT = 60.0  # seconds; a longer wait is a hang
POLL_PAUSE = 0.02
"""Seconds between two looks at a condition. Without a pause the test takes the CPU time that the program needs."""
BACKLOG = 4096
"""Accept queue of a fake. If it is full, connecting takes seconds."""


async def wait_until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Poll until the condition is true. Raise TimeoutError after `TIME_LIMIT`."""
    async with asyncio.timeout(TIME_LIMIT):
        while not await condition():  # noqa: ASYNC110 - what is outside this process has no event
            await asyncio.sleep(POLL_PAUSE)


async def is_within_an_hour() -> bool:
    """Return whether the hour of UTC goes on for half a minute: with the next one, quotas begin again."""
    return time.time() % 3600 < 3600 - 30
