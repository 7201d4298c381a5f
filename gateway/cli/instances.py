"""The command `instances`: search the last calls of a running gateway, or of the history file of a stopped one."""

import argparse
import re
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import urlencode

from gateway.admin.client import AdminUnavailable, fetch, mapping
from gateway.cli.options import add_file_arguments, admin_address, load_if_found
from gateway.history.interface import Unsearchable, document
from gateway.history.query import DEFAULT_LIMIT, BadQuery, parse
from gateway.observe.record import visible

EXAMPLE = "oic-gateway instances --status 5xx --since 1h"
EXIT_STATUS = {
    0: "calls were found",
    1: "nothing matches",
    69: "no gateway responds, and there is no history file",
    78: "",
}
FOUND, NOTHING, USAGE, UNAVAILABLE = 0, 1, 2, 69
_TIMEOUT = 10.0
_MAX_BYTES = 128 * 1024 * 1024  # of a response
_MAX_CELL = 60  # characters
_GAP = "  "
_DASHED_ID = re.compile(r"-[A-Za-z0-9_-]{21}")  # base64url, the form of an OIC 3 instance id; no option is as long
_MARK = "\0"  # keeps argparse from reading an id as an option; no word of a command line has this character

Parameters = list[tuple[str, str]]
HistoryPlace = tuple[str, float]
"""The history file of a gateway, and for how many seconds it keeps calls."""


class QueryFailed(Exception):
    """There is no result; `status` is the exit status."""

    def __init__(self, message: str, *, status: int = UNAVAILABLE) -> None:
        super().__init__(message)
        self.status = status


# By parameter of the admin port: option, shape of the value, meaning.
_FLAGS = {
    "request_id": ("--request-id", "ID", "request id that the caller or the gateway set"),
    "route": ("--route", "NAME", "name of the route"),
    "client": ("--client", "ADDRESS", "address of the caller"),
    "status": ("--status", "STATUS", "status of the response: 502, or a class such as 5xx"),
    "since": ("--since", "TIME", "earliest time: 2026-01-31T12:00:00Z, or an age: 1h"),
    "until": ("--until", "TIME", "latest time, in the same forms"),
    "limit": ("--limit", "NUMBER", f"number of calls, newest first; default {DEFAULT_LIMIT}"),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("id", metavar="ID", nargs="?", type=_unmarked, help="instance id of OIC; default: any")
    add_file_arguments(parser)
    parser.add_argument(
        "--admin", metavar="HOST:PORT", help="admin address, in place of the configuration's (or OIC_GATEWAY_ADMIN)"
    )
    for name, (flag, shape, meaning) in _FLAGS.items():
        parser.add_argument(flag, dest=name, metavar=shape, type=_unmarked, help=meaning)
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of a table")


def prepare_words(words: list[str]) -> list[str]:
    """Mark each instance id that begins with a dash, so that argparse does not read it as an option."""
    return [_MARK + word if _DASHED_ID.fullmatch(word) else word for word in words]


def _unmarked(word: str) -> str:
    return word.removeprefix(_MARK)


def run(options: argparse.Namespace) -> int:
    """Search the running gateway, else its history file; print the calls. Return the exit status."""

    def history_file() -> HistoryPlace | None:
        config = load_if_found(options)
        if config is None:
            return None
        from gateway.wiring.history import history_file  # noqa: PLC0415 - only without a running gateway

        return history_file(config)

    return search(options, admin_address(options), history_file)


def search(options: argparse.Namespace, address: str, history_file: Callable[[], HistoryPlace | None]) -> int:
    """Search by the admin port at `address`, else in `history_file()`; print the calls. Return the exit status."""
    parameters = [(name, value) for name in ("id", *_FLAGS) if (value := getattr(options, name)) is not None]
    try:
        query = parse(parameters, now=time.time())
        answer = _fetch_or_read(address, parameters, history_file)
    except BadQuery as error:
        _print_error(_name_options(str(error)))
        return USAGE
    except QueryFailed as error:
        _print_error(str(error))
        return error.status
    found: list[dict[str, Any]] = answer["instances"]
    if options.json:
        sys.stdout.write(answer["text"])
    else:
        sys.stdout.writelines(f"{row}\n" for row in table(found))
        _print_error(_summary(answer, is_cut=len(found) == query.limit))
    return FOUND if found else NOTHING


def table(records: Sequence[dict[str, Any]]) -> list[str]:
    """Return the records as aligned rows below a header row; no rows if there are no records."""
    if not records:
        return []
    rows = [[name for name, _ in _COLUMNS], *([_cell(record, *column) for column in _COLUMNS] for record in records)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [_GAP.join(map(_aligned, row, widths, _COLUMNS)).rstrip() for row in rows]


def _fetch_or_read(
    address: str, parameters: Parameters, history_file: Callable[[], HistoryPlace | None]
) -> dict[str, Any]:
    """Return the document of the result, with its bytes as `text`. Raise QueryFailed."""
    try:
        query = urlencode(parameters, errors="surrogateescape")  # a shell passes any bytes
        status, body = fetch(address, f"/instances?{query}", timeout=_TIMEOUT, limit=_MAX_BYTES)
    except AdminUnavailable as error:
        body = _read(parameters, history_file(), otherwise=f"no gateway responds at {error}")
        status = 200
    answer = mapping(body)
    if status != 200 or not isinstance(answer.get("instances"), list):
        message = answer.get("detail") or f"the response {status} of {address} is not that of a gateway"
        raise QueryFailed(str(message), status=USAGE if status == 400 and answer else UNAVAILABLE)
    return {**answer, "text": body.decode()}


def _read(parameters: Parameters, place: HistoryPlace | None, *, otherwise: str) -> bytes:
    """Return the document that a running gateway would send, from its history file."""
    if place is None:
        raise QueryFailed(f"{otherwise}; its history was in memory, if it had one")
    from gateway.history.history_file import read  # noqa: PLC0415 - brings sqlite3

    now = time.time()
    try:
        path, keep = place
        found = read(path, parse(parameters, now=now), keep=keep, now=now, until=time.monotonic() + _TIMEOUT)
    except Unsearchable as error:
        raise QueryFailed(f"{otherwise}; {error}") from error
    return document(found)


def _summary(answer: dict[str, Any], *, is_cut: bool) -> str:
    found, kept, lost = len(answer["instances"]), answer.get("kept"), answer.get("lost")
    notes = (
        f"{found} found" if found else "nothing matches",
        "there may be older calls: raise --limit, or narrow the search" if is_cut else "",
        f"{kept} calls are kept in {'a file' if answer.get('where') == 'file' else 'memory'}",
        f"{lost} were lost" if lost else "",
        "some workers did not answer" if answer.get("stuck") else "",
    )
    return "; ".join(filter(None, notes))


def _name_options(message: str) -> str:
    """Return the message with the options of the command line in place of the parameters."""
    for name, (flag, _, _) in _FLAGS.items():
        message = message.replace(f"`{name}`", flag)
    return message.replace("`id`", "ID")


def _aligned(cell: str, width: int, column: tuple[str, str]) -> str:
    return cell.rjust(width) if column[1] in _NUMBERS else cell.ljust(width)


def _cell(record: dict[str, Any], _: str, field: str) -> str:
    value = record.get(field)
    if value is None:
        return "-"
    text = f"{value:.1f}" if field == "duration_ms" and isinstance(value, int | float) else visible(str(value))
    return text if len(text) <= _MAX_CELL else f"{text[: _MAX_CELL - 1]}…"


def _print_error(message: str) -> None:
    sys.stderr.write(f"{visible(message)}\n")


_COLUMNS = (
    ("TIME", "time"),
    ("STATUS", "status"),
    ("METHOD", "method"),
    ("ROUTE", "route"),
    ("PATH", "path"),
    ("INSTANCE", "instance_id"),
    ("MS", "duration_ms"),
    ("ERROR", "error"),
)
_NUMBERS = frozenset(("status", "duration_ms"))
