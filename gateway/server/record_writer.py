"""Writes the records of ended requests to the log, the history and the live view of calls, and counts their usage.

Many records at once cost about half of what each costs for itself. Therefore a record waits for others, for less time
than a thread waits before it writes lines.
"""

import asyncio
from collections.abc import Callable, Sequence

from gateway.history.usage_buckets import UsageBuckets
from gateway.observe.log import Log
from gateway.observe.meters import RouteMeter
from gateway.observe.record import Record, complete_records
from gateway.wiring.history import CallHistory

BATCH_SIZE = 32
"""Records that are written at once: few enough that other requests do not wait for them noticeably."""
MAX_DELAY = 0.01
"""Seconds that a record waits for others. With the interval of a history's thread, it makes a tenth of a second."""


class RecordWriter:
    """Writes records in batches. Call `flush` before records are read, and before a target of them changes."""

    def __init__(self, log: Log, history: CallHistory, usage: UsageBuckets) -> None:
        self._log = log
        self._history = history
        self._usage = usage
        self._watcher: Callable[[Sequence[bytes]], None] | None = None
        self._batch: list[tuple[Record, RouteMeter, str]] = []
        self._is_flush_due = False

    def write(self, record: Record, meter: RouteMeter, service: str) -> None:
        """Write a record with the others of its batch, and count its messages for this service. `meter` has it."""
        batch = self._batch
        batch.append((record, meter, service))
        if len(batch) >= BATCH_SIZE:
            self.flush()
        elif not self._is_flush_due:
            self._is_flush_due = True
            asyncio.get_running_loop().call_later(MAX_DELAY, self._flush_in_time)

    def watch(self, watcher: Callable[[Sequence[bytes]], None] | None) -> None:
        """Pass the lines of all further records to `watcher`; None: to nothing."""
        self.flush()
        self._watcher = watcher

    def flush(self) -> None:
        """Write all records so far."""
        batch, self._batch = self._batch, []
        if not batch:
            return
        records, meters, services = zip(*batch, strict=True)
        complete_records(records)
        self._usage.count_calls(records, services)
        for meter in set(meters):
            meter.count_full_batch()
        lines = self._log.write(records)
        self._history.append(lines, records)
        if self._watcher is not None:
            self._watcher(lines)

    def _flush_in_time(self) -> None:
        self._is_flush_due = False
        self.flush()
