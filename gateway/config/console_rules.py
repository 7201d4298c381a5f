"""Checks of `console`: who could log in, and whether passwords and cookies are encrypted. Pure.

The checks use the plain values of the file, so that they find problems even if other keys are wrong.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from gateway.config.console_model import ROLES
from gateway.config.issue import ConfigIssue, Steps
from gateway.config.values import duration_of, is_local, is_loopback
from gateway.content.untrusted_text import read_url

_CONSOLE: Steps = ("console",)


def check_console(tree: Mapping[str, Any], admin: str | None) -> Iterator[ConfigIssue]:
    """Yield issues of `console`; `tree` is the plain value of the file, `admin` the admin address if it is valid."""
    console = tree.get("console")
    if not isinstance(console, dict):
        return
    sign_in = console.get("sign_in")
    has_login = sign_in is not None or console.get("users") is not None
    url = console.get("url")
    yield from _check_url(url if isinstance(url, str) else None, has_login=has_login)
    if url is None and console.get("users") is not None and admin is not None and not is_loopback(admin):
        what = "has no `url`, so people send their passwords to `admin` unencrypted"
        remedy = "put a reverse proxy with TLS in front of `admin`, and set `url` to its https URL"
        yield ConfigIssue(_CONSOLE, what, remedy, severity="warning")
    if isinstance(sign_in, dict):
        yield from _check_sign_in(console, sign_in)
    elif console.get("roles") is not None:
        what = "has no effect without `sign_in`: local users have the role in their file"
        yield ConfigIssue((*_CONSOLE, "roles"), what, "add `sign_in`, or remove `roles`", severity="warning")
    yield from _check_session(console.get("session"))


def _check_url(url: str | None, *, has_login: bool) -> Iterator[ConfigIssue]:
    parts = read_url(url) if url is not None else None
    if parts is None or not parts.host or is_local(parts.host):
        return
    steps = (*_CONSOLE, "url")
    if not has_login:
        what = "is of other machines, but without `sign_in` and `users` the console serves this machine only"
        yield ConfigIssue(steps, what, "add `users` or `sign_in`, or remove `url`")
    elif parts.scheme == "http":
        what = "is not encrypted: passwords and sessions can be read on the network"
        yield ConfigIssue(steps, what, "use https, with a reverse proxy in front of `admin`", severity="warning")


def _check_sign_in(console: Mapping[str, Any], sign_in: Mapping[str, Any]) -> Iterator[ConfigIssue]:
    steps = (*_CONSOLE, "sign_in")
    if console.get("url") is None:
        what = "requires `url` in `console`, to which the provider sends people back"
        yield ConfigIssue(steps, what, "add `url`, like https://gateway-admin.example.com")
    issuer = sign_in.get("issuer")
    parts = read_url(issuer) if isinstance(issuer, str) else None
    if parts is not None and parts.host:
        if parts.scheme == "http" and not is_local(parts.host):
            what = "is not encrypted, so an answer of it proves nothing"
            yield ConfigIssue((*steps, "issuer"), what, "use https")
        if parts.query or "#" in str(issuer):
            yield ConfigIssue((*steps, "issuer"), "has a query or a fragment", "remove what follows the path")
    scope = sign_in.get("scope")
    if isinstance(scope, str) and "openid" not in scope.split():
        yield ConfigIssue((*steps, "scope"), "does not contain `openid`", "add it, like `openid profile groups`")
    roles = console.get("roles")
    if not isinstance(roles, dict) or not any(roles.get(role) for role in ROLES):
        what = "names no group, so no person that signs in has a role"
        yield ConfigIssue((*_CONSOLE, "roles"), what, 'write it like `roles: {admin: [OIC-Admins], viewer: ["*"]}`')


def _check_session(session: object) -> Iterator[ConfigIssue]:
    if not isinstance(session, dict):
        return
    idle, longest = (duration_of(session.get(key)) for key in ("idle", "longest"))
    if idle is not None and longest is not None and idle > longest:
        what = "is longer than `longest`, so it has no effect"
        yield ConfigIssue((*_CONSOLE, "session", "idle"), what, "lower it", severity="warning")
