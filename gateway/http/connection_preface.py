"""What comes before HTTP on a connection of a caller: the TLS handshake.

The preface is the protocol of the connection until then; it counts towards the limits of connections. Then a
`CallerConnection` takes over.
"""

import asyncio
from typing import cast

from gateway.errors import BadRequest
from gateway.http.caller_connection import REJECTED_TIMEOUT, CallerConnection, ServerState
from gateway.http.caller_listener import CallerListener
from gateway.http.open_connection import Arrival, ArrivalFailure, reset_on_close
from gateway.network.caller_tls import CallerTls, handshake_failure

PREFACE_TIMEOUT = 15.0
"""Seconds that everything before the first byte of HTTP may take."""
HANDSHAKE = 0x16
"""The first byte of a TLS record that contains a handshake message (RFC 8446 §5.1)."""


class ConnectionPreface(asyncio.Protocol):
    """The beginning of one connection to a listener that does not speak plain HTTP at once."""

    def __init__(self, server: ServerState, loop: asyncio.AbstractEventLoop, listener: CallerListener) -> None:
        self._server = server
        self._loop = loop
        self._listener = listener
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._began = 0.0
        self._has_begun = self._is_timed_out = False
        self._arrival: Arrival

    # As the server sees it -------------------------------------------------------------------------------------------

    @property
    def is_finished(self) -> bool:
        """Return whether the connection is closed."""
        return self._transport is None or self._transport.is_closing()

    def is_idle(self, since: float) -> bool:
        """Return whether the connection began before that time."""
        return self._began <= since

    def descriptor(self) -> int:
        """Return the file descriptor of the connection; -1 when it is closed."""
        return -1 if self._transport is None else int(self._transport.get_extra_info("socket").fileno())

    def close_idle(self) -> None:
        """Close the connection: no request has begun."""
        self.close()

    def close(self) -> None:
        """Close the connection."""
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """End the connection with RST."""
        if self._transport is not None:
            reset_on_close(self._transport)
            self._transport.abort()

    # Called by the transport ----------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio: a caller connected."""
        self._transport = cast(asyncio.Transport, transport)
        peer = transport.get_extra_info("peername")
        address = peer[0] if isinstance(peer, tuple) else None
        self._arrival = Arrival(address, self._server.admit(address))
        self._server.prefaces.add(self)
        self._began = self._loop.time()
        timeout = PREFACE_TIMEOUT if self._arrival.refusal is None else REJECTED_TIMEOUT
        self._timer = self._loop.call_later(timeout, self._on_timeout)
        if self._arrival.refusal is not None and self._server.connection_limits.has_too_many_refused:
            self.abort()

    def data_received(self, data: bytes) -> None:
        """asyncio: the first bytes of the caller."""
        transport, context = self._transport, self._listener.context
        if transport is None or transport.is_closing() or context is None:
            return
        self._has_begun = True
        if data[0] == HANDSHAKE:
            tls = CallerTls(context, self._take_over, self._on_failure)
            transport.set_protocol(tls)
            tls.connection_made(transport)
            tls.data_received(data)
            return
        self._server.on_arrival_failed(ArrivalFailure.PLAIN_HTTP, self._listener, self._arrival.peer, "")
        error = BadRequest(
            "This port speaks TLS, and the request came without it: use https:// in the caller's URL.",
            reason="plain HTTP on a TLS listener",
        )
        connection = self._take_over(error)
        transport.set_protocol(connection)
        connection.connection_made(transport)
        connection.data_received(data)

    def connection_lost(self, _exc: Exception | None) -> None:
        """asyncio: the caller left before it sent a byte."""
        self._end()

    # Internals ------------------------------------------------------------------------------------------------------

    def _take_over(self, error: BadRequest | None = None) -> CallerConnection:
        """Return the protocol that serves the connection from here on; with `error`, it answers that."""
        self._retire()
        return CallerConnection(self._server, self._loop, self._listener, arrival=self._arrival, error=error)

    def _on_failure(self, error: Exception) -> None:
        """Report a handshake that failed or was cut off."""
        self._end()
        reason, detail = ArrivalFailure.HANDSHAKE, handshake_failure(error)
        if self._is_timed_out:
            reason, detail = ArrivalFailure.TIMEOUT, f"it was not complete after {PREFACE_TIMEOUT:g} s"
        self._server.on_arrival_failed(reason, self._listener, self._arrival.peer, detail)

    def _on_timeout(self) -> None:
        self._is_timed_out = self._has_begun
        self.abort()

    def _end(self) -> None:
        """Forget a connection that ends before a request."""
        self._retire()
        self._server.connection_limits.release(self._arrival.peer, self._arrival.refusal)

    def _retire(self) -> None:
        self._transport = None
        self._server.prefaces.discard(self)
        if self._timer is not None:
            self._timer.cancel()
