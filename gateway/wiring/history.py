"""From `history:` and `state:` to the history that they ask for: memory or a file, exchanged when that changes."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from gateway.config.model import Config
from gateway.history.interface import History, HistoryHealth, HistoryLimits, NoneKept, SearchResult
from gateway.history.memory import MemoryHistory
from gateway.history.query import HistoryQuery
from gateway.observe.record import Record

if TYPE_CHECKING:
    from gateway.history.timed_reads import HistoryReader

FLUSH = 2.0
"""Seconds that a stop waits for what is not written yet."""


def place_of(config: Config) -> str | None:
    """The file that calls are kept in; None: in memory. It is none of the tokens', which must not wait for it."""
    if config.state is None or config.state.path is None or config.history.calls == 0:
        return None
    return f"{config.state.path}.history"


def limits_of(config: Config) -> HistoryLimits:
    """How much is kept."""
    return HistoryLimits(config.history.calls, config.history.keep, config.history.size)


def file_of(config: Config) -> tuple[str, float] | None:
    """The file that calls are kept in, if any, and for how many seconds."""
    place = place_of(config)
    return None if place is None else (place, config.history.keep)


def reader_of(config: Config) -> "HistoryReader | None":
    """Asks the file, for those that write nothing into it; None where calls are kept in memory."""
    place = place_of(config)
    if place is None:
        return None
    from gateway.history.timed_reads import HistoryReader  # noqa: PLC0415 - brings sqlite3

    return HistoryReader(place, limits_of(config))


def import_history(config: Config) -> None:
    """Import what the configured history needs, which opens files; in a thread where callers are served."""
    if place_of(config) is not None:
        from gateway.history import file  # noqa: F401, PLC0415 - brings sqlite3


class CallHistory:
    """The history of this process as the configuration of the moment wants it. `note`, `begin` and `end` are those of
    the history itself.
    """

    append: Callable[[bytes], None]
    begin: Callable[[Record], None]
    end: Callable[[Record], None]

    def __init__(self, config: Config) -> None:
        self._past = 0
        self._closing: set[asyncio.Task[None]] = set()
        self._open(config)

    def apply_config(self, config: Config) -> None:
        """Keeps calls as this configuration says; what is kept stays, unless it is to be kept elsewhere."""
        if place_of(config) == self._place:
            self._limits = limits_of(config)
            self._history.set_limits(self._limits)
            return
        leaving = self._history
        self._past += leaving.lost
        self._open(config)
        closing = asyncio.create_task(self._close_old(leaving, counted=leaving.lost))
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)

    async def find(self, query: HistoryQuery) -> SearchResult:
        """See `History`; and Unsearchable where none are kept."""
        if self._limits.calls == 0:
            raise NoneKept
        return replace(await self._history.find(query), lost=self.lost)

    async def flush(self) -> None:
        """Waits a moment until what was noted so far can be found by others too."""
        await self._history.flush()

    @property
    def lost(self) -> int:
        """How many calls could not be kept so far, in whichever place."""
        return self._past + self._history.lost

    def health(self) -> HistoryHealth:
        """How it does."""
        return self._history.health()

    async def close(self) -> None:
        """Writes what is not written yet, for at most `FLUSH` seconds."""
        await asyncio.gather(asyncio.to_thread(self._history.close, FLUSH), *self._closing)

    def _open(self, config: Config) -> None:
        self._place, self._limits = place_of(config), limits_of(config)
        self._history = _opened(self._place, self._limits)
        self.append, self.begin, self.end = self._history.append, self._history.begin, self._history.end

    async def _close_old(self, history: History, *, counted: int) -> None:
        await asyncio.to_thread(history.close, FLUSH)
        self._past += history.lost - counted


def _opened(place: str | None, limits: HistoryLimits) -> History:
    if place is None:
        return MemoryHistory(limits)
    from gateway.history.file import FileHistory  # noqa: PLC0415 - brings sqlite3

    return FileHistory(place, limits)
