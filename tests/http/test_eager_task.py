"""A coroutine that runs at once, without a task of the event loop, until it needs one."""

import asyncio
from collections.abc import Callable, Coroutine, Generator
from types import coroutine

from gateway.http.eager_task import SUSPENDED, EagerTask
from tests.fakes.gate import until


class Run:
    """An eager task and how it ended."""

    def __init__(self) -> None:
        self.results: list[str] = []
        self.failures: list[BaseException] = []
        self.task: EagerTask[str] = EagerTask(
            asyncio.get_running_loop(), on_done=self.results.append, on_failed=self.failures.append
        )

    def start(self, make: "Callable[[EagerTask[str]], Coroutine[object, None, str]]") -> None:
        self.task.start(make(self.task))


@coroutine
def suspend() -> Generator[object, None, None]:
    yield SUSPENDED


async def waits_twice(_: "EagerTask[str]") -> str:
    await suspend()
    await suspend()
    return "done"


async def waits_as_a_task(task: "EagerTask[str]") -> str:
    await task.become_task()
    await task.become_task()
    async with asyncio.timeout(10):
        await asyncio.sleep(0)
    return "done"


async def waits_for_a_future(_: "EagerTask[str]") -> str:
    await asyncio.sleep(1)
    return "done"


async def test_a_coroutine_runs_in_the_callbacks_that_resume_it() -> None:
    run = Run()
    run.start(waits_twice)
    run.task.resume()
    assert run.results == []
    run.task.resume()
    assert (run.results, run.failures, run.task.task) == (["done"], [], None)


async def test_a_coroutine_that_needs_a_task_goes_on_there() -> None:
    run = Run()
    run.start(waits_as_a_task)
    assert run.task.task is not None
    await until(lambda: run.results == ["done"])
    run.start(waits_twice)
    assert run.task.task is None


async def test_cancelling_raises_where_the_coroutine_waits() -> None:
    for make in (waits_twice, waits_as_a_task):
        run = Run()
        run.start(make)
        run.task.cancel()
        await until(lambda run=run: bool(run.failures))  # type: ignore[misc] # a lambda of no type
        assert [type(error) for error in run.failures] == [asyncio.CancelledError]
        assert run.results == []
        run.task.cancel()  # nothing is left to cancel


async def test_a_wait_without_a_task_is_reported_as_a_defect() -> None:
    run = Run()
    run.start(waits_for_a_future)
    assert [str(error) for error in run.failures] == ["a coroutine waits without `become_task`"]


async def test_errors_of_the_coroutine_are_reported() -> None:
    async def fails(_: "EagerTask[str]") -> str:
        await suspend()
        raise ValueError("no")

    async def fails_as_a_task(task: "EagerTask[str]") -> str:
        await task.become_task()
        raise ValueError("no")

    first, second = Run(), Run()
    first.start(fails)
    first.task.resume()
    second.start(fails_as_a_task)
    await until(lambda: bool(second.failures))
    assert [str(error) for error in (*first.failures, *second.failures)] == ["no", "no"]
