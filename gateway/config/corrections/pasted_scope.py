"""From what was pasted for the scope to the one that the identity domain takes. Pure.

A scope of OIC is the primary audience of the instance and a permission, written together **without a slash**:
`https://HASH.integration.REGION.ocp.oraclecloud.com:443` and `urn:opc:resource:consumer::all` (triggers) or `/ic/api/`
(developer API). Scopes of other servers are kept as they are.
"""

import re
from urllib.parse import unquote, urlsplit

from gateway.config.corrections.integration_url import UNKNOWN, Integration
from gateway.config.corrections.pasted_text import Corrected, InvalidInput, bare
from gateway.oic.scopes import API_PERMISSION, AUDIENCE_HASH, TRIGGER_PERMISSION, is_directive
from gateway.oic.urls import ORACLE_DOMAIN, parse_oic_host

_REMEDY = "copy one from the application's OAuth configuration, Resources, in its identity domain"
_RESOURCE = re.compile(
    rf"(?:(?P<scheme>https?)://)?(?P<host>(?:[A-Za-z0-9_-]+\.)+{ORACLE_DOMAIN})(?::(?P<port>[0-9]+))?(?P<rest>.*)",
    re.IGNORECASE | re.DOTALL,
)
_TOKEN = re.compile(r"[!#-\[\]-~]+")  # RFC 6749 section 3.3

# By what follows host and port: what is to stand there, and what to say of the change.
_ENDINGS = (
    (
        re.compile(r"/+urn:opc:resource:consumer::?all/?"),
        TRIGGER_PERMISSION,
        "took out the slash before `urn`, which is refused",
    ),
    (
        re.compile(r"/*urn:opc:resource:consumer(?:::?(?:all)?)?/?"),
        TRIGGER_PERMISSION,
        f"wrote the ending {TRIGGER_PERMISSION} out",
    ),
    (re.compile(r"/*ic(?:/api)?/?"), API_PERMISSION, f"wrote the ending {API_PERMISSION} out"),
)


def scope(text: str, leads: Integration = UNKNOWN) -> Corrected:
    """The scope that was meant, for a route that `leads` there.

    Raises Uncorrectable for several resources, which need a credential each, and for a URL that is no scope.
    """
    pasted = bare(text)
    value, changes = _decoded(pasted.value)
    words = value.split()
    if not all(_TOKEN.fullmatch(word) for word in words):
        raise InvalidInput(f"has a character that scopes do not have; {_REMEDY}")
    beside = [word for word in words if is_directive(word)]
    resource, joined = _one([word for word in words if word not in beside], leads)
    mended, mends = _mended(resource, leads)
    whole = " ".join([mended, *dict.fromkeys(beside)])
    changes = (*pasted.changes, *changes, *joined, *mends)
    if not changes and whole != value:
        changes = ("put its words in order, each once, with single blanks between",)
    return Corrected(whole, changes, _notes(mended, leads))


def _decoded(text: str) -> tuple[str, tuple[str, ...]]:
    """What was copied from a form body is percent-encoded."""
    if re.match(r"https?%3a", text, re.IGNORECASE):
        return unquote(text.replace("+", " ")), ("decoded it: it was percent-encoded",)
    return text, ()


def _one(words: list[str], leads: Integration) -> tuple[str, tuple[str, ...]]:
    """The one resource of the words, and whether white space within it was taken out."""
    different = list(dict.fromkeys(words))
    if not different:
        raise InvalidInput(f"names no resource; {_REMEDY}")
    if len(different) == 1:
        return different[0], ("left off what stood there twice",) if len(words) > 1 else ()
    together = "".join(different)
    is_split = not any(_is_whole(word) for word in different[:-1]) and together.count("://") < 2
    if is_split and _is_whole(together):
        return together, ("took out the white space within it",)
    if not any(_RESOURCE.match(word) or TRIGGER_PERMISSION in word for word in different):
        return " ".join(different), ()
    fitting = (
        f"`{API_PERMISSION}` for the developer API"
        if leads.kind == "api"
        else f"`{TRIGGER_PERMISSION}` for an integration"
    )
    raise InvalidInput(
        f"has several resources, and one token is for one of them; keep the one that ends with {fitting}, and give the "
        "others credentials of their own"
    )


def _is_whole(text: str) -> bool:
    """An audience with its ending, well written or not."""
    match = _RESOURCE.fullmatch(text)
    return match is not None and any(ending.fullmatch(match["rest"].lower()) for ending, _, _ in _ENDINGS)


def _mended(word: str, leads: Integration) -> tuple[str, tuple[str, ...]]:
    changes: list[str] = []
    host = parse_oic_host(urlsplit(leads.upstream).hostname or "")
    if AUDIENCE_HASH.fullmatch(word) and host:
        word = f"https://{word}.{host.domain}:443"
        changes.append("put the instance's domain behind the audience alone")
    match = _RESOURCE.fullmatch(word)
    if match is None:
        return word, tuple(changes)
    rest = _ending(match, leads, changes)
    if rest is None:
        return word, tuple(changes)
    audience = _audience(match, changes)
    return f"{audience}{rest}", tuple(changes)


def _ending(match: re.Match[str], leads: Integration, changes: list[str]) -> str | None:
    """The permission; None for one that is not OIC's, whose audience is left alone too."""
    rest = match["rest"]
    if rest in {TRIGGER_PERMISSION, API_PERMISSION}:
        return rest
    for ending, right, change in _ENDINGS:
        if ending.fullmatch(rest.lower()):
            changes.append(change)
            return right
    if not parse_oic_host(match["host"]) or rest.lower().startswith("urn:"):
        return None
    if rest.strip("/"):
        raise InvalidInput(f"is a URL of the instance, not a scope; {_REMEDY}")
    right, use = (
        (API_PERMISSION, "for the developer API") if leads.kind == "api" else (TRIGGER_PERMISSION, "for integrations")
    )
    changes.append(f"put {right} behind the audience, {use}")
    return right


def _audience(match: re.Match[str], changes: list[str]) -> str:
    written = match["host"]
    label, _, tail = written.partition(".")
    host = f"{label.upper() if AUDIENCE_HASH.fullmatch(label) else label}.{tail.lower()}"
    if host != written:
        changes.append("wrote the audience in capitals and its domain in small letters, as identity domains do")
    if match["scheme"] != "https":
        changes.append("wrote https:// before the audience")
    if match["port"] is None:
        changes.append("put `:443` behind the host, which belongs to the audience")
    return f"https://{host}:{match['port'] or 443}"


def _notes(word: str, leads: Integration) -> tuple[str, ...]:
    match = _RESOURCE.fullmatch(word)
    host = parse_oic_host(match["host"]) if match else None
    if match is None or host is None:
        return ()
    notes = []
    where = parse_oic_host(urlsplit(leads.upstream).hostname or "")
    if not AUDIENCE_HASH.fullmatch(host.name):
        notes.append("an audience is 32 hex digits, not the name of the instance; " + _REMEDY)
    elif where and where.domain != host.domain:
        notes.append("the audience is of another region than the integration; " + _REMEDY)
    if match["rest"] == API_PERMISSION and leads.kind == "trigger":
        notes.append(
            f"{API_PERMISSION} opens the developer API only; an integration wants the scope that ends with "
            f"{TRIGGER_PERMISSION}"
        )
    return tuple(notes)
