"""The cost of the history: an append on the loop, a search among a million calls. `python bench/history.py`, two
minutes.

It measures the figures of docs/history.md.
"""

import asyncio
import contextlib
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # so that this file can be run by its name

from gateway.history import sqlite_tables
from gateway.history.file import FileHistory
from gateway.history.history_file import HistoryFile, search_file
from gateway.history.interface import History, HistoryLimits
from gateway.history.memory import DEFAULT_CALLS, MemoryHistory
from gateway.history.query import HistoryQuery, parse_query
from gateway.observe.record import Record, record_line
from gateway.observe.timestamp import timestamp
from gateway.server.record_writer import BATCH_SIZE

MILLION = 1_000_000
BURST, FILLING, PACED = 1_500, 90_000, 60_000
FULL = HistoryLimits(calls=None, keep=1e9, size=64 << 20)
NOTES = 9_000  # less than the queue holds
START = 1_769_000_000.0
EVERYTHING = HistoryLimits(calls=None, keep=1e9, size=1 << 40)
QUESTIONS = {
    "exact instance id": [("id", "instance-0777777")],
    "exact request id": [("request_id", f"{777777:032x}")],
    "an id that is not there": [("id", "instance-none")],
    "the newest 20": [],
    "route": [("route", "route-3")],
    "address": [("client", "10.0.0.7")],
    "caller": [("caller", "caller-3")],
    "status 5xx": [("status", "5xx")],
    "route and status 5xx": [("route", "route-3"), ("status", "5xx")],
    "route and address that never meet": [("route", "route-3"), ("client", "10.0.0.7")],
    "route and caller that never meet": [("route", "route-3"), ("caller", "caller-4")],
    "an hour of a route": [
        ("route", "route-3"),
        ("since", timestamp(START + 3600)),
        ("until", timestamp(START + 7200)),
    ],
}


def time_text(number: int) -> bytes:
    """Return the line of one of a million calls, with the usual length."""
    record = Record(
        time=timestamp(START + number / 100),
        request_id=f"{number:032x}",
        route=f"route-{number % 10}",
        credential="orders-app",
        client=f"10.0.0.{number % 20}",
        caller=f"caller-{number % 5}",
        method="POST",
        path=f"/orders/{number}",
        status=503 if number % 5000 == 3 else 200,
        duration_ms=123.456,
        upstream_ms=120.123,
        attempts=1,
        upstream_status=200,
        instance_id=f"instance-{number:07d}",
        opc_request_id=f"{number:032X}/{number:032X}/{number:032X}",
        bytes_in=512,
        bytes_out=2048,
    )
    return record_line(record)


def in_batches(lines: list[bytes]) -> list[list[bytes]]:
    """Return lines as the gateway appends them under load."""
    return [lines[start : start + BATCH_SIZE] for start in range(0, len(lines), BATCH_SIZE)]


def microseconds(history: History, lines: list[bytes]) -> float:
    """Return the cost of one append."""
    batches = in_batches(lines)
    started_at = time.perf_counter()
    for batch in batches:
        history.append(batch)
    return (time.perf_counter() - started_at) / len(lines) * 1e6


def best(measure: Callable[[], float], times: int = 5) -> float:
    return min(measure() for _ in range(times))


@contextlib.contextmanager
def filed(folder: Path) -> Iterator[FileHistory]:
    history = FileHistory(folder / "notes", EVERYTHING)
    yield history
    history.close(10)


def in_file(folder: Path, lines: list[bytes]) -> float:
    with filed(folder) as history:
        return microseconds(history, lines)


def cpu_microseconds(folder: Path, limits: HistoryLimits) -> float:
    """Return the CPU time of one call of 1,500 in a tenth of a second, of all threads, when the file is full."""
    history = FileHistory(folder / "paced", limits)
    numbers = iter(range(MILLION))
    _send(history, numbers, FILLING)
    started_at = time.process_time()
    own = _send(history, numbers, PACED)
    took = time.process_time() - started_at - own
    history.close(10)
    if history.lost:
        raise SystemExit(f"{history.lost} calls were lost")
    return took / PACED * 1e6


def _send(history: History, numbers: Iterator[int], count: int) -> float:
    """Append calls as they come in a tenth of a second, and wait until they are written. Return the CPU seconds for
    making the lines.
    """
    own = 0.0
    for _ in range(count // BURST):
        started_at = time.thread_time()
        lines = [time_text(next(numbers)) for _ in range(BURST)]
        own += time.thread_time() - started_at
        for batch in in_batches(lines):
            history.append(batch)
        time.sleep(0.1)
        asyncio.run(history.flush())
    return own


def milliseconds(path: Path, query: HistoryQuery) -> tuple[float, int]:
    """Return the cost of one search, including opening the file, and the number of calls found."""
    started_at = time.perf_counter()
    found = search_file(path, query, keep=1e9, now=START, until=time.monotonic() + 60)
    return (time.perf_counter() - started_at) * 1e3, len(found.lines)


def main() -> None:
    lines = [time_text(number) for number in range(NOTES)]
    full = MemoryHistory(EVERYTHING)
    microseconds(full, lines * 2)
    print(f"note, memory, full: {best(lambda: microseconds(full, lines)):.2f} µs")
    with tempfile.TemporaryDirectory() as folder:
        print(f"note, file: {best(lambda: in_file(Path(folder), lines)):.2f} µs")
        print(f"note, file, all threads: {cpu_microseconds(Path(folder), FULL):.1f} µs of CPU")
        path = Path(folder, "million")
        history_file = HistoryFile(path)
        started_at = time.perf_counter()
        for first in range(0, MILLION, 1000):
            history_file.append([time_text(number) for number in range(first, first + 1000)])
        history_file.close()
        took = (time.perf_counter() - started_at) / MILLION * 1e6
        print(f"written: {took:.1f} µs a call in the thread, {path.stat().st_size / MILLION:.0f} bytes a call")
        for name, parameters in QUESTIONS.items():
            query = parse_query(parameters, now=START)
            first_time, found = milliseconds(path, query)
            again = best(lambda query=query: milliseconds(path, query)[0])  # type: ignore[misc]
            print(f"{name}: {again:.2f} ms, the first time {first_time:.2f} ms ({found} found)")
        with contextlib.closing(sqlite3.connect(path)) as connection:
            started_at = time.perf_counter()
            sqlite_tables.prune_calls(connection, EVERYTHING, round((START + 15) * 1000))
            print(f"forgetting 1500 calls: {(time.perf_counter() - started_at) * 1e3:.0f} ms")
    memory = MemoryHistory(HistoryLimits(DEFAULT_CALLS, 1e9, 1 << 30))
    microseconds(memory, [time_text(number) for number in range(DEFAULT_CALLS)])
    for name, parameters in QUESTIONS.items():
        started_at = time.perf_counter()
        asyncio.run(memory.find(parse_query(parameters, now=START)))
        print(f"memory, {name}: {(time.perf_counter() - started_at) * 1e3:.2f} ms")


if __name__ == "__main__":
    main()
