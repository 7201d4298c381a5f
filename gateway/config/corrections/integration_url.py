"""Derive the upstream of a route from the text that was pasted for the integration's URL. Pure.

The URL of a trigger ends with its version, `…/flows/rest/ORDERS/1.0/`; the console shows its description page,
`…/1.0/metadata`. The developer API has the other paths below `/ic/api/`. It is on the design host, and the query
parameter `integrationInstance` selects the instance.
"""

import re
from collections.abc import Iterator
from typing import Literal
from urllib.parse import parse_qsl

import msgspec

from gateway.config.corrections.pasted_text import InvalidInput, PastedUrl, read_url
from gateway.config.issue import Severity
from gateway.config.values import has_dot_segment
from gateway.oic.urls import (
    DESIGN,
    FLOWS,
    INSTANCE_PARAMETER,
    PROJECT,
    is_identity_domain,
    is_oracle_host,
    parse_oic_host,
)

Kind = Literal["trigger", "api", "other"]

_QUERY_ADDED = (
    f"`{INSTANCE_PARAMETER}` is added to the route's `query`: the developer API needs the name of the instance"
)
_WHERE = (
    "in Oracle Integration open Design, Integrations (or your project), choose Run in the activated integration's "
    "Actions menu (in Gen 2 its Details icon), and copy `Endpoint URL`"
)

_FLOW_PATH = re.compile(rf".*{FLOWS}", re.IGNORECASE)
_TRIGGER = re.compile(
    rf"(?P<root>.*{FLOWS}[a-z]+/{PROJECT}"
    r"(?P<code>[^/]+)/v?[0-9]+(?:\.[0-9]+)*)(?P<subpath>/.*)?"
)
# Code and version in the form of the console or of the developer API.
_IDENTIFIER = re.compile(
    rf"(?P<flow>.*{FLOWS}[a-z]+/{PROJECT}[^/|%]+)"
    r"(?P<separator>/|\||%7[Cc])(?P<version>[0-9]+(?:\.[0-9]+)*)(?P<subpath>/.*)?"
)
_CONSOLE_IDENTIFIER = re.compile(r"[^/|%]+(?:\||%7[Cc])[0-9]{2}(?:\.[0-9]+)+(?:/|$)")
_API = re.compile(r"(?:/[^/]+)*/ic/api/.+")
_CONSOLE = re.compile(r"/?|/ic/?|/ic/(?!api/|ws/).*", re.IGNORECASE)
_DESCRIPTION = re.compile(r"/metadata(?:/(?:swagger|openapi))?/?", re.IGNORECASE)
_CONSOLE_PAGE = re.compile(r"/ic/(?:integration|home|builder)\b")
_CONSOLE_HOST = re.compile(r"(?:.+\.)?oracle\.com|console\..+")
_INSTANCE = re.compile(r"[A-Za-z0-9_.-]{1,128}")


class Integration(msgspec.Struct, frozen=True):
    """The target of a route. `code` is the code of the integration or the resource of the developer API; `instance` is
    the value of `integrationInstance`, or empty; `subpath` is the pasted path after the trigger's own URL.
    """

    upstream: str
    kind: Kind = "other"
    code: str = ""
    instance: str = ""
    subpath: str = ""
    changes: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def value(self) -> str:
        """The upstream, under the name that `Corrected` uses."""
        return self.upstream


UNKNOWN = Integration("")
"""The target if there is no usable URL."""


def integration(text: str) -> Integration:
    """Return the upstream: the URL of a trigger, a resource of the developer API, or any other URL, unchanged.

    Raise InvalidInput for a page of the console, and for a trigger without a version. The message describes where to
    find the endpoint URL.
    """
    url, changes = read_url(text)
    path, path_changes = _correct_path(url.path, is_oracle=url.is_oracle)
    _refuse_pages(url, path)
    changes = (*changes, *path_changes)
    if _TRIGGER.fullmatch(path):
        return _trigger(url, path, changes)
    if _FLOW_PATH.match(path):
        raise InvalidInput(f"ends before the integration's version, as in …/flows/rest/ORDERS/1.0/; {_WHERE}")
    if _API.fullmatch(path):
        return _api(url, path, changes)
    note = "is not the URL of an integration (…/flows/rest/CODE/1.0/); it is used unchanged"
    changes = (*changes, *_removals(url, _parameters(url)))
    return Integration(url.origin + path, code=_last_word(path), changes=changes, notes=(note,))


def review_upstream(host: str, path: str) -> Iterator[tuple[str, str, Severity]]:
    """Yield problem, remedy and severity of each mistake in the upstream of a route.

    The upstream may be a whole instance or all of its flows. A URL without code and version is therefore accepted.
    """
    is_flow = _FLOW_PATH.match(path) is not None
    if is_flow and (match := _IDENTIFIER.fullmatch(path)):
        if match["separator"] != "/" or _accepts_console_host_version(match["version"]):
            what = "has code and version in the form of the console"
            yield what, "write them like ORDERS/1.0", "warning" if match["separator"] == "/" else "error"
        elif _DESCRIPTION.fullmatch(match["subpath"] or ""):
            what = "ends with `/metadata`, the page that describes the integration"
            yield what, "remove `/metadata`", "warning"
    elif "|" in path:
        yield "has a bare `|`, which is not allowed in URLs", "write %7C", "warning"
    if "//" in path and is_oracle_host(host):
        yield "has an empty segment (`//`) in its path", "write single slashes", "warning"
    if host.endswith(".oracle.com") or _CONSOLE_PAGE.match(path):
        severity: Severity = "error" if host.endswith(".oracle.com") else "warning"
        yield "is a page of the console, not the endpoint of an integration", _WHERE, severity
    elif is_identity_domain(host):
        yield "is an address of the identity domain, not of an integration", _WHERE, "warning"
    elif is_flow and host.startswith(f"{DESIGN}.") and parse_oic_host(host):
        yield "is on the design host, which runs no integrations", _WHERE, "error"


def review_route_path(path: str) -> Iterator[tuple[str, str, Severity]]:
    """Yield problem, remedy and severity of a route's path that was copied from the console."""
    if _CONSOLE_IDENTIFIER.search(path):
        yield "has code and version in the form of the console", "write it like /ORDERS/1.0/, or any name", "warning"
    elif "|" in path:
        what = "has a bare `|`, which most callers send as %7C, so that their requests do not match"
        yield what, "write %7C, or another name", "warning"


def _refuse_pages(url: PastedUrl, path: str) -> None:
    is_page = url.is_oracle and _CONSOLE.fullmatch(path)
    if is_page or _CONSOLE_HOST.fullmatch(url.host) or _CONSOLE_PAGE.match(path):
        raise InvalidInput(f"is a page of the console, not the endpoint of an integration; {_WHERE}")
    if url.is_oracle and ".identity." in f".{url.host}":
        raise InvalidInput(f"is an address of the identity domain, not of an integration; {_WHERE}")


def _correct_path(path: str, *, is_oracle: bool) -> tuple[str, tuple[str, ...]]:
    """Return the path in the form that the loader and OIC accept, and the changes."""
    if "\\" in path or has_dot_segment(path):
        raise InvalidInput("has a backslash, `.` or `..` in its path; write the resolved path")
    changes = []
    if is_oracle and "//" in path:
        path = re.sub(r"/{2,}", "/", path)
        changes.append("replaced repeated slashes in the path")
    match = _IDENTIFIER.fullmatch(path)
    if match and (match["separator"] != "/" or _accepts_console_host_version(match["version"])):
        path = f"{match['flow']}/{_url_version(match['version'])}{match['subpath'] or ''}"
        changes.append(
            "changed code and version to the form of URLs, as in ORDERS/1.0; the console shows ORDERS|01.00.0000"
        )
    if "|" in path:  # RFC 3986 allows no bare one; OIC writes CODE%7CVERSION
        path = path.replace("|", "%7C")
        changes.append("replaced `|` between code and version with %7C")
    return path, tuple(changes)


def _accepts_console_host_version(version: str) -> bool:
    """Return whether the version has the form of the console, 01.00.0000."""
    return version.count(".") > 1 or re.search(r"\b0[0-9]", version) is not None


def _url_version(version: str) -> str:
    """Return MAJOR.MINOR without leading zeros. In URLs, a three-part version (01.02.0003) becomes MAJOR.0."""
    numbers = [number.lstrip("0") or "0" for number in version.split(".")]
    return ".".join(numbers) if len(numbers) == 2 else f"{numbers[0]}.0"


def _trigger(url: PastedUrl, path: str, changes: tuple[str, ...]) -> Integration:
    match = _TRIGGER.fullmatch(path)
    assert match is not None
    subpath = match["subpath"] or ""
    parameters = _parameters(url)
    origin, host_changes = _runtime_origin(url, dict(parameters).get(INSTANCE_PARAMETER, ""))
    all_changes = [*changes, *host_changes]
    if not subpath:
        all_changes.append("added the slash at the end")
    elif _DESCRIPTION.fullmatch(subpath):
        all_changes.append("removed `/metadata`, the page that describes the integration")
        subpath = ""
    elif subpath != "/":
        all_changes.append("removed the path after the version: callers append it to the route's path")
    all_changes += _removals(url, parameters)
    return Integration(
        f"{origin}{match['root']}/", "trigger", match["code"], subpath=subpath.lstrip("/"), changes=tuple(all_changes)
    )


def _runtime_origin(url: PastedUrl, instance: str) -> tuple[str, tuple[str, ...]]:
    """Return the origin of the runtime, which replaces that of the design host, and the change."""
    host = parse_oic_host(url.host)
    if host is None or host.name != DESIGN:
        return url.origin, ()
    if not _INSTANCE.fullmatch(instance):
        raise InvalidInput(f"is on the design host, which runs no integrations; {_WHERE}")
    change = "replaced the design host, which runs no integrations, with the instance's own host"
    return f"https://{instance.lower()}.{host.domain}", (change,)


def _api(url: PastedUrl, path: str, changes: tuple[str, ...]) -> Integration:
    parameters = _parameters(url)
    instance = dict(parameters).get(INSTANCE_PARAMETER, "")
    if instance and not _INSTANCE.fullmatch(instance):
        raise InvalidInput(
            f"has an `{INSTANCE_PARAMETER}` that is not the name of an instance; copy it from the instance's page"
        )
    host = parse_oic_host(url.host)
    notes: tuple[str, ...] = ()
    all_changes = list(changes)
    if instance:
        all_changes.append(f"moved `{INSTANCE_PARAMETER}` to the route's `query`, so callers need not send it")
    elif host and host.name == DESIGN:
        raise InvalidInput(
            f"does not name an instance; append ?{INSTANCE_PARAMETER}=NAME with the name of the instance"
        )
    elif host and host.region:
        instance = host.name
        notes = (_QUERY_ADDED,)
    elif host is None:
        notes = (f"the developer API of OIC 3 needs `query: {{set: {{{INSTANCE_PARAMETER}: NAME}}}}` in the route",)
    all_changes += _removals(url, [(name, value) for name, value in parameters if name != INSTANCE_PARAMETER])
    return Integration(url.origin + path, "api", _last_word(path), instance, changes=tuple(all_changes), notes=notes)


def _parameters(url: PastedUrl) -> list[tuple[str, str]]:
    return parse_qsl(url.query, keep_blank_values=True)


def _removals(url: PastedUrl, parameters: list[tuple[str, str]]) -> tuple[str, ...]:
    """Return the changes that remove query and fragment, which an upstream cannot have. They contain no values."""
    changes = []
    if any(name.lower() == "wsdl" for name, _ in parameters):
        changes.append("removed `?wsdl`: callers request it from the gateway, which returns it with gateway URLs")
    elif parameters:
        changes.append("removed the query: callers send their own")
    return (*changes, "removed the fragment, which is never sent") if url.has_fragment else tuple(changes)


def _last_word(path: str) -> str:
    """Return the last segment that is a word and not a version, or `api`."""
    words = [word for word in path.split("/") if re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]*", word)]
    names = [word for word in words if not re.fullmatch(r"v[0-9]+|ic|api|integration", word)]
    return names[-1] if names else "api"
