"""One connection to an upstream: its exchange, its timers, its end."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from gateway.errors import UpstreamBroken, UpstreamTimeout
from gateway.http.body_reader import READ_SIZE
from gateway.http.upstream_connection import StaleConnection, UpstreamConnection
from gateway.http.upstream_dialer import dial
from gateway.network.dial import Origin
from gateway.proxy.headers import RESPONSE_RULES
from tests.fakes.gate import until
from tests.fakes.upstream import CLOSE, OK, Script, ScriptedConnection, Upstream, reply
from tests.fakes.waiting import TIME_LIMIT

GET = b"GET / HTTP/1.1\r\n\r\n"


@asynccontextmanager
async def connected(*script: Script) -> AsyncIterator[tuple[UpstreamConnection, Upstream]]:
    async with asyncio.timeout(TIME_LIMIT), Upstream(*script) as peer:
        connection = await dial(Origin("127.0.0.1", peer.port, None, None), lambda _: None, RESPONSE_RULES)
        yield connection, peer
        connection.abort()


async def asked(connection: UpstreamConnection) -> None:
    connection.start_exchange(is_head_request=False)
    connection.write([GET])
    connection.start_response_timer(2 * TIME_LIMIT)


def is_timed(connection: UpstreamConnection) -> bool:
    """Something is due: the timer itself may outlive what it was set for."""
    return connection._deadline is not None and connection._timer is not None


async def test_a_clean_exchange_leaves_a_reusable_connection() -> None:
    async with connected() as (connection, _):
        for count in (1, 2):
            await asked(connection)
            assert is_timed(connection)
            assert (await connection.read_head()).status == 200
            assert not is_timed(connection)
            assert (await connection.read_body(5.0), await connection.read_body(5.0)) == ([b"ok"], [])
            assert not is_timed(connection)
            assert connection.is_complete
            assert connection.end_exchange()
            assert (connection.response_head, connection.is_idle_clean(), connection.exchanges) == (None, True, count)


async def test_a_reply_that_is_awaited_too_long_is_a_timeout() -> None:
    async def mute(talk: ScriptedConnection) -> None:
        await talk.reader.read()

    async with connected(mute) as (connection, peer):
        connection.start_exchange(is_head_request=False)
        connection.write([GET])
        connection.start_response_timer(0.01)
        with pytest.raises(UpstreamTimeout):
            await connection.read_head()
        assert not connection.is_open
        assert not connection.end_exchange()
        await peer.until(lambda: peer.open == 0)


async def test_only_a_reused_connection_can_be_stale() -> None:
    async with connected(OK, CLOSE) as (connection, _):
        await asked(connection)
        await connection.read_head()
        await connection.read_body(5.0)
        assert connection.end_exchange()
        await asked(connection)
        with pytest.raises(StaleConnection):
            await connection.read_head()
    async with connected(CLOSE) as (connection, _):
        await asked(connection)
        with pytest.raises(UpstreamBroken) as caught:
            await connection.read_head()
        assert not isinstance(caught.value, StaleConnection)


async def test_a_connection_lost_before_its_exchange_fails_in_it() -> None:
    async def leave(talk: ScriptedConnection) -> None:
        pass

    async with connected(leave) as (connection, _):
        await until(lambda: not connection.is_open)
        await until(lambda: connection._transport is None)
        await asked(connection)
        with pytest.raises(UpstreamBroken):
            await connection.read_head()
        assert not connection.end_exchange()


async def test_an_abort_wakes_who_waits_and_is_harmless_twice() -> None:
    async def mute(talk: ScriptedConnection) -> None:
        await talk.reader.read()

    async with connected(mute) as (connection, _):
        await asked(connection)
        waiter = asyncio.create_task(connection.read_head())
        await asyncio.sleep(0)
        connection.abort()
        connection.abort()
        with pytest.raises(UpstreamBroken):
            await waiter
        assert connection._timer is None
        connection.write([b"into the void"])
        connection.write([b"into", b"the void"])
        with pytest.raises(UpstreamBroken):
            await connection.drain(5.0)


async def test_pieces_that_arrived_are_read_before_the_error() -> None:
    async def cut(talk: ScriptedConnection) -> None:
        await talk.request()
        await talk.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n")
        await seen.wait()
        await talk.send(b"part")

    seen = asyncio.Event()
    async with connected(cut) as (connection, _):
        await asked(connection)
        await connection.read_head()
        seen.set()
        await until(lambda: not connection.is_open)
        assert await connection.read_body(5.0) == [b"part"]
        with pytest.raises(UpstreamBroken):
            await connection.read_body(5.0)
        assert not connection.end_exchange()


async def test_reading_pauses_until_the_body_is_read() -> None:
    total = 4 * 1024 * 1024
    async with connected(reply(200, b"x" * total)) as (connection, _):
        await asked(connection)
        await connection.read_head()
        await until(lambda: connection._reading_paused)
        got = 0
        while pieces := await connection.read_body(5.0):
            got += sum(map(len, pieces))
        assert got == total
        assert not connection._reading_paused
        assert connection.end_exchange()


async def test_a_complete_unread_response_does_not_pause_reading() -> None:
    async with connected(reply(200, b"x" * 600_000), OK) as (connection, _):
        await asked(connection)
        await connection.read_head()
        await until(lambda: connection._reading_paused or connection.is_complete)
        while await connection.read_body(5.0):
            pass
        assert connection.end_exchange()
        await asked(connection)
        assert (await connection.read_head()).status == 200


class FailingSink:
    """Takes so many bytes, and fails at the last ones."""

    has_unsent_bytes = False

    def __init__(self, size: int) -> None:
        self._missing_size = size

    def try_send(self, data: bytes | memoryview) -> bool:
        self._missing_size -= len(data)
        if not self._missing_size:
            raise RuntimeError
        return True


async def test_a_body_whose_end_cannot_be_passed_on_is_broken() -> None:
    is_read = asyncio.Event()
    first, rest = b"x" * 1000, b"x" * 2 * READ_SIZE

    async def send(talk: ScriptedConnection) -> None:
        await talk.request()
        await talk.send(reply(200, b"", f"Content-Length: {len(first + rest)}", length=False) + first)
        await is_read.wait()
        await talk.send(rest)
        await talk.reader.read()

    reported: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context.get("exception")))
    async with connected(send) as (connection, _):
        await asked(connection)
        await connection.read_head()
        assert b"".join(await connection.read_body(TIME_LIMIT)) == first
        is_read.set()
        with pytest.raises(UpstreamBroken):
            await connection.read_body(TIME_LIMIT, FailingSink(len(rest)))
    assert isinstance(reported[0], RuntimeError)


async def test_silence_between_pieces_is_a_timeout() -> None:
    async def pause(talk: ScriptedConnection) -> None:
        await talk.request()
        await talk.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\npart")
        await talk.reader.read()

    async with connected(pause) as (connection, _):
        await asked(connection)
        await connection.read_head()
        assert await connection.read_body(5.0) == [b"part"]
        with pytest.raises(UpstreamTimeout):
            await connection.read_body(0.01)
        assert connection._timer is None


async def test_a_timer_that_outlives_its_purpose_does_no_harm() -> None:
    async def slow(talk: ScriptedConnection) -> None:
        for _ in range(2):
            await talk.request()
            await talk.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n")
            await go_on.wait()
            await talk.send(b"done")

    go_on = asyncio.Event()
    async with connected(slow) as (connection, _):
        await asked(connection)
        await connection.read_head()
        connection._on_timer()  # set for the head, which has come
        assert connection.is_open
        body = asyncio.create_task(connection.read_body(5.0))
        await until(lambda: is_timed(connection))
        connection._on_timer()  # runs down before what is due now
        assert is_timed(connection)
        go_on.set()
        assert await body == [b"done"]
        assert connection.end_exchange()
        await asked(connection)
        assert is_timed(connection)
        assert (await connection.read_head()).status == 200


async def test_an_earlier_deadline_replaces_a_later_timer() -> None:
    async def pause(talk: ScriptedConnection) -> None:
        await talk.request()
        await talk.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n")
        await talk.reader.read()

    async with connected(pause) as (connection, _):
        await asked(connection)  # a timer that ends after this test has failed
        await connection.read_head()
        with pytest.raises(UpstreamTimeout):
            await connection.read_body(0.01)


async def test_parts_are_sent_in_their_order() -> None:
    async with connected() as (connection, peer):
        connection.start_exchange(is_head_request=False)
        connection.write([b"POST / HTTP/1.1\r\nContent-", b"Length: 4\r\n\r\n", b"ab"])
        connection.write([b"cd"])
        assert (await connection.read_head()).status == 200
        assert peer.requests[0].body == b"abcd"


async def test_what_has_arrived_is_given_without_waiting() -> None:
    async with connected(reply(200, b"x" * 100)) as (connection, _):
        await asked(connection)
        await connection.read_head()
        await until(lambda: connection.is_complete)
        assert b"".join(connection.read_available()) == b"x" * 100
        assert connection.read_available() == []
        assert connection.end_exchange()


async def test_an_idle_connection_keeps_no_unread_body() -> None:
    async with connected(reply(401, b"x" * 100)) as (connection, _):
        await asked(connection)
        await connection.read_head()
        await until(lambda: connection.is_complete)
        assert connection.end_exchange()
        assert connection._parser.body == []


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 200 OK\nContent-Length: 0\n\n",
        b"HTTP/1.1 200 OK\r\nA: \0",
        b"<html>",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhelloX",
    ],
)
async def test_malformed_bytes_fail_at_once_on_an_open_connection(data: bytes) -> None:
    async def speak(talk: ScriptedConnection) -> None:
        await talk.request()
        await talk.send(data)
        await talk.reader.read()

    async with connected(speak) as (connection, _):
        await asked(connection)
        await until(lambda: not connection.is_open)
        with pytest.raises(UpstreamBroken):
            await connection.read_head()
        assert not connection.is_open


@pytest.mark.parametrize("behind", [b"x", b"\r\n", OK])
async def test_a_connection_with_trailing_data_is_not_reused(behind: bytes) -> None:
    async with connected(OK + behind) as (connection, _):
        await asked(connection)
        await connection.read_head()
        assert await connection.read_body(5.0) == [b"ok"]
        await until(lambda: connection._parser.has_trailing_data)
        assert not connection.end_exchange()


async def test_bytes_that_wait_and_ends_are_no_quiet() -> None:
    async def speak(talk: ScriptedConnection) -> None:
        await talk.send(b"x")
        await talk.reader.read()

    async with connected(speak) as (connection, peer):
        await peer.until(lambda: peer.connections == 1)
        await until(lambda: not connection.is_idle_clean())
        assert not connection.is_idle_clean()
