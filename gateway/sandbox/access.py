"""Decide whether OIC accepts a bearer token. Pure.

A missing role is answered with 401 although the token is valid, as the real service does [C]; with a switch, 403 [U].
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from gateway.sandbox.clients import DEVELOPER_ROLES, TRIGGER_ROLES, RegisteredClient
from gateway.sandbox.scope_check import API, AUDIENCE, TRIGGER
from gateway.sandbox.switches import Switches

_ROLES = {TRIGGER: TRIGGER_ROLES, API: DEVELOPER_ROLES}

Verify = Callable[[str], Mapping[str, Any] | None]


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a bearer is refused: the status, and the `WWW-Authenticate` challenge of a 401 (RFC 6750 section 3)."""

    status: int = 401
    challenge: str = 'Bearer realm="OIC"'


def find_refusal(
    authorization: str | None,
    *,
    permission: str,
    verify: Verify,
    clients: Mapping[str, RegisteredClient],
    switches: Switches,
    now: float,
) -> Refusal | None:
    """Return the refusal of a bearer, or None if it is accepted.

    The token's scope must contain `permission`; `now` is Unix seconds.
    """
    scheme, _, token = (authorization or "").partition(" ")
    if switches.refuse_bearers or scheme.lower() != "bearer":
        return Refusal()
    claims = verify(token.strip())
    if claims is None:
        return _invalid("The token is not valid")
    if claims["exp"] <= now:
        return _invalid("The token has expired")
    if AUDIENCE not in _as_list(claims["aud"]) or permission not in claims["scope"].split():
        return _invalid("The token is for another resource")
    client = clients.get(claims["client_id"])
    if client is None:
        return Refusal()
    roles = frozenset(switches.roles) if client.roles is None else client.roles
    return None if roles & _ROLES[permission] else Refusal(switches.role_refusal)


def _invalid(description: str) -> Refusal:
    return Refusal(challenge=f'Bearer realm="OIC", error="invalid_token", error_description="{description}"')


def _as_list(audience: str | list[str]) -> list[str]:
    return [audience] if isinstance(audience, str) else audience
