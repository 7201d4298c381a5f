"""Passes the records of a worker to the supervisor, while a reader watches calls."""

import asyncio
from collections.abc import Callable, Sequence
from typing import NamedTuple

INTERVAL = 0.05
"""Seconds in which lines are collected for one notice."""
MAX_LINES = 500
"""Maximum lines of one notice: 10,000 calls a second."""
MAX_UNSENT = 1024 * 1024
"""Bytes that the supervisor has not read yet; above, lines are dropped."""


class CallLines(NamedTuple):
    """Records of calls, and how many more were dropped."""

    lines: list[bytes]
    lost: int


class CallLineSender:
    """Collects lines and sends them as notices. `unsent_bytes` returns how much the channel holds back."""

    def __init__(self, send: Callable[[CallLines], None], unsent_bytes: Callable[[], int]) -> None:
        self._send = send
        self._unsent_bytes = unsent_bytes
        self._lines: list[bytes] = []
        self._lost = 0
        self._timer: asyncio.TimerHandle | None = None

    def put(self, lines: Sequence[bytes]) -> None:
        """Send lines soon, or drop them. Never block."""
        taken = lines[: MAX_LINES - len(self._lines)]
        self._lines += taken
        self._lost += len(lines) - len(taken)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(INTERVAL, self._flush)

    def _flush(self) -> None:
        self._timer = None
        if self._unsent_bytes() > MAX_UNSENT:
            self._lost += len(self._lines)
            self._lines = []
            return
        notice = CallLines(self._lines, self._lost)
        self._lines, self._lost = [], 0
        self._send(notice)
