"""From the settings `history` and `state` to the call history: in memory or in a file, replaced when that changes."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from msgspec.structs import replace

from gateway.config.model import Config
from gateway.history.interface import History, HistoryDisabled, HistoryHealth, HistoryLimits, SearchResult
from gateway.history.memory import MemoryHistory
from gateway.history.query import HistoryQuery
from gateway.history.usage_buckets import UsageBuckets, UsageRow
from gateway.observe.log import log_event
from gateway.observe.record import Record
from gateway.system.background_tasks import BackgroundTasks

if TYPE_CHECKING:
    from gateway.history.timed_reads import HistoryReader

log = logging.getLogger("gateway.history")

FLUSH_TIMEOUT = 2.0
"""Seconds that a stop waits for unwritten calls."""


def history_path(config: Config) -> str | None:
    """Return the path of the history's file; None if it is in memory. It is not the file of tokens, whose accesses must
    not wait for it.
    """
    if config.state is None or config.state.path is None or config.history.calls == 0:
        return None
    return f"{config.state.path}.history"


def history_limits(config: Config) -> HistoryLimits:
    """Return the limits of the history."""
    return HistoryLimits(config.history.calls, config.history.keep, config.history.size)


def history_file(config: Config) -> tuple[str, float] | None:
    """Return the history's file, if any, and for how many seconds calls stay in it."""
    path = history_path(config)
    return None if path is None else (path, config.history.keep)


def open_history_reader(config: Config) -> "HistoryReader | None":
    """Return a reader of the file for processes that do not write it; None for a history in memory."""
    path = history_path(config)
    if path is None:
        return None
    from gateway.history.timed_reads import HistoryReader  # noqa: PLC0415 - imports sqlite3

    return HistoryReader(path, history_limits(config))


def import_history(config: Config) -> None:
    """Import the libraries of the configured history, which opens files; in a thread where callers are served."""
    if history_path(config) is not None:
        from gateway.history import file  # noqa: F401, PLC0415 - imports sqlite3


class CallHistory:
    """The history of this process by the present configuration. `append` and `begin` are the methods of the history
    itself.
    """

    append: Callable[[Sequence[bytes], Sequence[Record]], None]
    begin: Callable[[Record], None]

    def __init__(self, config: Config, usage: UsageBuckets) -> None:
        """Store `usage`, too, if the history is in a file."""
        self._usage = usage
        self._lost_before = 0
        self._closing = BackgroundTasks()
        self._open(config)

    def apply_config(self, config: Config) -> None:
        """Apply a configuration. Stored calls stay unless the file changes."""
        if history_path(config) == self._path:
            self._limits = history_limits(config)
            self._history.set_limits(self._limits)
            return
        old = self._history
        self._lost_before += old.lost
        self._open(config)
        self._closing.start(self._close_old(old, counted=old.lost))

    async def find(self, query: HistoryQuery) -> SearchResult:
        """Return the calls that match the query. Raise HistoryDisabled without a history, else Unsearchable."""
        if self._limits.calls == 0:
            raise HistoryDisabled
        return replace(await self._history.find(query), lost=self.lost)

    async def flush(self) -> None:
        """Wait briefly until other processes can find the calls so far."""
        await self._history.flush()

    async def usage_in_memory(self) -> list[UsageRow]:
        """Return the usage that is not in the file, after a short wait for the usage so far to be written."""
        await self._history.flush()
        return [] if self._history.is_usage_stored else self._usage.rows()

    @property
    def lost(self) -> int:
        """Return how many calls could not be stored so far, in any place."""
        return self._lost_before + self._history.lost

    def health(self) -> HistoryHealth:
        """Return the health of the history."""
        return self._history.health()

    async def close(self) -> None:
        """Write the unwritten calls and usage, for at most `FLUSH_TIMEOUT` seconds."""
        await asyncio.gather(asyncio.to_thread(self._history.close, FLUSH_TIMEOUT), self._closing.wait())
        if self._path is not None and (lost := sum(row.messages for row in self._usage.rows())):
            message = "usage could not be written to the history file before the stop"
            log_event(log, logging.WARNING, "usage-lost", message, messages=lost)

    def _open(self, config: Config) -> None:
        self._path, self._limits = history_path(config), history_limits(config)
        self._history = _open_history(self._path, self._limits, self._usage)
        self.append, self.begin = self._history.append, self._history.begin

    async def _close_old(self, history: History, *, counted: int) -> None:
        await asyncio.to_thread(history.close, FLUSH_TIMEOUT)
        self._lost_before += history.lost - counted


def _open_history(path: str | None, limits: HistoryLimits, usage: UsageBuckets) -> History:
    if path is None:
        return MemoryHistory(limits)
    from gateway.history.file import FileHistory  # noqa: PLC0415 - imports sqlite3

    return FileHistory(path, limits, usage=usage)
