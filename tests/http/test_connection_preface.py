"""The preface of a connection: TLS handshakes, PROXY protocol headers, their time limits and failures."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import cast

import pytest

from gateway.errors import GatewayError
from gateway.http.caller_connection import REJECTED_TIMEOUT
from gateway.http.caller_listener import CallerListener
from gateway.http.connection_limits import RefusalReason
from gateway.http.connection_preface import PREFACE_TIMEOUT, ConnectionPreface
from gateway.http.open_connection import PrefaceFailure
from gateway.http.proxy_header import V2_SIGNATURE
from gateway.http.server import CallerServer
from gateway.network.caller_tls import server_tls_context
from gateway.proxy.headers import REQUEST_RULES
from tests.fakes.gate import until
from tests.fakes.waiting import TIME_LIMIT
from tests.http.test_caller_connection import GET, GET_2, LIMITS, OK, REFUSED, Handler

VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


class TlsCaller:
    """A caller, one step at a time: TLS in memory over a plain socket."""

    def __init__(self, sock: socket.socket, version: ssl.TLSVersion) -> None:
        self.sock = sock
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.minimum_version = context.maximum_version = version
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing)

    async def send(self, data: bytes) -> None:
        await asyncio.get_running_loop().sock_sendall(self.sock, data)

    async def flush(self) -> None:
        if self.outgoing.pending:
            await self.send(self.outgoing.read())

    async def receive(self) -> bool:
        """Wait for bytes; return whether there were any."""
        data = await asyncio.get_running_loop().sock_recv(self.sock, 65536)
        self.incoming.write(data) if data else self.incoming.write_eof()
        return bool(data)

    async def handshake(self) -> None:
        while True:
            try:
                self.tls.do_handshake()
            except ssl.SSLWantReadError:
                await self.flush()
                await self.receive()
            else:
                await self.flush()
                return

    def hello(self) -> bytes:
        """The ClientHello."""
        with suppress(ssl.SSLWantReadError):
            self.tls.do_handshake()
        return self.outgoing.read()

    async def write(self, data: bytes) -> None:
        self.tls.write(data)
        await self.flush()

    async def read(self, size: int) -> bytes:
        """This number of bytes, or all until close_notify. Raise ssl.SSLEOFError for a truncation."""
        received = b""
        while len(received) < size:
            try:
                piece = self.tls.read(65536)
            except ssl.SSLWantReadError:
                await self.receive()
                continue
            if not piece:
                break
            received += piece
        return received

    async def close_notify(self) -> None:
        """Send close_notify."""
        with suppress(ssl.SSLWantReadError):
            self.tls.unwrap()
        await self.flush()


class Port:
    """A TLS listener and what it reported."""

    def __init__(self, handler: Handler, server: CallerServer, port: int) -> None:
        self.handler = handler
        self.server = server
        self.port = port
        self.failures: list[tuple[PrefaceFailure, str]] = []
        self.callers: list[TlsCaller] = []

    async def caller(self, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> TlsCaller:
        sock = socket.socket()
        sock.setblocking(False)  # noqa: FBT003 - standard library
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", self.port))
        caller = TlsCaller(sock, version)
        self.callers.append(caller)
        return caller

    async def preface(self) -> ConnectionPreface:
        await until(lambda: len(self.server.prefaces) == 1)
        [preface] = self.server.prefaces
        return cast(ConnectionPreface, preface)


@asynccontextmanager
async def listening(
    certificate: Path | None, *, connections: int = 10, linger: float = 5.0, balancer: str = ""
) -> AsyncIterator[Port]:
    """Listen with TLS if there is a certificate; `balancer` is an address that must send a PROXY protocol header."""
    async with asyncio.timeout(TIME_LIMIT):
        handler = Handler()
        limits = LIMITS.__class__(8192, 16_384, 128, 131_072, connections=connections)

        def failed(reason: PrefaceFailure, _listener: CallerListener, _peer: str | None, detail: str) -> None:
            port.failures.append((reason, detail))

        server = CallerServer(handler, limits, REQUEST_RULES, linger=linger, on_preface_failed=failed)
        context = None if certificate is None else server_tls_context(str(certificate), None, password="")
        is_balancer = balancer.__eq__ if balancer else None
        protocol = server.factory(
            CallerListener("here", "gw", is_tls=context is not None, context=context, is_balancer=is_balancer)
        )
        listener = await asyncio.get_running_loop().create_server(protocol, "127.0.0.1", 0)
        port = Port(handler, server, listener.sockets[0].getsockname()[1])
        try:
            yield port
        finally:
            for caller in port.callers:
                caller.sock.close()
            listener.close()
            await server.shutdown(0.01)
            await until(lambda: not server.prefaces and not server.connections)
            assert server.connection_limits.admitted == server.connection_limits.refused == 0


def time_out(preface: ConnectionPreface) -> None:
    """Let the time limit of the preface expire."""
    assert preface._timer is not None
    preface._timer.cancel()
    preface._on_timeout()


@pytest.mark.parametrize("version", VERSIONS)
async def test_requests_are_served_after_the_handshake(certificate: Path, version: ssl.TLSVersion) -> None:
    async with listening(certificate) as port:
        caller = await port.caller(version)
        await caller.handshake()
        await caller.write(GET)
        assert await caller.read(len(OK)) == OK
        await caller.write(GET_2)
        assert await caller.read(len(OK)) == OK
        assert port.server.connection_limits.admitted == 1
        [connection] = port.server.connections
        assert connection.is_tls
        assert connection.peer == "127.0.0.1"
        assert connection.peer_certificate is None


async def test_a_handshake_may_come_byte_by_byte(certificate: Path) -> None:
    async with listening(certificate) as port:
        caller = await port.caller()
        for byte in caller.hello():
            await caller.send(bytes([byte]))
            await asyncio.sleep(0)
        await caller.handshake()
        await caller.write(GET)
        assert await caller.read(len(OK)) == OK


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_caller_that_sent_close_notify_gets_a_response(certificate: Path, version: ssl.TLSVersion) -> None:
    async with listening(certificate) as port:
        port.handler.go_on.clear()
        port.handler.stays = False
        caller = await port.caller(version)
        await caller.handshake()
        caller.tls.write(GET)
        await caller.close_notify()
        caller.sock.shutdown(socket.SHUT_WR)
        await until(lambda: any(connection._is_half_closed for connection in port.server.connections))
        port.handler.go_on.set()
        raw = b""
        while piece := await asyncio.get_running_loop().sock_recv(caller.sock, 65536):
            raw += piece
        assert len(raw) > len(OK)
        assert [target for _, target, _ in port.handler.served] == ["/1"]


async def test_an_idle_caller_that_sent_close_notify_gets_one(certificate: Path) -> None:
    async with listening(certificate) as port:
        caller = await port.caller(ssl.TLSVersion.TLSv1_2)
        await caller.handshake()
        await caller.write(GET)
        await caller.read(len(OK))
        await caller.close_notify()
        while await caller.receive():
            pass
        caller.tls.unwrap()  # it raises an error without the close_notify of the gateway


async def test_a_last_response_ends_with_close_notify(certificate: Path) -> None:
    async with listening(certificate) as port:
        port.handler.stays = False
        caller = await port.caller()
        await caller.handshake()
        await caller.write(GET)
        assert await caller.read(1000) == OK


async def test_an_aborted_response_has_no_close_notify(certificate: Path) -> None:
    async with listening(certificate) as port:
        port.handler.go_on.clear()
        caller = await port.caller()
        await caller.handshake()
        await caller.write(GET)
        await until(lambda: any(connection.is_serving for connection in port.server.connections))
        [connection] = port.server.connections
        connection.write(OK)
        assert await caller.read(len(OK)) == OK
        connection.abort()
        with pytest.raises((ssl.SSLEOFError, ConnectionResetError)):
            await caller.read(1)


async def test_bytes_after_a_rejected_request_are_discarded(certificate: Path) -> None:
    async with listening(certificate) as port:
        caller = await port.caller()
        await caller.handshake()
        await caller.write(b"nonsense\r\n\r\n")
        assert await caller.read(len(REFUSED)) == REFUSED
        for _ in range(20):
            with suppress(ssl.SSLError, ConnectionError):
                caller.tls.write(b"x" * 16_000)
                await caller.flush()
        assert await caller.read(1) == b""


async def test_plain_http_gets_a_plain_response(certificate: Path) -> None:
    async with listening(certificate) as port:
        caller = await port.caller()
        await caller.send(GET)
        assert await asyncio.get_running_loop().sock_recv(caller.sock, 1000) == REFUSED
        error: GatewayError
        [error] = port.handler.refused
        assert "use https://" in error.detail
        assert port.failures == [(PrefaceFailure.PLAIN_HTTP, "")]
        assert port.handler.served == []


async def test_a_handshake_has_a_time_limit(certificate: Path) -> None:
    async with listening(certificate) as port:
        caller = await port.caller()
        preface = await port.preface()
        assert preface._timer is not None
        left = preface._timer.when() - asyncio.get_running_loop().time()
        assert left == pytest.approx(PREFACE_TIMEOUT, abs=2)
        await caller.send(caller.hello()[:20])
        await until(lambda: bool(preface._data))
        time_out(preface)
        await until(lambda: bool(port.failures))
        assert port.failures == [(PrefaceFailure.TIMEOUT, "it was not complete after 15 s")]


async def test_a_silent_caller_is_closed_without_a_report(certificate: Path) -> None:
    async with listening(certificate) as port:
        await port.caller()
        time_out(await port.preface())
        await until(lambda: not port.server.prefaces)
        assert port.failures == []


async def test_handshakes_count_towards_the_limit(certificate: Path) -> None:
    async with listening(certificate, connections=1) as port:
        await port.caller()
        await until(lambda: port.server.connection_limits.admitted == 1)
        surplus = await port.caller()
        await until(lambda: port.server.connection_limits.refused == 1)
        refused = [one for one in port.server.prefaces if cast(ConnectionPreface, one)._info.refusal is not None]
        timer = cast(ConnectionPreface, refused[0])._timer
        assert timer is not None
        assert timer.when() - asyncio.get_running_loop().time() == pytest.approx(REJECTED_TIMEOUT, abs=2)
        await surplus.handshake()
        await until(lambda: len(port.server.connections) == 1)
        [connection] = port.server.connections
        assert connection.refusal is not None
        assert port.server.connection_limits.admitted == port.server.connection_limits.refused == 1


async def test_a_caller_that_leaves_within_the_handshake_is_reported(certificate: Path) -> None:
    async with listening(certificate) as port:
        caller = await port.caller()
        await caller.send(caller.hello()[:20])
        caller.sock.close()
        await until(lambda: bool(port.failures))
        assert port.failures == [(PrefaceFailure.HANDSHAKE, "the caller closed the connection")]


async def test_a_failed_handshake_ends_with_an_alert(certificate: Path) -> None:
    async with listening(certificate) as port:
        caller = await port.caller()
        await caller.send(b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00")
        assert (await asyncio.get_running_loop().sock_recv(caller.sock, 100))[:1] == b"\x15"
        await until(lambda: bool(port.failures))
        assert [reason for reason, _ in port.failures] == [PrefaceFailure.HANDSHAKE]


async def test_a_stop_ends_handshakes_after_a_while(certificate: Path) -> None:
    async with listening(certificate) as port:
        caller = await port.caller()
        await caller.send(caller.hello()[:20])
        await port.preface()
        await port.server.wait_closed_gracefully(grace=0.05)
        assert not port.server.prefaces


V1 = b"PROXY TCP4 192.0.2.7 10.0.0.1 56324 8443\r\n"
V2 = V2_SIGNATURE + b"\x21\x11\x00\x0c" + bytes([192, 0, 2, 7, 10, 0, 0, 1, 0, 1, 32, 251])
LOCAL = V2_SIGNATURE + b"\x20\x00\x00\x00"
NO_HEADER = [GET, b"\x16\x03\x01\x00\x05", b"PROXY TCP4 nonsense\r\n", V2_SIGNATURE + b"\x31\x11\x00\x00"]


async def send_pieces(caller: TlsCaller, data: bytes, *, is_split: bool) -> None:
    for piece in [bytes([byte]) for byte in data] if is_split else [data]:
        await caller.send(piece)
        await asyncio.sleep(0)


@pytest.mark.parametrize("header", [V1, V2])
@pytest.mark.parametrize("is_split", [False, True])
async def test_the_header_names_the_caller(header: bytes, *, is_split: bool) -> None:
    async with listening(None, balancer="127.0.0.1") as port:
        caller = await port.caller()
        await send_pieces(caller, header + GET, is_split=is_split)
        assert await asyncio.get_running_loop().sock_recv(caller.sock, 1000) == OK
        [connection] = port.server.connections
        assert connection.peer == "192.0.2.7"
        assert connection.local_address() == ("10.0.0.1", 8443, "gw")
        assert port.failures == []
        assert list(port.server.connection_limits._by_address) == ["192.0.2.7"]


@pytest.mark.parametrize("header", [V1, V2])
@pytest.mark.parametrize("is_split", [False, True])
async def test_the_header_comes_before_tls(certificate: Path, header: bytes, *, is_split: bool) -> None:
    async with listening(certificate, balancer="127.0.0.1") as port:
        caller = await port.caller()
        await send_pieces(caller, header + caller.hello(), is_split=is_split)
        await caller.handshake()
        await caller.write(GET)
        assert await caller.read(len(OK)) == OK
        [connection] = port.server.connections
        assert (connection.peer, connection.is_tls) == ("192.0.2.7", True)


@pytest.mark.parametrize("header", [LOCAL, b"PROXY UNKNOWN\r\n"])
async def test_a_header_without_addresses_keeps_the_known_ones(header: bytes) -> None:
    async with listening(None, balancer="127.0.0.1") as port:
        caller = await port.caller()
        await caller.send(header + GET)
        assert await asyncio.get_running_loop().sock_recv(caller.sock, 1000) == OK
        [connection] = port.server.connections
        assert connection.peer == "127.0.0.1"
        local = connection.local_address()
        assert local is not None
        assert local.port == port.port


@pytest.mark.parametrize("data", NO_HEADER)
@pytest.mark.parametrize("is_tls", [False, True])
async def test_a_balancer_without_a_header_is_refused(certificate: Path, data: bytes, *, is_tls: bool) -> None:
    async with listening(certificate if is_tls else None, balancer="127.0.0.1") as port:
        caller = await port.caller()
        await caller.send(data)
        assert await asyncio.get_running_loop().sock_recv(caller.sock, 1000) == REFUSED
        [(reason, detail)] = port.failures
        assert reason is PrefaceFailure.PROXY_HEADER
        assert "PROXY protocol header" in detail
        assert port.handler.served == []


async def test_another_peer_needs_no_header_and_may_send_none() -> None:
    async with listening(None, balancer="192.0.2.1") as port:
        caller = await port.caller()
        await caller.send(GET)
        assert await asyncio.get_running_loop().sock_recv(caller.sock, 1000) == OK
        stranger = await port.caller()
        await stranger.send(V1 + GET)
        assert await asyncio.get_running_loop().sock_recv(stranger.sock, 1000) == REFUSED
        [error] = port.handler.refused
        assert "list the address in `proxy_protocol`" in error.reason
        assert [connection.peer for connection in port.server.connections] == ["127.0.0.1"] * 2


async def test_the_named_caller_must_be_allowed() -> None:
    async with listening(None, balancer="127.0.0.1") as port:
        port.handler.strangers = {"192.0.2.7"}
        caller = await port.caller()
        await caller.send(V1 + GET)
        await until(lambda: len(port.server.connections) == 1)
        [connection] = port.server.connections
        assert connection.refusal is RefusalReason.FORBIDDEN
        assert (port.server.connection_limits.admitted, port.server.connection_limits.refused) == (0, 1)


async def test_a_header_has_a_time_limit() -> None:
    async with listening(None, balancer="127.0.0.1") as port:
        caller = await port.caller()
        preface = await port.preface()
        await caller.send(V1[:5])
        await until(lambda: bool(preface._data))
        time_out(preface)
        await until(lambda: bool(port.failures))
        assert port.failures == [(PrefaceFailure.PROXY_HEADER, "it was not complete after 15 s")]


async def test_a_health_check_without_a_byte_is_not_reported() -> None:
    async with listening(None, balancer="127.0.0.1") as port:
        caller = await port.caller()
        await port.preface()
        caller.sock.close()
        await until(lambda: not port.server.prefaces)
        assert port.failures == []


async def test_a_header_that_is_cut_off_is_reported() -> None:
    async with listening(None, balancer="127.0.0.1") as port:
        caller = await port.caller()
        await caller.send(V2[:20])
        await port.preface()
        caller.sock.shutdown(socket.SHUT_WR)
        await until(lambda: bool(port.failures))
        assert port.failures == [(PrefaceFailure.PROXY_HEADER, "the PROXY protocol header was cut off")]
