"""The feed of live calls: bounded memory, slow readers lose lines and learn how many."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from gateway.observe.call_feed import CallFeed, lost_line
from tests.fakes.waiting import TIME_LIMIT


def line(number: int) -> bytes:
    return b'{"number":%d}\n' % number


async def read_next(reader: AsyncGenerator[Sequence[bytes], None]) -> list[bytes]:
    async with asyncio.timeout(TIME_LIMIT):
        return [*await anext(reader)]


async def read_lines(reader: AsyncGenerator[Sequence[bytes], None], count: int) -> list[bytes]:
    lines: list[bytes] = []
    while len(lines) < count:
        lines += await read_next(reader)
    return lines


async def start(feed: CallFeed, reader: AsyncGenerator[Sequence[bytes], None]) -> None:
    """Let a reader begin: it reads one line."""
    task = asyncio.ensure_future(read_next(reader))
    await asyncio.sleep(0)
    feed.publish([b"begin\n"])
    assert b"begin\n" in await task


async def test_readers_get_all_lines_in_order() -> None:
    feed = CallFeed(interval=0.001)
    async with aclosing(feed.watch()) as one, aclosing(feed.watch()) as other:
        await start(feed, one)
        await start(feed, other)
        for number in range(1200):
            feed.publish([line(number)])
        wanted = [line(number) for number in range(1200)]
        assert (await read_lines(one, 1201))[-1200:] == wanted
        assert await read_lines(other, 1200) == wanted


async def test_100_readers_share_the_buffer_and_one_never_reads() -> None:
    feed = CallFeed(interval=0.001, max_lines=100)
    readers = [feed.watch() for _ in range(100)]
    firsts = [asyncio.ensure_future(read_next(reader)) for reader in readers]
    await asyncio.sleep(0)
    feed.publish([b"begin\n"])
    assert await asyncio.gather(*firsts) == [[b"begin\n"]] * 100
    sleeper, *others = readers
    for start_number in range(0, 1000, 50):
        numbers = range(start_number, start_number + 50)
        for number in numbers:
            feed.publish([line(number)])
        lines = await asyncio.gather(*(read_lines(reader, 50) for reader in others))
        assert lines == [[line(number) for number in numbers]] * 99
    assert await read_next(sleeper) == [lost_line(900), *(line(number) for number in range(900, 1000))]
    for reader in readers:
        await reader.aclose()
    assert not feed.is_watched


async def test_a_slow_reader_learns_how_many_lines_it_lost() -> None:
    feed = CallFeed(interval=0.001, max_lines=10)
    async with aclosing(feed.watch()) as reader:
        await start(feed, reader)
        for number in range(25):
            feed.publish([line(number)])
        assert await read_next(reader) == [lost_line(15), *(line(number) for number in range(15, 25))]
        feed.publish_lost(7)
        assert await read_next(reader) == [lost_line(7)]
        feed.publish_lost(5)
        for number in range(10):
            feed.publish([line(number)])
        assert (await read_next(reader))[0] == lost_line(5)


async def test_large_lines_are_bounded_by_their_bytes() -> None:
    feed = CallFeed(interval=0.001, max_bytes=1000)
    async with aclosing(feed.watch()) as reader:
        await start(feed, reader)
        for _ in range(50):
            feed.publish([b"x" * 299 + b"\n"])
        first, *rest = await read_next(reader)
        assert (first, len(rest)) == (lost_line(47), 3)


async def test_without_a_reader_no_line_is_kept() -> None:
    changes: list[bool] = []
    feed = CallFeed(changes.append, interval=0.001)
    feed.publish([line(1)])
    async with aclosing(feed.watch()) as reader:
        await start(feed, reader)
        feed.publish([line(2)])
    assert changes == [True, False]
    feed.publish([line(3)])
    async with aclosing(feed.watch()) as reader:
        task = asyncio.ensure_future(read_next(reader))
        await asyncio.sleep(0)
        feed.publish([line(4)])
        assert await task == [line(4)]


async def test_readers_at_one_position_share_a_batch() -> None:
    feed = CallFeed(interval=0.001)
    async with aclosing(feed.watch()) as one, aclosing(feed.watch()) as other:
        await start(feed, one)
        await start(feed, other)
        assert await read_next(one) == [b"begin\n"]  # the one that let the other begin
        feed.publish([line(1), line(2)])
        first = await anext(one)
        feed.publish([line(3)])
        assert await anext(other) == first == (line(1), line(2))
        assert await read_next(one) == await read_next(other) == [line(3)]
