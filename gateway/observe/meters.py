"""The counters of routes, callers and credentials: plain numbers that only the event loop changes. Pure.

A histogram is a list: one count for each bucket (not cumulative), one for longer values, and the sum.
"""

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable
from typing import Any, NamedTuple

from gateway.observe.record import METHODS, Record

OTHER_METHOD = "other"  # the label of other methods: callers must not be able to add labels
NO_BLAME = "none"

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

BATCH_SIZE = 128
"""Number of ended requests of a route that are counted at once."""


def new_histogram() -> list[float]:
    """Return an empty histogram over `BUCKETS`."""
    return [0] * (len(BUCKETS) + 2)


def observe(counts: list[float], seconds: float) -> None:
    """Add one duration to a histogram."""
    counts[bisect_left(BUCKETS, seconds)] += 1
    counts[-1] += seconds


def _observe_all(counts: list[float], durations: Iterable[float]) -> None:
    """Add durations to a histogram. Sorting many is cheaper than a search for each."""
    times = sorted(durations)
    begin = 0
    for index, bound in enumerate(BUCKETS):
        end = bisect_right(times, bound, begin)
        counts[index] += end - begin
        begin = end
        if end == len(times):
            break
    counts[len(BUCKETS)] += len(times) - begin
    counts[-1] += sum(times)


class Exemplar(NamedTuple):
    """A trace whose request took `seconds`, and when it ended, in epoch seconds."""

    trace_id: str
    seconds: float
    at: float


class RouteMeter:
    """The counters of one route. Call `begin` and `record` once for each request, `record_retry` for each further
    attempt.

    The facts of ended requests are counted in batches, and before any counter is read.
    """

    __slots__ = (
        *(
            "_bytes_in",
            "_bytes_out",
            "_duration",
            "_ended",
            "_in_flight",
            "_messages",
            "_requests",
            "_token_wait",
            "_upstream",
        ),
        *("_with_id", "_without_id", "exemplars", "replays"),
    )

    def __init__(self) -> None:
        self._ended: list[tuple[Any, ...]] = []
        self._requests: dict[tuple[str, int, str | None], int] = {}
        self._duration, self._upstream, self._token_wait = new_histogram(), new_histogram(), new_histogram()
        self._bytes_in = self._bytes_out = self._with_id = self._without_id = self._messages = 0
        self._in_flight = 0
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
        self._count_ended()
        return self._in_flight

    def begin(self) -> None:
        """Count the beginning of a request; `record` ends it."""
        self._in_flight += 1

    def record(self, record: Record, blame: str | None, duration_s: float) -> None:
        """Count the end of a request; `blame` is from `gateway.errors`, or None. `duration_s` is the exact duration."""
        ended = self._ended
        # Not the record itself: it is rounded when it is written.
        ended.append(
            (
                record.method,
                record.status,
                blame,
                record.bytes_in,
                record.bytes_out,
                duration_s,
                record.upstream_ms,
                record.token_wait_ms,
                record.upstream_status,
                record.instance_id,
                record.messages,
            )
        )
        if len(ended) >= BATCH_SIZE:
            self._count_ended()

    def record_exemplar(self, trace_id: str, duration_s: float, now: float) -> None:
        """Keep the trace of a request as the example of its bucket of durations; `now` is in epoch seconds."""
        self.exemplars[bisect_left(BUCKETS, duration_s)] = Exemplar(trace_id, duration_s, now)

    def record_retry(self, reason: str) -> None:
        """Count a further attempt of a request; `reason` is one of a fixed set of words."""
        self.replays[reason] = self.replays.get(reason, 0) + 1

    def _count_ended(self) -> None:
        """Count the batch, column by column: sums and counts of a column need no step of Python for each request."""
        if not self._ended:
            return
        columns = zip(*self._ended, strict=True)
        self._in_flight -= len(self._ended)
        self._ended = []
        methods, statuses, blames, bytes_in, bytes_out, durations, upstream, waits, answers, ids, messages = columns
        for (method, status, blame), count in Counter(zip(methods, statuses, blames, strict=True)).items():
            key = (method if method in METHODS else OTHER_METHOD, (status or 0) // 100, blame)
            self._requests[key] = self._requests.get(key, 0) + count
        self._bytes_in += sum(bytes_in)
        self._bytes_out += sum(bytes_out)
        self._messages += sum(messages)
        _observe_all(self._duration, durations)
        _observe_all(self._upstream, [time / 1000 for time in upstream if time is not None])
        self._token_wait[0] += waits.count(0.0)
        for time in filter(None, waits):
            observe(self._token_wait, time / 1000)
        has_id = [each is not None for status, each in zip(answers, ids, strict=True) if status is not None]
        self._with_id += sum(has_id)
        self._without_id += len(has_id) - sum(has_id)


class CallerMeter:
    """The counters of one caller: completed requests by status class, and `messages` as in `RouteMeter`."""

    __slots__ = ("messages", "requests")

    def __init__(self) -> None:
        self.messages = 0
        self.requests = [0] * 6

    def record(self, status: int) -> None:
        """Count the end of a request with `status` (0: none)."""
        self.requests[min(status // 100, 5)] += 1


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
