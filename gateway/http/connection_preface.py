"""The preface of a caller's connection, before HTTP: a PROXY protocol header, and the TLS handshake.

During the preface, `ConnectionPreface` is the protocol of the connection, which already counts against the limits. Then
a `CallerConnection` replaces it.
"""

import asyncio
from typing import cast

from gateway.errors import BadRequest
from gateway.http.caller_connection import REJECTED_TIMEOUT, CallerConnection, ServerState
from gateway.http.caller_listener import CallerListener
from gateway.http.open_connection import ConnectionInfo, PrefaceFailure, reset_on_close
from gateway.http.proxy_header import MalformedProxyHeader, read_proxy_header
from gateway.network.caller_tls import CallerTls, handshake_failure

PREFACE_TIMEOUT = 15.0
"""Maximum seconds until the first byte of HTTP."""
TIMEOUT_CAUSE = f"it was not complete after {PREFACE_TIMEOUT:g} s"
HANDSHAKE_RECORD = 0x16
"""The first byte of a TLS record that contains a handshake message (RFC 8446 §5.1)."""


class ConnectionPreface(asyncio.Protocol):
    """The preface of a connection to a listener with TLS or the PROXY protocol."""

    def __init__(self, server: ServerState, loop: asyncio.AbstractEventLoop, listener: CallerListener) -> None:
        self._server = server
        self._loop = loop
        self._listener = listener
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._began_at = 0.0
        self._data = b""
        self._peer: str | None = None
        self._expects_header = self._is_timed_out = False
        self._info: ConnectionInfo

    # Used by the server at a stop -------------------------------------------------------------------------------------

    @property
    def is_finished(self) -> bool:
        """Return whether the connection is closed."""
        return self._transport is None or self._transport.is_closing()

    def is_idle(self, since: float) -> bool:
        """Return whether the connection began before that time."""
        return self._began_at <= since

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
        """asyncio: a caller or a load balancer connected."""
        self._transport = cast(asyncio.Transport, transport)
        name = transport.get_extra_info("peername")
        self._peer = name[0] if isinstance(name, tuple) else None
        is_balancer = self._listener.is_balancer
        self._expects_header = is_balancer is not None and self._peer is not None and is_balancer(self._peer)
        self._server.prefaces.add(self)
        self._began_at = self._loop.time()
        self._timer = self._loop.call_later(PREFACE_TIMEOUT, self._on_timeout)
        # Before the header names the caller, the connection counts only against the total limit.
        self._admit(None if self._expects_header else self._peer)
        if not self._expects_header and not self._listener.is_tls:
            self._start_protocol(b"")

    def data_received(self, data: bytes) -> None:
        """asyncio: the first bytes of the connection."""
        if self._transport is None or self._transport.is_closing():
            return
        self._data += data
        if not self._expects_header:
            self._start_protocol(self._data)
            return
        try:
            header = read_proxy_header(self._data)
        except MalformedProxyHeader as error:
            self._report(PrefaceFailure.PROXY_HEADER, str(error))
            self._reject(f"This address must begin a connection with a PROXY protocol header: {error}.", str(error))
            return
        if header is None:
            return
        self._expects_header = False
        self._server.connection_limits.release(self._info.peer, self._info.refusal)
        self._admit(header.source or self._peer, header.destination)
        self._data = self._data[header.size :]
        self._start_protocol(self._data)

    def connection_lost(self, _exc: Exception | None) -> None:
        """asyncio: the connection ended before HTTP or TLS began."""
        self._release()
        if self._data and self._expects_header:
            detail = TIMEOUT_CAUSE if self._is_timed_out else "the PROXY protocol header was cut off"
            self._report(PrefaceFailure.PROXY_HEADER, detail)

    # Internals ------------------------------------------------------------------------------------------------------

    def _admit(self, peer: str | None, destination: tuple[str, int] | None = None) -> None:
        """Count the connection. A refused one gets a short time limit."""
        self._info = ConnectionInfo(peer, self._server.admit(peer), destination)
        if self._info.refusal is None:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(REJECTED_TIMEOUT, self._on_timeout)
        if self._server.connection_limits.has_too_many_refused:
            self.abort()

    def _start_protocol(self, data: bytes) -> None:
        """Start HTTP, or the TLS handshake once the first byte shows that the caller uses TLS."""
        if not self._listener.is_tls:
            self._switch_protocol(self._make_connection(), data)
        elif data and data[0] == HANDSHAKE_RECORD:
            assert self._listener.context is not None
            self._switch_protocol(
                CallerTls(self._listener.context, self._make_connection, self._on_handshake_failed), data
            )
        elif data:
            self._report(PrefaceFailure.PLAIN_HTTP, "")
            message = "This port requires TLS, and the request came without it: use https:// in the caller's URL."
            self._reject(message, "plain HTTP on a TLS listener")

    def _switch_protocol(self, protocol: asyncio.Protocol | CallerTls, data: bytes) -> None:
        """Pass the transport and the received bytes to another protocol."""
        transport = self._transport
        assert transport is not None
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
        if data:
            protocol.data_received(data)

    def _reject(self, detail: str, reason: str) -> None:
        """Respond with an error, and close the connection."""
        self._switch_protocol(self._make_connection(BadRequest(detail, reason=reason)), self._data)

    def _make_connection(self, error: BadRequest | None = None) -> CallerConnection:
        """Return the next protocol of the connection. With `error`, it responds with this error."""
        self._remove()
        return CallerConnection(self._server, self._loop, self._listener, info=self._info, error=error)

    def _on_handshake_failed(self, error: Exception) -> None:
        """Report that the handshake failed or was cut off."""
        self._release()
        if self._is_timed_out:
            self._report(PrefaceFailure.TIMEOUT, TIMEOUT_CAUSE)
        else:
            self._report(PrefaceFailure.HANDSHAKE, handshake_failure(error))

    def _report(self, reason: PrefaceFailure, detail: str) -> None:
        self._server.on_preface_failed(reason, self._listener, self._info.peer or self._peer, detail)

    def _on_timeout(self) -> None:
        self._is_timed_out = True
        self.abort()

    def _release(self) -> None:
        """Release a connection that ends before its first request."""
        self._remove()
        self._transport = None
        self._server.connection_limits.release(self._info.peer, self._info.refusal)

    def _remove(self) -> None:
        self._server.prefaces.discard(self)
        if self._timer is not None:
            self._timer.cancel()
