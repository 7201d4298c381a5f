"""Assertions: what a client signs for itself or for a user (RFC 7523), judged as an identity domain does."""

from collections.abc import Callable, Mapping
from typing import Any

import jwt
from cryptography.x509 import load_pem_x509_certificate

from gateway.sandbox.access_tokens import ISSUER
from gateway.sandbox.clients import RegisteredClient
from gateway.sandbox.oauth_errors import Refused, invalid_client, invalid_grant
from gateway.sandbox.switches import Switches

_UNTIMED: jwt.types.Options = {
    "verify_exp": False,
    "verify_iat": False,
    "verify_nbf": False,
    "verify_aud": False,
    "require": ["iss", "sub", "aud", "exp"],
}


class Assertions:
    """Judges assertions by the certificates of their client, and takes none twice."""

    def __init__(self, switches: Switches, *, now: Callable[[], float]) -> None:
        self._switches = switches
        self._now = now
        self._used: set[str] = set()

    def of_client(self, assertion: str, client_id: str, client: RegisteredClient) -> None:
        """A client's word for itself; raises Refused (`invalid_client`)."""
        if self._claims(assertion, client_id, client, wrong=invalid_client())["sub"] != client_id:
            raise invalid_client()

    def user(self, assertion: str, client_id: str, client: RegisteredClient) -> str:
        """The user for whom the client speaks; raises Refused (`invalid_grant`)."""
        wrong = invalid_grant("The user assertion is not valid")
        return str(self._claims(assertion, client_id, client, wrong=wrong)["sub"])

    def _claims(self, assertion: str, client_id: str, client: RegisteredClient, *, wrong: Refused) -> Mapping[str, Any]:
        claims = self._verified(assertion, client, wrong=wrong)
        audience = claims["aud"] if isinstance(claims["aud"], list) else [claims["aud"]]
        if claims["iss"] != client_id or ISSUER not in audience or not claims["exp"] > self._now():
            raise wrong
        jti = claims.get("jti")
        if jti is not None and jti in self._used:
            raise wrong
        self._used.add(str(jti))
        return claims

    def _verified(self, assertion: str, client: RegisteredClient, *, wrong: Refused) -> Mapping[str, Any]:
        try:
            head = jwt.get_unverified_header(assertion)
            pem = client.certificate(kid=head.get("kid"), x5t=head.get("x5t"))
            if pem is None:
                raise wrong
            key: Any = load_pem_x509_certificate(pem.encode()).public_key()
            return jwt.decode(assertion, key, algorithms=list(self._switches.assertion_algorithms), options=_UNTIMED)
        except jwt.PyJWTError as cause:
            raise wrong from cause
