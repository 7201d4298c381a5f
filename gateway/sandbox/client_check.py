"""Client authentication at the token endpoint. Pure, except for the assertions that were used.

HTTP Basic and secrets in the form (RFC 6749 section 2.3.1), signed assertions (RFC 7523), client certificates (RFC
8705), and public clients, which send only their id.
"""

import base64
import binascii
import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote_plus

import jwt
from cryptography.x509 import load_pem_x509_certificate

from gateway.sandbox.access_tokens import ISSUER
from gateway.sandbox.clients import RegisteredClient
from gateway.sandbox.oauth_errors import OAuthRefusal, invalid_client, invalid_grant
from gateway.sandbox.switches import Switches

# The parameter of each method that has one; a request with two of them is refused.
_PARAMETERS = {"client_secret": "post", "client_assertion": "private_key_jwt"}

Verified = Callable[[str, str, RegisteredClient], object]


@dataclass(frozen=True, slots=True)
class ClientCredentials:
    """What a client sent; `method` is `basic`, `post`, `private_key_jwt`, `tls` or `none`.

    `proof` is the secret or the assertion; `certificate` is the client certificate of the connection in DER, which may
    accompany any of them.
    """

    client_id: str = ""
    proof: str = field(default="", repr=False)
    method: str = "none"
    certificate: bytes = field(default=b"", repr=False)


def read_credentials(authorization: str | None, form: Mapping[str, str], certificate: bytes = b"") -> ClientCredentials:
    """Return what the client sent. Raise OAuthRefusal if it is ambiguous or unreadable."""
    names = [name for name in _PARAMETERS if name in form]
    if len(names) + (authorization is not None) > 1:
        raise OAuthRefusal("invalid_request", "More than one client authentication method was used")
    client_id = form.get("client_id", "")
    if authorization is not None:
        return _basic(authorization, certificate)
    if names:
        return ClientCredentials(client_id, form[names[0]], _PARAMETERS[names[0]], certificate)
    return ClientCredentials(client_id, method="tls" if certificate else "none", certificate=certificate)


def authenticate(
    credentials: ClientCredentials, clients: Mapping[str, RegisteredClient], *, verified: Verified
) -> RegisteredClient:
    """Return the client that proved its identity. Raise OAuthRefusal (`invalid_client`) otherwise.

    `verified` checks the assertion of a client for itself; it raises OAuthRefusal.
    """
    client = clients.get(credentials.client_id)
    if client is None or not client.active:
        raise invalid_client()
    if credentials.method == "private_key_jwt":
        verified(credentials.proof, credentials.client_id, client)
    elif not _PROOFS[credentials.method](credentials, client):
        raise invalid_client()
    return client


def _has_secret(credentials: ClientCredentials, client: RegisteredClient) -> bool:
    return bool(credentials.proof) and hmac.compare_digest(credentials.proof.encode(), client.secret.encode())


def _has_certificate(credentials: ClientCredentials, client: RegisteredClient) -> bool:
    return client.has_certificate(credentials.certificate)


def _is_public(_credentials: ClientCredentials, client: RegisteredClient) -> bool:
    return client.is_public


_PROOFS: dict[str, Callable[[ClientCredentials, RegisteredClient], bool]] = {
    "basic": _has_secret,
    "post": _has_secret,
    "tls": _has_certificate,
    "none": _is_public,
}


def _basic(authorization: str, certificate: bytes) -> ClientCredentials:
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() != "basic":
        raise invalid_client()
    try:
        client_id, colon, secret = base64.b64decode(encoded.strip(), validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError) as cause:
        raise invalid_client() from cause
    if not colon:
        raise invalid_client()
    # RFC 6749 section 2.3.1: both were form-urlencoded before they were joined.
    return ClientCredentials(unquote_plus(client_id), unquote_plus(secret), "basic", certificate)


_UNTIMED: jwt.types.Options = {
    "verify_exp": False,
    "verify_iat": False,
    "verify_nbf": False,
    "verify_aud": False,
    "require": ["iss", "sub", "aud", "exp"],
}


class Assertions:
    """Verifies assertions with the certificates of their client; accepts each only once."""

    def __init__(self, switches: Switches, *, now: Callable[[], float]) -> None:
        self._switches = switches
        self._now = now
        self._used: set[str] = set()

    def check_client(self, assertion: str, client_id: str, client: RegisteredClient) -> None:
        """Verify the assertion of a client for itself. Raise OAuthRefusal (`invalid_client`)."""
        if self._claims(assertion, client_id, client, wrong=invalid_client())["sub"] != client_id:
            raise invalid_client()

    def read_user(self, assertion: str, client_id: str, client: RegisteredClient) -> str:
        """Return the user of a user assertion. Raise OAuthRefusal (`invalid_grant`)."""
        wrong = invalid_grant("The user assertion is not valid")
        return str(self._claims(assertion, client_id, client, wrong=wrong)["sub"])

    def _claims(
        self, assertion: str, client_id: str, client: RegisteredClient, *, wrong: OAuthRefusal
    ) -> Mapping[str, Any]:
        claims = self._verified(assertion, client, wrong=wrong)
        audience = claims["aud"] if isinstance(claims["aud"], list) else [claims["aud"]]
        if claims["iss"] != client_id or ISSUER not in audience or not claims["exp"] > self._now():
            raise wrong
        jti = claims.get("jti")
        if jti is not None and jti in self._used:
            raise wrong
        self._used.add(str(jti))
        return claims

    def _verified(self, assertion: str, client: RegisteredClient, *, wrong: OAuthRefusal) -> Mapping[str, Any]:
        try:
            head = jwt.get_unverified_header(assertion)
            pem = client.certificate(kid=head.get("kid"), x5t=head.get("x5t"))
            if pem is None:
                raise wrong
            key: Any = load_pem_x509_certificate(pem.encode()).public_key()
            return jwt.decode(assertion, key, algorithms=list(self._switches.assertion_algorithms), options=_UNTIMED)
        except jwt.PyJWTError as cause:
            raise wrong from cause
