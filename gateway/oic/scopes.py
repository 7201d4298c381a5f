"""Scopes of Oracle Integration Cloud: the audience of a resource and a permission, joined without a slash.

The audience is `https://HASH….com:443`, where HASH is the primary audience of the instance, 32 hexadecimal digits. The
permission is `urn:opc:resource:consumer::all` for triggers or `/ic/api/` for the developer API.
"""

import re

from gateway.oic.urls import ORACLE_DOMAIN, parse_oic_host

TRIGGER_PERMISSION = "urn:opc:resource:consumer::all"
API_PERMISSION = "/ic/api/"
SEVERAL_RESOURCES = "urn:opc:resource:multiresourcescope"
"""The directive with which a token request may name several resources."""
AUDIENCE_HASH = re.compile(r"[0-9A-F]{32}", re.IGNORECASE)

_DIRECTIVE = re.compile(
    rf"urn:opc:resource:expiry=.*|{re.escape(SEVERAL_RESOURCES)}|offline_access|openid|profile|email"
)
_SLASH_BEFORE_URN = re.compile(r"/+(?=urn:opc:resource)")
_OIC = re.compile(
    rf"https://{AUDIENCE_HASH.pattern}\.[a-z0-9.-]*integration[a-z0-9.-]*:443"
    rf"(?:{re.escape(TRIGGER_PERMISSION)}|{re.escape(API_PERMISSION)})",
    re.IGNORECASE,
)
_HOST = re.compile(rf"[a-z0-9_-]+\.integration\.(?:[a-z0-9-]+\.)?ocp\.{ORACLE_DOMAIN}", re.IGNORECASE)


def is_directive(word: str) -> bool:
    """Return whether a word of a scope names no resource: a directive of Oracle, or a scope of OpenID Connect."""
    return _DIRECTIVE.fullmatch(word) is not None


def scope_resources(scope: str) -> list[str]:
    """Return the words of a scope that name a resource, in order."""
    return [word for word in scope.split() if not is_directive(word)]


def has_slash_before_urn(scope: str) -> bool:
    """Return whether a permission follows a slash, which identity domains reject."""
    return _SLASH_BEFORE_URN.search(scope) is not None


def remove_slash_before_urn(scope: str) -> str:
    """Return the scope without slashes before its permission."""
    return _SLASH_BEFORE_URN.sub("", scope)


def scope_error(scope: str) -> str:
    """Return the code of a mistake in the form of a scope: `scope-slash`, `scope-several`, `scope-form`; else ""."""
    words = scope_resources(scope)
    if any(map(has_slash_before_urn, words)):
        return "scope-slash"
    if len(words) > 1:
        return "scope-several"
    if not words or (words[0] != TRIGGER_PERMISSION and not _OIC.fullmatch(words[0])):
        return "scope-form"
    return ""


def scope_kind(scope: str) -> str:
    """Return `trigger` or `api` if the scope permits only one of them, "" otherwise."""
    words = scope_resources(scope)
    permissions = (("trigger", TRIGGER_PERMISSION), ("api", API_PERMISSION))
    kinds = [kind for kind, permission in permissions if any(word.endswith(permission) for word in words)]
    return kinds[0] if len(kinds) == 1 else ""


def find_region(text: str) -> str:
    """Return the region in the first OIC host name of a URL or scope, "" if there is none."""
    found = _HOST.search(text)
    host = parse_oic_host(found[0]) if found else None
    return host.region if host else ""
