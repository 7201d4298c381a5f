"""Access tokens: their claims, as an Oracle identity domain writes them, and the RSA key that signs them (RFC 7515,
7518).
"""

import base64
import functools
import hashlib
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

ISSUER = "https://identity.oraclecloud.com/"
TENANT = "idcs-5a0db0c5a0db0c5a0db0c5a0db0c5a0d"


def make_claims(
    client_id: str, audiences: Sequence[str], *, scope: str, issued: float, lifetime: int, user: str = ""
) -> dict[str, Any]:
    """Return the claims of one access token for `user`, or for the client itself. Lifetime in seconds.

    `audiences` becomes a string or a list as given. The token is as long as a real one, about 1.4 KB; `iss` is the
    generic issuer, not the URL of the domain.
    """
    return {
        "tok_type": "AT",
        "iss": ISSUER,
        "tenant_iss": f"https://{TENANT}.identity.oraclecloud.com:443",
        "sub": user or client_id,
        "sub_type": "user" if user else "client",
        "client_id": client_id,
        "client_name": f"{client_id} (confidential application)",
        "client_guid": client_guid(client_id),
        "client_tenantname": TENANT,
        "aud": audiences if isinstance(audiences, str) else list(audiences),
        "scope": scope,
        "iat": int(issued),
        "exp": int(issued) + lifetime,
        "jti": uuid.uuid4().hex,
        "tenant": TENANT,
        "ca_name": "sandbox",
        "region_name": "us-phoenix-idcs-1",
    }


def client_guid(client_id: str) -> str:
    """Return the id of a client's application in the identity domain."""
    return uuid.uuid5(uuid.NAMESPACE_URL, client_id).hex


def write_lifetime(lifetime: int, how: str) -> dict[str, Any]:
    """Return the `expires_in` of a token response, in the variant of the switch."""
    variants: dict[str, dict[str, Any]] = {
        "int": {"expires_in": lifetime},
        "string": {"expires_in": str(lifetime)},
        "float": {"expires_in": float(lifetime)},
        "missing": {},
    }
    return variants[how]


class SigningKey:
    """One RSA key of 2048 bits with the key id that Oracle uses, `SIGNING_KEY`."""

    def __init__(self) -> None:
        self._private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self._public = self._private.public_key()
        der = self._public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        # Results are cached: an RSA verification for every request would make the sandbox the bottleneck of a load
        # test.
        self._read = functools.lru_cache(maxsize=4096)(self._verify)
        thumbprint = base64.urlsafe_b64encode(hashlib.sha256(der).digest()).rstrip(b"=").decode()
        self._header = {"kid": "SIGNING_KEY", "x5t#S256": thumbprint}

    def sign(self, claims: Mapping[str, Any]) -> str:
        """Return the claims as a signed compact JWT."""
        return jwt.encode(dict(claims), self._private, algorithm="RS256", headers=self._header)

    def verify(self, token: str) -> Mapping[str, Any] | None:
        """Return the claims of a token that this key signed, else None. Expiry and audience are not checked."""
        return self._read(token)

    def jwks(self) -> dict[str, Any]:
        """Return the public key as a JSON Web Key Set (RFC 7517)."""
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
    """Return the key of this process: generating one takes a tenth of a second."""
    return SigningKey()
