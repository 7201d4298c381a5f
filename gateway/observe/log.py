"""The log: records and events as lines on one stream, JSON for machines or text for a person at a terminal.

Events go through `logging`, so that warnings of libraries have the same form. Below `warning` only events of the
gateway pass: debug messages of libraries (aiohttp request heads, asyncio call arguments) may contain tokens and bodies.
"""

import logging
import os
import sys
import traceback
from collections.abc import Callable
from typing import Any, Literal, TextIO

from gateway.observe.json_line import json_line
from gateway.observe.line_writer import LineWriter
from gateway.observe.record import Record, line, text, visible
from gateway.observe.secret_mask import mask_start
from gateway.observe.timestamp import timestamp

__all__ = ("LEVELS", "EventHandler", "LineWriter", "Log", "event_line", "event_text", "log_event", "setup")

OURS = "gateway"
LEVELS = ("debug", "info", "warning", "error")
Form = Literal["auto", "json", "text"]

LONGEST_FIELD, LONGEST_TEXT = 1024, 16 * 1024
"""Characters of an event's field, and of its message and trace."""

_PAINT = {"WARNING": "\x1b[33m", "ERROR": "\x1b[31m", "CRITICAL": "\x1b[31m"}
_PLAIN = "\x1b[0m"


def log_event(
    logger: logging.Logger, level: int, event: str, message: str, /, *, exc: BaseException | None = None, **fields: Any
) -> None:
    """Log an event of the gateway: `event` is its stable name, `fields` its facts, `exc` adds the trace. No secrets."""
    logger.log(level, message, exc_info=exc, extra={"event": event, "fields": fields})


def event_line(event: logging.LogRecord) -> bytes:
    """Return an event as one JSON line: `time level event logger message`, its fields, and `trace` if it has one."""
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
    """Return an event as a row for a person, without a line feed at its end; the trace follows on separate lines."""
    level = f"{event.levelname.lower():<7}"
    if colour and event.levelname in _PAINT:
        level = f"{_PAINT[event.levelname]}{level}{_PLAIN}"
    fields = "".join(f"  {visible(name)}={visible(str(value))}" for name, value in _fields(event).items())
    row = f"{timestamp(event.created)[11:-1]} {level} {visible(_message(event))}{fields}"
    return "\n    ".join((row, *(visible(each) for each in _trace(event).splitlines())))


class EventHandler(logging.Handler):
    """Sends events of the gateway, and warnings and errors of libraries, to `write` in the given `form`."""

    def __init__(self, write: Callable[[bytes], None], form: Callable[[logging.LogRecord], bytes]) -> None:
        super().__init__()
        self._write = write
        self._form = form
        self.addFilter(_is_logged)

    def emit(self, record: logging.LogRecord) -> None:
        """Queue the event; never blocks."""
        self._write(self._form(record))


class Log:
    """The destination of all lines. `write` takes the record of a completed request; events arrive through `logging`.

    The configured level filters events only: a request always leaves its line.
    """

    __slots__ = ("_form", "_handler", "_previous_levels", "writer")

    def __init__(
        self, writer: LineWriter, *, form: Callable[[Record], bytes], event_form: Callable[[logging.LogRecord], bytes]
    ) -> None:
        self.writer = writer
        self._form = form
        self._handler = EventHandler(writer.write, event_form)
        self._previous_levels = (logging.root.level, logging.getLogger(OURS).level)

    @property
    def lost(self) -> int:
        """Number of lines that were dropped because they were not read."""
        return self.writer.lost

    def write(self, record: Record) -> bytes:
        """Queue the line of a record, exactly once for each request. Return the JSON line, whatever the form."""
        output = self._form(record)
        self.writer.write(output)
        return output if self._form is line else line(record)

    def attach(self, level: str) -> None:
        """Take over `logging`: our events from `level` on, warnings of libraries, and `warnings.warn`."""
        logging.root.addHandler(self._handler)
        logging.root.setLevel(logging.WARNING)
        logging.getLogger(OURS).setLevel(level.upper())
        logging.captureWarnings(capture=True)

    def close(self, timeout: float = 2.0) -> bool:
        """Release `logging` and flush, blocking for at most `timeout` seconds. Return False if lines were left."""
        logging.root.removeHandler(self._handler)
        logging.captureWarnings(capture=False)
        logging.root.setLevel(self._previous_levels[0])
        logging.getLogger(OURS).setLevel(self._previous_levels[1])
        return self.writer.close(timeout)


def setup(level: str = "info", form: Form = "auto", stream: TextIO | None = None) -> Log:
    """Return the log of this process on `stream` (stdout), with events from `level` (of `LEVELS`) on; `auto` is text on
    a terminal.
    """
    target = sys.stdout if stream is None else stream
    if form == "json" or (form == "auto" and not target.isatty()):
        log = Log(LineWriter(target), form=line, event_form=event_line)
    else:
        colour = target.isatty() and "NO_COLOR" not in os.environ
        log = Log(
            LineWriter(target),
            form=lambda record: f"{text(record, colour=colour)}\n".encode(),
            event_form=lambda event: f"{event_text(event, colour=colour)}\n".encode(),
        )
    log.attach(level)
    return log


def _is_logged(event: logging.LogRecord) -> bool:
    return event.levelno >= logging.WARNING or event.name.partition(".")[0] == OURS


def _message(event: logging.LogRecord) -> str:
    """Return the message, cut. A library whose arguments do not fit its format must not cause an error here."""
    try:
        message = event.getMessage()
    except (TypeError, ValueError, KeyError):
        message = str(event.msg)
    return mask_start(message, LONGEST_TEXT)


def _fields(event: logging.LogRecord) -> dict[str, Any]:
    fields: dict[str, Any] = getattr(event, "fields", {})
    return {
        name: mask_start(value, LONGEST_FIELD) if isinstance(value, str) else value for name, value in fields.items()
    }


def _trace(event: logging.LogRecord) -> str:
    if not event.exc_info or event.exc_info[1] is None:
        return ""
    return mask_start("".join(traceback.format_exception(event.exc_info[1])), LONGEST_TEXT)
