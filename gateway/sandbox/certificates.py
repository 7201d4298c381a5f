"""Certificates made at the start for HTTPS: valid ones, and those of set-up mistakes."""

import os
import ssl
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_DAY = timedelta(days=1)
_OWN_NAMES = ("127.0.0.1", "::1", "localhost")
_AUTHORITY_KEY_USAGE = {
    name: name in {"key_cert_sign", "crl_sign"}
    for name in "digital_signature content_commitment key_encipherment data_encipherment key_agreement key_cert_sign "
    "crl_sign encipher_only decipher_only".split()
}


class CertificateKind(NamedTuple):
    """The properties of a certificate; `is_published`: the client receives its authority."""

    issuer: str = "OIC Sandbox Authority"
    names: tuple[str, ...] = _OWN_NAMES
    valid_from: timedelta = -_DAY
    valid_until: timedelta = 30 * _DAY
    is_published: bool = True


KINDS = {
    "trusted": CertificateKind(),
    "untrusted": CertificateKind(is_published=False),
    "inspection": CertificateKind(issuer="Sandbox TLS Inspection", is_published=False),
    "expired": CertificateKind(valid_from=-30 * _DAY, valid_until=-_DAY),
    "wrong-name": CertificateKind(names=("another.sandbox.invalid",)),
}
"""By the value of the switch `certificate`."""


def server_context(kind: str) -> tuple[ssl.SSLContext, str]:
    """Return a server context with a certificate of that kind, and its authority in PEM, empty if not published."""
    properties, authority, key = KINDS[kind], _new_key(), _new_key()
    root = _builder(properties.issuer, authority, properties.issuer, begins=-31 * _DAY, ends=31 * _DAY)
    root = root.add_extension(x509.SubjectKeyIdentifier.from_public_key(authority.public_key()), critical=False)
    root = root.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    root = root.add_extension(x509.KeyUsage(**_AUTHORITY_KEY_USAGE), critical=True)
    leaf = _builder("OIC sandbox", key, properties.issuer, begins=properties.valid_from, ends=properties.valid_until)
    leaf = leaf.add_extension(x509.SubjectAlternativeName(list(map(_general, properties.names))), critical=False)
    leaf = leaf.add_extension(
        x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.public_key()), critical=False
    )
    context = _context(_pem_of(key) + _sign(leaf, authority))
    return context, _sign(root, authority) if properties.is_published else ""


def private_key() -> str:
    """Return a new private key on P-256, in PEM (PKCS #8), not encrypted."""
    return _pem_of(_new_key())


def _new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def _pem_of(key: ec.EllipticCurvePrivateKey) -> str:
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    return key.private_bytes(encoding, form, serialization.NoEncryption()).decode()


def _builder(
    subject: str, key: ec.EllipticCurvePrivateKey, issuer: str, *, begins: timedelta, ends: timedelta
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder().subject_name(_name(subject)).issuer_name(_name(issuer))
    builder = builder.not_valid_before(now + begins).not_valid_after(now + ends)
    return builder.public_key(key.public_key()).serial_number(x509.random_serial_number())


def _sign(builder: x509.CertificateBuilder, authority: ec.EllipticCurvePrivateKey) -> str:
    return builder.sign(authority, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _context(pem: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with _file_of(pem.encode("ascii")) as file:
        context.load_cert_chain(file)
    return context


@contextmanager
def _file_of(content: bytes) -> Iterator[str]:
    """Provide a file while `ssl` reads it, since it reads certificates only from files. It is in memory if the
    system has such files (memfd_create(2)), because a container may have no writable folder.
    """
    if sys.platform == "linux":
        with os.fdopen(os.memfd_create("server.pem"), "wb", buffering=0) as memory:
            memory.write(content)
            yield f"/proc/self/fd/{memory.fileno()}"
    else:
        with TemporaryDirectory() as folder:
            file = Path(folder, "server.pem")
            file.touch(0o600)
            file.write_bytes(content)
            yield str(file)
