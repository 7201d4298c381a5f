"""Connect to a server: name resolution, TCP (Happy Eyeballs, RFC 8305), egress proxy (CONNECT), TLS.

Every failure raises `CannotConnect` with the step that failed. No byte of a request was sent then.
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

from gateway.content.untrusted_text import format_authority
from gateway.network.tls_client import TlsSession, TlsTransport
from gateway.network.tunnel import Tunnel, connect_request

HAPPY_EYEBALLS_DELAY = 0.25  # seconds

P = TypeVar("P", bound=asyncio.Protocol)
Step = Literal["name", "connect", "tunnel", "TLS"]


@dataclass(frozen=True, slots=True)
class EgressProxy:
    """An egress proxy. `authorization` is the value of Proxy-Authorization, or empty. If `tls` is set, the connection
    to the proxy uses TLS.
    """

    host: str
    port: int
    authorization: str = field(default="", repr=False)
    tls: ssl.SSLContext | None = field(default=None, repr=False)
    tls_session: TlsSession = field(default_factory=TlsSession, init=False, repr=False, compare=False)

    @property
    def authority(self) -> str:
        """Return `host:port`."""
        return format_authority(self.host, self.port)


@dataclass(frozen=True, slots=True)
class Origin:
    """A server and how to reach it. Connections to equal origins are interchangeable."""

    host: str
    port: int
    tls: ssl.SSLContext | None
    proxy: EgressProxy | None
    tls_session: TlsSession = field(default_factory=TlsSession, init=False, repr=False, compare=False)

    @property
    def authority(self) -> str:
        """Return `host:port`."""
        return format_authority(self.host, self.port)

    @property
    def name(self) -> str:
        """Return `scheme://host:port`, for logs and metrics."""
        return f"{'https' if self.tls else 'http'}://{self.authority}"


class CannotConnect(Exception):
    """A connection failed at this `step` for this `cause`; `is_proxy`: it was the connection to the egress proxy.

    The text is like `egress proxy: connect: Connection refused`.
    """

    def __init__(self, step: Step, cause: str, *, is_proxy: bool) -> None:
        prefix = "" if step == "tunnel" else f"{step}: "
        super().__init__(f"{'egress proxy: ' if is_proxy else ''}{prefix}{cause}")
        self.step = step
        self.cause = cause
        self.is_proxy = is_proxy


def basic_authorization(username: str, password: str) -> str:
    """Return the value of a Proxy-Authorization field (RFC 7617)."""
    return "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()


async def connect(origin: Origin, make_protocol: Callable[[socket.socket], P]) -> P:
    """Connect to an origin. Return the protocol that `make_protocol` made for the socket. Raise CannotConnect."""
    next_hop = origin.proxy or origin
    is_proxy = origin.proxy is not None
    with _translate_errors("name", is_proxy=is_proxy):
        addresses = await asyncio.get_running_loop().getaddrinfo(next_hop.host, next_hop.port, type=socket.SOCK_STREAM)
    with _translate_errors("connect", is_proxy=is_proxy):
        sock = await aiohappyeyeballs.start_connection(
            addresses, happy_eyeballs_delay=HAPPY_EYEBALLS_DELAY, interleave=1
        )
    transports: list[asyncio.BaseTransport] = []
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        app = make_protocol(sock)
        if origin.proxy is None:
            await _start_transport(app, sock, origin, transports)
        else:
            await _start_in_tunnel(app, sock, origin, origin.proxy, transports)
    except BaseException:
        for transport in transports:
            transport.abort()  # type: ignore[attr-defined] # each is a Transport
        sock.close()  # no transport may own it yet
        raise
    return app


async def _start_transport(
    app: asyncio.Protocol, sock: socket.socket, origin: Origin, transports: list[asyncio.BaseTransport]
) -> None:
    """Create the transport of `app` on the socket."""
    loop = asyncio.get_running_loop()
    with _translate_errors("TLS" if origin.tls else "connect", is_proxy=False):
        tls = _make_tls(app, sock, origin)
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
    with _translate_errors("TLS" if proxy.tls else "connect", is_proxy=True):
        outer = _make_tls(tunnel, sock, proxy)
        transport, _ = await asyncio.get_running_loop().create_connection(lambda: outer or tunnel, sock=sock)
        transports.append(transport)
        if outer is not None:
            await outer.opened
    with _translate_errors("tunnel", is_proxy=True):
        await tunnel.opened
    with _translate_errors("TLS" if origin.tls else "connect", is_proxy=False):
        inner = _make_tls(app, sock, origin)
        tunnel.switch_protocol(inner or app)
        if inner is not None:
            await inner.opened


def _make_tls(app: asyncio.Protocol, sock: socket.socket, peer: Origin | EgressProxy) -> TlsTransport | None:
    """Return the TLS transport of `app`; None if the peer uses no TLS. Raise UnicodeError for a name that no
    certificate can contain.
    """
    if peer.tls is None:
        return None
    name = peer.host.rstrip(".")  # certificates name hosts without the final dot
    return TlsTransport(app, sock, context=peer.tls, server_name=name, tls_session=peer.tls_session)


@contextmanager
def _translate_errors(step: Step, *, is_proxy: bool) -> Iterator[None]:
    """Raise an OSError, which includes ssl.SSLError, or a UnicodeError as CannotConnect with this step."""
    try:
        yield
    except (OSError, UnicodeError) as error:
        raise CannotConnect(step, _error_text(error), is_proxy=is_proxy) from error


def _error_text(error: BaseException) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate is not trusted: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return error.reason or "the handshake was interrupted"
    return str(error) or "interrupted"
