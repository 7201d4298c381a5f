"""Diagnose the response of an upstream to a request with a valid token."""

import re
from collections.abc import Callable
from typing import NamedTuple

from gateway.content.untrusted_text import printable_line, read_url
from gateway.diagnosis.catalog import MISTAKES
from gateway.diagnosis.connections import dial_failure_code
from gateway.diagnosis.facts import ProbeResponse, RouteProbe
from gateway.diagnosis.finding import Finding, failed_finding, warning_finding
from gateway.oic.instance_id import INSTANCE_ID
from gateway.oic.scopes import find_region, scope_kind
from gateway.oic.urls import FIRST_VERSION, INSTANCE_PARAMETER, OicTarget

_UNKNOWN_URL = "unknown-url"

_SIGN_IN = re.compile(r"/oauth2/v1/authorize|/ui/v1/|sign-?in|log-?in|/ic/home|/sso", re.IGNORECASE)


class RouteVerdict(NamedTuple):
    """A catalog code, empty after success, and details of the response."""

    code: str
    details: str = ""


def diagnose_route(probe: RouteProbe, route: str, target: OicTarget) -> Finding:
    """Return the finding for a response, or for its absence."""
    subject = f"route {route}"
    request = f"{probe.method} {_shorten(probe.target)}"
    if probe.response is None:
        code = _code_without_response(probe)
        return failed_finding(code, subject, f"{request}: {probe.error}", step="request")
    redirect = f"307 to {probe.redirected_to}, which answered " if probe.redirected_to else ""
    seen = f"{request} answered {redirect}{probe.response.status}"
    code, details = diagnose_response(probe, probe.response, target)
    seen = f"{seen}; {details}" if details else seen
    if not code:
        return Finding(ok=True, subject=subject, seen=seen, step="request")
    if code == _UNKNOWN_URL:
        return warning_finding(code, subject, seen, step="request")
    return failed_finding(code, subject, seen, step="request", means=combined_meaning(code))


def request_failure_code(error: str) -> str:
    """Return the catalog code for an error of the gateway, `CODE: text`."""
    code, _, reason = error.partition(": ")
    if code == "upstream-unreachable":
        return dial_failure_code(reason)
    return code if code in {"upstream-timeout", "upstream-broken"} else "network"


def _code_without_response(probe: RouteProbe) -> str:
    """Return the catalog code without a response. An allow-list closes the connection with and without a token."""
    code = request_failure_code(probe.error)
    return "allow-list" if code == "upstream-broken" and not probe.status_without_token else code


def diagnose_response(probe: RouteProbe, response: ProbeResponse, target: OicTarget) -> RouteVerdict:
    """Return the meaning of a response to the request `probe` for `target`."""
    # The response of a flow may have any status.
    if INSTANCE_ID.decode() in response.fields or 200 <= response.status < 300:
        return RouteVerdict("", "" if target.kind != "other" else "OPTIONS only proves that the server responds")
    if response.status >= 500 and response.status != 501:
        return RouteVerdict("upstream-failing")
    diagnose = _DIAGNOSE_BY_STATUS.get(response.status) or (
        _diagnose_redirect if 300 <= response.status < 400 else _accept_token
    )
    return diagnose(probe, response, target)


def _diagnose_401(probe: RouteProbe, response: ProbeResponse, target: OicTarget) -> RouteVerdict:
    challenge = _printable(response.fields.get("www-authenticate", ""))
    details = f"WWW-Authenticate: {challenge}" if challenge else ""
    other_kind = {"developer": "trigger", "rest": "api", "soap": "api"}.get(target.kind)
    if other_kind is not None and scope_kind(probe.scope) == other_kind:
        return RouteVerdict("scope-kind", f"the scope is {_printable(probe.scope)}")
    scope_region, upstream_region = find_region(probe.scope), find_region(probe.upstream)
    if scope_region and upstream_region and scope_region != upstream_region:
        return RouteVerdict("other-instance", f"the scope is of {scope_region}, the upstream of {upstream_region}")
    if "invalid_token" in challenge:  # RFC 6750 §3.1
        return RouteVerdict("other-instance", details)
    return RouteVerdict("refused" if target.kind == "other" else "role-missing", details)


def _diagnose_403(probe: RouteProbe, _response: ProbeResponse, target: OicTarget) -> RouteVerdict:
    """Return the meaning of a 403: an allow-list rejects a request without a token, too."""
    if probe.status_without_token == 403:
        return RouteVerdict("allow-list", "403 without a token, too")
    if probe.is_caller_request and target.kind != "other":
        return RouteVerdict("role-or-allow-list")
    details = f"{probe.status_without_token} without a token" if probe.status_without_token else ""
    return RouteVerdict("refused" if target.kind == "other" else "role-missing", details)


def _diagnose_404(probe: RouteProbe, _response: ProbeResponse, target: OicTarget) -> RouteVerdict:
    if target.kind == "other":
        return RouteVerdict("not-found" if probe.is_caller_request else _UNKNOWN_URL)
    other = f"version {probe.other_version} exists" if probe.other_version else ""
    if target.kind in {"rest", "soap"} and not target.version:
        return RouteVerdict("version-missing", other)
    if other:
        return RouteVerdict("wrong-version", other)
    if target.is_version_mismatch:
        return RouteVerdict("project-url")
    if not target.has_valid_version or (target.version and not _is_first(target) and not probe.is_caller_request):
        return RouteVerdict("wrong-version", f"the version is {_printable(target.version)}")
    is_classic = target.kind == "rest" and not target.project and not probe.is_caller_request
    return RouteVerdict("classic-url" if is_classic else "not-found")


def _is_first(target: OicTarget) -> bool:
    """Return whether the version is 1.x; others are rare."""
    return target.version.startswith(f"{FIRST_VERSION[0]}.")


def _diagnose_redirect(_probe: RouteProbe, response: ProbeResponse, target: OicTarget) -> RouteVerdict:
    location = response.fields.get("location", "")
    url = read_url(location)
    if url is None:
        return RouteVerdict("redirected", f"Location is not a URL: {_printable(location.partition('?')[0])}")
    origin = f"{url.scheme}://{url.authority}" if url.authority else ""
    details = f"Location: {_printable(f'{origin}{url.path}')}"
    if _SIGN_IN.search(url.path):
        return RouteVerdict("console-url", details)
    if target.kind != "developer" or response.status not in {307, 308}:
        return RouteVerdict("redirected", details)
    return RouteVerdict("developer-host", details)


def _diagnose_400(probe: RouteProbe, response: ProbeResponse, target: OicTarget) -> RouteVerdict:
    if target.kind == "developer" and (INSTANCE_PARAMETER in response.text or INSTANCE_PARAMETER not in probe.query):
        return RouteVerdict("developer-instance")
    return _accept_token(probe, response, target)


def _diagnose_415(probe: RouteProbe, response: ProbeResponse, target: OicTarget) -> RouteVerdict:
    """Return the meaning of a 415: a caller's body has the wrong type; the request of the check has no body."""
    return RouteVerdict("media-type") if probe.is_caller_request else _accept_token(probe, response, target)


def _diagnose_429(_probe: RouteProbe, _response: ProbeResponse, _target: OicTarget) -> RouteVerdict:
    return RouteVerdict("limited-upstream")


def _accept_token(_probe: RouteProbe, _response: ProbeResponse, _target: OicTarget) -> RouteVerdict:
    """Return success for 400, 405, 415 and the like: the server has accepted the token."""
    return RouteVerdict("", "the server accepted the token")


_DIAGNOSE_BY_STATUS: dict[int, Callable[[RouteProbe, ProbeResponse, OicTarget], RouteVerdict]] = {
    400: _diagnose_400,
    401: _diagnose_401,
    403: _diagnose_403,
    404: _diagnose_404,
    415: _diagnose_415,
    429: _diagnose_429,
}

# The second cause of a response that has several.
_SECOND_CAUSE = {"role-missing": "other-instance", "classic-url": "wrong-version"}


def combined_meaning(code: str) -> str:
    """Return the meanings of both causes; empty if the code has one cause."""
    other = _SECOND_CAUSE.get(code)
    return f"{MISTAKES[code].means} Otherwise: {MISTAKES[other].means}" if other else ""


def _shorten(target: str) -> str:
    return target if len(target) <= 200 else f"{target[:199]}…"


def _printable(text: str) -> str:
    """Return text of another system in printable ASCII, for a terminal."""
    return printable_line(text, 200)
