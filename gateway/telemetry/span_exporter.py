"""The queue of finished traces, and the task that exports them in batches."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence

from gateway.system.files import in_thread
from gateway.telemetry.export_counters import ExportCounters
from gateway.telemetry.otlp_client import OtlpClient
from gateway.telemetry.tracer import Trace

log = logging.getLogger("gateway.telemetry")

BATCH_SIZE = 512
"""Largest number of traces in one export."""
EXPORT_INTERVAL = 5.0
"""Seconds that a trace waits at most for others."""


class SpanExporter:
    """Exports traces with `client`. Construct it inside the loop; call `close` at the end.

    At most `max_queue` traces wait; further ones are counted as lost. `encode` returns a request of OTLP; it runs in a
    thread, so that a request pays only for its place in the queue.
    """

    def __init__(
        self,
        client: OtlpClient,
        *,
        encode: Callable[[Sequence[Trace]], bytes],
        max_queue: int,
        counters: ExportCounters,
        interval: float = EXPORT_INTERVAL,
    ) -> None:
        self._client = client
        self._encode = encode
        self._max_queue = max_queue
        self._counters = counters
        self._interval = interval
        self._pending: deque[Trace] = deque()
        self._wakeup = asyncio.Event()
        self._task = asyncio.create_task(self._run(), name="export of traces")

    def export(self, trace: Trace) -> None:
        """Queue a trace, or count it as lost. Never block and never raise."""
        waiting = len(self._pending)
        if waiting >= self._max_queue:
            self._counters.lost["queue-full"] += trace.span_count
            return
        self._pending.append(trace)
        if waiting + 1 >= BATCH_SIZE:
            self._wakeup.set()

    async def close(self, within: float) -> None:
        """Export what is queued, for at most `within` seconds; the rest is lost."""
        self._client.is_closing.set()
        self._wakeup.set()
        await asyncio.wait({self._task}, timeout=within)
        self._task.cancel()
        await asyncio.wait({self._task})
        self._count_lost("stopped", self.take(len(self._pending)))

    async def _run(self) -> None:
        while not self._client.is_closing.is_set() or self._pending:
            try:
                async with asyncio.timeout(self._interval):
                    await self._wakeup.wait()
            except TimeoutError:
                pass
            self._wakeup.clear()
            await self._export_batch()
            while self._pending and (self._client.is_closing.is_set() or len(self._pending) >= BATCH_SIZE):
                await self._export_batch()

    async def _export_batch(self) -> None:
        """Export the oldest traces. A defect loses them, and ends nothing."""
        batch = self.take(BATCH_SIZE)
        if not batch:
            return
        try:
            body = await in_thread(lambda: self._client.pack(self._encode(batch)), owner=self)
            result = await self._client.export(body)
        except asyncio.CancelledError:
            self._count_lost("stopped", batch)
            raise
        except Exception:
            log.exception("cannot export traces", extra={"event": "defect"})
            self._count_lost("failed", batch)
            return
        if result.outcome == "partial":
            self._counters.lost["rejected"] += result.rejected
        elif result.outcome != "ok":
            self._count_lost("refused" if result.outcome == "refused" else "failed", batch)

    def take(self, count: int) -> list[Trace]:
        """Remove the oldest traces from the queue, at most so many."""
        return [self._pending.popleft() for _ in range(min(count, len(self._pending)))]

    def _count_lost(self, reason: str, batch: Sequence[Trace]) -> None:
        if batch:
            self._counters.lost[reason] += sum(trace.span_count for trace in batch)
