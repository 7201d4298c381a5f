"""Pairs of key and certificate, made once for each process, because generating an RSA key is slow."""

import functools
from collections.abc import Callable
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat

from tests.fakes.certificates import PrivateKey, sign


@dataclass(frozen=True)
class Pair:
    """A private key with a self-signed certificate, which is valid for 127.0.0.1 and as an authority."""

    private: PrivateKey
    certificate: str

    @property
    def key(self) -> str:
        return self.locked("")

    def locked(self, password: str) -> str:
        """Return the key in PEM, encrypted with the password if there is one."""
        lock = BestAvailableEncryption(password.encode()) if password else NoEncryption()
        return self.private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, lock).decode()


def pair(kind: str = "rsa", name: str = "client") -> Pair:
    """Return a pair of `kind`: rsa (2048), short (RSA of 1024), ec (P-256) or p384; equal arguments: the same pair."""
    return _pair(kind, name)


@functools.cache
def _pair(kind: str, name: str) -> Pair:
    private = _MAKERS[kind]()
    certificate = sign(f"{kind} {name}", private, ("127.0.0.1",), is_ca=True)
    return Pair(private, certificate.public_bytes(Encoding.PEM).decode())


def _rsa(size: int) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=size)


_MAKERS: dict[str, Callable[[], PrivateKey]] = {
    "rsa": lambda: _rsa(2048),
    "short": lambda: _rsa(1024),
    "ec": lambda: ec.generate_private_key(ec.SECP256R1()),
    "p384": lambda: ec.generate_private_key(ec.SECP384R1()),
}
