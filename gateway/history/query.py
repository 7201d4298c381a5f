"""Read search parameters as a `HistoryQuery`, and select the lines that match it. Pure.

The lines are those of the log (`observe.record`), which begin with their time. They are searched as text. A JSON string
contains no unescaped quote, so `"route":"orders"` occurs only in lines whose field has this value.
"""

import difflib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import NoReturn

import msgspec

from gateway.observe.json_line import json_line
from gateway.observe.record import MAX_ID
from gateway.observe.timestamp import timestamp

MIN_TIME, MAX_TIME = 0, (1 << 43) - 2
"""The range of times, in epoch milliseconds; the maximum is in the year 2248."""
TIME_SLICE = slice(9, 33)
"""The position of the arrival time in a line, after `{"time":"`."""
HOUR_LENGTH = 13
"""Characters of a time up to the hour: `2026-01-31T12`."""
DEFAULT_LIMIT, MAX_LIMIT = 20, 10_000
"""Number of calls in a result: the default, and the maximum."""

ParameterReader = tuple[str, Callable[[str, str, float], object]]
"""The field that a parameter sets, and a function that reads its value: (name of the parameter, text, now) → value."""

_UNITS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_DURATION = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)(ms|s|m|h|d)")
_STATUS = re.compile(r"[1-9](?:[0-9]{2}|xx)")


class BadQuery(ValueError):
    """A parameter is unknown or has an invalid value. The text names the parameter and the remedy."""


class HistoryQuery(msgspec.Struct, frozen=True):
    """The conditions that a call must match; None: no condition. `status` is `502` or `5xx`. `since` and `until` are
    epoch milliseconds, inclusive. The result is the newest `limit` calls.
    """

    instance_id: str | None = None
    request_id: str | None = None
    route: str | None = None
    client: str | None = None
    caller: str | None = None
    status: str | None = None
    since: int = MIN_TIME
    until: int = MAX_TIME
    limit: int = DEFAULT_LIMIT
    trace_id: str | None = None

    def exact_fields(self) -> list[tuple[str, str]]:
        """Return the fields of the record that must be equal to a text, with this text."""
        fields = ("instance_id", "request_id", "trace_id", "route", "client", "caller")
        return [(field, text) for field in fields if (text := getattr(self, field)) is not None]


def parse_query(pairs: Iterable[tuple[str, str]], *, now: float) -> HistoryQuery:
    """Read the parameters of a URL, as names and values, at the time `now` (epoch seconds).

    `id`, `request_id`, `route`, `client`, `caller`, `trace_id`, `status`, `since`, `until`, `limit`, each at most once.
    Raise BadQuery.
    """
    values = read_parameters(pairs, _PARAMETERS, now=now)
    return HistoryQuery(**values)  # type: ignore[arg-type] # each reader returns the type of its field


def read_parameters(
    pairs: Iterable[tuple[str, str]], parameters: Mapping[str, ParameterReader], *, now: float
) -> dict[str, object]:
    """Return the values of a URL's parameters by field; each parameter may occur once. Raise BadQuery."""
    values: dict[str, object] = {}
    for name, text in pairs:
        field, read = parameters.get(name) or _reject_unknown(name, parameters)
        if field in values:
            raise BadQuery(f"`{name}` occurs twice; write it once")
        if not text:
            raise BadQuery(f"`{name}` is empty; write a value or leave it out")
        values[field] = read(name, text, now)
    since, until = values.get("since", MIN_TIME), values.get("until", MAX_TIME)
    assert isinstance(since, int)
    assert isinstance(until, int)
    if since > until:
        raise BadQuery("`since` is later than `until`; swap them")
    return values


def parse_time(text: str) -> int:
    """Return the epoch milliseconds of an ISO 8601 time; UTC if it has no zone. Raise ValueError."""
    time = datetime.fromisoformat(text)
    time = time.replace(tzinfo=UTC) if time.tzinfo is None else time
    return round(time.timestamp() * 1000)


def format_time(milliseconds: int) -> bytes:
    """Return epoch milliseconds as the time in a line."""
    return timestamp(milliseconds / 1000 + 0.0001).encode()  # 0.1 ms more, so that it is not cut to the one before


def time_of(line: bytes) -> bytes:
    """Return the arrival time in a line. These texts sort by time."""
    return line[TIME_SLICE]


def filter_lines(query: HistoryQuery, lines: Sequence[bytes]) -> Sequence[bytes]:
    """Return the matching lines in their order. Ignore the `limit`."""
    for needle in _needles(query):
        lines = [line for line in lines if needle in line]
    since, until = format_time(query.since), format_time(query.until)
    return [line for line in lines if since <= line[TIME_SLICE] <= until]


def newest_lines(lines: Iterable[bytes], limit: int) -> list[bytes]:
    """Return the newest lines, newest first; lines of the same millisecond keep their order."""
    return sorted(lines, key=time_of, reverse=True)[:limit]


def _needles(query: HistoryQuery) -> Iterable[bytes]:
    for field, text in query.exact_fields():
        yield json_line({field: text})[1:-2]
    if query.status is not None:
        digits = query.status.rstrip("x")
        yield f'"status":{digits}'.encode() + (b"," if digits == query.status else b"")


def _read_text(_: str, text: str, __: float) -> str:
    return text


def _read_trace_id(_: str, text: str, __: float) -> str:
    return text.lower()  # as W3C Trace Context writes it


def _read_id(_: str, text: str, __: float) -> str:
    return text[:MAX_ID]  # as it is cut in the record


def _read_status(name: str, text: str, _: float) -> str:
    if not _STATUS.fullmatch(text.lower()):
        raise BadQuery(f"`{name}` is not a status; write one like 502, or a class like 5xx")
    return text.lower()


def _read_limit(name: str, text: str, _: float) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 9 and 1 <= int(text) <= MAX_LIMIT):
        raise BadQuery(f"`{name}` must be a number from 1 to {MAX_LIMIT}; write one like 50")
    return int(text)


def read_time(name: str, text: str, now: float) -> int:
    """Read a time, or an age before `now`, as epoch milliseconds. Raise BadQuery."""
    if duration := _DURATION.fullmatch(text):
        time = round(now * 1000 - float(duration[1]) * _UNITS[duration[2]])
    else:
        time = _read_date(name, text)
    return min(max(time, MIN_TIME), MAX_TIME)


def _read_date(name: str, text: str) -> int:
    try:
        return parse_time(text.replace(" ", "+"))  # a `+` in a URL may have been decoded as a space
    except ValueError:
        remedy = "write one like 2026-01-31T12:00:00Z, or an age like 1h (ms, s, m, h, d)"
        raise BadQuery(f"`{name}` is not a time; {remedy}") from None


def _reject_unknown(name: str, parameters: Mapping[str, ParameterReader]) -> NoReturn:
    similar = difflib.get_close_matches(name[:64], parameters, 1)
    label = f"`{name}`" if name.isprintable() and len(name) <= 64 else "a parameter"
    remedy = f"did you mean `{similar[0]}`?" if similar else f"use one of {', '.join(parameters)}"
    raise BadQuery(f"{label} is unknown; {remedy}")


_PARAMETERS: dict[str, ParameterReader] = {
    "id": ("instance_id", _read_id),
    "request_id": ("request_id", _read_text),
    "route": ("route", _read_text),
    "client": ("client", _read_text),
    "caller": ("caller", _read_text),
    "trace_id": ("trace_id", _read_trace_id),
    "status": ("status", _read_status),
    "since": ("since", read_time),
    "until": ("until", read_time),
    "limit": ("limit", _read_limit),
}
