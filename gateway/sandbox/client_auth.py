"""Client authentication at the token endpoint (RFC 6749 section 2.3.1): HTTP Basic and parameters in the body. Pure."""

import base64
import binascii
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote_plus

from gateway.sandbox.clients import Client


class Refused(Exception):
    """An error reply of the token endpoint (RFC 6749 section 5.2): `error`, description and HTTP status."""

    def __init__(self, error: str, description: str, *, status: int = 400) -> None:
        super().__init__(error)
        self.error = error
        self.description = description
        self.status = status


@dataclass(frozen=True, slots=True)
class Presented:
    """What a client presented; `how` is `basic`, `post` or `none`."""

    client_id: str = ""
    secret: str = field(default="", repr=False)
    how: str = "none"


def presented(authorization: str | None, form: Mapping[str, str]) -> Presented:
    """Reads what the client presented; raises Refused when it is ambiguous or not readable."""
    if authorization is None:
        how = "post" if "client_secret" in form else "none"
        return Presented(form.get("client_id", ""), form.get("client_secret", ""), how)
    if "client_secret" in form:
        raise Refused("invalid_request", "More than one client authentication method was used")
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() != "basic":
        raise invalid_client()
    return _basic(encoded.strip())


def authenticated(shown: Presented, clients: Mapping[str, Client]) -> Client:
    """The client whose id and secret were presented; raises Refused (`invalid_client`) otherwise."""
    client = clients.get(shown.client_id)
    if client is None or not client.active:
        raise invalid_client()
    if not shown.secret or not hmac.compare_digest(shown.secret.encode(), client.secret.encode()):
        raise invalid_client()
    return client


def invalid_client() -> Refused:
    """The one refusal whose words are known verbatim."""
    return Refused("invalid_client", "Client authentication failed", status=401)


def _basic(encoded: str) -> Presented:
    try:
        client_id, colon, secret = base64.b64decode(encoded, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError) as cause:
        raise invalid_client() from cause
    if not colon:
        raise invalid_client()
    # RFC 6749 section 2.3.1: both were form-urlencoded before they were joined.
    return Presented(unquote_plus(client_id), unquote_plus(secret), "basic")
