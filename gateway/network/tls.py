"""TLS over an open connection: OpenSSL works on memory buffers, and the TCP transport of the loop carries the records.

Unlike the TLS of uvloop and asyncio, it distinguishes a clean end from a truncation, and it reads a large body at half
the cost. Small exchanges cost the same. `TlsLayer` is common to both sides: `tls_client` and `caller_tls`.
"""

import asyncio
import ssl
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import partial
from itertools import chain
from typing import Any, cast

MAX_RECORD = 16 * 1024
"""Maximum bytes of a record (RFC 8446 §5.1): one read of this size gets a whole record from OpenSSL."""
MAX_SLICE = 64 * 1024
"""Maximum bytes that OpenSSL gets at once: its memory buffers grow with their content and never shrink."""
READ_SIZE = 240 * 1024
"""Maximum bytes of one read from the socket."""
NOTHING = memoryview(b"")
DECRYPTED_SIZE = READ_SIZE + MAX_RECORD
"""Maximum decrypted bytes of one read, with the record that the read before began."""


class _Buffers(threading.local):
    """The buffers of a thread, which all its connections share."""

    def __init__(self) -> None:
        self.received = memoryview(bytearray(READ_SIZE))
        """What sockets are read into. OpenSSL gets its bytes, which are encrypted, before the next read."""
        self.decrypted = memoryview(bytearray(DECRYPTED_SIZE))
        """What OpenSSL decrypts into. `app` gets a copy of its bytes."""


_buffers = _Buffers()


def _slices(data: bytes | bytearray | memoryview) -> Iterator[memoryview]:
    view = memoryview(data)
    return (view[start : start + MAX_SLICE] for start in range(0, len(view), MAX_SLICE))


class TlsLayer(asyncio.Transport, asyncio.BufferedProtocol, ABC):
    """The protocol of a TCP transport and the transport of `app`, which gets no call before the end of the handshake.

    It buffers nothing. Written data is encrypted and passed to the TCP transport at once, and so is the back-pressure
    of that transport. Received data is decrypted at once, and `app` gets all that one read of the socket brought in one
    call, up to 256 KiB; a BufferedProtocol gets it in its own buffer. The context must refuse renegotiation: then no
    write has to wait for a read.
    """

    _tls: ssl.SSLObject

    def __init__(self, app: asyncio.Protocol) -> None:
        super().__init__()
        self._received, self._decrypted = _buffers.received, _buffers.decrypted
        self._app = app
        self._buffered_app: asyncio.BufferedProtocol | None = None
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._transport: asyncio.Transport
        self._error: Exception | None = None
        self._is_open = self._is_closing = self._is_lost = False
        self._discards_input = False

    # Transport of `app` ---------------------------------------------------------------------------------------------

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Encrypt and send data; drop it if the transport is closing, as every transport does."""
        if len(data) > MAX_SLICE:
            self.writelines((data,))
        elif not self._is_closing:
            try:
                self._tls.write(data)
            except ssl.SSLError as error:
                self._fail(error)
            else:
                self._transport.write(self._outgoing.read())

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview]) -> None:
        """Encrypt and send the parts in one write."""
        parts = list(list_of_data)
        if sum(map(len, parts)) <= MAX_SLICE:
            self.write(b"".join(parts))
        elif not self._is_closing:
            encrypted: list[bytes] = []
            try:
                for part in chain.from_iterable(map(_slices, parts)):
                    self._tls.write(part)
                    encrypted.append(self._outgoing.read())
            except ssl.SSLError as error:
                self._fail(error)
            else:
                self._transport.writelines(encrypted)

    def close(self) -> None:
        """Send close_notify, and close when all is sent."""
        if not self._is_closing:
            self._send_close_notify()
            self._transport.close()

    def abort(self) -> None:
        """Close at once; send close_notify if the socket accepts it (RFC 8446 §6.1)."""
        if not self._is_closing:
            self._send_close_notify()
        if not self._is_lost:
            self._transport.abort()

    def is_closing(self) -> bool:
        """Return whether TLS or TCP is closing."""
        return self._is_closing or self._transport.is_closing()

    def pause_reading(self) -> None:
        """Stop reading from the socket."""
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Resume reading from the socket."""
        self._transport.resume_reading()

    def is_reading(self) -> bool:
        """Return whether the socket is read."""
        return self._transport.is_reading()

    def get_write_buffer_size(self) -> int:
        """Return the number of encrypted bytes that wait to be sent."""
        return self._transport.get_write_buffer_size()

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """Return the low and high water marks, in encrypted bytes."""
        return self._transport.get_write_buffer_limits()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Set the water marks, in encrypted bytes."""
        self._transport.set_write_buffer_limits(high, low)

    def can_write_eof(self) -> bool:
        """Return False: servers do not support half-closed TLS connections."""
        return False

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Replace `app`: a large body begins or ends, or the next bytes are those of the origin behind a tunnel. A TLS
        layer in this one gets bytes without a buffer: its buffer is that of this layer.
        """
        self._app = cast(asyncio.Protocol, protocol)
        is_buffered = isinstance(protocol, asyncio.BufferedProtocol) and not isinstance(protocol, TlsLayer)
        self._buffered_app = cast(asyncio.BufferedProtocol, protocol) if is_buffered else None

    def get_protocol(self) -> asyncio.BaseProtocol:
        """Return the protocol of the connection."""
        return self._app

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return `ssl_object`, or what the TCP transport returns."""
        return self._tls if name == "ssl_object" else self._transport.get_extra_info(name, default)

    # Protocol of the TCP transport ----------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """TCP is open (asyncio)."""
        self._transport = cast(asyncio.Transport, transport)

    def get_buffer(self, _sizehint: int) -> memoryview:
        """Return the buffer to read into (asyncio)."""
        return self._received

    def buffer_updated(self, nbytes: int) -> None:
        """Decrypt bytes in the buffer (asyncio). Most often they are one record, which needs no other buffer."""
        data, incoming = self._received[:nbytes], self._incoming
        if nbytes > MAX_RECORD or self._buffered_app is not None or not self._is_open or self._discards_input:
            self._receive(data)
            return
        incoming.write(data)
        try:
            record = self._tls.read(MAX_RECORD)
        except ssl.SSLWantReadError:  # as in `_receive`
            self._flush()
        except ssl.SSLError as error:
            self._fail(error)
        else:
            if not record or incoming.pending:
                self._decrypted[: len(record)] = record
                self._receive(NOTHING, len(record), has_more=True)
                return
            if not self._is_closing:
                self._app.data_received(record)
            if self._outgoing.pending:
                self._flush()

    def data_received(self, data: bytes) -> None:
        """Decrypt bytes that were not read into the buffer, such as those of a TLS layer below."""
        self._receive(memoryview(data))

    def pause_writing(self) -> None:
        """Pause `app`: the peer reads slowly (asyncio)."""
        self._app.pause_writing()

    def resume_writing(self) -> None:
        """Resume `app` (asyncio)."""
        self._app.resume_writing()

    # Different on the two sides -------------------------------------------------------------------------------------

    @abstractmethod
    def _on_open(self) -> None:
        """Notify `app` that the handshake is complete."""

    @abstractmethod
    def _on_end(self) -> None:
        """Notify `app` that the peer has sent close_notify."""

    # Shared ---------------------------------------------------------------------------------------------------------

    def _handshake(self) -> bool:
        """Go on with the handshake. Return whether it is complete."""
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            self._flush()
            return False
        except ssl.SSLError as error:
            self._fail(error)
            return False
        self._flush()
        self._is_open = True
        self._on_open()
        return True

    def _receive(self, data: memoryview, size: int = 0, *, has_more: bool = False) -> None:
        """Decrypt all of the data, then deliver it in one piece, with `size` bytes that are decrypted already.
        `has_more`: OpenSSL may have something to read even if there is no data.
        """
        if self._discards_input:
            return
        incoming = self._incoming
        read: Callable[[int, memoryview], int] = self._tls.read  # type: ignore[assignment] # bytes without a buffer
        buffer = self._next_buffer()
        end: Callable[[], None] | None = None
        for part in (data,) if len(data) <= MAX_SLICE else _slices(data):
            incoming.write(part)
            if not self._is_open and not self._handshake():
                continue
            try:
                while incoming.pending or has_more:
                    count = read(MAX_RECORD, buffer[size:] if size else buffer)
                    if not count:
                        end = self._on_end
                        break
                    size += count
                    if has_more := size == len(buffer):  # OpenSSL may have more of the record
                        self._deliver(buffer, size)
                        buffer, size = self._next_buffer(), 0
            except ssl.SSLWantReadError:  # an incomplete record, or a message of the TLS protocol itself
                pass
            except ssl.SSLError as error:
                end = partial(self._fail, error)
        if size:
            self._deliver(buffer, size)
        if end is not None and not self._is_closing:
            end()
        if self._outgoing.pending:
            self._flush()

    def _next_buffer(self) -> memoryview:
        app = self._buffered_app
        return self._decrypted if app is None else cast(memoryview, app.get_buffer(-1))

    def _deliver(self, buffer: memoryview, size: int) -> None:
        if self._is_closing or self._discards_input:
            return
        if self._buffered_app is None:
            self._app.data_received(bytes(buffer[:size]))
        else:
            self._buffered_app.buffer_updated(size)

    def _flush(self) -> None:
        if self._outgoing.pending:
            self._transport.write(self._outgoing.read())

    def _send_close_notify(self) -> None:
        self._is_closing = True
        with suppress(ssl.SSLError):  # raised because the close_notify of the peer has not arrived, or after a failure
            self._tls.unwrap()
        self._flush()

    def _fail(self, error: Exception) -> None:
        if not self._is_closing:
            self._error = error
            self.abort()
