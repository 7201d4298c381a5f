"""Calls in progress, as a history stores them in case their process ends first.

A process is identified by its id and its start time, because another process may have the same id later.
"""

import os
from pathlib import Path
from typing import NamedTuple

from gateway.errors import Lost
from gateway.observe.record import Record, line

_START = 19  # the place of `starttime` in /proc/PID/stat behind the name, which may hold anything (proc(5))


class OpenCall(NamedTuple):
    """A call that is about to be sent."""

    time: str
    request_id: str | None
    route: str | None
    credential: str | None
    client: str | None
    method: str | None
    path: str | None

    def lost_line(self) -> bytes:
        """Return the record to show if no other one is ever written."""
        return line(Record(**self._asdict(), error=Lost.code, reason=Lost.meaning))


def begun_of(record: Record) -> OpenCall:
    """Return what is known of a call whose record is not complete."""
    return OpenCall(*(getattr(record, name) for name in OpenCall._fields))


def process_name(pid: int) -> str | None:
    """Return a name that identifies the process on this machine; None if there is none with this id."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except FileNotFoundError:  # no such process, or no sight of it: see `is_running`
        return str(pid) if _exists(pid) else None
    except OSError:  # it has just ended
        return None
    return f"{pid} {stat.rpartition(b')')[2].split()[_START].decode()}"


def is_running(name: str) -> bool:
    """Return whether the process of this name still runs. If /proc hides processes (`hidepid`, `ProtectProc=`), even
    from their own user if they are not dumpable, only the id is compared: a call in progress must not be shown as lost.
    """
    pid, _, _ = name.partition(" ")
    return process_name(int(pid)) in {name, pid}


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except OSError as error:
        return isinstance(error, PermissionError)
    return True
