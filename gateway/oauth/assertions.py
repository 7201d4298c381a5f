"""Signed assertions (RFC 7523): a client's word for itself, or for a user. Pure; time and luck are parameters.

Imported only where a credential signs, since PyJWT brings all of cryptography.
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


def claims(issuer: str, subject: str, *, audience: str, now: float, life: float, jti: str) -> dict[str, Any]:
    """The claims of RFC 7523 §3; `now` in epoch seconds, `life` in seconds; no `jti` may be used twice."""
    issued = int(now)
    return {"iss": issuer, "sub": subject, "aud": audience, "iat": issued, "exp": issued + int(life), "jti": jti}


def head(key: PrivateKey, *, kid: str | None = None, x5t: str | None = None) -> dict[str, str]:
    """What the JOSE header says of the key: the given `kid` and `x5t`, else its own thumbprint (RFC 7638) as `kid`.

    Identity domains find the certificate by one of the two and refuse an assertion without.
    """
    given = {name: value for name, value in (("kid", kid), ("x5t", x5t)) if value}
    return given or {"kid": _thumbprint(key)}


def signed(said: dict[str, Any], key: PrivateKey, *, algorithm: str, headers: dict[str, str]) -> str:
    """The claims as a compact JWS (RFC 7515 §3.1)."""
    return jwt.encode(said, key, algorithm=algorithm, headers=headers)


def _thumbprint(key: PrivateKey) -> str:
    public = key.public_key()
    kind: Any = ECAlgorithm if isinstance(key, EllipticCurvePrivateKey) else RSAAlgorithm
    jwk = kind.to_jwk(public, as_dict=True)
    required = {name: jwk[name] for name in sorted(jwk.keys() & {"crv", "e", "kty", "n", "x", "y"})}  # RFC 7638 §3.2
    digest = hashlib.sha256(json.dumps(required, separators=(",", ":")).encode()).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
