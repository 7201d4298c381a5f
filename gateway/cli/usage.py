"""The command `usage`: calls and billed messages of a running gateway, or from the history file of a stopped one."""

import argparse
import csv
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from gateway.cli.admin_query import TIMEOUT, QueryFailed, align, fetch_or_read, print_failure
from gateway.cli.options import add_admin_argument, add_file_arguments, admin_address, load_if_found
from gateway.history.interface import Unsearchable
from gateway.history.query import BadQuery
from gateway.history.usage_query import DEFAULT_AGE, DEFAULT_GROUPING, PackAllowance, parse_usage, usage_document
from gateway.observe.record import escape_unprintable

EXAMPLE = "oic-gateway usage --by caller --since 7d"
EXIT_STATUS = {
    0: "calls were counted",
    1: "no call was counted in this time",
    69: "no gateway responds, and there is no history file",
    78: "",
}
_COUNTED, _NOTHING = 0, 1
_GROUPINGS = ("caller", "route", "service", "hour")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")  # a spreadsheet would run it

UsageSource = tuple[str, Mapping[str, PackAllowance]]
"""The history file of a gateway, and the packs of its services."""

# As `admin_query.Flags`.
_FLAGS = {
    "by": ("--by", "GROUP", f"caller, route, service or hour; default {DEFAULT_GROUPING}"),
    "since": ("--since", "TIME", f"first hour: 2026-01-31T12:00:00Z, or an age; default {DEFAULT_AGE}"),
    "until": ("--until", "TIME", "last hour, in the same forms; default now"),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_file_arguments(parser)
    add_admin_argument(parser)
    for name, (flag, form, meaning) in _FLAGS.items():
        parser.add_argument(flag, metavar=form, choices=_GROUPINGS if name == "by" else None, help=meaning)
    formats = parser.add_mutually_exclusive_group()
    formats.add_argument("--csv", action="store_true", help="print comma-separated values instead of a table")
    formats.add_argument("--json", action="store_true", help="print one JSON document instead of a table")


def run(options: argparse.Namespace) -> int:
    """Query the running gateway, or else its history file; print the usage. Return the exit status."""

    def usage_file() -> UsageSource | None:
        config = load_if_found(options)
        if config is None:
            return None
        from gateway.wiring.history import history_path  # noqa: PLC0415 - only without a running gateway
        from gateway.wiring.usage_reader import allowances_of  # noqa: PLC0415 - as above

        path = history_path(config)
        return None if path is None else (path, allowances_of(config))

    return report(options, admin_address(options), usage_file)


def report(options: argparse.Namespace, address: str, usage_file: Callable[[], UsageSource | None]) -> int:
    """Query the admin port at `address`, or else `usage_file()`; print the usage. Return the exit status."""
    parameters = [(name, value) for name in _FLAGS if (value := getattr(options, name)) is not None]
    try:
        parse_usage(parameters, now=time.time())
        answer = fetch_or_read(address, "usage", parameters, lambda reason: _read(parameters, usage_file(), reason))
    except (BadQuery, QueryFailed) as error:
        return print_failure(error, _FLAGS)
    groups: list[dict[str, Any]] = answer["usage"]
    if options.json:
        sys.stdout.write(answer["text"])
    elif options.csv:
        _write_csv(answer["by"], groups)
    else:
        sys.stdout.writelines(f"{line}\n" for line in _text(answer))
    return _COUNTED if groups else _NOTHING


def _read(parameters: list[tuple[str, str]], source: UsageSource | None, reason: str) -> bytes:
    """Return the document that a running gateway would send, from its history file."""
    if source is None:
        raise QueryFailed(f"{reason}; its usage was in memory")
    from gateway.history.usage_reads import read_usage  # noqa: PLC0415 - brings sqlite3

    path, allowances = source
    try:
        query = parse_usage(parameters, now=time.time())
        return usage_document(read_usage(path, query, allowances=allowances, until=time.monotonic() + TIMEOUT))
    except Unsearchable as error:
        raise QueryFailed(f"{reason}; {error}") from error


def _write_csv(by: str, groups: Sequence[dict[str, Any]]) -> None:
    """Write a header and a row for each group. The header marks the number of messages as a minimum."""
    peaks = () if by == "hour" else ("peak_hour", "peak_messages")
    writer = csv.writer(sys.stdout, lineterminator="\n")
    titles = {"messages": "messages_at_least", "peak_messages": "peak_messages_at_least"}
    columns = (by, "calls", "messages", *peaks)
    writer.writerow(titles.get(column, column) for column in columns)
    writer.writerows([_csv_cell(group[column]) for column in columns] for group in groups)


def _csv_cell(value: object) -> object:
    """Return a value that no spreadsheet takes for a formula."""
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value


def _text(answer: dict[str, Any]) -> Iterator[str]:
    """Yield the table, the packs of each service, and what the numbers mean."""
    groups, by = answer["usage"], answer["by"]
    if groups:
        yield from _table(by, groups, answer["messages"])
        yield ""
    for service in answer["services"]:
        if "packs" in service:
            yield _packs(service)
    first, last = _hour(answer["first_hour"]), _hour(answer["last_hour"])
    kept = "in a file" if answer["where"] == "file" else "in memory since the gateway started"
    yield f"{answer['messages']} messages of {answer['calls']} calls from {first} to {last} UTC, counted {kept}"
    if answer["lost"]:
        yield f"{answer['lost']} more messages could not be kept"
    if answer.get("stuck"):
        yield "some workers did not answer"
    yield f"This is {answer['floor']}."


def _table(by: str, groups: Sequence[dict[str, Any]], total: int) -> list[str]:
    with_peak = by != "hour"
    head = [f"{by.upper()} (UTC)" if by == "hour" else by.upper(), "CALLS", "MESSAGES", "SHARE"]
    rows = [[*head, "PEAK HOUR (UTC)", "PEAK"] if with_peak else head]
    for group in groups:
        name = group[by]
        first = _hour(name) if by == "hour" else "-" if name is None else escape_unprintable(name)
        row = [first, str(group["calls"]), str(group["messages"]), f"{100 * group['messages'] / (total or 1):.1f}%"]
        rows.append([*row, _hour(group["peak_hour"]), str(group["peak_messages"])] if with_peak else row)
    return align(rows, numbers=[False, True, True, True, False, True][: len(rows[0])])


def _packs(service: dict[str, Any]) -> str:
    packs = f"{service['packs']} pack{'s' if service['packs'] != 1 else ''}, {service['licence']}"
    peak = f"peak hour {_hour(service['peak_hour'])} UTC with {service['peak_messages']} messages"
    share = f"{service['peak_percent']}% of {service['hourly_messages']}"
    return f"{escape_unprintable(service['service'])}: {peak}, {share} ({packs})"


def _hour(instant: str) -> str:
    """Return an hour as a person reads it: `2026-01-31 12:00`."""
    return instant[:16].replace("T", " ")
