"""The last calls in memory, as their log lines of a few hundred bytes each."""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence

from msgspec.structs import replace

from gateway.history.interface import HistoryHealth, HistoryLimits, SearchResult
from gateway.history.query import MIN_TIME, HistoryQuery, filter_lines, format_time, newest_lines, time_of
from gateway.observe.record import Record

DEFAULT_CALLS = 10_000
"""Maximum number of calls unless `history.calls` is set."""
LINE_OVERHEAD = 48
"""Bytes of memory that a line needs in addition to its own."""
SEARCH_STEP = 250
"""Lines that are searched in one step of the loop: less than half a millisecond."""


class MemoryHistory:
    """A `History` that is lost when its process ends. `clock` returns seconds since the epoch."""

    def __init__(self, limits: HistoryLimits, *, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._lines: deque[bytes] = deque()
        self._size = 0
        self.lost = 0
        self.is_usage_stored = False
        self.set_limits(limits)

    def append(self, lines: Sequence[bytes], _records: Sequence[Record] = (), /) -> None:
        """Store lines; drop the oldest ones beyond the limits."""
        self._lines.extend(lines)
        self._size += _size_of(lines)
        self._drop_excess()

    def begin(self, record: Record) -> None:
        """Do nothing: the entry would be lost with the process."""

    async def find(self, query: HistoryQuery) -> SearchResult:
        """Search in steps, between which other tasks run."""
        query = replace(query, since=max(query.since, self._drop_old()))
        lines = tuple(self._lines)
        found: list[bytes] = []
        for end in range(len(lines), 0, -SEARCH_STEP):
            step = lines[max(0, end - SEARCH_STEP) : end]
            found = newest_lines((*found, *filter_lines(query, step[::-1])), query.limit)
            await asyncio.sleep(0)
        return SearchResult(tuple(found), len(lines), "memory")

    async def flush(self) -> None:
        """Return at once: every appended line can be found."""

    def set_limits(self, limits: HistoryLimits) -> None:
        """Use other limits from now on."""
        self._max_calls = DEFAULT_CALLS if limits.calls is None else limits.calls
        self._max_age = limits.keep
        self._max_size = limits.size
        self._drop_excess()

    def health(self) -> HistoryHealth:
        """Return a good health: memory cannot fail."""
        return HistoryHealth("memory")

    def close(self, timeout: float) -> None:
        """Do nothing: the lines can still be searched."""

    def _drop_excess(self) -> None:
        lines = self._lines
        self._size -= _size_of([lines.popleft() for _ in range(len(lines) - self._max_calls)])
        while self._size > self._max_size and lines:
            self._size -= len(lines.popleft()) + LINE_OVERHEAD

    def _drop_old(self) -> int:
        """Drop calls that are too old. Return the time of the oldest calls that may stay, in epoch milliseconds."""
        oldest = max(MIN_TIME, round((self._clock() - self._max_age) * 1000))
        first = format_time(oldest)
        while self._lines and time_of(self._lines[0]) < first:
            self._size -= len(self._lines.popleft()) + LINE_OVERHEAD
        return oldest


def _size_of(lines: Sequence[bytes]) -> int:
    """Return the bytes of memory of lines."""
    return sum(map(len, lines)) + len(lines) * LINE_OVERHEAD
