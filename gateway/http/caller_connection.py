"""One connection of a caller: an asyncio protocol that reads heads and bodies and has its requests served in turn.

`head_reader` finds and parses heads. A request that cannot be read is answered with an error of `gateway/errors.py`.
Requests of one connection are served one after the other (RFC 9112 §9.3.2).
"""

import asyncio
from typing import Any, Protocol, cast

from gateway.errors import CallerGone, Draining, GatewayError, RequestTimeout
from gateway.http.body_reader import READ_SIZE, BodyReader
from gateway.http.caller_channel import CallerChannel
from gateway.http.caller_listener import CallerListener
from gateway.http.chunked import ChunkedDecoder, split_whole_body
from gateway.http.connection_limits import ConnectionLimits, RefusalReason
from gateway.http.eager_task import EagerTask
from gateway.http.fields import FieldRules
from gateway.http.half_close import HalfCloseMonitor
from gateway.http.head_reader import HeadReader
from gateway.http.head_shapes import HeadShapes
from gateway.http.open_connection import ConnectionInfo, OpenConnection, PrefaceFailure
from gateway.http.request_body import NO_BODY, RequestBody
from gateway.http.request_handler import RequestHandler
from gateway.http.request_head import END_OF_HEAD, RequestHead, RequestLimits

CALLER_TIMEOUT = 75.0
"""Seconds that a head may take, and that a caller may read nothing of its responses."""
REJECTED_TIMEOUT = 5.0
"""Seconds that a connection that is not admitted may be idle, and that its head may take."""
PIPELINE_READ_AHEAD = 64 * 1024
"""Bytes of later requests that are read while one is under way."""
CHUNK_OVERHEAD = 16 * 1024
"""Bytes of chunk extensions and trailers that a body may have."""


class ServerState(Protocol):
    """What the connections of one server share."""

    handler: "RequestHandler[CallerConnection]"
    limits: RequestLimits
    rules: FieldRules
    shapes: HeadShapes[RequestHead]
    connection_limits: ConnectionLimits
    connections: "set[CallerConnection]"
    prefaces: set[OpenConnection]
    keepalive: float
    linger: float

    def admit(self, peer: str | None) -> RefusalReason | None:
        """Count a connection. Return why it is not admitted, or None."""

    def on_preface_failed(
        self, reason: PrefaceFailure, listener: CallerListener, peer: str | None, detail: str
    ) -> None:
        """Report a connection that ends before its first request."""


class CallerConnection(CallerChannel):
    """One caller's connection. `refusal` is set if it is not admitted; `is_serving` while a request is under way;
    `reader.pending` are the bytes behind it, usually none. The handler keeps the route of the last request in
    `last_route`, the rules that accepted address and Host in `accepted_by` and `accepted_host`, and what the last
    proofs of a caller proved in `verified_head`.
    """

    __slots__ = (
        *("_info", "_body", "_deadline", "_discarding", "_error", "_half_close_monitor", "_head_timeout"),
        *("_idle_timeout", "_loop", "_server", "_timer", "_trailing_size"),
        *("accepted_by", "accepted_host", "is_serving", "last_route", "reader", "refusal", "verified_head"),
    )

    def __init__(
        self,
        server: ServerState,
        loop: asyncio.AbstractEventLoop,
        listener: CallerListener,
        *,
        info: ConnectionInfo | None = None,
        error: GatewayError | None = None,
    ) -> None:
        """`info` is set if the connection has been counted already; `error` is the answer to whatever comes."""
        super().__init__(listener)
        self._server = server
        self._loop = loop
        self._timer: asyncio.TimerHandle | None = None
        self._deadline = 0.0
        self.reader = HeadReader(server.limits, server.rules, server.shapes)
        self.handler_task = EagerTask(loop, on_done=self._on_served, on_failed=self._on_handler_failed)
        self.accepted_by: object = None
        self.accepted_host: bytes | None = None
        self.last_route: object = None
        self.verified_head: Any = None
        self._trailing_size = 0
        self._half_close_monitor: HalfCloseMonitor | None = None
        self._idle_timeout = server.keepalive
        self._head_timeout = CALLER_TIMEOUT
        self._error = error
        self._body: RequestBody | None = None
        self._discarding = False
        self.is_serving = False
        self._info = info
        self.refusal: RefusalReason | None = None

    def trailing_size(self) -> int:
        """Return the number of bytes that came behind the current request and cannot begin another."""
        pending = self.reader.pending
        if pending and not self._discarding and self.reader.is_trailing(pending):
            self._trailing_size = len(pending)
        return self._trailing_size

    # Called at a stop -----------------------------------------------------------------------------------------------

    def is_idle(self, since: float) -> bool:
        """Return whether no request is under way or complete, and no byte of one has come after `since`."""
        timeout = self._head_timeout if self.reader.head_started else self._idle_timeout
        is_waiting = not self.is_serving and not self._discarding and self._transport is not None
        return is_waiting and self._deadline - timeout <= since

    def close_idle(self) -> None:
        """Close a connection that `is_idle`; a head that has begun is answered first."""
        if b"\r".startswith(self.reader.pending) or self._discarding:
            self.close()
        else:
            self._fail(Draining(retry_after=1))

    # Called by the transport ----------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio: a caller connected."""
        self._transport = cast(asyncio.Transport, transport)
        if self._info is not None:
            self.peer, self.refusal, self._destination = self._info
        else:
            peer = transport.get_extra_info("peername")
            self.peer = peer[0] if isinstance(peer, tuple) else None
            self.refusal = self._server.admit(self.peer)
        self._server.connections.add(self)
        if self.refusal is not None:
            self._shorten_timeouts()
        self._deadline = self._loop.time() + self._idle_timeout
        self._timer = self._loop.call_at(self._deadline, self._on_timer)

    def data_received(self, data: bytes) -> None:
        """asyncio: bytes of requests; after malformed ones they are discarded."""
        if self._discarding:
            return
        body = self._body
        if body is not None:
            data = body.feed(data)
            if body.is_complete or body.error is not None:
                self._body = None
                self._discarding = body.error is not None
            if not data:
                return
        reader = self.reader
        reader.feed(data)
        if not self.is_serving:
            self._serve_next()
        elif len(reader.pending) > PIPELINE_READ_AHEAD:
            self.pause_reading()

    def eof_received(self) -> bool:
        """asyncio: the caller closed its side. After a whole request it may still wait for the response; else the
        transport closes.
        """
        has_request = self.is_serving or self.reader.contains_head
        if self._discarding or self._body is not None or not has_request or self._transport is None:
            return False
        self._is_half_closed = True
        handler = self._server.handler
        self._half_close_monitor = HalfCloseMonitor(
            self._transport, self._loop, may_wait=lambda: handler.answers_half_closed(self)
        )
        return True

    def connection_lost(self, _exc: Exception | None) -> None:
        """asyncio: the caller is gone."""
        self._transport = None
        self._server.connections.discard(self)
        self._server.connection_limits.release(self.peer, self.refusal)
        if self._half_close_monitor is not None:
            self._half_close_monitor.cancel()
        if self._timer is not None:
            self._timer.cancel()
        self.handler_task.cancel()

    # Internals ------------------------------------------------------------------------------------------------------

    def _shorten_timeouts(self) -> None:
        """Let a connection that is not admitted live on for a moment, so that its first request gets a response that
        names the reason.
        """
        self._idle_timeout = self._head_timeout = REJECTED_TIMEOUT
        if self._server.connection_limits.has_too_many_refused:
            self.abort()

    def _serve_next(self) -> None:
        """Begin the next request, if its head has come. Requests are served one after the other."""
        reader = self.reader
        had_started = reader.head_started
        try:
            if self._error is not None:
                raise self._error
            head = reader.take_head() if reader.pending else None
        except GatewayError as error:
            self._fail(error, reader.rejected_head)
            return
        if head is None:
            if reader.head_started and not had_started:  # the time limit of a head runs from its first byte
                self._set_deadline(self._head_timeout)
            self._wait_for_head()
            return
        self.is_serving = True
        body = NO_BODY if head.error is None and not head.has_body else self._begin_body(head)
        self.handler_task.start(self._server.handler.serve(self, head, body))

    def _wait_for_head(self) -> None:
        """Read on, unless no further head can come."""
        if self._is_half_closed:
            self._close_gracefully()
        elif self._reading_paused:
            self.resume_reading()

    def _on_served(self, keep_alive: bool) -> None:  # noqa: FBT001 - a result
        """Go on after a request. A caller that does not read its responses is waited for, and other connections run
        after one of many pipelined requests.
        """
        if self.write_paused:
            self.handler_task.start(self._wait_for_caller(keep_alive=keep_alive))
            return
        self._deadline = self._loop.time() + self._idle_timeout
        if keep_alive and self.reader.pending:
            self._loop.call_soon(self._serve_pipelined)
            return
        self.is_serving = False
        if not keep_alive:
            self._close_gracefully()
        elif self._reading_paused or self._is_half_closed:
            self._wait_for_head()

    def _serve_pipelined(self) -> None:
        self.is_serving = False
        if self._transport is not None:
            self._serve_next()

    async def _wait_for_caller(self, *, keep_alive: bool) -> bool:
        """Wait until the caller has read its response. Return whether another request may follow."""
        try:
            await self.drain(CALLER_TIMEOUT)
        except CallerGone:
            self.abort()
            return False
        return keep_alive

    def _on_handler_failed(self, error: BaseException) -> None:
        """Abort the connection: the handler has a defect, or was cancelled because the caller is gone."""
        self.is_serving = False
        self._discarding = True
        self.abort()
        if not isinstance(error, asyncio.CancelledError):
            self._loop.call_exception_handler({"message": "serving a request failed", "exception": error})

    def _fail(self, error: GatewayError, data: bytes | None = None) -> None:
        """Answer a request that cannot be read, and end the connection."""
        self._reject(error, self.reader.pending if data is None else data)
        self._close_gracefully()

    def _begin_body(self, head: RequestHead) -> RequestBody:
        """Return the body that follows a head, fed with the bytes of it that have come."""
        if head.error is not None:  # where a body would end is not known
            self._discarding = True
            return NO_BODY
        data = self.reader.take_pending()
        if self._reading_paused:
            self.resume_reading()
        pieces = split_whole_body(data, 0) if head.chunked else [data] if len(data) == head.length else None
        if pieces is not None:  # all of it has come, as most
            return RequestBody.from_whole(pieces, chunked=head.chunked)
        chunks = ChunkedDecoder(CHUNK_OVERHEAD) if head.chunked else None
        body = RequestBody(head.length or 0, decoder=chunks, read_control=self)
        self._body = body
        if data:
            self.data_received(data)
        if self._is_half_closed and not body.is_complete and body.error is None:  # the rest of it cannot come
            self.close()
        elif body.missing_size > READ_SIZE and self._transport is not None:
            self._transport.set_protocol(BodyReader(self, body, self._on_body_bytes))
        return body

    def _on_body_bytes(self, view: memoryview) -> bool:
        """Take bytes of a large body. Return whether their memory may be used again."""
        body = self._body
        if self._discarding or body is None:
            return True
        is_free = body.feed_view(view)
        if body.is_complete:
            self._body = None
            if self._transport is not None:
                self._transport.set_protocol(self)
        return is_free

    def _reject(self, error: GatewayError, data: bytes) -> None:
        """Answer a request that cannot be read, and read nothing after it. Trailing bytes are not a request and get no
        response: a client's pool would take it for the response to its next request.
        """
        self._discarding = True
        pending = self.reader.pending
        if not self.reader.is_trailing(data):
            self._server.handler.reject(self, error, data)
        elif not self._trailing_size:
            rest = 0 if data is pending else len(END_OF_HEAD) + len(pending)
            self._server.handler.log_trailing_bytes(self, len(data) + rest)

    def _close_gracefully(self) -> None:
        """End the connection after its last response. If the caller may still be sending, a close would answer with
        RST, which can destroy the response on its way (RFC 9112 §9.6): close only our side, and the rest once the
        caller has closed its own.
        """
        may_receive = (self._discarding or self._body is not None or self.reader.pending) and not self._is_half_closed
        self._discarding = True
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        if may_receive:
            self.resume_reading()
            transport.write_eof()
            self._set_deadline(self._server.linger)
        else:
            transport.close()

    def _set_deadline(self, seconds: float) -> None:
        """Set the deadline. One timer serves the whole connection: it is set again only when it has expired, or when
        the new deadline is earlier.
        """
        self._deadline = self._loop.time() + seconds
        if self._timer is not None and self._timer.when() > self._deadline:
            self._timer.cancel()
            self._timer = self._loop.call_at(self._deadline, self._on_timer)

    def _on_timer(self) -> None:
        """End a connection that is idle for too long."""
        now = self._loop.time()
        if self.is_serving:
            due = now + min(CALLER_TIMEOUT, self._idle_timeout)
        elif now < self._deadline:
            due = self._deadline
        elif self.reader.may_time_out and not self._discarding:
            self._fail(RequestTimeout("The head of the request did not come to its end in time."))
            due = max(now + self._server.linger, self._deadline)
        elif self._transport is not None and self._transport.is_closing():  # the caller does not read the last bytes
            self.abort()
            return
        else:
            self.close()
            due = now + CALLER_TIMEOUT
        self._timer = self._loop.call_at(due, self._on_timer)
