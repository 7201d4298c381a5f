"""The last calls in a file: a bounded queue, and a thread that writes.

Lines that cannot be written are lost, unless another process locks the file: then they wait in the queue. The same
thread moves usage from memory to the file. Usage that cannot be written stays in memory.

Tokens may be on the same volume. If it has too little room for them, the history removes its file. It creates another
one when there is room for both. Until then, the usage of the removed file is in memory.
"""

import itertools
import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

from msgspec.structs import replace

from gateway.history.history_file import HistoryFile, UnusableHistoryFile
from gateway.history.interface import HistoryHealth, HistoryLimits, SearchResult
from gateway.history.open_calls import OpenCall, open_call_of
from gateway.history.query import MIN_TIME, HistoryQuery
from gateway.history.timed_reads import HistoryReader
from gateway.history.usage_buckets import UsageBuckets
from gateway.history.usage_query import USAGE_RETENTION, hour_of
from gateway.history.usage_table import ROW_SIZE
from gateway.observe.line_queue import MAX_LINES, LineQueue
from gateway.observe.log import log_event
from gateway.observe.record import Record

log = logging.getLogger("gateway.history")

# Times in seconds.
WRITE_INTERVAL = 0.09  # between two writes of a batch; a record reaches the queue within 0.01 s
_ERROR_PAUSE = 1.0  # before the next try after an error
_PRUNE_INTERVAL = 60.0  # while no calls arrive
_ROOM_CHECK_INTERVAL = 1.0  # while no calls arrive
_USAGE_INTERVAL = 1.0  # between two writes of usage
_PRUNE_USAGE_INTERVAL = 3600.0
_FLUSH_TIMEOUT = 0.5  # for which a search waits for earlier calls to be written

BATCH_SIZE = 500  # lines: one transaction must fit into a small write-ahead log
_USAGE_BATCH_SIZE = 500  # rows
_NO_ROOM = "the volume is nearly full and its free space is reserved for tokens; make room or lower `history.size`"
_TOO_FAST = "calls come faster than the disk can write them"


class FileHistory:
    """A `History` in the file at `path`, which several processes may share. Its thread also moves `usage` into the
    file. `clock` returns seconds since the epoch.
    """

    def __init__(
        self,
        path: str | Path,
        limits: HistoryLimits,
        *,
        usage: UsageBuckets | None = None,
        clock: Callable[[], float] = time.time,
        max_lines: int = MAX_LINES,
        interval: float = WRITE_INTERVAL,
    ) -> None:
        self._file = HistoryFile(path)
        self._reader = HistoryReader(path, limits, clock=clock)
        self._limits = limits
        self._usage = UsageBuckets() if usage is None else usage
        self._clock = clock
        self._interval = interval
        self._open_calls: dict[int, tuple[int, Record]] = {}  # by the identity of the record; only the loop changes it
        self._call_numbers = itertools.count()
        self._open_calls_changed = False  # whether calls have begun or ended since the last write
        self._flushes: deque[threading.Event] = deque()  # each is set when all earlier lines are written or lost
        self._lost_by_thread = 0
        self._refused_before = 0  # calls that the queue had refused at the last write
        self._lost_before = 0  # calls lost before the current problem
        self._problem = ""
        self._pruned_at = 0.0  # when old calls were last deleted, by the monotonic clock
        self._usage_written_at = self._usage_pruned_at = -math.inf
        self.is_usage_stored = True
        self._queue = LineQueue(self._run, name="history", max_lines=max_lines)
        self._queue.start()

    @property
    def lost(self) -> int:
        """Number of lost calls."""
        return self._queue.refused + self._lost_by_thread

    def append(self, lines: Sequence[bytes], records: Sequence[Record] = (), /) -> None:
        """Queue lines, and remove the entries of their calls."""
        self._queue.put_all(lines)
        if self._open_calls:
            ended = [record for record in records if self._open_calls.pop(id(record), None) is not None]
            if ended:
                self._open_calls_changed = True
                self._queue.wake()

    def begin(self, record: Record) -> None:
        """Queue the entry of a call before it is sent."""
        self._open_calls[id(record)] = next(self._call_numbers), record
        self._open_calls_changed = True
        self._queue.wake()

    async def find(self, query: HistoryQuery) -> SearchResult:
        """Search the file in a thread."""
        found = await self._reader.find(query, before_search=self._flush)
        return SearchResult(found.lines, found.kept, found.where, lost=self.lost)

    async def flush(self) -> None:
        """Wait in a thread until earlier lines are written."""
        await self._reader.run(self._flush)

    def _flush(self) -> None:
        """Block until earlier lines are written or lost, for at most `_FLUSH_TIMEOUT` seconds."""
        if self._queue.is_running():
            flushed = threading.Event()
            self._flushes.append(flushed)
            self._queue.interrupt()
            flushed.wait(_FLUSH_TIMEOUT)

    def set_limits(self, limits: HistoryLimits) -> None:
        """Use other limits from now on."""
        self._limits = self._reader.limits = limits

    def health(self) -> HistoryHealth:
        """Return the current problem, if any."""
        return HistoryHealth("file", ok=not self._problem, why=self._problem)

    def close(self, timeout: float) -> None:
        """Write the queued lines within `timeout` seconds. The file can still be searched after that."""
        self._queue.close(timeout)

    # In the thread --------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        queue = self._queue
        self._open_file()
        while not queue.closing:
            queue.wait_for_work(_ROOM_CHECK_INTERVAL, has_work=self._has_work)
            if self._is_idle():
                self._ensure_room()
                continue
            if not (self._flushes or queue.closing):
                queue.pause(_ERROR_PAUSE if self._problem else self._interval)
            self._write_all()
        self._write_all()
        self._write_open_calls({})
        self._file.close()

    def _has_work(self) -> bool:
        return bool(self._queue.pending or self._flushes or self._open_calls_changed or self._is_usage_due())

    def _open_file(self) -> None:
        if not self._ensure_room():
            return
        try:
            self._file.open()
        except UnusableHistoryFile as error:
            self._set_problem(str(error))

    def _is_idle(self) -> bool:
        """Return whether nothing is to be done except to check the room on the volume."""
        is_busy = self._has_work() or self._queue.closing
        return not is_busy and time.monotonic() < self._pruned_at + _PRUNE_INTERVAL

    def _ensure_room(self) -> bool:
        """Return whether the volume has room for calls. If it has not, first free the room that the history uses."""
        self._file.close_removed()
        if self._file.has_room():
            return True
        self._file.checkpoint()
        if self._file.has_room():
            return True
        removed = self._file.remove_for_room()
        if removed is not None:
            self._lost_by_thread += removed.calls
            self._usage.add_rows(removed.usage)
            message = "the history file was removed: its volume had too little room left for tokens"
            log_event(log, logging.WARNING, "history-removed", message, lost=removed.calls)
        if self._file.has_room():
            return True
        self._set_problem(_NO_ROOM)
        return False

    def _write_all(self) -> None:
        """Write everything that is queued, set the events of waiting searches, and delete calls beyond the limits."""
        queue = self._queue
        flushes = [self._flushes.popleft() for _ in range(len(self._flushes))]
        is_changed, self._open_calls_changed = self._open_calls_changed, False
        # Copied before the lines are read: a call that is missing in the copy has its line in the queue.
        open_calls = dict(self._open_calls)
        while queue.pending and not queue.abandoned and self._write_batch():
            self._prune()
        if is_changed and not queue.abandoned:
            self._write_open_calls({number: open_call_of(record) for number, record in open_calls.values()})
        if (flushes or queue.closing or self._is_usage_due()) and not queue.abandoned:
            self._write_usage()
        for flushed in flushes:
            flushed.set()
        while not (queue.pending or self._flushes or queue.closing) and self._prune():
            pass

    def _write_batch(self) -> bool:
        """Write a batch. Return False if another process locks the file: the batch is put back."""
        pending = self._queue.pending
        lines = [pending.popleft() for _ in range(min(len(pending), BATCH_SIZE))]
        if not self._ensure_room():
            self._count_lost(lines)
            return True
        try:
            self._file.append(lines)
        except UnusableHistoryFile as error:
            self._set_problem(str(error))
            if error.is_busy and not self._queue.closing:
                pending.extendleft(reversed(lines))
                return False
            self._count_lost(lines)
        else:
            self._set_problem(_TOO_FAST if self._queue.refused > self._refused_before else "")
            self._refused_before = self._queue.refused
            self._queue.release(sum(map(len, lines)))
        return True

    def _write_open_calls(self, open_calls: dict[int, OpenCall]) -> None:
        """Write the open calls. Postpone this while lines wait, because there is a problem with the file."""
        if (self._queue.pending and not self._queue.closing) or not self._ensure_room():
            self._open_calls_changed = bool(self._queue.pending)
            return
        try:
            self._file.update_open_calls(open_calls)
        except UnusableHistoryFile as error:
            self._open_calls_changed = error.is_busy

    def _is_usage_due(self) -> bool:
        return bool(self._usage) and time.monotonic() >= self._usage_written_at + _USAGE_INTERVAL

    def _write_usage(self) -> None:
        """Move usage from memory to the file. Usage that cannot be written stays in memory."""
        rows = self._usage.drain()
        self._usage_written_at = time.monotonic()
        try:
            while rows and self._ensure_room():
                self._file.add_usage(rows[:_USAGE_BATCH_SIZE])
                del rows[:_USAGE_BATCH_SIZE]
                self._prune_usage()
        except UnusableHistoryFile:
            pass  # reported when lines are written
        self.is_usage_stored = not rows
        self._usage.add_rows(rows)

    def _prune_usage(self) -> None:
        """Delete old usage, once an hour. Usage is stored longer than calls, in at most a quarter of their room."""
        if time.monotonic() < self._usage_pruned_at + _PRUNE_USAGE_INTERVAL:
            return
        self._usage_pruned_at = time.monotonic()
        oldest = max(MIN_TIME, round((self._clock() - USAGE_RETENTION) * 1000))
        self._file.prune_usage(oldest=hour_of(oldest), max_rows=self._limits.size // (4 * ROW_SIZE))

    def _count_lost(self, lines: list[bytes]) -> None:
        self._lost_by_thread += len(lines)
        self._refused_before = self._queue.refused
        self._queue.release(sum(map(len, lines)))

    def _prune(self) -> bool:
        """Delete a part of the calls beyond the limits. Return whether there are more."""
        self._pruned_at = time.monotonic()
        if not self._ensure_room():
            return False
        oldest = round((self._clock() - self._limits.keep) * 1000)
        room = self._file.available_room()
        limits = self._limits if room is None else replace(self._limits, size=min(self._limits.size, room))
        try:
            return self._file.prune(limits, max(MIN_TIME, oldest))
        except UnusableHistoryFile as error:
            if not error.is_busy:
                self._set_problem(str(error))
            return False

    def _set_problem(self, problem: str) -> None:
        """Log the beginning and the end of a problem once each."""
        previous, self._problem = self._problem, problem
        if problem and not previous:
            self._lost_before = self.lost
            log_event(log, logging.WARNING, "history-down", f"calls are not recorded in the history: {problem}")
        elif previous and not problem:
            message = "calls are recorded in the history again"
            log_event(log, logging.INFO, "history-up", message, lost=self.lost - self._lost_before)
