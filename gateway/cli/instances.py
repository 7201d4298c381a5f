"""The verb `instances`: asks a running gateway for its last calls, or, where none answers, the file that it kept."""

import argparse
import re
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import urlencode

from gateway.admin.client import AdminUnavailable, fetch, mapping
from gateway.history.interface import Unsearchable, document
from gateway.history.query import DEFAULT_LIMIT, BadQuery, parse
from gateway.observe.record import visible

FOUND, NOTHING, USAGE, UNAVAILABLE = 0, 1, 2, 69
"""Exit status."""
_TIMEOUT = 10.0
_LONGEST = 128 * 1024 * 1024  # bytes of an answer that are read
_WIDEST = 60  # characters of a cell
_GAP = "  "
_DASHED_ID = re.compile(r"-[A-Za-z0-9_-]{21}")  # base64url, as OIC 3 writes a UUID; no flag is as long

Parameters = list[tuple[str, str]]
Kept = tuple[str, float]
"""The file that a gateway keeps its calls in, and for how many seconds."""


class QueryFailed(Exception):
    """There is no answer; `status` is the verb's."""

    def __init__(self, told: str, *, status: int = UNAVAILABLE) -> None:
        super().__init__(told)
        self.status = status


# By parameter of the admin port: the flag, what it takes, what it means.
_FLAGS = {
    "request_id": ("--request-id", "ID", "the id that the caller or the gateway gave the request"),
    "route": ("--route", "NAME", "name of the route"),
    "client": ("--client", "ADDRESS", "address of the caller"),
    "status": ("--status", "STATUS", "what the caller got: 502, or a class like 5xx"),
    "since": ("--since", "TIME", "from then on: 2026-01-31T12:00:00Z, or how long ago: 1h"),
    "until": ("--until", "TIME", "up to then, in the same forms"),
    "limit": ("--limit", "NUMBER", f"how many of the newest, default {DEFAULT_LIMIT}"),
}


def add_arguments(verb: argparse.ArgumentParser) -> None:
    """What the verb takes beside the configuration's file."""
    verb.add_argument("id", metavar="ID", nargs="?", help="OIC's instance id; omitted: any")
    for name, (flag, shape, meaning) in _FLAGS.items():
        verb.add_argument(flag, dest=name, metavar=shape, help=meaning)
    verb.add_argument("--json", action="store_true", help="print one JSON document instead of a table")


def id_last(words: list[str]) -> list[str]:
    """The words with what must be an instance id, though it begins with a dash, behind `--`."""
    if "--" in words:
        return words
    ids = [word for word in words if _DASHED_ID.fullmatch(word)]
    return [*(word for word in words if word not in ids), "--", *ids] if ids else words


def run(options: argparse.Namespace, address: str, kept: Callable[[], Kept | None]) -> int:
    """Asks the admin port at `address`, else the file that `kept` knows of; prints; gives the exit status."""
    given = [(name, value) for name in ("id", *_FLAGS) if (value := getattr(options, name)) is not None]
    try:
        query = parse(given, now=time.time())
        answer = _asked(address, given, kept)
    except BadQuery as error:
        _tell(_in_flags(str(error)))
        return USAGE
    except QueryFailed as error:
        _tell(str(error))
        return error.status
    found: list[dict[str, Any]] = answer["instances"]
    if options.json:
        sys.stdout.write(answer["text"])
    else:
        sys.stdout.writelines(f"{row}\n" for row in table(found))
        _tell(_summary(answer, is_cut=len(found) == query.limit))
    return FOUND if found else NOTHING


def table(records: Sequence[dict[str, Any]]) -> list[str]:
    """The records as aligned rows below a head; none of none."""
    if not records:
        return []
    rows = [[name for name, _ in _COLUMNS], *([_cell(record, *column) for column in _COLUMNS] for record in records)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [_GAP.join(map(_aligned, row, widths, _COLUMNS)).rstrip() for row in rows]


def _asked(address: str, given: Parameters, kept: Callable[[], Kept | None]) -> dict[str, Any]:
    """The document that answers, and its `text`. Raises NotAsked."""
    try:
        asked = urlencode(given, errors="surrogateescape")  # a shell hands over any bytes
        status, body = fetch(address, f"/instances?{asked}", timeout=_TIMEOUT, limit=_LONGEST)
    except AdminUnavailable as error:
        body = _read(given, kept(), otherwise=f"no gateway answers at {error}")
        status = 200
    answer = mapping(body)
    if status != 200 or not isinstance(answer.get("instances"), list):
        told = answer.get("detail") or f"{address} answered {status}, and not as a gateway does"
        raise QueryFailed(str(told), status=USAGE if status == 400 and answer else UNAVAILABLE)
    return {**answer, "text": body.decode()}


def _read(given: Parameters, kept: Kept | None, *, otherwise: str) -> bytes:
    """The same document out of the file of a gateway that does not run."""
    if kept is None:
        raise QueryFailed(f"{otherwise}; its calls were kept in memory, if any")
    from gateway.history.history_file import read  # noqa: PLC0415 - brings sqlite3

    now = time.time()
    try:
        path, keep = kept
        found = read(path, parse(given, now=now), keep=keep, now=now, until=time.monotonic() + _TIMEOUT)
    except Unsearchable as error:
        raise QueryFailed(f"{otherwise}; {error}") from error
    return document(found)


def _summary(answer: dict[str, Any], *, is_cut: bool) -> str:
    found, kept, lost = len(answer["instances"]), answer.get("kept"), answer.get("lost")
    notes = (
        f"{found} found" if found else "nothing matches",
        "there may be older ones: raise --limit, or narrow the search" if is_cut else "",
        f"{kept} calls are kept in {'a file' if answer.get('where') == 'file' else 'memory'}",
        f"{lost} were lost" if lost else "",
        "some workers did not answer" if answer.get("stuck") else "",
    )
    return "; ".join(filter(None, notes))


def _in_flags(told: str) -> str:
    """What is wrong with a parameter, in the words of the command line."""
    for name, (flag, _, _) in _FLAGS.items():
        told = told.replace(f"`{name}`", flag)
    return told.replace("`id`", "ID")


def _aligned(cell: str, width: int, column: tuple[str, str]) -> str:
    return cell.rjust(width) if column[1] in _NUMBERS else cell.ljust(width)


def _cell(record: dict[str, Any], _: str, field: str) -> str:
    value = record.get(field)
    if value is None:
        return "-"
    text = f"{value:.1f}" if field == "duration_ms" and isinstance(value, int | float) else visible(str(value))
    return text if len(text) <= _WIDEST else f"{text[: _WIDEST - 1]}…"


def _tell(told: str) -> None:
    sys.stderr.write(f"{visible(told)}\n")


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
