"""TLS on connections to other hosts: the client side of `tls`.

It accepts session tickets on an idle connection, and resumes the last session of the origin.
"""

import asyncio
import socket
import ssl

from gateway.network.tls import MAX_RECORD, TlsLayer

MSG_DONTWAIT = int(socket.MSG_DONTWAIT)
MAX_RESUMPTION_TIME = 3600.0
"""Seconds after the verification of a certificate in which sessions are resumed. Every resumption brings a new ticket:
without this limit the certificate might never be verified again (RFC 8446 §4.6.1)."""


class TlsSession:
    """The session that the next handshake with an origin resumes: that of the newest connection to it.

    The session is read only when it is needed. Reading it costs a fifth of a handshake, and a newer ticket may still
    arrive.
    """

    def __init__(self) -> None:
        self._newest: ssl.SSLObject | None = None
        self._session: ssl.SSLSession | None = None
        self.verified_at = 0.0

    def session(self, now: float) -> ssl.SSLSession | None:
        """Return the session to resume, if any. `now` is the time of the loop, as `verified_at` is."""
        if now - self.verified_at >= MAX_RESUMPTION_TIME:
            self.forget()
        return self._newest.session if self._newest is not None else self._session

    def remember(self, tls: ssl.SSLObject, *, verified_at: float) -> None:
        """Make the session of a new connection the one to resume."""
        self._newest = tls
        self.verified_at = verified_at

    def release(self, tls: ssl.SSLObject) -> None:
        """Keep only the session of a connection that ended, if it is the newest connection."""
        if self._newest is tls:
            self._newest, self._session = None, tls.session

    def forget(self) -> None:
        """Forget the session: the next handshake is a full one."""
        self._newest = self._session = None


class TlsTransport(TlsLayer):
    """The client side. `eof_received` of `app` is called after close_notify; `connection_lost` gets an error if the
    connection ended without it.
    """

    def __init__(
        self,
        app: asyncio.Protocol,
        sock: socket.socket,
        *,
        context: ssl.SSLContext,
        server_name: str,
        tls_session: TlsSession,
    ) -> None:
        """`sock` is the socket of the TCP connection, even if another TLS layer is between. Raise UnicodeError for a
        name that no certificate can contain.
        """
        super().__init__(app)
        self._loop = loop = asyncio.get_running_loop()
        self._socket = sock
        self._tls_session = tls_session
        session = tls_session.session(loop.time())
        self._verified_at = tls_session.verified_at
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=server_name, session=session)
        self.opened: asyncio.Future[None] = loop.create_future()
        """Done after the handshake; an OSError, such as ssl.SSLError, if it failed."""

    def is_idle_clean(self) -> bool:
        """Return whether the idle connection is open and has received no application data.

        Read the socket: a session ticket or a key update (RFC 8446 §4.6) may have arrived, and the connection is still
        usable then. This costs one system call if nothing has arrived.
        """
        if isinstance(self._transport, TlsTransport):  # the TLS connection to the egress proxy reads the socket
            return self._transport.is_idle_clean() and not self.is_closing()
        while not self.is_closing():
            try:
                data = self._socket.recv(MAX_RECORD, MSG_DONTWAIT)
            except BlockingIOError:
                return True
            except OSError:
                return False
            if not data:
                return False
            self.data_received(data)
        return False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start the handshake (asyncio)."""
        super().connection_made(transport)
        self._handshake()

    def eof_received(self) -> None:
        """Fail: TCP ended without close_notify, which an attacker can cause (RFC 8446 §6.1) (asyncio)."""
        if self._is_open:
            self._fail(ssl.SSLEOFError(ssl.SSL_ERROR_EOF, "TLS ended without close_notify"))

    def connection_lost(self, exc: Exception | None) -> None:
        """End the connection (asyncio)."""
        self._is_closing = self._is_lost = True
        error = self._error or exc
        if self._is_open:
            self._tls_session.release(self._tls)
            self._app.connection_lost(error)
            return
        self._tls_session.forget()  # make the next handshake a full one, whatever the cause
        if not self.opened.done():
            self.opened.set_exception(error or ConnectionResetError("the connection ended during the handshake"))
            self.opened.exception()  # mark it as retrieved: the waiter may be cancelled

    def _on_open(self) -> None:
        verified_at = self._verified_at if self._tls.session_reused else self._loop.time()
        self._tls_session.remember(self._tls, verified_at=verified_at)
        self._app.connection_made(self)
        if not self.opened.done():
            self.opened.set_result(None)

    def _on_end(self) -> None:
        self._app.eof_received()
        self.close()
