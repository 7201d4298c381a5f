"""Instance ids, and how each run ended, for the monitoring API.

An OIC 3 id is a version-1 UUID in base64url without padding (22 characters) with the time of the response's `Date`; Gen
2 ids are decimal numbers.
"""

import base64
import secrets
import uuid
from collections import OrderedDict
from dataclasses import dataclass

from gateway.sandbox.switches import InstanceIds

_EPOCH_TICKS = 0x01B21DD213814000  # 1582-10-15 to 1970-01-01 in 100 ns (RFC 9562 section 5.1)
_TICKS = 10_000_000


@dataclass(slots=True)
class Run:
    """One run of a flow: its id, the integration's code, its start (Unix seconds), the status of its response.

    The id is empty if nothing runs, as for a description.
    """

    instance_id: str
    code: str
    started_at: float
    status: int = 0


class Runs:
    """Makes instance ids and stores the last runs."""

    def __init__(self, limit: int = 1000) -> None:
        self._limit = limit
        self._runs: OrderedDict[str, Run] = OrderedDict()
        self._node = secrets.randbits(48) | (1 << 40)  # multicast bit: a random node (RFC 9562 section 6.10)
        self._clock_seq = secrets.randbits(14)
        self._ticks = 0
        self._serial = 100_000

    def begin(self, code: str, now: float, kind: InstanceIds) -> Run:
        """Start a run at `now` (Unix seconds). An id of kind `none` exists too; only the header does not show it."""
        run = Run(self._decimal() if kind == "decimal" else self._uuid(now), code, now)
        self._runs[run.instance_id] = run
        if len(self._runs) > self._limit:
            self._runs.popitem(last=False)
        return run

    def find(self, instance_id: str) -> Run | None:
        """Return the run of that id, if it is still stored."""
        return self._runs.get(instance_id)

    def latest(self, code: str | None = None) -> list[Run]:
        """Return the stored runs, newest first; only those of `code` if given."""
        return [run for run in reversed(self._runs.values()) if code in (None, run.code)]

    def _decimal(self) -> str:
        self._serial += 1
        return str(self._serial)

    def _uuid(self, now: float) -> str:
        # If the clock stands still, ids must not repeat: later ids use the next tick of 100 ns.
        self._ticks = max(self._ticks + 1, int(now) * _TICKS + int(now % 1 * _TICKS) + _EPOCH_TICKS)
        low, mid, high = self._ticks & 0xFFFFFFFF, self._ticks >> 32 & 0xFFFF, self._ticks >> 48 & 0x0FFF
        parts = (low, mid, high, self._clock_seq >> 8, self._clock_seq & 0xFF, self._node)
        return base64.urlsafe_b64encode(uuid.UUID(fields=parts, version=1).bytes).rstrip(b"=").decode()
