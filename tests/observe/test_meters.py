"""The counters of routes and credentials."""

import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.observe.meters import BATCH_SIZE, BUCKETS, CallerMeter, RouteMeter, TokenMeter, new_histogram, observe
from gateway.observe.record import Record


def count_request(meter: RouteMeter, record: Record | None = None) -> None:
    meter.begun += 1
    meter.ended.append(record or Record(method="GET", status=200, bytes_in=1, bytes_out=2))


def test_requests_are_counted_by_method_class_and_blame() -> None:
    meter = RouteMeter()
    for status in (200, 204, 404):
        count_request(meter, Record(method="GET", status=status, bytes_in=1, bytes_out=2))
    count_request(meter, Record(method="GET", status=502, error="token-refused"))
    assert meter.requests == {("GET", 2, None): 2, ("GET", 4, None): 1, ("GET", 5, "identity"): 1}
    assert (meter.bytes_in, meter.bytes_out, meter.in_flight) == (3, 6, 0)


def test_requests_are_counted_for_their_callers() -> None:
    callers = {"erp": CallerMeter()}
    meters = [RouteMeter(callers), RouteMeter(callers)]
    for number in range(3 * BATCH_SIZE):
        meter = meters[number % 2]
        count_request(meter, Record(method="GET", status=200 + number % 2, messages=number % 4, caller="erp"))
        count_request(meter, Record(method="GET", status=None, caller="crm"))
        count_request(meter)
        refused = Record(method="GET", status=401, error="unknown-caller")
        meter.unidentified.append(refused)
        count_request(meter, refused)
        meter.count_full_batch()
    for meter in meters:
        assert sum(meter.requests.values()) == 6 * BATCH_SIZE
    each = 3 * BATCH_SIZE
    assert {name: (meter.requests, meter.messages) for name, meter in callers.items()} == {
        "erp": ([0, 0, each, 0, 0, 0], each // 4 * 6),
        "crm": ([each, 0, 0, 0, 0, 0], 0),
        "-": ([0, 0, 0, 0, each, 0], 0),
    }


def test_callers_cannot_grow_the_labels() -> None:
    meter = RouteMeter()
    for number in range(1000):
        count_request(meter, Record(method=f"X{number}", status=200))
    assert meter.requests == {("other", 2, None): 1000}


def test_a_time_is_counted_in_the_first_bucket_above_it() -> None:
    meter = RouteMeter()
    count_request(meter, Record(token_wait_ms=331_000.0, duration_ms=1.0))
    count_request(meter, Record(upstream_ms=329_000.0, duration_ms=1.1))
    assert meter.duration[:3] == [1, 1, 0]
    assert meter.duration[-1] == pytest.approx(0.001 + 0.0011)
    assert meter.token_wait[len(BUCKETS)] == 1
    assert meter.upstream[len(BUCKETS) - 1] == 1
    assert sum(meter.upstream[:-1]) == 1


RECORDS = st.builds(
    Record,
    method=st.sampled_from(["GET", "POST", "PURGE", None]),
    status=st.sampled_from([None, 200, 204, 404, 503]),
    bytes_in=st.integers(0, 9),
    bytes_out=st.integers(0, 9),
    upstream_ms=st.none() | st.just(2.0),
    token_wait_ms=st.sampled_from([0.0, 3.0]),
    upstream_status=st.sampled_from([None, 200, 503]),
    instance_id=st.sampled_from([None, "instance-1"]),
    messages=st.integers(0, 3),
).filter(lambda record: record.instance_id is None or record.upstream_status is not None)


@given(st.lists(RECORDS, max_size=2 * BATCH_SIZE))
def test_every_counter_includes_the_batch_that_is_not_full(records: list[Record]) -> None:
    meter = RouteMeter()
    for record in records:
        count_request(meter, record)
    answered = [record for record in records if record.upstream_status is not None]
    expected = {
        "requests": len(records),
        "bytes_in": sum(record.bytes_in for record in records),
        "bytes_out": sum(record.bytes_out for record in records),
        "messages": sum(record.messages for record in records),
        "with_id": sum(record.instance_id is not None for record in answered),
        "without_id": sum(record.instance_id is None for record in answered),
        "duration": len(records),
        "upstream": sum(record.upstream_ms is not None for record in records),
        "token_wait": len(records),
    }
    for name, number in expected.items():  # each one is the first that is read
        alone = copy.deepcopy(meter)
        value = getattr(alone, name)
        counted = sum(value.values()) if name == "requests" else sum(value[:-1]) if isinstance(value, list) else value
        assert (name, counted) == (name, number)


def test_in_flight_counts_requests_without_an_end() -> None:
    meter = RouteMeter()
    meter.begun += 2
    count_request(meter)
    assert meter.in_flight == 2


def test_token_requests() -> None:
    meter = TokenMeter()
    meter.record_fetch("ok", 0.2)
    meter.record_fetch("ok", 0.3)
    meter.record_fetch("invalid_client", 0.1)
    assert meter.results == {"ok": 2, "invalid_client": 1}
    assert meter.fetch[-1] == 0.6


@given(st.lists(st.sampled_from((*BUCKETS, 0.0, 1e-6, 0.3, 331.0, 1e6)) | st.floats(0, 1000), max_size=3 * BATCH_SIZE))
def test_batches_of_times_are_counted_like_single_ones(times: list[float]) -> None:
    meter, expected = RouteMeter(), new_histogram()
    for seconds in times:
        time = round(seconds * 1000, 3)
        count_request(meter, Record(method="GET", status=200, duration_ms=time, upstream_ms=time, token_wait_ms=time))
        observe(expected, time / 1000)
    for counts in (meter.duration, meter.upstream, meter.token_wait):
        assert counts[:-1] == expected[:-1]
        assert counts[-1] == pytest.approx(expected[-1])
