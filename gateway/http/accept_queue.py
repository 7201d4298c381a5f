"""Drain the accept queue before a listener is closed: a close resets the connections that are in the queue."""

import asyncio
import socket

from gateway.system.bind import is_local_only, readable_descriptors, stop_handshakes

LOCAL_HANDSHAKE, REMOTE_HANDSHAKE = 0.02, 0.25  # seconds
MAX_WAIT = 2.0  # seconds
POLL_INTERVAL = 0.01


async def accept_backlog(listeners: list[socket.socket]) -> None:
    """Wait until the loop has accepted every connection whose TCP handshake has begun. Close the listeners right after
    this.
    """
    listeners = [listener for listener in listeners if listener.fileno() >= 0]
    for listener in listeners:
        stop_handshakes(listener)
    await asyncio.sleep(LOCAL_HANDSHAKE if all(map(is_local_only, listeners)) else REMOTE_HANDSHAKE)
    descriptors = [listener.fileno() for listener in listeners]
    deadline = asyncio.get_running_loop().time() + MAX_WAIT
    while readable_descriptors(descriptors) and asyncio.get_running_loop().time() < deadline:  # noqa: ASYNC110 - the kernel has no event for it
        await asyncio.sleep(POLL_INTERVAL)
