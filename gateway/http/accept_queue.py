"""The end of listening: whoever has connected is accepted before the socket closes, since a close resets the others."""

import asyncio
import socket

from gateway.system.bind import are_readable, is_local_only, stop_handshakes

NEAR, FAR = 0.02, 0.25  # seconds for a handshake that has begun: on this machine, over a network
LONGEST = 2.0  # seconds that the backlog may take
LOOK = 0.01


async def accept_backlog(listeners: list[socket.socket]) -> None:
    """Waits until the loop has accepted every connection whose handshake had begun. To be closed at once afterwards."""
    listeners = [listener for listener in listeners if listener.fileno() >= 0]
    for listener in listeners:
        stop_handshakes(listener)
    await asyncio.sleep(NEAR if all(map(is_local_only, listeners)) else FAR)
    descriptors = [listener.fileno() for listener in listeners]
    deadline = asyncio.get_running_loop().time() + LONGEST
    while are_readable(descriptors) and asyncio.get_running_loop().time() < deadline:  # noqa: ASYNC110 - the system's
        await asyncio.sleep(LOOK)
