"""Check the connection to an origin: name, TCP, egress proxy, TLS. Read the certificate even if it is invalid."""

import asyncio
import ssl
import time
from ssl import MemoryBIO, SSLObject, SSLSession
from typing import Self

from cryptography import x509
from cryptography.x509.oid import NameOID

from gateway.content.untrusted_text import printable_line
from gateway.diagnosis.facts import ConnectionProbe, ServerCertificate
from gateway.errors import UpstreamUnreachable
from gateway.http.upstream_connection import UpstreamConnection
from gateway.http.upstream_dialer import dial
from gateway.network.dial import Origin
from gateway.proxy.headers import RESPONSE_RULES

SUBJECT_NAMES = (NameOID.COMMON_NAME, NameOID.ORGANIZATION_NAME)


class NonVerifyingContext(ssl.SSLContext):
    """A context that accepts any certificate, to read it; no HTTP is sent over its connections."""

    def __new__(cls) -> Self:
        """Make a context of a client."""
        context = super().__new__(cls, ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context

    def __init__(self) -> None:
        self.tls_object: SSLObject | None = None

    def wrap_bio(
        self,
        incoming: MemoryBIO,
        outgoing: MemoryBIO,
        server_side: bool = False,  # noqa: FBT001, FBT002 - the signature of ssl
        server_hostname: str | bytes | None = None,
        session: SSLSession | None = None,
    ) -> SSLObject:
        """Create the TLS object and store it: it has the certificate."""
        self.tls_object = super().wrap_bio(incoming, outgoing, server_side, server_hostname, session)
        return self.tls_object


async def check_connection(origin: Origin, *, within: float) -> ConnectionProbe:
    """Connect to the origin as a request would. `within` is the time limit in seconds."""
    step, detail, verify = "", "", 0
    try:
        async with asyncio.timeout(within):
            (await dial(origin, ignore_closed, RESPONSE_RULES)).abort()
    except TimeoutError:
        step, detail = "time", f"no connection within {within:g} s"
    except UpstreamUnreachable as error:
        step, detail = _split_reason(error.reason, origin)
        cause = error.__cause__
        verify = cause.verify_code if isinstance(cause, ssl.SSLCertVerificationError) else 0
    version, certificate = "", None
    if origin.tls is not None and step in {"", "TLS"}:
        version, certificate = await _read_certificate(origin, within=within)
    return ConnectionProbe(
        origin.name,
        step=step,
        detail=detail,
        proxy=origin.proxy.authority if origin.proxy else "",
        verify_error=verify,
        tls_version=version,
        certificate=certificate,
        now=time.time(),
    )


def _split_reason(reason: str, origin: Origin) -> tuple[str, str]:
    """Return step and detail of a reason of `http.upstream_dialer`."""
    step, _, detail = reason.removeprefix(f"{origin.name}: ").partition(": ")
    return (step, detail) if detail else ("connect", step)


async def _read_certificate(origin: Origin, *, within: float) -> tuple[str, ServerCertificate | None]:
    """Return the version of TLS and the certificate, from another connection."""
    context = NonVerifyingContext()
    try:
        async with asyncio.timeout(within):
            (await dial(Origin(origin.host, origin.port, context, origin.proxy), ignore_closed, RESPONSE_RULES)).abort()
    except (UpstreamUnreachable, TimeoutError):
        return "", None
    if (tls := context.tls_object) is None:
        return "", None
    der = tls.getpeercert(binary_form=True)
    return tls.version() or "", _parse_certificate(der) if der else None


def _parse_certificate(der: bytes) -> ServerCertificate | None:
    try:
        certificate = x509.load_der_x509_certificate(der)
        return ServerCertificate(
            subject=_describe_name(certificate.subject),
            issuer=_describe_name(certificate.issuer),
            names=_host_names(certificate),
            not_before=certificate.not_valid_before_utc.timestamp(),
            not_after=certificate.not_valid_after_utc.timestamp(),
        )
    except ValueError:  # OpenSSL accepts the certificate, cryptography does not
        return None


def _describe_name(name: x509.Name) -> str:
    """Return common name and organization, if there are any."""
    parts = [str(found[0].value) for oid in SUBJECT_NAMES if (found := name.get_attributes_for_oid(oid))]
    return _printable(", ".join(dict.fromkeys(parts)) or name.rfc4514_string() or "no name")


def _host_names(certificate: x509.Certificate) -> tuple[str, ...]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    return tuple(_printable(str(name.value)) for name in names if isinstance(name, x509.DNSName | x509.IPAddress))


def _printable(text: str) -> str:
    """Return foreign text as one short line of printable ASCII."""
    return printable_line(text, 120)


def ignore_closed(_: UpstreamConnection) -> None:
    """Ignore the end of the connection."""
