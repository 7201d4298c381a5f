"""The history in memory: order, limits, age, and searches in steps."""

import asyncio
import json
import tracemalloc

from gateway.history.interface import HistoryLimits
from gateway.history.memory import DEFAULT_CALLS, LINE_OVERHEAD, SEARCH_STEP, MemoryHistory
from gateway.history.query import HistoryQuery
from tests.history.call_lines import EVERYTHING, START, ManualClock, call_line, query_of


def filled_history(count: int, limits: HistoryLimits = EVERYTHING, clock: ManualClock | None = None) -> MemoryHistory:
    history = MemoryHistory(limits, clock=clock or ManualClock(START + count))
    for number in range(count):
        history.append([call_line(number)])
    return history


async def find_ids(history: MemoryHistory, query: HistoryQuery | None = None) -> list[str]:
    return [json.loads(line)["request_id"] for line in (await history.find(query or HistoryQuery())).lines]


async def test_the_newest_calls_come_first() -> None:
    history = filled_history(30)
    assert await find_ids(history) == [f"request-{number}" for number in range(29, 9, -1)]
    assert await find_ids(history, HistoryQuery(limit=2)) == ["request-29", "request-28"]
    assert (await history.find(HistoryQuery())).kept == 30


async def test_a_long_call_is_sorted_by_its_arrival() -> None:
    history = MemoryHistory(EVERYTHING, clock=ManualClock(START + 10))
    for number in (2, 3, 1):  # in the order of their ends
        history.append([call_line(number)])
    assert await find_ids(history) == ["request-3", "request-2", "request-1"]


async def test_all_steps_of_a_search_are_searched() -> None:
    history = filled_history(3 * SEARCH_STEP + 7)
    for number in (0, SEARCH_STEP - 1, SEARCH_STEP, 2 * SEARCH_STEP, 3 * SEARCH_STEP + 6):
        assert await find_ids(history, query_of(id=f"instance-{number}")) == [f"request-{number}"]
    assert len(await find_ids(history, HistoryQuery(limit=10_000))) == 3 * SEARCH_STEP + 7


async def test_the_number_of_calls_is_limited() -> None:
    history = filled_history(50, HistoryLimits(7, 1e9, 1 << 30))
    assert await find_ids(history, HistoryQuery(limit=100)) == [f"request-{number}" for number in range(49, 42, -1)]
    assert (await history.find(HistoryQuery())).kept == 7
    assert await find_ids(filled_history(DEFAULT_CALLS + 5), query_of(id="instance-4")) == []


async def test_the_size_is_limited() -> None:
    size = 10 * (len(call_line(10)) + LINE_OVERHEAD)
    history = filled_history(50, HistoryLimits(None, 1e9, size))
    assert (await history.find(HistoryQuery())).kept == 10
    history.append([call_line(50, path="/" + "x" * 900)])
    assert (await history.find(HistoryQuery())).kept < 10
    assert (await find_ids(history))[0] == "request-50"


async def test_calls_that_are_too_old_are_dropped() -> None:
    clock = ManualClock(START + 100)
    history = filled_history(100, HistoryLimits(None, 50.0, 1 << 30), clock)
    assert (await history.find(HistoryQuery())).kept == 50
    assert await find_ids(history, query_of(id="instance-49")) == []
    assert await find_ids(history, query_of(id="instance-50")) == ["request-50"]
    clock.now += 1000
    result = await history.find(HistoryQuery())
    assert (result.kept, result.lines) == (0, ())
    assert not history._lines
    assert history._size == 0


async def test_new_limits_apply_at_once() -> None:
    history = filled_history(50)
    history.set_limits(HistoryLimits(5, 1e9, 1 << 30))
    assert len(await find_ids(history)) == 5
    history.set_limits(HistoryLimits(0, 1e9, 1 << 30))
    history.append([call_line(60)])
    assert (await history.find(HistoryQuery())).kept == 0


async def test_other_tasks_run_during_a_search() -> None:
    history = filled_history(20 * SEARCH_STEP)
    steps = 0
    search = asyncio.create_task(history.find(query_of(route="none")))
    while not search.done():
        steps += 1
        await asyncio.sleep(0)
    assert steps >= 20


async def test_calls_may_arrive_during_a_search() -> None:
    history = filled_history(3 * SEARCH_STEP, HistoryLimits(3 * SEARCH_STEP, 1e9, 1 << 30))
    search = asyncio.create_task(history.find(HistoryQuery(limit=10_000)))
    while not search.done():
        history.append([call_line(99_999)])
        await asyncio.sleep(0)
    assert len((await search).lines) == 3 * SEARCH_STEP


def test_nothing_is_allocated_before_there_are_calls() -> None:
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        history = MemoryHistory(EVERYTHING)
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 4096
    assert history.health().ok
