"""Certificates and the TLS contexts of servers: self-signed, or signed by an authority of the tests."""

import datetime as dt
import ssl
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
DAY = dt.timedelta(days=1)


def sign(
    subject: str,
    key: PrivateKey,
    names: tuple[str, ...] = (),
    *,
    issuer: tuple[str, PrivateKey] | None = None,
    begins: dt.timedelta = -DAY,
    ends: dt.timedelta = DAY,
    is_ca: bool = False,
) -> x509.Certificate:
    """Return a certificate of `key` for host names and addresses, valid from and until so far from now.

    `issuer` is the name and the key of an authority; without one the certificate is self-signed.
    """
    issuer_name, issuer_key = issuer or (subject, key)
    now = dt.datetime.now(dt.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(_common_name(subject))
        .issuer_name(_common_name(issuer_name))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + begins)
        .not_valid_after(now + ends)
    )
    if is_ca or issuer:
        builder = builder.add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(list(map(_general_name, names))), critical=False)
    return builder.sign(issuer_key, hashes.SHA256())


def self_signed(path: Path, *names: str, ends: dt.timedelta = DAY, is_ca: bool = False) -> Path:
    """Write key and self-signed certificate of these names, or of 127.0.0.1, as one PEM file; return the file."""
    key = ec.generate_private_key(ec.SECP256R1())
    begins = min(-DAY, ends - DAY)
    return write(path, key, sign("tests", key, names or ("127.0.0.1",), begins=begins, ends=ends, is_ca=is_ca))


def server_pem(folder: Path, *further: str) -> Path:
    """Write key and self-signed certificate of 127.0.0.1, localhost and further names as `server.pem`; return it."""
    return self_signed(folder / "server.pem", "127.0.0.1", "localhost", *further, is_ca=True)


def write(file: Path, key: PrivateKey, certificate: x509.Certificate) -> Path:
    """Write key and certificate as one PEM file; return the file."""
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    file.write_bytes(secret + certificate.public_bytes(Encoding.PEM))
    return file


def server_context(file: Path) -> ssl.SSLContext:
    """Return the TLS context of a server with the key and the certificate of a PEM file."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return context


def _common_name(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _general_name(name: str) -> x509.GeneralName:
    return x509.IPAddress(ip_address(name)) if name[0].isdigit() else x509.DNSName(name)
