import asyncio
import json
import tracemalloc

from gateway.history.interface import HistoryLimits
from gateway.history.memory import DEFAULT_CALLS, LINE_OVERHEAD, SEARCH_STEP, MemoryHistory
from gateway.history.query import HistoryQuery
from tests.history.call_lines import EVERYTHING, START, Turned, asked, call_line


def filled(count: int, limits: HistoryLimits = EVERYTHING, clock: Turned | None = None) -> MemoryHistory:
    history = MemoryHistory(limits, clock=clock or Turned(START + count))
    for number in range(count):
        history.append(call_line(number))
    return history


async def found(history: MemoryHistory, query: HistoryQuery | None = None) -> list[str]:
    return [json.loads(line)["request_id"] for line in (await history.find(query or HistoryQuery())).lines]


async def test_the_newest_come_first() -> None:
    history = filled(30)
    assert await found(history) == [f"request-{number}" for number in range(29, 9, -1)]
    assert await found(history, HistoryQuery(limit=2)) == ["request-29", "request-28"]
    assert (await history.find(HistoryQuery())).kept == 30


async def test_a_call_that_took_long_stands_where_it_came() -> None:
    history = MemoryHistory(EVERYTHING, clock=Turned(START + 10))
    for number in (2, 3, 1):  # in the order of their ends
        history.append(call_line(number))
    assert await found(history) == ["request-3", "request-2", "request-1"]


async def test_more_than_a_stride_is_searched_whole() -> None:
    history = filled(3 * SEARCH_STEP + 7)
    for number in (0, SEARCH_STEP - 1, SEARCH_STEP, 2 * SEARCH_STEP, 3 * SEARCH_STEP + 6):
        assert await found(history, asked(id=f"instance-{number}")) == [f"request-{number}"]
    assert len(await found(history, HistoryQuery(limit=10_000))) == 3 * SEARCH_STEP + 7


async def test_the_number_of_calls_is_limited() -> None:
    history = filled(50, HistoryLimits(7, 1e9, 1 << 30))
    assert await found(history, HistoryQuery(limit=100)) == [f"request-{number}" for number in range(49, 42, -1)]
    assert (await history.find(HistoryQuery())).kept == 7
    assert await found(filled(DEFAULT_CALLS + 5), asked(id="instance-4")) == []


async def test_only_so_much_room_is_taken() -> None:
    size = 10 * (len(call_line(10)) + LINE_OVERHEAD)
    history = filled(50, HistoryLimits(None, 1e9, size))
    assert (await history.find(HistoryQuery())).kept == 10
    history.append(call_line(50, path="/" + "x" * 900))
    assert (await history.find(HistoryQuery())).kept < 10
    assert (await found(history))[0] == "request-50"


async def test_what_is_too_old_is_gone() -> None:
    clock = Turned(START + 100)
    history = filled(100, HistoryLimits(None, 50.0, 1 << 30), clock)
    assert (await history.find(HistoryQuery())).kept == 50
    assert await found(history, asked(id="instance-49")) == []
    assert await found(history, asked(id="instance-50")) == ["request-50"]
    clock.now += 1000
    answer = await history.find(HistoryQuery())
    assert (answer.kept, answer.lines) == (0, ())
    assert not history._lines
    assert history._size == 0


async def test_a_change_of_limits_counts_at_once() -> None:
    history = filled(50)
    history.set_limits(HistoryLimits(5, 1e9, 1 << 30))
    assert len(await found(history)) == 5
    history.set_limits(HistoryLimits(0, 1e9, 1 << 30))
    history.append(call_line(60))
    assert (await history.find(HistoryQuery())).kept == 0


async def test_a_search_lets_others_have_their_turn() -> None:
    history = filled(20 * SEARCH_STEP)
    turns = 0
    searching = asyncio.create_task(history.find(asked(route="none")))
    while not searching.done():
        turns += 1
        await asyncio.sleep(0)
    assert turns >= 20


async def test_calls_that_come_while_it_searches_do_it_no_harm() -> None:
    history = filled(3 * SEARCH_STEP, HistoryLimits(3 * SEARCH_STEP, 1e9, 1 << 30))
    searching = asyncio.create_task(history.find(HistoryQuery(limit=10_000)))
    while not searching.done():
        history.append(call_line(99_999))
        await asyncio.sleep(0)
    assert len((await searching).lines) == 3 * SEARCH_STEP


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
