"""Reads scopes and audiences: a scope is its resource's audience with the resource's own word right behind.

`https://HASH….com:443` and `urn:opc:resource:consumer::all` (triggers) or `/ic/api/` (developer API), without a slash
before `urn`. HASH is the instance's primary audience, 32 hexadecimal digits.
"""

import re

TRIGGER = "urn:opc:resource:consumer::all"
API = "/ic/api/"

_DIRECTIVE = re.compile(r"urn:opc:resource:(expiry=.*|multiresourcescope)|offline_access|openid|profile|email")
_OIC = re.compile(
    r"https://(?P<hash>[0-9A-F]{32})\.(?P<rest>[a-z0-9.-]*integration[a-z0-9.-]*):443(?P<word>urn:opc:resource:consumer::all"
    r"|/ic/api/)",
    re.IGNORECASE,
)
_REGION = re.compile(r"\.integration\.([a-z]+(?:-[a-z]+)+-\d+)\.ocp\.", re.IGNORECASE)


def resources(scope: str) -> list[str]:
    """The words of a scope that name a resource, in order."""
    return [word for word in scope.split() if not _DIRECTIVE.fullmatch(word)]


def scope_error(scope: str) -> str:
    """The code of what is wrong with the shape of a scope: `scope-slash`, `scope-several`, `scope-form`; else empty."""
    words = resources(scope)
    if any("/urn:opc:resource:" in word for word in words):
        return "scope-slash"
    if len(words) > 1:
        return "scope-several"
    if not words or (words[0] != TRIGGER and not _OIC.fullmatch(words[0])):
        return "scope-form"
    return ""


def corrected(scope: str) -> str:
    """The scope without slashes before `urn`."""
    return re.sub(r"/+urn:opc:resource:", "urn:opc:resource:", scope)


def kind(scope: str) -> str:
    """`trigger` or `api`, where the scope opens only one of them; else empty."""
    words = resources(scope)
    opens = [name for name, end in (("trigger", TRIGGER), ("api", API)) if any(word.endswith(end) for word in words)]
    return opens[0] if len(opens) == 1 else ""


def region(url: str) -> str:
    """The region that a host name of OIC 3 or a scope names; empty for others."""
    found = _REGION.search(url)
    return found[1].lower() if found else ""
