"""A coroutine that runs at once, in the callback that starts it, and needs no task of asyncio until it must wait.

Most requests wait for one thing only, the response of the upstream. They yield `SUSPENDED`, and the callback that reads
the response resumes them: no task, no future and no turn of the loop is between the two. Every other wait needs a task
(`become_task`), which goes on with the same coroutine.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Final, Generic, TypeVar

T = TypeVar("T")

SUSPENDED: Final = object()
"""What a coroutine yields that waits for `resume`; not in a task."""


class EagerTask(Generic[T]):
    """Runs one coroutine after the other. `task` is the task that has taken over the present one, if any has."""

    __slots__ = ("_coroutine", "_loop", "_on_done", "_on_failed", "task")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        *,
        on_done: Callable[[T], None],
        on_failed: Callable[[BaseException], None],
    ) -> None:
        """At its end, each coroutine calls `on_done` with its result, or `on_failed`, also if it is cancelled."""
        self._loop = loop
        self._on_done = on_done
        self._on_failed = on_failed
        self._coroutine: Coroutine[object, None, T] | None = None
        self.task: asyncio.Task[T] | None = None

    def start(self, coroutine: Coroutine[object, None, T]) -> None:
        """Run a coroutine until it waits or ends."""
        self._coroutine = coroutine
        self.task = None
        self.resume()

    def resume(self, error: BaseException | None = None) -> None:
        """Go on with the coroutine, which has yielded `SUSPENDED`, until it waits or ends; `error` is raised in it."""
        coroutine = self._coroutine
        assert coroutine is not None
        try:
            signal = coroutine.send(None) if error is None else coroutine.throw(error)
        except StopIteration as end:
            self._coroutine = None
            self._on_done(end.value)
        except BaseException as failure:  # noqa: BLE001 - as a task that failed
            self._end(failure)
        else:
            if signal is not SUSPENDED:
                self._continue_as_task(signal)

    def cancel(self) -> None:
        """Raise CancelledError where the coroutine waits."""
        if self.task is not None:
            self.task.cancel()
        elif self._coroutine is not None:
            self.resume(asyncio.CancelledError())

    # Called by the coroutine ----------------------------------------------------------------------------------------

    async def become_task(self) -> None:
        """Go on as a task: waits for futures and time limits need one."""
        if self.task is None:
            await asyncio.sleep(0)

    # Internals ------------------------------------------------------------------------------------------------------

    def _continue_as_task(self, signal: object) -> None:
        """Go on in a task. A coroutine that waits for a future already can no longer become one: that is a defect."""
        coroutine = self._coroutine
        assert coroutine is not None
        if signal is not None:
            coroutine.close()
            self._end(RuntimeError("a coroutine waits without `become_task`"))
            return
        self.task = self._loop.create_task(coroutine)
        self.task.add_done_callback(self._on_task_done)

    def _on_task_done(self, task: asyncio.Task[T]) -> None:
        if task.cancelled():
            self._end(asyncio.CancelledError())
        elif (error := task.exception()) is not None:
            self._end(error)
        else:
            self._coroutine = None
            self._on_done(task.result())

    def _end(self, error: BaseException) -> None:
        self._coroutine = None
        self._on_failed(error)
