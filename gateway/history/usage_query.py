"""Read the parameters of a usage report, and write the report as JSON. Pure."""

from collections.abc import Iterable, Mapping
from typing import Any, Literal, get_args

import msgspec
from msgspec.structs import asdict

from gateway.history.interface import StorageKind
from gateway.history.query import (
    HOUR_LENGTH,
    MAX_TIME,
    BadQuery,
    ParameterReader,
    format_time,
    read_parameters,
    read_time,
)
from gateway.observe.json_line import json_line

Grouping = Literal["caller", "route", "service", "hour"]

DEFAULT_GROUPING: Grouping = "route"
DEFAULT_AGE = "30d"
USAGE_RETENTION = 400 * 86_400.0
"""Seconds for which usage is stored in a file."""
FLOOR = (
    "a floor: OIC bills at least these messages for calls through the gateway; it may bill more, for refused calls, "
    "large responses of invoked systems, files and schedules"
)


class UsageQuery(msgspec.Struct, frozen=True):
    """How usage is grouped, and its first and last hour, like `2026-01-31T12` in UTC."""

    by: Grouping
    first_hour: str
    last_hour: str


class PackAllowance(msgspec.Struct, frozen=True):
    """The message packs of a service, and how many messages an hour they include."""

    packs: int
    licence: str
    hourly_messages: int


class UsageGroup(msgspec.Struct, frozen=True):
    """The sums of one caller, route, service or hour, and its hour with the most messages. `name` is empty for calls on
    routes that do not identify callers.
    """

    name: str
    calls: int
    messages: int
    peak_hour: str
    peak_messages: int


class UsageReport(msgspec.Struct, frozen=True):
    """The groups (hours by time, others by number of messages), the sums of each service, and the packs of services.

    `lost` is the number of messages that were counted and could not be stored. `stuck` are the process ids of workers
    that did not respond.
    """

    query: UsageQuery
    groups: tuple[UsageGroup, ...]
    services: tuple[UsageGroup, ...]
    allowances: Mapping[str, PackAllowance]
    where: StorageKind
    lost: int = 0
    stuck: tuple[int, ...] = ()


def parse_usage(pairs: Iterable[tuple[str, str]], *, now: float) -> UsageQuery:
    """Read the parameters of a URL, as names and values, at the time `now` (epoch seconds).

    `by`, `since`, `until`, each at most once. The hours of both times are included. Raise BadQuery.
    """
    values: dict[str, Any] = read_parameters(pairs, _PARAMETERS, now=now)
    since = values.get("since", read_time("since", DEFAULT_AGE, now))
    until = min(values.get("until", MAX_TIME), round(now * 1000))
    return UsageQuery(values.get("by", DEFAULT_GROUPING), hour_of(since), hour_of(until))


def hour_of(milliseconds: int) -> str:
    """Return the hour of a time in epoch milliseconds, like `2026-01-31T12`."""
    return format_time(milliseconds)[:HOUR_LENGTH].decode()


def usage_document(report: UsageReport) -> bytes:
    """Return the report as JSON."""
    by = report.query.by
    facts: dict[str, object] = {
        "by": by,
        "first_hour": _hour_start(report.query.first_hour),
        "last_hour": _hour_start(report.query.last_hour),
        "floor": FLOOR,
        "usage": [_group_document(by, group) for group in report.groups],
        "services": [
            _group_document("service", group) | _pack_document(group, report.allowances) for group in report.services
        ],
        "calls": sum(group.calls for group in report.groups),
        "messages": sum(group.messages for group in report.groups),
        "where": report.where,
        "lost": report.lost,
    }
    facts |= {"stuck": list(report.stuck)} if report.stuck else {}
    return json_line(facts)


def _group_document(by: Grouping, group: UsageGroup) -> dict[str, object]:
    if by == "hour":
        return {"hour": _hour_start(group.name), "calls": group.calls, "messages": group.messages}
    sums = {"calls": group.calls, "messages": group.messages, "peak_hour": _hour_start(group.peak_hour)}
    return {by: group.name or None, **sums, "peak_messages": group.peak_messages}


def _pack_document(group: UsageGroup, allowances: Mapping[str, PackAllowance]) -> dict[str, object]:
    allowance = allowances.get(group.name)
    if allowance is None:
        return {}
    percent = round(100 * group.peak_messages / allowance.hourly_messages, 1)
    return {**asdict(allowance), "peak_percent": percent}


def _hour_start(hour: str) -> str:
    return f"{hour}:00:00Z"


def _read_grouping(name: str, text: str, _: float) -> str:
    if text not in get_args(Grouping):
        raise BadQuery(f"`{name}` must be one of {', '.join(get_args(Grouping))}")
    return text


_PARAMETERS: dict[str, ParameterReader] = {
    "by": ("by", _read_grouping),
    "since": ("since", read_time),
    "until": ("until", read_time),
}
