"""Access: whether OIC takes a bearer. Pure.

A missing role is answered with 401 and not 403, though the token is valid: so does the real thing.
"""

from collections.abc import Callable, Mapping
from typing import Any

from gateway.sandbox.clients import DEVELOPER_ROLES, TRIGGER_ROLES, Client
from gateway.sandbox.scopes import API, AUDIENCE, TRIGGER

_ROLES = {TRIGGER: TRIGGER_ROLES, API: DEVELOPER_ROLES}

Verify = Callable[[str], Mapping[str, Any] | None]


def refuses(
    authorization: str | None, *, permission: str, verify: Verify, clients: Mapping[str, Client], now: float
) -> str | None:
    """The `WWW-Authenticate` challenge (RFC 6750 section 3) of a 401, or None when the bearer is good.

    `permission` is the one that the token's scope must hold; `now` in Unix seconds.
    """
    scheme, _, token = (authorization or "").partition(" ")
    if scheme.lower() != "bearer":
        return 'Bearer realm="OIC"'
    claims = verify(token.strip())
    if claims is None:
        return _invalid("The token is not valid")
    if claims["exp"] <= now:
        return _invalid("The token has expired")
    if AUDIENCE not in _listed(claims["aud"]) or permission not in claims["scope"].split():
        return _invalid("The token is for another resource")
    client = clients.get(claims["client_id"])
    if client is None or not client.roles & _ROLES[permission]:
        return 'Bearer realm="OIC"'
    return None


def _invalid(description: str) -> str:
    return f'Bearer realm="OIC", error="invalid_token", error_description="{description}"'


def _listed(audience: str | list[str]) -> list[str]:
    return [audience] if isinstance(audience, str) else audience
