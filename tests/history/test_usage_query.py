"""The parameters of a usage report, and the report as JSON."""

import json

import pytest

from gateway.history.query import BadQuery
from gateway.history.usage_query import (
    FLOOR,
    PackAllowance,
    UsageGroup,
    UsageQuery,
    UsageReport,
    parse_usage,
    usage_document,
)
from tests.history.call_lines import START


def query_of(**parameters: str) -> UsageQuery:
    return parse_usage(parameters.items(), now=START + 1800)


def test_the_last_thirty_days_by_route_are_the_default() -> None:
    assert query_of() == UsageQuery("route", "2026-01-01T12", "2026-01-31T12")


def test_times_are_rounded_to_whole_hours_that_are_included() -> None:
    assert query_of(by="caller", since="45m", until="1m") == UsageQuery("caller", "2026-01-31T11", "2026-01-31T12")
    query = query_of(by="hour", since="2026-01-30T23:59:59+01:00", until="2026-01-31")
    assert query == UsageQuery("hour", "2026-01-30T22", "2026-01-31T00")
    assert query_of(until="2030-01-01").last_hour == "2026-01-31T12"


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"by": "client"}, "`by` must be one of caller, route, service, hour"),
        ({"by": ""}, "`by` is empty"),
        ({"sinc": "1d"}, "`sinc` is unknown; did you mean `since`?"),
        ({"limit": "1"}, "`limit` is unknown; use one of by, since, until"),
        ({"since": "yesterday"}, "`since` is not a time"),
        ({"since": "1h", "until": "2h"}, "`since` is later than `until`"),
    ],
)
def test_a_wrong_parameter_is_named(parameters: dict[str, str], message: str) -> None:
    with pytest.raises(BadQuery) as raised:
        query_of(**parameters)
    assert str(raised.value).startswith(message)


def test_a_report_is_a_minimum_and_is_compared_with_packs() -> None:
    peak = "2026-01-31T11"
    groups = (UsageGroup("erp", 3, 7, peak, 5), UsageGroup("", 1, 1, peak, 1))
    services = (UsageGroup("acme", 4, 8, peak, 6), UsageGroup("oic.example", 1, 1, peak, 1))
    report = UsageReport(
        query_of(by="caller"), groups, services, {"acme": PackAllowance(2, "included", 10_000)}, "file", 3, (7,)
    )
    assert json.loads(usage_document(report)) == {
        "by": "caller",
        "first_hour": "2026-01-01T12:00:00Z",
        "last_hour": "2026-01-31T12:00:00Z",
        "floor": FLOOR,
        "usage": [
            {"caller": "erp", "calls": 3, "messages": 7, "peak_hour": "2026-01-31T11:00:00Z", "peak_messages": 5},
            {"caller": None, "calls": 1, "messages": 1, "peak_hour": "2026-01-31T11:00:00Z", "peak_messages": 1},
        ],
        "services": [
            {
                "service": "acme",
                "calls": 4,
                "messages": 8,
                "peak_hour": "2026-01-31T11:00:00Z",
                "peak_messages": 6,
                "packs": 2,
                "licence": "included",
                "hourly_messages": 10_000,
                "peak_percent": 0.1,
            },
            {
                "service": "oic.example",
                "calls": 1,
                "messages": 1,
                "peak_hour": "2026-01-31T11:00:00Z",
                "peak_messages": 1,
            },
        ],
        "calls": 4,
        "messages": 8,
        "where": "file",
        "lost": 3,
        "stuck": [7],
    }
