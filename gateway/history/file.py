"""The last calls in a file beside the file of `state`: a bounded queue, and a thread that writes.

Lines that cannot be written are lost, unless another process locks the file: then the queue waits. The same thread
moves usage from memory to the file; what cannot be written stays in memory.

Tokens may be on the same volume. If it has too little room left for them, for whatever reason, the history removes its
file; it makes another when there is room for both. The usage of a removed file goes to memory until then.
"""

import itertools
import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from gateway.history.begun_calls import OpenCall, begun_of
from gateway.history.history_file import HistoryFile, UnusableFile
from gateway.history.interface import HistoryHealth, HistoryLimits, SearchResult
from gateway.history.query import MIN_TIME, HistoryQuery
from gateway.history.timed_reads import HistoryReader
from gateway.history.usage_buckets import UsageBuckets
from gateway.history.usage_query import KEEP, hour_of
from gateway.history.usage_table import ROW_SIZE
from gateway.observe.line_queue import MAX_LINES, LineQueue
from gateway.observe.log import log_event
from gateway.observe.record import Record

log = logging.getLogger("gateway.history")

INTERVAL = 0.1  # seconds in which calls gather before one write
BATCH = 500  # lines: one change must fit into a small write-ahead log
_FAULT_PAUSE = 1.0  # before the next try after an error
_FORGET_EVERY = 60.0  # without calls
_ROOM_CHECK = 1.0  # without calls
_USAGE_EVERY = 1.0  # between two writes of usage
_USAGE_BATCH = 500  # rows, as for `BATCH`
_FORGET_USAGE_EVERY = 3600.0
_FLUSH_TIMEOUT = 0.5  # the longest that a search waits for calls that were added before it
"""Times in seconds."""
_NO_ROOM = "the volume is nearly full and its free space is reserved for tokens; make room or lower `history.size`"
_TOO_FAST = "calls come faster than the disk can write them"


class FileHistory:
    """A `History` in the file at `path`, which other processes may share. It moves `usage` into the file. `clock`
    returns seconds since the epoch.
    """

    def __init__(
        self,
        path: str | Path,
        limits: HistoryLimits,
        *,
        usage: UsageBuckets | None = None,
        clock: Callable[[], float] = time.time,
        max_lines: int = MAX_LINES,
        interval: float = INTERVAL,
    ) -> None:
        self._file = HistoryFile(path)
        self._reader = HistoryReader(path, limits, clock=clock)
        self._limits = limits
        self._usage = UsageBuckets() if usage is None else usage
        self._clock = clock
        self._interval = interval
        self._under_way: dict[int, tuple[int, Record]] = {}  # by identity; only the loop changes it
        self._numbers = itertools.count()
        self._is_changed = False  # calls have begun or ended since the thread wrote them
        self._flushes: deque[threading.Event] = deque()  # to be set when all earlier lines are written or lost
        self._unwritten = 0  # calls that the thread lost
        self._reported = 0  # refused calls when a batch was last written
        self._lost_before = 0  # calls lost before the current problem
        self._problem = ""
        self._forgot_at = 0.0  # when old calls were last deleted, by the monotonic clock
        self._usage_at = self._usage_forgot_at = -math.inf  # when usage was last written, and old usage deleted
        self.stores_usage = True
        self._queue = LineQueue(self._run, name="history", max_lines=max_lines)
        self._queue.start()

    @property
    def lost(self) -> int:
        """Number of lost calls."""
        return self._queue.refused + self._unwritten

    def append(self, line: bytes) -> None:
        """Queue a line."""
        self._queue.put(line)

    def begin(self, record: Record) -> None:
        """Queue an entry of a call that is about to be sent."""
        self._under_way[id(record)] = next(self._numbers), record
        self._is_changed = True
        self._queue.wake()

    def end(self, record: Record) -> None:
        """Remove the entry of an ended call."""
        if self._under_way.pop(id(record), None) is not None:
            self._is_changed = True
            self._queue.wake()

    async def find(self, query: HistoryQuery) -> SearchResult:
        """Search the file in a thread."""
        found = await self._reader.find(query, first=self._flush)
        return SearchResult(found.lines, found.kept, found.where, lost=self.lost)

    async def flush(self) -> None:
        """Wait in a thread until earlier lines are written."""
        await self._reader.run(self._flush)

    def _flush(self) -> None:
        """Block until earlier lines are written or lost, at most `_FLUSH_TIMEOUT`."""
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
        """Write the rest within the timeout; the file can still be searched."""
        self._queue.close(timeout)

    # In the thread --------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        queue = self._queue
        self._open()
        while not queue.closing:
            queue.wait_for_work(_ROOM_CHECK, has_work=self._has_work)
            if self._is_at_rest():
                self._ensure_room()
                continue
            if not (self._flushes or queue.closing):
                queue.pause(_FAULT_PAUSE if self._problem else self._interval)
            self._write_all()
        self._write_all()
        self._track({})
        self._file.close()

    def _has_work(self) -> bool:
        return bool(self._queue.pending or self._flushes or self._is_changed or self._is_usage_due())

    def _open(self) -> None:
        if not self._ensure_room():
            return
        try:
            self._file.open()
        except UnusableFile as error:
            self._set_problem(str(error))

    def _is_at_rest(self) -> bool:
        """Return whether the only work is to check the room on the volume."""
        is_busy = self._has_work() or self._queue.closing
        return not is_busy and time.monotonic() < self._forgot_at + _FORGET_EVERY

    def _ensure_room(self) -> bool:
        """Return whether the volume has room for calls; free what the history uses if it has not."""
        self._file.close_removed()
        if self._file.has_room():
            return True
        self._file.truncate_log()
        if self._file.has_room():
            return True
        removed = self._file.remove_for_room()
        if removed is not None:
            self._unwritten += removed.calls
            self._usage.add_rows(removed.usage)
            message = "the history file was removed: its volume had too little room left for tokens"
            log_event(log, logging.WARNING, "history-removed", message, lost=removed.calls)
        if self._file.has_room():
            return True
        self._set_problem(_NO_ROOM)
        return False

    def _write_all(self) -> None:
        """Write what waits, set the events of those that wait for it, and delete calls beyond the limits."""
        queue = self._queue
        flushes = [self._flushes.popleft() for _ in range(len(self._flushes))]
        is_changed, self._is_changed = self._is_changed, False
        under_way = dict(self._under_way)  # before the lines: the line of a call that is missing here is in the queue
        while queue.pending and not queue.abandoned and self._write_batch():
            self._forget()
        if is_changed and not queue.abandoned:
            self._track({number: begun_of(record) for number, record in under_way.values()})
        if (flushes or queue.closing or self._is_usage_due()) and not queue.abandoned:
            self._write_usage()
        for flushed in flushes:
            flushed.set()
        while not (queue.pending or self._flushes or queue.closing) and self._forget():
            pass

    def _write_batch(self) -> bool:
        """Write a batch. Return False if another process locks the file: the batch is put back."""
        pending = self._queue.pending
        lines = [pending.popleft() for _ in range(min(len(pending), BATCH))]
        if not self._ensure_room():
            self._lose(lines)
            return True
        try:
            self._file.append(lines)
        except UnusableFile as error:
            self._set_problem(str(error))
            if error.is_busy and not self._queue.closing:
                pending.extendleft(reversed(lines))
                return False
            self._lose(lines)
        else:
            self._set_problem(_TOO_FAST if self._queue.refused > self._reported else "")
            self._reported = self._queue.refused
            self._queue.release(sum(map(len, lines)))
        return True

    def _track(self, under_way: dict[int, OpenCall]) -> None:
        """Write which calls are in progress. Postpone it while lines wait, because of a problem that they report."""
        if (self._queue.pending and not self._queue.closing) or not self._ensure_room():
            self._is_changed = bool(self._queue.pending)
            return
        try:
            self._file.track(under_way)
        except UnusableFile as error:
            self._is_changed = error.is_busy

    def _is_usage_due(self) -> bool:
        return bool(self._usage) and time.monotonic() >= self._usage_at + _USAGE_EVERY

    def _write_usage(self) -> None:
        """Add what was counted to the file. What cannot be written stays in memory."""
        rows = self._usage.drain()
        self._usage_at = time.monotonic()
        try:
            while rows and self._ensure_room():
                self._file.add_usage(rows[:_USAGE_BATCH])
                del rows[:_USAGE_BATCH]
                self._forget_usage()
        except UnusableFile:
            pass  # the lines of calls report it
        self.stores_usage = not rows
        self._usage.add_rows(rows)

    def _forget_usage(self) -> None:
        """Delete old usage now and then: it is stored longer than calls, in at most a quarter of their room."""
        if time.monotonic() < self._usage_forgot_at + _FORGET_USAGE_EVERY:
            return
        self._usage_forgot_at = time.monotonic()
        oldest = max(MIN_TIME, round((self._clock() - KEEP) * 1000))
        self._file.forget_usage(oldest=hour_of(oldest), most=self._limits.size // (4 * ROW_SIZE))

    def _lose(self, lines: list[bytes]) -> None:
        self._unwritten += len(lines)
        self._reported = self._queue.refused
        self._queue.release(sum(map(len, lines)))

    def _forget(self) -> bool:
        """Delete a part of the calls beyond the limits. Return whether there are more."""
        self._forgot_at = time.monotonic()
        if not self._ensure_room():
            return False
        oldest = round((self._clock() - self._limits.keep) * 1000)
        room = self._file.room()
        limits = self._limits if room is None else replace(self._limits, size=min(self._limits.size, room))
        try:
            return self._file.forget(limits, max(MIN_TIME, oldest))
        except UnusableFile as error:
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
