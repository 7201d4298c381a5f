"""Count calls and messages in memory by hour, service, route and caller.

The facts of a call are appended to a queue, without a lock. They are counted in batches, and before buckets are read.
The thread of the history drains all buckets at once, and adds back the rows that it cannot write.
"""

import threading
from collections import Counter, deque
from collections.abc import Iterable
from typing import NamedTuple

from gateway.history.query import HOUR_LENGTH
from gateway.observe.record import Record

MAX_BUCKETS = 50_000
"""Maximum number of buckets, about 12 MB. Beyond it, the oldest hour is dropped."""
OTHER_OWNERS = "(other)"
"""Route and caller of calls beyond `MAX_BUCKETS` within one hour."""

BATCH_SIZE = 256
"""Number of calls that are counted at once."""

Owner = tuple[str, str, str]
"""Service, route and caller; the caller is empty if the route does not identify it."""


class UsageRow(NamedTuple):
    """The calls and messages of one bucket. `hour` is like `2026-01-31T12`, in UTC."""

    hour: str
    service: str
    route: str
    caller: str
    calls: int
    messages: int


class UsageBuckets:
    """The buckets of this process. Any thread may call any method."""

    def __init__(self, *, limit: int = MAX_BUCKETS) -> None:
        self.calls: deque[tuple[str, str, str, str | None, int]] = deque()
        """Calls that are not counted yet: hour, service, route, caller and messages. Any thread may append to it."""
        self._lost = 0
        self._limit = limit
        self._lock = threading.Lock()
        self._hours: dict[str, dict[Owner, list[int]]] = {}
        self._count = 0

    def __bool__(self) -> bool:
        """Return whether there are buckets."""
        return self._count > 0 or bool(self.calls)

    @property
    def lost(self) -> int:
        """The number of messages dropped."""
        self.count_calls()
        return self._lost

    def add(self, hour: str, owner: Owner, calls: int, messages: int) -> None:
        """Add to a bucket."""
        with self._lock:
            self._add(hour, owner, calls, messages)

    def add_rows(self, rows: Iterable[UsageRow]) -> None:
        """Add rows that were drained and not written, or those of a removed file."""
        for row in rows:
            self.add(row.hour, (row.service, row.route, row.caller), row.calls, row.messages)

    def count_calls(self) -> None:
        """Add `calls` to their buckets."""
        with self._lock:
            self._count_calls()

    def drain(self) -> list[UsageRow]:
        """Remove all buckets, and return them in the order of time."""
        with self._lock:
            self._count_calls()
            hours, self._hours, self._count = self._hours, {}, 0
        return _rows(hours)

    def rows(self) -> list[UsageRow]:
        """Return all buckets in the order of time."""
        with self._lock:
            self._count_calls()
            return _rows(self._hours)

    def _count_calls(self) -> None:
        """Count equal calls together: most of a batch have the same hour, owner and number of messages."""
        calls = [self.calls.popleft() for _ in range(len(self.calls))]
        for (hour, service, route, caller, messages), count in Counter(calls).items():
            self._add(hour, (service, route, caller or ""), count, count * messages)

    def _add(self, hour: str, owner: Owner, calls: int, messages: int) -> None:
        try:
            bucket = self._hours[hour][owner]
        except KeyError:
            self._add_bucket(hour, owner, calls, messages)
        else:
            bucket[0] += calls
            bucket[1] += messages

    def _add_bucket(self, hour: str, owner: Owner, calls: int, messages: int) -> None:
        if self._count >= self._limit:
            oldest = min(self._hours)
            if hour < oldest:
                self._lost += messages
                return
            if hour > oldest:
                dropped = self._hours.pop(oldest)
                self._count -= len(dropped)
                self._lost += sum(messages for _, messages in dropped.values())
            else:
                owner = owner[0], OTHER_OWNERS, OTHER_OWNERS
        buckets = self._hours.setdefault(hour, {})
        if (bucket := buckets.get(owner)) is None:
            bucket = buckets[owner] = [0, 0]
            self._count += 1
        bucket[0] += calls
        bucket[1] += messages


class RouteUsage:
    """Counts the calls of one route, which belongs to `service`."""

    __slots__ = ("_buckets", "_calls", "_route", "_service")

    def __init__(self, buckets: UsageBuckets, *, service: str, route: str) -> None:
        self._buckets = buckets
        self._calls = buckets.calls
        self._service = service
        self._route = route

    def count(self, record: Record) -> None:
        """Count the messages of a call in the hour of its arrival."""
        calls = self._calls
        calls.append((record.time[:HOUR_LENGTH], self._service, self._route, record.caller, record.messages))
        if len(calls) >= BATCH_SIZE:
            self._buckets.count_calls()


def _rows(hours: dict[str, dict[Owner, list[int]]]) -> list[UsageRow]:
    return [
        UsageRow(hour, *owner, calls, messages)
        for hour, buckets in sorted(hours.items())
        for owner, (calls, messages) in buckets.items()
    ]
