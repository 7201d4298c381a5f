"""The task that exports all metrics at a regular interval."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from functools import partial

from gateway.observe.snapshots import Snapshot
from gateway.system.files import in_thread
from gateway.telemetry.otlp_client import OtlpClient

log = logging.getLogger("gateway.telemetry")


class MetricExporter:
    """Exports the values that `read` returns every `interval` seconds, and at the end. Construct it inside the loop;
    call `close` at the end. `encode` turns values and the time, in epoch seconds, into a request of OTLP, in a thread.
    """

    def __init__(
        self,
        client: OtlpClient,
        *,
        read: Callable[[], Awaitable[Snapshot]],
        encode: Callable[[Snapshot, float], bytes],
        interval: float,
    ) -> None:
        self._client = client
        self._read = read
        self._encode = encode
        self._interval = interval
        self._task = asyncio.create_task(self._run(), name="export of metrics")

    async def close(self, within: float) -> None:
        """Export the last values, for at most `within` seconds."""
        self._client.is_closing.set()
        await asyncio.wait({self._task}, timeout=within)
        self._task.cancel()
        await asyncio.wait({self._task})

    async def _run(self) -> None:
        while True:
            try:
                async with asyncio.timeout(self._interval):
                    await self._client.is_closing.wait()
            except TimeoutError:
                pass
            is_last = self._client.is_closing.is_set()
            try:
                snapshot = await self._read()
                body = await in_thread(partial(self._make_body, snapshot), owner=self)
                await self._client.export(body)
            except Exception:
                log.exception("cannot export metrics", extra={"event": "defect"})
            if is_last:
                return

    def _make_body(self, snapshot: Snapshot) -> bytes:
        return self._client.pack(self._encode(snapshot, time.time()))
