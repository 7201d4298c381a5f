"""Searches of a history file in threads, with a time limit."""

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

SEARCH_TIMEOUT = 1.0
"""Maximum seconds of a search."""
_THREADS = 2  # separate from the default threads of the loop, which also resolve names for calls


class HistoryReader:
    """Searches the file at `path`, whichever process writes it. `clock` returns seconds since the epoch."""

    def __init__(self, path: str | Path, limits: HistoryLimits, *, clock: Callable[[], float] = time.time) -> None:
        self._path = path
        self._clock = clock
        self._threads = DaemonThreads(_THREADS, name="history-reader")
        self.limits = limits

    async def find(self, query: HistoryQuery, *, first: Callable[[], object] = bool) -> SearchResult:
        """Return the calls, after `first` was called in the thread. Raise Unsearchable."""
        until = time.monotonic() + SEARCH_TIMEOUT

        def work() -> SearchResult:
            first()
            return read(self._path, query, keep=self.limits.keep, now=self._clock(), until=until)

        return await self.run(work)

    async def run(self, work: Callable[[], T]) -> T:
        """Run this in one of the threads of searches."""
        return await asyncio.wrap_future(self._threads.submit(work))
