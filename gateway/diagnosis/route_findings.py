"""Diagnose the response of an upstream to a request with a valid token."""

import re
from collections.abc import Callable
from typing import NamedTuple

from gateway.content.foreign_text import printable_line, read_url
from gateway.diagnosis.catalog import MISTAKES
from gateway.diagnosis.connections import code_of_reason
from gateway.diagnosis.facts import ProbeResponse, RouteProbe
from gateway.diagnosis.finding import Finding, failed, note
from gateway.oic.instance_id import INSTANCE_ID
from gateway.oic.scopes import find_region, scope_kind
from gateway.oic.urls import FIRST_VERSION, INSTANCE_PARAMETER, OicTarget

_UNKNOWN = "unknown-url"

_SIGN_IN = re.compile(r"/oauth2/v1/authorize|/ui/v1/|sign-?in|log-?in|/ic/home|/sso", re.IGNORECASE)


class RouteVerdict(NamedTuple):
    """A catalog code, empty after success, and details of the response."""

    code: str
    more: str = ""


def diagnose_route(tried: RouteProbe, route: str, target: OicTarget) -> Finding:
    """Return the finding for a response, or for its absence."""
    subject = f"route {route}"
    asked = f"{tried.method} {_short(tried.target)}"
    if tried.reply is None:
        code = _of_silence(tried)
        return failed(code, subject, f"{asked}: {tried.error}", step="request")
    there = f"307 to {tried.followed}, which answered " if tried.followed else ""
    seen = f"{asked} answered {there}{tried.reply.status}"
    code, more = diagnose_response(tried, tried.reply, target)
    seen = f"{seen}; {more}" if more else seen
    if not code:
        return Finding(ok=True, subject=subject, seen=seen, step="request")
    if code == _UNKNOWN:
        return note(code, subject, seen, step="request")
    return failed(code, subject, seen, step="request", means=meaning(code))


def code_of_failure(error: str) -> str:
    """Return the catalog code for an error of the gateway, `CODE: text`."""
    code, _, reason = error.partition(": ")
    if code == "upstream-unreachable":
        return code_of_reason(reason)
    return code if code in {"upstream-timeout", "upstream-broken"} else "network"


def _of_silence(tried: RouteProbe) -> str:
    """Return the catalog code without a response. An allow-list closes the connection, with a token or without."""
    code = code_of_failure(tried.error)
    return "allow-list" if code == "upstream-broken" and not tried.bare else code


def diagnose_response(tried: RouteProbe, reply: ProbeResponse, target: OicTarget) -> RouteVerdict:
    """Return the meaning of a response to the request `tried` for `target`."""
    if INSTANCE_ID.decode() in reply.fields or 200 <= reply.status < 300:  # the response of a flow may have any status
        return RouteVerdict("", "" if target.kind != "other" else "OPTIONS only proves that the server responds")
    if reply.status >= 500 and reply.status != 501:
        return RouteVerdict("upstream-failing")
    diagnose = _BY_STATUS.get(reply.status) or (_of_redirect if 300 <= reply.status < 400 else _of_rest)
    return diagnose(tried, reply, target)


def _of_401(tried: RouteProbe, reply: ProbeResponse, target: OicTarget) -> RouteVerdict:
    challenge = _plain(reply.fields.get("www-authenticate", ""))
    more = f"WWW-Authenticate: {challenge}" if challenge else ""
    asked = {"developer": "trigger", "rest": "api", "soap": "api"}.get(target.kind)
    if asked is not None and scope_kind(tried.scope) == asked:
        return RouteVerdict("scope-kind", f"the scope is {_plain(tried.scope)}")
    there, here = find_region(tried.scope), find_region(tried.upstream)
    if there and here and there != here:
        return RouteVerdict("other-instance", f"the scope is of {there}, the upstream of {here}")
    if "invalid_token" in challenge:  # RFC 6750 §3.1
        return RouteVerdict("other-instance", more)
    return RouteVerdict("refused" if target.kind == "other" else "role-missing", more)


def _of_403(tried: RouteProbe, _reply: ProbeResponse, target: OicTarget) -> RouteVerdict:
    """Return the meaning of a 403: an allow-list rejects a request without a token, too."""
    if tried.bare == 403:
        return RouteVerdict("allow-list", "403 without a token, too")
    if tried.in_passing and target.kind != "other":
        return RouteVerdict("role-or-allow-list")
    more = f"{tried.bare} without a token" if tried.bare else ""
    return RouteVerdict("refused" if target.kind == "other" else "role-missing", more)


def _of_404(tried: RouteProbe, _reply: ProbeResponse, target: OicTarget) -> RouteVerdict:
    if target.kind == "other":
        return RouteVerdict("not-found" if tried.in_passing else _UNKNOWN)
    other = f"version {tried.elsewhere} exists" if tried.elsewhere else ""
    if target.kind in {"rest", "soap"} and not target.version:
        return RouteVerdict("version-missing", other)
    if other:
        return RouteVerdict("wrong-version", other)
    if target.is_mixed:
        return RouteVerdict("project-url")
    if not target.has_good_version or (target.version and not _is_first(target) and not tried.in_passing):
        return RouteVerdict("wrong-version", f"the version is {_plain(target.version)}")
    is_classic = target.kind == "rest" and not target.project and not tried.in_passing
    return RouteVerdict("classic-url" if is_classic else "not-found")


def _is_first(target: OicTarget) -> bool:
    """Return whether the version is 1.x; others are rare."""
    return target.version.startswith(f"{FIRST_VERSION[0]}.")


def _of_redirect(_tried: RouteProbe, reply: ProbeResponse, target: OicTarget) -> RouteVerdict:
    location = reply.fields.get("location", "")
    there = read_url(location)
    if there is None:
        return RouteVerdict("redirected", f"Location is not a URL: {_plain(location.partition('?')[0])}")
    more = f"Location: {_plain(f'{there.scheme}://{there.authority}{there.path}' if there.authority else there.path)}"
    if _SIGN_IN.search(there.path):
        return RouteVerdict("console-url", more)
    if target.kind != "developer" or reply.status not in {307, 308}:
        return RouteVerdict("redirected", more)
    return RouteVerdict("developer-host", more)


def _of_400(tried: RouteProbe, reply: ProbeResponse, target: OicTarget) -> RouteVerdict:
    if target.kind == "developer" and (INSTANCE_PARAMETER in reply.text or INSTANCE_PARAMETER not in tried.query):
        return RouteVerdict("developer-instance")
    return _of_rest(tried, reply, target)


def _of_415(tried: RouteProbe, reply: ProbeResponse, target: OicTarget) -> RouteVerdict:
    """Return the meaning of a 415: a caller's body has the wrong type; the request of the check has no body."""
    return RouteVerdict("media-type") if tried.in_passing else _of_rest(tried, reply, target)


def _of_429(_tried: RouteProbe, _reply: ProbeResponse, _target: OicTarget) -> RouteVerdict:
    return RouteVerdict("limited-upstream")


def _of_rest(_tried: RouteProbe, _reply: ProbeResponse, _target: OicTarget) -> RouteVerdict:
    """Return success for 400, 405, 415 and the like: the server has accepted the token."""
    return RouteVerdict("", "the server accepted the token")


_BY_STATUS: dict[int, Callable[[RouteProbe, ProbeResponse, OicTarget], RouteVerdict]] = {
    400: _of_400,
    401: _of_401,
    403: _of_403,
    404: _of_404,
    415: _of_415,
    429: _of_429,
}

# The second cause of a response that has several.
_SECOND_CAUSE = {"role-missing": "other-instance", "classic-url": "wrong-version"}


def meaning(code: str) -> str:
    """Return the meanings of both causes; empty if the code has one cause."""
    other = _SECOND_CAUSE.get(code)
    return f"{MISTAKES[code].means} Otherwise: {MISTAKES[other].means}" if other else ""


def _short(target: str) -> str:
    return target if len(target) <= 200 else f"{target[:199]}…"


def _plain(text: str) -> str:
    """Return text of another system in printable ASCII, for a terminal."""
    return printable_line(text, 200)
