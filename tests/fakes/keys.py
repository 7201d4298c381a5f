"""Keys and certificates for tests: made once for each process, since RSA keys take their time."""

import datetime as dt
import functools
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_address

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID


@dataclass(frozen=True)
class Pair:
    """A private key with its own self-signed certificate; it is good for 127.0.0.1 and as an authority."""

    private: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
    certificate: str

    @property
    def key(self) -> str:
        return self.locked("")

    def locked(self, password: str) -> str:
        """The key in PEM, encrypted with the password if there is one."""
        lock = BestAvailableEncryption(password.encode()) if password else NoEncryption()
        return self.private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, lock).decode()


def pair(kind: str = "rsa", name: str = "client") -> Pair:
    """A pair of `kind`: rsa (2048), short (RSA of 1024), ec (P-256) or p384; the same one for the same words."""
    return _pair(kind, name)


@functools.cache
def _pair(kind: str, name: str) -> Pair:
    private = _MAKERS[kind]()
    named = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{kind} {name}")])
    day, now = dt.timedelta(days=1), dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(named)
        .issuer_name(named)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - day)
        .not_valid_after(now + day)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(private, hashes.SHA256())
    )
    return Pair(private, certificate.public_bytes(Encoding.PEM).decode())


def _rsa(size: int) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=size)


_MAKERS: dict[str, Callable[[], rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey]] = {
    "rsa": lambda: _rsa(2048),
    "short": lambda: _rsa(1024),
    "ec": lambda: ec.generate_private_key(ec.SECP256R1()),
    "p384": lambda: ec.generate_private_key(ec.SECP384R1()),
}
