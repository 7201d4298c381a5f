"""What templates show of documents: states, figures, texts of durations and sizes."""

import json
from typing import Any

import pytest

from gateway.admin.console_backend import Series
from gateway.console.formatting import (
    UNKNOWN,
    format_count,
    format_decimal,
    format_duration,
    format_milliseconds,
    format_percent,
    format_size,
    prose,
    time_element,
    url_text,
)
from gateway.console.view_callers import caller_rows, recent_calls
from gateway.console.view_calls import call_parts
from gateway.console.view_charts import RANGES, chart_rows, sparkline, traffic
from gateway.console.view_counters import instance_id_percent, metric_samples, sum_by
from gateway.console.view_overview import credential_card, overview
from gateway.console.view_state import call_tone, page_url
from tests.console.recorded_gateway import NOW, recorded_calls, recorded_series, recorded_status


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, UNKNOWN), (0, "0 s"), (0.04, "0 s"), (3.5, "3.5 s"), (9.96, "10 s"), (59.6, "1 min"),
        (3588, "59 min 48 s"), (7200, "2 h"), (90_061, "1 d 1 h"), (-3, "0 s"),
    ],
)  # fmt: skip
def test_durations_have_at_most_two_units(seconds: float | None, text: str) -> None:
    assert format_duration(seconds) == text


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [
        (None, UNKNOWN), (0, "0 ms"), (0.058, "0.06 ms"), (9.999, "10.0 ms"), (99.96, "100 ms"), (1003.5, "1.00 s"),
        (75_000, "1 min 15 s"),
    ],
)  # fmt: skip
def test_milliseconds_have_three_digits(milliseconds: float | None, text: str) -> None:
    assert format_milliseconds(milliseconds) == text


def test_numbers_are_short_and_grouped() -> None:
    assert format_count(1_234_567) == "1\u202f234\u202f567"
    assert [format_decimal(value) for value in (0, 0.004, 0.04, 3.14, 12.6)] == ["0", "0.00", "0.04", "3.1", "13"]
    assert [format_size(value) for value in (0, 999, 1200, 20_000, 5e9)] == [
        "0 B",
        "999 B",
        "1.2 KiB",
        "20 KiB",
        "4.7 GiB",
    ]
    percents = [format_percent(value) for value in (0, 0.01, 0.4, 12.3, 99.97, 100)]
    assert percents == ["0 %", "< 0.1 %", "0.4 %", "12 %", "99.9 %", "100 %"]


def test_a_text_that_is_no_time_is_shown_as_it_is() -> None:
    assert time_element("yesterday") == "yesterday"
    assert time_element(None) == time_element("") == UNKNOWN
    assert 'datetime="2026-01-31T11:00:00.000Z"' in time_element("2026-01-31T12:00:00+01:00")
    assert time_element(1e300) == "1e+300"


def test_prose_marks_code_and_escapes_the_rest() -> None:
    assert prose("Set `allow` & <go>.") == "Set <code>allow</code> &amp; &lt;go&gt;."
    assert prose("one ` alone <b>") == "one ` alone &lt;b&gt;"
    assert url_text("a/<b>/c") == "a/<wbr>&lt;b&gt;/<wbr>c"


def test_names_of_any_kind_have_a_url() -> None:
    assert page_url("routes", "a/b?c#d é") == "/console/routes/a%2Fb%3Fc%23d%20%C3%A9"
    assert page_url("calls", route="a&b") == "/console/calls?route=a%26b"


@pytest.mark.parametrize(
    ("change", "tone", "text"),
    [
        ({}, "ok", "Valid"),
        ({"state": "stale"}, "ok", "Renewal due"),
        ({"state": "none", "expires_in_s": None}, "rest", "No token yet"),
        ({"state": "expired", "expires_in_s": 0.0}, "rest", "Expired"),
        ({"problem": {"code": "timeout"}}, "warn", "Valid, renewal fails"),
        ({"state": "none", "problem": {"code": "invalid_client"}}, "bad", "No token"),
        ({"state": "none", "problem": {"code": "sign-in"}}, "bad", "Sign-in needed"),
    ],
)
def test_a_credential_has_one_state(change: dict[str, Any], tone: str, text: str) -> None:
    status = recorded_status()
    status["credentials"]["orders-app"] |= change
    card = credential_card(status, "orders-app", now=NOW)
    assert (card.state.tone, card.state.text) == (tone, text)


def test_a_worker_without_calls_does_not_hide_a_token() -> None:
    status = recorded_status()
    fresh, none = status["credentials"]["orders-app"], status["credentials"]["developer-api"]
    status["credentials"]["orders-app"] = none
    status["workers"] = [
        {"pid": pid, "state": "working", "credentials": {"orders-app": view}} for pid, view in ((1, none), (2, fresh))
    ]
    card = credential_card(status, "orders-app", now=NOW)
    assert card.state.text == "Valid"
    assert (card.holders, card.workers) == (1, 2)
    assert card.fetches == {"ok": 1, "refused": 0, "unavailable": 0}


def test_the_worst_problem_comes_first() -> None:
    status = recorded_status()
    status["store"] = {"ok": False, "kind": "redis", "why": "connection refused"}
    view = overview(status, now=NOW)
    assert [problem.kind for problem in view.problems] == ["Credential", "Service", "Token store"]
    assert view.state.tone == "bad"


def test_a_gateway_without_problems_is_all_good() -> None:
    status = recorded_status()
    status |= {"routes": [], "services": {}, "credentials": {"a": status["credentials"]["orders-app"]}}
    assert overview(status, now=NOW).state.text == "All good"


def test_a_certificate_that_ends_soon_is_a_problem() -> None:
    status = recorded_status()
    status["listeners"][0]["certificate"] = {"expires_at": NOW + 86_400 * 3, "problem": None}
    problem = next(one for one in overview(status, now=NOW).problems if one.kind == "Certificate")
    assert (problem.tone, problem.seen) == ("warn", "the certificate expires in 3 days")


def test_the_parts_of_a_call_fill_its_bar() -> None:
    record = {"duration_ms": 200.0, "queue_ms": 20.0, "token_wait_ms": 30.0, "upstream_ms": 100.0}
    parts = call_parts(record)
    assert [part.milliseconds for part in parts] == [20.0, 30.0, 100.0, 50.0]
    assert [(part.x, part.width) for part in parts] == [(0, 100), (100, 150), (250, 500), (750, 250)]
    empty = call_parts({"duration_ms": 0.0, "queue_ms": None, "token_wait_ms": 0.0, "upstream_ms": None})
    assert [part.width for part in empty] == [0, 0, 0, 0]


@pytest.mark.parametrize(
    ("status", "error", "tone"),
    [
        (200, None, "ok"),
        (404, None, "warn"),
        (401, "unknown-caller", "warn"),
        (503, None, "bad"),
        (None, "aborted", "bad"),
    ],
)
def test_a_call_has_a_tone(status: int | None, error: str | None, tone: str) -> None:
    assert call_tone(status, error, "info") == tone


def test_figures_of_the_last_minute() -> None:
    figures = traffic(recorded_series(), now=NOW)
    assert (figures.rate, figures.p95, figures.in_flight) == (10.0, 40.5, 2)
    assert figures.error_percent == pytest.approx(2.0, abs=0.2)
    nothing = traffic(Series(1), now=NOW)
    assert (nothing.calls, nothing.rate, nothing.p95, nothing.error_percent) == (0, None, None, None)


def test_the_table_of_a_chart_has_one_row_a_minute() -> None:
    rows = chart_rows(recorded_series(), RANGES["15m"])
    assert sum(figures.calls for _, figures in rows) == 1200
    assert [at % 60 for at, _ in rows] == [0, 0, 0]
    assert rows[0][0] > rows[1][0]


def test_a_sparkline_without_calls_is_no_line() -> None:
    assert sparkline(Series(10), start=NOW - 900, end=NOW) == ""
    points = sparkline(recorded_series(), start=NOW - 120, end=NOW).split()
    assert len(points) == 48
    assert points[0].startswith("0.0,")
    assert points[-1].startswith("96.0,")


def test_counters_are_read_with_their_escapes() -> None:
    text = (
        b'oic_gateway_caller_requests_total{caller="a\\"b\\\\c",status_class="2xx"} 5.0\n'
        b'oic_gateway_caller_requests_total{caller="x",status_class="5xx"} 2.0 # {trace_id="1"} 1.0\n'
        b'oic_gateway_caller_requests_total_other{caller="x"} 9\n'
        b'oic_gateway_instance_ids_total{result="found",route="r"} 3.0\n'
        b'oic_gateway_instance_ids_total{result="missing",route="r"} 1.0\n'
    )
    sums = sum_by(metric_samples(text, "caller_requests_total"), "caller")
    assert sums == {('a"b\\c',): 5.0, ("x",): 2.0}
    assert instance_id_percent(text, "r") == 75.0
    assert instance_id_percent(text, "other") is None


def test_callers_are_those_of_the_file_and_those_that_called() -> None:
    lines = [line for line in recorded_calls() if json.loads(line)["caller"] == "lab"]
    rows = caller_rows(["erp"], recorded_status(), b"", recent_calls(lines))
    assert [(row.name, row.state.text) for row in rows] == [("erp", "Quiet"), ("lab", "Active")]
    lab = rows[1]
    assert (lab.recent_calls, lab.routes, lab.last_seen) == (5, ("orders",), json.loads(lines[0])["time"])
    assert [(quota.what, quota.used, quota.limit, quota.period) for quota in lab.quotas] == [
        ("calls", 5, 5000, "hour"),
        ("messages", 5, 8000, "hour"),
    ]
    assert lab.limit == "50 a second, 50 at once"
