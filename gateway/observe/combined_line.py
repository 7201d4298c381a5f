"""A record as a line of the combined log format of Apache. Pure."""

from gateway.observe.record import MAX_PATH, Record, escape_unprintable, remove_secret_parts

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def combined_line(record: Record) -> bytes:
    """Return the record as one line: client, caller, time in UTC, request line, status, size of the response body. The
    record has no protocol, referrer and user agent: they are HTTP/1.1 and `-`.
    """
    path = (remove_secret_parts(record.path) or "-")[:MAX_PATH]
    request = f"{_quoted(record.method or '-')} {_quoted(path)} HTTP/1.1"
    who = f"{_word(record.client)} - {_word(record.caller)}"
    row = f'{who} [{_time(record.time)}] "{request}" {record.status or "-"} {record.bytes_out or "-"} "-" "-"\n'
    return row.encode()


def _time(time: str) -> str:
    """Return `2026-01-31T12:00:00.123Z` as `31/Jan/2026:12:00:00 +0000`."""
    return f"{time[8:10]}/{_MONTHS[int(time[5:7]) - 1]}/{time[:4]}:{time[11:19]} +0000"


def _word(text: str | None) -> str:
    return _quoted(text).replace(" ", "\\x20") if text else "-"


def _quoted(text: str) -> str:
    return escape_unprintable(text.replace("\\", "\\\\").replace('"', '\\"'))
