"""Wait for the next event of a connection, in a task of asyncio or in an `EagerTask`, with a time limit."""

import asyncio
from abc import ABC, abstractmethod

from gateway.http.eager_task import EagerTask
from gateway.http.flow_control import FlowControl


class EventWait(FlowControl, ABC):
    """A protocol whose reader waits for the next event: bytes, the end of the connection, or a timeout. One reader at a
    time waits; `_reader_task` runs it, or a task of asyncio does.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._loop = loop
        self._transport: asyncio.Transport | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._reader_task: EagerTask[bool] | None = None
        self._is_suspended = False
        self._timer: asyncio.TimerHandle | None = None
        self._deadline: float | None = None
        self._timeout_reason = ""

    async def _next_event(self) -> None:
        """Wait for bytes, or for the end of the connection."""
        if self._reader_task is None:
            self._waiter = self._loop.create_future()
            await self._waiter
            return
        self._is_suspended = True
        try:
            await self._reader_task.suspend()
        finally:
            self._is_suspended = False

    def _wake(self) -> None:
        if self._transport is None:
            self.wake_writer()
        if self._is_suspended and self._reader_task is not None:
            self._is_suspended = False
            self._reader_task.resume()
            return
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def _set_timer(self, seconds: float, reason: str) -> None:
        """Set the deadline. One timer serves many requests: it is set again only when it has expired, or when the new
        deadline is earlier.
        """
        self._deadline = self._loop.time() + seconds
        self._timeout_reason = reason
        if self._timer is None or self._timer.when() > self._deadline:
            self._cancel_timer()
            self._timer = self._loop.call_at(self._deadline, self._on_timer)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _on_timer(self) -> None:
        self._timer = None
        if self._deadline is None:
            return
        if self._loop.time() < self._deadline:
            self._timer = self._loop.call_at(self._deadline, self._on_timer)
        else:
            self._on_timeout(self._timeout_reason)

    @abstractmethod
    def _on_timeout(self, reason: str) -> None:
        """End the exchange: the deadline, which `reason` describes, has passed."""
