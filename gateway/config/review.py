"""Review values of a file that `init` would correct, by the rules of `config.corrections`. Pure.

A value that can never work is an error; one that may be intended is a warning. The review uses the plain values of the
file. The model reports values of the wrong type.
"""

import operator
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from gateway.config.corrections.client_secret import client_id
from gateway.config.corrections.identity_domain import TOKEN_PATH, token_url
from gateway.config.corrections.integration_url import (
    UNKNOWN,
    Integration,
    integration,
    review_route_path,
    review_upstream,
)
from gateway.config.corrections.pasted_scope import scope
from gateway.config.corrections.pasted_text import Corrected, InvalidInput
from gateway.config.issue import ConfigIssue, Severity, Steps
from gateway.config.typography import typographic
from gateway.oic.scopes import SEVERAL_RESOURCES, has_slash_before_urn
from gateway.oic.urls import is_identity_domain, is_oracle_host

_TEXT_KEYS = ("audience", "issuer", "redirect_uri", "authorize_url", "revoke_url", "subject", "username")
_PRINTABLE = re.compile(r"[ -~]+")  # RFC 6749 appendix A.1, VSCHAR
_SCOPE = re.compile(r"[ !#-\[\]-~]+")  # RFC 6749 section 3.3
_NO_SCOPE = (
    "is missing: identity domains then give no token that OIC accepts",
    "copy it from the application's OAuth configuration, Resources, in its identity domain",
)
# First verb of a change in the past tense, and its imperative.
_IMPERATIVES = (
    ("removed", "remove"),
    ("added", "add"),
    ("changed", "change"),
    ("completed", "complete"),
    ("decoded", "decode"),
)


def review(tree: Mapping[str, Any]) -> Iterator[ConfigIssue]:
    """Yield issues of credentials and routes; `tree` is the plain value of the file."""
    fallback = _mapping(tree.get("defaults")).get("credential")
    upstreams: dict[str, list[str]] = {}
    routes = tree.get("routes")
    for index, route in enumerate(routes if isinstance(routes, list) else ()):
        upstream = route.get("upstream") if isinstance(route, dict) else None
        if isinstance(upstream, str):
            yield from _check_upstream(("routes", index, "upstream"), upstream)
            upstreams.setdefault(str(route.get("credential") or fallback), []).append(upstream)
        path = route.get("path") if isinstance(route, dict) else None
        for what, remedy, severity in review_route_path(path) if isinstance(path, str) else ():
            yield ConfigIssue(("routes", index, "path"), what, remedy, severity=severity)
    for name, credential in _mapping(tree.get("credentials")).items():
        yield from _check_credential(("credentials", name), _mapping(credential), upstreams.get(name, []))


def _check_credential(steps: Steps, credential: Mapping[str, Any], upstreams: list[str]) -> Iterator[ConfigIssue]:
    url = credential.get("token_url")
    if isinstance(url, str):
        yield from _check_token_url((*steps, "token_url"), url)
    if isinstance(credential.get("client_id"), str):
        yield from _check_client_id((*steps, "client_id"), credential["client_id"])
    words = credential.get("scope")
    text = " ".join(map(str, words)) if isinstance(words, list) else words
    if isinstance(text, str) and text.strip():
        yield from _check_scope((*steps, "scope"), text, credential, upstreams)
    elif text is None and isinstance(url, str) and _issues_oic_tokens(url, upstreams) and _requires_scope(credential):
        yield ConfigIssue((*steps, "scope"), *_NO_SCOPE, severity="warning")
    for key in _TEXT_KEYS:
        if isinstance(credential.get(key), str) and (found := typographic(credential[key])):
            yield ConfigIssue((*steps, key), f"has {found}", "remove it", severity="warning")


def _issues_oic_tokens(url: str, upstreams: list[str]) -> bool:
    """Return whether a token URL is that of an identity domain: by its host or, under another name, by its path
    and the upstreams.
    """
    if is_identity_domain(_host(url)):
        return True
    return _path(url) == TOKEN_PATH and any(is_oracle_host(_host(upstream)) for upstream in upstreams)


def _requires_scope(credential: Mapping[str, Any]) -> bool:
    """Return False for a refresh token, which has the granted scope (RFC 6749 section 6)."""
    return credential.get("grant") != "refresh_token"


def _check_token_url(steps: Steps, url: str) -> Iterator[ConfigIssue]:
    if typographic(url):
        return  # reported by the model
    try:
        corrected = token_url(url).value
    except InvalidInput as cause:
        if is_oracle_host(_host(url)) or _host(url).endswith("oracle.com"):
            yield _to_issue(steps, cause, "error")
        return
    path = _path(url)
    if path == _path(corrected):
        return
    if is_identity_domain(_host(url)):
        what = "is not the token endpoint of an identity domain"
        yield ConfigIssue(steps, what, f"write {TOKEN_PATH} as its path")
    elif path in {"", "/"}:
        what = "has no path; a token endpoint is rarely at the root"
        remedy = f"write the whole URL of the token endpoint, {TOKEN_PATH} for an identity domain"
        yield ConfigIssue(steps, what, remedy, severity="warning")


def _check_client_id(steps: Steps, text: str) -> Iterator[ConfigIssue]:
    if not text.strip():
        return
    if not _PRINTABLE.fullmatch(text):
        # Typographic characters come from word processors. Other letters violate the RFC, but some servers accept them.
        found = typographic(text)
        what, remedy = (
            f"has {found or 'a character that is not allowed in client ids'}",
            "remove it, or copy `Client ID` from the application's page again",
        )
        yield ConfigIssue(steps, what, remedy, severity="error" if found else "warning")
        return
    yield from _check_correction(steps, text, client_id)


def _check_scope(steps: Steps, text: str, credential: Mapping[str, Any], upstreams: list[str]) -> Iterator[ConfigIssue]:
    if not _SCOPE.fullmatch(text):
        found = typographic(text) or "a character that is not allowed in scopes (RFC 6749 section 3.3)"
        yield ConfigIssue(steps, f"has {found}", "remove it, or copy the scope again")
        return
    if has_slash_before_urn(text):
        what = "has a slash before `urn`, which identity domains reject"
        yield ConfigIssue(steps, what, "write …:443urn:opc:resource…", severity="warning")
        return
    if SEVERAL_RESOURCES in text.split() or credential.get("resource") is not None:
        return  # one request for tokens of several resources
    target = next(filter(None, map(_integration_of, upstreams)), UNKNOWN)
    yield from _check_correction(steps, text, lambda value: scope(value, target), are_same=_has_same_words)


def _check_upstream(steps: Steps, url: str) -> Iterator[ConfigIssue]:
    for what, remedy, severity in review_upstream(_host(url), _path(url)):
        yield ConfigIssue(steps, what, remedy, severity=severity)


def _check_correction(
    steps: Steps, text: str, correct: Callable[[str], Corrected], *, are_same: Callable[[str, str], bool] = operator.eq
) -> Iterator[ConfigIssue]:
    """Yield a warning for each change and note of a correction."""
    try:
        corrected = correct(text)
    except InvalidInput as cause:
        yield _to_issue(steps, cause, "warning")
        return
    if not are_same(corrected.value, text):
        what = "does not have the form that identity domains accept"
        yield ConfigIssue(steps, what, ", ".join(map(_imperative, corrected.changes)), severity="warning")
    for note in corrected.notes:
        what, _, remedy = note.partition("; ")
        yield ConfigIssue(steps, what, remedy or "compare it with the route's `upstream`", severity="warning")


def _has_same_words(one: str, other: str) -> bool:
    """Compare scopes regardless of the order of their words (RFC 6749 section 3.3)."""
    return set(one.split()) == set(other.split())


def _imperative(change: str) -> str:
    """Turn `removed the slash` into `remove the slash`."""
    return next((verb + change[len(past) :] for past, verb in _IMPERATIVES if change.startswith(past)), change)


def _to_issue(steps: Steps, cause: InvalidInput, severity: Severity) -> ConfigIssue:
    what, _, remedy = str(cause).partition("; ")
    return ConfigIssue(steps, what, remedy, severity=severity)


def _integration_of(url: str) -> Integration | None:
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
