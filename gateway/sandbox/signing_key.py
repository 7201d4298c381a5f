"""Keys: the RSA key of the identity domain, made at start; signs and verifies RS256 tokens (RFC 7515, RFC 7518)."""

import base64
import functools
import hashlib
from collections.abc import Mapping
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa


class SigningKey:
    """One RSA key of 2048 bits with the key id that Oracle uses, `SIGNING_KEY`."""

    def __init__(self) -> None:
        self._private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self._public = self._private.public_key()
        der = self._public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        # Kept per token: verifying RSA for every request would make the imitation the bottleneck of a load test.
        self._read = functools.lru_cache(maxsize=4096)(self._verify)
        thumbprint = base64.urlsafe_b64encode(hashlib.sha256(der).digest()).rstrip(b"=").decode()
        self._header = {"kid": "SIGNING_KEY", "x5t#S256": thumbprint}

    def sign(self, claims: Mapping[str, Any]) -> str:
        """The claims as a signed compact JWT."""
        return jwt.encode(dict(claims), self._private, algorithm="RS256", headers=self._header)

    def verify(self, token: str) -> Mapping[str, Any] | None:
        """The claims of a token that this key signed, else None. Expiry and audience are the caller's to judge."""
        return self._read(token)

    def jwks(self) -> dict[str, Any]:
        """The public key as a JSON Web Key Set (RFC 7517)."""
        jwk = jwt.algorithms.RSAAlgorithm.to_jwk(self._public, as_dict=True)
        return {"keys": [{**jwk, "kid": "SIGNING_KEY", "alg": "RS256", "use": "sig"}]}

    def _verify(self, token: str) -> Mapping[str, Any] | None:
        options: jwt.types.Options = {
            "verify_exp": False,
            "verify_aud": False,
            "verify_iat": False,
            "verify_nbf": False,
        }
        try:
            return jwt.decode(token, self._public, algorithms=["RS256"], options=options)
        except jwt.InvalidTokenError:
            return None


@functools.cache
def shared_key() -> SigningKey:
    """The key of this process: making one takes a tenth of a second, so sandboxes of one process share it."""
    return SigningKey()
