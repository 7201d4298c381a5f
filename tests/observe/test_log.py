"""The log: records, events, and warnings of libraries."""

import json
import logging
import os
import socket
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.observe.log import MAX_FIELD, MAX_TEXT, Log, event_line, log_event, set_up_log
from gateway.observe.record import FIELDS, Record, complete_record
from gateway.observe.syslog_writer import SyslogWriter
from tests.fakes.waiting import TIME_LIMIT

Start = Callable[..., Log]


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "log"


@pytest.fixture
def start(target: Path) -> Iterator[Start]:
    opened = []

    def start_log(level: str = "info", log_format: Any = "auto") -> Log:
        stream = target.open("w")
        opened.append((set_up_log(level, log_format, stream), stream))
        return opened[-1][0]

    yield start_log
    for log, stream in opened:
        log.close()
        stream.close()


def write_record(log: Log, record: Record) -> None:
    complete_record(record)
    log.write([record])


def lines(target: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in target.read_text().splitlines()]


def test_an_event_has_its_name_and_its_fields(start: Start, target: Path) -> None:
    log = start()
    log_event(
        logging.getLogger("gateway.oauth"), logging.INFO, "token-renewed", "renewed 100 %", credential="a", message=1
    )
    assert log.close()
    (event,) = lines(target)
    assert event.pop("time").endswith("Z")
    assert event == {
        "level": "info",
        "event": "token-renewed",
        "logger": "gateway.oauth",
        "message": "renewed 100 %",
        "credential": "a",
    }


def test_a_record_leaves_its_line_at_any_level(start: Start, target: Path) -> None:
    log = start(level="error")
    log_event(logging.getLogger("gateway.x"), logging.WARNING, "quiet", "not at this level")
    write_record(log, Record(status=200))
    assert log.close()
    (record,) = lines(target)
    assert tuple(record) == FIELDS


def test_libraries_are_logged_from_warning_on_even_at_debug(start: Start, target: Path) -> None:
    library = logging.getLogger("aiohttp.client")
    library.setLevel(logging.DEBUG)
    log = start(level="debug")
    library.debug("sent %s", "Bearer abcdefgh")
    library.info("hello")
    library.warning("refused with %s", "Bearer abcdefgh")
    logging.getLogger("gatewayish").info("not ours")
    log_event(logging.getLogger("gateway"), logging.DEBUG, "ours", "logged")
    assert log.close()
    library.setLevel(logging.NOTSET)
    assert [(event["event"], event["message"]) for event in lines(target)] == [
        ("log", "refused with Bearer ***"),
        ("ours", "logged"),
    ]


def test_a_trace_stays_in_its_line_without_secrets(start: Start, target: Path) -> None:
    log = start()
    problem = ValueError("password=hunter2\nsecond line")
    log_event(logging.getLogger("gateway"), logging.ERROR, "broke", "it broke", exc=problem, note="Bearer abcdefgh")
    assert log.close()
    (event,) = lines(target)
    assert "ValueError: password=***" in event["trace"]
    assert event["note"] == "Bearer ***"
    assert "hunter2" not in target.read_text()


def test_long_texts_in_events_are_cut(start: Start, target: Path) -> None:
    log = start()
    cause = ValueError("c" * 200_000)
    log_event(logging.getLogger("gateway"), logging.ERROR, "broke", "m" * 200_000, exc=cause, reason="r" * 200_000)
    assert log.close()
    (event,) = lines(target)
    assert [len(event[name]) for name in ("message", "trace", "reason")] == [MAX_TEXT, MAX_TEXT, MAX_FIELD]


def test_a_malformed_message_of_a_library_is_logged_as_is() -> None:
    event = logging.LogRecord("somelib", logging.WARNING, "somelib.py", 1, "%d and %d", ("one",), None)
    assert json.loads(event_line(event))["message"] == "%d and %d"


def test_warnings_of_python_are_logged(start: Start, target: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        log = start()
        warnings.warn("old way", DeprecationWarning, stacklevel=1)
        assert log.close()
    (event,) = lines(target)
    assert event["logger"] == "py.warnings"
    assert "old way" in event["message"]


def test_text_on_request_is_plain_outside_a_terminal(start: Start, target: Path) -> None:
    log = start(log_format="text")
    write_record(log, Record(time="1970-01-01T00:00:00.500Z", method="GET", path="/a\x1b[2J", status=200))
    log_event(logging.getLogger("gateway"), logging.WARNING, "slow", "slow\x07", exc=ValueError("no"), seconds=3)
    assert log.close()
    first, second, *trace = target.read_text().splitlines()
    assert first.startswith("00:00:00.500Z 200 GET")
    assert first.endswith("/a\\x1b[2J")
    assert second.endswith("warning slow\\x07  seconds=3")
    assert [row.strip() for row in trace] == ["ValueError: no"]


def test_a_terminal_gets_coloured_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    master, terminal_end = os.openpty()
    with open(terminal_end, "w") as terminal:  # noqa: PTH123 - a descriptor, not a path
        log = set_up_log("info", "auto", terminal)
        write_record(log, Record(status=200))
        assert log.close()
        output = os.read(master, 1000)
    os.close(master)
    assert b"\x1b[32m200\x1b[0m" in output


def test_close_restores_logging(start: Start) -> None:
    before = (logging.root.level, list(logging.root.handlers), logging.getLogger("gateway").level)
    start(level="debug").close()
    assert (logging.root.level, list(logging.root.handlers), logging.getLogger("gateway").level) == before


def test_lost_lines_are_counted(start: Start) -> None:
    log = start()
    log.close()
    write_record(log, Record())
    assert log.lost == 1


def test_an_outage_of_the_target_is_on_standard_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("gateway.observe.socket_writer.OUTAGE_AFTER", 0.0)
    monkeypatch.setattr("gateway.observe.socket_writer.RETRY_PAUSE", 0.01)
    log = set_up_log(target=SyslogWriter(str(tmp_path / "socket"), max_lines=2))
    write_record(log, Record(time="1970-01-01T00:00:00.500Z", status=200))
    errors = ""
    while "log-down" not in errors:
        errors += capfd.readouterr().err
    write_record(log, Record(time="1970-01-01T00:00:00.500Z", status=200))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(str(tmp_path / "socket"))
        receiver.settimeout(TIME_LIMIT)
        messages = [receiver.recv(4096).split(b" - ", 1) for _ in range(3)]
        assert log.close(TIME_LIMIT)
    down, up = map(json.loads, (errors + capfd.readouterr().err).splitlines())
    assert (down["event"], down["level"]) == ("log-down", "error")
    assert down["message"].startswith("the target of the log takes no lines: No such file or directory. Check")
    assert (up["event"], up["lost"], log.lost) == ("log-up", 1, 1)
    events = [head.split()[-1] for head, _ in messages]
    assert (events[0], events[2]) == (b"request", b"log-up")
    assert json.loads(messages[2][1]) == up
    log_event(logging.getLogger("gateway.observe.target"), logging.ERROR, "log-down", "after close")
    assert capfd.readouterr().err == ""
