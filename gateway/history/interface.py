"""The interface of a history: its methods and results. Pure."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, Protocol

from gateway.history.query import HistoryQuery, newest
from gateway.observe.record import Record

Where = Literal["memory", "file"]


class Unsearchable(Exception):
    """The history cannot be searched now; the text names the cause and the remedy."""


class HistoryDisabled(Unsearchable):
    """No history is stored at all."""

    def __init__(self) -> None:
        super().__init__("no calls are stored: `history.calls` is 0; remove the key and reload the configuration")


@dataclass(frozen=True, slots=True)
class HistoryLimits:
    """The last `calls` (None: as many as fit; 0: none) of the last `keep` seconds, in at most `size` bytes."""

    calls: int | None
    keep: float
    size: int


@dataclass(frozen=True, slots=True)
class SearchResult:
    """The matching lines, newest first, the number of `kept` calls, and of those `lost`.

    `stuck` are process ids of workers that did not respond, whose calls in memory may be missing.
    """

    lines: tuple[bytes, ...]
    kept: int
    where: Where
    lost: int = 0
    stuck: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class HistoryHealth:
    """Whether calls are stored as configured, and if not, why."""

    where: Where
    ok: bool = True
    why: str = ""


class History(Protocol):
    """Stores the last calls. `append`, `begin` and `end` are called in the loop's thread."""

    stores_usage: bool
    """Whether the usage that was counted before the last `flush` is in the file."""

    @property
    def lost(self) -> int:
        """Number of calls that could not be stored."""

    def append(self, line: bytes) -> None:
        """Store a record as its JSON line; never waits, never raises."""

    def begin(self, record: Record) -> None:
        """Store that a call is about to be sent that may change something. A history that outlives the process finds it
        if the process is killed.
        """

    def end(self, record: Record) -> None:
        """Remove the entry of `begin`; the line of the call was appended."""

    async def find(self, query: HistoryQuery) -> SearchResult:
        """Return the newest matching calls, including all that were appended before. Raise Unsearchable."""

    async def flush(self) -> None:
        """Wait briefly until every search finds what was appended."""

    def set_limits(self, limits: HistoryLimits) -> None:
        """Use other limits from now on."""

    def health(self) -> HistoryHealth:
        """Return whether calls are stored as configured."""

    def close(self, timeout: float) -> None:
        """Block up to `timeout` seconds until all appended calls are stored, and accept no more. The rest is lost."""


def merged(answers: Iterable[SearchResult], limit: int) -> SearchResult:
    """Return the results of several processes, each with calls of its own, as one."""
    results = tuple(answers)
    lines = newest((line for result in results for line in result.lines), limit)
    kept, lost = sum(result.kept for result in results), sum(result.lost for result in results)
    return SearchResult(tuple(lines), kept, "memory", lost=lost)


def document(found: SearchResult) -> bytes:
    """Return the result as JSON: `instances` (records, newest first), `kept`, `where`, `lost`, and `stuck` if any."""
    facts: dict[str, object] = {"kept": found.kept, "where": found.where, "lost": found.lost}
    facts |= {"stuck": list(found.stuck)} if found.stuck else {}
    return b'{"instances": [' + b",".join(found.lines) + b"],\n " + json.dumps(facts)[1:].encode() + b"\n"
