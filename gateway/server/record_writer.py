"""Writes the records of ended requests to the log, the history and the live view of calls.

Many records at once cost about half of what each costs for itself. Therefore a record waits for others, for less time
than a thread waits before it writes lines.
"""

import asyncio
from collections.abc import Callable, Sequence

from gateway.observe.log import Log
from gateway.observe.record import Record, complete_record
from gateway.wiring.history import CallHistory

BATCH_SIZE = 32
"""Records that are written at once: few enough that other requests do not wait for them noticeably."""
MAX_DELAY = 0.01
"""Seconds that a record waits for others. With the interval of a history's thread, it makes a tenth of a second."""


class RecordWriter:
    """Writes records in batches. Call `flush` before records are read, and before a target of them changes."""

    def __init__(self, log: Log, history: CallHistory) -> None:
        self._log = log
        self._history = history
        self._watcher: Callable[[Sequence[bytes]], None] | None = None
        self._records: list[Record] = []
        self._is_flush_due = False

    def write(self, record: Record) -> None:
        """Complete a record, and write it with the others of its batch."""
        complete_record(record)
        records = self._records
        records.append(record)
        if len(records) >= BATCH_SIZE:
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
        records, self._records = self._records, []
        if not records:
            return
        lines = self._log.write(records)
        self._history.append(lines, records)
        if self._watcher is not None:
            self._watcher(lines)

    def _flush_in_time(self) -> None:
        self._is_flush_due = False
        self.flush()
