"""Entries of systemd's journal: names of fields, values of several lines, messages, large entries, a restart."""

import logging
import re
from pathlib import Path
from typing import Any

import pytest

from gateway.observe.journal_entry import journal_entry, journal_field
from gateway.observe.journal_writer import JournalWriter
from gateway.observe.json_line import json_line
from gateway.observe.log import event_line, log_event, set_up_log
from gateway.observe.record import FIELDS, Record, complete_record, record_line
from tests.fakes.journal import JournalReceiver, decode_entry
from tests.fakes.process import ROOT
from tests.fakes.waiting import TIME_LIMIT

RECORD = Record(
    time="2026-01-31T12:00:00.123Z",
    request_id="4711",
    route="orders",
    method="GET",
    path="/orders/\x1b[2J",
    status=200,
    duration_ms=12.3,
)
complete_record(RECORD)


def event_entry(message: str, *, exc: BaseException | None = None, **fields: Any) -> dict[str, list[bytes]]:
    record = logging.LogRecord("gateway.x", logging.WARNING, "x.py", 1, message, (), None)
    record.event, record.fields = "token-failed", fields
    record.exc_info = (type(exc), exc, None) if exc else None
    return decode_entry(journal_entry(event_line(record), "text"))


def test_each_log_field_has_a_valid_name_of_its_own() -> None:
    names = [journal_field(name) for name in (*FIELDS, "reason", "message", "logger", "trace")]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"OIC_[A-Z0-9_]+|MESSAGE|PRIORITY", name) for name in names)
    assert journal_field("_x.é") == "OIC__X__"
    assert len(journal_field("x" * 100)) == 64


def test_the_document_has_the_names_of_the_journal() -> None:
    text = Path(ROOT, "docs", "logging.md").read_text(encoding="utf-8")
    section = text.partition("### Journal")[2].partition("\n## ")[0]
    table = dict(re.findall(r"^\| `(\w+)`[^|]* \| `(\w+)`", section, re.MULTILINE))
    assert {"level", "message", "route"} <= table.keys() <= {*FIELDS, "message", "trace"}
    assert table == {name: journal_field(name) for name in table}


def test_a_record_has_its_fields_that_are_not_null() -> None:
    entry = decode_entry(journal_entry(record_line(RECORD), "text"))
    assert entry["MESSAGE"] == [b"200 GET        12.3 ms  orders           /orders/\\x1b[2J"]
    assert (entry["PRIORITY"], entry["SYSLOG_IDENTIFIER"]) == ([b"6"], [b"oic-gateway"])
    assert (entry["OIC_ROUTE"], entry["OIC_STATUS"], entry["OIC_DURATION_MS"]) == ([b"orders"], [b"200"], [b"12.3"])
    assert entry["OIC_PATH"] == [b"/orders/\x1b[2J"]
    assert "OIC_ERROR" not in entry


def test_the_format_sets_the_message_of_a_record() -> None:
    line = record_line(RECORD)
    assert decode_entry(journal_entry(line, "json"))["MESSAGE"] == [line.rstrip(b"\n")]
    [combined] = decode_entry(journal_entry(line, "combined"))["MESSAGE"]
    assert combined == b'- - - [31/Jan/2026:12:00:00 +0000] "GET /orders/\\x1b[2J HTTP/1.1" 200 - "-" "-"'


def test_an_event_shows_its_fields_in_the_message_too() -> None:
    entry = event_entry("no token", credential="erp", changes=["a", "b"], drained=False)
    assert entry["MESSAGE"] == [b"no token  credential=erp  changes=['a', 'b']  drained=False"]
    assert (entry["OIC_EVENT"], entry["PRIORITY"]) == ([b"token-failed"], [b"4"])
    assert (entry["OIC_CHANGES"], entry["OIC_DRAINED"]) == ([b'["a","b"]'], [b"false"])


def test_values_of_several_lines_stay_whole() -> None:
    entry = event_entry("broke", exc=ValueError("one\nMESSAGE=two"), note="a\n\n_PID=1\n", empty="")
    assert entry["OIC_TRACE"] == [b"ValueError: one\nMESSAGE=two\n"]
    assert (entry["OIC_NOTE"], entry["OIC_EMPTY"]) == ([b"a\n\n_PID=1\n"], [b""])
    assert entry["MESSAGE"][0].splitlines()[1:] == [b"    ValueError: one", b"    MESSAGE=two"]


def test_a_field_named_like_one_of_systemd_does_not_replace_it() -> None:
    entry = event_entry("text", priority="0", syslog_identifier="x", _pid="1")
    assert (entry["PRIORITY"], entry["SYSLOG_IDENTIFIER"]) == ([b"4"], [b"oic-gateway"])
    assert entry["OIC__PID"] == [b"1"]


def test_an_entry_above_the_datagram_limit_is_a_sealed_file(tmp_path: Path) -> None:
    with JournalReceiver(tmp_path / "socket") as receiver:
        writer = JournalWriter(str(tmp_path / "socket"))
        for size in (10, 1_000_000, 20):
            writer.write(json_line({"level": "error", "event": "defect", "message": "m", "note": "x" * size}))
            assert len(receiver.receive()["OIC_NOTE"][0]) == size
        assert writer.close(TIME_LIMIT)
        assert writer.lost == 0


def test_entries_wait_while_journald_restarts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.observe.socket_writer.RETRY_PAUSE", 0.01)
    log = set_up_log(target=JournalWriter(str(tmp_path / "socket")))
    for number in range(3):
        log.write([RECORD])
        log_event(logging.getLogger("gateway"), logging.INFO, "started", "x", number=number)
        with JournalReceiver(tmp_path / "socket") as receiver:
            assert receiver.receive()["OIC_EVENT"] == [b"request"]
            assert receiver.receive()["OIC_NUMBER"] == [b"%d" % number]
    log.write([RECORD])
    assert not log.close(0.05)
    assert log.lost == 1
