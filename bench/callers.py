"""Callers for what wrk cannot do: thousands that stay, and one that carries a gigabyte."""

import re
import select
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import SplitResult, urlsplit

from bench.stage import BenchFailed

_BLOCK = 1 << 20
_PATIENCE = 60.0  # seconds without a byte


class Crowd:
    """Connections that send one GET each, all at once, and stay."""

    def __init__(self, url: str) -> None:
        self._url = urlsplit(url)
        self.socks: list[socket.socket] = []

    def connect(self, count: int) -> None:
        """Opens so many connections more."""
        for _ in range(count):
            self.socks.append(_connect(self._url))

    def send(self) -> None:
        """Each connection sends its request; no answer is read."""
        head = _head("GET", self._url)
        for sock in self.socks:
            sock.sendall(head)

    def receive(self) -> None:
        """Reads all answers; BenchFailed unless each is 200."""
        for sock in self.socks:
            status, left, _ = _answer(sock)
            while left > 0:
                left -= len(_some(sock))
            if status != 200:
                raise BenchFailed(f"one of {len(self.socks)} callers got {status}")

    def open(self) -> int:
        """How many connections nobody has closed."""
        poll = select.poll()
        for sock in self.socks:
            poll.register(sock, select.POLLIN | select.POLLRDHUP)
        return len(self.socks) - len(poll.poll(0))


@contextmanager
def crowd(url: str, count: int) -> Iterator[Crowd]:
    """So many connected callers; they leave at the end."""
    made = Crowd(url)
    try:
        made.connect(count)
        yield made
    finally:
        for sock in made.socks:
            sock.close()


def download(url: str, size: int) -> int:
    """Reads a body of `size` bytes as fast as it comes; gives how many came."""
    parts = urlsplit(url)
    block = bytearray(_BLOCK)
    with _connect(parts) as sock:
        sock.sendall(_head("GET", parts))
        status, left, got = _answer(sock)
        if status != 200 or left + got != size:
            raise BenchFailed(f"{status} with {left + got} bytes at {url}")
        while left > 0 and (count := sock.recv_into(block)):
            left -= count
        return size - left


def upload(url: str, size: int) -> int:
    """Sends a body of `size` bytes as fast as it is taken; gives how many the other end says it has read."""
    parts, block = urlsplit(url), bytes(_BLOCK)
    with _connect(parts) as sock:
        sock.sendall(_head("POST", parts, f"Content-Length: {size}\r\n"))
        for _ in range(size // _BLOCK):
            sock.sendall(block)
        content = b""
        while not (told := re.search(rb'{"read": (\d+)}', content)):
            content += _some(sock)
        return int(told[1])


def _connect(parts: SplitResult) -> socket.socket:
    return socket.create_connection((parts.hostname or "", parts.port or 80), timeout=_PATIENCE)


def _head(method: str, parts: SplitResult, fields: str = "") -> bytes:
    return f"{method} {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\n{fields}\r\n".encode()


def _answer(sock: socket.socket) -> tuple[int, int, int]:
    """Status, bytes of the body that are still to come, bytes that came with the head."""
    head = b""
    while b"\r\n\r\n" not in head:
        head += _some(sock)
    lines, _, body = head.partition(b"\r\n\r\n")
    fields = dict(line.lower().split(b":", 1) for line in lines.split(b"\r\n")[1:])
    length = int(fields.get(b"content-length", b"0"))
    return int(lines.split(b" ")[1]), length - len(body), len(body)


def _some(sock: socket.socket) -> bytes:
    data = sock.recv(65536)
    if not data:
        raise BenchFailed("a connection was closed before its answer was whole")
    return data
