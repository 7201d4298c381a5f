"""Waiting for the other side: it ends when there is room, and detects a side that reads nothing."""

import asyncio
import socket

from gateway.http.flow_control import FlowControl


async def behind(ours: socket.socket) -> tuple[FlowControl, asyncio.Transport]:
    transport, paced = await asyncio.get_running_loop().create_connection(FlowControl, sock=ours)
    transport.write(b"x" * 8_000_000)
    assert paced.write_paused
    return paced, transport


async def test_a_peer_that_reads_nothing_is_detected() -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        paced, transport = await behind(ours)
        assert not await paced.wait_writable(transport, 0.02)
        waiting = asyncio.create_task(paced.wait_writable(transport, 10))
        theirs.settimeout(0)
        while not waiting.done():
            await asyncio.get_running_loop().sock_recv(theirs, 1 << 20)
        assert await waiting
        assert not paced.write_paused
        transport.abort()


async def test_a_wait_ends_where_no_room_will_ever_come() -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        paced, transport = await behind(ours)
        asyncio.get_running_loop().call_soon(paced.stop_waiting)
        assert await paced.wait_writable(transport, 10)
        assert paced.write_paused
        transport.abort()
