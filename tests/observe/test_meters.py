"""The counters of routes and credentials."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.observe.meters import BATCH_SIZE, BUCKETS, RouteMeter, TokenMeter, new_histogram, observe


def count_request(meter: RouteMeter, method: str = "GET", status: int = 200, **seconds: float | None) -> None:
    times = {"duration_s": 0.0, "upstream_s": 0.0, "token_wait_s": 0.0} | seconds
    meter.begin()
    meter.record(method, status, None, times["duration_s"] or 0, times["upstream_s"], times["token_wait_s"] or 0, 1, 2)


def test_requests_are_counted_by_method_class_and_blame() -> None:
    meter = RouteMeter()
    for status in (200, 204, 404):
        count_request(meter, status=status)
    meter.begin()
    meter.record("GET", 502, "identity", 0.0, None, 0.0, 0, 0)
    assert meter.requests == {("GET", 2, None): 2, ("GET", 4, None): 1, ("GET", 5, "identity"): 1}
    assert (meter.bytes_in, meter.bytes_out, meter.in_flight) == (3, 6, 0)


def test_callers_cannot_grow_the_labels() -> None:
    meter = RouteMeter()
    for number in range(1000):
        count_request(meter, method=f"X{number}")
    assert meter.requests == {("other", 2, None): 1000}


def test_a_time_is_counted_in_the_first_bucket_above_it() -> None:
    meter = RouteMeter()
    count_request(meter, duration_s=0.001, upstream_s=None, token_wait_s=331.0)
    count_request(meter, duration_s=0.0011, upstream_s=329.0)
    assert meter.duration[:3] == [1, 1, 0]
    assert meter.duration[-1] == 0.001 + 0.0011
    assert meter.token_wait[len(BUCKETS)] == 1
    assert meter.upstream[len(BUCKETS) - 1] == 1
    assert sum(meter.upstream[:-1]) == 1


def test_in_flight_counts_requests_without_an_end() -> None:
    meter = RouteMeter()
    meter.begin()
    meter.begin()
    count_request(meter)
    assert meter.in_flight == 2


def test_token_requests() -> None:
    meter = TokenMeter()
    meter.record_fetch("ok", 0.2)
    meter.record_fetch("ok", 0.3)
    meter.record_fetch("invalid_client", 0.1)
    assert meter.results == {"ok": 2, "invalid_client": 1}
    assert meter.fetch[-1] == 0.6


@given(st.lists(st.sampled_from((*BUCKETS, 0.0, 1e-9, 0.3, 331.0, 1e6)) | st.floats(0, 1000), max_size=3 * BATCH_SIZE))
def test_batches_of_times_are_counted_like_single_ones(times: list[float]) -> None:
    meter, expected = RouteMeter(), new_histogram()
    for seconds in times:
        meter.begin()
        meter.record("GET", 200, None, seconds, seconds, seconds, 0, 0)
        observe(expected, seconds)
    for counts in (meter.duration, meter.upstream, meter.token_wait):
        assert counts[:-1] == expected[:-1]
        assert counts[-1] == pytest.approx(expected[-1])
