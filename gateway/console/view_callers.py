"""Callers as a template shows them: from `/status`, the counters, and the last calls. Pure."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec

from gateway.console.view_counters import metric_samples, sum_by
from gateway.console.view_state import StateLabel, page_url, state_label

RECENT = 900.0
"""Seconds of the history from which rates and the last call are taken."""
_QUOTAS = ("calls", "messages")
_PERIODS = {1: "second", 60: "minute", 3600: "hour", 86_400: "day"}


@dataclass(frozen=True, slots=True)
class QuotaUse:
    """How much of a quota is used in its present period."""

    what: str
    used: int
    limit: int
    period: str
    percent: float
    tone: str
    resets_in: float


class CallerCall(msgspec.Struct):
    """The fields of a record that this page needs; reading all would take five times as long."""

    time: str
    caller: str | None = None
    route: str | None = None
    status: int | None = None
    error: str | None = None


_DECODER = msgspec.json.Decoder(CallerCall)


@dataclass(slots=True)
class RecentCalls:
    """The calls of one caller in the last minutes."""

    calls: int = 0
    errors: int = 0
    last_seen: str | None = None
    routes: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class CallerRow:
    """A caller: `rate` is calls a minute over the last minutes; `calls`, `refused` (4xx) and `failed` (5xx) count since
    the start.
    """

    name: str
    href: str
    state: StateLabel
    rate: float
    recent_calls: int
    recent_errors: int
    routes: tuple[str, ...]
    last_seen: str | None
    calls: float
    refused: float
    failed: float
    messages: float
    limit: str | None
    quotas: tuple[QuotaUse, ...]


def caller_rows(
    names: Iterable[str], status: Mapping[str, Any], metrics: bytes, recent: Mapping[str, RecentCalls]
) -> tuple[CallerRow, ...]:
    """Return the callers by name: those of the configuration, and those that called. `recent` are their calls of the
    last `RECENT` seconds.
    """
    requests = sum_by(metric_samples(metrics, "caller_requests_total"), "caller", "status_class")
    messages = sum_by(metric_samples(metrics, "caller_messages_total"), "caller")
    limits = status["caller_limits"]
    known = {*names, *limits, *(caller for caller, _ in requests), *recent} - {"", "-"}
    return tuple(
        _caller_row(name, requests, messages.get((name,), 0.0), recent.get(name, RecentCalls()), limits.get(name))
        for name in sorted(known)
    )


def recent_calls(lines: Iterable[bytes]) -> dict[str, RecentCalls]:
    """Return the last calls by caller; the lines are newest first."""
    found: dict[str, RecentCalls] = {}
    for line in lines:
        call = _DECODER.decode(line)
        if call.caller is None:
            continue
        caller = found.setdefault(call.caller, RecentCalls())
        caller.calls += 1
        caller.errors += call.error is not None or (call.status or 500) >= 500
        caller.last_seen = caller.last_seen or call.time
        if call.route is not None:
            caller.routes.add(call.route)
    return found


def with_last_seen(row: CallerRow, lines: Iterable[bytes]) -> CallerRow:
    """Return the row with the time of its last call, the first of `lines`."""
    return next((replace(row, last_seen=_DECODER.decode(line).time) for line in lines), row)


def _caller_row(
    name: str,
    requests: Mapping[tuple[str, ...], float],
    messages: float,
    recent: RecentCalls,
    limits: Mapping[str, Any] | None,
) -> CallerRow:
    quotas = tuple(_quotas(limits or {}))
    by_class = {status_class: value for (caller, status_class), value in requests.items() if caller == name}
    problem = (limits or {}).get("problem")
    if problem is not None:
        state = state_label("warn", "Over its limit", "alert")
    elif recent.calls:
        state = state_label("ok", "Active", "check")
    else:
        state = state_label("rest", "Quiet")
    return CallerRow(
        name,
        page_url("calls", caller=name),
        state,
        60 * recent.calls / RECENT,
        recent.calls,
        recent.errors,
        tuple(sorted(recent.routes)),
        recent.last_seen,
        sum(by_class.values()),
        by_class.get("4xx", 0.0),
        by_class.get("5xx", 0.0),
        messages,
        _rate_text((limits or {}).get("rate")),
        quotas,
    )


def _quotas(limits: Mapping[str, Any]) -> Iterator[QuotaUse]:
    for what in _QUOTAS:
        if quota := limits.get(what):
            percent = 100 * quota["used"] / quota["limit"] if quota["limit"] else 100.0
            tone = "bad" if percent >= 100 else "warn" if percent >= 80 else "accent"
            period = _PERIODS.get(quota["per_s"], f"{quota['per_s']} s")
            yield QuotaUse(what, quota["used"], quota["limit"], period, percent, tone, quota["resets_in_s"])


def _rate_text(rate: Mapping[str, Any] | None) -> str | None:
    if not rate:
        return None
    return f"{rate['calls']:g} a {_PERIODS.get(rate['per_s'], str(rate['per_s']) + ' s')}, {rate['burst']:g} at once"
