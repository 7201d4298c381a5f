"""Client authentication at the token endpoint: what a client shows, and whether it proves who it is. Pure.

HTTP Basic and secrets in the form (RFC 6749 section 2.3.1), signed assertions (RFC 7523), client certificates (RFC
8705), and public clients, which show only their name.
"""

import base64
import binascii
import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote_plus

from gateway.sandbox.clients import RegisteredClient
from gateway.sandbox.oauth_errors import Refused, invalid_client

# The parameter of each way that needs one; whoever sends two of them is refused.
_PARAMETERS = {"client_secret": "post", "client_assertion": "private_key_jwt"}

Verified = Callable[[str, str, RegisteredClient], object]


@dataclass(frozen=True, slots=True)
class ClientCredentials:
    """What a client presented; `how` is `basic`, `post`, `private_key_jwt`, `tls` or `none`.

    `proof` is the secret or the assertion; `certificate` the DER bytes of the connection's client certificate, which
    may come with any of them.
    """

    client_id: str = ""
    proof: str = field(default="", repr=False)
    how: str = "none"
    certificate: bytes = field(default=b"", repr=False)


def presented(authorization: str | None, form: Mapping[str, str], certificate: bytes = b"") -> ClientCredentials:
    """Reads what the client presented; raises Refused when it is ambiguous or not readable."""
    names = [name for name in _PARAMETERS if name in form]
    if len(names) + (authorization is not None) > 1:
        raise Refused("invalid_request", "More than one client authentication method was used")
    client_id = form.get("client_id", "")
    if authorization is not None:
        return _basic(authorization, certificate)
    if names:
        return ClientCredentials(client_id, form[names[0]], _PARAMETERS[names[0]], certificate)
    return ClientCredentials(client_id, how="tls" if certificate else "none", certificate=certificate)


def authenticated(
    shown: ClientCredentials, clients: Mapping[str, RegisteredClient], *, verified: Verified
) -> RegisteredClient:
    """The client that proved who it is; raises Refused (`invalid_client`) otherwise.

    `verified` judges an assertion by which a client speaks for itself; it raises Refused.
    """
    client = clients.get(shown.client_id)
    if client is None or not client.active:
        raise invalid_client()
    if shown.how == "private_key_jwt":
        verified(shown.proof, shown.client_id, client)
    elif not _WAYS[shown.how](shown, client):
        raise invalid_client()
    return client


def _has_secret(shown: ClientCredentials, client: RegisteredClient) -> bool:
    return bool(shown.proof) and hmac.compare_digest(shown.proof.encode(), client.secret.encode())


def _has_certificate(shown: ClientCredentials, client: RegisteredClient) -> bool:
    return client.has_certificate(shown.certificate)


def _is_public(_shown: ClientCredentials, client: RegisteredClient) -> bool:
    return client.is_public


_WAYS: dict[str, Callable[[ClientCredentials, RegisteredClient], bool]] = {
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
