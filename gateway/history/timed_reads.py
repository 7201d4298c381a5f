"""Search a history file in threads, with a time limit."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from gateway.history.history_file import search_file
from gateway.history.interface import HistoryLimits, SearchResult
from gateway.history.query import HistoryQuery
from gateway.system.files import DaemonThreads

T = TypeVar("T")

SEARCH_TIMEOUT = 1.0
"""Maximum seconds of a search, with its wait for a thread."""
_THREADS = 2  # not the default threads of the loop, on which calls may wait


class HistoryReader:
    """Searches the file at `path`, which any process may write. `clock` returns seconds since the epoch."""

    def __init__(self, path: str | Path, limits: HistoryLimits, *, clock: Callable[[], float] = time.time) -> None:
        self._path = path
        self._clock = clock
        self._threads = DaemonThreads(_THREADS, name="history-reader")
        self.limits = limits

    async def find(self, query: HistoryQuery, *, before_search: Callable[[], object] = bool) -> SearchResult:
        """Call `before_search` in a thread, then search there. Raise Unsearchable."""
        until = time.monotonic() + SEARCH_TIMEOUT

        def work() -> SearchResult:
            before_search()
            return search_file(self._path, query, keep=self.limits.keep, now=self._clock(), until=until)

        return await self.run(work)

    async def run(self, work: Callable[[], T]) -> T:
        """Run a function in one of the search threads."""
        return await asyncio.wrap_future(self._threads.submit(work))
