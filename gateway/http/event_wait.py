"""Wait for the next event of a connection, in a task of asyncio or in an `EagerTask`, with a time limit."""

import asyncio
import math
from abc import ABC, abstractmethod
from collections.abc import Awaitable
from typing import Final

from gateway.http.eager_task import SUSPENDED, EagerTask
from gateway.http.flow_control import FlowControl


class Suspension(tuple[object]):
    """Awaited, it yields its item: a generator would be one more object for each wait."""

    __slots__ = ()
    __await__ = tuple.__iter__


SUSPENSION: Final = Suspension((SUSPENDED,))


class EventWait(FlowControl, ABC):
    """A protocol whose reader waits for the next event: bytes, the end of the connection, or a timeout. One reader at a
    time waits; `_reader_task` runs it, or a task of asyncio does.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._loop = loop
        self._waiter: asyncio.Future[None] | None = None
        self._reader_task: EagerTask[bool] | None = None
        self._suspended: EagerTask[bool] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_due = math.inf
        self._deadline: float | None = None

    def _next_event(self) -> Awaitable[object]:
        """Return what the reader awaits: it ends with bytes, or with the connection. Then the reader sets `_suspended`
        to None, also if the wait is cancelled.
        """
        reader = self._reader_task
        if reader is None or reader.task is not None:
            self._waiter = self._loop.create_future()
            return self._waiter
        self._suspended = reader
        return SUSPENSION  # type: ignore[return-value] # PEP 492: any iterator

    def _wake(self) -> None:
        if self._transport is None:
            self.wake_writer()
        if self._suspended is not None:
            self._suspended.resume()
            return
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def _set_deadline(self, seconds: float) -> None:
        """Have the wait end in `seconds`. One timer serves many requests: it is set again only when it has expired, or
        when the new deadline is earlier.
        """
        self._deadline = deadline = self._loop.time() + seconds
        if deadline < self._timer_due:
            self._cancel_timer()
            self._set_timer(deadline)

    def _set_timer(self, due: float) -> None:
        self._timer = self._loop.call_at(due, self._on_timer)
        self._timer_due = due

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            self._timer_due = math.inf

    def _on_timer(self) -> None:
        self._cancel_timer()
        if self._deadline is None:
            return
        if self._loop.time() < self._deadline:
            self._set_timer(self._deadline)
        else:
            self._on_timeout()

    @abstractmethod
    def _on_timeout(self) -> None:
        """End the exchange: the deadline has passed."""
