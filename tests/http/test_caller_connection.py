"""One connection of a caller: its requests in turn, its times, its end. Real sockets; the handler is a few
lines here.
"""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.errors import BadRequest, CallerGone, GatewayError
from gateway.http.caller_connection import (
    CALLER_TIMEOUT,
    PIPELINE_READ_AHEAD,
    REJECTED_TIMEOUT,
    CallerConnection,
)
from gateway.http.connection_limits import RefusalReason
from gateway.http.head_reader import EMPTY_LINES_LIMIT
from gateway.http.request_body import RequestBody
from gateway.http.request_head import RequestHead, RequestLimits
from gateway.http.server import KEEPALIVE_TIMEOUT, CallerServer
from gateway.proxy.headers import REQUEST_RULES
from tests.fakes.gate import Caller, until
from tests.fakes.waiting import TIME_LIMIT

LIMITS = RequestLimits(uri=8192, field=16_384, fields=128, head=131_072, connections=10)
GET = b"GET /1 HTTP/1.1\r\nHost: gw\r\n\r\n"
GET_2 = b"GET /2 HTTP/1.1\r\nHost: gw\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
REFUSED = b"HTTP/1.1 400 Bad\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class Handler:
    """Answers every request, once it has its body and `go_on` is set, returns `stays`, and records what it
    was given.
    """

    def __init__(self) -> None:
        self.served: list[tuple[str, str, bytes]] = []
        self.refused: list[GatewayError] = []
        self.trailing: list[int] = []
        self.broken: list[BaseException] = []
        self.go_on = asyncio.Event()
        self.go_on.set()
        self.stays = True
        self.takes_bodies = True
        self.defect: Exception | None = None
        self.strangers: set[str | None] = set()
        self.answers = True

    def is_allowed(self, peer: str | None) -> bool:
        return peer not in self.strangers

    def answers_half_closed(self, caller: CallerConnection) -> bool:
        return self.answers

    async def serve(self, caller: CallerConnection, head: RequestHead, body: RequestBody) -> bool:
        await caller.become_task()
        try:
            pieces = []
            body.configure(replay_limit=0, limit=None, send_continue=None)
            while self.takes_bodies and not body._is_all_read:
                pieces += await body._read_pieces(5.0)
            await self.go_on.wait()
            if self.defect is not None:
                raise self.defect
            caller.write(OK)
        except GatewayError as error:
            self.broken.append(error)
            caller.write(REFUSED)
            return False
        except asyncio.CancelledError as error:
            self.broken.append(error)
            raise
        self.served.append((head.method, head.target, b"".join(pieces)))
        return self.stays and head.keeps_alive and body.is_complete

    def reject(self, caller: CallerConnection, error: GatewayError, data: bytes) -> None:
        self.refused.append(error)
        caller.write(REFUSED)

    def log_trailing_bytes(self, caller: CallerConnection, count: int) -> None:
        self.trailing.append(count)


class Listener:
    """A server on a port of its own, and what talks to it."""

    def __init__(self, handler: Handler, server: CallerServer, port: int) -> None:
        self.handler = handler
        self.server = server
        self.port = port
        self.callers: list[Caller] = []
        self.defects: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: self.defects.append(context))

    async def caller(self, data: bytes = b"", *, address: str = "127.0.0.1") -> Caller:
        caller = Caller(*await asyncio.open_connection("127.0.0.1", self.port, local_addr=(address, 0)))
        self.callers.append(caller)
        await caller.send(data)
        return caller

    async def connection(self) -> CallerConnection:
        """The one connection, as the server has it."""
        await until(lambda: len(self.server.connections) == 1)
        [connection] = self.server.connections
        return connection

    async def resting(self, buffered: int = 0) -> CallerConnection:
        """The one connection, once it waits for more of a head of which so many bytes have come."""
        connection = await self.connection()
        await until(lambda: not connection.is_serving and len(connection.reader.pending) == buffered)
        return connection


@asynccontextmanager
async def listening(limits: RequestLimits = LIMITS, *, linger: float = 5.0) -> AsyncIterator[Listener]:
    async with asyncio.timeout(TIME_LIMIT):
        handler = Handler()
        server = CallerServer(handler, limits, REQUEST_RULES, linger=linger)
        listener = await asyncio.get_running_loop().create_server(server.factory(), "127.0.0.1", 0)
        at = Listener(handler, server, listener.sockets[0].getsockname()[1])
        try:
            yield at
        finally:
            for caller in at.callers:
                caller.writer.transport.abort()
            listener.close()
            await server.shutdown(0.01)
            assert not server.connections


def overdue(connection: CallerConnection) -> None:
    """Turns the clock on until the connection's time is over."""
    connection._deadline = 0.0
    assert connection._timer is not None
    connection._timer.cancel()
    connection._on_timer()


def time_left(connection: CallerConnection) -> float:
    return connection._deadline - asyncio.get_running_loop().time()


# Requests in turn -----------------------------------------------------------------------------------------------------


async def test_requests_are_served_one_after_the_other() -> None:
    async with listening() as at:
        at.handler.go_on.clear()
        caller = await at.caller(GET + GET_2)
        await until(lambda: any(connection.is_serving for connection in at.server.connections))
        assert at.handler.served == []
        at.handler.go_on.set()
        assert await caller.head() + await caller.head() == OK * 2
        assert at.handler.served == [("GET", "/1", b""), ("GET", "/2", b"")]


PIECES = st.sampled_from(
    [
        GET,
        b"\r\n" + GET,
        b"\r\n\n\r\n" + GET_2,
        GET_2,
        b"POST /3 HTTP/1.1\r\nContent-Length: 5\r\n\r\nGET /",
        b"POST /4 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5;a\r\nhello\r\n1\r\n\n\r\n0\r\nA: b\r\n\r\n",
        b"PUT /5 HTTP/1.1\r\nContent-Length: 0\r\n\r\n",
        b"GET /6 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    ]
)
LAST = st.sampled_from(
    [
        b"GET /last HTTP/1.1\r\nConnection: close\r\n\r\n",
        b"GET /last HTTP/1.0\r\n\r\n",
        b"GET / HTTP/1.1\nHost: gw\n\n",
        b"GET / HTTP/2.0\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"\0",
    ]
)


@settings(max_examples=40, deadline=None)
@given(st.lists(PIECES, max_size=6).map(b"".join), LAST, st.lists(st.integers(1, 60), max_size=12))
async def test_requests_are_served_the_same_however_bytes_are_split(data: bytes, last: bytes, cuts: list[int]) -> None:
    outcomes = []
    for parts in ([data + last], split(data + last, cuts)):
        async with listening() as at:
            caller = await at.caller()
            for part in parts:
                await caller.send(part)
                for _ in range(3):
                    await asyncio.sleep(0)
            answers = await caller.read_to_end()
            outcomes.append((answers, at.handler.served, len(at.handler.refused), len(at.handler.broken)))
    assert outcomes[0] == outcomes[1]


def split(data: bytes, cuts: list[int]) -> list[bytes]:
    parts = []
    for cut in cuts:
        parts.append(data[:cut])
        data = data[cut:]
    return [part for part in [*parts, data] if part]


@pytest.mark.parametrize("more", [b"ab", b"ab\r\n\r\n", b"ab" + GET, b"ab" * PIPELINE_READ_AHEAD])
async def test_more_bytes_may_arrive_before_the_task_runs(more: bytes) -> None:
    async with listening() as at:
        caller = await at.caller()
        connection = await at.resting()
        connection.data_received(b"POST /1 HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(more))
        connection.data_received(more)
        assert await caller.head() == OK
        assert at.handler.served == [("POST", "/1", more)]


async def test_a_head_like_the_one_before_is_not_taken_for_it() -> None:
    heads = [b"GET /1 HTTP/1.1\r\nX: a\r\n\r\n", b"GET /1 HTTP/1.1\r\nX: b\r\n\r\n", b"GET /2 HTTP/1.1\r\nX: b\r\n\r\n"]
    async with listening() as at:
        caller = await at.caller(heads[0] + heads[0] + heads[1] + heads[2] + heads[0])
        assert [await caller.head() for _ in range(5)] == [OK] * 5
        assert [target for _, target, _ in at.handler.served] == ["/1", "/1", "/1", "/2", "/1"]


async def test_reading_pauses_while_many_requests_are_pipelined() -> None:
    async with listening() as at:
        at.handler.go_on.clear()
        caller = await at.caller(GET)
        connection = await at.connection()
        count = 8 * PIPELINE_READ_AHEAD // len(GET)
        flood = asyncio.create_task(caller.send(GET * count))
        await until(lambda: connection._reading_paused)
        assert len(connection.reader.pending) < 2 * PIPELINE_READ_AHEAD + 256 * 1024
        at.handler.go_on.set()
        for _ in range(count + 1):
            assert await caller.head() == OK
        await flood
        assert len(at.handler.served) == count + 1


async def test_nothing_is_read_after_a_malformed_request() -> None:
    async with listening() as at:
        caller = await at.caller(b"GET / HTTP/9.9\r\n\r\n" + GET)
        assert await caller.read_to_end() == REFUSED
        assert ([type(error) for error in at.handler.refused], at.handler.served) == ([BadRequest], [])


async def test_pipelined_requests_let_other_connections_run() -> None:
    async with listening() as at:
        many, one = await at.caller(), await at.caller()
        await until(lambda: len(at.server.connections) == 2)
        many.writer.write(GET * 1000)
        one.writer.write(GET_2)
        await until(lambda: ("GET", "/2", b"") in at.handler.served)
        assert len(at.handler.served) < 100
        for _ in range(1000):
            assert await many.head() == OK


async def test_a_defect_of_the_handler_ends_the_connection() -> None:
    async with listening() as at:
        at.handler.defect = RuntimeError("a defect")
        caller = await at.caller(GET)
        connection = await at.connection()
        await until(lambda: bool(at.defects))
        assert [context["exception"] for context in at.defects] == [at.handler.defect]
        assert not connection.is_serving
        overdue(connection)
        assert await caller.read_to_end() == b""
        await until(lambda: not at.server.connections)


# Times ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("first", [b"", GET, b"POST / HTTP/1.1\r\nContent-Length: 4\r\n\r\nabcd"])
async def test_an_idle_connection_is_closed_without_a_response(first: bytes) -> None:
    async with listening() as at:
        caller = await at.caller(first)
        if first:
            assert await caller.head() == OK
        connection = await at.resting()
        assert time_left(connection) == pytest.approx(KEEPALIVE_TIMEOUT, abs=5)
        overdue(connection)
        assert await caller.read_to_end() == b""
        assert at.handler.refused == []


BEGUN = [b"G", b"GET /or", b"GET / HTTP/1.1\r", b"GET / HTTP/1.1\r\nHo", b"GET / HTTP/1.1\r\nHost: g\r\n\r"]


@pytest.mark.parametrize("begun", BEGUN)
async def test_a_head_that_does_not_come_to_its_end_is_refused(begun: bytes) -> None:
    async with listening() as at:
        caller = await at.caller(begun)
        overdue(await at.resting(len(begun)))
        assert await caller.read_to_end() == REFUSED
        [error] = at.handler.refused
        assert (error.code, error.status) == ("request-timeout", 408)


POST = b"POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\nhi"
EMPTY_LINES = [b"\r\n", b"\n", b"\r\n\r\n", b"\r", b"\n\r\n\r"]


@pytest.mark.parametrize("first", [b"", POST])
@pytest.mark.parametrize("lines", EMPTY_LINES)
async def test_empty_lines_alone_are_never_answered(first: bytes, lines: bytes) -> None:
    async with listening() as at:
        caller = await at.caller(first)
        if first:
            assert await caller.head() == OK
        connection = await at.resting()
        due = connection._deadline
        await caller.send(lines)
        await until(lambda: connection.reader._skipped + len(connection.reader.pending) == len(lines))
        assert connection._deadline == due
        overdue(connection)
        assert await caller.read_to_end() == b""
        assert at.handler.refused == []


async def test_empty_lines_with_a_pause_between_come_before_a_request() -> None:
    async with listening() as at:
        caller = await at.caller(POST + b"\r\n")
        assert await caller.head() == OK
        connection = await at.resting()
        await caller.send(b"\r\n")
        await until(lambda: connection.reader._skipped == 4)
        await caller.send(GET)
        assert await caller.head() == OK
        assert [target for _, target, _ in at.handler.served] == ["/", "/1"]


@pytest.mark.parametrize(("count", "answer"), [(EMPTY_LINES_LIMIT // 2, OK), (EMPTY_LINES_LIMIT // 2 + 1, REFUSED)])
async def test_so_many_empty_lines_are_skipped_and_no_more(count: int, answer: bytes) -> None:
    async with listening() as at:
        caller = await at.caller(b"\r\n" * count)
        connection = await at.connection()
        await until(lambda: connection.reader._skipped == 2 * count)
        assert (at.handler.refused, connection.reader.pending) == ([], b"")
        await caller.send(GET)
        assert await caller.head() == answer


TEXTS = [
    b"}",
    b'"}\r\n',
    b"er</a>\r\n\r\n",
    b"\0",
    b"Er",
    b"\xc3\xbc",
    b"\r\n}",
    b"ABC D",
    b"GETS a",
    b"OK\r\n",
    b"A HTML",
]
TEXTS += [b"PT 9 HTTP/1.1\r\nHost: a\r\n\r\n", b"TOTAL EUR 7\r\n\r\n", b"A html>\r\n\r\n"]


@pytest.mark.parametrize("text", TEXTS)
async def test_bytes_behind_a_body_end_the_connection_unanswered(text: bytes) -> None:
    async with listening() as at:
        caller = await at.caller(POST)
        assert await caller.head() == OK
        await at.resting()
        await caller.send(text)
        assert await caller.read_to_end() == b""
        assert (at.handler.refused, at.handler.trailing) == ([], [len(text.lstrip(b"\r\n"))])


@pytest.mark.parametrize("text", TEXTS)
async def test_bytes_behind_a_body_are_known_while_it_is_served(text: bytes) -> None:
    async with listening() as at:
        at.handler.go_on.clear()
        caller = await at.caller(POST + text)
        connection = await at.connection()
        await until(lambda: connection.is_serving)
        assert connection.trailing_size() == len(text)
        at.handler.go_on.set()
        assert await caller.read_to_end() == OK
        assert (at.handler.refused, at.handler.trailing) == ([], [])


@pytest.mark.parametrize(
    "more",
    [
        *(b"", b"\r\n", b"\r", b"P", b"POST", b"POST /", b"M-SEARCH * ", GET, b"\n" + GET, b"ABC", b"ABC ", b"ABC /"),
        *(b"ABC http://a", b"ABC Ht", b"GET a", b"CONNECT a:1 HTTP/1.1\r\n"),
    ],
)
async def test_the_beginning_of_a_request_is_nothing_trailing(more: bytes) -> None:
    async with listening() as at:
        at.handler.go_on.clear()
        await at.caller(POST + more)
        connection = await at.connection()
        await until(lambda: connection.is_serving)
        assert connection.trailing_size() == 0


async def test_a_word_behind_a_body_times_out_unanswered() -> None:
    async with listening() as at:
        caller = await at.caller(POST + b"ER")
        assert await caller.head() == OK
        overdue(await at.resting(2))
        assert await caller.read_to_end() == b""
        assert at.handler.refused == []


async def test_the_time_limit_of_a_head_runs_from_its_first_byte() -> None:
    async with listening() as at:
        caller = await at.caller()
        connection = await at.resting()
        connection._deadline -= KEEPALIVE_TIMEOUT - 1  # it has been idle
        await caller.send(BEGUN[1])
        await at.resting(len(BEGUN[1]))
        assert time_left(connection) == pytest.approx(CALLER_TIMEOUT, abs=5)
        assert connection._timer is not None
        assert connection._timer.when() == pytest.approx(connection._deadline, abs=0.1)
        connection._deadline = due = connection._deadline - CALLER_TIMEOUT / 2
        await caller.send(b"x")
        await at.resting(len(BEGUN[1]) + 1)
        assert connection._deadline == due


async def test_a_head_sent_byte_by_byte_gets_no_extra_time() -> None:
    async with listening() as at:
        caller = await at.caller(b"G")
        connection = await at.resting(1)
        connection._deadline = due = connection._deadline - KEEPALIVE_TIMEOUT / 2
        for count, byte in enumerate((b"E", b"T", b" ", b"/"), 2):
            await caller.send(byte)
            await at.resting(count)
            assert connection._deadline == due


async def test_a_repeated_head_gets_its_full_time_limit() -> None:
    async with listening() as at:
        caller = await at.caller(b"G")
        await at.resting(1)
        await caller.send(GET[1:])
        assert await caller.head() == OK
        connection = await at.resting()
        connection._deadline -= KEEPALIVE_TIMEOUT - 1
        await caller.send(b"G")
        await at.resting(1)
        assert time_left(connection) == pytest.approx(CALLER_TIMEOUT, abs=5)


async def test_a_request_under_way_has_all_its_time() -> None:
    async with listening() as at:
        at.handler.go_on.clear()
        caller = await at.caller(GET)
        connection = await at.connection()
        await until(lambda: connection.is_serving)
        overdue(connection)
        assert connection._timer is not None
        at.handler.go_on.set()
        assert await caller.head() == OK
        await at.resting()
        assert time_left(connection) == pytest.approx(KEEPALIVE_TIMEOUT, abs=5)


async def test_a_head_has_its_time_after_a_long_idle_time() -> None:
    """The timer of an idle connection is later than the end of a head that begins at once: it is set again."""
    async with listening() as at:
        caller = await at.caller()
        connection = await at.resting()
        assert connection._timer is not None
        assert connection._timer.when() == pytest.approx(connection._deadline, abs=0.1)
        await caller.send(b"G")
        await at.resting(1)
        assert connection._timer.when() == pytest.approx(connection._deadline, abs=0.1)
        assert not connection.is_idle(asyncio.get_running_loop().time() - 1)
        assert connection.is_idle(asyncio.get_running_loop().time())


async def test_a_timer_that_expires_too_early_is_set_again() -> None:
    async with listening() as at:
        caller = await at.caller()
        connection = await at.resting()
        first = connection._timer
        connection._on_timer()
        assert connection._timer is not first
        await caller.send(GET)
        assert await caller.head() == OK


# Ends -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data", [b"\0", b"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\nabc", b"GET / HTTP/1.1\r\nExpect: x\r\n\r\n"]
)
async def test_a_caller_that_may_still_send_gets_a_lingering_close(data: bytes) -> None:
    async with listening() as at:
        at.handler.takes_bodies = at.handler.stays = False
        caller = await at.caller(data)
        assert await caller.read_to_end() in {OK, REFUSED}  # our side has ended ...
        connection = await at.connection()
        assert connection._transport is not None  # ... and his has not
        await caller.send(b"more of it" * 100)
        caller.close()
        await until(lambda: not at.server.connections)
        assert len(at.handler.served) + len(at.handler.refused) == 1


async def test_a_lingering_connection_is_closed_in_the_end() -> None:
    async with listening(linger=0.05) as at:
        caller = await at.caller(b"\0")
        assert await caller.read_to_end() == REFUSED
        await until(lambda: not at.server.connections)
        assert len(at.handler.refused) == 1


async def test_a_caller_from_whom_nothing_can_come_is_closed_at_once() -> None:
    async with listening() as at:
        caller = await at.caller(b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n")
        assert await caller.read_to_end() == OK
        await until(lambda: not at.server.connections)


@pytest.mark.parametrize("leave", [Caller.close, Caller.reset], ids=["close", "reset"])
@pytest.mark.parametrize("data", [b"", BEGUN[1], GET, b"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\nabc"])
async def test_who_leaves_takes_all_of_it_along(data: bytes, leave: object) -> None:
    async with listening() as at:
        at.handler.go_on.clear()
        caller = await at.caller(data)
        connection = await at.connection()
        await until(
            lambda: connection.is_serving if b"\r\n\r\n" in data else len(connection.reader.pending) == len(data)
        )
        assert callable(leave)
        leave(caller)
        await until(lambda: not at.server.connections)
        await until(lambda: not connection.is_serving)
        assert (at.handler.served, at.handler.refused) == ([], [])
        assert len(at.handler.broken) == (b"\r\n\r\n" in data)
        with pytest.raises(CallerGone):
            connection.write(OK)
        connection.abort()
        connection.close()


async def test_a_caller_that_takes_nothing_is_gone() -> None:
    async with listening() as at:
        at.handler.go_on.clear()
        await at.caller(GET)
        connection = await at.connection()
        connection.write(b"x" * 10_000_000)
        assert connection.write_paused
        drained = asyncio.create_task(connection.drain(0.05))
        await asyncio.wait({drained})
        with pytest.raises(CallerGone) as caught:
            await drained
        assert caught.value.reason == "the caller stopped reading"


async def test_a_caller_that_never_takes_its_last_bytes_is_dropped() -> None:
    async with listening() as at:
        await at.caller()
        connection = await at.resting()
        connection.write(b"x" * 10_000_000)
        overdue(connection)
        assert connection._transport is not None
        assert connection._transport.is_closing()
        for _ in range(100):
            await asyncio.sleep(0)
        assert at.server.connections == {connection}  # it is given time to take them ...
        assert connection._timer is not None
        assert not connection._timer.cancelled()
        overdue(connection)  # ... which comes to an end
        await until(lambda: not at.server.connections)


async def test_a_caller_that_takes_its_time_is_waited_for() -> None:
    async with listening() as at:
        at.handler.go_on.clear()
        caller = await at.caller(GET)
        connection = await at.connection()
        connection.write_pieces([b"x" * 5_000_000, b"y" * 5_000_000])
        drained = asyncio.create_task(connection.drain(5.0))
        assert await caller.reader.readexactly(10_000_000) == b"x" * 5_000_000 + b"y" * 5_000_000
        await drained


async def test_a_connection_too_many_is_known_as_such() -> None:
    async with listening(LIMITS.__class__(8192, 16_384, 128, 131_072, connections=1)) as at:
        await at.caller()
        assert (await at.connection()).refusal is None
        await at.caller()
        await until(lambda: len(at.server.connections) == 2)
        refusals = [connection.refusal for connection in at.server.connections]
        assert sorted(refusals, key=bool) == [None, RefusalReason.LIMIT]


STRANGER = "127.0.0.2"


@asynccontextmanager
async def crowded(*, strangers: int) -> AsyncIterator[Listener]:
    """Two places, room for two without one, and so many strangers that came one after the other."""
    async with listening(LIMITS.__class__(8192, 16_384, 128, 131_072, connections=2)) as at:
        at.handler.strangers = {STRANGER}
        for count in range(strangers):
            await at.caller(address=STRANGER)
            await until(lambda count=count: len(at.server.connections) == count + 1)  # type: ignore[misc] # of no type
        yield at


async def test_refused_addresses_do_not_count_against_the_limit() -> None:
    async with crowded(strangers=2) as at:
        assert at.server.connection_limits.admitted == 0
        assert {connection.refusal for connection in at.server.connections} == {RefusalReason.FORBIDDEN}
        caller = await at.caller(GET)
        assert await caller.head() == OK
        assert at.server.connection_limits.admitted == 1
        [allowed] = [connection for connection in at.server.connections if connection.peer != STRANGER]
        assert allowed.refusal is None


async def test_a_place_is_free_again_when_its_caller_has_left() -> None:
    async with crowded(strangers=1) as at:
        first, _ = await at.caller(), await at.caller()
        await until(lambda: at.server.connection_limits.admitted == 2)
        first.close()
        at.callers[0].close()  # a stranger's end frees no place
        await until(lambda: len(at.server.connections) == 1)
        assert at.server.connection_limits.admitted == 1
        await at.caller()
        await until(lambda: at.server.connection_limits.admitted == 2)
        assert not any(connection.refusal for connection in at.server.connections)


@pytest.mark.parametrize("begun", [b"", b"GET"])
async def test_who_will_not_be_served_has_little_time(begun: bytes) -> None:
    async with crowded(strangers=1) as at:
        stranger = at.callers[0]
        await stranger.send(begun)
        connection = await at.resting(len(begun))
        assert time_left(connection) == pytest.approx(REJECTED_TIMEOUT, abs=2)
        overdue(connection)
        assert await stranger.read_to_end() == (REFUSED if begun else b"")


async def test_a_connection_over_the_limit_has_a_short_time_limit() -> None:
    async with crowded(strangers=0) as at:
        for _ in range(3):
            await at.caller()
        await until(lambda: len(at.server.connections) == 3)
        left = sorted(time_left(connection) for connection in at.server.connections)
        assert left == pytest.approx([REJECTED_TIMEOUT, KEEPALIVE_TIMEOUT, KEEPALIVE_TIMEOUT], abs=2)
        assert [connection.refusal for connection in at.server.connections].count(RefusalReason.LIMIT) == 1


async def test_a_crowd_of_those_who_will_not_be_served_is_not_let_in() -> None:
    async with crowded(strangers=2) as at:
        for address in (STRANGER, STRANGER):
            surplus = await at.caller(address=address)
            assert await surplus.read_to_end() == b""
        assert len(at.server.connections) == 2


async def test_a_crowd_of_strangers_keeps_no_allowed_caller_out() -> None:
    async with crowded(strangers=2) as at:
        for _ in range(2):
            caller = await at.caller(GET)
            assert await caller.head() == OK
        assert at.server.connection_limits.admitted == 2


async def test_a_peer_has_an_address_unless_it_came_by_a_unix_socket(tmp_path: Path) -> None:
    async with listening() as at:
        await at.caller()
        assert (await at.connection()).peer == "127.0.0.1"
    async with asyncio.timeout(TIME_LIMIT):
        server = CallerServer(Handler(), LIMITS, REQUEST_RULES)
        listener = await asyncio.get_running_loop().create_unix_server(server.factory(), tmp_path / "gw")
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(str(tmp_path / "gw"))
            await until(lambda: len(server.connections) == 1)
            assert [connection.peer for connection in server.connections] == [None]
        listener.close()
        await server.shutdown(0.01)


async def test_a_stop_closes_who_is_idle_and_cuts_who_is_not() -> None:
    async with listening() as at:
        at.handler.go_on.clear()
        busy = await at.caller(GET)
        connection = await at.connection()
        await until(lambda: connection.is_serving)
        idle = await at.caller()
        await until(lambda: len(at.server.connections) == 2)
        at.server.abort_all()
        with pytest.raises(ConnectionResetError):
            await busy.reader.read()
        await until(lambda: len(at.server.connections) == 1)
        at.server.close_idle()
        assert await idle.read_to_end() == b""
        await until(lambda: not at.server.connections)


async def test_who_is_served_is_not_idle() -> None:
    async with listening() as at:
        at.handler.go_on.clear()
        caller = await at.caller(GET)
        connection = await at.connection()
        await until(lambda: connection.is_serving)
        at.server.close_idle()
        at.handler.go_on.set()
        assert await caller.head() == OK


async def test_a_shutdown_leaves_no_connection() -> None:
    async with listening() as at:
        at.handler.go_on.clear()
        callers = [await at.caller(data) for data in (b"", GET, BEGUN[1], b"\0")]
        await until(lambda: len(at.server.connections) == 4)
        connections = [*at.server.connections]
        await at.server.shutdown(0.1)
        assert not at.server.connections
        assert not any(connection.is_serving for connection in connections)
        assert await callers[0].read_to_end() == b""


async def test_a_half_closed_caller_is_given_up_where_configured() -> None:
    async with listening() as at:
        at.handler.go_on.clear()
        at.handler.answers = False
        caller = await at.caller(GET)
        await until(lambda: any(connection.is_serving for connection in at.server.connections))
        caller.writer.write_eof()
        assert await caller.read_to_end() == b""
        assert [type(error) for error in at.handler.broken] == [asyncio.CancelledError]
