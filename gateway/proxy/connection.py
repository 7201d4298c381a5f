"""One connection to an upstream: an asyncio protocol that carries one exchange at a time.

The walk writes a head and a body, waits for the reply's head, then takes the body piece by piece; reading pauses while
the walk is slower than the upstream. Whatever goes wrong is an error of ours (`errors`), raised to the walk, and the
transport is gone by then, unless a reply has begun beside an upload that stalled: it is let finish. A connection that
has seen trouble is never used again.
"""

import asyncio
import socket
import ssl
from collections.abc import Callable
from typing import cast

from gateway.errors import GatewayError, UpstreamBroken, UpstreamTimeout
from gateway.proxy.replies import ReplyError, ReplyHead, ReplyReader

HEAD_LIMIT = 256 * 1024
STOPPED_READING = "the upstream stopped reading the request"
PAUSE_AT = 512 * 1024
PAUSE_AT_PIECES = 1024


class StaleConnection(UpstreamBroken):
    """A kept connection that closed before a single byte of the reply (RFC 9112 §9.3.1)."""


class Connection(asyncio.Protocol):
    """Made by `dialing`, kept by `upstream.Upstream`, used by one request at a time. `sock` is the transport's own."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, sock: socket.socket, *, on_lost: Callable[["Connection"], None]
    ) -> None:
        self._loop = loop
        self._socket = sock
        self._on_lost = on_lost
        self._transport: asyncio.Transport | None = None
        self._tls: ssl.SSLObject | None = None
        self._reader: ReplyReader | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._drained: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._error: GatewayError | None = None
        self._reading_paused = False
        self._writing_paused = False
        self.exchanges = 0
        self.opened_at = loop.time()
        self.idle_since = self.opened_at

    # The exchange ---------------------------------------------------------------------------------------------------

    def begin(self, *, to_head: bool) -> None:
        """Starts an exchange; `to_head`: the request is HEAD, so the reply has no body."""
        self._reader = ReplyReader(to_head=to_head, head_limit=HEAD_LIMIT)
        self.exchanges += 1

    def write(self, data: bytes) -> None:
        """Sends bytes of the request. Nothing is sent once the connection is lost; `head` tells why."""
        if self._transport is not None:
            self._transport.write(data)

    def writelines(self, parts: list[bytes]) -> None:
        """Sends several parts, at least one, without joining them."""
        if self._transport is not None:
            self._transport.writelines(parts)

    async def drain(self, idle: float) -> None:
        """Waits until the upstream takes more bytes. Raises UpstreamTimeout where it takes none for `idle` seconds."""
        while self._writing_paused and (transport := self._transport) is not None:
            left = transport.get_write_buffer_size()
            self._drained = self._loop.create_future()
            try:
                async with asyncio.timeout(idle):
                    await self._drained
            except TimeoutError:
                if transport.get_write_buffer_size() >= left:
                    if self.known_head is not None:
                        raise UpstreamTimeout(reason=STOPPED_READING) from None
                    self._late(STOPPED_READING)
            finally:
                self._drained = None
        if self._error is not None:
            raise self._error

    def expect(self, timeout: float) -> None:
        """The request is complete: its reply must have begun within `timeout` seconds."""
        if self._reader is not None and self._reader.head is None and self._transport is not None:
            self._arm(timeout, "no reply in time")

    async def head(self) -> ReplyHead:
        """Waits for the final head. Raises UpstreamTimeout, UpstreamBroken or StaleConnection."""
        reader = self._begun()
        while reader.head is None:
            await self._wait()
        self._disarm()
        if self._error is not None:  # the break is already known: say so while the caller has seen nothing
            raise self._error
        return reader.head

    async def body(self, idle: float) -> list[bytes]:
        """Gives the pieces that have arrived, waiting for at least one; [] at the end of the body.
        Raises UpstreamTimeout after `idle` seconds of silence, UpstreamBroken where the body breaks off.
        """
        reader = self._begun()
        while not reader.body and not reader.complete:
            self._arm(idle, "silence within the reply")
            try:
                await self._wait()
            finally:
                self._disarm()
        pieces, reader.body = reader.body, []
        if self._reading_paused and self._transport is not None:
            self._reading_paused = False
            self._transport.resume_reading()
        return pieces

    @property
    def known_head(self) -> ReplyHead | None:
        """The final head as far as it has been read, whatever became of the rest."""
        return None if self._reader is None else self._reader.head

    @property
    def complete(self) -> bool:
        """The whole reply has been read from the wire."""
        return self._reader is not None and self._reader.complete

    @property
    def reusable(self) -> bool:
        """The exchange ended cleanly and another may follow."""
        return self._error is None and self._reader is not None and self._reader.reusable and self.is_open

    def finish(self) -> None:
        """Ends the exchange on a reusable connection."""
        self._reader = None

    # The connection -------------------------------------------------------------------------------------------------

    @property
    def is_open(self) -> bool:
        """The transport is there and nobody began to close it."""
        return self._transport is not None and not self._transport.is_closing()

    def is_quiet(self) -> bool:
        """True while the idle connection is alive: not closed, and no byte waits that nobody asked for.
        A byte there would be taken for the next caller's reply.
        """
        if not self.is_open:
            return False
        try:
            self._socket.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    def abort(self) -> None:
        """Drops the connection at once; what waits on it is woken."""
        self._fail(UpstreamBroken(reason="the exchange was given up"))

    # Called by the transport ----------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio: the way is open."""
        self._transport = cast(asyncio.Transport, transport)
        self._tls = transport.get_extra_info("ssl_object")

    def data_received(self, data: bytes) -> None:
        """asyncio: bytes of the reply, or bytes that nobody asked for."""
        reader = self._reader
        if reader is None or self._error is not None:
            self.abort()
            return
        try:
            reader.feed(data)
        except ReplyError as error:
            self._fail(UpstreamBroken(reason=str(error)))
            return
        self._wake()
        if len(reader.body) > 1 and not reader.complete and not self._reading_paused:
            self._hold_back(reader.body)

    def eof_received(self) -> None:
        """asyncio: the upstream ended its side: what has not come by now never will. The transport closes itself, but
        only once all is sent, which an upstream that stopped reading may put off for ever.
        """
        self._over(None)
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        """asyncio: the connection is gone. Called once, also after `abort`."""
        self._over(exc)
        self._transport = None
        self._disarm()
        self._wake()
        self._on_lost(self)

    def pause_writing(self) -> None:
        """asyncio: the upstream is slower than we are."""
        self._writing_paused = True

    def resume_writing(self) -> None:
        """asyncio: the upstream takes more."""
        self._writing_paused = False
        self._wake_writer()

    # Inside ---------------------------------------------------------------------------------------------------------

    def _begun(self) -> ReplyReader:
        assert self._reader is not None
        return self._reader

    def _hold_back(self, pieces: list[bytes]) -> None:
        if self._transport is not None and (len(pieces) >= PAUSE_AT_PIECES or sum(map(len, pieces)) >= PAUSE_AT):
            self._reading_paused = True
            self._transport.pause_reading()

    def _over(self, exc: Exception | None) -> None:
        """No byte follows: a reply that is not complete by that is an error."""
        reader = self._reader
        if reader is None or reader.complete or self._error is not None:
            return
        reason = self._why_unfinished(reader, exc)
        if reason and self.exchanges > 1 and not reader.head_bytes:
            self._error = StaleConnection(reason=reason)
        elif reason:
            self._error = UpstreamBroken(reason=reason)

    def _why_unfinished(self, reader: ReplyReader, exc: Exception | None) -> str:
        if exc is not None:
            return f"the connection broke: {type(exc).__name__}"
        if self._is_cut():
            return "TLS ended without close_notify"
        try:
            reader.end()
        except ReplyError as error:
            return str(error)
        return ""

    def _is_cut(self) -> bool:
        """True where TLS ended without close_notify: anyone on the way can do that (RFC 8446 §6.1), and a body that
        ends with the connection must not be cut short unseen. The loops' TLS says nothing; its state does.
        """
        if self._tls is None:
            return False
        try:
            return self._tls.read(1) != b""
        except ssl.SSLZeroReturnError:
            return False
        except ssl.SSLError:
            return True

    async def _wait(self) -> None:
        if self._error is not None:
            raise self._error
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None
        if self._error is not None:
            raise self._error

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
        if self._transport is None:
            self._wake_writer()

    def _wake_writer(self) -> None:
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)

    def _arm(self, seconds: float, reason: str) -> None:
        self._disarm()
        self._timer = self._loop.call_later(seconds, self._late, reason)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _late(self, reason: str) -> None:
        self._fail(UpstreamTimeout(reason=reason))

    def _fail(self, error: GatewayError) -> None:
        if self._error is None:
            self._error = error
        transport, self._transport = self._transport, None
        self._disarm()
        self._wake()
        if transport is not None:
            transport.abort()
