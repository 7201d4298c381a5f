"""The numbers that a route or a credential keeps while requests run: bare ints and lists, touched by the loop alone.

Histograms are flat lists: one count per bucket (not cumulative), one for what is longer than all, then the sum.
"""

from bisect import bisect_left

METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))
OTHER = "other"  # any other method: a caller must not be able to grow the label set
NO_BLAME = "none"

# Seconds. The far end tells OIC's own limit (300) from our default time limit (330).
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
    """An empty histogram over `BUCKETS`."""
    return [0] * (len(BUCKETS) + 2)


class RouteMeter:
    """The numbers of one route. `begin` and `done` once each per request, `replayed` per second try, `ran` where OIC
    replied.
    """

    __slots__ = (
        *("bytes_in", "bytes_out", "duration", "in_flight", "replays", "requests", "runs", "token_wait", "unnamed"),
        "upstream",
    )

    def __init__(self) -> None:
        self.requests: dict[tuple[str, int, str | None], int] = {}
        self.duration = histogram()
        self.upstream = histogram()
        self.token_wait = histogram()
        self.replays: dict[str, int] = {}
        self.in_flight = self.bytes_in = self.bytes_out = self.runs = self.unnamed = 0

    def begin(self) -> None:
        """A request of this route has begun; `done` ends it."""
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
        """A request has ended with `status` (0: none); `blame` is of `gateway.errors`, None when no error of ours.

        Times in seconds; `upstream_s` is None when nothing was sent upstream. Bytes are those of the bodies.
        """
        key = (method, status // 100, blame)
        try:
            self.requests[key] += 1
        except KeyError:
            self._count_anew(*key)
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
        """OIC has replied, with the instance id of a run or without one."""
        if has_id:
            self.runs += 1
        else:
            self.unnamed += 1

    def record_replay(self, reason: str) -> None:
        """A request of this route was sent a second time; `reason` is one of a closed set of words."""
        self.replays[reason] = self.replays.get(reason, 0) + 1

    def _count_anew(self, method: str, status_class: int, blame: str | None) -> None:
        key = (method if method in METHODS else OTHER, status_class, blame)
        self.requests[key] = self.requests.get(key, 0) + 1


class TokenMeter:
    """The numbers of one credential. `expiry` is its token's end in seconds since the epoch, None without a token;
    `coalesced` callers waited for a fetch that another had begun, `replays` got a token in place of a refused one.
    """

    __slots__ = ("coalesced", "expiry", "fetch", "replays", "results")

    def __init__(self) -> None:
        self.expiry: float | None = None
        self.coalesced = self.replays = 0
        self.results: dict[str, int] = {}
        self.fetch = histogram()

    def fetched(self, result: str, seconds: float) -> None:
        """A token request has ended after `seconds`; `result` is one of a closed set of words (`ok`, an error code)."""
        self.results[result] = self.results.get(result, 0) + 1
        self.fetch[bisect_left(BUCKETS, seconds)] += 1
        self.fetch[-1] += seconds
