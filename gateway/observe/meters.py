"""The counters of routes, callers and credentials: plain numbers that only the event loop changes. Pure.

A histogram is a list: one count for each bucket (not cumulative), one for longer values, and the sum.
"""

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable
from functools import partial
from operator import attrgetter, is_not
from typing import NamedTuple

from gateway.errors import BLAME_BY_CODE
from gateway.observe.record import METHODS, Record

OTHER_METHOD = "other"  # the label of other methods: callers must not be able to add labels
NO_BLAME = "none"
UNKNOWN_CALLER = "-"
"""The label of requests to routes with `callers` that have no known caller."""

# Seconds. The last two distinguish the time limit of OIC (300) from our default (330).
BUCKETS = (
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
    30.0,
    60.0,
    120.0,
    300.0,
    330.0,
)
_BUCKETS_MS = tuple(1000 * seconds for seconds in BUCKETS)

BATCH_SIZE = 32
"""Number of ended requests of a route that are counted at once: few, since there may be thousands of routes."""

_COUNTED = attrgetter(
    *("method", "status", "error", "bytes_in", "bytes_out", "messages", "duration_ms", "upstream_ms", "token_wait_ms"),
    *("upstream_status", "instance_id", "caller"),
)
_is_known = partial(is_not, None)


def new_histogram() -> list[float]:
    """Return an empty histogram over `BUCKETS`."""
    return [0] * (len(BUCKETS) + 2)


def observe(counts: list[float], seconds: float) -> None:
    """Add one duration to a histogram."""
    counts[bisect_left(BUCKETS, seconds)] += 1
    counts[-1] += seconds


def _observe_all(counts: list[float], milliseconds: Iterable[float]) -> None:
    """Add durations to a histogram. Sorting many is cheaper than a search for each."""
    times = sorted(milliseconds)
    begin = 0
    while begin < len(times):
        index = bisect_left(_BUCKETS_MS, times[begin])
        end = len(times) if index == len(_BUCKETS_MS) else bisect_right(times, _BUCKETS_MS[index], begin)
        counts[index] += end - begin
        begin = end
    counts[-1] += sum(times) / 1000


class Exemplar(NamedTuple):
    """A trace whose request took `seconds`, and when it ended, in epoch seconds."""

    trace_id: str
    seconds: float
    at: float


class RouteMeter:
    """The counters of one route. Increment `begun` when a request begins, append its record to `ended` at its end, and
    call `record_retry` for each further attempt. Append the record to `unidentified` before its end if the request has
    no known caller although it needs one.

    Records are counted in batches: before any counter is read, and by `count_full_batch`.
    """

    __slots__ = (
        *("_bytes_in", "_bytes_out", "_callers", "_counted", "_duration", "_messages", "_requests", "_token_wait"),
        *("_upstream", "_with_id", "_without_id", "begun", "ended", "exemplars", "replays", "unidentified"),
    )

    def __init__(self, callers: "dict[str, CallerMeter] | None" = None) -> None:
        """`callers` are the meters of callers by name, which all routes share; missing ones are added."""
        self._callers = {} if callers is None else callers
        self.begun = 0
        """Requests that have begun."""
        self.ended: list[Record] = []
        """Records of requests that have ended and are not counted yet."""
        self.unidentified: list[Record] = []
        self._requests: dict[tuple[str, int, str | None], int] = {}
        self._duration, self._upstream, self._token_wait = new_histogram(), new_histogram(), new_histogram()
        self._bytes_in = self._bytes_out = self._with_id = self._without_id = self._messages = 0
        self._counted = 0
        self.replays: dict[str, int] = {}
        self.exemplars: dict[int, Exemplar] = {}
        """The last exported trace of each bucket of `duration`."""

    @property
    def requests(self) -> dict[tuple[str, int, str | None], int]:
        """Ended requests by method, status class (0: no status) and blame."""
        self._count_ended()
        return self._requests

    @property
    def bytes_in(self) -> int:
        """Bytes of request bodies."""
        self._count_ended()
        return self._bytes_in

    @property
    def bytes_out(self) -> int:
        """Bytes of response bodies."""
        self._count_ended()
        return self._bytes_out

    @property
    def with_id(self) -> int:
        """Responses of OIC that have an instance id."""
        self._count_ended()
        return self._with_id

    @property
    def without_id(self) -> int:
        """Responses of OIC that have no instance id."""
        self._count_ended()
        return self._without_id

    @property
    def messages(self) -> int:
        """The minimum number of messages that OIC bills."""
        self._count_ended()
        return self._messages

    @property
    def duration(self) -> list[float]:
        """The histogram of whole requests."""
        self._count_ended()
        return self._duration

    @property
    def upstream(self) -> list[float]:
        """The histogram of the time with the upstream."""
        self._count_ended()
        return self._upstream

    @property
    def token_wait(self) -> list[float]:
        """The histogram of the time that requests waited for a token."""
        self._count_ended()
        return self._token_wait

    @property
    def in_flight(self) -> int:
        """Requests that have begun and not ended."""
        return self.begun - self._counted - len(self.ended)

    def count_full_batch(self) -> None:
        """Count the ended requests if there are many, so that their records do not fill the memory."""
        if len(self.ended) >= BATCH_SIZE:
            self._count_ended()

    def record_exemplar(self, trace_id: str, duration_s: float, now: float) -> None:
        """Keep the trace of a request as the example of its bucket of durations; `now` is in epoch seconds."""
        self.exemplars[bisect_left(BUCKETS, duration_s)] = Exemplar(trace_id, duration_s, now)

    def record_retry(self, reason: str) -> None:
        """Count a further attempt of a request; `reason` is one of a fixed set of words."""
        self.replays[reason] = self.replays.get(reason, 0) + 1

    def _count_ended(self) -> None:
        """Count the batch, column by column: sums and counts of a column need no step of Python for each request."""
        if not self.ended:
            return
        records, self.ended = self.ended, []
        self._counted += len(records)
        columns = zip(*map(_COUNTED, records), strict=True)
        methods, statuses, errors, bytes_in, bytes_out, messages, durations, upstream, waits, *others = columns
        answers, ids, callers = others
        for (method, status, error), count in Counter(zip(methods, statuses, errors, strict=True)).items():
            blame = None if error is None else BLAME_BY_CODE[error]
            key = (method if method in METHODS else OTHER_METHOD, (status or 0) // 100, blame)
            self._requests[key] = self._requests.get(key, 0) + count
        self._bytes_in += sum(bytes_in)
        self._bytes_out += sum(bytes_out)
        self._messages += sum(messages)
        _observe_all(self._duration, durations)
        _observe_all(self._upstream, filter(_is_known, upstream))
        self._token_wait[0] += waits.count(0.0)
        for time in filter(None, waits):
            observe(self._token_wait, time / 1000)
        # Only a response has an id.
        with_id = len(ids) - ids.count(None)
        self._with_id += with_id
        self._without_id += len(answers) - answers.count(None) - with_id
        if any(callers):
            self._count_callers(zip(callers, statuses, messages, strict=True))
        if self.unidentified:
            unidentified, self.unidentified = self.unidentified, []
            self._count_callers((UNKNOWN_CALLER, record.status, record.messages) for record in unidentified)

    def _count_callers(self, requests: Iterable[tuple[str | None, int | None, int]]) -> None:
        """Count requests for their callers: name of the caller, status, messages."""
        for (caller, status, messages), count in Counter(requests).items():
            if caller is not None:
                self._callers.setdefault(caller, CallerMeter()).add(status or 0, count, messages * count)


class CallerMeter:
    """The counters of one caller: completed requests by status class, and `messages` as in `RouteMeter`."""

    __slots__ = ("messages", "requests")

    def __init__(self) -> None:
        self.messages = 0
        self.requests = [0] * 6

    def add(self, status: int, count: int, messages: int) -> None:
        """Count requests that ended with `status` (0: none), and their messages."""
        self.requests[min(status // 100, 5)] += count
        self.messages += messages


class TokenMeter:
    """The counters of one credential.

    `expiry` is when its token expires, in epoch seconds, None without a token. `coalesced` counts callers that waited
    for the token request of another caller, `replays` those that received another token after OIC rejected theirs.
    """

    __slots__ = ("coalesced", "expiry", "fetch", "replays", "results")

    def __init__(self) -> None:
        self.expiry: float | None = None
        self.coalesced = self.replays = 0
        self.results: dict[str, int] = {}
        self.fetch = new_histogram()

    def record_fetch(self, result: str, seconds: float) -> None:
        """Count a token request that took `seconds`; `result` is `ok` or one of a fixed set of error codes."""
        self.results[result] = self.results.get(result, 0) + 1
        observe(self.fetch, seconds)
