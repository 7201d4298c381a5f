"""Query a running gateway, or else its history file: what the commands `instances` and `usage` share."""

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from gateway.admin.client import AdminUnavailable, fetch, parse_object
from gateway.history.query import BadQuery
from gateway.observe.record import escape_unprintable

_USAGE, _UNAVAILABLE = 2, 69
TIMEOUT = 10.0
"""Maximum seconds of a query."""
MAX_BYTES = 128 * 1024 * 1024
"""Largest size of a response."""
_GAP = "  "

Parameters = list[tuple[str, str]]
Flags = Mapping[str, tuple[str, str, str]]
"""By parameter of the admin port: option, form of the value, meaning."""


class QueryFailed(Exception):
    """There is no result; `status` is the exit status."""

    def __init__(self, message: str, *, status: int = _UNAVAILABLE) -> None:
        super().__init__(message)
        self.status = status


def fetch_or_read(address: str, name: str, parameters: Parameters, read: Callable[[str], bytes]) -> dict[str, Any]:
    """Return the document `/NAME` of the admin port at `address`, which has a list `NAME`; its text is in `text`.

    If no gateway responds, `read` is called with the reason. It returns the same document from a file, or raises
    QueryFailed. Raise QueryFailed also for any other response.
    """
    try:
        target = f"/{name}?{urlencode(parameters, errors='surrogateescape')}"  # a shell passes any bytes
        status, body = fetch(address, target, timeout=TIMEOUT, limit=MAX_BYTES)
    except AdminUnavailable as error:
        status, body = 200, read(f"no gateway responds at {error}")
    document = parse_object(body)
    if status != 200 or not isinstance(document.get(name), list):
        message = document.get("detail") or f"the response {status} of {address} is not that of a gateway"
        raise QueryFailed(str(message), status=_USAGE if status == 400 and document else _UNAVAILABLE)
    return {**document, "text": body.decode()}


def print_failure(error: BadQuery | QueryFailed, flags: Flags) -> int:
    """Print why there is no result, with options in place of parameters. Return the exit status."""
    message = str(error)
    if isinstance(error, QueryFailed):
        print_error(message)
        return error.status
    for name, (flag, _, _) in flags.items():
        message = message.replace(f"`{name}`", flag)
    print_error(message)
    return _USAGE


def align(rows: Sequence[Sequence[str]], *, numbers: Sequence[bool]) -> list[str]:
    """Return the rows as lines with aligned columns; `numbers`: which columns are aligned to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [_GAP.join(map(_pad, row, widths, numbers)).rstrip() for row in rows]


def print_error(message: str) -> None:
    """Write one line to standard error."""
    sys.stderr.write(f"{escape_unprintable(message)}\n")


def _pad(cell: str, width: int, is_number: object) -> str:
    return cell.rjust(width) if is_number else cell.ljust(width)
