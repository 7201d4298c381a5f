"""Reads the counters of a worker while it runs, and kills it if it does not answer."""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Any

from gateway.observe.log import log_event
from gateway.observe.snapshots import join_snapshot
from gateway.server.workers.rpc import ChannelError
from gateway.server.workers.worker_handle import WorkerHandle

log = logging.getLogger("gateway.server.workers")

POLL_BACKOFF = 20.0
"""The next poll waits this many times as long as the last answer took."""
# Times in seconds:
POLL = 1.0
STUCK_AFTER = 8.0  # a worker that does not answer for this long is asked once more
LAST_CHANCE = 4.0  # for that answer; then it is killed


async def poll_worker(worker: WorkerHandle, *, is_sampled: Callable[[], bool], on_poll: Callable[[], object]) -> None:
    """Read the counters of a worker about once a second, so that few are lost when it ends; less often if the answer is
    large, as with thousands of routes in use. Kill a worker that does not answer: its callers would wait for ever.

    `is_sampled` returns whether the console needs gauges as well. `on_poll` is called after each reading.
    """
    time, due = asyncio.get_running_loop().time, 0.0
    try:
        while True:
            await asyncio.sleep(POLL)
            requested_at = time()
            if requested_at < due:
                await _request_twice(worker, "ping")
                continue
            with contextlib.suppress(OSError):  # the worker answers, but has no counters now
                worker.keep_counters(join_snapshot(await _request_twice(worker, "counters", is_sampled())))
            due = time() + POLL_BACKOFF * (time() - requested_at)
            on_poll()
    except ChannelError:
        if worker.channel.closed.done():
            return
    message = f"a worker did not respond for {STUCK_AFTER + LAST_CHANCE:g} s; it is killed and its calls are lost"
    log_event(log, logging.ERROR, "worker-stuck", message, pid=worker.pid)
    worker.kill()


async def _request_twice(worker: WorkerHandle, verb: str, argument: object = None) -> Any:
    """Return the worker's answer; repeat the request once after a timeout. If this process was stopped as well
    (suspended machine, frozen container), the worker had no time to answer.
    """
    try:
        return await worker.channel.request(verb, argument, within=STUCK_AFTER)
    except ChannelError:
        return await worker.channel.request(verb, argument, within=LAST_CHANCE)
