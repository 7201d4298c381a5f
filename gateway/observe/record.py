"""The record of one request: every request is logged in exactly one line, however it ends. Pure.

The request pipeline fills a `Record`. `complete_records` prepares many of them to be written, `complete_record` one: as
JSON (`record_line`), or as readable text for a terminal (`record_text`). The names of the fields are stable: queries of
operators use them.
"""

from collections.abc import Sequence
from operator import attrgetter, methodcaller

import msgspec
from msgspec import UNSET, UnsetType

from gateway.observe.json_line import escape_surrogates, json_line
from gateway.observe.secret_mask import mask, mask_start

FIELDS = (
    *("time", "level", "event", "request_id", "route", "credential", "client", "method", "path", "status"),
    *("duration_ms", "upstream_ms", "token_wait_ms", "attempts", "upstream_status", "instance_id", "opc_request_id"),
    *("bytes_in", "bytes_out", "error", "caller", "queue_ms", "trace_id", "messages"),
)

METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))
"""The usual methods."""
MAX_PATH, MAX_METHOD, MAX_ID, MAX_REASON = 1024, 32, 128, 512
"""Maximum characters of values that callers, OIC and identity domains choose. With them, a line fits into PIPE_BUF."""

_CHECKED = attrgetter("error", "reason", "upstream_status", "method", "path", "instance_id", "opc_request_id")
_USUAL_STATUSES = frozenset(range(100, 500))
_STARTS_WITH_SLASH = methodcaller("startswith", "/")


class Record(msgspec.Struct):
    """The known facts of one request; None: unknown.

    `time` is the arrival as `timestamp` writes it. `*_ms` are milliseconds with three decimals, `bytes_*` sizes of
    bodies, `attempts` is the number of attempts upstream, `messages` the minimum number of messages that OIC bills.
    `error` is a code of `gateway.errors`. `reason` is for operators; the line omits it if it is not set. The fields are
    in the order of the line.
    """

    time: str = ""
    level: str = "info"
    event: str = "request"
    request_id: str | None = None
    route: str | None = None
    credential: str | None = None
    client: str | None = None
    method: str | None = None
    path: str | None = None
    status: int | None = None
    duration_ms: float = 0.0
    upstream_ms: float | None = None
    token_wait_ms: float = 0.0
    attempts: int = 0
    upstream_status: int | None = None
    instance_id: str | None = None
    opc_request_id: str | None = None
    bytes_in: int = 0
    bytes_out: int = 0
    error: str | None = None
    caller: str | None = None
    queue_ms: float | None = None
    trace_id: str | None = None
    messages: int = 0
    reason: str | UnsetType = UNSET


def record_level(record: Record) -> str:
    """Return `error` for a defect of the gateway, `warning` for any other error or an upstream 5xx, else `info`."""
    if record.error is not None:
        return "error" if record.error == "internal" else "warning"
    if record.upstream_status is not None and record.upstream_status >= 500:
        return "warning"
    return "info"


def record_line(record: Record) -> bytes:
    """Return the record, completed, as one JSON line: all `FIELDS` in their order, null if unknown, `reason` only if
    set.
    """
    complete_record(record)
    return json_line(record)


def complete_records(records: Sequence[Record]) -> None:
    """Complete records as `complete_record` does. Usual records are complete: nothing of them is to be hidden or cut.
    To see this of many at once costs little.
    """
    errors, reasons, statuses, methods, paths, instance_ids, request_ids = zip(*map(_CHECKED, records), strict=True)
    if (
        any(errors)
        or reasons.count(UNSET) < len(reasons)
        or not _USUAL_STATUSES.issuperset(statuses)
        or not METHODS.issuperset(methods)
        or None in paths
        or not all(map(_STARTS_WITH_SLASH, paths))
        or "?" in "".join(paths)
        or max(map(len, paths)) > MAX_PATH
        or max(map(len, filter(None, instance_ids + request_ids)), default=0) > MAX_ID
    ):
        for record in records:
            complete_record(record)


def complete_record(record: Record) -> None:
    """Set the level, and hide or cut what callers, OIC and identity domains may have sent, so that the record can be
    written. A second call changes nothing.
    """
    record.level = record_level(record)
    path = remove_secret_parts(record.path)
    record.path = path and path[:MAX_PATH]
    _truncate(record)
    record.reason = mask_start(record.reason, MAX_REASON) if record.reason else UNSET


def _truncate(record: Record) -> None:
    """Cut the method and the ids to their maximum lengths."""
    record.method = record.method and record.method[:MAX_METHOD]
    record.instance_id = record.instance_id and record.instance_id[:MAX_ID]
    record.opc_request_id = record.opc_request_id and record.opc_request_id[:MAX_ID]


_LEVEL_COLOURS = {"info": "\x1b[32m", "warning": "\x1b[33m", "error": "\x1b[31m"}
RESET_COLOUR = "\x1b[0m"


def record_text(record: Record, *, colour: bool = False) -> str:
    """Return the record as one short row of text without a line feed. Control characters are escaped."""
    _truncate(record)
    status = f"{record.status or '-':>3}"
    if colour:
        status = f"{_LEVEL_COLOURS[record_level(record)]}{status}{RESET_COLOUR}"
    head = f"{record.time[11:]} {status} {escape_unprintable(record.method or '-'):<6}"
    timing = f"{record.duration_ms:>8.1f} ms  {escape_unprintable(record.route or '-'):<16}"
    notes = (
        ("attempts", str(record.attempts) if record.attempts > 1 else None),
        ("caller", record.caller),
        ("instance", record.instance_id),
        ("error", record.error),
        ("reason", mask_start(record.reason, MAX_REASON) if record.reason else None),
        ("request", record.request_id if record.error else None),
    )
    tail = "".join(f"  {name}={escape_unprintable(value)}" for name, value in notes if value)
    return f"{head} {timing} {escape_unprintable((remove_secret_parts(record.path) or '-')[:MAX_PATH])}{tail}"


def escape_unprintable(value: str) -> str:
    """Return `value` with escapes for every character that a terminal interprets or that ends a line."""
    if value.isprintable():
        return value
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in escape_surrogates(value)
    )


def remove_secret_parts(path: str | None) -> str | None:
    """Return `path` without a query, and without the user information of an absolute-form target:
    they may be secret.
    """
    if path is None:
        return None
    if "?" in path:
        path = path[: path.index("?")]
    return path if path[:1] == "/" else mask(path)
