"""Log lines of calls, queries and a clock for tests of the history."""

from dataclasses import dataclass
from typing import Any

from gateway.history.interface import HistoryLimits
from gateway.history.query import HistoryQuery, parse_query
from gateway.observe.record import Record, record_line
from gateway.observe.timestamp import timestamp

START = 1_769_860_800.0
"""2026-01-31T12:00:00Z."""
EVERYTHING = HistoryLimits(calls=None, keep=1e9, size=1 << 40)


@dataclass
class ManualClock:
    """A clock that tests set: seconds since the epoch."""

    now: float = START

    def __call__(self) -> float:
        return self.now


def call_line(number: int, **fields: Any) -> bytes:
    """The line of call `number`, which arrived this number of seconds after `START`."""
    facts: dict[str, Any] = {
        "time": timestamp(START + number),
        "request_id": f"request-{number}",
        "instance_id": f"instance-{number}",
        "route": "orders",
        "client": "127.0.0.1",
        "status": 200,
    }
    return record_line(Record(**facts | fields))


def query_of(at: float = START, /, **parameters: str) -> HistoryQuery:
    """The query of these parameters of a URL at the time `at`."""
    return parse_query(parameters.items(), now=at)
