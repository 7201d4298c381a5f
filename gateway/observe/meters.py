"""The counters of a route or a credential: plain integers and lists, changed by the loop only.

Histograms are flat lists: one count for each bucket (not cumulative), one for longer values, then the sum.
"""

from bisect import bisect_left

METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))
OTHER = "other"  # any other method: callers must not be able to add labels
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


def histogram() -> list[float]:
    """Return an empty histogram over `BUCKETS`."""
    return [0] * (len(BUCKETS) + 2)


def observe(counts: list[float], seconds: float) -> None:
    """Count one time in a histogram."""
    counts[bisect_left(BUCKETS, seconds)] += 1
    counts[-1] += seconds


class RouteMeter:
    """The counters of one route. Call `begin` and `record` once for each request, `record_retry` for each second
    attempt, `record_run` for each response of OIC. `messages` is the number of those that OIC bills at least.
    """

    __slots__ = (
        *(
            "bytes_in",
            "bytes_out",
            "duration",
            "in_flight",
            "messages",
            "replays",
            "requests",
            "with_id",
            "token_wait",
            "without_id",
        ),
        "upstream",
    )

    def __init__(self) -> None:
        self.requests: dict[tuple[str, int, str | None], int] = {}
        self.duration = histogram()
        self.upstream = histogram()
        self.token_wait = histogram()
        self.replays: dict[str, int] = {}
        self.in_flight = self.bytes_in = self.bytes_out = self.with_id = self.without_id = self.messages = 0

    def begin(self) -> None:
        """Count the beginning of a request; `record` ends it."""
        self.in_flight += 1

    def record(  # noqa: PLR0917 - keywords would cost a tenth of the whole call
        self,
        method: str,
        status: int,
        blame: str | None,
        duration_s: float,
        upstream_s: float | None,
        token_wait_s: float,
        bytes_in: int,
        bytes_out: int,
    ) -> None:
        """Count the end of a request with `status` (0: none); `blame` is from `gateway.errors`, or None.

        Times in seconds; `upstream_s` is None if nothing was sent upstream. Bytes are those of the bodies.
        """
        key = (method, status // 100, blame)
        try:
            self.requests[key] += 1
        except KeyError:
            self._add_key(*key)
        self.in_flight -= 1
        self.bytes_in += bytes_in
        self.bytes_out += bytes_out
        counts = self.duration
        counts[bisect_left(BUCKETS, duration_s)] += 1
        counts[-1] += duration_s
        if upstream_s is not None:
            counts = self.upstream
            counts[bisect_left(BUCKETS, upstream_s)] += 1
            counts[-1] += upstream_s
        counts = self.token_wait
        counts[bisect_left(BUCKETS, token_wait_s)] += 1
        counts[-1] += token_wait_s

    def record_run(self, *, has_id: bool) -> None:
        """Count a response of OIC with or without an instance id."""
        if has_id:
            self.with_id += 1
        else:
            self.without_id += 1

    def record_retry(self, reason: str) -> None:
        """Count a request that was sent a second time; `reason` is one of a fixed set of words."""
        self.replays[reason] = self.replays.get(reason, 0) + 1

    def _add_key(self, method: str, status_class: int, blame: str | None) -> None:
        key = (method if method in METHODS else OTHER, status_class, blame)
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
    """The counters of one credential. `expiry` is the end of its token in seconds since the epoch, None without a
    token; `coalesced` callers waited for the fetch of another; `replays` callers received a token in place of a
    rejected one.
    """

    __slots__ = ("coalesced", "expiry", "fetch", "replays", "results")

    def __init__(self) -> None:
        self.expiry: float | None = None
        self.coalesced = self.replays = 0
        self.results: dict[str, int] = {}
        self.fetch = histogram()

    def fetched(self, result: str, seconds: float) -> None:
        """Count a token request that took `seconds`; `result` is one of a fixed set of words (`ok`, an error code)."""
        self.results[result] = self.results.get(result, 0) + 1
        observe(self.fetch, seconds)
