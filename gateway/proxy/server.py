"""The callers' side: aiohttp's low-level server with our limits, and our answers where it finds HTTP broken.

aiohttp reads heads and frames bodies (llhttp, strict); everything it would answer by itself is answered here as an
error of the contract, with its one record. Requests under way are counted, so that a stop can wait for them.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import cast

from aiohttp import web
from aiohttp.http_exceptions import LineTooLong
from aiohttp.streams import EMPTY_PAYLOAD, StreamReader
from aiohttp.web_protocol import RequestHandler, RequestPayloadError

from gateway.errors import BadRequest, GatewayError, HeadersTooLarge, Internal, UriTooLong
from gateway.proxy.delivery import reset

KEEPALIVE = 75.0
LINGER = 5.0
READ_SIZE = 256 * 1024


@dataclass(frozen=True, slots=True)
class Limits:
    """What a caller may send, in bytes and counts."""

    uri: int
    field: int
    fields: int
    connections: int


class CallerConnection(RequestHandler):
    """One caller's connection. `peer` is its address, None for a unix socket; `is_over` says that it came as one too
    many.
    """

    __slots__ = ("_in_head", "_is_broken", "_newest", "is_over", "peer")

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio: a caller connected."""
        self._in_head = self._is_broken = False
        self._newest: StreamReader = EMPTY_PAYLOAD
        super().connection_made(transport)
        peer = transport.get_extra_info("peername")
        self.peer: str | None = peer[0] if isinstance(peer, tuple) else None
        server = cast(CallerServer, self._manager)
        self.is_over = len(server.connections) > server.limits.connections

    def data_received(self, data: bytes) -> None:
        """asyncio: bytes of requests; after broken ones no more are read.

        When they break off a body, aiohttp queues the error behind its request and leaves the body's reader waiting;
        here the reader is told.
        """
        if self._is_broken:
            return
        in_body, count = not self._newest.is_eof(), self._request_count
        super().data_received(data)
        self._in_head = bool(data) and not in_body and self._request_count == count
        if not self._messages:
            return
        message, payload = self._messages[-1]
        self._is_broken = hasattr(message, "exc")
        if not self._is_broken:
            self._newest = payload
        elif not self._newest.is_eof():
            self._newest.set_exception(RequestPayloadError("broken framing"))

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """aiohttp: the reply is written. More may come in after broken bytes, and a close would meet it with RST, which
        can destroy the reply on its way (RFC 9112 §9.6): so only our side closes now, the rest when the caller's has.
        """
        finished = await super().finish_response(request, resp, start_time)
        if self._is_broken and not resp.keep_alive and self.transport is not None:
            self.transport.write_eof()
            await asyncio.sleep(self._lingering_time)  # the caller's close cancels it
            self.force_close()
        return finished

    def _process_keepalive(self) -> None:
        """aiohttp: no request has come for `KEEPALIVE` seconds. One that began is told: NUL can continue no head."""
        is_waiting = self._waiter is not None and not self._waiter.done()
        if self._in_head and is_waiting and self._loop.time() >= self._next_keepalive_close_time:
            self.data_received(b"\0")
        else:
            super()._process_keepalive()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        _message: str | None = None,
    ) -> web.StreamResponse:
        """Answers, in our words, what aiohttp found malformed; the connection closes."""
        server = cast(CallerServer, self._manager)
        return server.on_malformed(request, _translated(status, exc, server.limits))


def _translated(status: int, exc: BaseException | None, limits: Limits) -> GatewayError:
    if status >= 500:
        return Internal(reason=type(exc).__name__)
    if isinstance(exc, LineTooLong):
        # The two limits differ by construction (see CallerServer), which tells the lines apart.
        return UriTooLong() if exc.args[1] == limits.uri else HeadersTooLarge()
    if "Too many headers" in str(exc):
        return HeadersTooLarge()
    return BadRequest("The request is not well-formed HTTP/1.1.", reason=type(exc).__name__)


class CallerServer(web.Server):
    """The protocol factory of the callers' listener."""

    def __init__(
        self,
        handler: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]],
        *,
        on_malformed: Callable[[web.BaseRequest, GatewayError], web.StreamResponse],
        limits: Limits,
    ) -> None:
        super().__init__(handler, handler_cancellation=True)
        self.on_malformed = on_malformed
        field = limits.field + (limits.field == limits.uri)
        self.limits = Limits(limits.uri, field, limits.fields, limits.connections)
        self._settings = {
            "access_log": None,
            "auto_decompress": False,
            "keepalive_timeout": KEEPALIVE,
            "lingering_time": LINGER,
            "max_line_size": limits.uri,
            "max_field_size": field,
            "max_headers": limits.fields,
            "read_bufsize": READ_SIZE,
        }

    def __call__(self) -> RequestHandler:
        """Makes the protocol of one connection. A misspelt setting is a TypeError here, never a silent default."""
        return CallerConnection(self, loop=self._loop, **self._settings)  # type: ignore[arg-type] # one dict, many types

    def cut(self) -> None:
        """Breaks the connections that carry a request, visibly."""
        for connection in self.connections:
            if connection._request_in_progress and connection.transport is not None:  # noqa: SLF001 - as below
                reset(connection.transport)

    def close_idle(self) -> None:
        """Closes the connections that carry no request."""
        for connection in self.connections:
            if not connection._request_in_progress:  # noqa: SLF001 - aiohttp has no public word for it
                connection.force_close()
