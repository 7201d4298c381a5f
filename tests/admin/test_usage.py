"""`/usage` of the admin port and the command that prints it; tests/system/test_usage.py runs both."""

import argparse
import asyncio
import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest

from gateway.cli import usage
from gateway.history.history_file import HistoryFile
from gateway.history.interface import Unsearchable
from gateway.history.usage_buckets import UsageRow
from gateway.history.usage_query import FLOOR, PackAllowance, UsageGroup, UsageQuery, UsageReport

PEAK = "2026-01-31T11"
PACKS = {"acme": PackAllowance(2, "included", 10_000)}
QUERY = UsageQuery("caller", "2026-01-01T12", "2026-01-31T12")
REPORT = UsageReport(
    QUERY,
    (UsageGroup("erp", 30, 7000, PEAK, 5000), UsageGroup("", 1, 1, PEAK, 1)),
    (UsageGroup("acme", 31, 7001, PEAK, 5001),),
    PACKS,
    "memory",
)
LAST = "7001 messages of 31 calls from 2026-01-01 12:00 to 2026-01-31 12:00 UTC, counted"


def options(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    usage.add_arguments(parser)
    return parser.parse_args(words)


async def run_usage(address: str, *words: str, history_source: usage.UsageSource | None = None) -> int:
    return await asyncio.to_thread(usage.report, options(*words), address, lambda: history_source)


async def test_the_port_answers_with_the_report(port: Any) -> None:
    port.backend.report = REPORT
    reply = await port.ask("/usage?by=caller&since=2026-01-01T12:00:00Z")
    assert (reply.status, reply.head["Content-Type"]) == (200, "application/json")
    assert (reply.json["messages"], reply.json["floor"]) == (7001, FLOOR)
    assert [(query.by, query.first_hour) for query in port.backend.usage_queries] == [("caller", "2026-01-01T12")]


@pytest.mark.parametrize(
    ("query", "problem"),
    [
        ("by=client", "`by` must be one of caller, route, service, hour"),
        ("sinc=1h", "`sinc` is unknown; did you mean `since`?"),
        ("since=yesterday", "`since` is not a time"),
        ("by=", "`by` is empty"),
        ("by=hour&by=hour", "`by` occurs twice"),
        ("since=1h&until=2h", "`since` is later than `until`"),
        ("%ff%0d%0aX=1", "a parameter is unknown"),
    ],
)
async def test_the_port_names_a_wrong_parameter(port: Any, query: str, problem: str) -> None:
    reply = await port.ask(f"/usage?{query}")
    assert (reply.status, reply.head["Content-Type"]) == (400, "application/problem+json")
    assert reply.json["detail"].startswith(problem)
    assert port.backend.usage_queries == []


async def test_usage_that_cannot_be_read_is_a_problem(port: Any, capsys: pytest.CaptureFixture[str]) -> None:
    port.backend.failure = Unsearchable("the file is held")
    reply = await port.ask("/usage")
    assert (reply.status, reply.json["detail"]) == (503, "the file is held")
    assert await run_usage(port.address) == 69
    assert capsys.readouterr() == ("", "the file is held\n")


async def test_usage_is_for_those_who_may_call(port: Any) -> None:
    assert (await port.ask("/usage", "Host: localhost", "Origin: http://localhost")).status == 403
    assert (await port.ask("/usage", method="POST")).status == 405
    port.refused = "no"
    assert (await port.ask("/usage")).status == 403
    assert port.backend.usage_queries == []


async def test_the_table_shows_sums_packs_and_that_it_is_a_floor(port: Any, capsys: pytest.CaptureFixture[str]) -> None:
    port.backend.report = REPORT
    assert await run_usage(port.address, "--by", "caller", "--since", "30d", "--until", "0s") == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    assert printed.out.splitlines() == [
        "CALLER  CALLS  MESSAGES   SHARE  PEAK HOUR (UTC)   PEAK",
        "erp        30      7000  100.0%  2026-01-31 11:00  5000",
        "-           1         1    0.0%  2026-01-31 11:00     1",
        "",
        "acme: peak hour 2026-01-31 11:00 UTC with 5001 messages, 50.0% of 10000 (2 packs, included)",
        f"{LAST} in memory since the gateway started",
        f"This is {FLOOR}.",
    ]


async def test_hours_have_no_peak(port: Any, capsys: pytest.CaptureFixture[str]) -> None:
    query = UsageQuery("hour", "2026-01-31T10", "2026-01-31T12")
    group = UsageGroup(PEAK, 31, 7001, PEAK, 7001)
    port.backend.report = UsageReport(query, (group,), (), {}, "file", lost=4, stuck=(7,))
    assert await run_usage(port.address, "--by", "hour") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["HOUR (UTC)        CALLS  MESSAGES   SHARE", "2026-01-31 11:00     31      7001  100.0%"]
    assert lines[3].endswith("counted in a file")
    assert lines[4:6] == ["4 more messages could not be kept", "some workers did not answer"]
    assert await run_usage(port.address, "--by", "hour", "--csv") == 0
    assert capsys.readouterr().out == "hour,calls,messages_at_least\n2026-01-31T11:00:00Z,31,7001\n"


async def test_json_is_the_document_of_the_port(port: Any, capsys: pytest.CaptureFixture[str]) -> None:
    port.backend.report = REPORT
    assert await run_usage(port.address, "--json") == 0
    assert json.loads(capsys.readouterr().out) == (await port.ask("/usage")).json


async def test_csv_has_a_header_that_names_the_floor_and_no_formula(
    port: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ("=1+1", "+x", "-x", "@x", 'a"b,c', "")
    groups = tuple(UsageGroup(name, 1, 2, PEAK, 2) for name in names)
    port.backend.report = UsageReport(QUERY, groups, (), {}, "file")
    assert await run_usage(port.address, "--csv") == 0
    head, *rows = csv.reader(io.StringIO(capsys.readouterr().out))
    assert head == ["caller", "calls", "messages_at_least", "peak_hour", "peak_messages_at_least"]
    assert [row[0] for row in rows] == ["'=1+1", "'+x", "'-x", "'@x", 'a"b,c', ""]
    assert {tuple(row[1:]) for row in rows} == {("1", "2", "2026-01-31T11:00:00Z", "2")}


async def test_nothing_counted_is_reported_with_status_one(port: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert await run_usage(port.address) == 1
    assert capsys.readouterr().out.startswith("0 messages of 0 calls from ")
    assert await run_usage(port.address, "--csv") == 1
    assert capsys.readouterr().out == "route,calls,messages_at_least,peak_hour,peak_messages_at_least\n"


async def test_a_wrong_flag_is_an_error_without_a_request(port: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert await run_usage(port.address, "--since", "x") == 2
    assert capsys.readouterr().err.startswith("--since is not a time")
    assert port.seen == []


async def test_a_stopped_gateway_is_read_from_its_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    history_file = HistoryFile(tmp_path / "history")
    history_file.add_usage([UsageRow("2026-01-31T11", "acme", "orders", "erp", 3, 5001)])
    history_file.close()
    nowhere = f"unix:{tmp_path}/nowhere"
    source = (str(tmp_path / "history"), PACKS)
    assert await run_usage(nowhere, "--since", "2026-01-01", history_source=source) == 0
    printed = capsys.readouterr().out
    assert "orders      3      5001  100.0%" in printed
    assert "50.0% of 10000 (2 packs, included)" in printed
    assert await run_usage(nowhere, history_source=(str(tmp_path / "none"), {})) == 69
    assert "no gateway responds at unix:" in capsys.readouterr().err
    assert await run_usage(nowhere) == 69
    assert "its usage was in memory" in capsys.readouterr().err
