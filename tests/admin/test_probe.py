import asyncio
import socket
from pathlib import Path
from typing import Any

import pytest

from gateway.cli.probe import probe


async def probe_port(address: str, wait: float = 5, *, liveness: bool = False) -> tuple[bool, str]:
    return await asyncio.to_thread(probe, address, wait, liveness=liveness)


async def test_ready(port: Any) -> None:
    assert await probe_port(port.address) == (True, "ready")


async def test_a_server_on_all_addresses_is_reached_at_loopback(port: Any) -> None:
    number = port.address.rpartition(":")[2]
    assert await probe_port(f"0.0.0.0:{number}") == (True, "ready")
    assert port.seen == [("127.0.0.1", f"127.0.0.1:{number}")]


async def test_a_unix_socket(unix_port: Any) -> None:
    assert await probe_port(unix_port.address) == (True, "ready")
    assert unix_port.seen == [(None, "localhost")]


async def test_not_ready_names_the_credential_and_the_cause(port: Any) -> None:
    port.backend.answer = (
        False,
        {"state": "unready", "credentials": {"a": {"state": "ok"}, "b": {"state": "no-token", "error": "no scope"}}},
    )
    assert await probe_port(port.address) == (False, "unready; b: no scope")


async def test_liveness_does_not_depend_on_tokens(port: Any) -> None:
    port.backend.answer = (False, {"state": "unready"})
    assert await probe_port(port.address, liveness=True) == (True, "alive")
    port.backend.alive = False
    assert await probe_port(port.address, liveness=True) == (False, "stuck")


async def test_a_rejection_names_the_cause(port: Any) -> None:
    port.refused = "this address may not call"
    assert await probe_port(port.address) == (False, "this address may not call")


async def test_a_gateway_that_hangs_is_not_ready(port: Any) -> None:
    port.backend.open.clear()
    ready, answer = await probe_port(port.address, 0.1)
    assert not ready
    assert answer == f"{port.address}: timed out"
    port.backend.open.set()


def test_no_server(tmp_path: Path) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        ready, answer = probe(f"127.0.0.1:{listener.getsockname()[1]}", 5)
    assert not ready
    assert "refused" in answer
    assert not probe(f"unix:{tmp_path}/none.sock", 5)[0]


def test_an_invalid_address_is_not_ready() -> None:
    assert probe("nowhere", 5) == (False, "nowhere: 'nowhere' is not HOST:PORT, [IPV6]:PORT or unix:/PATH")


@pytest.mark.parametrize("raw", [b"SSH-2.0-x\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n[1]"])
async def test_a_stranger_on_the_port(raw: bytes) -> None:
    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(raw)
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    number = server.sockets[0].getsockname()[1]
    ready, line = await probe_port(f"127.0.0.1:{number}")
    server.close()
    await server.wait_closed()
    assert not ready
    assert line.isprintable()
