"""The counters of routes, callers and credentials: plain numbers that only the event loop changes. Pure.

A histogram is a list: one count for each bucket (not cumulative), one for longer values, and the sum.
"""

from bisect import bisect_left, bisect_right
from typing import NamedTuple

from gateway.observe.record import Record

METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))
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

BATCH_SIZE = 256
"""Number of durations that are added to a histogram at once."""


def new_histogram() -> list[float]:
    """Return an empty histogram over `BUCKETS`."""
    return [0] * (len(BUCKETS) + 2)


def observe(counts: list[float], seconds: float) -> None:
    """Add one duration to a histogram."""
    counts[bisect_left(BUCKETS, seconds)] += 1
    counts[-1] += seconds


def _observe_all(counts: list[float], times: list[float]) -> None:
    """Add durations to a histogram, and clear their list. Sorting many is cheaper than a search for each."""
    times.sort()
    begin = 0
    for index, bound in enumerate(BUCKETS):
        end = bisect_right(times, bound, begin)
        counts[index] += end - begin
        begin = end
        if end == len(times):
            break
    counts[len(BUCKETS)] += len(times) - begin
    counts[-1] += sum(times)
    times.clear()


class Exemplar(NamedTuple):
    """A trace whose request took `seconds`, and when it ended, in epoch seconds."""

    trace_id: str
    seconds: float
    at: float


class RouteMeter:
    """The counters of one route. Call `begin` and `record` once for each request, `record_retry` for each further
    attempt. `with_id` and `without_id` count the responses of OIC by whether they have an instance id, `messages` the
    minimum number of messages that OIC bills. `exemplars` has the last exported trace of each bucket of `duration`.
    """

    __slots__ = (
        *(
            "bytes_in",
            "bytes_out",
            "exemplars",
            "in_flight",
            "messages",
            "replays",
            "requests",
            "with_id",
            "without_id",
        ),
        *("_duration", "_durations", "_token_wait", "_upstream", "_upstream_times"),
    )

    def __init__(self) -> None:
        self.requests: dict[tuple[str, int, str | None], int] = {}
        self._duration, self._upstream, self._token_wait = new_histogram(), new_histogram(), new_histogram()
        self._durations: list[float] = []  # not added to the histogram yet
        self._upstream_times: list[float] = []
        self.replays: dict[str, int] = {}
        self.exemplars: dict[int, Exemplar] = {}
        self.in_flight = self.bytes_in = self.bytes_out = self.with_id = self.without_id = self.messages = 0

    @property
    def duration(self) -> list[float]:
        """The histogram of whole requests."""
        self._observe_batches()
        return self._duration

    @property
    def upstream(self) -> list[float]:
        """The histogram of the time with the upstream."""
        self._observe_batches()
        return self._upstream

    @property
    def token_wait(self) -> list[float]:
        """The histogram of the time that requests waited for a token."""
        return self._token_wait

    def begin(self) -> None:
        """Count the beginning of a request; `record` ends it."""
        self.in_flight += 1

    def record(self, record: Record, blame: str | None, duration_s: float) -> None:
        """Count the end of a request; `blame` is from `gateway.errors`, or None. `duration_s` is the exact duration."""
        key = (record.method or "-", (record.status or 0) // 100, blame)
        try:
            self.requests[key] += 1
        except KeyError:
            self._add_key(*key)
        self.in_flight -= 1
        self.bytes_in += record.bytes_in
        self.bytes_out += record.bytes_out
        self._durations.append(duration_s)
        if record.upstream_ms is not None:
            self._upstream_times.append(record.upstream_ms / 1000)
        if record.token_wait_ms:
            observe(self._token_wait, record.token_wait_ms / 1000)
        else:
            self._token_wait[0] += 1
        if record.upstream_status is not None:
            if record.instance_id is not None:
                self.with_id += 1
            else:
                self.without_id += 1
        if len(self._durations) >= BATCH_SIZE:
            self._observe_batches()

    def record_exemplar(self, trace_id: str, duration_s: float, now: float) -> None:
        """Keep the trace of a request as the example of its bucket of durations; `now` is in epoch seconds."""
        self.exemplars[bisect_left(BUCKETS, duration_s)] = Exemplar(trace_id, duration_s, now)

    def record_retry(self, reason: str) -> None:
        """Count a further attempt of a request; `reason` is one of a fixed set of words."""
        self.replays[reason] = self.replays.get(reason, 0) + 1

    def _observe_batches(self) -> None:
        _observe_all(self._duration, self._durations)
        _observe_all(self._upstream, self._upstream_times)

    def _add_key(self, method: str, status_class: int, blame: str | None) -> None:
        key = (method if method in METHODS else OTHER_METHOD, status_class, blame)
        self.requests[key] = self.requests.get(key, 0) + 1


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
