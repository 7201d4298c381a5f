"""Makes connections to upstreams: name, TCP (Happy Eyeballs, RFC 8305), egress proxy (CONNECT), TLS.

A failure here means that not a byte of the request was sent: it is always `UpstreamUnreachable`, with the step and the
kind of failure as the reason.
"""

import asyncio
import base64
import re
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field

import aiohappyeyeballs

from gateway.errors import UpstreamUnreachable
from gateway.proxy.connection import Connection

HAPPY_EYEBALLS_DELAY = 0.25
TUNNEL_HEAD_LIMIT = 16 * 1024
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
    def name(self) -> str:
        """For logs and metrics: scheme://host:port."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.tls else 'http'}://{host}:{self.port}"


def basic(username: str, password: str) -> str:
    """The value of a Proxy-Authorization field (RFC 7617)."""
    return "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()


async def dial(origin: Origin, on_lost: Callable[[Connection], None]) -> Connection:
    """Opens a connection ready for its first exchange. Raises UpstreamUnreachable."""
    step = "name"
    sock: socket.socket | None = None
    loop = asyncio.get_running_loop()
    try:
        via = origin.proxy or origin
        found = await loop.getaddrinfo(via.host, via.port, type=socket.SOCK_STREAM)
        step = "connect"
        sock = await aiohappyeyeballs.start_connection(found, happy_eyeballs_delay=HAPPY_EYEBALLS_DELAY, interleave=1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if origin.proxy is not None:
            step = "egress proxy"
            await _tunnel(sock, origin, origin.proxy)
        step = "TLS" if origin.tls else "connect"
        name = origin.host if origin.tls else None
        _, connection = await loop.create_connection(
            lambda: Connection(loop, on_lost), sock=sock, ssl=origin.tls, server_hostname=name
        )
    except BaseException as error:
        if sock is not None:
            sock.close()
        if isinstance(error, (OSError, ssl.SSLError, UnicodeError)):
            raise UpstreamUnreachable(reason=f"{origin.name}: {step}: {_plain(error)}") from error
        raise
    connection.own(sock)
    return connection


async def _tunnel(sock: socket.socket, origin: Origin, proxy: EgressProxy) -> None:
    """Opens a CONNECT tunnel (RFC 9110 §9.3.6). The head is read byte by byte: what follows it is not ours to read."""
    loop = asyncio.get_running_loop()
    host = f"[{origin.host}]" if ":" in origin.host else origin.host
    lines = [f"CONNECT {host}:{origin.port} HTTP/1.1", f"Host: {host}:{origin.port}"]
    if proxy.authorization:
        lines.append(f"Proxy-Authorization: {proxy.authorization}")
    await loop.sock_sendall(sock, "\r\n".join([*lines, "", ""]).encode())
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        byte = await loop.sock_recv(sock, 1)
        head += byte
        if not byte or len(head) > TUNNEL_HEAD_LIMIT:
            raise ConnectionError("the proxy's answer was cut off")
    answer = TUNNEL_OPEN.match(head)
    if answer is None or not answer[1].startswith(b"2"):
        raise ConnectionError(f"the proxy answered {answer[1].decode() if answer else 'no HTTP'}")


def _plain(error: BaseException) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate is not trusted: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return error.reason or type(error).__name__
    return str(error) or type(error).__name__
