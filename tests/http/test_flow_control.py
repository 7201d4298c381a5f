"""Waiting for a peer: it ends when there is room, and detects a peer that reads nothing."""

import asyncio
import socket

from gateway.http.flow_control import FlowControl


async def start_paused_sender(sender: socket.socket) -> tuple[FlowControl, asyncio.Transport]:
    transport, flow = await asyncio.get_running_loop().create_connection(FlowControl, sock=sender)
    transport.write(b"x" * 8_000_000)
    assert flow.write_paused
    return flow, transport


async def test_a_peer_that_reads_nothing_is_detected() -> None:
    sender, receiver = socket.socketpair()
    with receiver:
        flow, transport = await start_paused_sender(sender)
        assert not await flow.wait_writable(transport, 0.02)
        waiting = asyncio.create_task(flow.wait_writable(transport, 10))
        receiver.settimeout(0)
        while not waiting.done():
            await asyncio.get_running_loop().sock_recv(receiver, 1 << 20)
        assert await waiting
        assert not flow.write_paused
        transport.abort()


async def test_a_wait_can_be_ended_without_room() -> None:
    sender, receiver = socket.socketpair()
    with receiver:
        flow, transport = await start_paused_sender(sender)
        asyncio.get_running_loop().call_soon(flow.wake_writer)
        assert await flow.wait_writable(transport, 10)
        assert flow.write_paused
        transport.abort()
