"""Search parameters as a `HistoryQuery`, and whether a line matches it. Pure.

Lines are those of the log (`observe.record`), which begin with their time. They are searched as text: a JSON string
contains no bare quote, so `"route":"orders"` occurs only in lines where the field has this value.
"""

import difflib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NoReturn

from gateway.observe.json_line import json_line
from gateway.observe.record import LONGEST_ID
from gateway.observe.timestamp import timestamp

MIN_TIME, MAX_TIME = 0, (1 << 43) - 2
"""Milliseconds since the epoch; the maximum is in the year 2248."""
TIME = slice(9, 33)
"""The place of the arrival time in a line, after `{"time":"`."""
DEFAULT_LIMIT, MAX_LIMIT = 20, 10_000
"""Number of calls returned by default, and at most."""

Parameter = tuple[str, Callable[[str, str, float], object]]
"""The field that a parameter sets, and what reads its value: (name of the parameter, text, now) → value."""

_UNITS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_DURATION = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)(ms|s|m|h|d)")
_STATUS = re.compile(r"[1-9](?:[0-9]{2}|xx)")


class BadQuery(ValueError):
    """A parameter is unknown or its value is not valid; the text names it and what to write."""


@dataclass(frozen=True, slots=True)
class HistoryQuery:
    """What a call must match; None: anything. `status` is `502` or `5xx`; `since` and `until` are milliseconds since
    the epoch, inclusive. The result is the newest `limit` of these calls.
    """

    instance_id: str | None = None
    request_id: str | None = None
    route: str | None = None
    client: str | None = None
    status: str | None = None
    since: int = MIN_TIME
    until: int = MAX_TIME
    limit: int = DEFAULT_LIMIT

    def texts(self) -> list[tuple[str, str]]:
        """Return the fields of the record that must have a certain text."""
        fields = ("instance_id", "request_id", "route", "client")
        return [(field, text) for field in fields if (text := getattr(self, field)) is not None]


def parse(given: Iterable[tuple[str, str]], *, now: float) -> HistoryQuery:
    """Return the query of these parameters of a URL at the time `now` (seconds since the epoch).

    `id`, `request_id`, `route`, `client`, `status`, `since`, `until`, `limit`, each at most once. Raise BadQuery.
    """
    values = read_parameters(given, _PARAMETERS, now=now)
    return HistoryQuery(**values)  # type: ignore[arg-type] # each reader gives what its field is


def read_parameters(
    given: Iterable[tuple[str, str]], parameters: Mapping[str, Parameter], *, now: float
) -> dict[str, object]:
    """Return the values of these parameters of a URL by field, each at most once. Raise BadQuery."""
    values: dict[str, object] = {}
    for name, text in given:
        field, read = parameters.get(name) or _unknown(name, parameters)
        if field in values:
            raise BadQuery(f"`{name}` is given twice; write it once")
        if not text:
            raise BadQuery(f"`{name}` is empty; write a value or leave it out")
        values[field] = read(name, text, now)
    since, until = values.get("since", MIN_TIME), values.get("until", MAX_TIME)
    assert isinstance(since, int)
    assert isinstance(until, int)
    if since > until:
        raise BadQuery("`since` is later than `until`; swap them")
    return values


def instant(text: str) -> int:
    """Milliseconds since the epoch of an ISO 8601 time, UTC where it names no zone. Raise ValueError."""
    moment = datetime.fromisoformat(text)
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
    return round(moment.timestamp() * 1000)


def time_text(moment: int) -> bytes:
    """Milliseconds since the epoch as a line begins with them."""
    return timestamp(moment / 1000 + 0.0001).encode()  # 0.1 ms more: the cut must not fall below the millisecond


def time_of(line: bytes) -> bytes:
    """Return the arrival time of the call in a line; sorts in the order of time."""
    return line[TIME]


def filter_lines(query: HistoryQuery, lines: Sequence[bytes]) -> Sequence[bytes]:
    """Return the matching lines in their order, whatever the `limit`."""
    for needle in _needles(query):
        lines = [line for line in lines if needle in line]
    since, until = time_text(query.since), time_text(query.until)
    return [line for line in lines if since <= line[TIME] <= until]


def newest(lines: Iterable[bytes], limit: int) -> list[bytes]:
    """Return the newest lines, newest first; lines of the same millisecond keep their order."""
    return sorted(lines, key=time_of, reverse=True)[:limit]


def _needles(query: HistoryQuery) -> Iterable[bytes]:
    for field, text in query.texts():
        yield json_line({field: text})[1:-2]
    if query.status is not None:
        digits = query.status.rstrip("x")
        yield f'"status":{digits}'.encode() + (b"," if digits == query.status else b"")


def _text(_: str, text: str, __: float) -> str:
    return text


def _id(_: str, text: str, __: float) -> str:
    return text[:LONGEST_ID]  # as it is recorded


def _status(name: str, text: str, _: float) -> str:
    if not _STATUS.fullmatch(text.lower()):
        raise BadQuery(f"`{name}` is not a status; write one like 502, or a class like 5xx")
    return text.lower()


def _limit(name: str, text: str, _: float) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 9 and 1 <= int(text) <= MAX_LIMIT):
        raise BadQuery(f"`{name}` must be a number from 1 to {MAX_LIMIT}; write one like 50")
    return int(text)


def read_moment(name: str, text: str, now: float) -> int:
    """Parse a time, or an age relative to `now`, as milliseconds since the epoch. Raise BadQuery."""
    if duration := _DURATION.fullmatch(text):
        moment = round(now * 1000 - float(duration[1]) * _UNITS[duration[2]])
    else:
        moment = _instant(name, text)
    return min(max(moment, MIN_TIME), MAX_TIME)


def _instant(name: str, text: str) -> int:
    try:
        return instant(text.replace(" ", "+"))  # what a `+` in a URL may have become
    except ValueError:
        remedy = "write one like 2026-01-31T12:00:00Z, or an age like 1h (ms, s, m, h, d)"
        raise BadQuery(f"`{name}` is not a time; {remedy}") from None


def _unknown(name: str, parameters: Mapping[str, Parameter]) -> NoReturn:
    near = difflib.get_close_matches(name[:64], parameters, 1)
    shown = f"`{name}`" if name.isprintable() and len(name) <= 64 else "a parameter"
    remedy = f"did you mean `{near[0]}`?" if near else f"use one of {', '.join(parameters)}"
    raise BadQuery(f"{shown} is unknown; {remedy}")


_PARAMETERS: dict[str, Parameter] = {
    "id": ("instance_id", _id),
    "request_id": ("request_id", _text),
    "route": ("route", _text),
    "client": ("client", _text),
    "status": ("status", _status),
    "since": ("since", read_moment),
    "until": ("until", read_moment),
    "limit": ("limit", _limit),
}
