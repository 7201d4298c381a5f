"""TLS over an open connection: OpenSSL works in memory, and the loop's own transport carries its records.

Unlike the loops' own TLS it distinguishes a clean end from a truncation, and reads a large body at half the cost; small
exchanges cost the same. `TlsLayer` has what both sides share. `TlsTransport` is the client's side: it accepts session
tickets on an idle connection and resumes the origin's last session. `caller_tls` is the server's side.
"""

import asyncio
import socket
import ssl
from abc import ABC, abstractmethod
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, cast

DONTWAIT = int(socket.MSG_DONTWAIT)
RECORD = 16 * 1024
"""Bytes that one record can hold (RFC 8446 §5.1): a read of so many leaves nothing of it in OpenSSL."""
SLICE = 64 * 1024
"""Bytes that OpenSSL gets at once: its memory buffers grow with their content and never shrink."""
RESUMED_FOR = 3600.0
"""Seconds for which sessions are resumed after a certificate was verified. Every resumption brings a new ticket:
without a limit no certificate might be verified again (RFC 8446 §4.6.1)."""


class TlsSession:
    """The session that the next handshake with one origin resumes: that of its newest connection in one context.

    The session is read only when it is needed: that costs a fifth of a handshake, and the newest ticket counts, which
    may arrive late.
    """

    def __init__(self) -> None:
        self._newest: ssl.SSLObject | None = None
        self._session: ssl.SSLSession | None = None
        self.verified_at = 0.0

    def session(self, now: float) -> ssl.SSLSession | None:
        """Return the session to resume, if any. `now` and `verified_at` are the loop's time."""
        if now - self.verified_at >= RESUMED_FOR:
            self.forget()
        return self._newest.session if self._newest is not None else self._session

    def remember(self, tls: ssl.SSLObject, *, verified_at: float) -> None:
        """Note a new connection: its session is the one to resume."""
        self._newest = tls
        self.verified_at = verified_at

    def release(self, tls: ssl.SSLObject) -> None:
        """Keep the session of a connection that ended, if it is the newest, and drop the connection's other state."""
        if self._newest is tls:
            self._newest, self._session = None, tls.session

    def forget(self) -> None:
        """Forget the session: the next handshake is a full one."""
        self._newest = self._session = None


class TlsLayer(asyncio.Transport, asyncio.Protocol, ABC):
    """The protocol of a TCP transport, and the transport of `app`, which is called only after the handshake.

    It buffers nothing: written data goes encrypted to the TCP transport at once, whose back-pressure is passed on;
    arriving data is decrypted at once, so that `app` may get up to 256 KiB after `pause_reading`. The context must
    refuse renegotiation, so that no write has to wait for a read.
    """

    _tls: ssl.SSLObject

    def __init__(self, app: asyncio.Protocol) -> None:
        super().__init__()
        self._app = app
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._raw: asyncio.Transport
        self._error: Exception | None = None
        self._is_open = self._is_closing = self._is_lost = False

    # Transport of `app` ---------------------------------------------------------------------------------------------

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Encrypt and send. Data for a closing transport is dropped, as with every transport."""
        if len(data) <= SLICE:
            self._encrypt(data)
            return
        view = memoryview(data)
        for start in range(0, len(view), SLICE):
            self._encrypt(view[start : start + SLICE])

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview]) -> None:
        """Send small parts joined, large ones separately."""
        parts = list(list_of_data)
        if sum(map(len, parts)) <= SLICE:
            self._encrypt(b"".join(parts))
            return
        for part in parts:
            self.write(part)

    def close(self) -> None:
        """Send close_notify, and close when all is sent."""
        if not self._is_closing:
            self._detach()
            self._raw.close()

    def abort(self) -> None:
        """Close at once; send close_notify if the socket accepts it (RFC 8446 §6.1)."""
        if not self._is_closing:
            self._detach()
        if not self._is_lost:
            self._raw.abort()

    def is_closing(self) -> bool:
        """Return whether either side has begun to close."""
        return self._is_closing or self._raw.is_closing()

    def pause_reading(self) -> None:
        """Stop reading from the socket."""
        self._raw.pause_reading()

    def resume_reading(self) -> None:
        """Resume reading from the socket."""
        self._raw.resume_reading()

    def is_reading(self) -> bool:
        """Return whether the socket is read."""
        return self._raw.is_reading()

    def get_write_buffer_size(self) -> int:
        """Return the number of encrypted bytes that are not sent yet."""
        return self._raw.get_write_buffer_size()

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """Return low and high water marks in encrypted bytes."""
        return self._raw.get_write_buffer_limits()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Set the water marks in encrypted bytes."""
        self._raw.set_write_buffer_limits(high, low)

    def can_write_eof(self) -> bool:
        """Return False: TLS has no half-closed state that servers honour."""
        return False

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Pass the connection to another protocol: a tunnel is open, and the origin's bytes follow."""
        self._app = cast(asyncio.Protocol, protocol)

    def get_protocol(self) -> asyncio.BaseProtocol:
        """Return the protocol of the connection."""
        return self._app

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return `ssl_object`, or what the TCP transport returns."""
        return self._tls if name == "ssl_object" else self._raw.get_extra_info(name, default)

    # Protocol of the TCP transport ----------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start the handshake (asyncio)."""
        self._raw = cast(asyncio.Transport, transport)
        self._handshake()

    def data_received(self, data: bytes) -> None:
        """Decrypt bytes (asyncio)."""
        if len(data) <= SLICE:
            self._receive(data)
        else:
            view = memoryview(data)
            for start in range(0, len(view), SLICE):
                self._receive(view[start : start + SLICE])
        self._flush()

    def pause_writing(self) -> None:
        """Pause the protocol: the other side reads slowly (asyncio)."""
        self._app.pause_writing()

    def resume_writing(self) -> None:
        """Resume the protocol (asyncio)."""
        self._app.resume_writing()

    # What the two sides do differently ------------------------------------------------------------------------------

    @abstractmethod
    def _on_open(self) -> None:
        """Tell the protocol above that the handshake is complete."""

    @abstractmethod
    def _on_end(self) -> None:
        """Tell the protocol above that the other side has sent close_notify."""

    # Shared ---------------------------------------------------------------------------------------------------------

    def _handshake(self) -> None:
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            self._flush()
            return
        except ssl.SSLError as error:
            self._fail(error)
            return
        self._flush()
        self._is_open = True
        self._on_open()

    def _receive(self, data: bytes | memoryview) -> None:
        self._incoming.write(data)
        if not self._is_open:
            self._handshake()
        if self._is_open:
            self._decrypt()

    def _decrypt(self) -> None:
        incoming, read, deliver = self._incoming, self._tls.read, self._app.data_received
        try:
            while incoming.pending and not self._is_closing:
                if data := read(RECORD):
                    deliver(data)
                else:
                    self._on_end()
                    return
        except ssl.SSLWantReadError:  # a part of a record, or a message to TLS itself
            return
        except ssl.SSLError as error:
            self._fail(error)

    def _encrypt(self, data: bytes | bytearray | memoryview) -> None:
        if self._is_closing:
            return
        try:
            self._tls.write(data)
        except ssl.SSLError as error:
            self._fail(error)
        else:
            self._raw.write(self._outgoing.read())

    def _flush(self) -> None:
        if self._outgoing.pending:
            self._raw.write(self._outgoing.read())

    def _detach(self) -> None:
        self._is_closing = True
        with suppress(ssl.SSLError):  # it would wait for the other side's close_notify; after a failure there is none
            self._tls.unwrap()
        self._flush()

    def _fail(self, error: Exception) -> None:
        if not self._is_closing:
            self._error = error
            self.abort()


class TlsTransport(TlsLayer):
    """The client's side. `eof_received` of `app` means that the upstream sent close_notify, `connection_lost` with an
    error that it did not.
    """

    def __init__(
        self,
        app: asyncio.Protocol,
        sock: socket.socket,
        *,
        context: ssl.SSLContext,
        server_name: str,
        resumption: TlsSession,
    ) -> None:
        """`sock` is the TCP transport's, also where another TLS lies between. Raise UnicodeError for a name that no
        certificate can carry.
        """
        super().__init__(app)
        self._loop = loop = asyncio.get_running_loop()
        self._socket = sock
        self._resumption = resumption
        session = resumption.session(loop.time())
        self._verified_at = resumption.verified_at
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=server_name, session=session)
        self.opened: asyncio.Future[None] = loop.create_future()
        """Done with the handshake, or an OSError with the cause (ssl.SSLError is one)."""

    def is_idle_clean(self) -> bool:
        """Return whether the idle connection is alive and no unexpected data has arrived.

        Reads the socket, so that a session ticket or a new key (RFC 8446 §4.6) does not discard the connection. Costs
        one system call if nothing has arrived.
        """
        if isinstance(self._raw, TlsTransport):  # the connection to an egress proxy reads the socket
            return self._raw.is_idle_clean() and not self.is_closing()
        while not self.is_closing():
            try:
                data = self._socket.recv(RECORD, DONTWAIT)
            except BlockingIOError:
                return True
            except OSError:
                return False
            if not data:
                return False
            self.data_received(data)
        return False

    def eof_received(self) -> None:
        """Fail: TCP ended before TLS, which an attacker can cause (RFC 8446 §6.1) (asyncio)."""
        if self._is_open:
            self._fail(ssl.SSLEOFError(ssl.SSL_ERROR_EOF, "TLS ended without close_notify"))

    def connection_lost(self, exc: Exception | None) -> None:
        """End the connection (asyncio)."""
        self._is_closing = self._is_lost = True
        error = self._error or exc
        if self._is_open:
            self._resumption.release(self._tls)
            self._app.connection_lost(error)
            return
        self._resumption.forget()  # whatever the cause, the next handshake is a full one
        if not self.opened.done():
            self.opened.set_exception(error or ConnectionResetError("the connection ended within the handshake"))
            self.opened.exception()  # retrieve it: the waiter may have left

    def _on_open(self) -> None:
        verified_at = self._verified_at if self._tls.session_reused else self._loop.time()
        self._resumption.remember(self._tls, verified_at=verified_at)
        self._app.connection_made(self)
        if not self.opened.done():
            self.opened.set_result(None)

    def _on_end(self) -> None:
        self._app.eof_received()
        self.close()
