"""Questions to the file of a history while the loop goes on, each within its time."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from gateway.history.history_file import read
from gateway.history.interface import HistoryLimits, SearchResult
from gateway.history.query import HistoryQuery
from gateway.system.files import DaemonThreads

T = TypeVar("T")

LONGEST = 1.0
"""Seconds that a search may take."""
_THREADS = 2  # of its own: the loop's common ones also look up names for calls


class HistoryReader:
    """Finds calls in the file at `path`, whoever writes it; `clock` gives seconds since the epoch."""

    def __init__(self, path: str | Path, limits: HistoryLimits, *, clock: Callable[[], float] = time.time) -> None:
        self._path = path
        self._clock = clock
        self._threads = DaemonThreads(_THREADS, name="history-reader")
        self.limits = limits

    async def find(self, query: HistoryQuery, *, first: Callable[[], object] = bool) -> SearchResult:
        """The calls, after `first` was called in the thread. Raises Unsearchable."""
        until = time.monotonic() + LONGEST

        def work() -> SearchResult:
            first()
            return read(self._path, query, keep=self.limits.keep, now=self._clock(), until=until)

        return await self.run(work)

    async def run(self, work: Callable[[], T]) -> T:
        """Does this in one of the threads of questions."""
        return await asyncio.wrap_future(self._threads.submit(work))
