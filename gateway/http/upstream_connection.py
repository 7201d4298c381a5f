"""One connection to an upstream: an asyncio protocol that carries one exchange at a time.

The request pipeline writes a head and a body, waits for the response head, then reads the body piece by piece. Reading
pauses while the pipeline is slower than the upstream. Failures are raised as gateway errors, and the transport is
aborted first, unless a response has begun while the upload stalls: it may end. A failed connection is never reused.
"""

import asyncio
import math
import select
import socket
import ssl
from collections.abc import Callable, Sequence
from typing import cast

from gateway.errors import GatewayError, UpstreamBroken, UpstreamTimeout
from gateway.http.body_peers import BodySink
from gateway.http.body_reader import MIN_UNCOPIED, READ_SIZE, BodyReader
from gateway.http.eager_task import EagerTask
from gateway.http.event_wait import EventWait
from gateway.http.fields import FieldRules, MalformedMessage
from gateway.http.head_shapes import HeadShapes
from gateway.http.response_parser import ResponseHead, ResponseParser
from gateway.network.tls_client import TlsTransport

HEAD_LIMIT = 64 * 1024
NO_RESPONSE = "no response in time"
SILENCE = "silence within the response"
BROKEN_HEAD_WAIT = 0.5
"""Seconds to wait for the rest of a malformed head: it may contain an instance id."""
STOPPED_READING = "the upstream stopped reading the request"
PAUSE_AT = 512 * 1024
PAUSE_AT_PIECES = 1024


class StaleConnection(UpstreamBroken):
    """A reused connection closed before any byte of the response (RFC 9112 §9.3.1)."""


class UpstreamConnection(EventWait):
    """A connection that carries one exchange at a time; a `ConnectionPool` keeps it. `sock` is that of the
    transport.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        sock: socket.socket,
        *,
        rules: FieldRules,
        on_lost: Callable[["UpstreamConnection"], None],
        shapes: HeadShapes[ResponseHead] | None = None,
    ) -> None:
        """`rules` say how each response field is treated; `on_lost` is called once when the connection ends; `shapes`
        are those of the upstream's earlier responses.
        """
        super().__init__(loop)
        poller = select.poll()  # a third of the cost of recv
        poller.register(sock.fileno(), select.POLLIN)
        self._poll = poller.poll
        self._on_lost = on_lost
        self._parser = ResponseParser(rules, head_limit=HEAD_LIMIT, shapes=shapes)
        self._is_busy = False
        self._error: GatewayError | None = None
        self._broken_head: UpstreamBroken | None = None
        self._reading_paused = False
        self._sink: BodySink | None = None
        self._idle_timeout = 0.0
        self.exchanges = 0
        self.idle_since = loop.time()
        self.expires_at = math.inf
        """When the pool uses it no more."""

    # The exchange ---------------------------------------------------------------------------------------------------

    def start_exchange(
        self,
        head: bytes = b"",
        body: Sequence[bytes] | None = None,
        *,
        is_head_request: bool,
        response_timeout: float | None = None,
        reader_task: EagerTask[bool] | None = None,
    ) -> None:
        """Start an exchange, and send the head of its request and the pieces of the body that are available. If the
        connection is lost nothing is sent, and `read_head` raises the reason.

        `is_head_request`: the request is HEAD, so its response has no body. `response_timeout`: the request is
        complete, and its response must begin within so many seconds. `reader_task` reads the response, if no task of
        asyncio does.
        """
        self._parser.start_response(is_head_request=is_head_request)
        self._reader_task = reader_task
        self._is_busy = True
        self.exchanges += 1
        transport = self._transport
        if transport is None:
            self._on_eof(None)
            return
        if body:
            transport.writelines([head, *body])
        elif head:
            transport.write(head)
        if response_timeout is not None:
            self._set_deadline(response_timeout)

    def write(self, parts: list[bytes]) -> None:
        """Send more bytes of the request."""
        if self._transport is not None:
            self._transport.writelines(parts)

    async def drain(self, idle_timeout: float) -> None:
        """Wait until the upstream reads more. Raise UpstreamTimeout if it reads nothing for `idle_timeout`
        seconds.
        """
        while self.write_paused and (transport := self._transport) is not None:
            if not await self.wait_writable(transport, idle_timeout):
                if self.response_head is not None:
                    raise UpstreamTimeout(reason=STOPPED_READING)
                self._fail(self._broken_head or UpstreamTimeout(reason=STOPPED_READING))
        if self._error is not None:
            raise self._error

    def start_response_timer(self, timeout: float) -> None:
        """Expect the response to begin within `timeout` seconds: the request is complete."""
        if self._is_busy and self._parser.head is None and self._transport is not None and self._broken_head is None:
            self._set_deadline(timeout)

    async def read_head(self) -> ResponseHead:
        """Return the final head. Raise UpstreamTimeout, UpstreamBroken or StaleConnection."""
        parser = self._parser
        try:
            while (head := parser.head) is None:
                if self._error is not None:
                    raise self._error
                await self._next_event()
        finally:
            self._suspended = self._deadline = None
        if self._error is not None:  # raise now, while nothing is sent to the caller
            raise self._error
        return head

    def read_whole(self) -> list[bytes] | None:
        """Return the pieces of the body that have not been read, if all of it has come; None if `read_body` must wait,
        or reading is paused.
        """
        parser = self._parser
        if not parser.is_complete or self._reading_paused:
            return None
        pieces, parser.body = parser.body, []
        return pieces

    def read_available(self) -> list[bytes]:
        """Return the pieces of the body that have arrived since the last read, without waiting."""
        parser = self._parser
        pieces, parser.body = parser.body, []
        if self._reading_paused and self._transport is not None:
            self._reading_paused = False
            self._transport.resume_reading()
        return pieces

    async def read_body(self, idle_timeout: float, sink: BodySink | None = None) -> list[bytes]:
        """Wait for at least one piece, and return all that have arrived; [] at the end of the body. Raise
        UpstreamTimeout after `idle_timeout` seconds of silence, UpstreamBroken if the body breaks off.

        Bytes of a large body that the `sink` takes are not returned: they are sent in the callback that reads them.
        """
        parser = self._parser
        self._sink, self._idle_timeout = sink, idle_timeout
        try:
            while not parser.body and not parser.is_complete:
                if self._error is not None:
                    raise self._error
                self._set_deadline(idle_timeout)
                await self._next_event()
        finally:
            self._suspended = self._deadline = self._sink = None
        return self.read_available()

    @property
    def response_head(self) -> ResponseHead | None:
        """The final head, if it has been read, even if the exchange failed later."""
        return self._parser.head if self._is_busy else None

    @property
    def unparsed_head(self) -> bytes:
        """The bytes of a head that is incomplete or malformed."""
        return self._parser.unparsed_head if self._is_busy else b""

    @property
    def is_complete(self) -> bool:
        """The whole response has been received."""
        return self._parser.is_complete

    def end_exchange(self) -> bool:
        """End the exchange. Return whether it ended cleanly and another may follow."""
        parser = self._parser
        if not parser.can_keep_alive or self._transport is None:
            return False
        self._is_busy = False
        parser.body = []
        return True

    # The connection -------------------------------------------------------------------------------------------------

    @property
    def is_open(self) -> bool:
        """The transport is open and not closing."""
        return self._transport is not None and not self._transport.is_closing()

    def is_idle_clean(self) -> bool:
        """Return whether the idle connection is open and has received nothing: unexpected bytes would be taken for the
        next caller's response.
        """
        transport = self._transport
        if transport is None or transport.is_closing():
            return False
        if not self._poll(0):
            return True
        # The bytes may be TLS records: a session ticket, a new key.
        return isinstance(transport, TlsTransport) and transport.is_idle_clean()

    def abort(self) -> None:
        """Close the connection at once, and wake its waiter."""
        self._fail(UpstreamBroken(reason="the exchange was given up"))

    # Called by the transport ----------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio: the connection is open."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """asyncio: bytes of the response, or unexpected bytes."""
        parser = self._parser
        if not self._is_busy or self._error is not None:
            self.abort()
            return
        if self._broken_head is not None:
            self._collect_broken_head(self._broken_head, data)
            return
        try:
            parser.feed(data)
        except MalformedMessage as error:
            self._on_malformed(UpstreamBroken(reason=str(error)))
            return
        if not parser.is_complete:
            self._read_on(parser)
        if (suspended := self._suspended) is not None:  # as in most
            suspended.resume()
        else:
            self._wake()

    def eof_received(self) -> None:
        """asyncio: the upstream closed its side. The transport closes itself once all is sent, which may be never if
        the upstream has stopped reading.
        """
        self._on_eof(None)
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        """asyncio: the connection is closed. Called once, also after `abort`."""
        self._on_eof(exc)
        self._transport = None
        self._cancel_timer()
        self._wake()
        self._on_lost(self)

    # Inside ---------------------------------------------------------------------------------------------------------

    def _on_malformed(self, error: UpstreamBroken) -> None:
        if self._parser.head is not None:
            self._fail(error)
            return
        self._broken_head = error
        self._set_deadline(BROKEN_HEAD_WAIT)
        self._collect_broken_head(error, b"")

    def _collect_broken_head(self, error: UpstreamBroken, data: bytes) -> None:
        if self._parser.collect_broken_head(data):
            self._fail(error)

    def _read_on(self, parser: ResponseParser) -> None:
        """Go on with an incomplete response: read a large body into memory that is used again, and pause reading while
        the pipeline is slower than the upstream.
        """
        if parser.missing_size > READ_SIZE and self._transport is not None:
            self._transport.set_protocol(BodyReader(self, parser, self._on_body_bytes))
        if len(parser.body) > 1 and not self._reading_paused:
            self._pause(parser.body)

    def _on_body_bytes(self, view: memoryview) -> bool:
        """Take bytes of a large body. Return whether their memory may be used again."""
        parser, sink, transport = self._parser, self._sink, self._transport
        if transport is None or self._error is not None:
            return True
        data = view if len(view) >= MIN_UNCOPIED else bytes(view)
        is_sent = sink is not None and not parser.body and sink.try_send(data)
        parser.count_body(len(view))
        if parser.is_complete:
            transport.set_protocol(self)
        if sink is None or not is_sent:
            parser.body.append(bytes(data))
            if not parser.is_complete and not self._reading_paused:
                self._pause(parser.body)
            self._wake()
            return True
        if parser.is_complete:
            self._wake()
        else:
            self._deadline = self._loop.time() + self._idle_timeout
        return data is not view or not sink.has_unsent_bytes

    def _pause(self, pieces: list[bytes]) -> None:
        if self._transport is not None and (len(pieces) >= PAUSE_AT_PIECES or sum(map(len, pieces)) >= PAUSE_AT):
            self._reading_paused = True
            self._transport.pause_reading()

    def _on_eof(self, exc: Exception | None) -> None:
        """Set the error of a response that is incomplete at the end of the connection."""
        parser = self._parser
        if not self._is_busy or parser.is_complete or self._error is not None:
            return
        reason = self._eof_reason(parser, exc)
        if self._broken_head is not None:
            self._error = self._broken_head
        elif reason and self.exchanges > 1 and not parser.head_size:
            self._error = StaleConnection(reason=reason)
        elif reason:
            self._error = UpstreamBroken(reason=reason)

    def _eof_reason(self, parser: ResponseParser, exc: Exception | None) -> str:
        if isinstance(exc, ssl.SSLEOFError):
            return str(exc)
        if exc is not None:
            why = getattr(exc, "reason", None) or getattr(exc, "strerror", None) or "no reason is known"
            return f"the connection broke: {why}"
        try:
            parser.end()
        except MalformedMessage as error:
            return str(error)
        return ""

    def _on_timeout(self) -> None:
        reason = NO_RESPONSE if self._parser.head is None else SILENCE
        self._fail(self._broken_head or UpstreamTimeout(reason=reason))

    def _fail(self, error: GatewayError) -> None:
        if self._error is None:
            self._error = error
        transport, self._transport = self._transport, None
        self._cancel_timer()
        if transport is not None:
            transport.abort()
        self._wake()
