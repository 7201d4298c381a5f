"""One connection to an upstream: an asyncio protocol that carries one exchange at a time.

The walk writes a head and a body, waits for the reply's head, then takes the body piece by piece; reading pauses while
the walk is slower than the upstream. Whatever goes wrong is an error of ours (`errors`), raised to the walk, and the
transport is gone by then, unless a reply has begun beside an upload that stalled: it is let finish. A connection that
has seen trouble is never used again.
"""

import asyncio
import select
import socket
import ssl
from collections.abc import Callable, Sequence
from typing import cast

from gateway.errors import GatewayError, UpstreamBroken, UpstreamTimeout
from gateway.http.fields import FieldRules, MalformedMessage
from gateway.http.flow_control import FlowControl
from gateway.http.response_parser import ResponseHead, ResponseParser
from gateway.network.tls import TlsTransport

HEAD_LIMIT = 64 * 1024
NO_REPLY = "no reply in time"
BROKEN_HEAD_WAIT = 0.5
"""Seconds in which the rest of a malformed head is waited for: it may name the run."""
STOPPED_READING = "the upstream stopped reading the request"
PAUSE_AT = 512 * 1024
PAUSE_AT_PIECES = 1024


class StaleConnection(UpstreamBroken):
    """A kept connection that closed before a single byte of the reply (RFC 9112 §9.3.1)."""


class UpstreamConnection(FlowControl):
    """Made by `dialing`, kept by `upstream.Upstream`, used by one request at a time. `sock` is the transport's own."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        sock: socket.socket,
        *,
        rules: FieldRules,
        on_lost: Callable[["UpstreamConnection"], None],
    ) -> None:
        """`rules`: what becomes of each field of a response."""
        super().__init__()
        self._loop = loop
        self._poll = select.poll()  # a third of the price of a look with recv
        self._poll.register(sock.fileno(), select.POLLIN)
        self._on_lost = on_lost
        self._transport: asyncio.Transport | None = None
        self._reader = ResponseParser(rules, head_limit=HEAD_LIMIT)
        self._is_busy = False
        self._waiter: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._deadline: float | None = None
        self._timeout_reason = ""
        self._error: GatewayError | None = None
        self._broken_head: UpstreamBroken | None = None
        self._reading_paused = False
        self.exchanges = 0
        self.opened_at = loop.time()
        self.idle_since = self.opened_at

    # The exchange ---------------------------------------------------------------------------------------------------

    def start_exchange(self, parts: Sequence[bytes] = (), *, to_head: bool, within: float | None = None) -> None:
        """Starts an exchange with the first bytes of its request; `to_head`: it is HEAD, so the reply has no body.
        Nothing is sent once the connection is lost; `head` tells why. `within`: as `expect`, where these are all bytes.
        """
        self._reader.begin(to_head=to_head)
        self._is_busy = True
        self.exchanges += 1
        transport = self._transport
        if transport is None:
            return
        if len(parts) == 1:
            transport.write(parts[0])
        elif parts:
            transport.writelines(parts)
        if within is not None:
            self._set_timer(within, NO_REPLY)

    def write(self, parts: list[bytes]) -> None:
        """Sends more bytes of the request."""
        if self._transport is not None:
            self._transport.writelines(parts)

    async def drain(self, idle: float) -> None:
        """Waits until the upstream takes more bytes. Raises UpstreamTimeout where it takes none for `idle` seconds."""
        while self.write_paused and (transport := self._transport) is not None:
            if not await self.wait_writable(transport, idle):
                if self.response_head is not None:
                    raise UpstreamTimeout(reason=STOPPED_READING)
                self._on_timeout(STOPPED_READING)
        if self._error is not None:
            raise self._error

    def start_response_timer(self, timeout: float) -> None:
        """The request is complete: its reply must have begun within `timeout` seconds."""
        if self._is_busy and self._reader.head is None and self._transport is not None and self._broken_head is None:
            self._set_timer(timeout, NO_REPLY)

    async def read_head(self) -> ResponseHead:
        """Waits for the final head. Raises UpstreamTimeout, UpstreamBroken or StaleConnection."""
        reader = self._reader
        while reader.head is None:
            await self._next_event()
        self._deadline = None
        if self._error is not None:  # the break is already known: say so while the caller has seen nothing
            raise self._error
        return reader.head

    def read_available(self) -> list[bytes]:
        """The pieces of the body that have arrived since they were last asked for; waits for none."""
        reader = self._reader
        pieces, reader.body = reader.body, []
        if self._reading_paused and self._transport is not None:
            self._reading_paused = False
            self._transport.resume_reading()
        return pieces

    async def read_body(self, idle: float) -> list[bytes]:
        """Gives the pieces that have arrived, waiting for at least one; [] at the end of the body.
        Raises UpstreamTimeout after `idle` seconds of silence, UpstreamBroken where the body breaks off.
        """
        reader = self._reader
        while not reader.body and not reader.complete:
            news = self._next_event()  # raises on a connection that is lost, which is to have no timer any more
            self._set_timer(idle, "silence within the reply")
            await news
        self._deadline = None
        return self.read_available()

    @property
    def response_head(self) -> ResponseHead | None:
        """The final head as far as it has been read, whatever became of the rest."""
        return self._reader.head if self._is_busy else None

    @property
    def unread_head(self) -> bytes:
        """The bytes of a head that is not complete, or not clean HTTP/1."""
        return self._reader.unread_head if self._is_busy else b""

    @property
    def complete(self) -> bool:
        """The whole reply has been read from the wire."""
        return self._reader.complete

    def end_exchange(self) -> bool:
        """Ends the exchange; true where it ended cleanly and another may follow."""
        transport, reader = self._transport, self._reader
        if self._error is not None or not reader.can_keep_alive or transport is None or transport.is_closing():
            return False
        if self._reading_paused:  # it ended while nobody took it, behind TLS: the next reply would not be read
            return False
        self._is_busy = False
        reader.body = []
        return True

    # The connection -------------------------------------------------------------------------------------------------

    @property
    def is_open(self) -> bool:
        """The transport is there and nobody began to close it."""
        return self._transport is not None and not self._transport.is_closing()

    def is_idle_clean(self) -> bool:
        """True while the idle connection is alive: not closed, and no byte waits that nobody asked for.
        A byte there would be taken for the next caller's reply.
        """
        transport = self._transport
        if transport is None or transport.is_closing():
            return False
        if not self._poll.poll(0):
            return True
        # What waits may be TLS's own: a session ticket, a new key.
        return isinstance(transport, TlsTransport) and transport.is_idle_clean()

    def abort(self) -> None:
        """Drops the connection at once; what waits on it is woken."""
        self._fail(UpstreamBroken(reason="the exchange was given up"))

    # Called by the transport ----------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio: the way is open."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """asyncio: bytes of the reply, or bytes that nobody asked for."""
        reader = self._reader
        if not self._is_busy or self._error is not None:
            self.abort()
            return
        if self._broken_head is not None:
            self._collect_broken_head(self._broken_head, data)
            return
        try:
            reader.feed(data)
        except MalformedMessage as error:
            self._on_malformed(UpstreamBroken(reason=str(error)))
            return
        self._wake()
        if len(reader.body) > 1 and not reader.complete and not self._reading_paused:
            self._pause(reader.body)

    def eof_received(self) -> None:
        """asyncio: the upstream ended its side: what has not come by now never will. The transport closes itself, but
        only once all is sent, which an upstream that stopped reading may put off for ever.
        """
        self._on_eof(None)
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        """asyncio: the connection is gone. Called once, also after `abort`."""
        self._on_eof(exc)
        self._transport = None
        self._cancel_timer()
        self._wake()
        self._on_lost(self)

    # Inside ---------------------------------------------------------------------------------------------------------

    def _on_malformed(self, error: UpstreamBroken) -> None:
        if self._reader.head is not None:
            self._fail(error)
            return
        self._broken_head = error
        self._set_timer(BROKEN_HEAD_WAIT, error.reason)
        self._collect_broken_head(error, b"")

    def _collect_broken_head(self, error: UpstreamBroken, data: bytes) -> None:
        if self._reader.collect_broken_head(data):
            self._fail(error)

    def _pause(self, pieces: list[bytes]) -> None:
        if self._transport is not None and (len(pieces) >= PAUSE_AT_PIECES or sum(map(len, pieces)) >= PAUSE_AT):
            self._reading_paused = True
            self._transport.pause_reading()

    def _on_eof(self, exc: Exception | None) -> None:
        """No byte follows: a reply that is not complete by that is an error."""
        reader = self._reader
        if not self._is_busy or reader.complete or self._error is not None:
            return
        reason = self._why_unfinished(reader, exc)
        if self._broken_head is not None:
            self._error = self._broken_head
        elif reason and self.exchanges > 1 and not reader.head_bytes:
            self._error = StaleConnection(reason=reason)
        elif reason:
            self._error = UpstreamBroken(reason=reason)

    def _why_unfinished(self, reader: ResponseParser, exc: Exception | None) -> str:
        if isinstance(exc, ssl.SSLEOFError):
            return str(exc)
        if exc is not None:
            why = getattr(exc, "reason", None) or getattr(exc, "strerror", None) or "nothing says why"
            return f"the connection broke: {why}"
        try:
            reader.end()
        except MalformedMessage as error:
            return str(error)
        return ""

    def _next_event(self) -> asyncio.Future[None]:
        """Done when something happens. Raises what has gone wrong already."""
        if self._transport is None:  # lost before the exchange began, when nobody was there to be told
            self._on_eof(None)
        if self._error is not None:
            raise self._error
        self._waiter = self._loop.create_future()
        return self._waiter

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)
        if self._transport is None:
            self.stop_waiting()

    def _set_timer(self, seconds: float, reason: str) -> None:
        """What is waited for is due in so many seconds. One timer serves many requests: it is set anew only when it
        has run down, or when something is due before it.
        """
        self._deadline = self._loop.time() + seconds
        self._timeout_reason = reason
        if self._timer is None or self._timer.when() > self._deadline:
            self._cancel_timer()
            self._timer = self._loop.call_at(self._deadline, self._on_timer)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _on_timer(self) -> None:
        self._timer = None
        if self._deadline is None:
            return
        if self._loop.time() < self._deadline:
            self._timer = self._loop.call_at(self._deadline, self._on_timer)
        else:
            self._on_timeout(self._timeout_reason)

    def _on_timeout(self, reason: str) -> None:
        self._fail(self._broken_head or UpstreamTimeout(reason=reason))

    def _fail(self, error: GatewayError) -> None:
        if self._error is None:
            self._error = error
        transport, self._transport = self._transport, None
        self._cancel_timer()
        self._wake()
        if transport is not None:
            transport.abort()
