"""What `init` would correct in a file that was written by hand: values that cannot work, and that seldom do. Pure.

The facts are those of `config.corrections`. A fact is an error where the value can never work, and a warning where
it may be meant. As `checks`, this walks the file's plain values, and leaves whatever
has not the expected kind to the model's own complaint.
"""

import operator
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from gateway.config.corrections.client_secret import client_id
from gateway.config.corrections.identity_domain import TOKEN_PATH, token_url
from gateway.config.corrections.integration_url import UNKNOWN, Integration, integration, review_upstream
from gateway.config.corrections.pasted_scope import scope
from gateway.config.corrections.pasted_text import Corrected, InvalidInput
from gateway.config.issue import ConfigIssue, Severity, Steps
from gateway.config.typography import typographic
from gateway.oic.scopes import SEVERAL_RESOURCES, has_slash_before_urn
from gateway.oic.urls import is_identity_domain, is_oracle_host

_TEXTS = ("audience", "issuer", "redirect_uri", "authorize_url", "revoke_url", "subject", "username")
_PRINTABLE = re.compile(r"[ -~]+")  # RFC 6749 appendix A.1, VSCHAR
_SCOPE = re.compile(r"[ !#-\[\]-~]+")  # RFC 6749 section 3.3
_NO_SCOPE = (
    "is missing: identity domains then give no token that OIC accepts",
    "copy it from the application's OAuth configuration, Resources, in its identity domain",
)
# The first words of a change that was made, as a request to make it.
_REQUESTS = (
    ("took", "take"),
    ("wrote", "write"),
    ("left", "leave"),
    ("added", "add"),
    ("moved", "move"),
    ("decoded", "decode"),
)


def review(tree: Mapping[str, Any]) -> Iterator[ConfigIssue]:
    """Findings about the values of credentials and routes; `tree` is the plain value of the file."""
    fallback = _mapping(tree.get("defaults")).get("credential")
    upstreams: dict[str, list[str]] = {}
    routes = tree.get("routes")
    for index, route in enumerate(routes if isinstance(routes, list) else ()):
        upstream = route.get("upstream") if isinstance(route, dict) else None
        if isinstance(upstream, str):
            yield from _upstream(("routes", index, "upstream"), upstream)
            upstreams.setdefault(str(route.get("credential") or fallback), []).append(upstream)
    for name, credential in _mapping(tree.get("credentials")).items():
        yield from _credential(("credentials", name), _mapping(credential), upstreams.get(name, []))


def _credential(steps: Steps, credential: Mapping[str, Any], upstreams: list[str]) -> Iterator[ConfigIssue]:
    url = credential.get("token_url")
    if isinstance(url, str):
        yield from _token_url((*steps, "token_url"), url)
    if isinstance(credential.get("client_id"), str):
        yield from _client_id((*steps, "client_id"), credential["client_id"])
    words = credential.get("scope")
    text = " ".join(map(str, words)) if isinstance(words, list) else words
    if isinstance(text, str) and text.strip():
        yield from _scope((*steps, "scope"), text, credential, upstreams)
    elif text is None and isinstance(url, str) and is_identity_domain(_host(url)) and _asks_scope(credential):
        yield ConfigIssue((*steps, "scope"), *_NO_SCOPE, severity="warning")
    for key in _TEXTS:
        if isinstance(credential.get(key), str) and (found := typographic(credential[key])):
            yield ConfigIssue((*steps, key), f"has {found}", "remove it", severity="warning")


def _asks_scope(credential: Mapping[str, Any]) -> bool:
    """False for a refresh token, which has the scope that was granted (RFC 6749 section 6)."""
    return credential.get("grant") != "refresh_token"


def _token_url(steps: Steps, url: str) -> Iterator[ConfigIssue]:
    if typographic(url):
        return  # the model's own complaint
    try:
        meant = token_url(url).value
    except InvalidInput as cause:
        if is_oracle_host(_host(url)) or _host(url).endswith("oracle.com"):
            yield _finding(steps, cause, "error")
        return
    path = _path(url)
    if path == _path(meant):
        return
    if is_identity_domain(_host(url)):
        what = "is not the token endpoint of an identity domain"
        yield ConfigIssue(steps, what, f"write {TOKEN_PATH} as its path")
    elif path in {"", "/"}:
        what = "has no path, and a token endpoint seldom is at the root"
        remedy = f"write the whole URL of the token endpoint, {TOKEN_PATH} for an identity domain"
        yield ConfigIssue(steps, what, remedy, severity="warning")


def _client_id(steps: Steps, text: str) -> Iterator[ConfigIssue]:
    if not text.strip():
        return
    if not _PRINTABLE.fullmatch(text):
        # Typography comes from a word processor. Other letters are against the RFC, but some servers take them.
        found = typographic(text)
        what, remedy = (
            f"has {found or 'a character that ids do not have'}",
            "remove it, or copy `Client ID` from the application's page again",
        )
        yield ConfigIssue(steps, what, remedy, severity="error" if found else "warning")
        return
    yield from _corrected(steps, text, client_id)


def _scope(steps: Steps, text: str, credential: Mapping[str, Any], upstreams: list[str]) -> Iterator[ConfigIssue]:
    if not _SCOPE.fullmatch(text):
        found = typographic(text) or "a character that scopes do not have (RFC 6749 section 3.3)"
        yield ConfigIssue(steps, f"has {found}", "remove it, or copy the scope again")
        return
    if has_slash_before_urn(text):
        what = "has a slash before `urn`, which identity domains refuse"
        yield ConfigIssue(steps, what, "write …:443urn:opc:resource…", severity="warning")
        return
    if SEVERAL_RESOURCES in text.split() or credential.get("resource") is not None:
        return  # one request for tokens of several resources
    leads = next(filter(None, map(_leads, upstreams)), UNKNOWN)
    yield from _corrected(steps, text, lambda value: scope(value, leads), are_same=_has_same_words)


def _upstream(steps: Steps, url: str) -> Iterator[ConfigIssue]:
    for what, remedy, severity in review_upstream(_host(url), _path(url)):
        yield ConfigIssue(steps, what, remedy, severity=severity)


def _corrected(
    steps: Steps, text: str, correct: Callable[[str], Corrected], *, are_same: Callable[[str, str], bool] = operator.eq
) -> Iterator[ConfigIssue]:
    """Warnings for what a correction would change, and for what it notes."""
    try:
        meant = correct(text)
    except InvalidInput as cause:
        yield _finding(steps, cause, "warning")
        return
    if not are_same(meant.value, text):
        what = "is not written as identity domains take it"
        yield ConfigIssue(steps, what, ", ".join(map(_request, meant.changes)), severity="warning")
    for note in meant.notes:
        what, _, remedy = note.partition("; ")
        yield ConfigIssue(steps, what, remedy or "compare it with the route's `upstream`", severity="warning")


def _has_same_words(one: str, other: str) -> bool:
    """The order of a scope's words has no meaning (RFC 6749 section 3.3)."""
    return set(one.split()) == set(other.split())


def _request(change: str) -> str:
    """`took out the slash` as `take out the slash`."""
    return next((now + change[len(past) :] for past, now in _REQUESTS if change.startswith(past)), change)


def _finding(steps: Steps, cause: InvalidInput, severity: Severity) -> ConfigIssue:
    what, _, remedy = str(cause).partition("; ")
    return ConfigIssue(steps, what, remedy, severity=severity)


def _leads(url: str) -> Integration | None:
    try:
        return integration(url)
    except InvalidInput:
        return None


def _host(url: str) -> str:
    try:
        return (urlsplit(url).hostname or "").lower()
    except ValueError:
        return ""


def _path(url: str) -> str:
    try:
        return urlsplit(url).path
    except ValueError:
        return ""


def _mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
