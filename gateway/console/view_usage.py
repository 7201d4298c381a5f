"""Billed messages as a template shows them, and as CSV. Pure."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from gateway.console.view_state import page_url
from gateway.history.usage_query import UsageGroup, UsageReport

GROUPINGS = ("route", "caller", "service", "hour")
AGES = {"24h": "24 hours", "7d": "7 days", "30d": "30 days", "400d": "400 days"}
DEFAULT_AGE = "30d"
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
"""Characters with which a spreadsheet takes a text for a formula."""


@dataclass(frozen=True, slots=True)
class UsageGroupRow:
    """The sums of one group; `percent` is its part of all messages."""

    name: str
    href: str | None
    calls: int
    messages: int
    peak_hour: str
    peak_messages: int
    percent: float


@dataclass(frozen=True, slots=True)
class ServiceUsage:
    """A service: its busiest hour against the messages that its packs include an hour; None without packs."""

    name: str
    calls: int
    messages: int
    peak_hour: str
    peak_messages: int
    packs: int | None
    licence: str | None
    hourly_messages: int | None
    percent: float | None
    tone: str


@dataclass(frozen=True, slots=True)
class UsageView:
    """The usage page: rows of the chosen grouping, services against their packs, and the sums."""

    by: str
    rows: tuple[UsageGroupRow, ...]
    services: tuple[ServiceUsage, ...]
    calls: int
    messages: int
    first_hour: str
    last_hour: str
    lost: int
    where: str


def usage_view(report: UsageReport) -> UsageView:
    """Return a report as the page shows it."""
    by, messages = report.query.by, sum(group.messages for group in report.groups)
    rows = tuple(_usage_row(by, group, messages) for group in report.groups)
    return UsageView(
        by,
        rows[::-1] if by == "hour" else rows,
        tuple(_service_usage(report, group) for group in report.services),
        sum(group.calls for group in report.groups),
        messages,
        hour_start(report.query.first_hour),
        hour_start(report.query.last_hour),
        report.lost,
        report.where,
    )


def usage_csv(report: UsageReport) -> bytes:
    """Return the groups of a report as CSV (RFC 4180), with UTC hours."""
    by = report.query.by
    head = ("hour", "calls", "messages") if by == "hour" else (by, "calls", "messages", "peak_hour", "peak_messages")
    return "".join(_csv_line(cells) for cells in (head, *_csv_rows(report))).encode()


def hour_start(hour: str) -> str:
    """Return the ISO 8601 time at which an hour like `2026-01-31T12` begins."""
    return f"{hour}:00:00Z" if hour else ""


def _usage_row(by: str, group: UsageGroup, messages: int) -> UsageGroupRow:
    name = hour_start(group.name) if by == "hour" else group.name
    pages = {"route": ("routes", group.name), "caller": ("callers",), "service": ()}
    href = page_url(*pages[by]) if by in pages and group.name else None
    percent = 100 * group.messages / messages if messages else 0.0
    return UsageGroupRow(
        name, href, group.calls, group.messages, hour_start(group.peak_hour), group.peak_messages, percent
    )


def _service_usage(report: UsageReport, group: UsageGroup) -> ServiceUsage:
    packs = report.allowances.get(group.name)
    percent = 100 * group.peak_messages / packs.hourly_messages if packs else None
    tone = "accent" if percent is None or percent < 80 else "warn" if percent < 100 else "bad"
    return ServiceUsage(
        group.name,
        group.calls,
        group.messages,
        hour_start(group.peak_hour),
        group.peak_messages,
        packs.packs if packs else None,
        packs.licence if packs else None,
        packs.hourly_messages if packs else None,
        percent,
        tone,
    )


def _csv_rows(report: UsageReport) -> Iterator[tuple[object, ...]]:
    for group in report.groups:
        if report.query.by == "hour":
            yield hour_start(group.name), group.calls, group.messages
        else:
            yield group.name, group.calls, group.messages, hour_start(group.peak_hour), group.peak_messages


def _csv_line(cells: Iterable[object]) -> str:
    return ",".join(_csv_cell(cell) for cell in cells) + "\r\n"


def _csv_cell(cell: object) -> str:
    text = str(cell)
    if text.startswith(_FORMULA_STARTS):
        text = "'" + text
    return '"' + text.replace('"', '""') + '"' if any(char in text for char in ',"\r\n') else text
