"""TLS on connections of callers: the server side of `tls`.

A caller may close its side with close_notify, or close TCP without it, and still wait for the response (RFC 8446 §6.1):
the framing of HTTP shows whether the request is complete. A truncated response ends without close_notify.
"""

import asyncio
import ssl
from collections.abc import Callable
from contextlib import suppress

from gateway.network.tls import TlsLayer

# Causes of a failed handshake, by the reason that OpenSSL reports.
_CAUSES = {
    "UNSUPPORTED_PROTOCOL": "the caller offers no version from TLS 1.2 on",
    "NO_SHARED_CIPHER": "the caller offers no cipher suite that the gateway accepts",
    "NO_SUITABLE_SIGNATURE_ALGORITHM": "the caller offers no signature algorithm that fits the certificate",
    "NO_SUITABLE_KEY_SHARE": "the caller offers no key exchange that the gateway accepts",
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": "the caller sent no certificate",
    "TLSV1_ALERT_UNKNOWN_CA": "the caller does not trust the certificate: check its trusted authorities",
    "SSLV3_ALERT_BAD_CERTIFICATE": "the caller rejected the certificate",
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": "the caller rejected the certificate",
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": "the caller rejected the certificate: it has expired",
    "TLSV1_ALERT_ACCESS_DENIED": "the caller rejected the certificate",
}


def handshake_failure(error: Exception) -> str:
    """Return the cause of a failed handshake. The text contains no data that the caller sent."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the caller's certificate is not trusted: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        reason = error.reason or ""
        return _CAUSES.get(reason, reason.lower().replace("_", " ") or "the handshake was interrupted")
    return "the caller closed the connection"


def server_tls_context(cert: str, key: str | None, *, password: str) -> ssl.SSLContext:
    """Return the context of a listener. Raise OSError or ssl.SSLError for a file that cannot be used."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION  # as in TLS 1.3, so that no write has to wait for a read
    context.set_alpn_protocols(["http/1.1"])
    # Always pass a password: without one, OpenSSL prompts on the terminal.
    context.load_cert_chain(cert, key, password=password)
    return context


class CallerTls(TlsLayer):
    """The server side of one connection. After the handshake, `make_app` returns the protocol that gets the data.
    `on_failure` is called with the cause of a handshake that fails or is cut off.
    """

    def __init__(
        self,
        context: ssl.SSLContext,
        make_app: Callable[[], asyncio.Protocol],
        on_failure: Callable[[Exception], None],
    ) -> None:
        super().__init__(asyncio.Protocol())
        self._make_app = make_app
        self._on_failure = on_failure
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._has_ended = self._is_write_closed = False

    def abort(self) -> None:
        """Close at once, without close_notify: the caller would take it for the end of a body that has no length."""
        self._is_closing = True
        if not self._is_lost:
            self._transport.abort()

    def can_write_eof(self) -> bool:
        """Return True: close_notify closes only the side that sends it."""
        return True

    def write_eof(self) -> None:
        """Send close_notify and FIN. Discard everything that the caller sends after this."""
        if not self._is_closing and not self._is_write_closed:
            self._is_write_closed = self._discards_input = True
            with suppress(ssl.SSLError):  # raised because the close_notify of the caller has not arrived
                self._tls.unwrap()
            self._flush()
            self._transport.write_eof()

    def eof_received(self) -> bool:
        """Report the end of the input (asyncio). Return whether the transport stays open for the response."""
        if not self._is_open:
            return False
        return self._has_ended or bool(self._app.eof_received())

    def connection_lost(self, exc: Exception | None) -> None:
        """End the connection (asyncio)."""
        self._is_closing = self._is_lost = True
        if self._is_open:
            self._app.connection_lost(self._error or exc)
        else:
            self._on_failure(self._error or exc or ConnectionResetError("the connection ended during the handshake"))

    def _on_open(self) -> None:
        self._app = self._make_app()
        self._app.connection_made(self)

    def _on_end(self) -> None:
        self._has_ended = self._discards_input = True
        if not self._app.eof_received():
            self.close()

    def _fail(self, error: Exception) -> None:
        if not self._is_closing:
            self._error = error
            self._is_closing = True
            self._flush()  # sends the TLS alert
            self._transport.close()
