"""The certificate of a listener for callers, from its files."""

import ssl
import time

import msgspec

from gateway.config.listen_model import ListenTls
from gateway.config.secrets import SecretReader
from gateway.network.caller_tls import server_tls_context
from gateway.system.files import MAX_BYTES, read_file


class ListenerCertificate(msgspec.Struct, frozen=True):
    """A loaded certificate: the context of new connections; `loaded_at` and `expires_at` in seconds since 1970."""

    context: ssl.SSLContext
    loaded_at: float
    expires_at: float


class UnusableCertificate(OSError):
    """The files of a listener's TLS cannot be used. Its text is "problem; remedy"."""


def load_listener_certificate(tls: ListenTls, secrets: SecretReader) -> ListenerCertificate:
    """Load certificate, key and authorities; blocks. Raise UnusableCertificate, or SecretProblem for the password."""
    from gateway.config import key_files  # noqa: PLC0415 - imports cryptography, which most configurations do not need

    password = "" if tls.key_password is None else secrets.read(tls.key_password).get_secret_value()
    try:
        found = key_files.certificate(_read(tls.cert))
        _read(tls.key or tls.cert)
        context = server_tls_context(tls.cert, tls.key, password=password)
    except ssl.SSLError:
        what = f"`{tls.cert}` and its key are not PEM, do not belong together, or need another `key_password`"
        raise UnusableCertificate(f"{what}; replace both files") from None
    except ValueError as cause:
        raise UnusableCertificate(f"`{tls.cert}` {cause}") from None
    if tls.client_ca is not None:
        is_required = tls.client_certificate == "required"
        context.verify_mode = ssl.CERT_REQUIRED if is_required else ssl.CERT_OPTIONAL
        try:
            context.load_verify_locations(cadata=_read(tls.client_ca).decode("ascii", "replace"))
        except ssl.SSLError:
            what = f"`{tls.client_ca}` holds no certificates in PEM; name a PEM file of authorities"
            raise UnusableCertificate(what) from None
    return ListenerCertificate(context, time.time(), found.not_valid_after_utc.timestamp())


def _read(file: str) -> bytes:
    try:
        return read_file(file, MAX_BYTES)
    except OSError as cause:
        reason = cause.strerror or type(cause).__name__
        raise UnusableCertificate(f"`{file}` cannot be read ({reason}); correct the path or its permissions") from None
