"""The records of calls as they end, for readers that watch them live.

All readers share one bounded buffer, so that the memory is the same for one reader and for a hundred. A reader that is
too slow finds its place overwritten: it loses these lines, and gets their number instead. Without a reader, no line is
kept.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable, Sequence
from itertools import islice
from typing import NamedTuple

MAX_LINES, MAX_BYTES = 4000, 2 * 1024 * 1024
"""Bounds of the shared buffer."""
BATCH_INTERVAL = 0.1
"""Seconds in which lines are collected before readers wake up."""
MAX_BATCH = 500
"""Maximum lines of one batch."""


def lost_line(count: int) -> bytes:
    """Return the line that stands for so many lost lines."""
    return b'{"event":"lost","lines":%d}\n' % count


class _Batch(NamedTuple):
    """Lines from a position on, and the number of records that they stand for."""

    position: int
    lines: tuple[bytes, ...]
    records: int


class CallFeed:
    """The last records, and the readers that wait for the next. Construct it inside the loop.

    `on_watched` is called with True when the first reader begins, and with False when the last one ends.
    """

    def __init__(
        self,
        on_watched: Callable[[bool], None] = lambda _: None,
        *,
        max_lines: int = MAX_LINES,
        max_bytes: int = MAX_BYTES,
        interval: float = BATCH_INTERVAL,
    ) -> None:
        self._on_watched = on_watched
        self._max_lines, self._max_bytes, self._interval = max_lines, max_bytes, interval
        self._lines: deque[tuple[bytes, int]] = deque()  # each with the number of records that it stands for
        self._size = 0
        self._first = 0  # the position of the oldest line
        self._removed = 0  # records whose lines were removed
        self._readers = 0
        self._last_batch: _Batch | None = None
        self._wake: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    @property
    def is_watched(self) -> bool:
        """Return whether there is a reader."""
        return self._readers > 0

    def publish(self, lines: Sequence[bytes]) -> None:
        """Pass lines, each with its line feed, to all readers. Never block."""
        self._append([(line, 1) for line in lines])

    def publish_lost(self, count: int) -> None:
        """Report that so many lines were lost before they came here."""
        self._append([(lost_line(count), count)])

    async def watch(self) -> AsyncGenerator[tuple[bytes, ...], None]:
        """Yield batches of lines from now on; `lost_line` stands for lines that this reader was too slow for. Readers
        at the same position get the same batch.
        """
        position, records = self._begin()
        try:
            while True:
                if position == self._first + len(self._lines):
                    await self._next_lines()
                    continue
                lost: tuple[bytes, ...] = ()
                if position < self._first:
                    lost = (lost_line(self._removed - records),)
                    position, records = self._first, self._removed
                batch = self._read_batch(position)
                position += len(batch.lines)
                records += batch.records
                yield lost + batch.lines
        finally:
            self._end()

    def _read_batch(self, position: int) -> _Batch:
        batch = self._last_batch
        if batch is None or batch.position != position:
            start = position - self._first
            found = [*islice(self._lines, start, start + MAX_BATCH)]
            lines = tuple(line for line, _ in found)
            self._last_batch = batch = _Batch(position, lines, sum(count for _, count in found))
        return batch

    def _append(self, lines: list[tuple[bytes, int]]) -> None:
        if not self._readers:
            return
        self._lines += lines
        self._size += sum(len(line) for line, _ in lines)
        while len(self._lines) > self._max_lines or self._size > self._max_bytes:
            self._remove_oldest()
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._interval, self._wake_readers)

    def _wake_readers(self) -> None:
        self._timer = None
        if self._wake is not None:
            self._wake.set_result(None)
            self._wake = None

    async def _next_lines(self) -> None:
        """Wait for the next batch; all readers wait for the same future."""
        if self._wake is None:
            self._wake = asyncio.get_running_loop().create_future()
        await asyncio.shield(self._wake)

    def _begin(self) -> tuple[int, int]:
        self._readers += 1
        if self._readers == 1:
            self._on_watched(True)  # noqa: FBT003 - the callback has one argument
        return self._first + len(self._lines), self._removed + sum(count for _, count in self._lines)

    def _end(self) -> None:
        self._readers -= 1
        if not self._readers:
            while self._lines:
                self._remove_oldest()
            self._last_batch = None
            self._on_watched(False)  # noqa: FBT003 - the callback has one argument

    def _remove_oldest(self) -> None:
        line, count = self._lines.popleft()
        self._size -= len(line)
        self._removed += count
        self._first += 1
