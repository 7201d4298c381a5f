"""The caller's body: counted, framed, and kept while it is small."""

import asyncio

import pytest
from aiohttp.base_protocol import BaseProtocol
from aiohttp.streams import EMPTY_PAYLOAD, StreamReader

from gateway.errors import BodyTooLarge
from gateway.proxy.body import CallerBody
from gateway.proxy.dialing import Origin, dial
from tests.fakes.gate import until
from tests.fakes.upstream import Upstream


def stream(*pieces: bytes, ended: bool = True) -> StreamReader:
    loop = asyncio.get_running_loop()
    reader = StreamReader(BaseProtocol(loop), 1 << 16, loop=loop)
    for piece in pieces:
        reader.feed_data(piece)
    if ended:
        reader.feed_eof()
    return reader


def body(
    content: StreamReader, *, has_body: bool = True, chunked: bool = False, keep: int = 10, limit: int | None = None
) -> CallerBody:
    return CallerBody(content, has_body=has_body, chunked=chunked, keep=keep, limit=limit, invite=lambda: None)


async def test_no_body_is_nothing_and_whole() -> None:
    nothing = body(EMPTY_PAYLOAD, has_body=False)
    assert (nothing.at_once(), nothing.is_whole, nothing.taken) == ([], True, 0)


async def test_what_is_all_here_is_given_at_once_and_again() -> None:
    plain, chunks = body(stream(b"ab", b"cd")), body(stream(b"ab", b"cd"), chunked=True)
    assert plain.at_once() == plain.at_once() == [b"abcd"]
    assert b"".join(chunks.at_once() or []) == b"".join(chunks.at_once() or []) == b"4\r\nabcd\r\n0\r\n\r\n"
    assert (plain.taken, chunks.taken) == (4, 4)


async def test_an_empty_chunked_body_still_has_its_end() -> None:
    empty = body(stream(), chunked=True)
    assert empty.at_once() == empty.at_once() == [b"0\r\n\r\n"]


async def test_what_is_still_coming_is_not_given() -> None:
    coming = body(stream(b"ab", ended=False))
    assert coming.at_once() is None
    assert coming.taken == 0


async def test_what_is_longer_than_is_kept_is_given_but_not_whole() -> None:
    long = body(stream(b"x" * 11))
    assert long.at_once() == [b"x" * 11]
    assert not long.is_whole


async def test_what_became_too_long_to_keep_is_let_go() -> None:
    content = stream(b"x" * 5, ended=False)
    growing = body(content)
    assert len(await growing._next(5.0)) == 5
    assert growing.is_whole
    content.feed_data(b"x" * 6)
    await growing._next(5.0)
    assert growing._kept == []


async def test_what_is_too_long_is_refused() -> None:
    with pytest.raises(BodyTooLarge):
        body(stream(b"x" * 11), limit=10).at_once()
    assert body(stream(b"x" * 10), limit=10).at_once() == [b"x" * 10]


@pytest.mark.parametrize("chunked", [True, False])
async def test_a_second_pump_begins_where_the_body_begins(*, chunked: bool) -> None:
    async with asyncio.timeout(10), Upstream() as peer:
        origin = Origin("127.0.0.1", peer.port, None, None)
        content = stream(b"abc", ended=False)
        half = body(content, chunked=chunked)
        framing = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: 6"
        for last in (False, True):
            connection = await dial(origin, lambda _: None)
            connection.begin(to_head=False)
            connection.write(b"POST / HTTP/1.1\r\n" + framing + b"\r\n\r\n")
            pump = asyncio.create_task(half.pump(connection, idle=5.0, response=5.0))
            await until(lambda: half.taken >= 3)
            if last:
                content.feed_data(b"def")
                content.feed_eof()
                await pump
                assert (await connection.head()).status == 200
            else:
                pump.cancel()
                await asyncio.wait({pump})
            connection.abort()
        assert [request.body for request in peer.requests] == [b"abcdef"]
        assert (half.taken, half.is_whole) == (6, True)
