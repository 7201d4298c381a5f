"""The event loop with its own resolver: connections through it, by name and by address."""

import asyncio
import socket
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from gateway.network import event_loop as loops
from gateway.network.event_loop import dns_failures, new_event_loop
from gateway.network.resolver import Resolver
from tests.fakes.waiting import TIME_LIMIT


@pytest.fixture(params=["uvloop", "asyncio"])
def run(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Any], Any]]:
    """Runs a coroutine on the loop, once based on uvloop and once on asyncio."""
    if request.param == "asyncio":
        monkeypatch.setitem(sys.modules, "uvloop", None)
    loops._loop_class.cache_clear()
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        yield runner.run
    loops._loop_class.cache_clear()


async def read_greeting(host: str, port: int) -> bytes:
    async with asyncio.timeout(TIME_LIMIT):
        reader, writer = await asyncio.open_connection(host, port)
        greeting = await reader.read()
        writer.close()
    return greeting


def test_the_loop_connects_without_its_own_name_lookup(run: Callable[[Any], Any]) -> None:
    lookups: list[str] = []

    def look_up(host: str, *_: Any) -> list[Any]:
        lookups.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 0))]

    async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hello")
        writer.close()

    async def dial() -> None:
        loop: Any = asyncio.get_running_loop()
        loop.resolver = Resolver(look_up=look_up)
        server = await asyncio.start_server(greet, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        for host in ("oic.invalid", "127.0.0.1"):
            assert await read_greeting(host, port) == b"hello"
        with socket.socket() as sock:
            sock.setblocking(False)  # noqa: FBT003 - standard library
            await loop.sock_connect(sock, ("127.0.0.1", port))
        server.close()

    run(dial())
    assert lookups == ["oic.invalid"]


def test_a_connection_that_fails_leaves_no_socket(run: Callable[[Any], Any], closed_port: int) -> None:
    async def dial() -> None:
        with pytest.raises(OSError, match=r"[Cc]onnect"):
            await read_greeting("localhost", closed_port)

    run(dial())


def test_a_loop_reports_the_names_that_it_cannot_resolve(run: Callable[[Any], Any]) -> None:
    async def resolve() -> dict[str, Any]:
        loop: Any = asyncio.get_running_loop()
        assert dns_failures(loop) == {}
        with pytest.raises(socket.gaierror):
            await loop.getaddrinfo("oic.invalid", 443)
        return dns_failures(loop)

    assert run(resolve())["oic.invalid"]["state"] == "unresolved"
    other = asyncio.new_event_loop()
    assert dns_failures(other) == {}
    other.close()
