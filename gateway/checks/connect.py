"""Looks at the way to an origin: name, TCP, egress proxy, TLS; with the certificate, whether it is good or not."""

import asyncio
import ssl
import time
from ssl import MemoryBIO, SSLObject, SSLSession
from typing import Self

from cryptography import x509
from cryptography.x509.oid import NameOID

from gateway.content.foreign_text import printable_line
from gateway.diagnosis.facts import Certificate, ConnectionProbe
from gateway.errors import UpstreamUnreachable
from gateway.http.upstream_connection import UpstreamConnection
from gateway.http.upstream_dialer import dial
from gateway.network.dial import Origin
from gateway.proxy.headers import RESPONSE_RULES

NAMES = (NameOID.COMMON_NAME, NameOID.ORGANIZATION_NAME)


class NonVerifyingContext(ssl.SSLContext):
    """A context that takes any certificate, to look at it; not a byte of HTTP is said over what it opens."""

    def __new__(cls) -> Self:
        """For a client."""
        made = super().__new__(cls, ssl.PROTOCOL_TLS_CLIENT)
        made.check_hostname = False
        made.verify_mode = ssl.CERT_NONE
        return made

    def __init__(self) -> None:
        self.opened: SSLObject | None = None

    def wrap_bio(
        self,
        incoming: MemoryBIO,
        outgoing: MemoryBIO,
        server_side: bool = False,  # noqa: FBT001, FBT002 - the signature of ssl
        server_hostname: str | bytes | None = None,
        session: SSLSession | None = None,
    ) -> SSLObject:
        """As every context does; and keeps what it made."""
        self.opened = super().wrap_bio(incoming, outgoing, server_side, server_hostname, session)
        return self.opened


async def check_connection(origin: Origin, *, within: float) -> ConnectionProbe:
    """Connects to the origin as a request would, and says how far that came within so many seconds."""
    step, detail, verify = "", "", 0
    try:
        async with asyncio.timeout(within):
            (await dial(origin, _lost, RESPONSE_RULES)).abort()
    except TimeoutError:
        step, detail = "time", f"no connection within {within:g} s"
    except UpstreamUnreachable as error:
        step, detail = _parted(error.reason, origin)
        cause = error.__cause__
        verify = cause.verify_code if isinstance(cause, ssl.SSLCertVerificationError) else 0
    version, certificate = "", None
    if origin.tls is not None and step in {"", "TLS"}:
        version, certificate = await _look(origin, within=within)
    via = origin.proxy
    return ConnectionProbe(
        origin.name,
        step=step,
        detail=detail,
        proxy=f"{via.host}:{via.port}" if via else "",
        verify=verify,
        version=version,
        certificate=certificate,
        now=time.time(),
    )


def _parted(reason: str, origin: Origin) -> tuple[str, str]:
    """Step and detail of a reason of `proxy.dialing`."""
    step, _, detail = reason.removeprefix(f"{origin.name}: ").partition(": ")
    return (step, detail) if detail else ("connect", step)


async def _look(origin: Origin, *, within: float) -> tuple[str, Certificate | None]:
    """The version of TLS and the certificate, of a connection of its own."""
    looking = NonVerifyingContext()
    try:
        async with asyncio.timeout(within):
            (await dial(Origin(origin.host, origin.port, looking, origin.proxy), _lost, RESPONSE_RULES)).abort()
    except (UpstreamUnreachable, TimeoutError):
        return "", None
    opened = looking.opened
    der = opened.getpeercert(binary_form=True) if opened is not None else None
    return (opened.version() or "" if opened is not None else ""), _read(der) if der else None


def _read(der: bytes) -> Certificate | None:
    try:
        read = x509.load_der_x509_certificate(der)
        return Certificate(
            subject=_name(read.subject),
            issuer=_name(read.issuer),
            names=_names(read),
            begins=read.not_valid_before_utc.timestamp(),
            ends=read.not_valid_after_utc.timestamp(),
        )
    except ValueError:  # a certificate that OpenSSL takes and cryptography does not
        return None


def _name(name: x509.Name) -> str:
    """Common name and organization, as far as there are any."""
    parts = [str(found[0].value) for oid in NAMES if (found := name.get_attributes_for_oid(oid))]
    return _plain(", ".join(dict.fromkeys(parts)) or name.rfc4514_string() or "nobody")


def _names(read: x509.Certificate) -> tuple[str, ...]:
    try:
        names = read.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    return tuple(_plain(str(name.value)) for name in names if isinstance(name, x509.DNSName | x509.IPAddress))


def _plain(text: str) -> str:
    """A stranger wrote it: one line of printable ASCII, bounded."""
    return printable_line(text, 120)


def _lost(_: UpstreamConnection) -> None:
    """It was only looked at."""
