"""The callers' side: one asyncio protocol per connection, which reads heads and bodies and serves request by request.

What a head says is settled in `requests`; what cannot be read is answered as an error of the contract, with its one
record. Requests of one connection are served in turn (RFC 9112 §9.3.2); requests under way are counted by the walk, so
that a stop can wait for them.
"""

import asyncio
import math
import socket
import struct
from collections.abc import Callable
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
from gateway.system.bind import are_readable

KEEPALIVE_TIMEOUT = 75.0
"""Seconds that a connection may stand idle, and that a head may take."""
REJECTED_TIMEOUT = 5.0
"""The same for one that will not be served."""
LINGER_TIMEOUT = 5.0
GRACE = 1.0
"""Seconds that a connection without a request stays open at a stop: a request may be on its way."""
LOOK = 0.02
WATCH_FIRST, WATCH = 0.01, 1.0  # seconds between looks at a caller that has ended its side
READ_AHEAD = 64 * 1024  # bytes of later requests that are read while one is under way
CACHED_HEAD_LIMIT = 4 * 1024  # bytes of a head that is remembered with its connection
CHUNK_OVERHEAD = 16 * 1024  # bytes that chunk extensions and trailers of a body may have
EMPTY = 1024  # bytes of empty lines that are skipped before a request
END_OF_HEAD = b"\r\n\r\n"
RESET = struct.pack("ii", 1, 0)  # struct linger: on, 0 seconds


class RequestHandler(Protocol):
    """What serves the requests."""

    async def serve(self, caller: "CallerConnection", head: RequestHead, body: RequestBody) -> bool:
        """Answers one request; true when another may follow on its connection."""

    def reject(self, caller: "CallerConnection", error: GatewayError, said: bytes) -> None:
        """Answers what could not even be read as a request."""

    def note_trailing(self, caller: "CallerConnection", count: int) -> None:
        """Tells operators of bytes behind a request whose record has been written; the connection ends."""

    def is_allowed(self, peer: str | None) -> bool:
        """Whether this address may call."""


class CallerConnection(FlowControl):
    """One caller's connection. `peer` is its address, None for a unix socket; `refusal` says why it holds no place;
    `is_serving` that a request is under way, in `task`; `is_behind` that it takes its reply slower than it comes;
    `settled` is for the walk to remember what the last head came to.
    """

    __slots__ = (
        *("_last_block", "_body", "_buffer", "_deadline", "_head_end", "_error", "_head_started", "_last_head"),
        *(
            "_has_ended",
            "_discarding",
            "_reading_paused",
            "_loop",
            "_idle_timeout",
            "_scanned",
            "_server",
            "_skipped",
            "_timer",
        ),
        *("_trailing", "_transport", "_waiter", "_watch", "is_serving", "peer", "refusal", "cached_match", "task"),
    )

    def __init__(self, server: "CallerServer", loop: asyncio.AbstractEventLoop) -> None:
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
        self._watch: asyncio.TimerHandle | None = None
        self._idle_timeout = KEEPALIVE_TIMEOUT
        self.refusal: RefusalReason | None = None
        self._error: GatewayError | None = None
        self._body: RequestBody | None = None
        self._discarding = self._reading_paused = False
        self.is_serving = False
        self.peer: str | None = None

    # Called by the walk ---------------------------------------------------------------------------------------------

    def write(self, parts: list[bytes]) -> None:
        """Sends bytes. Raises CallerGone where the caller hung up."""
        transport = self._transport
        if transport is None or transport.is_closing():
            raise CallerGone
        if len(parts) == 1:
            transport.write(parts[0])
        else:
            transport.writelines(parts)

    async def drain(self, idle: float) -> None:
        """Waits until the caller has room. Raises CallerGone where it takes nothing for `idle` seconds."""
        while self.write_paused and (transport := self._transport) is not None:
            if not await self.wait_writable(transport, idle):
                raise CallerGone(reason="the caller stopped reading")

    def abort(self) -> None:
        """Ends the connection with RST."""
        if self._transport is not None:
            with suppress(OSError):
                self._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            self._transport.abort()

    def close(self) -> None:
        """Ends the connection once what was written is out."""
        if self._transport is not None:
            self._transport.close()

    def address(self) -> str:
        """The address that the caller came to, as `HOST:PORT`; empty for a unix socket."""
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
        """Bytes that came behind the present request and cannot begin another; for its record and its reply."""
        if self._buffer and not self._discarding and self._is_trailing(self._buffer):
            self._trailing = len(self._buffer)
        return self._trailing

    # Called at a stop -----------------------------------------------------------------------------------------------

    @property
    def over_limit(self) -> bool:
        """The connection is closed, and the caller's side of the system has all that was written."""
        transport = self._transport
        return transport is None or (transport.is_closing() and not transport.get_write_buffer_size())

    def is_resting(self, since: float) -> bool:
        """No request is under way or complete here, nor has any byte of one come after `since`."""
        is_waiting = self._waiter is not None and not self._waiter.done() and self._head_end < 0
        return is_waiting and self._deadline - self._idle_timeout <= since

    def descriptor(self) -> int:
        """The file descriptor of the connection; -1 when it is closed."""
        return -1 if self._transport is None else int(self._transport.get_extra_info("socket").fileno())

    def end_rest(self) -> None:
        """Closes a connection that `is_resting`; a head that has begun is answered first."""
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
        """asyncio: bytes of requests; behind broken ones none are read."""
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
        if self._waiter is not None and self._head_end < 0:  # a loop may read more before the walk has had its turn
            self._find_head_end()
        elif len(self._buffer) > READ_AHEAD:
            self._set_reading(False)  # noqa: FBT003 - go or stop, in one word

    def eof_received(self) -> bool:
        """asyncio: the caller ended its side. After a whole request that may be all that it has to say, and the reply
        is still awaited; else the transport closes.
        """
        has_request = self.is_serving or self._head_end >= 0 or END_OF_HEAD in self._buffer
        if self._discarding or self._body is not None or not has_request:
            return False
        self._has_ended = True
        self._watch_peer(WATCH_FIRST, was_held=False)
        return True

    def connection_lost(self, _exc: Exception | None) -> None:
        """asyncio: the caller is gone."""
        self._transport = None
        self._server.connections.discard(self)
        self._server.admitted.release(self.peer, self.refusal)
        if self._watch is not None:
            self._watch.cancel()
        if self._timer is not None:
            self._timer.cancel()
        if self.task is not None:
            self.task.cancel()

    # Inside ---------------------------------------------------------------------------------------------------------

    def _admit(self) -> None:
        """Whoever may not call, or comes as one too many, is told so if it asks at once; it takes nobody's place."""
        server = self._server
        server.connections.add(self)
        self.refusal = server.admitted.admit(self.peer, is_allowed=server.handler.is_allowed(self.peer))
        if self.refusal is not None:
            self._idle_timeout = REJECTED_TIMEOUT
            server.on_refused(self.refusal, self.peer)
            if server.admitted.is_crowded:
                self.abort()

    def _watch_peer(self, delay: float, *, was_held: bool) -> None:
        """Looks after so many seconds, and again and again, whether a caller that has ended its side is gone: what it
        has asked for is then given up, as when any other caller leaves.
        """

        def look() -> None:
            transport = self._transport
            if transport is None or transport.is_closing():
                return
            sock = transport.get_extra_info("socket")
            if delay == WATCH_FIRST:
                keep_probing(sock)
            gone, is_held = is_gone(sock, was_held=was_held)
            if gone:
                transport.abort()
            else:
                self._watch_peer(WATCH, was_held=is_held)

        self._watch = self._loop.call_later(delay, look)

    async def _serve_requests(self) -> None:
        """Serves the requests of this connection one after the other."""
        handler = self._server.handler
        stays = True
        while stays and (block := await self._next_head()) is not None:
            self.is_serving = True
            try:
                head = self._read(block)
                stays = head is not None and await handler.serve(self, head, self._begin_body(head))
                await self._apply_backpressure()
            except CallerGone:
                stays = False
                self.abort()
            except BaseException:
                self.abort()
                raise
            finally:
                self.is_serving = False
            self._deadline = self._loop.time() + self._idle_timeout
        await self._lingering_close()

    async def _apply_backpressure(self) -> None:
        """Before the next request: a caller that does not read is not answered further, and one that has sent many at
        once lets the others in between. Raises CallerGone for one that reads nothing for long.
        """
        if self.write_paused:
            await self.drain(KEEPALIVE_TIMEOUT)
        if self._buffer:
            await asyncio.sleep(0)

    def _read(self, block: bytes) -> RequestHead | None:
        """Reads a head, or answers why it cannot be read. A caller that keeps its connection tends to say the same head
        again and again: what it said last is remembered.
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
        """The next head without its last line ends; None where the caller sent none and the time is over."""
        if self._buffer:
            self._find_head_end()
        while self._head_end < 0 and self._error is None:
            if self._has_ended:
                return None
            if self._reading_paused:
                self._set_reading(True)  # noqa: FBT003 - go or stop, in one word
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
        """Looks for the end of a head in what has come."""
        buffer = self._buffer
        if buffer[:1] <= b"\r" or self._skipped > EMPTY:  # an empty line, or what cannot begin a request
            buffer = self._skip_empty_lines()
        self._head_end = buffer.find(END_OF_HEAD, self._scanned)
        if self._head_end < 0:
            self._check_partial_head(buffer)
        if (self._head_end >= 0 or self._error is not None) and self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _skip_empty_lines(self) -> bytes:
        """Some clients send empty lines behind a body (RFC 9112 §2.2). They alone are never answered: a pool would take
        that for the answer to its next request.
        """
        rest = skip_empty_lines(self._buffer)
        self._skipped += len(self._buffer) - len(rest)
        self._buffer, self._scanned = rest, 0
        if self._skipped > EMPTY and rest:
            self._error = BadRequest(f"More than {EMPTY} bytes of empty lines came before the request.")
        return rest

    def _check_partial_head(self, buffer: bytes) -> None:
        if buffer in {b"", b"\r"}:
            return
        if not self._head_started:  # the head's own time begins with its first byte
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
        """These bytes follow the body of a request, and begin no other request."""
        return self._last_head is not None and self._last_head.may_trail and not may_begin_request(data)

    def _begin_body(self, head: RequestHead) -> RequestBody:
        """The body that follows a head, fed with what of it has come."""
        if head.error is not None:  # where its body ends, if it has one, cannot be known
            self._discarding = True
        if head.error is not None or not head.has_body:
            return NO_BODY
        chunks = ChunkedDecoder(CHUNK_OVERHEAD) if head.chunked else None
        body = RequestBody(head.length or 0, chunks=chunks, flow=self._set_reading)
        self._body = body
        data, self._buffer = self._buffer, b""
        if self._reading_paused:
            self._set_reading(True)  # noqa: FBT003 - go or stop, in one word
        if data:
            self.data_received(data)
        if self._has_ended and not body.is_complete and body.error is None:  # its rest can come no more
            self.close()
        return body

    def _reject(self, error: GatewayError, said: bytes) -> None:
        """Answers what cannot be read; nothing more is read behind it. What is no request is not answered either: a
        pool would take that for the answer to its next one.
        """
        self._discarding = True
        if not self._is_trailing(said):
            self._server.handler.reject(self, error, said)
        elif not self._trailing:
            rest = 0 if said is self._buffer else len(END_OF_HEAD) + len(self._buffer)
            self._server.handler.note_trailing(self, len(said) + rest)

    async def _lingering_close(self) -> None:
        """Ends the connection behind its last reply. While the caller may still send, a close would meet that with RST,
        which can destroy the reply on its way (RFC 9112 §9.6): so only our side closes now, the rest when the caller's
        has.
        """
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        if (self._discarding or self._body is not None or self._buffer) and not self._has_ended:
            self._discarding = True
            self._set_reading(True)  # noqa: FBT003 - as above
            transport.write_eof()
            await asyncio.sleep(self._server.linger)  # the caller's close cancels it
        transport.close()

    def _set_reading(self, go: bool) -> None:  # noqa: FBT001 - go or stop, in one word
        if self._transport is None or self._transport.is_closing():
            return
        self._reading_paused = not go
        if self._has_ended:  # nothing is read any more
            return
        if go:
            self._transport.resume_reading()
        else:
            self._transport.pause_reading()

    def _on_timer(self) -> None:
        """One timer for the whole connection: set anew only when it has run down, not with every request."""
        now = self._loop.time()
        if self.is_serving or now < self._deadline:
            self._timer = self._loop.call_at(
                now + KEEPALIVE_TIMEOUT if self.is_serving else self._deadline, self._on_timer
            )
        elif self._is_head_due() and self._waiter is not None and not self._waiter.done():
            self._error = RequestTimeout("The head of the request did not come to its end in time.")
            self._waiter.set_result(None)
        elif self._transport is not None and self._transport.is_closing():  # it does not take its last bytes
            self.abort()
        else:
            self.close()
            self._timer = self._loop.call_at(now + KEEPALIVE_TIMEOUT, self._on_timer)

    def _is_head_due(self) -> bool:
        """A head has begun. Behind a body a word alone may as well be the end of one that was too long."""
        return self._head_started and (self._last_head is None or not self._last_head.may_trail or b" " in self._buffer)


class CallerServer:
    """Makes the protocol of each connection to the callers' listener, and knows all of them."""

    def __init__(
        self,
        handler: RequestHandler,
        limits: RequestLimits,
        rules: FieldRules,
        *,
        places: ConnectionLimits | None = None,
        on_refused: Callable[[RefusalReason, str | None], None] = lambda *_: None,
        linger: float = LINGER_TIMEOUT,
    ) -> None:
        """`rules`: what becomes of each field of a request. `places` admits connections, by default as many as `limits`
        say; `on_refused` learns of each that is not admitted; `linger`: seconds that a caller is given to take its last
        reply and close.
        """
        self.handler = handler
        self.limits = limits
        self.rules = rules
        self.linger = linger
        self.connections: set[CallerConnection] = set()
        self.admitted = places or ConnectionLimits(limits.connections, refused=limits.connections)
        self.on_refused = on_refused

    def __call__(self) -> CallerConnection:
        """asyncio: a protocol for a new connection."""
        return CallerConnection(self, asyncio.get_running_loop())

    async def retire(self, grace: float = GRACE) -> None:
        """Waits until all connections have ended: after the request that they carry, or when they have carried none for
        so many seconds. What they ask until then is served; the walk has to end each connection with its reply.
        """
        loop = asyncio.get_running_loop()
        began = loop.time()
        while any(not connection.over_limit for connection in self.connections):
            now = loop.time()
            self.close_idle(now - grace if now - grace >= began else -math.inf)
            await asyncio.sleep(LOOK)

    def close_idle(self, since: float = math.inf) -> None:
        """Closes the connections that have carried no request since then; not where bytes have come that the loop has
        yet to read, since a close would reset their caller.
        """
        resting = {one.descriptor(): one for one in self.connections if one.is_resting(since)}
        unread = are_readable(list(resting))
        for descriptor, connection in resting.items():
            if descriptor not in unread:
                connection.end_rest()

    def abort_all(self) -> None:
        """Breaks the connections that carry a request, visibly."""
        for connection in list(self.connections):
            if connection.is_serving:
                connection.abort()

    async def shutdown(self, within: float) -> None:
        """Ends all connections: those that do not end within so many seconds are dropped."""
        tasks = [connection.task for connection in self.connections if connection.task is not None]
        for connection in list(self.connections):
            connection.close()
        if tasks:
            await asyncio.wait(tasks, timeout=within)
        for connection in list(self.connections):
            connection.abort()
        if tasks:
            await asyncio.wait(tasks, timeout=within)
