"""One connection of a caller: an asyncio protocol that reads heads and bodies and has its requests served in turn.

`request_head` decides what a head means. A request that cannot be read is answered with an error of the contract.
Requests of one connection are served one after the other (RFC 9112 §9.3.2).
"""

import asyncio
import socket
import struct
from contextlib import suppress
from typing import Protocol, cast

from gateway.errors import BadRequest, CallerGone, Draining, GatewayError, RequestTimeout
from gateway.http.chunked import ChunkedDecoder
from gateway.http.connection_limits import ConnectionLimits, RefusalReason
from gateway.http.fields import FieldRules
from gateway.http.flow_control import FlowControl
from gateway.http.half_close import is_gone, keep_probing
from gateway.http.request_body import NO_BODY, RequestBody
from gateway.http.request_head import (
    RequestHead,
    RequestLimits,
    check_partial_head,
    may_begin_request,
    read_request,
    skip_empty_lines,
)

KEEPALIVE_TIMEOUT = 75.0
"""Seconds that a connection may be idle, and that a head may take."""
REJECTED_TIMEOUT = 5.0
"""The same for a connection that is not admitted."""
FIRST_PROBE, PROBE_INTERVAL = 0.01, 1.0
"""Seconds until a caller that has closed its side is first probed, and between further probes."""
PIPELINE_READ_AHEAD = 64 * 1024
"""Bytes of later requests that are read while one is under way."""
CACHED_HEAD_LIMIT = 4 * 1024
"""Bytes of a head that is cached with its connection."""
CHUNK_OVERHEAD = 16 * 1024
"""Bytes of chunk extensions and trailers that a body may have."""
EMPTY_LINES_LIMIT = 1024
"""Bytes of empty lines that are skipped before a request."""
END_OF_HEAD = b"\r\n\r\n"
RESET = struct.pack("ii", 1, 0)  # struct linger: on, 0 seconds


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


class ServerState(Protocol):
    """What the connections of one server share."""

    handler: RequestHandler
    limits: RequestLimits
    rules: FieldRules
    admitted: ConnectionLimits
    connections: "set[CallerConnection]"
    linger: float

    def on_refused(self, reason: RefusalReason, peer: str | None, /) -> None:
        """Count a connection that is not admitted."""


class CallerConnection(FlowControl):
    """One caller's connection. `peer` is its address, None for a unix socket; `refusal` is set if it is not admitted;
    `is_serving` while a request is under way, in `task`. The handler keeps the match of the last head in
    `cached_match`.
    """

    __slots__ = (
        *("_body", "_buffer", "_deadline", "_discarding", "_error", "_has_ended", "_head_end", "_head_started"),
        *("_idle_timeout", "_last_block", "_last_head", "_loop", "_probe", "_reading_paused", "_scanned", "_server"),
        *("_skipped", "_timer", "_trailing", "_transport", "_waiter"),
        *("cached_match", "is_serving", "peer", "refusal", "task"),
    )

    def __init__(self, server: ServerState, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._server = server
        self._loop = loop
        self._transport: asyncio.Transport | None = None
        self.task: asyncio.Task[None] | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._deadline = 0.0
        self._buffer = b""
        self._last_block: bytes | None = None
        self._last_head: RequestHead | None = None
        self.cached_match: object = None
        self._scanned = 0
        self._head_end = -1
        self._skipped = self._trailing = 0
        self._head_started = self._has_ended = False
        self._probe: asyncio.TimerHandle | None = None
        self._idle_timeout = KEEPALIVE_TIMEOUT
        self.refusal: RefusalReason | None = None
        self._error: GatewayError | None = None
        self._body: RequestBody | None = None
        self._discarding = self._reading_paused = False
        self.is_serving = False
        self.peer: str | None = None

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
            with suppress(OSError):
                self._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            self._transport.abort()

    def address(self) -> str:
        """Return the address that the caller connected to as `HOST:PORT`; empty for a unix socket."""
        local = self.local_address()
        if local is None:
            return ""
        host, port = local
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    def local_address(self) -> tuple[str, int] | None:
        """Return the address and port that the caller connected to; None for a unix socket."""
        name = None if self._transport is None else self._transport.get_extra_info("sockname")
        return (name[0], name[1]) if isinstance(name, tuple) else None

    @property
    def trailing(self) -> int:
        """The number of bytes that came behind the current request and cannot begin another."""
        if self._buffer and not self._discarding and self._is_trailing(self._buffer):
            self._trailing = len(self._buffer)
        return self._trailing

    # Called by the body ---------------------------------------------------------------------------------------------

    def pause_reading(self) -> None:
        """Stop reading from the caller."""
        if self._transport is not None and not self._transport.is_closing():
            self._reading_paused = True
            if not self._has_ended:
                self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Read from the caller again."""
        if self._transport is not None and not self._transport.is_closing():
            self._reading_paused = False
            if not self._has_ended:
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
        is_waiting = self._waiter is not None and not self._waiter.done() and self._head_end < 0
        return is_waiting and self._deadline - self._idle_timeout <= since

    def descriptor(self) -> int:
        """Return the file descriptor of the connection; -1 when it is closed."""
        return -1 if self._transport is None else int(self._transport.get_extra_info("socket").fileno())

    def close_idle(self) -> None:
        """Close a connection that `is_idle`; a head that has begun is answered first."""
        if self._buffer in {b"", b"\r"} or self._waiter is None:
            self.close()
        else:
            self._error = Draining(retry_after=1)
            self._waiter.set_result(None)

    # Called by the transport ----------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio: a caller connected."""
        self._transport = cast(asyncio.Transport, transport)
        peer = transport.get_extra_info("peername")
        self.peer = peer[0] if isinstance(peer, tuple) else None
        self._admit()
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
        self._buffer = self._buffer + data if self._buffer else data
        if self._waiter is not None and self._head_end < 0:  # the loop may read again before the task runs
            self._find_head_end()
        elif len(self._buffer) > PIPELINE_READ_AHEAD:
            self.pause_reading()

    def eof_received(self) -> bool:
        """asyncio: the caller closed its side. After a whole request it may still wait for the response; else the
        transport closes.
        """
        has_request = self.is_serving or self._head_end >= 0 or END_OF_HEAD in self._buffer
        if self._discarding or self._body is not None or not has_request:
            return False
        self._has_ended = True
        self._schedule_probe(FIRST_PROBE, was_held=False)
        return True

    def connection_lost(self, _exc: Exception | None) -> None:
        """asyncio: the caller is gone."""
        self._transport = None
        self._server.connections.discard(self)
        self._server.admitted.release(self.peer, self.refusal)
        if self._probe is not None:
            self._probe.cancel()
        if self._timer is not None:
            self._timer.cancel()
        if self.task is not None:
            self.task.cancel()

    # Internals ------------------------------------------------------------------------------------------------------

    def _admit(self) -> None:
        """Count the connection. One that is not admitted lives on for a moment, so that its first request gets a
        response that names the reason.
        """
        server = self._server
        server.connections.add(self)
        self.refusal = server.admitted.admit(self.peer, is_allowed=server.handler.is_allowed(self.peer))
        if self.refusal is not None:
            self._idle_timeout = REJECTED_TIMEOUT
            server.on_refused(self.refusal, self.peer)
            if server.admitted.is_crowded:
                self.abort()

    def _schedule_probe(self, delay: float, *, was_held: bool) -> None:
        """Probe, now and then, whether a caller that has closed its side is gone: then abort, as when it hangs up."""

        def probe() -> None:
            transport = self._transport
            if transport is None or transport.is_closing():
                return
            sock = transport.get_extra_info("socket")
            if delay == FIRST_PROBE:
                keep_probing(sock)
            gone, is_held = is_gone(sock, was_held=was_held)
            if gone:
                transport.abort()
            else:
                self._schedule_probe(PROBE_INTERVAL, was_held=is_held)

        self._probe = self._loop.call_later(delay, probe)

    async def _serve_requests(self) -> None:
        """Serve the requests of this connection one after the other."""
        handler = self._server.handler
        keep_alive = True
        while keep_alive and (block := await self._next_head()) is not None:
            self.is_serving = True
            try:
                head = self._read_head(block)
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
            await self.drain(KEEPALIVE_TIMEOUT)
        if self._buffer:
            await asyncio.sleep(0)

    def _read_head(self, block: bytes) -> RequestHead | None:
        """Parse a head, or answer why it is malformed. Callers that keep their connection often repeat their head byte
        for byte: the last one is cached.
        """
        if block == self._last_block:
            return self._last_head
        try:
            self._last_head = read_request(block, self._server.limits, self._server.rules)
        except GatewayError as error:
            self._reject(error, block)
            return None
        self._last_block = block if len(block) <= CACHED_HEAD_LIMIT else None
        return self._last_head

    async def _next_head(self) -> bytes | None:
        """Return the next head without its last line ends; None if the caller sent none in time."""
        if self._buffer:
            self._find_head_end()
        while self._head_end < 0 and self._error is None:
            if self._has_ended:
                return None
            if self._reading_paused:
                self.resume_reading()
            self._waiter = self._loop.create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        if self._error is not None:
            self._reject(self._error, self._buffer)
            return None
        block, self._buffer = self._buffer[: self._head_end], self._buffer[self._head_end + 4 :]
        self._head_end, self._scanned, self._skipped, self._head_started = -1, 0, 0, False
        return block

    def _find_head_end(self) -> None:
        buffer = self._buffer
        if buffer[:1] <= b"\r" or self._skipped > EMPTY_LINES_LIMIT:  # an empty line, or no beginning of a request
            buffer = self._skip_empty_lines()
        self._head_end = buffer.find(END_OF_HEAD, self._scanned)
        if self._head_end < 0:
            self._check_partial_head(buffer)
        if (self._head_end >= 0 or self._error is not None) and self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _skip_empty_lines(self) -> bytes:
        """Skip empty lines, which some clients send behind a body (RFC 9112 §2.2). They never get a response: a
        client's pool would take it for the response to its next request.
        """
        rest = skip_empty_lines(self._buffer)
        self._skipped += len(self._buffer) - len(rest)
        self._buffer, self._scanned = rest, 0
        if self._skipped > EMPTY_LINES_LIMIT and rest:
            self._error = BadRequest(f"More than {EMPTY_LINES_LIMIT} bytes of empty lines came before the request.")
        return rest

    def _check_partial_head(self, buffer: bytes) -> None:
        if buffer in {b"", b"\r"}:
            return
        if not self._head_started:  # the time limit of a head runs from its first byte
            self._head_started = True
            self._deadline = self._loop.time() + self._idle_timeout
        try:
            check_partial_head(buffer, self._scanned, self._server.limits)
        except GatewayError as error:
            self._error = error
        if self._is_trailing(buffer):
            self._error = BadRequest()
        self._scanned = max(0, len(buffer) - 3)

    def _is_trailing(self, data: bytes) -> bool:
        """Return whether these bytes follow the body of a request and do not begin another request."""
        return self._last_head is not None and self._last_head.may_trail and not may_begin_request(data)

    def _begin_body(self, head: RequestHead) -> RequestBody:
        """Return the body that follows a head, fed with the bytes of it that have come."""
        if head.error is not None:  # where a body would end is not known
            self._discarding = True
        if head.error is not None or not head.has_body:
            return NO_BODY
        chunks = ChunkedDecoder(CHUNK_OVERHEAD) if head.chunked else None
        body = RequestBody(head.length or 0, chunks=chunks, reading=self)
        self._body = body
        data, self._buffer = self._buffer, b""
        if self._reading_paused:
            self.resume_reading()
        if data:
            self.data_received(data)
        if self._has_ended and not body.is_complete and body.error is None:  # the rest of it cannot come
            self.close()
        return body

    def _reject(self, error: GatewayError, data: bytes) -> None:
        """Answer a request that cannot be read, and read nothing after it. Trailing bytes are not a request and get no
        response: a client's pool would take it for the response to its next request.
        """
        self._discarding = True
        if not self._is_trailing(data):
            self._server.handler.reject(self, error, data)
        elif not self._trailing:
            rest = 0 if data is self._buffer else len(END_OF_HEAD) + len(self._buffer)
            self._server.handler.log_trailing(self, len(data) + rest)

    async def _lingering_close(self) -> None:
        """End the connection after its last response. If the caller may still be sending, a close would answer with
        RST, which can destroy the response on its way (RFC 9112 §9.6): close only our side, and the rest once the
        caller has closed its own.
        """
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        if (self._discarding or self._body is not None or self._buffer) and not self._has_ended:
            self._discarding = True
            self.resume_reading()
            transport.write_eof()
            await asyncio.sleep(self._server.linger)  # the caller's close cancels it
        transport.close()

    def _on_timer(self) -> None:
        """Check the deadline. One timer serves the whole connection: it is set again only when it has expired."""
        now = self._loop.time()
        if self.is_serving or now < self._deadline:
            due = now + KEEPALIVE_TIMEOUT if self.is_serving else self._deadline
            self._timer = self._loop.call_at(due, self._on_timer)
        elif self._is_head_due() and self._waiter is not None and not self._waiter.done():
            self._error = RequestTimeout("The head of the request did not come to its end in time.")
            self._waiter.set_result(None)
        elif self._transport is not None and self._transport.is_closing():  # the caller does not read the last bytes
            self.abort()
        else:
            self.close()
            self._timer = self._loop.call_at(now + KEEPALIVE_TIMEOUT, self._on_timer)

    def _is_head_due(self) -> bool:
        """Return whether a head has begun. A single word behind a body may as well be the end of a longer body."""
        return self._head_started and (self._last_head is None or not self._last_head.may_trail or b" " in self._buffer)
