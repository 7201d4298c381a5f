"""Which scopes an identity domain accepts, and what a token for them contains. Pure.

A scope is an audience and a permission written together **without a slash**: `https://HASH….com:443` followed by
`urn:opc:resource:consumer::all` (triggers) or `/ic/api/` (developer API).
"""

import re
from collections.abc import Collection
from dataclasses import dataclass

AUDIENCE = "https://5A0DB0C5A0DB0C5A0DB0C5A0DB0C5A0D.integration.us-phoenix-1.ocp.oraclecloud.com:443"
OTHER_AUDIENCE = "https://0E1F0E1F0E1F0E1F0E1F0E1F0E1F0E1F.integration.us-phoenix-1.ocp.oraclecloud.com:443"
AUDIENCES = (AUDIENCE, OTHER_AUDIENCE)

TRIGGER = "urn:opc:resource:consumer::all"
API = "/ic/api/"

DOMAIN_AUDIENCE = "https://identity.oraclecloud.com/"
ADMINISTRATION = "urn:opc:idm:__myscopes__"
"""The scope of the identity domain's own API: all that the roles of the client allow."""

_EXPIRY = "urn:opc:resource:expiry="
_SECONDS = re.compile(r"[1-9][0-9]{0,8}")
_MULTIPLE = "urn:opc:resource:multiresourcescope"
_OFFLINE = "offline_access"


@dataclass(frozen=True, slots=True)
class Granted:
    """The result of a scope: permissions by audience, the shortened lifetime in seconds, the form of the response."""

    resources: dict[str, tuple[str, ...]]
    expiry: int | None = None
    is_multiple: bool = False


class InvalidScope(ValueError):
    """The scope is refused as `invalid_scope` (RFC 6749 section 5.2); the message names the cause."""


def check_scope(scope: str, allowed: Collection[str] = ()) -> Granted:
    """Parse and check the `scope` parameter; `allowed` are the client's scopes, empty for all.

    Raise InvalidScope for everything that a real domain refuses.
    """
    words = scope.split()
    directives = [word for word in words if word.startswith(_EXPIRY) or word in {_MULTIPLE, _OFFLINE}]
    wanted = [word for word in words if word not in directives]
    resources = _resources(wanted, allowed)
    is_multiple = _MULTIPLE in directives
    if len(resources) > 1 and not is_multiple and wanted != [TRIGGER]:
        raise InvalidScope("Several resources need urn:opc:resource:multiresourcescope")
    return Granted(resources=resources, expiry=_expiry(directives), is_multiple=is_multiple)


def _resources(wanted: list[str], allowed: Collection[str]) -> dict[str, tuple[str, ...]]:
    if not wanted:
        raise InvalidScope("No resource scope was requested")
    if TRIGGER in wanted:
        if len(wanted) > 1:
            raise InvalidScope(f"{TRIGGER} cannot be mixed with another scope")
        return dict.fromkeys(AUDIENCES, (TRIGGER,))
    if ADMINISTRATION in wanted:
        if len(wanted) > 1:
            raise InvalidScope(f"{ADMINISTRATION} cannot be mixed with another scope")
        return {DOMAIN_AUDIENCE: (ADMINISTRATION,)}
    resources: dict[str, tuple[str, ...]] = {}
    for word in wanted:
        if allowed and word not in allowed:
            raise InvalidScope("A scope is not among those of the application")
        audience, permission = _split(word)
        resources[audience] = (*resources.get(audience, ()), permission)
    return resources


def _split(word: str) -> tuple[str, str]:
    for audience in AUDIENCES:
        for permission in (TRIGGER, API):
            if word == audience + permission:
                return audience, permission
    raise InvalidScope("A scope names no known resource")


def _expiry(directives: list[str]) -> int | None:
    values = [word.removeprefix(_EXPIRY) for word in directives if word.startswith(_EXPIRY)]
    if not values:
        return None
    if len(values) > 1 or _SECONDS.fullmatch(values[0]) is None:
        raise InvalidScope("The expiry must be one positive number of seconds")
    return int(values[0])
