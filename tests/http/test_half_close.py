"""Callers that close their side after a request get its response; those that have left are detected."""

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from gateway.http.half_close import check_peer
from tests.fakes.gate import scene, until
from tests.fakes.upstream import OK, ScriptedConnection

GET = b"GET /orders/1 HTTP/1.1\r\nHost: gw\r\n\r\n"
POST = b"POST /orders/1 HTTP/1.1\r\nHost: gw\r\nContent-Length: 2\r\n\r\nhi"
OLD = b"GET /orders/1 HTTP/1.0\r\n\r\n"


def answer_after(go_on: asyncio.Event) -> Callable[[ScriptedConnection], Awaitable[None]]:
    """A script that answers one request once `go_on` is set."""

    async def answer(peer: ScriptedConnection) -> None:
        await peer.request()
        await go_on.wait()
        await peer.send(OK)

    return answer


@pytest.mark.parametrize("message", [GET, POST, OLD])
@pytest.mark.parametrize("is_watched", [False, True])
async def test_a_caller_that_closed_its_side_gets_its_response(message: bytes, *, is_watched: bool) -> None:
    go_on = asyncio.Event()
    async with scene(answer_after(go_on)) as (gate, upstream, _):
        caller = await gate.caller()
        await caller.send(message)
        caller.writer.write_eof()
        await upstream.until(lambda: upstream.connections == 1)
        [connection] = gate.server.connections
        await until(lambda: connection._is_half_closed)
        if is_watched:
            monitor = connection._half_close_monitor
            assert monitor is not None
            first = monitor._timer
            await until(lambda: monitor._timer is not first)
        go_on.set()
        assert (await caller.reply())[2] == b"ok"
        assert await caller.read_to_end() == b""
        [record] = await gate.wait_for_records()
        assert (record.status, record.error) == (200, None)
        await until(lambda: not gate.server.connections)


async def test_every_request_before_the_end_is_answered() -> None:
    async with scene() as (gate, _, _):
        caller = await gate.caller()
        await caller.send(GET + POST + GET + b"GET /orders/unfinished")
        caller.writer.write_eof()
        assert [(await caller.reply())[0] for _ in range(3)] == [200] * 3
        assert await caller.read_to_end() == b""
        assert len(gate.records) == 3


@pytest.mark.parametrize("leave", ["close", "reset"])
async def test_a_caller_that_leaves_later_is_detected(leave: str) -> None:
    async def silence(peer: ScriptedConnection) -> None:
        await peer.head()
        await peer.reader.read()

    async with scene(silence) as (gate, upstream, _):
        caller = await gate.caller()
        await caller.send(GET)
        caller.writer.write_eof()
        await upstream.until(lambda: upstream.connections == 1)
        [connection] = gate.server.connections
        await until(lambda: connection._half_close_monitor is not None)
        monitor = connection._half_close_monitor
        assert monitor is not None
        first = monitor._timer
        await until(lambda: monitor._timer is not first)
        getattr(caller, leave)()
        [record] = await gate.wait_for_records()
        assert (record.status, record.error) == (499, "caller-gone")
        await upstream.until(lambda: upstream.open == 0)


async def test_a_caller_that_closes_within_a_request_has_left() -> None:
    async with scene() as (gate, _, _):
        caller = await gate.caller()
        await caller.send(POST[:-1])
        await until(lambda: gate.forward.in_flight == 1)
        caller.writer.write_eof()
        [record] = await gate.wait_for_records()
        assert record.error == "caller-gone"
        assert await caller.read_to_end() == b""


def close(sock: socket.socket) -> None:
    sock.close()


def end(sock: socket.socket) -> None:
    sock.shutdown(socket.SHUT_WR)


def reset(sock: socket.socket) -> None:
    end(sock)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "mapped", "unix"])
@pytest.mark.parametrize(("leave", "has_left"), [(close, True), (end, False), (reset, True)])
def test_the_kernel_reports_a_peer_that_has_left(
    tmp_path: Path, address: str, leave: object, *, has_left: bool
) -> None:
    if address == "unix":
        server, caller = socket.socket(socket.AF_UNIX), socket.socket(socket.AF_UNIX)
        server.bind(str(tmp_path / "gw"))
        server.listen()
        caller.connect(str(tmp_path / "gw"))
    elif address == "mapped":
        server = socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True)
        caller = socket.create_connection(("127.0.0.1", server.getsockname()[1]))
    else:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        server = socket.create_server((address, 0), family=family)
        caller = socket.create_connection(server.getsockname()[:2])
    accepted, _ = server.accept()
    with server, caller, accepted:
        assert callable(leave)
        leave(caller)
        assert accepted.recv(1) == b"" if leave is not reset else True
        assert check_peer(accepted, was_held=False)[0] is has_left


async def test_a_half_close_within_a_body_ends_the_request() -> None:
    go_on = asyncio.Event()
    async with scene(answer_after(go_on)) as (gate, upstream, _):
        caller = await gate.caller()
        await caller.send(GET + POST.replace(b"Length: 2", b"Length: 20"))
        caller.writer.write_eof()
        await upstream.until(lambda: upstream.connections == 1)
        [connection] = gate.server.connections
        await until(lambda: connection._is_half_closed)
        go_on.set()
        assert (await caller.reply())[2] == b"ok"
        assert await caller.read_to_end() == b""
        _, record = await gate.wait_for_records(2)
        assert (record.status, record.error) == (499, "caller-gone")
        assert upstream.connections == 1
