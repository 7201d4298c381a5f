"""Large bodies: they arrive whole, and a slow side slows the other one instead of filling memory."""

import asyncio
import gzip
import socket
from collections.abc import Callable
from random import Random

import pytest

from gateway.http.caller_connection import PIPELINE_READ_AHEAD
from tests.fakes.gate import Caller, Gate, Scene, scene, until
from tests.fakes.upstream import ScriptedConnection, reply

LARGE = bytes(range(256)) * 32_768  # 8 MiB
BOUND = 2 * 1024 * 1024
GET = b"GET /orders/1 HTTP/1.1\r\nHost: gw\r\n\r\n"


def chunked(body: bytes, size: int) -> bytes:
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


@pytest.mark.parametrize("size", [1, 700, 100_000])
async def test_a_large_reply_arrives_whole_however_it_is_chunked(size: int) -> None:
    body = LARGE if size > 1 else LARGE[:50_000]
    response = reply(200, b"", "Transfer-Encoding: chunked", length=False) + chunked(body, size)
    async with scene(response, reply(200, LARGE)) as (gate, upstream, _):
        assert (await gate.get())[2] == body
        assert (await gate.get())[2] == LARGE
        assert [record.bytes_out for record in gate.records] == [len(body), len(LARGE)]
        assert upstream.connections == 1


@pytest.mark.parametrize("size", [1, 700, 100_000])
async def test_a_large_request_arrives_whole_however_it_is_chunked(size: int) -> None:
    body = LARGE if size > 1 else LARGE[:50_000]
    async with scene() as (gate, upstream, _):
        caller = await gate.caller()
        await caller.send(
            b"POST /orders/1 HTTP/1.1\r\nHost: gw\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(body, size)
        )
        assert (await caller.reply())[0] == 200
        assert (await gate.post(LARGE))[0] == 200
        assert [request.body for request in upstream.requests] == [body, LARGE]
        assert [record.bytes_in for record in gate.records] == [len(body), len(LARGE)]


def buffered_bytes(at: Scene) -> int:
    """The bytes of bodies that the gateway holds itself."""
    total = 0
    for connection in at.gate.pool._busy:
        total += sum(map(len, connection._parser.body))
        total += connection._transport.get_write_buffer_size() if connection._transport else 0
    for caller in at.gate.server.connections:
        total += caller._transport.get_write_buffer_size() if caller._transport else 0
        total += len(caller.reader.pending)
        total += sum(map(len, caller._body._pieces)) if caller._body else 0
    return total


def pieces(at: Scene) -> int:
    """The pieces of replies that the gateway holds."""
    return sum(len(connection._parser.body) for connection in at.gate.pool._busy)


def replies_wait(at: Scene) -> bool:
    """Some upstream is no longer read."""
    return any(connection._reading_paused for connection in at.gate.pool._busy)


def callers_wait(at: Scene) -> bool:
    """Some caller is no longer read."""
    return any(caller._reading_paused for caller in at.gate.server.connections)


async def most_of(measure: Callable[[], int], has_stopped: Callable[[], bool]) -> int:
    """The greatest measure until reading has stopped."""
    most = 0

    def is_over() -> bool:
        nonlocal most
        most = max(most, measure())
        return has_stopped()

    await until(is_over)
    return most


async def narrow(gate: Gate) -> Caller:
    """A caller whose socket takes in little at a time."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.settimeout(0)
    await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", gate.port))
    caller = Caller(*await asyncio.open_connection(sock=sock, limit=4096))
    gate._callers.append(caller)
    return caller


@pytest.mark.parametrize(
    "framing", [b"\r\n", b"Content-Length: 100000000\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n"]
)
async def test_a_slow_caller_slows_the_upstream(framing: bytes) -> None:
    written = 0

    async def flood(peer: ScriptedConnection) -> None:
        nonlocal written
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\n" + framing)
        piece = b"fffc\r\n" + b"x" * 0xFFFC + b"\r\n" if framing.startswith(b"T") else b"x" * 65536
        while True:
            await peer.send(piece)
            written += 65536

    async with scene(flood) as at:
        caller = await narrow(at.gate)
        await caller.send(GET)
        await caller.head()
        assert await most_of(lambda: buffered_bytes(at), lambda: replies_wait(at)) < BOUND
        before = written
        await caller.reader.readexactly(20 * 1024 * 1024)
        assert buffered_bytes(at) < BOUND
        assert written > before
        caller.reset()
        assert (await at.gate.wait_for_records())[0].error == "caller-gone"


async def test_a_slow_upstream_slows_the_caller() -> None:
    go_on = asyncio.Event()

    async def slow(peer: ScriptedConnection) -> None:
        await peer.head()
        peer.writer.transport.pause_reading()  # type: ignore[attr-defined] # a socket's transport reads
        await go_on.wait()
        peer.writer.transport.resume_reading()  # type: ignore[attr-defined] # a socket's transport reads
        await peer.reader.readexactly(len(LARGE) * 4)
        await peer.send(reply(200, b"all"))

    async with scene(slow) as at:
        caller = await at.gate.caller()
        await caller.send(b"POST /orders/1 HTTP/1.1\r\nHost: gw\r\nContent-Length: %d\r\n\r\n" % (len(LARGE) * 4))
        upload = asyncio.create_task(caller.send(LARGE * 4))
        assert await most_of(lambda: buffered_bytes(at), lambda: callers_wait(at)) < BOUND
        go_on.set()
        await upload
        assert (await caller.reply())[2] == b"all"
        assert at.gate.records[0].bytes_in == len(LARGE) * 4


async def test_a_large_body_is_unchanged_after_stalls_of_the_upstream() -> None:
    body = Random(1).randbytes(16 * 1024 * 1024)

    async def stalling(peer: ScriptedConnection) -> None:
        await peer.head()
        received = b""
        for size in (2_000_000, 3_000_000, len(body) - 5_000_000):
            peer.writer.transport.pause_reading()  # type: ignore[attr-defined] # a socket's transport reads
            await until(lambda: any(connection.write_paused for connection in at.gate.pool._busy))
            peer.writer.transport.resume_reading()  # type: ignore[attr-defined] # a socket's transport reads
            received += await peer.reader.readexactly(size)
        await peer.send(reply(200, b"same" if received == body else b"other"))

    async with scene(stalling) as at:
        caller = await at.gate.caller()
        await caller.send(b"POST /orders/1 HTTP/1.1\r\nHost: gw\r\nContent-Length: %d\r\n\r\n" % len(body) + body + GET)
        assert (await caller.reply())[2] == b"same"
        assert (await caller.reply())[0] == 200
        assert [record.bytes_in for record in await at.gate.wait_for_records(2)] == [len(body), 0]


async def test_a_caller_that_leaves_within_a_large_body_is_recorded() -> None:
    async with scene(route={"replay_limit": "0B"}) as at:
        caller = await at.gate.caller()
        await caller.send(b"POST /orders/1 HTTP/1.1\r\nHost: gw\r\nContent-Length: 9000000\r\n\r\n" + b"x" * 100_000)
        await until(lambda: any(one._body and one._body.bytes_read for one in at.gate.server.connections))
        caller.close()
        assert (await at.gate.wait_for_records())[0].error == "caller-gone"
        await until(lambda: not at.gate.server.connections)


@pytest.mark.parametrize("size", [999, 70_000, 500_000])
async def test_bodies_of_many_callers_with_slow_sides_stay_apart(size: int) -> None:
    """Each caller sends and gets bytes of its own; upstreams and callers read in turns, a piece at a time."""
    count, total = 6, 3_000_000
    turns = asyncio.Semaphore(2)

    async def read_slowly(reader: asyncio.StreamReader) -> bytes:
        received = bytearray()
        while len(received) < total:
            async with turns:
                received += await reader.read(size)
        return bytes(received)

    async def echo(peer: ScriptedConnection) -> None:
        await peer.head()
        body = await read_slowly(peer.reader)
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % total)
        for at in range(0, total, size):
            await peer.send(body[at : at + size])

    async def call(gate: Gate, number: int) -> None:
        caller = await narrow(gate)
        body = bytes([number]) * total
        head = b"POST /orders/1 HTTP/1.1\r\nHost: gw\r\nContent-Length: %d\r\n\r\n" % total
        await caller.send(head)
        for at in range(0, total, size):
            await caller.send(body[at : at + size])
        assert (await caller.head()).startswith(b"HTTP/1.1 200")
        assert await read_slowly(caller.reader) == body

    async with scene(*[echo] * count, route={"replay_limit": "0B"}) as (gate, _, _):
        await asyncio.gather(*(call(gate, number + 1) for number in range(count)))


INSTANCE_ID = "X-Oracle-ICS-Instance-Id: a-1"  # then the body is not searched for one


@pytest.mark.parametrize("media_type", ["application/json", "application/octet-stream"])
async def test_slow_callers_get_the_bytes_of_their_own_large_body(media_type: str) -> None:
    """A read buffer is not used again while a transport sends from it."""
    bodies = [b"[" + Random(number).randbytes(6_000_000) for number in range(4)]
    waiting = iter(bodies)

    async def flood(peer: ScriptedConnection) -> None:
        await peer.request()
        await peer.send(reply(200, next(waiting), f"Content-Type: {media_type}", INSTANCE_ID))

    async def call(gate: Gate) -> bytes:
        caller = await narrow(gate)
        await caller.send(GET)
        return (await caller.reply())[2]

    async with scene(*[flood] * len(bodies)) as at:
        assert sorted(await asyncio.gather(*(call(at.gate) for _ in bodies))) == sorted(bodies)


@pytest.mark.parametrize("distance", [3_000, 300_000, 700_000])
@pytest.mark.parametrize("is_chunked", [False, True])
async def test_links_in_a_large_body_are_rewritten_as_it_passes(distance: int, *, is_chunked: bool) -> None:
    items = "".join(f'{{"n":"{Random(at).randbytes(distance // 2).hex()}","href":"HERE/{at}"}},' for at in range(12))
    text = '{"items":[' + items + "1]}"

    async def send(peer: ScriptedConnection) -> None:
        body = text.replace("HERE", f"{at.upstream.url}/ic/x").encode()
        framing = "Transfer-Encoding: chunked" if is_chunked else f"Content-Length: {len(body)}"
        head = reply(200, b"", "Content-Type: application/json", framing, INSTANCE_ID, length=False)
        for _ in range(2):
            await peer.request()
            await peer.send(head + (chunked(body, 50_000) if is_chunked else body))

    async with scene(send) as at:
        for _ in range(2):
            assert (await at.gate.get())[2].decode() == text.replace("HERE", "http://localhost/orders")
        assert at.upstream.connections == 1


async def test_a_large_compressed_body_of_an_unknown_charset_passes() -> None:
    markup = b'<?xml version="1.0" encoding="Shift_JIS"?><a>' + Random(1).randbytes(750_000).hex().encode() + b"</a>"
    lines = ("Content-Type: application/xml", "Content-Encoding: gzip", INSTANCE_ID)
    async with scene(reply(200, gzip.compress(markup), *lines)) as at:
        assert (await at.gate.get())[2] == markup
        assert at.gate.records[0].error is None


async def test_tiny_chunks_to_a_slow_caller_are_held_in_few_pieces() -> None:
    async def flood(peer: ScriptedConnection) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            await peer.send(b"1\r\nx\r\n" * 10_000)

    async with scene(flood) as at:
        caller = await narrow(at.gate)
        await caller.send(GET)
        await caller.head()
        assert await most_of(lambda: pieces(at), lambda: replies_wait(at)) < 100_000
        caller.reset()
        await at.gate.wait_for_records()


async def test_a_caller_that_stops_reading_is_dropped_after_a_while() -> None:
    async def flood(peer: ScriptedConnection) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            await peer.send(b"x" * 65536)

    async with scene(flood, route={"timeout": {"idle": "100ms"}}) as at:
        caller = await narrow(at.gate)
        await caller.send(GET)
        await caller.head()
        [record] = await at.gate.wait_for_records()
        assert (record.error, record.reason, record.status) == ("caller-gone", "the caller stopped reading", 200)
        await at.upstream.until(lambda: at.upstream.open == 0)


async def test_pipelined_requests_of_a_caller_that_does_not_read_wait() -> None:
    async with scene(*[reply(200, LARGE[:200_000])] * 80) as at:
        caller = await narrow(at.gate)
        await caller.send(GET * 80)
        await until(lambda: any(caller.write_paused for caller in at.gate.server.connections))
        for _ in range(500):
            await asyncio.sleep(0)
        assert buffered_bytes(at) < BOUND
        assert len(at.upstream.requests) < 80
        for _ in range(80):
            assert len((await caller.reply())[2]) == 200_000


async def test_refused_requests_of_a_caller_that_does_not_read_wait() -> None:
    lost = b"GET /lost HTTP/1.1\r\nHost: gw\r\n\r\n"
    count = 40_000  # their refusals would be some 20 MB
    async with scene() as at:
        caller = await narrow(at.gate)
        flood = asyncio.create_task(caller.send(lost * count))
        assert (
            await most_of(
                lambda: buffered_bytes(at), lambda: any(one.write_paused for one in at.gate.server.connections)
            )
            < BOUND
        )
        answered = -1
        while answered != len(at.gate.records):
            answered = len(at.gate.records)
            for _ in range(100):
                await asyncio.sleep(0)
        assert buffered_bytes(at) < BOUND
        assert answered < count / 2
        for _ in range(answered + 1000):  # as it reads, it goes on
            assert (await caller.reply())[0] == 404
        flood.cancel()
        caller.reset()
        await until(lambda: not at.gate.server.connections)


@pytest.mark.parametrize("size", [40, 900])
async def test_any_number_of_requests_may_be_in_line(size: int) -> None:
    get = b"GET /orders/1 HTTP/1.1\r\nHost: gw\r\nX: %b\r\n\r\n" % (b"x" * size)
    count = 4 * PIPELINE_READ_AHEAD // len(get)
    async with scene() as at:
        caller = await at.gate.caller()
        flood = asyncio.create_task(caller.send(get * count))
        for _ in range(count):
            assert (await caller.reply())[0] == 200
            assert buffered_bytes(at) < BOUND
        await flood
        assert len(await at.gate.wait_for_records(count)) == count


async def test_a_large_body_behind_many_requests_in_line_arrives_whole() -> None:
    post = b"POST /orders/1 HTTP/1.1\r\nHost: gw\r\nContent-Length: %d\r\n\r\n" % len(LARGE)
    async with scene() as at:
        caller = await at.gate.caller()
        flood = asyncio.create_task(caller.send(GET * (PIPELINE_READ_AHEAD // len(GET)) + post + LARGE + GET))
        for _ in range(PIPELINE_READ_AHEAD // len(GET) + 2):
            assert (await caller.reply())[0] == 200
        await flood
        assert at.upstream.requests[-2].body == LARGE
        assert at.upstream.requests[-1].body == b""
