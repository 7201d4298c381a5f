import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from gateway.server.workers.rpc import Channel, ChannelError, NoticeQueue, send_notices, serve_requests


@asynccontextmanager
async def open_channel(
    **handlers: Callable[[Any], Awaitable[Any]],
) -> AsyncIterator[tuple[Channel, asyncio.StreamWriter]]:
    """Yield a channel to these handlers, and the writer of their end."""
    left, right = socket.socketpair()
    reader, writer = await asyncio.open_unix_connection(sock=right)
    answering = asyncio.create_task(serve_requests(reader, writer, handlers))
    channel = await Channel.open(left)
    yield channel, writer
    channel.close()
    await answering
    writer.close()
    await asyncio.wait({channel.closed})


async def echo(argument: Any) -> Any:
    return argument


async def test_an_answer_of_any_size_arrives_unchanged() -> None:
    large = {("a", str(number)): [1.5, number] for number in range(50_000)}
    async with open_channel(echo=echo) as (channel, _):
        assert await channel.request("echo", large) == large
        assert await channel.request("echo") is None


async def test_answers_come_in_any_order() -> None:
    gate = asyncio.Event()

    async def wait(argument: Any) -> Any:
        await gate.wait()
        return argument

    async with open_channel(wait=wait, echo=echo) as (channel, _):
        first = asyncio.create_task(channel.request("wait", 1))
        assert await channel.request("echo", 2) == 2
        assert not first.done()
        gate.set()
        assert await first == 1


async def test_a_refusal_keeps_its_message() -> None:
    async def refuse(_: Any) -> None:
        raise OSError(2, "no such file as that")

    async with open_channel(refuse=refuse) as (channel, _):
        with pytest.raises(OSError, match="no such file as that"):
            await channel.request("refuse")


async def test_a_defect_in_a_handler_is_answered(caplog: pytest.LogCaptureFixture) -> None:
    async def fail(_: Any) -> None:
        raise KeyError("secret detail")

    async with open_channel(fail=fail) as (channel, _):
        with pytest.raises(OSError, match=r"^a defect: KeyError$"):
            await channel.request("fail")
    assert "cannot answer the supervisor" in caplog.text


async def test_a_late_answer_is_dropped_after_the_timeout() -> None:
    gate = asyncio.Event()

    async def wait(_: Any) -> None:
        await gate.wait()

    async with open_channel(wait=wait, echo=echo) as (channel, _):
        with pytest.raises(ChannelError, match=r"does not answer within 0\.01 s"):
            await channel.request("wait", within=0.01)
        gate.set()
        assert await channel.request("echo", 3) == 3


async def test_notices_arrive_in_order_in_both_directions() -> None:
    left, right = socket.socketpair()
    received: list[Any] = []
    here: list[Any] = []
    reader, writer = await asyncio.open_unix_connection(sock=right)
    answering = asyncio.create_task(serve_requests(reader, writer, {"echo": echo}, received.extend))
    channel = await Channel.open(left, here.extend)
    to_worker, to_supervisor = NoticeQueue(channel.notify), NoticeQueue(lambda notices: send_notices(writer, notices))
    for number in range(100):
        to_worker.put(number)
        to_supervisor.put(-number)
        if number % 7 == 0:
            await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert await channel.request("echo", 1) == 1
    assert received == list(range(100))
    assert here == [-number for number in range(100)]
    channel.close()
    await answering
    to_supervisor.put("too late")
    await asyncio.sleep(0)
    writer.close()
    await asyncio.wait({channel.closed})


async def test_defect_in_a_notice_does_not_end_the_channel(caplog: pytest.LogCaptureFixture) -> None:
    def fail(_notices: list[Any]) -> None:
        raise KeyError

    left, right = socket.socketpair()
    reader, writer = await asyncio.open_unix_connection(sock=right)
    answering = asyncio.create_task(serve_requests(reader, writer, {"echo": echo}, fail))
    channel = await Channel.open(left)
    channel.notify([1])
    assert await channel.request("echo", 2) == 2
    assert "cannot act on a notice" in caplog.text
    channel.close()
    await answering
    writer.close()
    await asyncio.wait({channel.closed})


async def test_requests_fail_when_the_worker_ends() -> None:
    async with open_channel(wait=lambda _: asyncio.Event().wait()) as (channel, writer):
        waiting = asyncio.create_task(channel.request("wait"))
        await asyncio.sleep(0)
        writer.close()
        with pytest.raises(ChannelError, match="has ended"):
            await waiting
        await asyncio.wait({channel.closed})
        with pytest.raises(ChannelError, match="has ended"):
            await channel.request("wait")
