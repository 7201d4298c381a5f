"""Callers that wrk cannot imitate: thousands that stay connected, one that carries a gigabyte, one that reads
slowly.
"""

import select
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from bench.stage import BenchFailed

_BLOCK = 1 << 20
_TIMEOUT = 60.0  # seconds without a byte
_LAST_CHUNK = b"0\r\n\r\n"


class Crowd:
    """Connections that send one GET each, all at once, and stay open."""

    def __init__(self, url: str) -> None:
        self._url = urlsplit(url)
        self.socks: list[socket.socket] = []

    def connect(self, count: int) -> None:
        """Open this many further connections."""
        for _ in range(count):
            self.socks.append(_connect(self._url))

    def send(self) -> None:
        """Send the request on each connection without reading a response."""
        head = _head("GET", self._url)
        for sock in self.socks:
            sock.sendall(head)

    def receive(self) -> None:
        """Read all responses. Raise BenchFailed unless each is 200."""
        for sock in self.socks:
            answer = _answer(sock)
            left = answer.length - len(answer.body)
            while left > 0:
                left -= len(_some(sock))
            if answer.status != 200:
                raise BenchFailed(f"one of {len(self.socks)} callers got {answer.status}")

    def open(self) -> int:
        """Return the number of open connections."""
        poll = select.poll()
        for sock in self.socks:
            poll.register(sock, select.POLLIN | select.POLLRDHUP)
        return len(self.socks) - len(poll.poll(0))


@contextmanager
def crowd(url: str, count: int) -> Iterator[Crowd]:
    """Yield connected callers, which are closed at the end."""
    crowd_process = Crowd(url)
    try:
        crowd_process.connect(count)
        yield crowd_process
    finally:
        for sock in crowd_process.socks:
            sock.close()


def fetch(url: str, *, pause: float = 0.0) -> None:
    """Read a whole body, chunked or with a length, after a pause of `pause` seconds."""
    parts = urlsplit(url)
    block = bytearray(_BLOCK)
    with _connect(parts) as sock:
        sock.sendall(_head("GET", parts, "Connection: close\r\n"))
        answer = _answer(sock)
        time.sleep(pause)
        total, last = len(answer.body), answer.body[-len(_LAST_CHUNK) :]
        while count := sock.recv_into(block):
            total += count
            last = (last + block[max(0, count - len(_LAST_CHUNK)) : count])[-len(_LAST_CHUNK) :]
    is_whole = last == _LAST_CHUNK if answer.is_chunked else total == answer.length
    if answer.status != 200 or not is_whole:
        raise BenchFailed(f"{answer.status} with {total} bytes, and not all of them, at {url}")


def upload(url: str, size: int) -> bytes:
    """Send a body of `size` bytes as fast as possible. Return the body of the response."""
    parts, block = urlsplit(url), bytes(_BLOCK)
    with _connect(parts) as sock:
        sock.sendall(_head("POST", parts, f"Content-Length: {size}\r\n"))
        for _ in range(size // _BLOCK):
            sock.sendall(block)
        answer = _answer(sock)
        if answer.status != 200:
            raise BenchFailed(f"{answer.status} to {size} bytes at {url}")
        content = answer.body
        while len(content) < answer.length:
            content += _some(sock)
        return content


def _connect(parts: SplitResult) -> socket.socket:
    return socket.create_connection((parts.hostname or "", parts.port or 80), timeout=_TIMEOUT)


def _head(method: str, parts: SplitResult, fields: str = "") -> bytes:
    return f"{method} {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\n{fields}\r\n".encode()


@dataclass(frozen=True, slots=True)
class _Answer:
    """The head of a response, and the part of its body that came with it."""

    status: int
    fields: dict[bytes, bytes]
    body: bytes

    @property
    def length(self) -> int:
        return int(self.fields.get(b"content-length", b"0"))

    @property
    def is_chunked(self) -> bool:
        return self.fields.get(b"transfer-encoding", b"").strip() == b"chunked"


def _answer(sock: socket.socket) -> _Answer:
    head = b""
    while b"\r\n\r\n" not in head:
        head += _some(sock)
    lines, _, body = head.partition(b"\r\n\r\n")
    fields = dict(line.lower().split(b":", 1) for line in lines.split(b"\r\n")[1:])
    return _Answer(int(lines.split(b" ")[1]), fields, body)


def _some(sock: socket.socket) -> bytes:
    data = sock.recv(65536)
    if not data:
        raise BenchFailed("a connection was closed before its answer was whole")
    return data
