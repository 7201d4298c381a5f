"""Makes connections: name, TCP (Happy Eyeballs, RFC 8305), egress proxy (CONNECT), TLS to each of them.

A failure here means that not a byte was sent to the origin: it is always `CannotConnect`, with the step that failed.
"""

import asyncio
import base64
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal, TypeVar

import aiohappyeyeballs

from gateway.network.tls import TlsSession, TlsTransport
from gateway.network.tunnel import Tunnel, connect_request

HAPPY_EYEBALLS_DELAY = 0.25

P = TypeVar("P", bound=asyncio.Protocol)
Step = Literal["name", "connect", "tunnel", "TLS"]


@dataclass(frozen=True, slots=True)
class EgressProxy:
    """The proxy that a connection goes through; `authorization` is the ready field value, or empty. With `tls` it is
    spoken to in TLS.
    """

    host: str
    port: int
    authorization: str = field(default="", repr=False)
    tls: ssl.SSLContext | None = field(default=None, repr=False)
    resumption: TlsSession = field(default_factory=TlsSession, init=False, repr=False, compare=False)

    @property
    def authority(self) -> str:
        """host:port."""
        return authority_of(self.host, self.port)


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a server is, and how it is reached: all that makes two connections interchangeable."""

    host: str
    port: int
    tls: ssl.SSLContext | None
    proxy: EgressProxy | None
    resumption: TlsSession = field(default_factory=TlsSession, init=False, repr=False, compare=False)

    @property
    def authority(self) -> str:
        """host:port."""
        return authority_of(self.host, self.port)

    @property
    def name(self) -> str:
        """For logs and metrics: scheme://host:port."""
        return f"{'https' if self.tls else 'http'}://{self.authority}"


class CannotConnect(Exception):
    """There is no connection: the `step` that failed, at the egress proxy where `is_proxy`, and `why`.

    Its text is like `egress proxy: connect: Connection refused`.
    """

    def __init__(self, step: Step, why: str, *, is_proxy: bool) -> None:
        named = "" if step == "tunnel" else f"{step}: "
        super().__init__(f"{'egress proxy: ' if is_proxy else ''}{named}{why}")
        self.step = step
        self.why = why
        self.is_proxy = is_proxy


def authority_of(host: str, port: int) -> str:
    """host:port, an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def basic(username: str, password: str) -> str:
    """The value of a Proxy-Authorization field (RFC 7617)."""
    return "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()


async def connect(origin: Origin, make_protocol: Callable[[socket.socket], P]) -> P:
    """Connect to an origin; `make_protocol` makes the protocol for the socket. Raises CannotConnect."""
    via = origin.proxy or origin
    is_proxy = origin.proxy is not None
    with _step("name", is_proxy=is_proxy):
        found = await asyncio.get_running_loop().getaddrinfo(via.host, via.port, type=socket.SOCK_STREAM)
    with _step("connect", is_proxy=is_proxy):
        sock = await aiohappyeyeballs.start_connection(found, happy_eyeballs_delay=HAPPY_EYEBALLS_DELAY, interleave=1)
    transports: list[asyncio.BaseTransport] = []
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        app = make_protocol(sock)
        if origin.proxy is None:
            await _start(app, sock, origin, transports)
        else:
            await _start_in_tunnel(app, sock, origin, origin.proxy, transports)
    except BaseException:
        for transport in transports:
            transport.abort()  # type: ignore[attr-defined] # each is a Transport
        sock.close()  # for the case that the loop has not taken it yet
        raise
    return app


async def _start(
    app: asyncio.Protocol, sock: socket.socket, origin: Origin, transports: list[asyncio.BaseTransport]
) -> None:
    """Give the socket to the loop and `app` its transport."""
    loop = asyncio.get_running_loop()
    with _step("TLS" if origin.tls else "connect", is_proxy=False):
        tls = _tls(app, sock, origin)
        transport, _ = await loop.create_connection(lambda: tls or app, sock=sock)
        transports.append(transport)
        if tls is not None:
            await tls.opened


async def _start_in_tunnel(
    app: asyncio.Protocol,
    sock: socket.socket,
    origin: Origin,
    proxy: EgressProxy,
    transports: list[asyncio.BaseTransport],
) -> None:
    """Open a tunnel through the proxy, and give `app` a transport in it."""
    tunnel = Tunnel(connect_request(origin.authority, proxy.authorization))
    with _step("TLS" if proxy.tls else "connect", is_proxy=True):
        outer = _tls(tunnel, sock, proxy)
        transport, _ = await asyncio.get_running_loop().create_connection(lambda: outer or tunnel, sock=sock)
        transports.append(transport)
        if outer is not None:
            await outer.opened
    with _step("tunnel", is_proxy=True):
        await tunnel.opened
    with _step("TLS" if origin.tls else "connect", is_proxy=False):
        inner = _tls(app, sock, origin)
        tunnel.hand_over(inner or app)
        if inner is not None:
            await inner.opened


def _tls(app: asyncio.Protocol, sock: socket.socket, peer: Origin | EgressProxy) -> TlsTransport | None:
    """TLS for `app`, where the peer speaks it. Raises UnicodeError for a name that no certificate can carry."""
    if peer.tls is None:
        return None
    name = peer.host.rstrip(".")  # certificates name hosts without the final dot
    return TlsTransport(app, sock, context=peer.tls, server_name=name, resumption=peer.resumption)


@contextmanager
def _step(step: Step, *, is_proxy: bool) -> Iterator[None]:
    """Name the step that failed; ssl.SSLError is an OSError."""
    try:
        yield
    except (OSError, UnicodeError) as error:
        raise CannotConnect(step, _plain(error), is_proxy=is_proxy) from error


def _plain(error: BaseException) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate is not trusted: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return error.reason or "the handshake was broken off"
    return str(error) or "it was broken off"
