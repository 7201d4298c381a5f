"""The last calls in a file beside that of `state`: a bounded queue, and a thread of its own that writes.

Between the loop and the thread stands no lock (see `observe.writer`, which writes the log in the same way). What cannot
be written when its turn has come is lost, save where another process holds the file: that passes, and the queue waits.

Tokens may lie on the same volume. Where it has too little left for them, whoever has filled it, the history gives its
room back: the file is removed, and another is made when there is room for both.
"""

import itertools
import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from queue import Empty, SimpleQueue

from gateway.history.begun_calls import Begun, begun_of
from gateway.history.history_file import HistoryFile, UnusableFile
from gateway.history.interface import HistoryHealth, HistoryLimits, SearchResult
from gateway.history.query import FIRST, HistoryQuery
from gateway.history.timed_reads import HistoryReader
from gateway.observe.log import log_event
from gateway.observe.record import Record

log = logging.getLogger("gateway.history")

MAX_LINES = 10_000
MAX_BYTES = 16 * 1024 * 1024
INTERVAL = 0.1  # seconds in which calls gather before they are written at once
BATCH = 250  # lines: one change must fit into a small log
_FAULT_PAUSE = 1.0  # before the file is tried again
_AT_REST = 60.0  # without calls, how often what is too old is let go
LOOK = 1.0  # without calls, how often it is seen whether the volume has room
_SETTLE = 0.5  # the longest that a search waits for what was noted before it
_NO_ROOM = "its volume is nearly full, and what is left of it is for tokens; make room, or set a smaller `history.size`"
_TOO_FAST = "calls come faster than the disk takes them"

Bell = SimpleQueue[threading.Event | None]
"""Wakes the thread; an event is set when all that was noted before it has been written or lost."""


class FileHistory:
    """See `History`. The file at `path` may be shared with other processes; `clock` gives seconds since the epoch."""

    def __init__(
        self,
        path: str | Path,
        limits: HistoryLimits,
        *,
        clock: Callable[[], float] = time.time,
        max_lines: int = MAX_LINES,
        interval: float = INTERVAL,
    ) -> None:
        self._book = HistoryFile(path)
        self._reader = HistoryReader(path, limits, clock=clock)
        self._limits = limits
        self._clock = clock
        self._max_lines = max_lines
        self._interval = interval
        self._pending: deque[bytes] = deque()
        self._under_way: dict[int, tuple[int, Record]] = {}  # by identity; the thread looks, the loop changes
        self._numbers = itertools.count()
        self._is_changed = False  # calls have begun or ended since the thread looked
        self._bell: Bell = SimpleQueue()
        self._waiting: list[threading.Event] = []
        self._taken = self._given = 0  # bytes that came and went; each is counted by one thread only
        self._refused = self._unwritten = 0  # calls lost by the loop's thread, and by our own
        self._idle = self._closing = self._abandoned = False
        self._seen = self._before = 0  # calls lost when a batch was last written, and when the trouble began
        self._trouble = ""
        self._forgot = 0.0  # when too old calls were last let go, by the monotonic clock
        self._thread = threading.Thread(target=self._run, name="history", daemon=True)
        self._thread.start()

    @property
    def lost(self) -> int:
        """See `History`."""
        return self._refused + self._unwritten

    def append(self, line: bytes) -> None:
        """See `History`."""
        size = len(line)
        if len(self._pending) >= self._max_lines or self._taken - self._given + size > MAX_BYTES:
            self._refused += 1
            return
        self._pending.append(line)
        self._taken += size
        self._ring()

    def begin(self, record: Record) -> None:
        """See `History`."""
        self._under_way[id(record)] = next(self._numbers), record
        self._is_changed = True
        self._ring()

    def end(self, record: Record) -> None:
        """See `History`."""
        if self._under_way.pop(id(record), None) is not None:
            self._is_changed = True
            self._ring()

    def _ring(self) -> None:
        if self._idle:  # once per batch, not once per call
            self._idle = False
            self._bell.put(None)

    async def find(self, query: HistoryQuery) -> SearchResult:
        """See `History`."""
        found = await self._reader.find(query, first=self._settled)
        return SearchResult(found.lines, found.kept, found.where, lost=self.lost)

    async def flush(self) -> None:
        """See `History`."""
        await self._reader.run(self._settled)

    def _settled(self) -> None:
        """Blocks until the thread has had its turn."""
        if self._thread.is_alive():
            settled = threading.Event()
            self._bell.put(settled)
            settled.wait(_SETTLE)

    def set_limits(self, limits: HistoryLimits) -> None:
        """See `History`."""
        self._limits = self._reader.limits = limits

    def health(self) -> HistoryHealth:
        """See `History`."""
        return HistoryHealth("file", ok=not self._trouble, why=self._trouble)

    def close(self, timeout: float) -> None:
        """See `History`; what there is can still be found."""
        self._max_lines = 0
        self._closing = True
        self._bell.put(None)
        self._thread.join(timeout)
        if self._thread.is_alive():
            self._abandoned = True
            self._refused += len(self._pending)

    # In the thread --------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        self._begin()
        while not self._closing:
            self._idle = True
            if not (self._pending or self._waiting or self._is_changed):  # after `_idle`: a call before has not rung
                self._wait(LOOK)
            self._idle = False
            if self._is_at_rest():
                self._have_room()
                continue
            if not (self._waiting or self._closing):
                self._wait(_FAULT_PAUSE if self._trouble else self._interval)
            self._round()
        self._round()
        self._track({})
        self._book.close()

    def _begin(self) -> None:
        if not self._have_room():
            return
        try:
            self._book.open()
        except UnusableFile as error:
            self._tell(str(error))

    def _is_at_rest(self) -> bool:
        """Whether there is nothing to do but to see whether the volume has room."""
        has_work = self._pending or self._waiting or self._is_changed or self._closing
        return not has_work and time.monotonic() < self._forgot + _AT_REST

    def _have_room(self) -> bool:
        """Whether the volume has room for calls; where it has not, it gets back what the history has of it."""
        self._book.let_go_of_removed()
        if self._book.has_room():
            return True
        self._book.empty_log()
        if self._book.has_room():
            return True
        calls = self._book.give_up()
        if calls is not None:
            self._unwritten += calls
            told = "the history was removed: its volume has too little room left for tokens"
            log_event(log, logging.WARNING, "history-removed", told, lost=calls)
        if self._book.has_room():
            return True
        self._tell(_NO_ROOM)
        return False

    def _wait(self, seconds: float) -> None:
        """Until the bell rings; notes who rang it to be told."""
        try:
            rung = self._bell.get(timeout=seconds)
            while True:
                self._waiting += [] if rung is None else [rung]
                rung = self._bell.get_nowait()
        except Empty:
            return

    def _round(self) -> None:
        """Writes what waits, tells those who wait for it, and lets go of what is too much."""
        waiting, self._waiting = self._waiting, []
        is_changed, self._is_changed = self._is_changed, False
        under_way = dict(self._under_way)  # before the lines: a call that is not in it any more has its line there
        while self._pending and not self._abandoned and self._write():
            self._forget()
        if is_changed and not self._abandoned:
            self._track({number: begun_of(record) for number, record in under_way.values()})
        for settled in waiting:
            settled.set()
        while not (self._pending or self._waiting or self._closing) and self._forget():
            self._wait(0)

    def _write(self) -> bool:
        """Writes a batch; false when another process holds the file, and the batch goes on waiting."""
        lines = [self._pending.popleft() for _ in range(min(len(self._pending), BATCH))]
        if not self._have_room():
            self._lose(lines)
            return True
        try:
            self._book.append(lines)
        except UnusableFile as error:
            self._tell(str(error))
            if error.is_busy and not self._closing:
                self._pending.extendleft(reversed(lines))
                return False
            self._lose(lines)
        else:
            self._tell(_TOO_FAST if self._refused > self._seen else "")
            self._seen = self._refused
            self._given += sum(map(len, lines))
        return True

    def _track(self, under_way: dict[int, Begun]) -> None:
        """Writes which calls are under way; in trouble, which is told of their lines, later."""
        if (self._pending and not self._closing) or not self._have_room():
            self._is_changed = bool(self._pending)
            return
        try:
            self._book.track(under_way)
        except UnusableFile as error:
            self._is_changed = error.is_busy

    def _lose(self, lines: list[bytes]) -> None:
        self._unwritten += len(lines)
        self._seen = self._refused
        self._given += sum(map(len, lines))

    def _forget(self) -> bool:
        """Lets go of a part of what is too much; whether there is more."""
        self._forgot = time.monotonic()
        if not self._have_room():
            return False
        oldest = round((self._clock() - self._limits.keep) * 1000)
        room = self._book.room()
        limits = self._limits if room is None else replace(self._limits, size=min(self._limits.size, room))
        try:
            return self._book.forget(limits, max(FIRST, oldest))
        except UnusableFile as error:
            if not error.is_busy:
                self._tell(str(error))
            return False

    def _tell(self, trouble: str) -> None:
        """Says a trouble once, and once that it is over."""
        was, self._trouble = self._trouble, trouble
        if trouble and not was:
            self._before = self.lost
            log_event(log, logging.WARNING, "history-down", f"calls are lost to the history, and go on: {trouble}")
        elif was and not trouble:
            told = "calls are kept in the history again"
            log_event(log, logging.INFO, "history-up", told, lost=self.lost - self._before)
