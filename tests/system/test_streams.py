"""A large body either way, byte for byte, through a process that does not grow."""

import asyncio
import hashlib
import re
import socket
from collections.abc import AsyncIterator, Callable
from io import BufferedReader
from pathlib import Path

import pytest

from gateway.sandbox import DEFAULT_SECRET, pattern_sha256
from tests.fakes.process import Process, gateway, request
from tests.fakes.waiting import TIME_LIMIT

SIZE = 256 * 1024**2
"""Of a body: thirteen times what the process may grow by."""
PIECE = hashlib.shake_256(b"a piece of the upload").digest(256 * 1024)
SLACK = 20 * 1024  # KiB: the 16 MiB of the contract, and what an allocator keeps back


@pytest.fixture
async def gate(tmp_path: Path) -> AsyncIterator[Process]:
    """A gateway before a sandbox in its own process, so that this one's loop stands in nobody's way."""
    async with Process("sandbox", "--listen", "127.0.0.1:0") as box:
        await box.until(lambda: b"/hello/" in box.out and box.out.endswith(b"credential: sandbox\n"))
        file = tmp_path / "gateway.yaml"
        file.write_text(re.sub(r"(?m)^(listen|admin): .*$", r"\1: 127.0.0.1:0", box.out.decode()), encoding="utf-8")
        async with gateway(file, OIC_SANDBOX_SECRET=DEFAULT_SECRET) as running:
            yield running


@pytest.fixture
async def warm(gate: Process) -> Process:
    """The gateway once everything that it needs has been used."""
    assert (await gate.get("/bytes/1000000"))[0] == 200
    assert (await gate.post("/upload/", b"a" * 1_000_000))[0] == 200
    return gate


def connect(gate: Process) -> socket.socket:
    host, port = gate.listen.split(":")
    return socket.create_connection((host, int(port)), timeout=TIME_LIMIT)


def download(gate: Process, target: str) -> tuple[bytes, str]:
    """Reads a reply that ends with its connection: its head, and the SHA-256 of its body."""
    digest, buffer = hashlib.sha256(), bytearray(1024 * 1024)
    with connect(gate) as sock, BufferedReader(socket.SocketIO(sock, "rb"), 1024 * 1024) as stream:
        sock.sendall(request(target, "Connection: close"))
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += stream.readline()
        chunked = b"transfer-encoding: chunked" in head.lower()
        while left := int(stream.readline(), 16) if chunked else SIZE:
            while left:
                size = stream.readinto(memoryview(buffer)[: min(left, len(buffer))])
                assert size
                digest.update(memoryview(buffer)[:size])
                left -= size
            if not chunked:
                break
            stream.readline()
    return head, digest.hexdigest()


def upload(gate: Process, *, chunked: bool) -> tuple[bytes, str]:
    """Sends a large body; its reply, and the SHA-256 of what was sent."""
    digest = hashlib.sha256()
    framing = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {SIZE}"
    with connect(gate) as sock:
        sock.sendall(request("/upload/", framing, "Connection: close", method="POST"))
        framed = b"%x\r\n%b\r\n" % (len(PIECE), PIECE) if chunked else PIECE
        for _ in range(SIZE // len(PIECE)):
            digest.update(PIECE)
            sock.sendall(framed)
        if chunked:
            sock.sendall(b"0\r\n\r\n")
        reply = b""
        while piece := sock.recv(65536):
            reply += piece
    return reply, digest.hexdigest()


def grown(gate: Process, before: int, record_property: Callable[[str, object], None]) -> int:
    """KiB that the highest resident size has grown by, noted in the test's report."""
    growth = gate.memory() - before
    record_property("grown_kib", growth)
    print(f"grown by {growth} KiB from {before} KiB")  # noqa: T201 - the figure is the test's result
    return growth


@pytest.mark.parametrize("chunked", [False, True], ids=["sized", "chunked"])
async def test_a_large_body_down(
    warm: Process, *, chunked: bool, record_property: Callable[[str, object], None]
) -> None:
    before = warm.memory("VmRSS")
    head, digest = await asyncio.to_thread(download, warm, f"/bytes/{SIZE}{'?chunked=1' if chunked else ''}")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert (b"Transfer-Encoding: chunked" in head) == chunked
    assert digest == await asyncio.to_thread(pattern_sha256, SIZE)
    assert grown(warm, before, record_property) <= SLACK
    assert (await warm.wait_for_records(3))[-1]["bytes_out"] == SIZE


@pytest.mark.parametrize("chunked", [False, True], ids=["sized", "chunked"])
async def test_a_large_body_up(warm: Process, *, chunked: bool, record_property: Callable[[str, object], None]) -> None:
    before = warm.memory("VmRSS")
    reply, digest = await asyncio.to_thread(upload, warm, chunked=chunked)
    assert reply.startswith(b"HTTP/1.1 200 OK\r\n")
    assert f'"length": {SIZE}, "sha256": "{digest}"'.encode() in reply
    assert grown(warm, before, record_property) <= SLACK
    assert (await warm.wait_for_records(3))[-1]["bytes_in"] == SIZE


async def test_a_caller_that_stops_reading_does_not_fill_the_gateway(warm: Process) -> None:
    before = warm.memory("VmRSS")
    sock = connect(warm)
    with sock:
        sock.sendall(request(f"/bytes/{SIZE}"))
        sock.recv(1024, socket.MSG_WAITALL)
        for _ in range(200):  # the loop turns, and memory stays as it is
            assert (await warm.ask("/livez"))[0] == 200
        assert warm.memory() - before <= SLACK


async def test_a_refusal_does_not_wait_for_a_large_body(warm: Process) -> None:
    def peer() -> bytes:
        with connect(warm) as sock:
            sock.sendall(request("/none/", f"Content-Length: {SIZE}", method="POST") + PIECE)
            return sock.recv(65536)

    assert (await asyncio.to_thread(peer)).startswith(b"HTTP/1.1 404 ")
