"""What the commands share that query a running gateway, and else its history file."""

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from gateway.admin.client import AdminUnavailable, fetch, mapping
from gateway.observe.record import escape_unprintable

USAGE, UNAVAILABLE = 2, 69
TIMEOUT = 10.0
"""Maximum seconds of a query."""
_MAX_BYTES = 128 * 1024 * 1024  # of a response
_GAP = "  "

Parameters = list[tuple[str, str]]


class QueryFailed(Exception):
    """There is no result; `status` is the exit status."""

    def __init__(self, message: str, *, status: int = UNAVAILABLE) -> None:
        super().__init__(message)
        self.status = status


def fetch_or_read(
    address: str, query: tuple[str, Parameters], key: str, read: Callable[[str], bytes]
) -> dict[str, Any]:
    """Return the document of a path and its parameters at the admin port at `address`, with its bytes as `text`.

    If no gateway responds, `read` returns the same document from a file, or raises QueryFailed with the text that it is
    given. `key` names the list that the document has. Raise QueryFailed.
    """
    path, parameters = query
    try:
        target = f"{path}?{urlencode(parameters, errors='surrogateescape')}"  # a shell passes any bytes
        status, body = fetch(address, target, timeout=TIMEOUT, limit=_MAX_BYTES)
    except AdminUnavailable as error:
        status, body = 200, read(f"no gateway responds at {error}")
    answer = mapping(body)
    if status != 200 or not isinstance(answer.get(key), list):
        message = answer.get("detail") or f"the response {status} of {address} is not that of a gateway"
        raise QueryFailed(str(message), status=USAGE if status == 400 and answer else UNAVAILABLE)
    return {**answer, "text": body.decode()}


def name_options(message: str, flags: Mapping[str, tuple[str, str, str]]) -> str:
    """Return the message with the options of the command line in place of the parameters."""
    for name, (flag, _, _) in flags.items():
        message = message.replace(f"`{name}`", flag)
    return message


def align(rows: Sequence[Sequence[str]], *, numbers: Sequence[bool]) -> list[str]:
    """Return the rows as lines with aligned columns; `numbers` are the columns that are aligned to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [_GAP.join(map(_aligned, row, widths, numbers)).rstrip() for row in rows]


def print_error(message: str) -> None:
    """Write one line to standard error."""
    sys.stderr.write(f"{escape_unprintable(message)}\n")


def _aligned(cell: str, width: int, is_number: object) -> str:
    return cell.rjust(width) if is_number else cell.ljust(width)
