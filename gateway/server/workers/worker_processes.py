"""The workers as the console uses them: one answers, or all; their counters and their records together."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any

from gateway.observe.call_feed import CallFeed
from gateway.observe.snapshots import Snapshot
from gateway.server.process_console import Operation
from gateway.server.serving_processes import NoAnswer, ServingProcesses
from gateway.server.workers.call_lines import CallLines
from gateway.server.workers.rpc import Channel, ChannelError
from gateway.server.workers.worker_handle import PING_TIMEOUT, WorkerHandle
from gateway.system.background_tasks import BackgroundTasks
from gateway.wiring.limit_coordination import LimitCoordination
from gateway.wiring.service_coordination import ServiceCoordination

if TYPE_CHECKING:
    from gateway.notifications.conditions import Condition

ALL_TIMEOUT = 15.0  # seconds for an answer of all workers, who only look something up
MAX_AGE = 5.0  # seconds after which a sample is used even if a worker has no newer counters


class WorkerProcesses(ServingProcesses):
    """The active ones of `workers`, which the supervisor keeps up to date. `sum_samples` returns the sums of all
    workers, also of those that ended.
    """

    def __init__(
        self,
        workers: Mapping[int, WorkerHandle],
        sum_samples: Callable[[], Awaitable[Snapshot]],
        coordination: ServiceCoordination,
        limits: LimitCoordination,
    ) -> None:
        self._workers = workers
        self._sum_samples = sum_samples
        self._coordination = coordination
        self._limits = limits
        self._feed: CallFeed | None = None
        self._polls: dict[int, int] = {}
        self._sampled_at = -MAX_AGE
        self._tasks = BackgroundTasks()

    async def ask_one(self, operation: Operation, *arguments: Any, within: float) -> Any:
        """Return the answer of the first worker whose loop runs. Raise NoAnswer."""
        for worker in self._active():
            try:
                await worker.channel.request("ping", within=PING_TIMEOUT)
            except ChannelError:
                continue
            try:
                return await worker.channel.request("console", (operation, arguments), within=within)
            except (ChannelError, OSError) as error:
                raise NoAnswer from error
        raise NoAnswer

    async def ask_all(self, operation: Operation, *arguments: Any) -> list[Any]:
        """Return the answers of all workers that answer."""
        requests = (
            worker.channel.request("console", (operation, arguments), within=ALL_TIMEOUT) for worker in self._active()
        )
        answers = await asyncio.gather(*requests, return_exceptions=True)
        return [answer for answer in answers if not isinstance(answer, BaseException)]

    async def sample(self) -> Snapshot | None:
        """Return the sums, once each worker has newer counters than at the last sample."""
        now = asyncio.get_running_loop().time()
        polls = {worker.pid: worker.polls for worker in self._active()}
        is_newer = all(count > self._polls.get(pid, 0) for pid, count in polls.items())
        if not is_newer and now - self._sampled_at < MAX_AGE:
            return None
        self._polls, self._sampled_at = polls, now
        return await self._sum_samples()

    async def conditions(self) -> "list[Condition]":
        """Return what is wrong now; this process coordinates the limits of callers."""
        from gateway.notifications.conditions import (  # noqa: PLC0415 - only with hooks
            ProcessReport,
            merge_reports,
            quota_conditions,
        )

        own = ProcessReport(tuple(quota_conditions(self._limits.status(), time.time())))
        return merge_reports([own, *await self.ask_all("conditions")])

    def watch_records(self, feed: CallFeed, *, is_watched: bool) -> None:
        """Let all workers send their records, or stop it."""
        self._feed = feed if is_watched else None
        for worker in self._active():
            self.pass_on_watch(worker.channel)

    def pass_on_watch(self, channel: Channel) -> None:
        """Let a worker send its records if a reader watches, else not."""
        self._tasks.start(_request_watch(channel, is_watched=self._feed is not None))

    def receive(self, notice: CallLines) -> None:
        """Publish the records of a worker."""
        if self._feed is None:
            return
        self._feed.publish(notice.lines)
        if notice.lost:
            self._feed.publish_lost(notice.lost)

    async def close_circuit(self, service: str) -> bool | None:
        """Close the circuit of a service; return when all workers know it."""
        was_open = self._coordination.coordinators.close_circuit(service)
        await asyncio.sleep(0)  # the notices are sent now; the requests follow them on the same channels
        pings = (worker.channel.request("ping", within=PING_TIMEOUT) for worker in self._active())
        await asyncio.gather(*pings, return_exceptions=True)
        return was_open

    def _active(self) -> list[WorkerHandle]:
        return [worker for worker in self._workers.values() if worker.is_active]


async def _request_watch(channel: Channel, *, is_watched: bool) -> None:
    try:
        await channel.request("watch_calls", is_watched, within=ALL_TIMEOUT)
    except (ChannelError, OSError):
        return  # it has ended, or is stuck: its replacement is asked again
