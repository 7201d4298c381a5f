"""What is searched for: parameters as a `Query`, and whether a line answers it. Pure.

Lines are those of the log (`observe.record`), which begin with their time. They are searched as they are: a JSON string
holds no bare quote, so that `"route":"orders"` stands in a line where the field is that and nowhere else.
"""

import difflib
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from gateway.observe.json_line import json_line
from gateway.observe.record import LONGEST_ID
from gateway.observe.timestamp import timestamp

FIRST, LAST = 0, (1 << 43) - 2
"""Milliseconds since the epoch: the instants that a query knows; the last one is in the year 2248."""
USUAL, MOST = 20, 10_000
"""How many calls are shown unless it is said, and at most."""

_UNITS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_DURATION = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)(ms|s|m|h|d)")
_STATUS = re.compile(r"[1-9](?:[0-9]{2}|xx)")


class BadQuery(ValueError):
    """A parameter is not known, or its value is none; the text names it and what to write."""


@dataclass(frozen=True, slots=True)
class HistoryQuery:
    """What the calls must have in common; None: anything. `status` is `502` or `5xx`; `since` and `until` count in
    milliseconds since the epoch and belong to it. The newest `limit` of those calls are the answer.
    """

    instance_id: str | None = None
    request_id: str | None = None
    route: str | None = None
    client: str | None = None
    status: str | None = None
    since: int = FIRST
    until: int = LAST
    limit: int = USUAL

    def texts(self) -> list[tuple[str, str]]:
        """The fields of the record that must have a certain text."""
        fields = ("instance_id", "request_id", "route", "client")
        return [(field, text) for field in fields if (text := getattr(self, field)) is not None]


def parse(given: Iterable[tuple[str, str]], *, now: float) -> HistoryQuery:
    """The query that these parameters, as in a URL, ask for at `now` (seconds since the epoch).

    `id`, `request_id`, `route`, `client`, `status`, `since`, `until`, `limit`, each at most once. Raises BadQuery.
    """
    values: dict[str, object] = {}
    for name, text in given:
        field, read = _PARAMETERS.get(name) or _unknown(name)
        if field in values:
            raise BadQuery(f"`{name}` stands twice; write it once")
        if not text:
            raise BadQuery(f"`{name}` is empty; write a value, or leave it out")
        values[field] = read(name, text, now)
    query = HistoryQuery(**values)  # type: ignore[arg-type] # each reader gives what its field is
    if query.since > query.until:
        raise BadQuery("`since` is later than `until`; exchange them")
    return query


def instant(text: str) -> int:
    """Milliseconds since the epoch of an ISO 8601 time, UTC where it names no zone. Raises ValueError."""
    moment = datetime.fromisoformat(text)
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
    return round(moment.timestamp() * 1000)


def spelt(moment: int) -> bytes:
    """Milliseconds since the epoch as a line begins with them."""
    return timestamp(moment / 1000 + 0.0001).encode()  # a tenth up: what is cut must not fall below the millisecond


def time_of(line: bytes) -> bytes:
    """When the call of the line came; in the order of time."""
    return line[9:33]  # after `{"time":"`


def filter_lines(query: HistoryQuery, lines: Sequence[bytes]) -> Sequence[bytes]:
    """Those of the lines that answer the query, whatever its `limit`, in the order in which they stand."""
    for needle in _needles(query):
        lines = [line for line in lines if needle in line]
    since, until = spelt(query.since), spelt(query.until)
    return [line for line in lines if since <= line[9:33] <= until]


def newest(lines: Iterable[bytes], limit: int) -> list[bytes]:
    """The newest of these lines, newest first; of one millisecond those ahead that stand ahead."""
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
        raise BadQuery(f"`{name}` is no status; write one like 502, or a class like 5xx")
    return text.lower()


def _limit(name: str, text: str, _: float) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 9 and 1 <= int(text) <= MOST):
        raise BadQuery(f"`{name}` is no number from 1 to {MOST}; write one, like 50")
    return int(text)


def _moment(name: str, text: str, now: float) -> int:
    """An instant, or a duration back from now."""
    if duration := _DURATION.fullmatch(text):
        moment = round(now * 1000 - float(duration[1]) * _UNITS[duration[2]])
    else:
        moment = _instant(name, text)
    return min(max(moment, FIRST), LAST)


def _instant(name: str, text: str) -> int:
    try:
        return instant(text.replace(" ", "+"))  # what a `+` in a URL may have become
    except ValueError:
        told = "write one like 2026-01-31T12:00:00Z, or how long ago like 1h (ms, s, m, h, d)"
        raise BadQuery(f"`{name}` is no time; {told}") from None


def _unknown(name: str) -> tuple[str, Callable[[str, str, float], object]]:
    near = difflib.get_close_matches(name[:64], _PARAMETERS, 1)
    shown = f"`{name}`" if name.isprintable() and len(name) <= 64 else "a parameter"
    remedy = f"did you mean `{near[0]}`?" if near else f"there are {', '.join(_PARAMETERS)}"
    raise BadQuery(f"{shown} is not known; {remedy}")


_PARAMETERS: dict[str, tuple[str, Callable[[str, str, float], object]]] = {
    "id": ("instance_id", _id),
    "request_id": ("request_id", _text),
    "route": ("route", _text),
    "client": ("client", _text),
    "status": ("status", _status),
    "since": ("since", _moment),
    "until": ("until", _moment),
    "limit": ("limit", _limit),
}
