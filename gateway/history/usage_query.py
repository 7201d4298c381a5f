"""Which usage is asked for, and the report of it as JSON. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from gateway.history.interface import Where
from gateway.history.query import MAX_TIME, BadQuery, Parameter, read_moment, read_parameters, time_text
from gateway.observe.json_line import json_line

Grouping = Literal["caller", "route", "service", "hour"]

DEFAULT_GROUPING: Grouping = "route"
DEFAULT_AGE = "30d"
KEEP = 400 * 86_400.0
"""Seconds that usage is stored in a file."""
FLOOR = (
    "a floor: OIC bills at least these messages for calls through the gateway; it may bill more, for refused calls, "
    "large responses of invoked systems, files and schedules"
)
_HOUR = 13  # characters of a time up to the hour


@dataclass(frozen=True, slots=True)
class UsageQuery:
    """How usage is grouped, and the first and the last hour of it, like `2026-01-31T12` in UTC."""

    by: Grouping
    first_hour: str
    last_hour: str


@dataclass(frozen=True, slots=True)
class PackAllowance:
    """The message packs of a service, and how many messages an hour they contain."""

    packs: int
    licence: str
    hourly_messages: int


@dataclass(frozen=True, slots=True)
class UsageGroup:
    """The sums of one caller, route, service or hour, and the hour with most messages. The name of a caller is empty
    for calls on routes that do not identify it.
    """

    name: str
    calls: int
    messages: int
    peak_hour: str
    peak_messages: int


@dataclass(frozen=True, slots=True)
class UsageReport:
    """The groups, those with most messages first (hours in their order), the sums of each service, and the packs of
    the services that have some.

    `lost` is the number of messages that were counted and could not be kept. `stuck` are process ids of workers that
    did not respond.
    """

    query: UsageQuery
    groups: tuple[UsageGroup, ...]
    services: tuple[UsageGroup, ...]
    allowances: Mapping[str, PackAllowance]
    where: Where
    lost: int = 0
    stuck: tuple[int, ...] = ()


def parse_usage(given: Iterable[tuple[str, str]], *, now: float) -> UsageQuery:
    """Return the query of these parameters of a URL at the time `now` (seconds since the epoch).

    `by`, `since`, `until`, each at most once. Both times are rounded to whole hours, which are included. Raise
    BadQuery.
    """
    values: dict[str, Any] = read_parameters(given, _PARAMETERS, now=now)
    since = values.get("since", read_moment("since", DEFAULT_AGE, now))
    until = min(values.get("until", MAX_TIME), round(now * 1000))
    return UsageQuery(values.get("by", DEFAULT_GROUPING), hour_of(since), hour_of(until))


def hour_of(moment: int) -> str:
    """Return the hour of a time in milliseconds since the epoch, like `2026-01-31T12`."""
    return time_text(moment)[:_HOUR].decode()


def usage_document(report: UsageReport) -> bytes:
    """Return the report as JSON."""
    by = report.query.by
    facts: dict[str, object] = {
        "by": by,
        "first_hour": _instant(report.query.first_hour),
        "last_hour": _instant(report.query.last_hour),
        "floor": FLOOR,
        "usage": [_group(by, group) for group in report.groups],
        "services": [_group("service", group) | _packs(group, report.allowances) for group in report.services],
        "calls": sum(group.calls for group in report.groups),
        "messages": sum(group.messages for group in report.groups),
        "where": report.where,
        "lost": report.lost,
    }
    facts |= {"stuck": list(report.stuck)} if report.stuck else {}
    return json_line(facts)


def _group(by: Grouping, group: UsageGroup) -> dict[str, object]:
    if by == "hour":
        return {"hour": _instant(group.name), "calls": group.calls, "messages": group.messages}
    sums = {"calls": group.calls, "messages": group.messages, "peak_hour": _instant(group.peak_hour)}
    return {by: group.name or None, **sums, "peak_messages": group.peak_messages}


def _packs(group: UsageGroup, allowances: Mapping[str, PackAllowance]) -> dict[str, object]:
    allowance = allowances.get(group.name)
    if allowance is None:
        return {}
    percent = round(100 * group.peak_messages / allowance.hourly_messages, 1)
    return {**asdict(allowance), "peak_percent": percent}


def _instant(hour: str) -> str:
    return f"{hour}:00:00Z"


def _grouping(name: str, text: str, _: float) -> str:
    if text not in get_args(Grouping):
        raise BadQuery(f"`{name}` must be one of {', '.join(get_args(Grouping))}")
    return text


_PARAMETERS: dict[str, Parameter] = {
    "by": ("by", _grouping),
    "since": ("since", read_moment),
    "until": ("until", read_moment),
}
