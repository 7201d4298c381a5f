"""One connection of a caller: an asyncio protocol that reads heads and bodies and has its requests served in turn.

`head_reader` finds and parses heads. A request that cannot be read is answered with an error of `gateway/errors.py`.
Requests of one connection are served one after the other (RFC 9112 §9.3.2).
"""

import asyncio
from typing import Protocol, cast

from gateway.errors import CallerGone, Draining, GatewayError, RequestTimeout
from gateway.http.caller_listener import CallerListener
from gateway.http.chunked import ChunkedDecoder
from gateway.http.connection_limits import ConnectionLimits, RefusalReason
from gateway.http.fields import FieldRules
from gateway.http.flow_control import FlowControl
from gateway.http.half_close import HalfCloseMonitor
from gateway.http.head_reader import END_OF_HEAD, HeadReader
from gateway.http.head_shapes import HeadShapes
from gateway.http.local_address import LocalAddress
from gateway.http.open_connection import Arrival, ArrivalFailure, OpenConnection, reset_on_close
from gateway.http.request_body import NO_BODY, RequestBody
from gateway.http.request_head import RequestHead, RequestLimits
from gateway.system.peer_credentials import peer_user_id

CALLER_TIMEOUT = 75.0
"""Seconds that a head may take, and that a caller may read nothing of its responses."""
REJECTED_TIMEOUT = 5.0
"""Seconds that a connection that is not admitted may be idle, and that its head may take."""
PIPELINE_READ_AHEAD = 64 * 1024
"""Bytes of later requests that are read while one is under way."""
CHUNK_OVERHEAD = 16 * 1024
"""Bytes of chunk extensions and trailers that a body may have."""


class RequestHandler(Protocol):
    """Serves the requests of all connections."""

    async def serve(self, caller: "CallerConnection", head: RequestHead, body: RequestBody) -> bool:
        """Answer one request. Return whether another may follow on its connection."""

    def reject(self, caller: "CallerConnection", error: GatewayError, data: bytes) -> None:
        """Answer a request that cannot be read; `data` is its beginning."""

    def log_trailing(self, caller: "CallerConnection", count: int) -> None:
        """Log bytes that came behind a request after its record was written; the connection ends."""

    def is_allowed(self, peer: str | None) -> bool:
        """Return whether this address may call."""

    def answers_half_closed(self, caller: "CallerConnection") -> bool:
        """Return whether a caller that has closed its sending side gets the response to its request."""


class ServerState(Protocol):
    """What the connections of one server share."""

    handler: RequestHandler
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

    def on_arrival_failed(
        self, reason: ArrivalFailure, listener: CallerListener, peer: str | None, detail: str
    ) -> None:
        """Report a connection that ends before its first request."""


class CallerConnection(FlowControl):
    """One caller's connection. `peer` is its address, None for a unix socket; `refusal` is set if it is not admitted;
    `is_serving` while a request is under way, in `task`. The handler keeps the route of the last request in
    `last_route`, and what the last proofs of a caller proved in `verified_head`.
    """

    __slots__ = (
        *(
            "_arrival",
            "_body",
            "_deadline",
            "_destination",
            "_discarding",
            "_error",
            "_half_close_monitor",
            "_head_timeout",
            "_is_half_closed",
            "_idle_timeout",
            "_listener",
            "_loop",
        ),
        *("_reader", "_reading_paused", "_server", "_timer", "_trailing_size", "_transport", "_waiter"),
        *("is_serving", "last_route", "peer", "refusal", "task", "verified_head"),
    )

    def __init__(
        self,
        server: ServerState,
        loop: asyncio.AbstractEventLoop,
        listener: CallerListener,
        *,
        arrival: Arrival | None = None,
        error: GatewayError | None = None,
    ) -> None:
        """`arrival` is set if the connection has been counted already; `error` is the answer to whatever comes."""
        super().__init__()
        self._server = server
        self._listener = listener
        self._loop = loop
        self._transport: asyncio.Transport | None = None
        self.task: asyncio.Task[None] | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._deadline = 0.0
        self._reader = HeadReader(server.limits, server.rules, server.shapes)
        self.last_route: object = None
        self.verified_head: object = None
        self._trailing_size = 0
        self._is_half_closed = False
        self._half_close_monitor: HalfCloseMonitor | None = None
        self._idle_timeout = server.keepalive
        self._head_timeout = CALLER_TIMEOUT
        self._error = error
        self._body: RequestBody | None = None
        self._discarding = self._reading_paused = False
        self.is_serving = False
        self._arrival = arrival
        self._destination: tuple[str, int] | None = None
        self.peer: str | None = None
        self.refusal: RefusalReason | None = None

    # Called by the handler ------------------------------------------------------------------------------------------

    def write(self, parts: list[bytes]) -> None:
        """Send bytes. Raise CallerGone if the caller hung up."""
        transport = self._transport
        if transport is None or transport.is_closing():
            raise CallerGone
        if len(parts) == 1:
            transport.write(parts[0])
        else:
            transport.writelines(parts)

    async def drain(self, idle: float) -> None:
        """Wait until the caller has room. Raise CallerGone if it reads nothing for `idle` seconds."""
        while self.write_paused and (transport := self._transport) is not None:
            if not await self.wait_writable(transport, idle):
                raise CallerGone(reason="the caller stopped reading")

    def abort(self) -> None:
        """End the connection with RST."""
        if self._transport is not None:
            reset_on_close(self._transport)
            self._transport.abort()

    @property
    def is_tls(self) -> bool:
        """The caller uses TLS."""
        return self._listener.is_tls

    @property
    def scheme(self) -> str:
        """The scheme of the URL that the caller used."""
        return self._listener.scheme

    def local_authority(self) -> str:
        """Return the address that the caller connected to as `HOST:PORT`; empty for a unix socket."""
        local = self.local_address()
        if local is None:
            return ""
        host, port, _ = local
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    def local_address(self) -> LocalAddress | None:
        """Return what the caller connected to; None for a unix socket."""
        name = self._destination
        if name is None and self._transport is not None:
            name = self._transport.get_extra_info("sockname")
        return LocalAddress(name[0], name[1], self._listener.host) if isinstance(name, tuple) else None

    @property
    def peer_certificate(self) -> bytes | None:
        """The client certificate (DER) that the TLS handshake verified; None without one."""
        tls = None if self._transport is None else self._transport.get_extra_info("ssl_object")
        return None if tls is None else tls.getpeercert(binary_form=True)

    @property
    def peer_user_id(self) -> int | None:
        """The user of the process at the other end of a unix socket; None for TCP."""
        if self._transport is None or self.peer is not None:
            return None
        return peer_user_id(self._transport.get_extra_info("socket"))

    @property
    def trailing_size(self) -> int:
        """The number of bytes that came behind the current request and cannot begin another."""
        pending = self._reader.pending
        if pending and not self._discarding and self._reader.is_trailing(pending):
            self._trailing_size = len(pending)
        return self._trailing_size

    # Called by the body ---------------------------------------------------------------------------------------------

    def pause_reading(self) -> None:
        """Stop reading from the caller."""
        if self._transport is not None and not self._transport.is_closing():
            self._reading_paused = True
            if not self._is_half_closed:
                self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Read from the caller again."""
        if self._transport is not None and not self._transport.is_closing():
            self._reading_paused = False
            if not self._is_half_closed:
                self._transport.resume_reading()

    # Called at a stop -----------------------------------------------------------------------------------------------

    def close(self) -> None:
        """End the connection once the bytes written are sent."""
        if self._transport is not None:
            self._transport.close()

    @property
    def is_finished(self) -> bool:
        """The connection is closed, and the kernel has all bytes that were written."""
        transport = self._transport
        return transport is None or (transport.is_closing() and not transport.get_write_buffer_size())

    def is_idle(self, since: float) -> bool:
        """Return whether no request is under way or complete, and no byte of one has come after `since`."""
        is_waiting = self._waiter is not None and not self._waiter.done() and not self._reader.has_head
        timeout = self._head_timeout if self._reader.head_started else self._idle_timeout
        return is_waiting and self._deadline - timeout <= since

    def descriptor(self) -> int:
        """Return the file descriptor of the connection; -1 when it is closed."""
        return -1 if self._transport is None else int(self._transport.get_extra_info("socket").fileno())

    def close_idle(self) -> None:
        """Close a connection that `is_idle`; a head that has begun is answered first."""
        if self._reader.pending in {b"", b"\r"} or self._waiter is None:
            self.close()
        else:
            self._error = Draining(retry_after=1)
            self._waiter.set_result(None)

    # Called by the transport ----------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio: a caller connected."""
        self._transport = cast(asyncio.Transport, transport)
        if self._arrival is not None:
            self.peer, self.refusal, self._destination = self._arrival
        else:
            peer = transport.get_extra_info("peername")
            self.peer = peer[0] if isinstance(peer, tuple) else None
            self.refusal = self._server.admit(self.peer)
        self._server.connections.add(self)
        if self.refusal is not None:
            self._give_up_soon()
        self._deadline = self._loop.time() + self._idle_timeout
        self._timer = self._loop.call_at(self._deadline, self._on_timer)
        self.task = self._loop.create_task(self._serve_requests())

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
        reader = self._reader
        reader.feed(data)
        if self._waiter is not None and not reader.has_head:  # the loop may read again before the task runs
            self._scan_for_head()
        elif len(reader.pending) > PIPELINE_READ_AHEAD:
            self.pause_reading()

    def eof_received(self) -> bool:
        """asyncio: the caller closed its side. After a whole request it may still wait for the response; else the
        transport closes.
        """
        has_request = self.is_serving or self._reader.contains_head
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
        if self.task is not None:
            self.task.cancel()

    # Internals ------------------------------------------------------------------------------------------------------

    def _give_up_soon(self) -> None:
        """Let a connection that is not admitted live on for a moment, so that its first request gets a response that
        names the reason.
        """
        self._idle_timeout = self._head_timeout = REJECTED_TIMEOUT
        if self._server.connection_limits.has_too_many_refused:
            self.abort()

    async def _serve_requests(self) -> None:
        """Serve the requests of this connection one after the other."""
        handler = self._server.handler
        keep_alive = True
        while keep_alive and (head_bytes := await self._read_head_bytes()) is not None:
            self.is_serving = True
            try:
                head = self._parse_head(head_bytes)
                keep_alive = head is not None and await handler.serve(self, head, self._begin_body(head))
                await self._apply_backpressure()
            except CallerGone:
                keep_alive = False
                self.abort()
            except BaseException:
                self.abort()
                raise
            finally:
                self.is_serving = False
            self._deadline = self._loop.time() + self._idle_timeout
        await self._lingering_close()

    async def _apply_backpressure(self) -> None:
        """Wait for a caller that does not read its responses; let other connections run after one of many pipelined
        requests. Raise CallerGone if it reads nothing for long.
        """
        if self.write_paused:
            await self.drain(CALLER_TIMEOUT)
        if self._reader.pending:
            await asyncio.sleep(0)

    def _parse_head(self, head_bytes: bytes) -> RequestHead | None:
        """Parse a head, or answer why it is malformed."""
        try:
            return self._reader.parse_head(head_bytes)
        except GatewayError as error:
            self._reject(error, head_bytes)
            return None

    async def _read_head_bytes(self) -> bytes | None:
        """Return the next head without its last line ends; None if the caller sent none in time."""
        reader = self._reader
        if reader.pending:
            self._scan_for_head()
        while not reader.has_head and self._error is None:
            if self._is_half_closed:
                return None
            if self._reading_paused:
                self.resume_reading()
            self._waiter = self._loop.create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        if self._error is not None:
            self._reject(self._error, reader.pending)
            return None
        return reader.take_head_bytes()

    def _scan_for_head(self) -> None:
        """Look for a head in the pending bytes, and wake the task that waits for it."""
        reader = self._reader
        had_started = reader.head_started
        try:
            reader.scan()
        except GatewayError as error:
            self._error = error
        if reader.head_started and not had_started:  # the time limit of a head runs from its first byte
            self._deadline = self._loop.time() + self._head_timeout
            if self._timer is not None and self._timer.when() > self._deadline:
                self._timer.cancel()
                self._timer = self._loop.call_at(self._deadline, self._on_timer)
        if (reader.has_head or self._error is not None) and self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _begin_body(self, head: RequestHead) -> RequestBody:
        """Return the body that follows a head, fed with the bytes of it that have come."""
        if head.error is not None:  # where a body would end is not known
            self._discarding = True
        if head.error is not None or not head.has_body:
            return NO_BODY
        chunks = ChunkedDecoder(CHUNK_OVERHEAD) if head.chunked else None
        body = RequestBody(head.length or 0, decoder=chunks, read_control=self)
        self._body = body
        data = self._reader.take_pending()
        if self._reading_paused:
            self.resume_reading()
        if data:
            self.data_received(data)
        if self._is_half_closed and not body.is_complete and body.error is None:  # the rest of it cannot come
            self.close()
        return body

    def _reject(self, error: GatewayError, data: bytes) -> None:
        """Answer a request that cannot be read, and read nothing after it. Trailing bytes are not a request and get no
        response: a client's pool would take it for the response to its next request.
        """
        self._discarding = True
        pending = self._reader.pending
        if not self._reader.is_trailing(data):
            self._server.handler.reject(self, error, data)
        elif not self._trailing_size:
            rest = 0 if data is pending else len(END_OF_HEAD) + len(pending)
            self._server.handler.log_trailing(self, len(data) + rest)

    async def _lingering_close(self) -> None:
        """End the connection after its last response. If the caller may still be sending, a close would answer with
        RST, which can destroy the response on its way (RFC 9112 §9.6): close only our side, and the rest once the
        caller has closed its own.
        """
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        if (self._discarding or self._body is not None or self._reader.pending) and not self._is_half_closed:
            self._discarding = True
            self.resume_reading()
            transport.write_eof()
            await asyncio.sleep(self._server.linger)  # the caller's close cancels it
        transport.close()

    def _on_timer(self) -> None:
        """Check the deadline. One timer serves the whole connection: it is set again only when it has expired."""
        now = self._loop.time()
        if self.is_serving or now < self._deadline:
            due = now + min(CALLER_TIMEOUT, self._idle_timeout) if self.is_serving else self._deadline
            self._timer = self._loop.call_at(due, self._on_timer)
        elif self._reader.may_time_out and self._waiter is not None and not self._waiter.done():
            self._error = RequestTimeout("The head of the request did not come to its end in time.")
            self._waiter.set_result(None)
        elif self._transport is not None and self._transport.is_closing():  # the caller does not read the last bytes
            self.abort()
        else:
            self.close()
            self._timer = self._loop.call_at(now + CALLER_TIMEOUT, self._on_timer)
