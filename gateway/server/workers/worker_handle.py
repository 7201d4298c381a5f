"""One worker as the crew knows it."""

import asyncio
import contextlib
import os
import signal
from dataclasses import dataclass, field

from gateway.observe.metrics import Snapshot
from gateway.server.workers.rpc import Channel

UNKNOWN = 1
"""The exit status of a worker whose end nobody could see."""


@dataclass(slots=True, eq=False)
class WorkerHandle:
    """`end` comes from the nursery, `born` is the loop's time; `earned` is what it had counted when last asked."""

    pid: int
    channel: Channel
    exit: asyncio.Future[int]
    started_at: float
    is_active: bool = False
    counters: Snapshot = field(default_factory=dict)

    async def wait_exit(self) -> int:
        """Waits until it has ended: its exit status, or less than zero the signal that killed it."""
        await asyncio.wait({self.channel.closed})
        try:
            async with asyncio.timeout(1.0):
                return await asyncio.shield(self.exit)
        except TimeoutError:
            return UNKNOWN

    def kill(self) -> None:
        """Ends it, whatever it does; nothing happens to one that has ended."""
        if not self.exit.done():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
