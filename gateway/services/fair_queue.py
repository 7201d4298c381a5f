"""Pure: a queue that is fair over callers, first come first served within one caller (start-time fair queueing)."""

import heapq
from collections.abc import Hashable, Iterator
from typing import Generic, TypeVar

Item = TypeVar("Item", bound=Hashable)

PRUNE_ABOVE = 256
"""Number of callers without waiting items above which those whose turn has passed are forgotten."""


class _CallerLine(Generic[Item]):
    """The waiting items of one caller, and the virtual time at which the first of them is served."""

    __slots__ = ("items", "share", "start")

    def __init__(self, start: float) -> None:
        self.start = start
        self.share = 1
        self.items: dict[Item, None] = {}


class FairQueue(Generic[Item]):
    """While several callers wait, each is served in proportion to its share, however many items it has waiting."""

    def __init__(self) -> None:
        self._lines: dict[str, _CallerLine[Item]] = {}
        self._callers: dict[Item, str] = {}
        self._turns: list[tuple[float, int, str]] = []  # a heap; entries of callers that left are skipped
        self._turn_number = 0
        self._virtual_time = 0.0
        self._next_start: dict[str, float] = {}  # of callers that wait for nothing now

    def __len__(self) -> int:
        return len(self._callers)

    def __iter__(self) -> Iterator[Item]:
        return iter(self._callers)

    def push(self, item: Item, caller: str, share: int = 1) -> None:
        """Add an item of a caller. Items are unique."""
        line = self._lines.get(caller)
        if line is None:
            start = max(self._virtual_time, self._next_start.pop(caller, 0.0))
            line = self._lines[caller] = _CallerLine(start)
            self._push_turn(caller, start)
        line.share = share
        line.items[item] = None
        self._callers[item] = caller

    def pop(self) -> Item:
        """Remove and return the next item. The queue must not be empty."""
        while True:
            start, _, caller = heapq.heappop(self._turns)
            line = self._lines.get(caller)
            if line is not None and line.start == start:
                break
        item = next(iter(line.items))
        self._virtual_time = start
        line.start += 1.0 / line.share
        self._drop(item, caller, line)
        if line.items:
            self._push_turn(caller, line.start)
        return item

    def remove(self, item: Item) -> bool:
        """Remove an item. Return False if it is not in the queue."""
        caller = self._callers.get(item)
        if caller is None:
            return False
        self._drop(item, caller, self._lines[caller])
        return True

    def _drop(self, item: Item, caller: str, line: _CallerLine[Item]) -> None:
        del self._callers[item], line.items[item]
        if line.items:
            return
        del self._lines[caller]
        if not self._lines:
            self._turns.clear()
            self._next_start.clear()
            self._virtual_time = 0.0
            return
        self._next_start[caller] = line.start
        if len(self._next_start) > PRUNE_ABOVE:
            now = self._virtual_time
            self._next_start = {known: start for known, start in self._next_start.items() if start > now}

    def _push_turn(self, caller: str, start: float) -> None:
        if len(self._turns) > 2 * len(self._lines) + PRUNE_ABOVE:
            self._turns = [
                turn for turn in self._turns if turn[2] in self._lines and self._lines[turn[2]].start == turn[0]
            ]
            heapq.heapify(self._turns)
        self._turn_number += 1
        heapq.heappush(self._turns, (start, self._turn_number, caller))
