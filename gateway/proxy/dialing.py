"""Makes connections to upstreams: name, TCP (Happy Eyeballs, RFC 8305), egress proxy (CONNECT), TLS.

A failure here means that not a byte of the request was sent: it is always `UpstreamUnreachable`, with the step and the
kind of failure as the reason.
"""

import asyncio
import base64
import re
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import aiohappyeyeballs

from gateway.errors import UpstreamUnreachable
from gateway.proxy.connection import Connection

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
    """Opens a connection ready for its first exchange. Raises UpstreamUnreachable."""
    loop = asyncio.get_running_loop()
    sock = await _reach(origin)
    with _step(origin, "TLS" if origin.tls else "connect"):
        # From here on the socket is the loop's, which closes it also where the handshake fails or is cancelled.
        _, connection = await loop.create_connection(
            lambda: Connection(loop, sock, on_lost=on_lost),
            sock=sock,
            ssl=origin.tls,
            server_hostname=origin.host if origin.tls else None,
        )
    return connection


async def _reach(origin: Origin) -> socket.socket:
    """A socket whose bytes reach the origin."""
    via = origin.proxy or origin
    with _step(origin, "name"):
        found = await asyncio.get_running_loop().getaddrinfo(via.host, via.port, type=socket.SOCK_STREAM)
    with _step(origin, "connect"):
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
        raise UpstreamUnreachable(reason=f"{origin.name}: {step}: {_plain(error)}") from error


def _plain(error: BaseException) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate is not trusted: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return error.reason or type(error).__name__
    return str(error) or type(error).__name__
