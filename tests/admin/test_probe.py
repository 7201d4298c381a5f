import asyncio
import socket
from pathlib import Path
from typing import Any

import pytest

from gateway.cli.probe import probe
from tests.fakes.identity import Answer, Identity, in_pieces


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


async def probe_stranger(played: Answer) -> tuple[bool, str]:
    async with Identity(played) as stranger:
        ready, line = await probe_port(stranger.url.split("/")[2])
    assert line.isprintable()
    return ready, line.partition(": ")[2]


@pytest.mark.parametrize("raw", [b"SSH-2.0-x\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n[1]"])
async def test_a_stranger_on_the_port(raw: bytes) -> None:
    assert not (await probe_stranger(Answer(raw)))[0]


READY_BODY = b'{"state": "ready"}'


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_response_in_pieces_is_read_to_its_end(*, chunked: bool) -> None:
    assert (await probe_stranger(in_pieces(READY_BODY, 1, 2, 3, chunked=chunked)))[0]


async def test_a_short_or_long_response_is_an_error() -> None:
    cut_off = in_pieces(READY_BODY, 1, length=len(READY_BODY) + 1)
    assert await probe_stranger(cut_off) == (False, "the response is cut off")
    assert await probe_stranger(in_pieces(b"", length=1)) == (False, "the response is cut off")
    assert not (await probe_stranger(in_pieces(READY_BODY, chunked=True, length=1)))[0]
    for chunked in (False, True):
        too_long = in_pieces(READY_BODY + b" " * 256 * 1024, 1, chunked=chunked)
        assert await probe_stranger(too_long) == (False, "the response is larger than 256 KiB")
