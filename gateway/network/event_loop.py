"""The event loop of every verb: uvloop where it exists, with names looked up by `Resolver`.

Both loops look names up in a few threads that all share (uvloop in two, and even for addresses): one name that hangs
would hold up whatever dials. Libraries dial through the loop, so this is the place to change it once for all of them.
"""

import asyncio
import socket
from collections.abc import Callable
from functools import cache
from typing import Any

import aiohappyeyeballs

from gateway.network.dial import HAPPY_EYEBALLS_DELAY
from gateway.network.resolver import AddressInfo, Resolver, StaleServing


class _ResolvingLoop:
    """What an event loop does with names; the loop itself is the other base class."""

    def __init__(self) -> None:
        super().__init__()
        self.resolver = Resolver()

    async def getaddrinfo(
        self,
        host: Any,
        port: Any,
        *,
        family: int = 0,
        type: int = 0,  # noqa: A002 - asyncio's own signature
        proto: int = 0,
        flags: int = 0,
    ) -> list[AddressInfo]:
        """As asyncio's."""
        return await self.resolver.resolve(host, port, (family, type, proto, flags))

    async def create_connection(
        self,
        protocol_factory: Callable[[], asyncio.BaseProtocol],
        host: Any = None,
        port: Any = None,
        *,
        sock: Any = None,
        local_addr: Any = None,
        ssl: Any = None,
        server_hostname: str | None = None,
        family: int = 0,
        proto: int = 0,
        flags: int = 0,
        **options: Any,
    ) -> tuple[asyncio.Transport, asyncio.BaseProtocol]:
        """As asyncio's: uvloop's own would look a name up by itself."""
        if host is not None and sock is None:
            found = await self.resolver.resolve(host, port, (family, socket.SOCK_STREAM, proto, flags))
            sock = await aiohappyeyeballs.start_connection(
                found,
                local_addr_infos=aiohappyeyeballs.addr_to_addr_infos(local_addr),
                happy_eyeballs_delay=HAPPY_EYEBALLS_DELAY,
                interleave=1,
            )
            if ssl and server_hostname is None:
                server_hostname = host
        try:
            made: tuple[asyncio.Transport, asyncio.BaseProtocol] = await super().create_connection(  # type: ignore[misc] # of the loop
                protocol_factory, sock=sock, ssl=ssl, server_hostname=server_hostname, **options
            )
        except BaseException:
            if host is not None and sock is not None:
                sock.close()
            raise
        return made


def new_event_loop() -> asyncio.AbstractEventLoop:
    """A loop whose names are looked up by its own `resolver`."""
    return _kind()()


def name_troubles(loop: asyncio.AbstractEventLoop) -> dict[str, dict[str, object]]:
    """See `Resolver.troubles`; empty for a loop that is not of `new_event_loop`."""
    resolver = getattr(loop, "resolver", None)
    return resolver.troubles() if isinstance(resolver, Resolver) else {}


def watch_names(loop: asyncio.AbstractEventLoop, report: Callable[[StaleServing], None]) -> None:
    """Has `report` called as `Resolver` does; never for a loop that is not of `new_event_loop`."""
    resolver = getattr(loop, "resolver", None)
    if isinstance(resolver, Resolver):
        resolver.report = report


@cache
def _kind() -> Callable[[], asyncio.AbstractEventLoop]:
    base: type[asyncio.AbstractEventLoop]
    try:
        import uvloop  # noqa: PLC0415 - not on every platform
    except ImportError:
        base = asyncio.SelectorEventLoop
    else:
        base = uvloop.Loop
    return type("ResolvingLoop", (_ResolvingLoop, base), {})
