"""Calls as a template shows them, from the records of the history. Pure."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from gateway.console.view_state import Tone, call_tone, page_url
from gateway.errors import ERRORS, GatewayError

FILTERS = ("id", "request_id", "route", "caller", "client", "status", "since", "until", "limit")
"""The parameters of a search, those of `/instances`."""
TIMELINE_WIDTH = 1000
_LABELS = {"queue": "Queue", "token": "Token wait", "upstream": "Upstream", "delivery": "Delivery and the rest"}
_BY_CODE: dict[str, type[GatewayError]] = {error.code: error for error in ERRORS}


@dataclass(frozen=True, slots=True)
class CallRow:
    """One call in a table."""

    time: str
    request_id: str
    href: str
    route: str | None
    caller: str | None
    client: str | None
    method: str
    path: str
    status: int | None
    duration_ms: float
    error: str | None
    instance_id: str | None
    tone: Tone


@dataclass(frozen=True, slots=True)
class CallPart:
    """A part of the duration of a call. `x` and `width` are its place in a bar of `TIMELINE_WIDTH`."""

    kind: str
    label: str
    milliseconds: float
    percent: float
    x: float
    width: float


@dataclass(frozen=True, slots=True)
class ErrorText:
    """The meaning of an error code of the gateway."""

    code: str
    blame: str
    meaning: str
    remedy: str


@dataclass(frozen=True, slots=True)
class CallDetail:
    """One call with all facts of its record; `error` only if the gateway made the response."""

    row: CallRow
    parts: tuple[CallPart, ...]
    error: ErrorText | None
    credential: str | None
    opc_request_id: str | None
    upstream_status: int | None
    attempts: int
    bytes_in: int
    bytes_out: int
    messages: int
    reason: str | None


def call_rows(lines: Iterable[bytes]) -> tuple[CallRow, ...]:
    """Return the records of calls, JSON lines, as rows in their order."""
    return tuple(call_row(json.loads(line)) for line in lines)


def call_row(record: Mapping[str, Any]) -> CallRow:
    """Return one record as a row."""
    request_id = record["request_id"] or ""
    return CallRow(
        record["time"],
        request_id,
        page_url("calls", request_id),
        record["route"],
        record.get("caller"),
        record["client"],
        record["method"] or "–",  # noqa: RUF001 - an en dash in place of a value
        record["path"] or "",
        record["status"],
        record["duration_ms"],
        record["error"],
        record["instance_id"],
        call_tone(record["status"], record["error"], record["level"]),
    )


def call_detail(record: Mapping[str, Any]) -> CallDetail:
    """Return one record with the parts of its duration and the meaning of its error."""
    error = _BY_CODE.get(record["error"] or "")
    text = ErrorText(error.code, error.blame, error.meaning, error.remedy) if error is not None else None
    return CallDetail(
        call_row(record),
        call_parts(record),
        text,
        record["credential"],
        record["opc_request_id"],
        record["upstream_status"],
        record["attempts"],
        record["bytes_in"],
        record["bytes_out"],
        record.get("messages", 0),
        record.get("reason"),
    )


def call_parts(record: Mapping[str, Any]) -> tuple[CallPart, ...]:
    """Return how the duration of a call divides: waiting for a place, for a token, the upstream, and the rest."""
    total = record["duration_ms"]
    measured = {
        "queue": record.get("queue_ms") or 0.0,
        "token": record["token_wait_ms"] or 0.0,
        "upstream": record["upstream_ms"] or 0.0,
    }
    measured["delivery"] = max(0.0, total - sum(measured.values()))
    whole = sum(measured.values()) or 1.0
    parts, x = [], 0.0
    for kind, milliseconds in measured.items():
        width = TIMELINE_WIDTH * milliseconds / whole
        parts.append(
            CallPart(kind, _LABELS[kind], milliseconds, 100 * milliseconds / whole, round(x, 2), round(width, 2))
        )
        x += width
    return tuple(parts)


def form_values(query: Mapping[str, str]) -> dict[str, str]:
    """Return the text of each field of the search form."""
    return {name: query.get(name, "") for name in FILTERS}


def search_pairs(query: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return the parameters of a search. A form also sends its empty fields; they are no conditions."""
    return [(name, text.strip()) for name, text in query.items() if text.strip()]
