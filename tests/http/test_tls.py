"""TLS to an upstream: bytes and back-pressure, ends and cuts, tickets, resumption, and handshakes that fail."""

import asyncio
import gc
import hashlib
import itertools
import select
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from pathlib import Path

import pytest

from gateway.config.strict_model import TlsSettings
from gateway.errors import UpstreamUnreachable
from gateway.http.upstream_connection import UpstreamConnection
from gateway.http.upstream_dialer import dial
from gateway.network.dial import EgressProxy, Origin
from gateway.network.tls_client import MAX_RESUMPTION_TIME, TlsSession, TlsTransport
from gateway.proxy.headers import RESPONSE_RULES
from gateway.wiring.outbound import TlsContexts
from tests.fakes.certificates import DAY, self_signed
from tests.fakes.upstream import ScriptedConnection, Upstream
from tests.fakes.waiting import TIME_LIMIT

VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]
MIB = 1024 * 1024


def served(certificate: Path, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    context.maximum_version = version
    return context


def trusting(certificate: Path) -> ssl.SSLContext:
    """The context that production makes."""
    return TlsContexts().context(TlsSettings(ca=str(certificate)))


class App(asyncio.Protocol):
    """The protocol above the transport: it records its events in order."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.got = bytearray()
        self.sizes: list[int] = []
        self.error: Exception | None = None
        self.stops_at_first = False
        self.is_paused = False
        self.transport: asyncio.Transport
        self._change = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, TlsTransport)
        self.transport = transport
        self.events.append("made")

    def data_received(self, data: bytes) -> None:
        assert type(data) is bytes
        self.got += data
        self.sizes.append(len(data))
        self._change.set()
        if self.stops_at_first:
            self.transport.abort()

    def eof_received(self) -> None:
        self.events.append("end")
        self._change.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self.events.append("lost")
        self.error = exc
        self._change.set()

    def pause_writing(self) -> None:
        self.is_paused = True
        self._change.set()

    def resume_writing(self) -> None:
        self.is_paused = False
        self._change.set()

    async def until(self, state: Callable[[], bool]) -> None:
        while not state():
            self._change.clear()
            await self._change.wait()

    def has(self, size: int) -> bool:
        return len(self.got) >= size

    @property
    def is_lost(self) -> bool:
        return self.events[-1:] == ["lost"]


class Far:
    """The upstream's end, one step at a time."""

    def __init__(self, sock: socket.socket, context: ssl.SSLContext) -> None:
        self.sock = sock
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_side=True)

    async def shake(self) -> None:
        """The handshake; if it fails, the other side gets an alert."""
        while True:
            try:
                self.tls.do_handshake()
            except ssl.SSLWantReadError:
                await self.take()
                continue
            except ssl.SSLError:
                pass
            self.flush()
            return

    async def take(self) -> None:
        self.flush()
        if data := await asyncio.get_running_loop().sock_recv(self.sock, 65536):
            self.incoming.write(data)
        else:
            self.incoming.write_eof()

    def flush(self) -> None:
        if self.outgoing.pending:
            data = self.outgoing.read()
            assert self.sock.send(data) == len(data)

    def say(self, data: bytes) -> None:
        self.tls.write(data)
        self.flush()

    async def hear(self) -> bytes:
        """One record; b"" for a clean end. Raises ssl.SSLEOFError for a cut."""
        while True:
            try:
                return self.tls.read(65536)
            except ssl.SSLWantReadError:
                await self.take()

    def end(self) -> None:
        """close_notify."""
        with suppress(ssl.SSLWantReadError):  # it would wait for the other side's
            self.tls.unwrap()
        self.flush()

    def reset(self) -> None:
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()


def pair() -> tuple[socket.socket, socket.socket]:
    """Both ends of a TCP connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        near = socket.create_connection(listener.getsockname())
        far, _ = listener.accept()
    near.settimeout(0)
    far.settimeout(0)
    return near, far


@asynccontextmanager
async def link(
    near_context: ssl.SSLContext, far_context: ssl.SSLContext, resumption: TlsSession | None = None
) -> AsyncIterator[tuple[TlsTransport, App, Far]]:
    async with asyncio.timeout(TIME_LIMIT):
        app = App()
        near, far_sock = pair()
        far = Far(far_sock, far_context)
        transport = TlsTransport(
            app, near, context=near_context, server_name="127.0.0.1", tls_session=resumption or TlsSession()
        )
        with far_sock:
            shaking = asyncio.create_task(far.shake())
            await asyncio.get_running_loop().create_connection(lambda: transport, sock=near)
            await transport.opened
            await shaking
            try:
                yield transport, app, far
            finally:
                transport.abort()
                await app.until(lambda: app.is_lost)


@asynccontextmanager
async def linked(
    certificate: Path, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3
) -> AsyncIterator[tuple[TlsTransport, App, Far]]:
    async with link(trusting(certificate), served(certificate, version)) as connection:
        yield connection


# Bytes ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
async def test_small_parts_go_out_together_and_replies_come_back(certificate: Path, version: ssl.TLSVersion) -> None:
    async with linked(certificate, version) as (transport, app, far):
        transport.writelines([b"GET / HTTP/1.1\r\n", bytearray(b"\r\n"), memoryview(b"body")])
        assert await far.hear() == b"GET / HTTP/1.1\r\n\r\nbody"
        transport.write(b"")
        transport.writelines([])
        with pytest.raises(BlockingIOError):  # not even an empty record
            far.sock.recv(1)
        transport.write(b"x")
        assert await far.hear() == b"x"
        far.say(b"reply")
        await app.until(lambda: bool(app.got))
        assert bytes(app.got) == b"reply"
        assert transport.get_extra_info("ssl_object").version() == far.tls.version()
        assert transport.get_extra_info("peername")[0] == "127.0.0.1"
        assert transport.get_extra_info("nothing", 7) == 7
        assert not transport.can_write_eof()


Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def connected(certificate: Path, serve: Handler) -> AsyncIterator[tuple[TlsTransport, App]]:
    """An upstream on the loop's own TLS."""
    async with (
        asyncio.timeout(TIME_LIMIT),
        await asyncio.start_server(serve, "127.0.0.1", 0, ssl=served(certificate)) as server,
    ):
        app, sock = App(), socket.create_connection(server.sockets[0].getsockname())
        transport = TlsTransport(
            app, sock, context=trusting(certificate), server_name="127.0.0.1", tls_session=TlsSession()
        )
        await asyncio.get_running_loop().create_connection(lambda: transport, sock=sock)
        await transport.opened
        try:
            yield transport, app
        finally:
            transport.abort()
            await app.until(lambda: app.is_lost)


async def pour(transport: TlsTransport, app: App, total: int, piece: int) -> str:
    """Writes `total` bytes as fast as the back-pressure lets it; their digest. Nothing piles up meanwhile."""
    digest, sent = hashlib.sha256(), 0
    while sent < total:
        data = sent.to_bytes(8, "big") * (piece // 8)
        digest.update(data)
        sent += len(data)
        transport.write(data)
        assert transport._outgoing.pending == 0
        assert transport.get_write_buffer_size() < 64 * 1024 + 2 * piece
        await app.until(lambda: not app.is_paused)
    return digest.hexdigest()


async def test_ten_megabytes_pass_a_slow_peer_in_bounded_memory(certificate: Path) -> None:
    total, reads, jammed = 10 * MIB, asyncio.Event(), asyncio.Event()

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reads.wait()
        body = await reader.readexactly(total)
        for start in range(0, total, MIB):
            writer.write(body[start : start + MIB])
            if writer.transport.get_write_buffer_size():
                jammed.set()
            await writer.drain()
        writer.close()

    async with connected(certificate, slow) as (transport, app):
        pouring = asyncio.create_task(pour(transport, app, total, 128 * 1024))
        await app.until(lambda: app.is_paused)
        assert not pouring.done()
        transport.pause_reading()
        assert not transport.is_reading()
        reads.set()
        digest = await pouring
        await jammed.wait()
        assert not app.got
        transport.resume_reading()
        await app.until(lambda: bool(app.got))
        transport.pause_reading()
        await asyncio.sleep(0)
        assert len(app.got) <= 256 * 1024  # what one read of the socket gives
        transport.resume_reading()
        await app.until(lambda: len(app.got) == total)
        assert hashlib.sha256(app.got).hexdigest() == digest
        await app.until(lambda: app.is_lost)
        assert (app.events, app.error) == (["made", "end", "lost"], None)


@pytest.mark.parametrize("piece", [8, 16 * 1024, MIB])
async def test_both_directions_at_once(certificate: Path, piece: int) -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.close()

    total = 2000 * piece if piece == 8 else 4 * MIB
    async with connected(certificate, echo) as (transport, app):
        transport.set_write_buffer_limits(64 * 1024, 16 * 1024)
        assert tuple(transport.get_write_buffer_limits()) == (16 * 1024, 64 * 1024)
        digest = await pour(transport, app, total, piece)
        await app.until(lambda: len(app.got) == total)
        assert hashlib.sha256(app.got).hexdigest() == digest
        assert transport._incoming.pending == 0
        transport.close()


async def records(far: Far, app: App, *texts: bytes) -> bytes:
    """The TLS records of these texts, which the far end does not send: the next ones that the transport expects."""
    if not app.got:
        await far_says(far, app, b".")  # session tickets have been read, too
    for text in texts:
        far.tls.write(text)
    return far.outgoing.read()


def read(transport: TlsTransport, data: bytes) -> None:
    """Pass bytes as a read of the socket does."""
    for at in range(0, len(data), len(transport.get_buffer(-1))):
        part = data[at : at + len(transport.get_buffer(-1))]
        transport.get_buffer(-1)[: len(part)] = part
        transport.buffer_updated(len(part))


WAYS = pytest.mark.parametrize("receive", [read, TlsTransport.data_received], ids=["socket", "tunnel"])
Receive = Callable[[TlsTransport, bytes], None]


@WAYS
async def test_an_application_that_stops_hears_no_more(certificate: Path, receive: Receive) -> None:
    async with linked(certificate) as (transport, app, far):
        first, second = await records(far, app, b"first"), await records(far, app, b"second")
        app.stops_at_first = True
        receive(transport, first)
        receive(transport, second)
        await app.until(lambda: app.is_lost)
        assert bytes(app.got) == b".first"
        assert (app.events, app.error) == (["made", "lost"], None)


@WAYS
@pytest.mark.parametrize("size", [100, 16 * 1024])
async def test_records_of_one_read_are_delivered_in_one_piece(certificate: Path, receive: Receive, size: int) -> None:
    async with linked(certificate) as (transport, app, far):
        pieces = [bytes([number]) * size for number in range(14)]
        data = await records(far, app, *pieces)
        receive(transport, data[:-1])
        assert app.sizes == [1, 13 * size]
        receive(transport, data[-1:])
        assert app.sizes == [1, 13 * size, size]
        assert bytes(app.got) == b"." + b"".join(pieces)


@WAYS
@pytest.mark.parametrize("version", VERSIONS)
async def test_records_cut_anywhere_bring_the_same_bytes_and_end(
    certificate: Path, receive: Receive, version: ssl.TLSVersion
) -> None:
    for step in (1, 7, 29, 64, 1000):
        async with linked(certificate, version) as (transport, app, far):
            data = await records(far, app, b"one", b"", b"two" * 20)
            with suppress(ssl.SSLWantReadError):
                far.tls.unwrap()
            data += far.outgoing.read()
            for at in range(0, len(data), step):
                receive(transport, data[at : at + step])
            await app.until(lambda: app.is_lost)
            assert (bytes(app.got), app.events, app.error) == (b".one" + b"two" * 20, ["made", "end", "lost"], None)


class Taker(asyncio.BufferedProtocol):
    """Takes `total` bytes into a small buffer, then leaves the connection to `after`."""

    def __init__(self, transport: TlsTransport, total: int, after: asyncio.Protocol) -> None:
        self.transport, self.total, self.after = transport, total, after
        self.buffer, self.got = memoryview(bytearray(10_000)), b""

    def get_buffer(self, _sizehint: int) -> memoryview:
        return self.buffer[: self.total - len(self.got)]

    def buffer_updated(self, nbytes: int) -> None:
        self.got += self.buffer[:nbytes]
        if len(self.got) == self.total:
            self.transport.set_protocol(self.after)


@pytest.mark.parametrize("total", [1, 9_999, 16 * 1024, 40_000, 3 * 16 * 1024])
async def test_a_buffered_protocol_gets_its_bytes_and_no_more(certificate: Path, total: int) -> None:
    async with linked(certificate) as (transport, app, far):
        pieces = [bytes([number]) * 16 * 1024 for number in range(4)]
        data = await records(far, app, *pieces)
        taker = Taker(transport, total, app)
        transport.set_protocol(taker)
        for at in range(0, len(data), 30_000):
            transport.data_received(data[at : at + 30_000])
        whole = b"".join(pieces)
        assert (taker.got, bytes(app.got)) == (whole[:total], b"." + whole[total:])


@WAYS
async def test_records_before_a_broken_one_are_delivered(certificate: Path, receive: Receive) -> None:
    async with linked(certificate) as (transport, app, far):
        receive(transport, await records(far, app, b"good", b"too") + b"\x17\x03\x03\x00\x20" + b"?" * 32)
        await app.until(lambda: app.is_lost)
        assert (bytes(app.got), app.events) == (b".goodtoo", ["made", "lost"])
        assert isinstance(app.error, ssl.SSLError)


@pytest.mark.parametrize("pieces", [(1, 70_000), (16 * 1024, 300_000), (5, 99, 128 * 1024)])
async def test_connections_on_one_read_buffer_get_their_own_bytes(certificate: Path, pieces: tuple[int, ...]) -> None:
    """Each upstream repeats a byte of its own, and pauses and resumes at other moments than its neighbours."""
    total = 2 * MIB

    async def send(writer: asyncio.StreamWriter, letter: bytes) -> None:
        left = total
        for size in itertools.cycle(pieces):
            writer.write(letter * min(size, left))
            await writer.drain()
            left -= size
            if left <= 0:
                return

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await send(writer, await reader.readexactly(1))
        writer.close()

    async with AsyncExitStack() as stack:
        links = [await stack.enter_async_context(connected(certificate, serve)) for _ in range(4)]
        for number, (transport, _) in enumerate(links):
            transport.write(bytes([97 + number]))
        for step in range(8):
            (transport, app), (neighbour, _) = links[step % 4], links[(step + 2) % 4]
            await app.until(partial(app.has, step * 1000))
            transport.pause_reading()
            neighbour.resume_reading()
        for transport, _ in links:
            transport.resume_reading()
        for number, (_, app) in enumerate(links):
            await app.until(partial(app.has, total))
            assert app.got == bytes([97 + number]) * total


# Ends ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_clean_end_is_reported_and_answered(certificate: Path, version: ssl.TLSVersion) -> None:
    async with linked(certificate, version) as (transport, app, far):
        far.tls.write(b"last words")
        far.end()
        await app.until(lambda: app.is_lost)
        assert (bytes(app.got), app.events, app.error) == (b"last words", ["made", "end", "lost"], None)
        assert transport.is_closing()
        with suppress(ssl.SSLWantReadError):
            far.tls.unwrap()
        await far.take()
        far.tls.unwrap()  # their close_notify came too


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_cut_is_an_error_and_no_end(certificate: Path, version: ssl.TLSVersion) -> None:
    async with linked(certificate, version) as (_, app, far):
        far.say(b"half")
        far.sock.shutdown(socket.SHUT_WR)
        await app.until(lambda: app.is_lost)
        assert (bytes(app.got), app.events) == (b"half", ["made", "lost"])
        assert isinstance(app.error, ssl.SSLEOFError)
        assert str(app.error) == "TLS ended without close_notify"


async def test_a_reset_and_a_broken_record_are_errors(certificate: Path) -> None:
    async with linked(certificate) as (_, app, far):
        far.reset()
        await app.until(lambda: app.is_lost)
        assert app.events == ["made", "lost"]
        assert isinstance(app.error, ConnectionResetError)
    async with linked(certificate) as (_, app, far):
        far.sock.send(b"\x17\x03\x03\x00\x20" + b"?" * 32)
        await app.until(lambda: app.is_lost)
        assert app.events == ["made", "lost"]
        assert isinstance(app.error, ssl.SSLError)
        assert app.error.reason == "DECRYPTION_FAILED_OR_BAD_RECORD_MAC"
        with pytest.raises(ssl.SSLError, match="BAD_RECORD_MAC"):  # the upstream gets an alert
            await far.hear()


@pytest.mark.parametrize("way", [TlsTransport.close, TlsTransport.abort])
async def test_a_close_sends_close_notify(certificate: Path, way: Callable[[TlsTransport], None]) -> None:
    async with linked(certificate) as (transport, app, far):
        transport.write(b"bye")
        way(transport)
        way(transport)
        transport.write(b"too late")
        transport.writelines([b"too", b"late"])
        assert transport.is_closing()
        assert await far.hear() == b"bye"
        assert await far.hear() == b""
        await app.until(lambda: app.is_lost)
        assert (app.events, app.error) == (["made", "lost"], None)


async def test_closing_sends_what_was_written(certificate: Path) -> None:
    async with linked(certificate) as (transport, app, far):
        total = 0
        while not app.is_paused:
            transport.write(bytes(64 * 1024))
            total += 64 * 1024
        transport.close()
        while data := await far.hear():
            total -= len(data)
        assert total == 0


# Idle connections ----------------------------------------------------------------------------------------------------


async def test_tls_records_without_data_leave_a_connection_clean(certificate: Path) -> None:
    """A certificate asked for after the handshake wants an answer, and brings new tickets late."""
    near, far_context = trusting(certificate), served(certificate)
    near.post_handshake_auth = far_context.post_handshake_auth = True
    far_context.verify_mode = ssl.CERT_OPTIONAL
    resumption = TlsSession()
    async with link(near, far_context, resumption) as (transport, app, far):
        loop = asyncio.get_running_loop()
        await far_says(far, app, b"reply")
        before = transport.get_extra_info("ssl_object").session.id
        assert transport.is_idle_clean()
        far.tls.verify_client_post_handshake()
        far.tls.do_handshake()
        far.flush()
        arrived(transport)
        assert transport.is_idle_clean()  # the loop had no chance to read it
        await far.take()
        with pytest.raises(ssl.SSLWantReadError):
            far.tls.read(1)
        far.flush()
        assert transport.is_idle_clean()
        assert (app.events, bytes(app.got)) == (["made"], b"reply")
        newest = resumption.session(loop.time())
        assert newest is not None
        assert newest.id != before
        transport.write(b"next")
        assert await far.hear() == b"next"


async def test_a_late_ticket_keeps_a_connection_unlike_a_late_byte(certificate: Path) -> None:
    near_context, far_context = trusting(certificate), served(certificate)
    near_context.post_handshake_auth = far_context.post_handshake_auth = True
    far_context.verify_mode = ssl.CERT_OPTIONAL
    near, far_sock = pair()
    lost = asyncio.Event()
    loop = asyncio.get_running_loop()
    connection = UpstreamConnection(loop, near, rules=RESPONSE_RULES, on_lost=lambda _: lost.set())
    transport = TlsTransport(connection, near, context=near_context, server_name="127.0.0.1", tls_session=TlsSession())
    async with asyncio.timeout(TIME_LIMIT):
        with far_sock:
            far = Far(far_sock, far_context)
            shaking = asyncio.create_task(far.shake())
            await loop.create_connection(lambda: transport, sock=near)
            await shaking
            far.tls.verify_client_post_handshake()
            far.tls.do_handshake()
            far.flush()
            arrived(transport)
            assert connection.is_idle_clean()
            far.say(b"H")
            arrived(transport)
            assert not connection.is_idle_clean()
            await lost.wait()


async def test_many_pieces_in_records_of_one_read_keep_the_connection(certificate: Path) -> None:
    """Reading does not pause within what is decrypted already: else the next response would not be read."""
    near, far_sock = pair()
    lost = asyncio.Event()
    loop = asyncio.get_running_loop()
    connection = UpstreamConnection(loop, near, rules=RESPONSE_RULES, on_lost=lambda _: lost.set())
    context = trusting(certificate)
    transport = TlsTransport(connection, near, context=context, server_name="127.0.0.1", tls_session=TlsSession())
    async with asyncio.timeout(TIME_LIMIT):
        with far_sock:
            far = Far(far_sock, served(certificate))
            shaking = asyncio.create_task(far.shake())
            await loop.create_connection(lambda: transport, sock=near)
            await transport.opened
            await shaking
            connection.start_exchange(b"GET / HTTP/1.1\r\n\r\n", is_head_request=False)
            await far.hear()
            far.tls.write(b"HTTP/1.1 401 No\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 2000)
            far.tls.write(b"0\r\n\r\n")
            far.flush()  # two records, read at once
            assert (await connection.read_head()).status == 401
            assert (connection.is_complete, transport.is_reading()) == (True, True)
            assert connection.end_exchange()
            connection.abort()
            await lost.wait()


def arrived(transport: TlsTransport) -> None:
    """Waits for bytes or the end in the socket, and keeps the loop from it."""
    assert select.select([transport._socket], [], [], 5)[0]


async def far_says(far: Far, app: App, data: bytes) -> None:
    far.say(data)
    await app.until(lambda: app.got.endswith(data))


@pytest.mark.parametrize("event", ["data", "end", "cut", "reset", "broken"])
async def test_unexpected_bytes_are_seen_before_the_loop_reads_them(certificate: Path, event: str) -> None:
    async with linked(certificate) as (transport, app, far):
        app.stops_at_first = True
        assert transport.is_idle_clean()
        happen: dict[str, Callable[[], object]] = {
            "data": lambda: far.say(b"H"),
            "end": far.end,
            "cut": far.sock.close,
            "reset": far.reset,
            "broken": lambda: far.sock.send(b"HTTP/1.1 408 Request Timeout\r\n\r\n"),
        }
        happen[event]()
        arrived(transport)
        assert not transport.is_idle_clean()
    assert not transport.is_idle_clean()


# Resumption ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
async def test_the_next_connection_resumes_the_last(certificate: Path, version: ssl.TLSVersion) -> None:
    near, far_context, resumption = trusting(certificate), served(certificate, version), TlsSession()
    reused = []
    for _ in range(3):
        async with link(near, far_context, resumption) as (_, app, far):
            await far_says(far, app, b"reply")
            async with link(near, far_context, resumption) as (_, other, beside):
                await far_says(beside, other, b"reply")
                reused += [far.tls.session_reused, beside.tls.session_reused]
    assert reused == [False, True, True, True, True, True]
    assert resumption._newest is None  # of what is closed only the session is kept


async def test_each_origin_has_its_own_sessions(certificate: Path) -> None:
    reused: list[bool] = []

    async def speak(conversation: ScriptedConnection) -> None:
        reused.append(conversation.writer.get_extra_info("ssl_object").session_reused)
        await conversation.send(b"unexpected")  # which ends the connection
        await conversation.reader.read()

    async def visit(origin: Origin) -> None:
        left = asyncio.Event()
        await dial(origin, lambda _: left.set(), RESPONSE_RULES)
        await left.wait()

    async with asyncio.timeout(TIME_LIMIT), Upstream(*[speak] * 4, tls=served(certificate)) as peer:
        context = trusting(certificate)
        first, second = (Origin("127.0.0.1", peer.port, context, None) for _ in range(2))
        assert first == second  # sessions are no part of what an origin is
        other = Origin("127.0.0.1", peer.port, trusting(certificate), None)
        for origin in (first, first, second, other):
            await visit(origin)
        assert reused == [False, True, False, False]
        assert "Resumption" not in repr(first)


async def test_a_certificate_is_looked_at_now_and_then(certificate: Path) -> None:
    near, far_context, resumption = trusting(certificate), served(certificate), TlsSession()
    async with link(near, far_context, resumption) as (_, app, far):
        await far_says(far, app, b"reply")
    resumption.verified_at = verified_at = resumption.verified_at - 60
    async with link(near, far_context, resumption) as (_, app, far):
        await far_says(far, app, b"reply")
        assert far.tls.session_reused
        assert resumption.verified_at == verified_at  # no certificate was verified this time
    assert resumption.session(verified_at + MAX_RESUMPTION_TIME - 1) is not None
    assert resumption.session(verified_at + MAX_RESUMPTION_TIME + 1) is None
    async with link(near, far_context, resumption) as (_, _, far):
        assert not far.tls.session_reused
        assert resumption.verified_at > verified_at


async def test_an_upstream_without_tickets_is_spoken_to_in_full(certificate: Path) -> None:
    near, far_context, resumption = trusting(certificate), served(certificate), TlsSession()
    far_context.num_tickets = 0
    for _ in range(2):
        async with link(near, far_context, resumption) as (_, app, far):
            await far_says(far, app, b"reply")
            assert not far.tls.session_reused


async def test_after_a_handshake_that_failed_nothing_is_resumed(certificate: Path) -> None:
    resumption = TlsSession()
    async with link(trusting(certificate), served(certificate), resumption) as (_, app, far):
        await far_says(far, app, b"reply")
        context = transport_context(app)
        near, far_sock = pair()
        failing = TlsTransport(App(), near, context=context, server_name="127.0.0.1", tls_session=resumption)
        await asyncio.get_running_loop().create_connection(lambda: failing, sock=near)
        far_sock.close()
        with pytest.raises(ConnectionError):
            await failing.opened
        assert resumption.session(asyncio.get_running_loop().time()) is None


def transport_context(app: App) -> ssl.SSLContext:
    context: ssl.SSLContext = app.transport.get_extra_info("ssl_object").context
    return context


# Handshakes ----------------------------------------------------------------------------------------------------------


async def why(origin: Origin) -> str:
    """The reason of a failure, without the origin's name."""
    async with asyncio.timeout(TIME_LIMIT):
        with pytest.raises(UpstreamUnreachable) as caught:
            await dial(origin, lambda _: None, RESPONSE_RULES)
    assert caught.value.reason.startswith(f"{origin.name}: ")
    return caught.value.reason.removeprefix(f"{origin.name}: ")


async def test_http_1_1_is_agreed_on(certificate: Path) -> None:
    far_context = served(certificate)
    far_context.set_alpn_protocols(["h2", "http/1.1"])
    async with link(trusting(certificate), far_context) as (_, _, far):
        assert far.tls.selected_alpn_protocol() == "http/1.1"


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
async def test_an_upstream_of_yesterday_is_refused(certificate: Path) -> None:
    yesterday = served(certificate)
    yesterday.set_ciphers("ALL:@SECLEVEL=0")
    yesterday.minimum_version = yesterday.maximum_version = ssl.TLSVersion.TLSv1_1
    lax = ssl.create_default_context(cafile=certificate)
    lax.set_ciphers("ALL:@SECLEVEL=0")
    lax.minimum_version = ssl.TLSVersion.TLSv1_1
    async with link(lax, yesterday) as (_, _, far):
        assert far.tls.version() == "TLSv1.1"
    with pytest.raises(ssl.SSLError) as caught:
        async with link(trusting(certificate), yesterday):
            pass
    assert caught.value.reason == "TLSV1_ALERT_PROTOCOL_VERSION"


async def test_a_wrong_certificate_is_reported_in_plain_words(tmp_path: Path, certificate: Path) -> None:
    expired = self_signed(tmp_path / "expired.pem", ends=-DAY)
    elsewhere = self_signed(tmp_path / "elsewhere.pem", "127.0.0.2")
    unknown = self_signed(tmp_path / "unknown.pem")
    for shown, trusted, reason_text in (
        (expired, expired, "certificate has expired"),
        (elsewhere, elsewhere, "IP address mismatch, certificate is not valid for '127.0.0.1'."),
        (unknown, certificate, "self-signed certificate"),
    ):
        async with Upstream(tls=served(shown)) as peer:
            reason = await why(Origin("127.0.0.1", peer.port, trusting(trusted), None))
            assert reason == f"TLS: the certificate is not trusted: {reason_text}"


@pytest.mark.parametrize(
    ("answer", "reason_text"),
    [
        (b"", "the connection ended during the handshake"),
        (b"\x16\x03\x03\x40\x00\x02", "the connection ended during the handshake"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "WRONG_VERSION_NUMBER"),
        (b"\x15\x03\x03\x00\x02\x02\x28", "SSLV3_ALERT_HANDSHAKE_FAILURE"),
        (bytes(range(256)) * 400, "WRONG_VERSION_NUMBER"),
    ],
)
async def test_what_is_no_tls_is_named(certificate: Path, answer: bytes, reason_text: str) -> None:
    async def speak(conversation: ScriptedConnection) -> None:
        await conversation.reader.read(65536)
        await conversation.send(answer)

    async with Upstream(speak) as peer:
        assert await why(Origin("127.0.0.1", peer.port, trusting(certificate), None)) == f"TLS: {reason_text}"
        await peer.until(lambda: peer.open == 0)


async def test_an_impossible_server_name_leaves_no_socket_open(certificate: Path) -> None:
    async def tunnel(conversation: ScriptedConnection) -> None:
        await conversation.head()
        await conversation.send(b"HTTP/1.1 200 Fine\r\n\r\n")
        await conversation.reader.read()

    async with Upstream(tunnel) as egress:
        origin = Origin("x" * 64 + ".invalid", 443, trusting(certificate), EgressProxy("127.0.0.1", egress.port))
        assert (await why(origin)).startswith("TLS: ")
        async with asyncio.timeout(TIME_LIMIT):
            await egress.until(lambda: egress.connections == 1 and egress.open == 0)


async def test_giving_up_at_any_moment_leaves_no_socket_open(certificate: Path) -> None:
    outcomes: set[bool] = set()
    complaints: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    async with asyncio.timeout(TIME_LIMIT), Upstream(tls=served(certificate)) as peer:
        origin = Origin("127.0.0.1", peer.port, trusting(certificate), None)
        for ticks in itertools.count():
            if ticks >= 60 and False in outcomes:  # how many turns a handshake takes depends on the machine
                break
            call: asyncio.Task[UpstreamConnection] = asyncio.create_task(dial(origin, lambda _: None, RESPONSE_RULES))
            for _ in range(ticks):
                await asyncio.sleep(0)
            call.cancel()
            await asyncio.wait({call})
            outcomes.add(call.cancelled())
            if not call.cancelled():
                call.result().abort()
            await peer.until(lambda: peer.open == 0)
    gc.collect()
    assert outcomes == {True, False}
    assert complaints == []
