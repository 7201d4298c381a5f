"""The port of the history: what is asked of one, and what it answers. Pure."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, Protocol

from gateway.history.query import HistoryQuery, newest
from gateway.observe.record import Record

Where = Literal["memory", "file"]


class Unsearchable(Exception):
    """The history cannot be searched now; the text says why and what to do."""


class NoneKept(Unsearchable):
    """No history is kept at all."""

    def __init__(self) -> None:
        super().__init__("no calls are kept: `history.calls` is 0; take the key out, and have the file read again")


@dataclass(frozen=True, slots=True)
class HistoryLimits:
    """How much is kept: the last `calls` (None: as many as fit; 0: none), for `keep` seconds, in `size` bytes."""

    calls: int | None
    keep: float
    size: int


@dataclass(frozen=True, slots=True)
class SearchResult:
    """The lines that answer a query, newest first; how many calls are `kept` in all, and how many were `lost`.

    `stuck` are process ids of workers that did not answer, whose calls in memory may be missing.
    """

    lines: tuple[bytes, ...]
    kept: int
    where: Where
    lost: int = 0
    stuck: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class HistoryHealth:
    """Whether calls are kept as they should be, and why not."""

    where: Where
    ok: bool = True
    why: str = ""


class History(Protocol):
    """Keeps the last calls. `note` is for the loop's thread."""

    @property
    def lost(self) -> int:
        """How many calls it could not keep so far."""

    def append(self, line: bytes) -> None:
        """Keeps a record, spelt as its JSON line; never waits, never raises."""

    def begin(self, record: Record) -> None:
        """A call that may change something is about to be sent; its record is not complete. What outlives the process
        finds it even if the process is killed.
        """

    def end(self, record: Record) -> None:
        """The call of the record has ended, and its line was noted."""

    async def find(self, query: HistoryQuery) -> SearchResult:
        """The newest calls that answer the query, all included that were noted before. Raises Unsearchable."""

    async def flush(self) -> None:
        """Waits, a moment at most, until what was noted so far can be found by whoever may look for it."""

    def set_limits(self, limits: HistoryLimits) -> None:
        """Keeps so much from now on."""

    def health(self) -> HistoryHealth:
        """How it does."""

    def close(self, timeout: float) -> None:
        """Waits up to `timeout` seconds, blocking, until all that was noted is kept; notes no more. What cannot be kept
        is lost.
        """


def merged(answers: Iterable[SearchResult], limit: int) -> SearchResult:
    """The answers of several processes that each keep their own calls, as one."""
    told = tuple(answers)
    lines = newest((line for found in told for line in found.lines), limit)
    return SearchResult(tuple(lines), sum(each.kept for each in told), "memory", lost=sum(each.lost for each in told))


def document(found: SearchResult) -> bytes:
    """The answer as JSON: `instances` (records, newest first), `kept`, `where`, `lost`, and `stuck` where there are."""
    facts: dict[str, object] = {"kept": found.kept, "where": found.where, "lost": found.lost}
    facts |= {"stuck": list(found.stuck)} if found.stuck else {}
    return b'{"instances": [' + b",".join(found.lines) + b"],\n " + json.dumps(facts)[1:].encode() + b"\n"
