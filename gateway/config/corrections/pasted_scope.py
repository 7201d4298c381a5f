"""Derive the scope that the identity domain accepts from the text that was pasted for it. Pure.

A scope of OIC is the primary audience of the instance, `https://HASH.integration.REGION.ocp.oraclecloud.com:443`, and a
permission, **without a slash between them**: `urn:opc:resource:consumer::all` (triggers) or `/ic/api/` (developer API).
Scopes of other servers stay unchanged.
"""

import re
from urllib.parse import unquote, urlsplit

from gateway.config.corrections.integration_url import UNKNOWN, Integration
from gateway.config.corrections.pasted_text import Corrected, InvalidInput, strip_pasted
from gateway.oic.scopes import API_PERMISSION, AUDIENCE_HASH, TRIGGER_PERMISSION, is_directive
from gateway.oic.urls import ORACLE_DOMAIN, parse_oic_host

_REMEDY = "copy one from the application's OAuth configuration, Resources, in its identity domain"
_RESOURCE = re.compile(
    rf"(?:(?P<scheme>https?)://)?(?P<host>(?:[A-Za-z0-9_-]+\.)+{ORACLE_DOMAIN})(?::(?P<port>[0-9]+))?(?P<rest>.*)",
    re.IGNORECASE | re.DOTALL,
)
_TOKEN = re.compile(r"[!#-\[\]-~]+")  # RFC 6749 section 3.3

# Text after host and port, the permission that replaces it, and the change to report.
_ENDINGS = (
    (
        re.compile(r"/+urn:opc:resource:consumer::?all/?"),
        TRIGGER_PERMISSION,
        "removed the slash before `urn`, which identity domains reject",
    ),
    (
        re.compile(r"/*urn:opc:resource:consumer(?:::?(?:all)?)?/?"),
        TRIGGER_PERMISSION,
        f"completed the ending {TRIGGER_PERMISSION}",
    ),
    (re.compile(r"/*ic(?:/api)?/?"), API_PERMISSION, f"completed the ending {API_PERMISSION}"),
)


def scope(text: str, target: Integration = UNKNOWN) -> Corrected:
    """Return the scope for a route to `target`.

    Raise InvalidInput for several resources, which need one credential each, and for a URL that is not a scope.
    """
    pasted = strip_pasted(text)
    value, changes = _decode(pasted.value)
    words = value.split()
    if not all(_TOKEN.fullmatch(word) for word in words):
        raise InvalidInput(f"has a character that is not allowed in scopes; {_REMEDY}")
    directives = [word for word in words if is_directive(word)]
    resource, joins = _single_resource([word for word in words if word not in directives], target)
    corrected, corrections = _correct(resource, target)
    whole = " ".join([corrected, *dict.fromkeys(directives)])
    changes = (*pasted.changes, *changes, *joins, *corrections)
    if not changes and whole != value:
        changes = ("changed the order, repetition or spacing of the words",)
    return Corrected(whole, changes, _notes(corrected, target))


def _decode(text: str) -> tuple[str, tuple[str, ...]]:
    """Return the text without percent-encoding, which a copy from a form body has."""
    if re.match(r"https?%3a", text, re.IGNORECASE):
        return unquote(text.replace("+", " ")), ("decoded the percent-encoding",)
    return text, ()


def _single_resource(words: list[str], target: Integration) -> tuple[str, tuple[str, ...]]:
    """Return the only resource among the words, and the change that made it one."""
    different = list(dict.fromkeys(words))
    if not different:
        raise InvalidInput(f"names no resource; {_REMEDY}")
    if len(different) == 1:
        return different[0], ("removed a repeated resource",) if len(words) > 1 else ()
    joined = "".join(different)
    is_split = not any(_is_whole(word) for word in different[:-1]) and joined.count("://") < 2
    if is_split and _is_whole(joined):
        return joined, ("removed white space within the value",)
    if not any(_RESOURCE.match(word) or TRIGGER_PERMISSION in word for word in different):
        return " ".join(different), ()
    fitting = (
        f"`{API_PERMISSION}` for the developer API"
        if target.kind == "api"
        else f"`{TRIGGER_PERMISSION}` for an integration"
    )
    raise InvalidInput(
        f"has several resources, but a token is valid for one resource; keep the one that ends with {fitting}, and add "
        "a credential for each other resource"
    )


def _is_whole(text: str) -> bool:
    """Return whether the text is an audience with an ending, even if the ending is misspelt."""
    match = _RESOURCE.fullmatch(text)
    return match is not None and any(ending.fullmatch(match["rest"].lower()) for ending, _, _ in _ENDINGS)


def _correct(word: str, target: Integration) -> tuple[str, tuple[str, ...]]:
    changes: list[str] = []
    host = parse_oic_host(urlsplit(target.upstream).hostname or "")
    if AUDIENCE_HASH.fullmatch(word) and host:
        word = f"https://{word}.{host.domain}:443"
        changes.append("added the domain of the instance to the audience")
    match = _RESOURCE.fullmatch(word)
    if match is None:
        return word, tuple(changes)
    rest = _ending(match, target, changes)
    if rest is None:
        return word, tuple(changes)
    audience = _audience(match, changes)
    return f"{audience}{rest}", tuple(changes)


def _ending(match: re.Match[str], target: Integration, changes: list[str]) -> str | None:
    """Return the permission of the scope, or None for one that is not OIC's. Its audience then stays unchanged."""
    rest = match["rest"]
    if rest in {TRIGGER_PERMISSION, API_PERMISSION}:
        return rest
    for ending, permission, change in _ENDINGS:
        if ending.fullmatch(rest.lower()):
            changes.append(change)
            return permission
    if not parse_oic_host(match["host"]) or rest.lower().startswith("urn:"):
        return None
    if rest.strip("/"):
        raise InvalidInput(f"is a URL of the instance, not a scope; {_REMEDY}")
    permission, use = (
        (API_PERMISSION, "for the developer API") if target.kind == "api" else (TRIGGER_PERMISSION, "for integrations")
    )
    changes.append(f"added {permission} to the audience, {use}")
    return permission


def _audience(match: re.Match[str], changes: list[str]) -> str:
    pasted = match["host"]
    label, _, tail = pasted.partition(".")
    host = f"{label.upper() if AUDIENCE_HASH.fullmatch(label) else label}.{tail.lower()}"
    if host != pasted:
        changes.append(
            "changed the audience to upper case and its domain to lower case, as identity domains write them"
        )
    if match["scheme"] != "https":
        changes.append("added https:// before the audience")
    if match["port"] is None:
        changes.append("added `:443` after the host, which is part of the audience")
    return f"https://{host}:{match['port'] or 443}"


def _notes(word: str, target: Integration) -> tuple[str, ...]:
    match = _RESOURCE.fullmatch(word)
    host = parse_oic_host(match["host"]) if match else None
    if match is None or host is None:
        return ()
    notes = []
    instance = parse_oic_host(urlsplit(target.upstream).hostname or "")
    if not AUDIENCE_HASH.fullmatch(host.name):
        notes.append("an audience is 32 hex digits, not the name of the instance; " + _REMEDY)
    elif instance and instance.domain != host.domain:
        notes.append("the audience is in another region than the integration; " + _REMEDY)
    if match["rest"] == API_PERMISSION and target.kind == "trigger":
        notes.append(
            f"{API_PERMISSION} is for the developer API only; for an integration, use the scope that ends with "
            f"{TRIGGER_PERMISSION}"
        )
    return tuple(notes)
