"""The caller's body: fed as it arrives, counted, framed again, and kept while it is small."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import BadRequest, BodyTooLarge, RequestTimeout
from gateway.http.body_reader import MIN_UNCOPIED
from gateway.http.chunked import ChunkedDecoder
from gateway.http.request_body import BODY_READ_AHEAD, INSPECTION_STEP, NO_BODY, RequestBody
from gateway.http.upstream_connection import UpstreamConnection
from gateway.http.upstream_dialer import dial
from gateway.network.dial import Origin
from gateway.proxy.headers import RESPONSE_RULES
from tests.fakes.gate import until
from tests.fakes.upstream import ScriptedConnection, Upstream
from tests.fakes.waiting import TIME_LIMIT

END = b"0\r\n\r\n"


def chunk(piece: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(piece), piece)


def plain(*pieces: bytes, length: int | None = None, keep: int = 10, limit: int | None = None) -> RequestBody:
    """A counted body of which these pieces have arrived."""
    body = RequestBody(sum(map(len, pieces)) if length is None else length)
    body.configure(replay_limit=keep, limit=limit, send_continue=None)
    assert [body.feed(piece) for piece in pieces] == [b""] * len(pieces)
    return body


def chunked(*pieces: bytes, ended: bool = True, keep: int = 10, limit: int | None = None) -> RequestBody:
    """The same in chunks."""
    body = RequestBody(0, decoder=ChunkedDecoder(100))
    body.configure(replay_limit=keep, limit=limit, send_continue=None)
    for piece in pieces:
        assert body.feed(chunk(piece)) == b""
    if ended:
        assert body.feed(END) == b""
    return body


# What arrives ---------------------------------------------------------------------------------------------------------


def test_no_body_is_nothing_and_whole() -> None:
    for nothing in (NO_BODY, RequestBody(0)):
        assert (nothing.buffered(), nothing.is_replayable, nothing.bytes_read, nothing.is_complete) == (
            [],
            True,
            0,
            True,
        )


def test_what_is_all_here_is_given_at_once_and_again() -> None:
    counted, chunks = plain(b"ab", b"cd"), chunked(b"ab", b"cd")
    assert b"".join(counted.buffered() or []) == b"".join(counted.buffered() or []) == b"abcd"
    assert b"".join(chunks.buffered() or []) == b"".join(chunks.buffered() or []) == b"4\r\nabcd\r\n0\r\n\r\n"
    assert (counted.bytes_read, chunks.bytes_read) == (4, 4)


def test_an_empty_chunked_body_still_has_its_end() -> None:
    empty = chunked()
    assert empty.buffered() == empty.buffered() == [END]


def test_what_is_still_coming_is_not_given() -> None:
    for coming in (plain(b"ab", length=3), chunked(b"ab", ended=False)):
        assert not coming.is_complete
        assert coming.buffered() is None
        assert coming.bytes_read == 0


def test_what_lies_behind_the_end_is_given_back() -> None:
    counted = RequestBody(3)
    assert counted.feed(b"ab") == b""
    assert counted.feed(b"cGET /") == b"GET /"
    assert counted.is_complete
    assert b"".join(counted.buffered() or []) == b"abc"
    chunks = RequestBody(0, decoder=ChunkedDecoder(100))
    assert chunks.feed(chunk(b"abc") + END + b"GET /") == b"GET /"
    assert chunks.is_complete


def test_what_arrives_is_passed_on_uncopied() -> None:
    piece = b"x" * 100
    assert (plain(piece).buffered() or [b""])[0] is piece


def test_what_is_longer_than_is_kept_is_given_but_not_whole() -> None:
    long = plain(b"x" * 11)
    assert long.buffered() == [b"x" * 11]
    assert not long.is_replayable


async def test_a_body_that_becomes_too_long_is_not_kept() -> None:
    growing = plain(b"x" * 5, length=20)
    assert await growing._read_pieces(5.0) == [b"x" * 5]
    assert (growing.is_replayable, growing._replay_pieces) == (True, [b"x" * 5])
    growing.feed(b"x" * 6)
    await growing._read_pieces(5.0)
    assert (growing.is_replayable, growing._replay_pieces) == (False, [])


def test_a_body_above_the_limit_is_rejected() -> None:
    for long in (plain(b"x" * 11, limit=10), chunked(b"x" * 6, b"x" * 5, limit=10)):
        with pytest.raises(BodyTooLarge):
            long.buffered()
    assert plain(b"x" * 10, limit=10).buffered() == [b"x" * 10]


async def test_a_body_without_its_beginning_is_never_sent_again() -> None:
    grown = plain(b"x" * 11, length=20)
    refused = chunked(b"x" * 6, b"x" * 5, ended=False, limit=10, keep=100)
    await grown._read_pieces(5.0)
    with pytest.raises(BodyTooLarge):
        await refused._read_pieces(5.0)
    async with asyncio.timeout(TIME_LIMIT), Upstream() as peer:
        for body in (grown, refused):
            assert (body.is_replayable, body._replay_pieces) == (False, [])
            async with connected(peer, b"Content-Length: 20") as connection:
                with pytest.raises(AssertionError):
                    await body.stream(connection, idle_timeout=5.0, response_timeout=5.0)
            body.feed(b"x" * 9 if body is grown else END)
            with pytest.raises(AssertionError):
                body.buffered()


@pytest.mark.parametrize("keep", [0, 100_000])
async def test_tiny_chunks_need_little_more_memory_than_their_bytes(keep: int) -> None:
    body = chunked(ended=False, keep=keep)
    count = 10_000
    body.feed(chunk(b"ab") * count)
    assert memory_of(body._pieces) < 2 * len(b"ab") * count
    await body._read_pieces(5.0)
    assert memory_of(body._replay_pieces) < 2 * len(b"ab") * count


@pytest.mark.parametrize("waits", [False, True], ids=["arriving", "taken one by one"])
async def test_tiny_pieces_need_little_more_memory_than_their_bytes(*, waits: bool) -> None:
    count = 50_000
    body = plain(length=2 * count + 1, keep=2 * count)
    for number in range(count):
        body.feed(b"%02d" % (number % 100))
        if waits:
            await body._read_pieces(5.0)
    pieces = body._replay_pieces if waits else body._pieces
    assert b"".join(pieces) == b"".join(b"%02d" % (number % 100) for number in range(count))
    assert memory_of(pieces) < 2 * 2 * count


def memory_of(pieces: list[bytes]) -> int:
    """The memory of pieces, with their objects and their list."""
    return sum(map(sys.getsizeof, pieces)) + sys.getsizeof(pieces)


@pytest.mark.parametrize("after", [b"zz\r\n", b"1;\0\r\nx\r\n"])
async def test_a_malformed_body_raises_when_it_is_read(after: bytes) -> None:
    broken = chunked(b"ab", ended=False)
    assert broken.feed(after) == b""
    assert broken.buffered() is None
    with pytest.raises(BadRequest) as caught:
        await broken._read_pieces(5.0)
    assert (broken.error, broken.is_complete) == (caught.value, False)
    assert caught.value.reason


async def test_a_waiter_is_woken_by_bytes_and_by_an_error() -> None:
    for data, error in ((chunk(b"ab"), None), (b"zz\r\n", BadRequest)):
        body = chunked(ended=False)
        waiter = asyncio.create_task(body._read_pieces(5.0))
        await until(lambda body=body: body._waiter is not None)  # type: ignore[misc] # a lambda of no type
        body.feed(data)
        await asyncio.wait({waiter})
        assert type(waiter.exception()) is (error or type(None))


async def test_a_body_that_stops_coming_is_timed_out() -> None:
    counted, chunks = plain(b"a", length=3), chunked(b"ab", ended=False)
    await counted._read_pieces(5.0)
    await chunks._read_pieces(5.0)
    with pytest.raises(RequestTimeout) as caught:
        await counted._read_pieces(0.01)
    assert caught.value.detail == "The body stopped arriving after 1 of 3 bytes."
    with pytest.raises(RequestTimeout) as caught:
        await chunks._read_pieces(0.01)
    assert caught.value.detail == "The body stopped arriving after 2 bytes."


class Recorder:
    """A caller's connection that only records how its reading is controlled."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def pause_reading(self) -> None:
        self.calls.append("pause")

    def resume_reading(self) -> None:
        self.calls.append("resume")

    async def become_task(self) -> None:
        assert asyncio.current_task() is not None


async def test_reading_pauses_until_more_of_the_body_is_awaited() -> None:
    reading = Recorder()
    body = RequestBody(4 * BODY_READ_AHEAD, read_control=reading)
    body.configure(replay_limit=0, limit=None, send_continue=None)
    body.feed(b"x" * BODY_READ_AHEAD)
    assert reading.calls == []
    body.feed(b"x")
    assert reading.calls == ["pause"]
    assert sum(map(len, await body._read_pieces(5.0))) == BODY_READ_AHEAD + 1
    assert reading.calls == ["pause"]
    more = asyncio.create_task(body._read_pieces(5.0))
    await until(lambda: reading.calls == ["pause", "resume"])
    body.feed(b"x" * BODY_READ_AHEAD)
    assert sum(map(len, await more)) == BODY_READ_AHEAD
    assert reading.calls == ["pause", "resume"]


def test_reading_never_pauses_after_the_whole_body() -> None:
    reading = Recorder()
    body = RequestBody(2 * BODY_READ_AHEAD, read_control=reading)
    body.feed(b"x" * BODY_READ_AHEAD)
    body.feed(b"x" * BODY_READ_AHEAD)
    assert reading.calls.count("pause") == 0


@given(
    sizes=st.lists(st.integers(1, 50), min_size=1, max_size=6),
    in_chunks=st.booleans(),
    cuts=st.lists(st.integers(1, 60)),
    after=st.binary(max_size=5),
)
def test_any_splitting_gives_the_same_body(sizes: list[int], cuts: list[int], after: bytes, *, in_chunks: bool) -> None:
    pieces = [bytes([65 + at]) * size for at, size in enumerate(sizes)]
    whole = b"".join(pieces)
    wire = (b"".join(map(chunk, pieces)) + END if in_chunks else whole) + after
    body = RequestBody(len(whole), decoder=ChunkedDecoder(100) if in_chunks else None)
    body.configure(replay_limit=1000, limit=None, send_continue=None)
    rest = b""
    for cut in [*cuts, len(wire)]:
        if not body.is_complete:
            rest, wire = body.feed(wire[:cut]), wire[cut:]
    assert rest + wire == after
    assert b"".join(body.buffered() or []) == (chunk(whole) + END if in_chunks else whole)


# Inspected before it is sent ------------------------------------------------------------------------------------------


class HashRemover:
    """Removes the first `#`, and ends there or at the end of the body. Rejects a `!`."""

    def __init__(self) -> None:
        self.fed: list[bytes] = []
        self.output: list[bytes] = []
        self.removed = 0

    def feed(self, data: bytes, *, last: bool) -> bool:
        self.fed.append(data)
        if b"!" in data:
            raise BadRequest("no")
        if b"#" in data or last:
            before, mark, after = b"".join(self.fed).partition(b"#")
            self.output, self.removed = [before, after], len(mark)
            return True
        return False


@pytest.mark.parametrize("in_chunks", [True, False])
async def test_an_inspected_body_is_sent_without_the_removed_part(*, in_chunks: bool) -> None:
    body = chunked(b"ab", ended=False) if in_chunks else plain(b"ab", length=6)
    inspector = HashRemover()
    inspection = asyncio.create_task(body.inspect(inspector, idle_timeout=5.0))
    for count, piece in enumerate((b"c", b"#d"), 1):
        await until(lambda count=count: len(inspector.fed) == count)  # type: ignore[misc] # a lambda of no type
        body.feed(chunk(piece) if in_chunks else piece)
    await inspection
    assert inspector.fed == [b"ab", b"c", b"#d"]
    assert (body.bytes_read, body.bytes_removed, body.is_complete, body.buffered()) == (0, 1, False, None)
    body.feed(chunk(b"#") + END if in_chunks else b"#")
    whole = b"5\r\nabcd#\r\n0\r\n\r\n" if in_chunks else b"abcd#"
    assert b"".join(body.buffered() or []) == b"".join(body.buffered() or []) == whole
    assert (body.bytes_read, body.bytes_removed, body.is_replayable) == (6, 1, True)


async def test_limits_count_what_the_caller_sent() -> None:
    for keep, is_replayable in ((5, True), (4, False)):
        body = plain(b"ab#cd", keep=keep)
        await body.inspect(HashRemover(), idle_timeout=5.0)
        assert b"".join(body.buffered() or []) == b"abcd"
        assert body.is_replayable is is_replayable
    body = chunked(b"abc", b"def", ended=False, limit=5)
    with pytest.raises(BodyTooLarge):
        await body.inspect(HashRemover(), idle_timeout=5.0)


async def test_a_refused_body_is_counted_too() -> None:
    body = plain(b"abc!", length=9)
    with pytest.raises(BadRequest):
        await body.inspect(HashRemover(), idle_timeout=5.0)
    assert body.bytes_read == 4


async def test_an_inspection_waits_for_a_slow_caller() -> None:
    with pytest.raises(RequestTimeout):
        await plain(b"ab", length=3).inspect(HashRemover(), idle_timeout=0.01)
    broken = chunked(b"ab", ended=False)
    broken.feed(b"zz\r\n")
    with pytest.raises(BadRequest):
        await broken.inspect(HashRemover(), idle_timeout=5.0)
    nothing = chunked()
    await nothing.inspect(HashRemover(), idle_timeout=5.0)
    assert b"".join(nothing.buffered() or []) == END


@pytest.mark.parametrize(("here", "continue_count"), [(b"", 1), (b"a", 0)])
async def test_100_continue_is_sent_once_with_an_inspection(here: bytes, continue_count: int) -> None:
    continues: list[None] = []
    body = RequestBody(4)
    body.configure(replay_limit=10, limit=None, send_continue=lambda: continues.append(None))
    if here:
        body.feed(here)
    inspection = asyncio.create_task(body.inspect(HashRemover(), idle_timeout=5.0))
    await until(lambda: body._waiter is not None)
    body.feed(b"b#")
    await inspection
    async with asyncio.timeout(TIME_LIMIT), Upstream() as peer, connected(peer, b"Content-Length: 3") as connection:
        stream = asyncio.create_task(body.stream(connection, idle_timeout=5.0, response_timeout=5.0))
        await until(lambda: body._waiter is not None)
        stream.cancel()
        await asyncio.wait({stream})
    assert len(continues) == continue_count


async def test_other_tasks_run_between_the_inspected_parts() -> None:
    body, inspector, seen = RequestBody(10 * INSPECTION_STEP), HashRemover(), list[int]()
    body.configure(replay_limit=0, limit=None, send_continue=None)
    body.feed(b"x" * 3 * INSPECTION_STEP + b"x#z" + b"y" * 3 * INSPECTION_STEP)

    def look() -> None:
        seen.append(len(inspector.fed))
        if len(inspector.fed) == 2:
            body.feed(b"late")
        if len(inspector.fed) < 3:
            asyncio.get_running_loop().call_soon(look)

    asyncio.get_running_loop().call_soon(look)
    await body.inspect(inspector, idle_timeout=5.0)
    assert seen == [1, 2, 3]
    assert [len(piece) for piece in inspector.fed] == [INSPECTION_STEP] * 4
    assert b"".join(body._take_pieces()) == b"x" * 3 * INSPECTION_STEP + b"xz" + b"y" * 3 * INSPECTION_STEP + b"late"


async def test_bytes_that_arrive_during_an_inspection_are_inspected() -> None:
    body, inspector = RequestBody(2 * INSPECTION_STEP + 3), HashRemover()
    body.configure(replay_limit=4 * INSPECTION_STEP, limit=None, send_continue=None)
    body.feed(b"x" * 2 * INSPECTION_STEP)
    asyncio.get_running_loop().call_soon(body.feed, b"a#b")
    await body.inspect(inspector, idle_timeout=5.0)
    assert [len(piece) for piece in inspector.fed] == [INSPECTION_STEP, INSPECTION_STEP, 3]
    assert b"".join(body.buffered() or []) == b"x" * 2 * INSPECTION_STEP + b"ab"


async def test_an_inspection_of_any_size_gets_its_bytes() -> None:
    reading = Recorder()
    body = RequestBody(4 * BODY_READ_AHEAD, read_control=reading)
    body.configure(replay_limit=0, limit=None, send_continue=None)
    inspection = asyncio.create_task(body.inspect(HashRemover(), idle_timeout=5.0))
    for count in range(1, 4):
        body.feed(b"x" * BODY_READ_AHEAD + b"y")
        await until(lambda count=count: reading.calls == ["pause", "resume"] * count)  # type: ignore[misc]
    body.feed(b"#")
    await inspection
    assert sum(map(len, body._take_pieces())) == 3 * (BODY_READ_AHEAD + 1)


# Streamed -------------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def connected(peer: Upstream, framing: bytes) -> AsyncIterator[UpstreamConnection]:
    """A connection on which a request with this framing has begun."""
    connection = await dial(Origin("127.0.0.1", peer.port, None, None), lambda _: None, RESPONSE_RULES)
    connection.start_exchange(is_head_request=False)
    connection.write([b"POST / HTTP/1.1\r\n" + framing + b"\r\n\r\n"])
    yield connection
    connection.abort()


@pytest.mark.parametrize("in_chunks", [True, False])
async def test_a_second_stream_begins_at_the_start_of_the_body(*, in_chunks: bool) -> None:
    framing = b"Transfer-Encoding: chunked" if in_chunks else b"Content-Length: 6"
    half = chunked(b"abc", ended=False) if in_chunks else plain(b"abc", length=6)
    async with asyncio.timeout(TIME_LIMIT), Upstream() as peer:
        for last in (False, True):
            async with connected(peer, framing) as connection:
                stream = asyncio.create_task(half.stream(connection, idle_timeout=5.0, response_timeout=5.0))
                await until(lambda: half.bytes_read >= 3)
                if last:
                    half.feed(chunk(b"def") + END if in_chunks else b"def")
                    await stream
                    assert (await connection.read_head()).status == 200
                else:
                    stream.cancel()
                    await asyncio.wait({stream})
        assert [request.body for request in peer.requests] == [b"abcdef"]
        assert (half.bytes_read, half.is_replayable) == (6, True)


@pytest.mark.parametrize(("here", "continue_count"), [(b"", 1), (b"a", 0)])
async def test_100_continue_is_sent_once_and_only_before_the_body(here: bytes, continue_count: int) -> None:
    continues: list[None] = []
    async with asyncio.timeout(TIME_LIMIT), Upstream() as peer:
        body = RequestBody(3)
        body.configure(replay_limit=10, limit=None, send_continue=lambda: continues.append(None))
        if here:
            body.feed(here)
        for _ in range(2):
            async with connected(peer, b"Content-Length: 3") as connection:
                stream = asyncio.create_task(body.stream(connection, idle_timeout=5.0, response_timeout=5.0))
                await until(lambda: body._waiter is not None)
                stream.cancel()
                await asyncio.wait({stream})
    assert len(continues) == continue_count


async def test_a_malformed_body_aborts_an_unanswered_exchange() -> None:
    async def early(conversation: ScriptedConnection) -> None:
        await conversation.head()
        await conversation.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n")
        await conversation.reader.read()

    async def deaf(conversation: ScriptedConnection) -> None:
        await conversation.reader.read()

    async with asyncio.timeout(TIME_LIMIT), Upstream(deaf, early) as peer:
        for is_started in (False, True):
            body = chunked(b"ab", ended=False)
            async with connected(peer, b"Transfer-Encoding: chunked") as connection:
                if is_started:
                    await connection.read_head()
                body.feed(b"zz\r\n")
                with pytest.raises(BadRequest):
                    await body.stream(connection, idle_timeout=5.0, response_timeout=5.0)
                assert connection.is_open is is_started


# Passed on as it arrives ----------------------------------------------------------------------------------------------


@asynccontextmanager
async def streaming(body: RequestBody, peer: Upstream, framing: bytes) -> AsyncIterator[UpstreamConnection]:
    """A connection to which the body streams; all that has arrived is sent."""
    async with connected(peer, framing) as connection:
        stream = asyncio.create_task(body.stream(connection, idle_timeout=5.0, response_timeout=5.0))
        await until(lambda: body._waiter is not None)
        yield connection
        await stream


@pytest.mark.parametrize("in_chunks", [True, False])
async def test_bytes_are_sent_in_the_call_that_brings_them(*, in_chunks: bool) -> None:
    framing = b"Transfer-Encoding: chunked" if in_chunks else b"Content-Length: 9"
    body = chunked(b"abc", ended=False) if in_chunks else plain(b"abc", length=9)
    async with asyncio.timeout(TIME_LIMIT), Upstream() as peer:
        async with streaming(body, peer, framing) as connection:
            body.feed(chunk(b"def") if in_chunks else b"def")
            assert body.bytes_read == 6
            assert body.feed(chunk(b"ghi") + END + b"next" if in_chunks else b"ghinext") == b"next"
            assert (await connection.read_head()).status == 200
        assert [request.body for request in peer.requests] == [b"abcdefghi"]
        assert (body.bytes_read, body.is_replayable) == (9, True)


@pytest.mark.parametrize("in_chunks", [True, False])
async def test_bytes_wait_in_order_while_the_upstream_has_no_room(*, in_chunks: bool) -> None:
    go_on = asyncio.Event()

    async def slow(peer: ScriptedConnection) -> None:
        await peer.head()
        peer.writer.transport.pause_reading()  # type: ignore[attr-defined] # a socket's transport reads
        await go_on.wait()
        peer.writer.transport.resume_reading()  # type: ignore[attr-defined] # a socket's transport reads
        while not received.endswith(END) if in_chunks else len(received) < total:
            received.extend(await peer.reader.read(100_000))
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    received = bytearray()
    pieces = [bytes([number % 250 + 1]) * 100_000 for number in range(120)]
    total = sum(map(len, pieces))
    reading = Recorder()
    body = RequestBody(total, decoder=ChunkedDecoder(100) if in_chunks else None, read_control=reading)
    body.configure(replay_limit=0, limit=None, send_continue=None)
    framing = b"Transfer-Encoding: chunked" if in_chunks else b"Content-Length: %d" % total
    async with asyncio.timeout(TIME_LIMIT), Upstream(slow) as peer, streaming(body, peer, framing) as connection:
        rest = iter(pieces)
        while not connection.write_paused:
            body.feed(chunk(next(rest)) if in_chunks else next(rest))
        sent = body.bytes_read
        while "pause" not in reading.calls:
            body.feed(chunk(next(rest)) if in_chunks else next(rest))
        assert body.bytes_read == sent
        go_on.set()
        for piece in rest:
            body.feed(chunk(piece) if in_chunks else piece)
        if in_chunks:
            body.feed(END)
        assert (await connection.read_head()).status == 200
        decoded = ChunkedDecoder(100).feed(bytes(received))[0] if in_chunks else [received]
        assert b"".join(decoded) == b"".join(pieces)


async def test_memory_of_a_read_is_free_until_a_transport_keeps_it() -> None:
    async def deaf(peer: ScriptedConnection) -> None:
        peer.writer.transport.pause_reading()  # type: ignore[attr-defined] # a socket's transport reads
        await done.wait()

    done = asyncio.Event()
    memory = memoryview(bytearray(b"a" * MIN_UNCOPIED))
    body = RequestBody(1000 * MIN_UNCOPIED)
    body.configure(replay_limit=0, limit=None, send_continue=None)
    async with asyncio.timeout(TIME_LIMIT), Upstream(deaf) as peer, connected(peer, b"Content-Length: 9") as connection:
        assert body.feed_view(memory)
        memory[:] = b"b" * MIN_UNCOPIED
        assert body._pieces == [b"a" * MIN_UNCOPIED]
        stream = asyncio.create_task(body.stream(connection, idle_timeout=5.0, response_timeout=5.0))
        await until(lambda: body._waiter is not None)
        while is_free := body.feed_view(memory):
            assert connection._transport is not None
            assert not connection._transport.get_write_buffer_size()
        assert not is_free
        sent = body.bytes_read
        while not connection.write_paused:
            body.feed_view(memory)
        assert body.feed_view(memory)
        assert body.missing_size < 1000 * MIN_UNCOPIED - sent
        stream.cancel()
        done.set()


async def test_a_streamed_body_above_its_limit_is_not_passed_on() -> None:
    body = chunked(b"abc", ended=False, limit=5)
    async with asyncio.timeout(TIME_LIMIT), Upstream() as peer, connected(peer, b"Transfer-Encoding: chunked") as near:
        stream = asyncio.create_task(body.stream(near, idle_timeout=5.0, response_timeout=5.0))
        await until(lambda: body._waiter is not None)
        body.feed(chunk(b"de"))
        assert (body.bytes_read, body.error) == (5, None)
        body.feed(chunk(b"f"))
        assert body.bytes_read == 5
        with pytest.raises(BodyTooLarge):
            await stream
        assert not near.is_open


async def test_a_streamed_body_that_stops_coming_is_timed_out() -> None:
    body = plain(b"a", length=3)
    async with asyncio.timeout(TIME_LIMIT), Upstream() as peer, connected(peer, b"Content-Length: 3") as near:
        stream = asyncio.create_task(body.stream(near, idle_timeout=0.05, response_timeout=5.0))
        await until(lambda: body._waiter is not None)
        body.feed(b"b")
        with pytest.raises(RequestTimeout) as caught:
            await stream
        assert caught.value.detail == "The body stopped arriving after 2 of 3 bytes."
