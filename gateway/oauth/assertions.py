"""Signed assertions (RFC 7523), with which a client authenticates or acts for a user. Pure: time and `jti` are passed.

Imported only where a credential signs, since PyJWT imports all of cryptography.
"""

import base64
import hashlib
import json
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

PrivateKey = EllipticCurvePrivateKey | RSAPrivateKey


def make_claims(issuer: str, subject: str, *, audience: str, now: float, life: float, jti: str) -> dict[str, Any]:
    """Return the claims of RFC 7523 section 3; `now` in epoch seconds, `life` in seconds. Use each `jti` only once."""
    issued = int(now)
    return {"iss": issuer, "sub": subject, "aud": audience, "iat": issued, "exp": issued + int(life), "jti": jti}


def jose_header(key: PrivateKey, *, kid: str | None = None, x5t: str | None = None) -> dict[str, str]:
    """Return the header parameters that name the key: `kid` and `x5t`, else its thumbprint (RFC 7638) as `kid`.

    Identity domains use one of the two to find the certificate, and refuse an assertion that has neither.
    """
    names = {name: value for name, value in (("kid", kid), ("x5t", x5t)) if value}
    return names or {"kid": _thumbprint(key)}


def sign(payload: dict[str, Any], key: PrivateKey, *, algorithm: str, headers: dict[str, str]) -> str:
    """Return the claims as a compact JWS (RFC 7515 section 3.1)."""
    return jwt.encode(payload, key, algorithm=algorithm, headers=headers)


def _thumbprint(key: PrivateKey) -> str:
    public = key.public_key()
    algorithm: Any = ECAlgorithm if isinstance(key, EllipticCurvePrivateKey) else RSAAlgorithm
    jwk = algorithm.to_jwk(public, as_dict=True)
    # RFC 7638 section 3.2: the required members only, in lexicographic order.
    required = {name: jwk[name] for name in sorted(jwk.keys() & {"crv", "e", "kty", "n", "x", "y"})}
    digest = hashlib.sha256(json.dumps(required, separators=(",", ":")).encode()).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
