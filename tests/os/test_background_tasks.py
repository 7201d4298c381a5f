"""Tasks in the background: a wait for all of them, one that is cancelled, one that fails."""

import asyncio
import gc
import weakref
from typing import Any

import pytest

from gateway.system.background_tasks import BackgroundTasks


async def test_wait_includes_tasks_that_begin_meanwhile() -> None:
    tasks, ended = BackgroundTasks(), []

    async def work(number: int) -> None:
        await asyncio.sleep(0)
        if number:
            tasks.start(work(number - 1))
        ended.append(number)

    tasks.start(work(3))
    await tasks.wait()
    assert ended == [3, 2, 1, 0]
    await tasks.wait()


async def test_a_cancelled_wait_cancels_no_task() -> None:
    tasks, gate, ended = BackgroundTasks(), asyncio.Event(), []

    async def work() -> None:
        await gate.wait()
        ended.append(True)

    tasks.start(work())
    waiting = asyncio.create_task(tasks.wait())
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    gate.set()
    await tasks.wait()
    assert ended == [True]


async def test_an_error_goes_to_the_loop_and_not_to_the_wait() -> None:
    tasks, reports = BackgroundTasks(), list[dict[str, Any]]()
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reports.append(context))

    async def fail() -> None:
        raise ValueError("no")

    tasks.start(fail())
    await tasks.wait()
    gc.collect()
    [report] = reports
    assert isinstance(report["exception"], ValueError)


async def test_a_task_is_held_until_its_end() -> None:
    tasks = BackgroundTasks()
    waiter = asyncio.get_running_loop().create_future()
    reference = weakref.ref(waiter)

    async def work(future: "asyncio.Future[None]") -> None:
        await future

    tasks.start(work(waiter))
    await asyncio.sleep(0)
    del waiter
    gc.collect()
    future = reference()
    assert future is not None
    future.set_result(None)
    await tasks.wait()
