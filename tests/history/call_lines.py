"""Lines of calls for tests, and a clock that is turned by hand."""

from dataclasses import dataclass
from typing import Any

from gateway.history.interface import HistoryLimits
from gateway.history.query import HistoryQuery, parse
from gateway.observe.record import Record, line
from gateway.observe.timestamp import timestamp

START = 1_769_860_800.0
"""2026-01-31T12:00:00Z."""
EVERYTHING = HistoryLimits(calls=None, keep=1e9, size=1 << 40)


@dataclass
class Turned:
    """Seconds since the epoch."""

    now: float = START

    def __call__(self) -> float:
        return self.now


def call_line(number: int, **more: Any) -> bytes:
    """The line of a call, one each second."""
    facts: dict[str, Any] = {
        "time": timestamp(START + number),
        "request_id": f"request-{number}",
        "instance_id": f"instance-{number}",
        "route": "orders",
        "client": "127.0.0.1",
        "status": 200,
    }
    return line(Record(**facts | more))


def asked(at: float = START, /, **given: str) -> HistoryQuery:
    return parse(given.items(), now=at)
