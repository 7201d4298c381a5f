"""The command `instances`: search the last calls of a running gateway, or of the history file of a stopped one."""

import argparse
import re
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from gateway.cli.admin_query import TIMEOUT, QueryFailed, align, fetch_or_read, print_error, print_failure
from gateway.cli.options import add_admin_argument, add_file_arguments, admin_address, load_if_found
from gateway.history.interface import Unsearchable, result_document
from gateway.history.query import DEFAULT_LIMIT, BadQuery, parse_query
from gateway.observe.record import escape_unprintable

EXAMPLE = "oic-gateway instances --status 5xx --since 1h"
EXIT_STATUS = {
    0: "calls were found",
    1: "nothing matches",
    69: "no gateway responds, and there is no history file",
    78: "",
}
_FOUND, _NOTHING = 0, 1
_MAX_CELL = 60  # characters
_DASHED_ID = re.compile(r"-[A-Za-z0-9_-]{21}")  # base64url, as an OIC 3 instance id; no option has this length
_MARK = "\0"  # keeps argparse from reading an id as an option; no word of a command line has this character

HistorySource = tuple[str, float]
"""The history file of a gateway, and for how many seconds calls stay in it."""

# As `admin_query.Flags`.
_FLAGS = {
    "request_id": ("--request-id", "ID", "request id that the caller or the gateway set"),
    "route": ("--route", "NAME", "name of the route"),
    "client": ("--client", "ADDRESS", "address of the caller"),
    "caller": ("--caller", "NAME", "name of the caller, one of `callers`"),
    "trace_id": ("--trace-id", "ID", "trace id, with `telemetry`"),
    "status": ("--status", "STATUS", "status of the response: 502, or a class such as 5xx"),
    "since": ("--since", "TIME", "earliest time: 2026-01-31T12:00:00Z, or an age: 1h"),
    "until": ("--until", "TIME", "latest time, in the same forms"),
    "limit": ("--limit", "NUMBER", f"number of calls, newest first; default {DEFAULT_LIMIT}"),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("id", metavar="ID", nargs="?", type=_unmarked, help="instance id of OIC; default: any")
    add_file_arguments(parser)
    add_admin_argument(parser)
    for name, (flag, form, meaning) in _FLAGS.items():
        parser.add_argument(flag, dest=name, metavar=form, type=_unmarked, help=meaning)
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of a table")


def prepare_words(words: list[str]) -> list[str]:
    """Mark each instance id that begins with a dash, so that argparse does not read it as an option."""
    return [_MARK + word if _DASHED_ID.fullmatch(word) else word for word in words]


def _unmarked(word: str) -> str:
    return word.removeprefix(_MARK)


def run(options: argparse.Namespace) -> int:
    """Search the running gateway, or else its history file; print the calls. Return the exit status."""

    def history_file() -> HistorySource | None:
        config = load_if_found(options)
        if config is None:
            return None
        from gateway.wiring.history import history_file  # noqa: PLC0415 - only without a running gateway

        return history_file(config)

    return search(options, admin_address(options), history_file)


def search(options: argparse.Namespace, address: str, history_file: Callable[[], HistorySource | None]) -> int:
    """Search at the admin port at `address`, or else in `history_file()`; print the calls. Return the exit status."""
    parameters = [(name, value) for name in ("id", *_FLAGS) if (value := getattr(options, name)) is not None]
    try:
        query = parse_query(parameters, now=time.time())
        answer = fetch_or_read(
            address, "instances", parameters, lambda reason: _read(parameters, history_file(), reason)
        )
    except (BadQuery, QueryFailed) as error:
        return print_failure(error, {"id": ("ID", "", ""), **_FLAGS})
    found: list[dict[str, Any]] = answer["instances"]
    if options.json:
        sys.stdout.write(answer["text"])
    else:
        sys.stdout.writelines(f"{row}\n" for row in table(found))
        print_error(_summary(answer, is_cut=len(found) == query.limit))
    return _FOUND if found else _NOTHING


def table(records: Sequence[dict[str, Any]]) -> list[str]:
    """Return the records as aligned rows below a header row; no rows if there are no records."""
    if not records:
        return []
    rows = [[name for name, _ in _COLUMNS], *([_cell(record, *column) for column in _COLUMNS] for record in records)]
    return align(rows, numbers=[field in _NUMBERS for _, field in _COLUMNS])


def _read(parameters: list[tuple[str, str]], source: HistorySource | None, reason: str) -> bytes:
    """Return the document that a running gateway would send, from its history file."""
    if source is None:
        raise QueryFailed(f"{reason}; its history was in memory, if it had one")
    from gateway.history.history_file import search_file  # noqa: PLC0415 - brings sqlite3

    now = time.time()
    try:
        path, keep = source
        found = search_file(
            path, parse_query(parameters, now=now), keep=keep, now=now, until=time.monotonic() + TIMEOUT
        )
    except Unsearchable as error:
        raise QueryFailed(f"{reason}; {error}") from error
    return result_document(found)


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


def _cell(record: dict[str, Any], _: str, field: str) -> str:
    value = record.get(field)
    if value is None:
        return "-"
    text = (
        f"{value:.1f}" if field == "duration_ms" and isinstance(value, int | float) else escape_unprintable(str(value))
    )
    return text if len(text) <= _MAX_CELL else f"{text[: _MAX_CELL - 1]}…"


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
