"""Count calls and messages in memory by hour, service, route and caller.

Calls are counted in batches. The thread of the history drains all buckets at once, and adds back the rows that it
cannot write.
"""

import threading
from collections import Counter
from collections.abc import Iterable, Sequence
from operator import attrgetter, itemgetter
from typing import NamedTuple

from gateway.history.query import HOUR_LENGTH
from gateway.observe.record import Record

MAX_BUCKETS = 50_000
"""Maximum number of buckets, about 12 MB. Beyond it, the oldest hour is dropped."""
OTHER_OWNERS = "(other)"
"""Route and caller of calls beyond `MAX_BUCKETS` within one hour."""

_COUNTED = attrgetter("time", "route", "caller", "messages")
_HOUR = itemgetter(slice(HOUR_LENGTH))

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
        self.lost = 0
        """The number of messages dropped."""
        self._limit = limit
        self._lock = threading.Lock()
        self._hours: dict[str, dict[Owner, list[int]]] = {}
        self._count = 0

    def __bool__(self) -> bool:
        """Return whether there are buckets."""
        return self._count > 0

    def add(self, hour: str, owner: Owner, calls: int, messages: int) -> None:
        """Add to a bucket."""
        with self._lock:
            self._add(hour, owner, calls, messages)

    def add_rows(self, rows: Iterable[UsageRow]) -> None:
        """Add rows that were drained and not written, or those of a removed file."""
        for row in rows:
            self.add(row.hour, (row.service, row.route, row.caller), row.calls, row.messages)

    def count_calls(self, records: Sequence[Record], services: Sequence[str]) -> None:
        """Count the messages of calls in the hours of their arrivals; `services` are those of their routes."""
        # Equal calls together: most of a batch have the same hour, owner and number of messages.
        times, routes, callers, messages = zip(*map(_COUNTED, records), strict=True)
        calls = Counter(zip(map(_HOUR, times), services, routes, callers, messages, strict=True))
        with self._lock:
            for (hour, service, route, caller, number), count in calls.items():
                if number:
                    self._add(hour, (service, route, caller or ""), count, count * number)

    def drain(self) -> list[UsageRow]:
        """Remove all buckets, and return them in the order of time."""
        with self._lock:
            hours, self._hours, self._count = self._hours, {}, 0
        return _rows(hours)

    def rows(self) -> list[UsageRow]:
        """Return all buckets in the order of time."""
        with self._lock:
            return _rows(self._hours)

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
                self.lost += messages
                return
            if hour > oldest:
                dropped = self._hours.pop(oldest)
                self._count -= len(dropped)
                self.lost += sum(messages for _, messages in dropped.values())
            else:
                owner = owner[0], OTHER_OWNERS, OTHER_OWNERS
        buckets = self._hours.setdefault(hour, {})
        if (bucket := buckets.get(owner)) is None:
            bucket = buckets[owner] = [0, 0]
            self._count += 1
        bucket[0] += calls
        bucket[1] += messages


def _rows(hours: dict[str, dict[Owner, list[int]]]) -> list[UsageRow]:
    return [
        UsageRow(hour, *owner, calls, messages)
        for hour, buckets in sorted(hours.items())
        for owner, (calls, messages) in buckets.items()
    ]
