"""The log: records and events as lines on one stream or in a file, as JSON or, on a terminal, as readable text.

Events are logged through `logging`, so that warnings of libraries get the same format. Messages of libraries below
`warning` are dropped: they may contain tokens and bodies (request heads of aiohttp, call arguments of asyncio).
"""

import contextlib
import logging
import os
import random
import select
import sys
import traceback
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal, TextIO

from gateway.observe.combined_line import combined_line
from gateway.observe.event_row import event_row
from gateway.observe.journal_writer import JournalWriter
from gateway.observe.json_line import json_line, json_lines
from gateway.observe.line_writer import LineWriter
from gateway.observe.log_file import LogFile
from gateway.observe.record import RESET_COLOUR, Record, record_level, record_text
from gateway.observe.secret_mask import mask_start
from gateway.observe.socket_writer import SocketWriter
from gateway.observe.syslog_message import syslog_message
from gateway.observe.syslog_writer import SyslogWriter, host_name
from gateway.observe.timestamp import timestamp

__all__ = ("LEVELS", "EventHandler", "LineWriter", "Log", "event_line", "event_text", "log_event", "set_up_log")

GATEWAY_LOGGER = "gateway"
_target_log = logging.getLogger("gateway.observe.target")
LEVELS = ("debug", "info", "warning", "error")
LogFormat = Literal["auto", "json", "text", "combined"]

MAX_FIELD, MAX_TEXT = 1024, 16 * 1024
"""Maximum characters of a field of an event, and of its message or trace."""

RecordFormat = Callable[[Record, bytes], bytes]
"""Turns a record and its JSON line into a line of another format."""
EventFormat = Callable[[logging.LogRecord], bytes]

_LEVEL_COLOURS = {"WARNING": "\x1b[33m", "ERROR": "\x1b[31m", "CRITICAL": "\x1b[31m"}


def log_event(
    logger: logging.Logger, level: int, event: str, message: str, /, *, exc: BaseException | None = None, **fields: Any
) -> None:
    """Log an event: `event` is its documented name, `exc` adds a stack trace. Pass no secret in
    `message` or `fields`.
    """
    logger.log(level, message, exc_info=exc, extra={"event": event, "fields": fields})


def event_line(event: logging.LogRecord) -> bytes:
    """Return an event as one JSON line: `time`, `level`, `event`, `logger`, `message`, its fields,
    and `trace` if any.
    """
    document: dict[str, Any] = {
        "time": timestamp(event.created),
        "level": event.levelname.lower(),
        "event": getattr(event, "event", "log"),
        "logger": event.name,
        "message": _message(event),
    }
    document |= {name: value for name, value in _fields(event).items() if name not in document}
    if trace := _trace(event):
        document["trace"] = trace
    return json_line(document)


def event_text(event: logging.LogRecord, *, colour: bool = False) -> str:
    """Return an event as readable text without a line feed at its end. A stack trace follows on further lines."""
    level = f"{event.levelname.lower():<7}"
    if colour and event.levelname in _LEVEL_COLOURS:
        level = f"{_LEVEL_COLOURS[event.levelname]}{level}{RESET_COLOUR}"
    return f"{timestamp(event.created)[11:]} {level} {event_row(_message(event), _fields(event), _trace(event))}"


class EventHandler(logging.Handler):
    """Writes events of the gateway, and warnings and errors of libraries, as `format_event` returns them."""

    def __init__(self, write: Callable[[bytes], None], format_event: EventFormat) -> None:
        super().__init__()
        self._write = write
        self._format_event = format_event
        self.addFilter(_is_logged)

    def emit(self, record: logging.LogRecord) -> None:
        """Queue the event. Never block."""
        self._write(self._format_event(record))


class Log:
    """The log of a process. `write` logs the records of requests; events arrive through `logging`.

    The configured level filters events only: every record is logged, but of those of successful requests only the
    share `sample`. Events go to `event_writer`, by default the same one. Without `format_record` the lines are JSON.
    """

    __slots__ = (*("_event_writer", "_format_record", "_handler", "_outages", "_previous_levels", "_sample", "writer"),)

    def __init__(
        self,
        writer: LineWriter | SocketWriter,
        *,
        format_record: RecordFormat | None,
        format_event: EventFormat,
        event_writer: LineWriter | None = None,
        sample: float = 1.0,
    ) -> None:
        self.writer = writer
        self._event_writer = event_writer
        self._format_record = format_record
        self._sample = sample
        self._handler = EventHandler((event_writer or writer).write, format_event)
        self._outages: EventHandler | None = None
        if isinstance(writer, SocketWriter) and event_writer is None:  # on standard error now, in the target after it
            self._outages = EventHandler(_write_to_stderr, event_line)
        self._previous_levels = (logging.root.level, logging.getLogger(GATEWAY_LOGGER).level)

    @property
    def lost(self) -> int:
        """Number of lines that were dropped because the target did not accept them in time."""
        return self.writer.lost + (self._event_writer.lost if self._event_writer is not None else 0)

    def write(self, records: Sequence[Record]) -> list[bytes]:
        """Queue the lines of completed records. Return their JSON lines in all formats."""
        lines = json_lines(records)
        if self._sample >= 1 and self._format_record is None:
            self.writer.write_all(lines)
            return lines
        for record, line in zip(records, lines, strict=True):
            if self._sample < 1 and _is_success(record) and random.random() >= self._sample:  # noqa: S311 - no secret
                continue
            self.writer.write(line if self._format_record is None else self._format_record(record, line))
        return lines

    def attach(self, level: str) -> None:
        """Log events of the gateway from `level` on, and warnings of libraries and of `warnings.warn`."""
        logging.root.addHandler(self._handler)
        if self._outages is not None:
            _target_log.addHandler(self._outages)
        logging.root.setLevel(logging.WARNING)
        logging.getLogger(GATEWAY_LOGGER).setLevel(level.upper())
        logging.captureWarnings(capture=True)

    def close(self, timeout: float = 2.0) -> bool:
        """Restore `logging`, and block up to `timeout` seconds until all lines are written. Return whether they are."""
        logging.root.removeHandler(self._handler)
        if self._outages is not None:
            _target_log.removeHandler(self._outages)
        logging.captureWarnings(capture=False)
        logging.root.setLevel(self._previous_levels[0])
        logging.getLogger(GATEWAY_LOGGER).setLevel(self._previous_levels[1])
        is_written = self._event_writer is None or self._event_writer.close(timeout)
        return self.writer.close(timeout) and is_written


def set_up_log(
    level: str = "info",
    log_format: LogFormat = "auto",
    stream: TextIO | None = None,
    *,
    target: LogFile | SyslogWriter | JournalWriter | None = None,
    sample: float = 1.0,
) -> Log:
    """Return the log of this process to `target`, else on `stream` (default: stdout), with events from `level` (one of
    `LEVELS`) on, and this share of the records of successes. `auto` is text on a terminal, else JSON.
    """
    output = sys.stdout if stream is None else stream
    is_terminal = target is None and output.isatty()
    if log_format == "auto":
        log_format = "text" if is_terminal else "json"
    format_record, format_event = _formats(log_format, colour=is_terminal and "NO_COLOR" not in os.environ)
    if isinstance(target, SocketWriter):
        target.on_outage, target.on_recovery = _report_outage, _report_recovery
    if isinstance(target, JournalWriter):  # it has the format, and takes JSON
        format_record, format_event = None, event_line
    elif isinstance(target, SyslogWriter):
        format_record, format_event = _syslog_formats(format_record, format_event)
    log = Log(
        target if isinstance(target, SocketWriter) else LineWriter(output if target is None else target),
        format_record=format_record,
        format_event=event_line if log_format == "combined" else format_event,
        event_writer=LineWriter(sys.stderr) if log_format == "combined" else None,
        sample=sample,
    )
    log.attach(level)
    return log


def _formats(log_format: LogFormat, *, colour: bool) -> tuple[RecordFormat | None, EventFormat]:
    if log_format == "text":
        return (
            lambda record, _: f"{record_text(record, colour=colour)}\n".encode(),
            lambda event: f"{event_text(event, colour=colour)}\n".encode(),
        )
    return (lambda record, _: combined_line(record)) if log_format == "combined" else None, event_line


def _syslog_formats(
    format_record: RecordFormat | None, format_event: EventFormat
) -> tuple[RecordFormat | None, EventFormat]:
    """Return formats that turn the lines of these formats into syslog messages."""
    message = partial(syslog_message, host=host_name(), process=os.getpid())

    def wrap_record(record: Record, line: bytes) -> bytes:
        text = line if format_record is None else format_record(record, line)
        return message(text, level=record_level(record), time=record.time, event=record.event)

    def wrap_event(event: logging.LogRecord) -> bytes:
        name, level = getattr(event, "event", "log"), event.levelname.lower()
        return message(format_event(event), level=level, time=timestamp(event.created), event=name)

    return wrap_record, wrap_event


def _report_outage(cause: str) -> None:
    message = f"the target of the log takes no lines: {cause}. Check that it runs, and that `log.to` names it"
    log_event(_target_log, logging.ERROR, "log-down", message)


def _report_recovery(lost: int) -> None:
    log_event(_target_log, logging.WARNING, "log-up", "the target of the log takes lines again", lost=lost)


def _write_to_stderr(line: bytes) -> None:
    """Write a line, unless standard error would block."""
    with contextlib.suppress(OSError):
        if select.select([], [2], [], 0)[1]:
            os.write(2, line)


def _is_success(record: Record) -> bool:
    return record.error is None and record.status is not None and record.status < 400


def _is_logged(event: logging.LogRecord) -> bool:
    return event.levelno >= logging.WARNING or event.name.partition(".")[0] == GATEWAY_LOGGER


def _message(event: logging.LogRecord) -> str:
    """Return the message, masked and cut. Arguments of a library that do not fit its format must not raise here."""
    try:
        message = event.getMessage()
    except (TypeError, ValueError, KeyError):
        message = str(event.msg)
    return mask_start(message, MAX_TEXT)


def _fields(event: logging.LogRecord) -> dict[str, Any]:
    fields: dict[str, Any] = getattr(event, "fields", {})
    return {name: mask_start(value, MAX_FIELD) if isinstance(value, str) else value for name, value in fields.items()}


def _trace(event: logging.LogRecord) -> str:
    if not event.exc_info or event.exc_info[1] is None:
        return ""
    return mask_start("".join(traceback.format_exception(event.exc_info[1])), MAX_TEXT)
