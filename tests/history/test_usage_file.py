"""Usage in the file of a history: added by several processes, stored for 400 days, in a quarter of the room."""

import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest

from gateway.history.history_file import HistoryFile
from gateway.history.interface import HistoryLimits, Unsearchable
from gateway.history.usage_buckets import UsageBuckets, UsageRow
from gateway.history.usage_query import Grouping, UsageGroup, UsageQuery, UsageReport, hour_of
from gateway.history.usage_reads import join_usage, read_usage
from tests.fakes.waiting import TIME_LIMIT
from tests.history.call_lines import START, call_line
from tests.history.conftest import OpenHistory

DAY = 86_400
ERP, CRM = ("acme", "orders", "erp"), ("acme", "invoices", "crm")
H00, H11, H12, H13 = "2020-01-01T00", "2026-01-31T11", "2026-01-31T12", "2026-01-31T13"


def report(
    path: Path, by: Grouping = "route", first: str = "2020-01-01T00", last: str = "2030-01-01T00"
) -> UsageReport:
    return read_usage(path, UsageQuery(by, first, last), allowances={}, until=time.monotonic() + TIME_LIMIT)


def rows(path: Path) -> list[UsageRow]:
    with closing(sqlite3.connect(path)) as connection:
        return [UsageRow(*row) for row in connection.execute("SELECT * FROM usage")]


def test_groups_have_sums_and_a_peak_hour(path: Path) -> None:
    history_file = HistoryFile(path)
    history_file.add_usage([UsageRow(H11, *ERP, 2, 9), UsageRow(H12, *ERP, 1, 1), UsageRow(H12, *CRM, 5, 5)])
    history_file.add_usage([UsageRow(H12, *ERP, 1, 1), UsageRow(H13, "other", "orders", "", 1, 30)])
    history_file.close()
    erp, crm, other = UsageGroup("erp", 4, 11, H11, 9), UsageGroup("crm", 5, 5, H12, 5), UsageGroup("", 1, 30, H13, 30)
    assert report(path, "caller").groups == (other, erp, crm)
    assert report(path, "route").groups == (UsageGroup("orders", 5, 41, H13, 30), UsageGroup("invoices", 5, 5, H12, 5))
    services = (UsageGroup("other", 1, 30, H13, 30), UsageGroup("acme", 9, 16, H11, 9))
    for by in ("caller", "route", "service", "hour"):
        assert report(path, by).services == services
    assert report(path, "service").groups == services
    hours = [(H11, 2, 9), (H12, 7, 7), (H13, 1, 30)]
    assert [group[:3] for group in map(hour_values, report(path, "hour").groups)] == hours
    assert report(path, "caller", H12, H12).groups == (
        UsageGroup("crm", 5, 5, H12, 5),
        UsageGroup("erp", 2, 2, H12, 2),
    )
    assert report(path, "hour", H13, H13).services == services[:1]


def hour_values(group: UsageGroup) -> tuple[object, ...]:
    return group.name, group.calls, group.messages


def test_a_report_includes_usage_in_memory_and_in_the_file(path: Path) -> None:
    query = UsageQuery("caller", H11, H12)
    rows_in_memory = [UsageRow(H11, *ERP, 1, 4), UsageRow(H11, *CRM, 1, 1), UsageRow(H13, *ERP, 1, 1)]
    until = time.monotonic() + TIME_LIMIT
    in_memory = join_usage(None, query, rows_in_memory, allowances={}, until=until)
    assert (in_memory.where, in_memory.groups) == (
        "memory",
        (UsageGroup("erp", 1, 4, H11, 4), UsageGroup("crm", 1, 1, H11, 1)),
    )
    assert join_usage(path, query, rows_in_memory, allowances={}, until=until).groups == in_memory.groups
    history_file = HistoryFile(path)
    history_file.add_usage([UsageRow(H11, *ERP, 1, 2), UsageRow(H12, *ERP, 1, 5)])
    history_file.close()
    joined = join_usage(path, query, rows_in_memory, allowances={}, until=until)
    assert (joined.where, joined.groups[0]) == ("file", UsageGroup("erp", 3, 11, H11, 6))


async def test_counted_usage_is_in_the_file_after_a_flush(open_history: OpenHistory, path: Path) -> None:
    usage = UsageBuckets()
    history = open_history(usage=usage)
    for hour in (H11, H12, H12):
        usage.add(hour, ERP, 1, 2)
    await history.flush()
    assert history.is_usage_stored
    assert rows(path) == [UsageRow(H11, *ERP, 1, 2), UsageRow(H12, *ERP, 2, 4)]
    assert not usage


def test_usage_is_written_without_calls_and_searches(open_history: OpenHistory, path: Path) -> None:
    usage = UsageBuckets()
    open_history(usage=usage)
    for number in range(1, 3):
        usage.add(H12, ERP, 1, 1)
        while usage:
            time.sleep(0)
        while rows(path) != [UsageRow(H12, *ERP, number, number)]:
            time.sleep(0)


def test_usage_of_two_processes_is_added_up_at_a_stop(open_history: OpenHistory, path: Path) -> None:
    both = UsageBuckets(), UsageBuckets()
    histories = [open_history(usage=usage) for usage in both]
    for number in range(3000):
        for usage in both:
            usage.add(hour_of(int(START + 60 * number) * 1000), ERP, 1, 2)
    for history in histories:
        history.close(5)
    assert sum(row.calls for row in rows(path)) == 6000
    assert {(row.calls, row.messages) for row in rows(path)} == {(120, 240)}
    assert not any(both)


async def test_usage_is_stored_longer_than_calls(open_history: OpenHistory, path: Path) -> None:
    usage = UsageBuckets()
    history = open_history(HistoryLimits(1, 60.0, 1 << 30), usage=usage, at=START + DAY)
    usage.add(H12, ERP, 1, 1)
    for number in range(50):
        history.append([call_line(number)])
    history.close(5)
    history_file = HistoryFile(path)
    while history_file.prune(HistoryLimits(0, 60.0, 1 << 30), round((START + DAY) * 1000)):
        pass
    history_file.close()
    assert rows(path) == [UsageRow(H12, *ERP, 1, 1)]


async def test_usage_older_than_400_days_is_deleted(open_history: OpenHistory, path: Path) -> None:
    ages = {age: hour_of(int(START - age * DAY) * 1000) for age in (401, 400, 399, 0)}
    history_file = HistoryFile(path)
    history_file.add_usage([UsageRow(hour, *ERP, 1, 1) for hour in ages.values()])
    history_file.close()
    usage = UsageBuckets()
    usage.add(ages[0], ERP, 1, 1)
    history = open_history(usage=usage)
    await history.flush()
    assert [(row.hour, row.calls) for row in rows(path)] == [(ages[400], 1), (ages[399], 1), (ages[0], 2)]


def test_usage_has_a_quarter_of_the_room(open_history: OpenHistory, path: Path) -> None:
    usage = UsageBuckets()
    hours = [hour_of(int(START + number * 3600) * 1000) for number in range(100)]
    for hour in hours:
        usage.add(hour, ERP, 1, 1)
        usage.add(hour, CRM, 1, 1)
    open_history(HistoryLimits(None, 1e9, 4 * 100 * 50), usage=usage, at=START + 100 * 3600).close(5)
    assert sorted({row.hour for row in rows(path)}) == hours[-25:]


async def test_a_file_of_an_older_gateway_gets_the_table(open_history: OpenHistory, path: Path) -> None:
    history_file = HistoryFile(path)
    history_file.append([call_line(1)])
    history_file.close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("DROP TABLE usage")
    assert report(path).groups == ()
    usage = UsageBuckets()
    usage.add(H12, ERP, 1, 1)
    await open_history(usage=usage).flush()
    assert rows(path) == [UsageRow(H12, *ERP, 1, 1)]


def test_usage_stays_in_memory_if_the_file_is_unusable(open_history: OpenHistory, path: Path) -> None:
    path.write_bytes(b"not a database" * 400)
    usage = UsageBuckets()
    usage.add(H12, ERP, 1, 1)
    history = open_history(usage=usage)
    history.close(5)
    assert not history.is_usage_stored
    assert usage.rows() == [UsageRow(H12, *ERP, 1, 1)]
    with pytest.raises(Unsearchable, match="is not a database"):
        report(path)
    with pytest.raises(Unsearchable, match="unable to open"):
        report(path.with_name("none"))
