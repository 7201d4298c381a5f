"""Parse private keys and certificates, and check that they belong together. Pure.

Imported only if a credential signs assertions: cryptography is large. The message of a ValueError is "problem; remedy"
and contains nothing of a key.
"""

import base64
import hashlib

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from cryptography.x509 import Certificate, load_pem_x509_certificate

PrivateKey = EllipticCurvePrivateKey | RSAPrivateKey

SHORTEST_RSA = 2048  # RFC 7518 §3.3

# By: the password is the problem (TypeError), a password is set.
_KEY_PROBLEMS = {
    (True, False): "is encrypted; name its password in `key_password`",
    (True, True): "is not encrypted; remove `key_password`",
    (False, False): "is not a PEM private key; write it with its BEGIN and END lines",
    (False, True): "is not a PEM private key, or `key_password` is wrong; correct one of them",
}


def private_key(pem: str, *, password: str | None = None) -> PrivateKey:
    """Return the private key of a PEM text: RSA of 2048 bits or more, or EC P-256. Raise ValueError for any other."""
    try:
        key = load_pem_private_key(pem.encode(), password.encode() if password else None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as cause:
        raise ValueError(_KEY_PROBLEMS[isinstance(cause, TypeError), bool(password)]) from None
    if isinstance(key, RSAPrivateKey) and key.key_size >= SHORTEST_RSA:
        return key
    if isinstance(key, EllipticCurvePrivateKey) and key.curve.name == "secp256r1":
        return key
    raise ValueError("is neither RSA of 2048 bits or more nor EC P-256; create such a key")


def algorithm(key: PrivateKey, *, wanted: str | None = None) -> str:
    """Return the algorithm of the key, RS256 or ES256 (RFC 7518 §3.1). Raise ValueError if the other one is wanted."""
    own = "RS256" if isinstance(key, RSAPrivateKey) else "ES256"
    if wanted not in {None, own}:
        raise ValueError(f"signs {own} only; write `algorithm: {own}`, or remove it")
    return own


def certificate(pem: bytes, *, key: PrivateKey | None = None) -> Certificate:
    """Return the first certificate of PEM bytes. Raise ValueError without one, or if it is not that of `key`."""
    try:
        found = load_pem_x509_certificate(pem)
    except ValueError:
        raise ValueError("is not a PEM certificate; write it with its BEGIN and END lines") from None
    if key is not None and found.public_key() != key.public_key():
        raise ValueError("does not belong to the private key; name the certificate of that key")
    return found


def thumbprint(found: Certificate) -> str:
    """Return `x5t` (RFC 7515 §4.1.7): SHA-1 of the DER, base64url."""
    digest = hashlib.sha1(found.public_bytes(Encoding.DER), usedforsecurity=False).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
