"""Create the protocol of each connection of a caller, and end all of them at a stop."""

import asyncio
import math
from collections.abc import Callable
from functools import partial

from gateway.http.caller_connection import CallerConnection
from gateway.http.caller_listener import UNNAMED_LISTENER, CallerListener
from gateway.http.connection_limits import ConnectionLimits, RefusalReason
from gateway.http.connection_preface import ConnectionPreface
from gateway.http.fields import FieldRules
from gateway.http.open_connection import OpenConnection, PrefaceFailure
from gateway.http.request_handler import RequestHandler
from gateway.http.request_head import RequestLimits, request_shapes
from gateway.system.bind import readable_descriptors

KEEPALIVE_TIMEOUT = 120.0
"""Seconds that a connection may be idle. It is long, so that clients close idle connections first."""
LINGER_TIMEOUT = 5.0
"""Seconds that a caller has to read its last response and close."""
STOP_GRACE = 1.0
"""Seconds that an idle connection stays open at a stop: the network may already carry a request."""
POLL_INTERVAL = 0.02

FailureReport = Callable[[PrefaceFailure, CallerListener, str | None, str], None]
"""Called for a connection that ended before its first request: reason, listener, address of the caller, cause."""


class CallerServer:
    """Creates the protocol of each connection to the callers' listeners. Open connections are in `prefaces` until HTTP
    begins, and then in `connections`.
    """

    def __init__(
        self,
        handler: RequestHandler[CallerConnection],
        limits: RequestLimits,
        rules: FieldRules,
        *,
        connection_limits: ConnectionLimits | None = None,
        on_refused: Callable[[RefusalReason, str | None], None] = lambda *_: None,
        on_preface_failed: FailureReport = lambda *_: None,
        keepalive: float = KEEPALIVE_TIMEOUT,
        linger: float = LINGER_TIMEOUT,
    ) -> None:
        """`rules`: how each request field is treated. `connection_limits` counts and limits connections; the default
        is `limits.connections` connections. `on_refused` is called for each refused connection, `on_preface_failed` for
        each that ends before its first request. `keepalive` and `linger` are in seconds.
        """
        self.handler = handler
        self.limits = limits
        self.rules = rules
        self.keepalive = keepalive
        self.shapes = request_shapes(rules)
        self.linger = linger
        self.connections: set[CallerConnection] = set()
        self.prefaces: set[OpenConnection] = set()
        self.connection_limits = connection_limits or ConnectionLimits(limits.connections, refused=limits.connections)
        self.on_refused = on_refused
        self.on_preface_failed = on_preface_failed

    def factory(self, listener: CallerListener = UNNAMED_LISTENER) -> Callable[[], asyncio.Protocol]:
        """Return a function that creates the protocol of each connection to a listener."""
        make = ConnectionPreface if listener.has_preface else CallerConnection
        return partial(make, self, asyncio.get_running_loop(), listener)

    def admit(self, peer: str | None) -> RefusalReason | None:
        """Count a connection. Return why it is refused, or None."""
        refusal = self.connection_limits.admit(peer, is_allowed=self.handler.is_allowed(peer))
        if refusal is not None:
            self.on_refused(refusal, peer)
        return refusal

    async def wait_closed_gracefully(self, grace: float = STOP_GRACE) -> None:
        """Wait until all connections have ended: after their request, or once idle for `grace` seconds.

        Requests that arrive until then are served. The handler must close each connection with its response.
        """
        loop = asyncio.get_running_loop()
        began = loop.time()
        while any(not connection.is_finished for connection in self._all_connections()):
            now = loop.time()
            self.close_idle(now - grace if now - grace >= began else -math.inf)
            await asyncio.sleep(POLL_INTERVAL)

    def close_idle(self, since: float = math.inf) -> None:
        """Close the connections that have been idle since the time `since`. A connection with bytes that the loop has
        not read yet stays open: a close would reset it.
        """
        idle = {
            connection.descriptor(): connection for connection in self._all_connections() if connection.is_idle(since)
        }
        unread = readable_descriptors(list(idle))
        for descriptor, connection in idle.items():
            if descriptor not in unread:
                connection.close_idle()

    def abort_all(self) -> None:
        """Abort the connections that carry a request: their responses stay visibly incomplete."""
        for connection in list(self.connections):
            if connection.is_serving:
                connection.abort()

    async def shutdown(self, within: float) -> None:
        """Close all connections, and abort those that have not ended `within` these seconds."""
        served = list(self.connections)
        for connection in self._all_connections():
            connection.close()
        await self._wait_ended(served, within)
        for connection in self._all_connections():
            connection.abort()
        await self._wait_ended(served, within)

    async def _wait_ended(self, served: list[CallerConnection], within: float) -> None:
        """Wait until these connections are closed and their requests have ended, at most for so many seconds."""
        loop = asyncio.get_running_loop()
        until = loop.time() + within
        while any(connection.is_serving or connection in self.connections for connection in served):
            left = until - loop.time()
            if left <= 0:
                return
            await asyncio.sleep(min(POLL_INTERVAL, left))

    def _all_connections(self) -> list[OpenConnection]:
        return [*self.connections, *self.prefaces]
