"""The last token requests of each credential, for the console."""

import os
import time
from collections import deque
from typing import TYPE_CHECKING

from gateway.oauth.fetch_events import FetchTrigger

if TYPE_CHECKING:
    from gateway.admin.console_backend import TokenFetch

KEPT_FETCHES = 50
"""Token requests that are kept for each credential: about 12 KiB."""


class FetchLog:
    """The token requests of this process. It keeps none until `is_on` is set, and survives a reload."""

    def __init__(self) -> None:
        self.is_on = False
        self._fetches: dict[str, deque[TokenFetch]] = {}
        self._running: dict[str, tuple[FetchTrigger, float]] = {}

    def begin(self, credential: str, trigger: FetchTrigger) -> None:
        """Note that a token request begins; a credential has at most one at a time."""
        if self.is_on:
            self._running[credential] = trigger, time.monotonic()

    def end(self, credential: str, code: str = "", reason: str = "", *, refused: bool = False) -> None:
        """Keep the request that has begun, if any, with its failure."""
        running = self._running.pop(credential, None)
        if running is None:
            return
        from gateway.admin.console_backend import TokenFetch  # noqa: PLC0415 - only with a console

        trigger, started_at = running
        fetch = TokenFetch(
            at=time.time(),
            seconds=round(time.monotonic() - started_at, 4),
            outcome="ok" if not code else "refused" if refused else "unavailable",
            trigger=trigger,
            code=code,
            reason=reason,
            process=os.getpid(),
        )
        self._fetches.setdefault(credential, deque(maxlen=KEPT_FETCHES)).append(fetch)

    def fetches(self, credential: str) -> "list[TokenFetch]":
        """Return the last token requests of a credential, newest first."""
        return [*self._fetches.get(credential, ())][::-1]
