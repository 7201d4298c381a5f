"""Tasks of asyncio that run in the background until their owner ends."""

import asyncio
from collections.abc import Coroutine
from typing import Any


class BackgroundTasks:
    """Tasks that run in the background. It holds them until they end: a loop has weak references only."""

    __slots__ = ("_tasks",)

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, work: Coroutine[Any, Any, None], *, name: str | None = None) -> None:
        """Run this as a task. The loop reports an error of it."""
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def wait(self) -> None:
        """Wait until all tasks have ended. A cancelled wait cancels none of them, and their errors are not raised."""
        while self._tasks:
            await asyncio.wait(self._tasks)
