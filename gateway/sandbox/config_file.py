"""The configuration of a gateway in front of a sandbox, as a document and as the YAML that is printed."""

import textwrap
from typing import Any
from urllib.parse import urlsplit

import yaml

from gateway.sandbox.sandbox_server import Sandbox

Document = dict[str, Any]

UNKNOWN = "oic-sandbox.invalid"
"""The host name of the switch `unknown_host`: nobody resolves it (RFC 6761 section 6.4)."""

# What the printed configuration says of each trigger.
_TRIGGERS = {
    "ORDERS": "GET list, GET /ID, POST creates",
    "ECHO": "JSON of what arrived; /body: the body itself",
    "ASYNC": "202, empty",
    "BYTES": "/N: N bytes; ?chunked=1",
    "UPLOAD": "takes any body: its length and SHA-256",
    "SLOW": "/SECONDS",
    "STATUS": "/CODE; ?id=0, ?retry_after=N, ?location=URL",
    "DROP": "/before, /reset, /mid, /chunked, /close",
    "BIG": "/N: JSON of about N MiB; ?links=0",
}
_SAID = {code.lower(): words for code, words in _TRIGGERS.items()} | {
    "project": "an integration in a project",
    "developer": "GET integrations, monitoring/instances",
    "hello": "SOAP; ?wsdl",
}


def whole(sandbox: Sandbox, secret: Document, *, ca: str = "") -> Document:
    """A route for each trigger, `/hello/` for the SOAP trigger, `/project/` for the one in a project, `/developer/`.

    `secret` refers to the client secret; `ca` is the file of the sandbox's authority, if it has one to tell.
    """
    credentials = {
        "sandbox": _credential(sandbox, sandbox.scope, secret),
        "sandbox-api": _credential(sandbox, sandbox.api_scope, secret),  # the developer API has a scope of its own
    }
    upstreams = {code.lower(): sandbox.upstream(code) for code in _TRIGGERS}
    upstreams["project"] = sandbox.upstream("PROJORDERS", project="DEMO")
    developer = {
        **_route("developer", f"{sandbox.origin}/ic/api/integration/v1/"),
        "query": {"set": {"integrationInstance": "demo"}},
        "design": sandbox.design_origin,
        "credential": "sandbox-api",
    }
    routes = [_route(name, upstream) for name, upstream in upstreams.items()]
    return _led(sandbox, credentials, [*routes, developer, _route("hello", sandbox.soap_upstream())], ca=ca)


def narrow(sandbox: Sandbox, secret: Document, *, ca: str = "") -> Document:
    """One credential and one route, `/orders/`: as little as it takes for one mistake to show alone."""
    credentials = {"sandbox": _credential(sandbox, sandbox.scope, secret)}
    return _led(sandbox, credentials, [_route("orders", sandbox.upstream("ORDERS"))], ca=ca)


def text(sandbox: Sandbox, document: Document, *, how: str) -> str:
    """The document as YAML, below a comment whose first line ends with the sandbox's origin; `how` are more lines."""
    lead = f"An imitation of an identity domain and of an OIC instance is at {sandbox.origin}\n{how}"
    head = {key: value for key, value in document.items() if key != "routes"}
    routes = textwrap.indent("".join(map(_listed, document["routes"])), "  ")
    return f"{textwrap.indent(lead, '# ', lambda _: True)}\n{_yaml(head)}routes:\n{routes}"


def _led(sandbox: Sandbox, credentials: Document, routes: list[Document], *, ca: str) -> Document:
    """The whole document, with the way that the switches say: authority, egress proxy, host name."""
    way = {"tls": {"ca": ca}} if ca else {}
    if sandbox.egress_url:
        way["proxy"] = {"url": sandbox.egress_url}
    document = {
        "listen": "127.0.0.1:8080",
        "admin": "127.0.0.1:9090",
        "credentials": {name: {**credential, **way} for name, credential in credentials.items()},
        **({"defaults": way} if way else {}),
        "routes": routes,
    }
    return renamed(document, sandbox.origin) if sandbox.switches.unknown_host else document


def renamed(value: Any, origin: str) -> Any:
    """The same value, with a host that nobody knows in place of the origin's. It is no loopback host: `insecure` says
    that plain HTTP is meant.
    """
    if isinstance(value, dict):
        named = {key: renamed(item, origin) for key, item in value.items()}
        is_insecure = origin.startswith("http:") and not named.keys().isdisjoint(("token_url", "upstream"))
        return named | {"insecure": True} if is_insecure else named
    if isinstance(value, list):
        return [renamed(item, origin) for item in value]
    parts = urlsplit(origin)
    unknown = f"{parts.scheme}://{UNKNOWN}:{parts.port}"
    return value.replace(origin, unknown) if isinstance(value, str) else value


def _credential(sandbox: Sandbox, scope: str, secret: Document) -> Document:
    return {
        "grant": "client_credentials",
        "token_url": sandbox.token_url,
        "client_id": sandbox.client_id,
        "client_secret": secret,
        "client_auth": "basic",
        "scope": scope,
    }


def _route(name: str, upstream: str) -> Document:
    return {"name": name, "path": f"/{name}/", "upstream": upstream, "credential": "sandbox"}


def _listed(route: Document) -> str:
    """A route as an item of YAML, with what is to be said of it."""
    first, _, rest = _yaml([route]).partition("\n")
    return f"{first}  # {_SAID[route['name']]}\n{rest}"


def _yaml(value: Any) -> str:
    # What stands twice is written twice, not as an alias.
    class Plain(yaml.SafeDumper):
        def ignore_aliases(self, _data: object) -> bool:
            return True

    written: str = yaml.dump(value, Dumper=Plain, sort_keys=False, width=1000, allow_unicode=True)
    return written
