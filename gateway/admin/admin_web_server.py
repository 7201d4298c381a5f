"""The HTTP server of aiohttp as the admin port uses it: limits, bounded connections, and errors without details.

It is the low-level server, not an application: routing is trivial, and every response is that of the gateway, also for
malformed requests.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

from aiohttp.web_protocol import RequestHandler
from aiohttp.web_request import BaseRequest
from aiohttp.web_response import StreamResponse
from aiohttp.web_server import Server

from gateway.admin.admin_responses import problem_response
from gateway.observe.log import log_event

_log = logging.getLogger("gateway.admin.admin_server")

_LIMITS: Final[dict[str, Any]] = {
    "max_line_size": 16 * 1024,  # the target with which a login returns to the console has a code and a state
    "max_field_size": 16 * 1024,  # browsers send the cookies of a whole domain in one field
    "max_headers": 64,
    "keepalive_timeout": 75.0,
    "lingering_time": 0.0,
    "access_log": None,
}


class AdminConnection(RequestHandler):
    """The protocol of aiohttp without its error pages, which name its version. `used` is the end of the last request,
    `is_busy` is true during one.
    """

    def __init__(self, manager: Server, **options: Any) -> None:
        super().__init__(manager, **options)
        self.is_busy = False
        self.used = time.monotonic()

    def handle_error(
        self,
        request: BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> StreamResponse:
        """Send a problem document without details of the cause, and close the connection."""
        del message  # it quotes the request
        log_event(
            _log, logging.DEBUG, "admin-malformed", "request to the admin port is malformed", cause=type(exc).__name__
        )
        if request.writer.output_size > 0:
            raise ConnectionError("a response has already started")
        detail = "The request is malformed." if status < 500 else "The gateway failed to answer."
        response = problem_response(status, detail)
        response.force_close()
        return response


class AdminWebServer(Server):
    """The server of aiohttp with `AdminConnection` as its protocol. It holds at most `max_connections`: a further
    connection replaces the one that was unused for the longest time.
    """

    def __init__(self, handler: Callable[[BaseRequest], Awaitable[StreamResponse]], *, max_connections: int) -> None:
        super().__init__(handler, **_LIMITS)
        self.max_connections = max_connections
        self._open: set[AdminConnection] = set()

    def __call__(self) -> RequestHandler:
        """Return the protocol of a new connection."""
        return AdminConnection(self, loop=self._loop, **self._kwargs)

    def connection_made(self, handler: RequestHandler, transport: asyncio.Transport) -> None:
        """Register a connection."""
        super().connection_made(handler, transport)
        if len(self._open) >= self.max_connections:
            self.make_room()
        assert isinstance(handler, AdminConnection)
        self._open.add(handler)

    def connection_lost(self, handler: RequestHandler, exc: BaseException | None = None) -> None:
        """Unregister a connection."""
        super().connection_lost(handler, exc)
        assert isinstance(handler, AdminConnection)
        self._open.discard(handler)

    def make_room(self) -> None:
        """Close the connection that was unused for the longest time; a busy one only if all are busy."""
        if self._open:
            oldest = min(self._open, key=lambda handler: (handler.is_busy, handler.used))
            self._open.discard(oldest)
            if oldest.transport is not None:
                oldest.transport.abort()
