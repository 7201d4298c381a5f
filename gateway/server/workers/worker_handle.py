"""One worker as the supervisor knows it."""

import asyncio
import contextlib
import os
import signal
from dataclasses import dataclass, field

from gateway.observe.snapshots import SAMPLED_GAUGES, Snapshot, counters_only
from gateway.server.workers.rpc import Channel, ChannelError

PING_TIMEOUT = 1.0  # seconds for the answer of a running loop
UNKNOWN_EXIT = 1
"""The exit status to assume for a worker whose exit was not reported."""


@dataclass(slots=True, eq=False)
class WorkerHandle:
    """A worker process. `exit` is set by the fork server, `started_at` is loop time, `counters` are the metrics last
    read, `gauges` those that the console samples with them; `polls` counts the readings.
    """

    pid: int
    channel: Channel
    exit: asyncio.Future[int]
    started_at: float
    is_active: bool = False
    counters: Snapshot = field(default_factory=dict)
    gauges: Snapshot = field(default_factory=dict)
    polls: int = 0

    def keep_counters(self, answer: Snapshot) -> None:
        """Keep the counters and gauges that the worker sent."""
        self.counters = counters_only(answer)
        self.gauges = {name: rows for name, rows in answer.items() if name in SAMPLED_GAUGES}
        self.polls += 1

    async def wait_exit(self) -> int:
        """Wait until the worker has ended. Return its exit status, or the negated number of the signal."""
        await asyncio.wait({self.channel.closed})
        try:
            async with asyncio.timeout(1.0):
                return await asyncio.shield(self.exit)
        except TimeoutError:
            return UNKNOWN_EXIT

    async def drain(self) -> int:
        """Make the worker stop listening. Return its requests in progress; 0 if it does not answer."""
        try:
            under_way: int = await self.channel.request("drain", within=PING_TIMEOUT)
        except (ChannelError, OSError):
            return 0
        return under_way

    async def force_stop(self) -> None:
        """Make the worker abort its requests; does nothing if it does not answer."""
        with contextlib.suppress(ChannelError):
            await self.channel.request("force_stop", within=PING_TIMEOUT)

    def kill(self) -> None:
        """Send SIGKILL; does nothing if the worker has already ended."""
        if not self.exit.done():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
