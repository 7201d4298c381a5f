"""The audit: one line for each login and action, in the log and, if configured, in a file."""

import asyncio
import json
import logging
import os
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Literal

from gateway.console.page import AuditRow
from gateway.observe.json_line import json_line
from gateway.observe.log import log_event
from gateway.observe.timestamp import timestamp
from gateway.system.files import in_thread
from gateway.system.safe_write import append_line

_log = logging.getLogger(__name__)

MAX_KEPT = 500  # entries in memory
MAX_READ = 256 * 1024  # bytes of the file that a page shows
_ROW_FIELDS = ("who", "role", "client", "action", "target", "result", "detail")

AuditResult = Literal["ok", "failed", "denied"]


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """Who did what, from where, with which result. `login` is how the person logged in, `target` what the action was
    done to. Nothing is a secret: what a person typed is shown only if it is the name of a user.
    """

    who: str
    login: str
    role: str
    client: str
    action: str
    target: str
    result: AuditResult
    detail: str = ""


class AuditLog:
    """Writes entries in their order. `path` is None without a file."""

    def __init__(self, path: str | None, *, wall: Callable[[], float]) -> None:
        self.set_path(path)
        self._wall = wall
        self._writing = asyncio.Lock()
        self._last: deque[AuditRow] = deque(maxlen=MAX_KEPT)

    def set_path(self, path: str | None) -> None:
        """Write further entries to another file."""
        self._path = Path(path) if path is not None else None

    async def recent(self, limit: int) -> Sequence[AuditRow]:
        """Return the last entries, newest first: those of the file, else those since the start of the gateway."""
        if self._path is not None:
            try:
                content = await in_thread(partial(_read_end, self._path), owner=self)
            except FileNotFoundError:
                return ()
            except OSError:
                pass  # those in memory
            else:
                rows = (_read_row(line) for line in reversed(content.splitlines()))
                return [*islice((row for row in rows if row is not None), limit)]
        return [*islice(reversed(self._last), limit)]

    async def write(self, entry: AuditEntry) -> None:
        """Write an entry; return when it is on the disk. A file that cannot be written is logged, with the entry."""
        fields, now = asdict(entry), self._wall()
        self._last.append(_row(now, fields))
        log_event(_log, logging.INFO, "audit", f"{entry.action}: {entry.result}", **fields)
        if self._path is None:
            return
        async with self._writing:
            line = json_line({"time": timestamp(now), **fields})
            try:
                await in_thread(partial(append_line, self._path, line), owner=self)
            except OSError as cause:
                message = f"cannot write the audit to {self._path}: {cause.strerror or type(cause).__name__}"
                remedy = "make room, or correct its permissions; the log has every entry as event `audit`"
                log_event(_log, logging.ERROR, "audit-failed", f"{message}; {remedy}")


def _read_end(path: Path) -> bytes:
    """Return the last complete lines of the file."""
    with path.open("rb") as file:
        start = max(0, file.seek(0, os.SEEK_END) - MAX_READ)
        file.seek(start)
        content = file.read(MAX_READ)
    return content.partition(b"\n")[2] if start else content


def _read_row(line: bytes) -> AuditRow | None:
    """Return an entry of the file; None for a line that is none, such as one that a crash has cut short."""
    try:
        document = json.loads(line)
        return _row(datetime.fromisoformat(document["time"]).timestamp(), document)
    except (ValueError, KeyError, TypeError):
        return None


def _row(time: float, fields: Mapping[str, str]) -> AuditRow:
    return AuditRow(time, *(str(fields[name]) for name in _ROW_FIELDS))
