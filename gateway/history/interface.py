"""The interface of a history: methods, limits and search results. Pure."""

import json
from collections.abc import Iterable, Sequence
from typing import Literal, Protocol

import msgspec

from gateway.history.query import HistoryQuery, newest_lines
from gateway.observe.record import Record

StorageKind = Literal["memory", "file"]


class Unsearchable(Exception):
    """The history cannot be searched now. The text names the cause and the remedy."""


class HistoryDisabled(Unsearchable):
    """The configuration switches the history off."""

    def __init__(self) -> None:
        super().__init__("no calls are stored: `history.calls` is 0; remove the key and reload the configuration")


class HistoryLimits(msgspec.Struct, frozen=True):
    """What is stored: at most the last `calls` (None: no limit; 0: none), those of the last `keep` seconds, `size`
    bytes.
    """

    calls: int | None
    keep: float
    size: int


class SearchResult(msgspec.Struct, frozen=True):
    """The matching lines, newest first; the numbers of stored calls (`kept`) and of `lost` calls.

    `stuck` are the process ids of workers that did not respond. Their calls in memory are missing.
    """

    lines: tuple[bytes, ...]
    kept: int
    where: StorageKind
    lost: int = 0
    stuck: tuple[int, ...] = ()


class HistoryHealth(msgspec.Struct, frozen=True):
    """Whether calls are stored as configured, and the cause if they are not."""

    where: StorageKind
    ok: bool = True
    why: str = ""


class History(Protocol):
    """Stores the last calls. Only the thread of the loop calls `append` and `begin`."""

    is_usage_stored: bool
    """Whether the usage that was counted before the last `flush` is in the file."""

    @property
    def lost(self) -> int:
        """Number of calls that could not be stored."""

    def append(self, lines: Sequence[bytes], records: Sequence[Record] = (), /) -> None:
        """Store records as their JSON lines, and remove their open calls, if any; never waits, never raises."""

    def begin(self, record: Record) -> None:
        """Store an open call, before it is sent. A history in a file finds it after the process was killed."""

    async def find(self, query: HistoryQuery) -> SearchResult:
        """Return the newest matching calls, including all that were appended before. Raise Unsearchable."""

    async def flush(self) -> None:
        """Wait briefly, until every search finds the calls that were appended before."""

    def set_limits(self, limits: HistoryLimits) -> None:
        """Use other limits from now on."""

    def health(self) -> HistoryHealth:
        """Return whether calls are stored as configured."""

    def close(self, timeout: float) -> None:
        """Accept no more calls, and block up to `timeout` seconds until all are stored. The others are lost."""


def merge_results(results: Iterable[SearchResult], limit: int) -> SearchResult:
    """Merge the results of several processes, each of which has other calls, into one."""
    results = tuple(results)
    lines = newest_lines((line for result in results for line in result.lines), limit)
    kept, lost = sum(result.kept for result in results), sum(result.lost for result in results)
    return SearchResult(tuple(lines), kept, "memory", lost=lost)


def result_document(found: SearchResult) -> bytes:
    """Return the result as JSON: `instances` (records, newest first), `kept`, `where`, `lost`, and `stuck` if any."""
    facts: dict[str, object] = {"kept": found.kept, "where": found.where, "lost": found.lost}
    facts |= {"stuck": list(found.stuck)} if found.stuck else {}
    return b'{"instances": [' + b",".join(found.lines) + b"],\n " + json.dumps(facts)[1:].encode() + b"\n"
