"""Reads scopes and audiences: a scope is its resource's audience with the resource's own word right behind.

`https://HASH….com:443` and `urn:opc:resource:consumer::all` (triggers) or `/ic/api/` (developer API), without a slash
before `urn`. HASH is the instance's primary audience, 32 hexadecimal digits.
"""

import re

from gateway.oic.diagnosis.finding import Finding, failed

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


def of_audience(credential: str, scope: str, audiences: list[str]) -> Finding | None:
    """A token for none of the resources in its scope: OIC will answer 401. None where one fits or it cannot be told."""
    bases = [word.partition("urn:opc:")[0] for word in scope.split() if word.lower().startswith("http")]
    if not bases or not audiences or any(_fits(audience, bases) for audience in audiences):
        return None
    seen = f"the token is for {', '.join(audiences)}, the scope asks for {', '.join(bases)}"
    return failed("audience-other", f"credential {credential}", seen, step="claims")


def _fits(audience: str, bases: list[str]) -> bool:
    if not audience.lower().startswith("http"):  # `urn:…` names a kind of resource, not one
        return True
    bare = audience.rstrip("/").lower().removesuffix(":443")
    return any(f"{base.lower()}/".startswith((f"{bare}/", f"{bare}:443/")) for base in bases)
