"""Connects: name resolution, TCP (Happy Eyeballs, RFC 8305), egress proxy (CONNECT), TLS.

A failure here means that no byte of a request was sent: it is always `CannotConnect`, with the step that failed.
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
    """An egress proxy; `authorization` is the value of Proxy-Authorization, or empty. With `tls` the connection to it
    uses TLS.
    """

    host: str
    port: int
    authorization: str = field(default="", repr=False)
    tls: ssl.SSLContext | None = field(default=None, repr=False)
    resumption: TlsSession = field(default_factory=TlsSession, init=False, repr=False, compare=False)

    @property
    def authority(self) -> str:
        """Return `host:port`."""
        return authority_of(self.host, self.port)


@dataclass(frozen=True, slots=True)
class Origin:
    """A server and how to reach it. Connections to equal origins are interchangeable."""

    host: str
    port: int
    tls: ssl.SSLContext | None
    proxy: EgressProxy | None
    resumption: TlsSession = field(default_factory=TlsSession, init=False, repr=False, compare=False)

    @property
    def authority(self) -> str:
        """Return `host:port`."""
        return authority_of(self.host, self.port)

    @property
    def name(self) -> str:
        """Return `scheme://host:port`, for logs and metrics."""
        return f"{'https' if self.tls else 'http'}://{self.authority}"


class CannotConnect(Exception):
    """A connection failed: the `step`, at the egress proxy if `is_proxy`, and `why`.

    Its text is like `egress proxy: connect: Connection refused`.
    """

    def __init__(self, step: Step, why: str, *, is_proxy: bool) -> None:
        prefix = "" if step == "tunnel" else f"{step}: "
        super().__init__(f"{'egress proxy: ' if is_proxy else ''}{prefix}{why}")
        self.step = step
        self.why = why
        self.is_proxy = is_proxy


def authority_of(host: str, port: int) -> str:
    """Return `host:port`, an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def basic(username: str, password: str) -> str:
    """Return the value of a Proxy-Authorization field (RFC 7617)."""
    return "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()


async def connect(origin: Origin, make_protocol: Callable[[socket.socket], P]) -> P:
    """Connect to an origin; `make_protocol` makes the protocol for the socket. Raise CannotConnect."""
    via = origin.proxy or origin
    is_proxy = origin.proxy is not None
    with _step("name", is_proxy=is_proxy):
        addresses = await asyncio.get_running_loop().getaddrinfo(via.host, via.port, type=socket.SOCK_STREAM)
    with _step("connect", is_proxy=is_proxy):
        sock = await aiohappyeyeballs.start_connection(
            addresses, happy_eyeballs_delay=HAPPY_EYEBALLS_DELAY, interleave=1
        )
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
        sock.close()  # if the loop does not own it yet
        raise
    return app


async def _start(
    app: asyncio.Protocol, sock: socket.socket, origin: Origin, transports: list[asyncio.BaseTransport]
) -> None:
    """Create the transport of `app` on the socket."""
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
    """Open a tunnel through the proxy, and create the transport of `app` in it."""
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
    """Return TLS for `app` if the peer uses it. Raise UnicodeError for a name that no certificate can contain."""
    if peer.tls is None:
        return None
    name = peer.host.rstrip(".")  # certificates name hosts without the final dot
    return TlsTransport(app, sock, context=peer.tls, server_name=name, resumption=peer.resumption)


@contextmanager
def _step(step: Step, *, is_proxy: bool) -> Iterator[None]:
    """Translate an error into CannotConnect with this step; ssl.SSLError is an OSError."""
    try:
        yield
    except (OSError, UnicodeError) as error:
        raise CannotConnect(step, _error_text(error), is_proxy=is_proxy) from error


def _error_text(error: BaseException) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate is not trusted: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return error.reason or "the handshake was interrupted"
    return str(error) or "it was interrupted"
