"""Open calls: a history stores each unsafe call before it is sent, so that it can be found if the process is killed.

A process is identified by its id and its start time, because another process may get the same id later.
"""

import os
from pathlib import Path
from typing import NamedTuple

from gateway.errors import Lost
from gateway.observe.record import Record, record_line

_START_TIME = 19  # index of `starttime` after the name in /proc/PID/stat; the name may contain any character (proc(5))


class OpenCall(NamedTuple):
    """A call that is sent and has no record yet."""

    time: str
    request_id: str | None
    route: str | None
    credential: str | None
    client: str | None
    method: str | None
    path: str | None
    caller: str | None
    trace_id: str | None

    def lost_line(self) -> bytes:
        """Return the record that is shown if the process ends without writing one."""
        return record_line(Record(**self._asdict(), error=Lost.code, reason=Lost.meaning))


def open_call_of(record: Record) -> OpenCall:
    """Return the facts of an incomplete record that are known before the call is sent."""
    return OpenCall(*(getattr(record, name) for name in OpenCall._fields))


def process_identity(pid: int) -> str | None:
    """Return a text that identifies the process on this machine; None if no process has this id."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except FileNotFoundError:  # there is no such process, or /proc hides it (`is_running`)
        return str(pid) if _exists(pid) else None
    except OSError:  # it has just ended
        return None
    return f"{pid} {stat.rpartition(b')')[2].split()[_START_TIME].decode()}"


def is_running(identity: str) -> bool:
    """Return whether the process with this identity still runs.

    /proc may hide processes (`hidepid`, `ProtectProc=`), even from their own user if they are not dumpable. Only the id
    is compared then, so that a call in progress is never shown as lost.
    """
    pid, _, _ = identity.partition(" ")
    return process_identity(int(pid)) in {identity, pid}


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except OSError as error:
        return isinstance(error, PermissionError)
    return True
