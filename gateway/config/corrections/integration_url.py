"""From what was pasted for the integration's URL to the upstream of a route. Pure.

A trigger's own URL ends with its version, `…/flows/rest/ORDERS/1.0/`; the console shows its description page,
`…/1.0/metadata`. The developer API is `/ic/api/…` beside the flows; it lives on the design host and wants to be told of
which instance, by the parameter `integrationInstance`.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal
from urllib.parse import parse_qsl

from gateway.config.corrections.pasted_text import (
    InvalidInput,
    PastedUrl,
    read_url,
)
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

_SETS = (
    f"sets `{INSTANCE_PARAMETER}` in the route's `query`: on the runtime host the developer API wants the instance's "
    "name, and answers by the design host"
)
_WHERE = (
    "in Oracle Integration open Design, Integrations (or your project), choose Run in the activated integration's "
    "Actions menu (in Gen 2 its Details icon), and copy `Endpoint URL`"
)

_FLOW = re.compile(rf".*{FLOWS}", re.IGNORECASE)
_TRIGGER = re.compile(
    rf"(?P<root>.*{FLOWS}[a-z]+/{PROJECT}"
    r"(?P<code>[^/]+)/v?[0-9]+(?:\.[0-9]+)*)(?P<below>/.*)?"
)
# As the console and the developer API write code and version.
_IDENTIFIER = re.compile(
    rf"(?P<flow>.*{FLOWS}[a-z]+/{PROJECT}[^/|%]+)"
    r"(?P<mark>/|\||%7[Cc])(?P<version>[0-9]+(?:\.[0-9]+)*)(?P<below>/.*)?"
)
_API = re.compile(r"(?:/[^/]+)*/ic/api/.+")
_CONSOLE = re.compile(r"/?|/ic/?|/ic/(?!api/|ws/).*", re.IGNORECASE)
_DESCRIPTION = re.compile(r"/metadata(?:/(?:swagger|openapi))?/?", re.IGNORECASE)
_PAGE = re.compile(r"/ic/(?:integration|home|builder)\b")
_PAGES_OF_OTHERS = re.compile(r"(?:.+\.)?oracle\.com|console\..+")
_INSTANCE = re.compile(r"[A-Za-z0-9_.-]{1,128}")


@dataclass(frozen=True, slots=True)
class Integration:
    """Where a route leads. `code` names the integration, or the resource of the developer API; `instance` is what
    `integrationInstance` is to be set to, empty for nothing; `below` is what was pasted beyond the trigger's own URL.
    """

    upstream: str
    kind: Kind = "other"
    code: str = ""
    instance: str = ""
    below: str = ""
    changes: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def value(self) -> str:
        """The upstream, as `Corrected` names what it has."""
        return self.upstream


UNKNOWN = Integration("")
"""Where the URL could not be used."""


def integration(text: str) -> Integration:
    """The upstream that was meant: a trigger's own URL, a resource of the developer API, or any other as it is.

    Raises Uncorrectable for pages of a console, with where the endpoint's URL is found, and for a trigger without a
    version.
    """
    url, changes = read_url(text)
    path, mended = _mended(url.path, is_oracle=url.is_oracle)
    _refuse_consoles(url, path)
    changes = (*changes, *mended)
    if _TRIGGER.fullmatch(path):
        return _trigger(url, path, changes)
    if _FLOW.match(path):
        raise InvalidInput(f"ends before the integration's version, as in …/flows/rest/ORDERS/1.0/; {_WHERE}")
    if _API.fullmatch(path):
        return _api(url, path, changes)
    note = "is no URL as integrations have it (…/flows/rest/CODE/1.0/); it is used as it is"
    changes = (*changes, *_left_off(url, _names(url)))
    return Integration(url.origin + path, code=_last_word(path), changes=changes, notes=(note,))


def review_upstream(host: str, path: str) -> Iterator[tuple[str, str, Severity]]:
    """What is wrong with the upstream of a route as it is written: what, remedy, and how severe it is.

    A route may lead to a whole instance or to all of its flows, so a URL that ends early is no mistake here.
    """
    is_flow = _FLOW.match(path) is not None
    if is_flow and (match := _IDENTIFIER.fullmatch(path)):
        if match["mark"] != "/" or _is_console_version(match["version"]):
            what = "has code and version as the console writes them"
            yield what, "write them like ORDERS/1.0", "warning" if match["mark"] == "/" else "error"
        elif _DESCRIPTION.fullmatch(match["below"] or ""):
            what = "ends with `/metadata`, the page that describes the integration"
            yield what, "leave `/metadata` off", "warning"
    elif "|" in path:
        yield "has a bare `|`, which URLs do not have", "write %7C", "warning"
    if "//" in path and is_oracle_host(host):
        yield "has an empty segment (`//`) in its path", "write single slashes", "warning"
    if host.endswith(".oracle.com") or _PAGE.match(path):
        severity: Severity = "error" if host.endswith(".oracle.com") else "warning"
        yield "is a page of the console, not the endpoint of an integration", _WHERE, severity
    elif is_identity_domain(host):
        yield "is an address of the identity domain, not of an integration", _WHERE, "warning"
    elif is_flow and host.startswith(f"{DESIGN}.") and parse_oic_host(host):
        yield "is on the design host, which runs no integrations", _WHERE, "error"


def _refuse_consoles(url: PastedUrl, path: str) -> None:
    is_page = url.is_oracle and _CONSOLE.fullmatch(path)
    if is_page or _PAGES_OF_OTHERS.fullmatch(url.host) or _PAGE.match(path):
        raise InvalidInput(f"is a page of the console, not the endpoint of an integration; {_WHERE}")
    if url.is_oracle and ".identity." in f".{url.host}":
        raise InvalidInput(f"is an address of the identity domain, not of an integration; {_WHERE}")


def _mended(path: str, *, is_oracle: bool) -> tuple[str, tuple[str, ...]]:
    """The path as the loader and OIC take it, and what was changed."""
    if "\\" in path or has_dot_segment(path):
        raise InvalidInput("has a backslash, `.` or `..` in its path; write the path out")
    changes = []
    if is_oracle and "//" in path:
        path = re.sub(r"/{2,}", "/", path)
        changes.append("wrote single slashes in the path")
    named = _IDENTIFIER.fullmatch(path)
    if named and (named["mark"] != "/" or _is_console_version(named["version"])):
        path = f"{named['flow']}/{_url_version(named['version'])}{named['below'] or ''}"
        changes.append(
            "wrote code and version as URLs have them, as in ORDERS/1.0; the console writes ORDERS|01.00.0000"
        )
    if "|" in path:  # RFC 3986 knows no bare one; OIC writes CODE%7CVERSION
        path = path.replace("|", "%7C")
        changes.append("wrote %7C for the `|` between code and version")
    return path, tuple(changes)


def _is_console_version(version: str) -> bool:
    """True for a version as pages of the console show it, 01.00.0000."""
    return version.count(".") > 1 or re.search(r"\b0[0-9]", version) is not None


def _url_version(version: str) -> str:
    """MAJOR.MINOR without leading zeros; of a whole version, such as 01.02.0003, URLs hold the major one alone."""
    numbers = [number.lstrip("0") or "0" for number in version.split(".")]
    return ".".join(numbers) if len(numbers) == 2 else f"{numbers[0]}.0"


def _trigger(url: PastedUrl, path: str, changes: tuple[str, ...]) -> Integration:
    match = _TRIGGER.fullmatch(path)
    assert match is not None
    below = match["below"] or ""
    names = _names(url)
    origin, moved = _runtime(url, dict(names).get(INSTANCE_PARAMETER, ""))
    said = [*changes, *moved]
    if not below:
        said.append("added the slash at the end")
    elif _DESCRIPTION.fullmatch(below):
        said.append("left off `/metadata`: that is the page that describes the integration")
        below = ""
    elif below != "/":
        said.append("left off what follows the version: callers write it behind the route's path")
    said += _left_off(url, names)
    return Integration(
        f"{origin}{match['root']}/", "trigger", match["code"], below=below.lstrip("/"), changes=tuple(said)
    )


def _runtime(url: PastedUrl, instance: str) -> tuple[str, tuple[str, ...]]:
    """The origin where integrations run: the design host runs none."""
    host = parse_oic_host(url.host)
    if host is None or host.name != DESIGN:
        return url.origin, ()
    if not _INSTANCE.fullmatch(instance):
        raise InvalidInput(f"is on the design host, which runs no integrations; {_WHERE}")
    said = "wrote the instance's own host for the design host, which runs no integrations"
    return f"https://{instance.lower()}.{host.domain}", (said,)


def _api(url: PastedUrl, path: str, changes: tuple[str, ...]) -> Integration:
    names = _names(url)
    instance = dict(names).get(INSTANCE_PARAMETER, "")
    if instance and not _INSTANCE.fullmatch(instance):
        raise InvalidInput(
            f"has an `{INSTANCE_PARAMETER}` that is no name of an instance; copy it from the instance's page"
        )
    host = parse_oic_host(url.host)
    notes: tuple[str, ...] = ()
    said = list(changes)
    if instance:
        said.append(f"moved `{INSTANCE_PARAMETER}` to the route's `query`, so that callers need not send it")
    elif host and host.name == DESIGN:
        raise InvalidInput(
            f"says not of which instance; write ?{INSTANCE_PARAMETER}=NAME at its end, with the instance's name"
        )
    elif host and host.region:
        instance = host.name
        notes = (_SETS,)
    elif host is None:
        notes = (f"the developer API of OIC 3 wants `query: {{set: {{{INSTANCE_PARAMETER}: NAME}}}}` in the route",)
    said += _left_off(url, [(name, value) for name, value in names if name != INSTANCE_PARAMETER])
    return Integration(url.origin + path, "api", _last_word(path), instance, changes=tuple(said), notes=notes)


def _names(url: PastedUrl) -> list[tuple[str, str]]:
    return parse_qsl(url.query, keep_blank_values=True)


def _left_off(url: PastedUrl, names: list[tuple[str, str]]) -> tuple[str, ...]:
    """What to say of a query and a fragment, which no upstream has. Values are not shown."""
    said = []
    if any(name.lower() == "wsdl" for name, _ in names):
        said.append("left off `?wsdl`: callers ask the gateway for it, and get it in the gateway's names")
    elif names:
        said.append("left off the query: callers send their own")
    return (*said, "left off the fragment, which is never sent") if url.has_fragment else tuple(said)


def _last_word(path: str) -> str:
    """The last segment that is a word, versions left out; `api` where there is none."""
    words = [word for word in path.split("/") if re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]*", word)]
    named = [word for word in words if not re.fullmatch(r"v[0-9]+|ic|api|integration", word)]
    return named[-1] if named else "api"
