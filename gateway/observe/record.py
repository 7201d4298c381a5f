"""The record: what is logged of one request, exactly one line on every exit path.

The request pipeline fills a `Record`; `line` makes it JSON for machines, `text` a row for a person at a terminal. The
names of the fields are a contract with the queries of operators.
"""

import msgspec

from gateway.observe.json_line import escape_surrogates, json_line
from gateway.observe.secret_mask import mask, mask_start

FIELDS = (
    *("time", "level", "event", "request_id", "route", "credential", "client", "method", "path", "status"),
    *("duration_ms", "upstream_ms", "token_wait_ms", "attempts", "upstream_status", "instance_id", "opc_request_id"),
    *("bytes_in", "bytes_out", "error", "caller", "queue_ms", "messages"),
)


LONGEST_PATH, LONGEST_METHOD, LONGEST_ID, LONGEST_REASON = 1024, 32, 128, 512
"""Maximum characters of values that callers, OIC and identity domains choose: a line fits into PIPE_BUF."""


class Record(msgspec.Struct):
    """What is known of one request so far; unknown is None.

    `time` is the start of the request as `timestamp` writes it, `*_ms` are milliseconds, `bytes_*` count bodies,
    `attempts` are attempts upstream, `messages` those that OIC bills at least, `error` is a code of `gateway.errors`,
    `reason` is for operators only and left out if there is none. The order is that of the line.
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
    messages: int = 0
    reason: str | msgspec.UnsetType | None = None


def level(record: Record) -> str:
    """Return `error` for a defect of the gateway, `warning` for any other error or an upstream 5xx, else `info`."""
    if record.error is not None:
        return "error" if record.error == "internal" else "warning"
    if record.upstream_status is not None and record.upstream_status >= 500:
        return "warning"
    return "info"


def line(record: Record) -> bytes:
    """Return the record as one JSON line: all `FIELDS` in their order, null if unknown, `reason` only if set.

    It rounds and cuts the values of the record itself; a second call changes nothing.
    """
    record.level = level(record)
    path, upstream_ms = record.path, record.upstream_ms
    if path is not None and (path[:1] != "/" or "?" in path):
        path = record.path = _bare(path)
    if path is not None and len(path) > LONGEST_PATH:
        record.path = path[:LONGEST_PATH]
    _cut(record)
    # Add half a microsecond and cut: three decimals at half the cost of round().
    record.duration_ms = int(record.duration_ms * 1000 + 0.5) / 1000
    if upstream_ms is not None:
        record.upstream_ms = int(upstream_ms * 1000 + 0.5) / 1000
    if record.token_wait_ms:
        record.token_wait_ms = int(record.token_wait_ms * 1000 + 0.5) / 1000
    if record.queue_ms:
        record.queue_ms = int(record.queue_ms * 1000 + 0.5) / 1000
    record.reason = mask_start(record.reason, LONGEST_REASON) if record.reason else msgspec.UNSET
    return json_line(record)


def _cut(record: Record) -> None:
    """Cut texts of others to their maximum; paths are cleaned and cut separately."""
    method, instance_id, opc_request_id = record.method, record.instance_id, record.opc_request_id
    if method is not None and len(method) > LONGEST_METHOD:
        record.method = method[:LONGEST_METHOD]
    if instance_id is not None and len(instance_id) > LONGEST_ID:
        record.instance_id = instance_id[:LONGEST_ID]
    if opc_request_id is not None and len(opc_request_id) > LONGEST_ID:
        record.opc_request_id = opc_request_id[:LONGEST_ID]


_PAINT = {"info": "\x1b[32m", "warning": "\x1b[33m", "error": "\x1b[31m"}
_PLAIN = "\x1b[0m"


def text(record: Record, *, colour: bool = False) -> str:
    """Return the record as one short aligned row without a line feed; control characters are escaped."""
    _cut(record)
    status = f"{record.status or '-':>3}"
    if colour:
        status = f"{_PAINT[level(record)]}{status}{_PLAIN}"
    head = f"{record.time[11:-1]} {status} {visible(record.method or '-'):<6}"
    timing = f"{record.duration_ms:>8.1f} ms  {visible(record.route or '-'):<16}"
    notes = (
        ("attempts", str(record.attempts) if record.attempts > 1 else None),
        ("caller", record.caller),
        ("instance", record.instance_id),
        ("error", record.error),
        ("reason", mask_start(record.reason, LONGEST_REASON) if record.reason else None),
        ("request", record.request_id if record.error else None),
    )
    tail = "".join(f"  {name}={visible(value)}" for name, value in notes if value)
    return f"{head} {timing} {visible((_bare(record.path) or '-')[:LONGEST_PATH])}{tail}"


def visible(value: str) -> str:
    """Return `value` with every character escaped that a terminal interprets or that breaks a line."""
    if value.isprintable():
        return value
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in escape_surrogates(value)
    )


def _bare(path: str | None) -> str | None:
    """Return `path` without its query and an absolute-form target without user information: both may be secret."""
    if path is None:
        return None
    if "?" in path:
        path = path[: path.index("?")]
    return path if path[:1] == "/" else mask(path)
