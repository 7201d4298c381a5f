"""Makes connections to upstreams: name, TCP (Happy Eyeballs, RFC 8305), egress proxy (CONNECT), TLS.

A failure here means that not a byte of the request was sent: it is `UpstreamUnreachable`, with the step and the kind of
failure as the reason, or `Overloaded` where this process has no file descriptor left.
"""

import asyncio
import base64
import errno
import re
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import aiohappyeyeballs

from gateway.errors import Overloaded, UpstreamUnreachable
from gateway.proxy.connection import Connection
from gateway.proxy.tls import Resumption, TlsTransport

HAPPY_EYEBALLS_DELAY = 0.25
TUNNEL_HEAD_LIMIT = 16 * 1024
END_OF_HEAD = b"\r\n\r\n"
TUNNEL_OPEN = re.compile(rb"HTTP/1\.[01] (\d{3})[ \r]")


@dataclass(frozen=True, slots=True)
class EgressProxy:
    """The proxy that a connection goes through; `authorization` is the ready field value, or empty."""

    host: str
    port: int
    authorization: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Origin:
    """Where an upstream is, and how it is reached: all that makes two connections interchangeable."""

    host: str
    port: int
    tls: ssl.SSLContext | None
    proxy: EgressProxy | None
    resumption: Resumption = field(default_factory=Resumption, init=False, repr=False, compare=False)

    @property
    def authority(self) -> str:
        """host:port."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def name(self) -> str:
        """For logs and metrics: scheme://host:port."""
        return f"{'https' if self.tls else 'http'}://{self.authority}"


def basic(username: str, password: str) -> str:
    """The value of a Proxy-Authorization field (RFC 7617)."""
    return "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()


async def dial(origin: Origin, on_lost: Callable[[Connection], None]) -> Connection:
    """Opens a connection ready for its first exchange. Raises UpstreamUnreachable or Overloaded."""
    sock = await _reach(origin)
    connection = Connection(asyncio.get_running_loop(), sock, on_lost=on_lost)
    try:
        with _step(origin, "TLS" if origin.tls else "connect"):
            await _hand_over(sock, connection, origin)
    except BaseException:
        sock.close()  # for the case that the loop has not taken it yet
        raise
    return connection


async def _hand_over(sock: socket.socket, connection: Connection, origin: Origin) -> None:
    """Gives the socket to the loop and the connection its transport."""
    loop = asyncio.get_running_loop()
    if origin.tls is None:
        await loop.create_connection(lambda: connection, sock=sock)
        return
    tls = TlsTransport(connection, sock, context=origin.tls, server_name=origin.host, resumption=origin.resumption)
    await loop.create_connection(lambda: tls, sock=sock)
    try:
        await tls.opened
    except BaseException:
        tls.abort()
        raise


async def _reach(origin: Origin) -> socket.socket:
    """A socket whose bytes reach the origin."""
    via = origin.proxy or origin
    by = "egress proxy: " if origin.proxy else ""
    with _step(origin, f"{by}name"):
        found = await asyncio.get_running_loop().getaddrinfo(via.host, via.port, type=socket.SOCK_STREAM)
    with _step(origin, f"{by}connect"):
        sock = await aiohappyeyeballs.start_connection(found, happy_eyeballs_delay=HAPPY_EYEBALLS_DELAY, interleave=1)
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if origin.proxy is not None:
            with _step(origin, "egress proxy"):
                await _tunnel(sock, origin.authority, origin.proxy)
    except BaseException:
        sock.close()
        raise
    return sock


async def _tunnel(sock: socket.socket, authority: str, proxy: EgressProxy) -> None:
    """Opens a CONNECT tunnel (RFC 9110 §9.3.6)."""
    lines = [f"CONNECT {authority} HTTP/1.1", f"Host: {authority}"]
    if proxy.authorization:
        lines.append(f"Proxy-Authorization: {proxy.authorization}")
    await asyncio.get_running_loop().sock_sendall(sock, "\r\n".join([*lines, "", ""]).encode())
    answer = TUNNEL_OPEN.match(await _head(sock))
    if answer is None or not answer[1].startswith(b"2"):
        raise ConnectionError(f"the proxy answered {answer[1].decode() if answer else 'no HTTP'}")


async def _head(sock: socket.socket) -> bytes:
    """Reads a head and not a byte further: what follows is the origin's, and not ours to read."""
    head = b""
    while not head.endswith(END_OF_HEAD):
        byte = await asyncio.get_running_loop().sock_recv(sock, 1)
        if not byte or len(head) > TUNNEL_HEAD_LIMIT:
            raise ConnectionError("the proxy's answer was cut off")
        head += byte
        with suppress(BlockingIOError):
            seen = head + sock.recv(TUNNEL_HEAD_LIMIT, socket.MSG_PEEK)
            found = seen.find(END_OF_HEAD)
            end = len(seen) if found < 0 else found + len(END_OF_HEAD)
            head += sock.recv(end - len(head))
    return head


@contextmanager
def _step(origin: Origin, step: str) -> Iterator[None]:
    """Names the step that failed; ssl.SSLError is an OSError."""
    try:
        yield
    except (OSError, UnicodeError) as error:
        if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
            raise Overloaded(reason=f"{origin.name}: no file descriptor is free", retry_after=1) from error
        raise UpstreamUnreachable(reason=f"{origin.name}: {step}: {_plain(error)}") from error


def _plain(error: BaseException) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate is not trusted: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return error.reason or "the handshake was broken off"
    return str(error) or "it was broken off"
