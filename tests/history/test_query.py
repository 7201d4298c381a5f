"""Search parameters, and the lines that match them."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.history.query import (
    MAX_LIMIT,
    MAX_TIME,
    BadQuery,
    HistoryQuery,
    filter_lines,
    format_time,
    newest_lines,
    parse_query,
    parse_time,
)
from gateway.observe.record import Record, record_line
from gateway.observe.timestamp import timestamp
from tests.history.call_lines import START, call_line, query_of

MILLI = int(START * 1000)
AWKWARD = st.text(st.characters(exclude_categories=()), max_size=8) | st.sampled_from(
    ['"', '"route":"a"', 'a","route":"b', "\\", "a\\", "\x85", "\u2028", "é", '\\"route\\":\\"a']
)


def test_an_empty_query_finds_the_newest_twenty() -> None:
    assert parse_query([], now=START) == HistoryQuery(limit=20)


def test_each_parameter_sets_a_field_of_the_query() -> None:
    query = query_of(
        id="i", request_id="r", route="o", client="::1", caller="erp", trace_id="4BF9", status="502", limit="7"
    )
    assert query == HistoryQuery("i", "r", "o", "::1", "erp", status="502", limit=7, trace_id="4bf9")


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [
        ("2026-01-31T12:00:00.123Z", MILLI + 123),
        ("2026-01-31T12:00:00Z", MILLI),
        ("2026-01-31T12:00:00", MILLI),
        ("2026-01-31T13:00:00+01:00", MILLI),
        ("2026-01-31T13:00:00 01:00", MILLI),
        ("2026-01-31", MILLI - 12 * 3_600_000),
        ("1h", MILLI - 3_600_000),
        ("1.5m", MILLI - 90_000),
        ("250ms", MILLI - 250),
        ("0s", MILLI),
        ("999999999d", 0),
        ("1960-01-01", 0),
        ("0001-01-01T00:00:00+14:00", 0),
        ("9999-12-31T23:59:59Z", MAX_TIME),
    ],
)
def test_a_time_is_a_date_or_an_age(text: str, milliseconds: int) -> None:
    assert query_of(since=text, until="9999-12-31").since == milliseconds
    assert query_of(until=text).until == milliseconds


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"statu": "502"}, "`statu` is unknown; did you mean `status`?"),
        ({"order": "x"}, "`order` is unknown; use one of id, request_id, route"),
        ({"x\ny": "1"}, "a parameter is unknown"),
        ({"status": "5x"}, "`status` is not a status; write one like 502, or a class like 5xx"),
        ({"status": "099"}, "`status` is not a status"),
        ({"status": "5xx,4xx"}, "`status` is not a status"),
        ({"since": "yesterday"}, "`since` is not a time; write one like 2026-01-31T12:00:00Z, or an age like 1h"),
        ({"since": "1"}, "`since` is not a time"),
        ({"until": "-1h"}, "`until` is not a time"),
        ({"until": "1w"}, "`until` is not a time"),
        ({"since": "1h", "until": "2h"}, "`since` is later than `until`"),
        ({"limit": "0"}, f"`limit` must be a number from 1 to {MAX_LIMIT}"),
        ({"limit": str(MAX_LIMIT + 1)}, "`limit` must be a number"),
        ({"limit": "-1"}, "`limit` must be a number"),
        ({"limit": "²"}, "`limit` must be a number"),
        ({"limit": "9" * 5000}, "`limit` must be a number"),
        ({"route": ""}, "`route` is empty; write a value or leave it out"),
    ],
)
def test_a_wrong_parameter_is_reported_with_its_remedy(parameters: dict[str, str], message: str) -> None:
    with pytest.raises(BadQuery) as raised:
        query_of(**parameters)
    assert str(raised.value).startswith(message)


def test_an_id_longer_than_recorded_is_searched_as_recorded() -> None:
    line = call_line(1, instance_id="i" * 50_000)
    assert filter_lines(query_of(id="i" * 50_000), [line]) == [line]


def test_a_parameter_may_occur_only_once() -> None:
    with pytest.raises(BadQuery, match="`id` occurs twice"):
        parse_query([("id", "a"), ("id", "b")], now=START)


@given(st.integers(0, MAX_TIME))
def test_a_time_is_written_as_in_the_log(milliseconds: int) -> None:
    assert format_time(milliseconds) == timestamp(milliseconds / 1000 + 0.0001).encode()
    assert len(format_time(milliseconds)) == 24
    assert parse_time(format_time(milliseconds).decode()) == milliseconds


def query_for(field: str, text: str) -> HistoryQuery:
    return HistoryQuery(route=text) if field == "route" else HistoryQuery(request_id=text)


@given(AWKWARD, AWKWARD, AWKWARD)
def test_a_line_is_found_only_by_its_field_values(route: str, request_id: str, path: str) -> None:
    written = record_line(Record(time=timestamp(START), route=route, request_id=request_id, path=f"/{path}"))
    document: dict[str, str] = json.loads(written)
    for field in ("route", "request_id"):
        assert filter_lines(query_for(field, document[field]), [written]) == [written]
        for other in {document["route"], document["request_id"], document["path"][1:]} - {document[field]}:
            assert list(filter_lines(query_for(field, other), [written])) == []


@pytest.mark.parametrize(
    ("status", "found"), [("502", [502]), ("5xx", [500, 502, 599]), ("2xx", [200]), ("404", []), ("4xx", [499])]
)
def test_a_status_is_exact_or_a_class_of_the_response(status: str, found: list[int]) -> None:
    lines = [call_line(code, status=code, upstream_status=404) for code in (200, 499, 500, 502, 599)]
    assert [json.loads(each)["status"] for each in filter_lines(HistoryQuery(status=status), lines)] == found


def test_since_and_until_are_inclusive() -> None:
    lines = [call_line(number) for number in range(5)]
    assert list(filter_lines(HistoryQuery(since=MILLI + 1000, until=MILLI + 3000), lines)) == lines[1:4]
    assert list(filter_lines(HistoryQuery(since=MILLI + 1001, until=MILLI + 2999), lines)) == lines[2:3]


def test_a_call_without_a_value_never_matches_one() -> None:
    lines = [call_line(1, instance_id=None, route=None, status=None)]
    for query in (
        HistoryQuery(instance_id="null"),
        HistoryQuery(route="None"),
        HistoryQuery(status="2xx"),
        HistoryQuery(instance_id=""),
    ):
        assert list(filter_lines(query, lines)) == []


def test_newest_first_and_equal_times_keep_their_order() -> None:
    lines = [call_line(1), call_line(3), call_line(2), call_line(3, route="a"), call_line(0)]
    assert newest_lines(lines, 3) == [lines[1], lines[3], lines[2]]
