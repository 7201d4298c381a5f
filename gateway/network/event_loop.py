"""The event loop of all commands: uvloop if it is available, with `Resolver` for DNS.

uvloop and asyncio resolve names in a few shared threads (uvloop in two, even for addresses), so one lookup that hangs
could delay every connection. Libraries also connect through the loop; therefore the loop itself is changed.
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
    """Adds the `resolver` to an event loop class, which is the other base class."""

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
        """Resolve a name (asyncio's signature)."""
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
        """Connect (asyncio's signature). Resolve the name here: uvloop would not call `getaddrinfo` of this class."""
        if host is not None and sock is None:
            addresses = await self.resolver.resolve(host, port, (family, socket.SOCK_STREAM, proto, flags))
            sock = await aiohappyeyeballs.start_connection(
                addresses,
                local_addr_infos=aiohappyeyeballs.addr_to_addr_infos(local_addr),
                happy_eyeballs_delay=HAPPY_EYEBALLS_DELAY,
                interleave=1,
            )
            if ssl and server_hostname is None:
                server_hostname = host
        try:
            connection: tuple[asyncio.Transport, asyncio.BaseProtocol] = await super().create_connection(  # type: ignore[misc] # the loop's
                protocol_factory, sock=sock, ssl=ssl, server_hostname=server_hostname, **options
            )
        except BaseException:
            if host is not None and sock is not None:
                sock.close()
            raise
        return connection


def new_event_loop() -> asyncio.AbstractEventLoop:
    """Return a new event loop with its own `Resolver`."""
    return _loop_class()()


def dns_failures(loop: asyncio.AbstractEventLoop) -> dict[str, dict[str, object]]:
    """Return the names that cannot be resolved now, as `Resolver.failures` does; empty for another kind of loop."""
    resolver = getattr(loop, "resolver", None)
    return resolver.failures() if isinstance(resolver, Resolver) else {}


def report_stale_names(loop: asyncio.AbstractEventLoop, report: Callable[[StaleServing], None]) -> None:
    """Call `report` when a stale answer begins and ends to be used. Do nothing for another kind of loop."""
    resolver = getattr(loop, "resolver", None)
    if isinstance(resolver, Resolver):
        resolver.report = report


@cache
def _loop_class() -> Callable[[], asyncio.AbstractEventLoop]:
    base: type[asyncio.AbstractEventLoop]
    try:
        import uvloop  # noqa: PLC0415 - not on every platform
    except ImportError:
        base = asyncio.SelectorEventLoop
    else:
        base = uvloop.Loop
    return type("ResolvingLoop", (_ResolvingLoop, base), {})
