"""The last calls in memory: their lines as they were written, a few hundred bytes each."""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace

from gateway.history.interface import HistoryHealth, HistoryLimits, SearchResult
from gateway.history.query import FIRST, HistoryQuery, filter_lines, newest, spelt, time_of
from gateway.observe.record import Record

CALLS = 10_000
"""How many are kept where nothing is said."""
OBJECT = 48
"""Bytes that a line costs beside its own."""
STRIDE = 250
"""Lines that are searched before others have their turn on the loop: less than half a millisecond."""


class MemoryHistory:
    """See `History`. Nothing outlives the process; `clock` gives seconds since the epoch."""

    def __init__(self, limits: HistoryLimits, *, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._lines: deque[bytes] = deque()
        self._size = 0
        self.lost = 0
        self.set_limits(limits)

    def append(self, line: bytes) -> None:
        """See `History`."""
        self._lines.append(line)
        self._size += len(line) + OBJECT
        if self._size > self._most or len(self._lines) > self._calls:
            self._drop()

    def begin(self, record: Record) -> None:
        """See `History`; nothing outlives the process."""

    def end(self, record: Record) -> None:
        """See `History`."""

    async def find(self, query: HistoryQuery) -> SearchResult:
        """See `History`; it holds up nobody else on the loop."""
        query = replace(query, since=max(query.since, self._forget()))
        lines = tuple(self._lines)
        found: list[bytes] = []
        for end in range(len(lines), 0, -STRIDE):
            stride = lines[max(0, end - STRIDE) : end]
            found = newest((*found, *filter_lines(query, stride[::-1])), query.limit)
            await asyncio.sleep(0)
        return SearchResult(tuple(found), len(lines), "memory")

    async def flush(self) -> None:
        """See `History`; it can."""

    def set_limits(self, limits: HistoryLimits) -> None:
        """See `History`."""
        self._calls = CALLS if limits.calls is None else limits.calls
        self._keep = limits.keep
        self._most = limits.size
        self._drop()

    def health(self) -> HistoryHealth:
        """See `History`."""
        return HistoryHealth("memory")

    def close(self, timeout: float) -> None:
        """See `History`; what there is can still be found."""

    def _drop(self) -> None:
        while self._lines and (self._size > self._most or len(self._lines) > self._calls):
            self._size -= len(self._lines.popleft()) + OBJECT

    def _forget(self) -> int:
        """Lets go of what is too old; the millisecond from which on calls are shown."""
        oldest = max(FIRST, round((self._clock() - self._keep) * 1000))
        first = spelt(oldest)
        while self._lines and time_of(self._lines[0]) < first:
            self._size -= len(self._lines.popleft()) + OBJECT
        return oldest
