import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from gateway.server.workers.rpc import Channel, ChannelError, serve_requests


@asynccontextmanager
async def talking(**handlers: Callable[[Any], Awaitable[Any]]) -> AsyncIterator[tuple[Channel, asyncio.StreamWriter]]:
    """A line to one that answers by these handlers, and the writer at its end."""
    ours, theirs = socket.socketpair()
    reader, writer = await asyncio.open_unix_connection(sock=theirs)
    answering = asyncio.create_task(serve_requests(reader, writer, handlers))
    line = await Channel.open(ours)
    yield line, writer
    line.close()
    await answering
    writer.close()
    await asyncio.wait({line.closed})


async def echo(argument: Any) -> Any:
    return argument


async def test_an_answer_is_what_was_given_however_large() -> None:
    large = {("a", str(number)): [1.5, number] for number in range(50_000)}
    async with talking(echo=echo) as (line, _):
        assert await line.ask("echo", large) == large
        assert await line.ask("echo") is None


async def test_answers_come_in_any_order() -> None:
    gate = asyncio.Event()

    async def wait(argument: Any) -> Any:
        await gate.wait()
        return argument

    async with talking(wait=wait, echo=echo) as (line, _):
        first = asyncio.create_task(line.ask("wait", 1))
        assert await line.ask("echo", 2) == 2
        assert not first.done()
        gate.set()
        assert await first == 1


async def test_a_refusal_is_told_in_its_words() -> None:
    async def refuse(_: Any) -> None:
        raise OSError(2, "no such file as that")

    async with talking(refuse=refuse) as (line, _):
        with pytest.raises(OSError, match="no such file as that"):
            await line.ask("refuse")


async def test_nobody_waits_longer_than_they_said_and_a_late_answer_harms_nobody() -> None:
    gate = asyncio.Event()

    async def wait(_: Any) -> None:
        await gate.wait()

    async with talking(wait=wait, echo=echo) as (line, _):
        with pytest.raises(ChannelError, match=r"does not answer within 0\.01 s"):
            await line.ask("wait", within=0.01)
        gate.set()
        assert await line.ask("echo", 3) == 3


async def test_one_that_goes_answers_nothing_any_more() -> None:
    async with talking(wait=lambda _: asyncio.Event().wait()) as (line, writer):
        asked = asyncio.create_task(line.ask("wait"))
        await asyncio.sleep(0)
        writer.close()
        with pytest.raises(ChannelError, match="has gone"):
            await asked
        await asyncio.wait({line.closed})
        with pytest.raises(ChannelError, match="has gone"):
            await line.ask("wait")
