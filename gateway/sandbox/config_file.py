"""The configuration of a gateway for a sandbox, as a document and as the YAML that is printed."""

import textwrap
from typing import Any
from urllib.parse import urlsplit

import yaml

from gateway.sandbox.sandbox_server import Sandbox

Document = dict[str, Any]

UNKNOWN_HOST = "oic-sandbox.invalid"
"""The host name of the switch `unknown_host`: it never resolves (RFC 6761 section 6.4)."""

# The comment of each trigger in the printed configuration.
_TRIGGERS = {
    "ORDERS": "GET list, GET /ID, POST creates",
    "ECHO": "JSON of what arrived; /body: the body itself",
    "ASYNC": "202, empty",
    "BYTES": "/N: N bytes; ?chunked=1",
    "UPLOAD": "accepts any body; returns its length and SHA-256",
    "SLOW": "/SECONDS",
    "STATUS": "/CODE; ?id=0, ?retry_after=N, ?location=URL",
    "DROP": "/before, /reset, /mid, /chunked, /close",
    "BIG": "/N: JSON of about N MiB; ?links=0",
}
_COMMENTS = {code.lower(): words for code, words in _TRIGGERS.items()} | {
    "project": "an integration in a project",
    "developer": "GET integrations, monitoring/instances",
    "hello": "SOAP; ?wsdl",
}


def full_config(sandbox: Sandbox, secret: Document, *, ca: str = "") -> Document:
    """Return a route for each trigger, `/hello/` for SOAP, `/project/` for the one in a project, and `/developer/`.

    `secret` refers to the client secret; `ca` is the file of the sandbox's authority, if it is published.
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
    return _build(sandbox, credentials, [*routes, developer, _route("hello", sandbox.soap_upstream())], ca=ca)


def minimal_config(sandbox: Sandbox, secret: Document, *, ca: str = "") -> Document:
    """Return one credential and one route, `/orders/`, so that one mistake shows alone."""
    credentials = {"sandbox": _credential(sandbox, sandbox.scope, secret)}
    return _build(sandbox, credentials, [_route("orders", sandbox.upstream("ORDERS"))], ca=ca)


def render(sandbox: Sandbox, document: Document, *, how: str) -> str:
    """Return the document as YAML, after a comment whose first line ends with the sandbox's origin; `how` adds
    lines.
    """
    lead = f"An imitation of an identity domain and of an OIC instance is at {sandbox.origin}\n{how}"
    head = {key: value for key, value in document.items() if key != "routes"}
    routes = textwrap.indent("".join(map(_render_route, document["routes"])), "  ")
    return f"{textwrap.indent(lead, '# ', lambda _: True)}\n{_yaml(head)}routes:\n{routes}"


def _build(sandbox: Sandbox, credentials: Document, routes: list[Document], *, ca: str) -> Document:
    """Return the document with the authority, egress proxy and host name that the switches require."""
    connection = {"tls": {"ca": ca}} if ca else {}
    if sandbox.egress_url:
        connection["proxy"] = {"url": sandbox.egress_url}
    document = {
        "listen": "127.0.0.1:8080",
        "admin": "127.0.0.1:9090",
        "credentials": {name: {**credential, **connection} for name, credential in credentials.items()},
        **({"defaults": connection} if connection else {}),
        "routes": routes,
    }
    return replace_host(document, sandbox.origin) if sandbox.switches.unknown_host else document


def replace_host(value: Any, origin: str) -> Any:
    """Return the value with an unknown host in place of the origin's. It is not a loopback host, so plain HTTP needs
    `insecure`.
    """
    if isinstance(value, dict):
        named = {key: replace_host(item, origin) for key, item in value.items()}
        is_insecure = origin.startswith("http:") and not named.keys().isdisjoint(("token_url", "upstream"))
        return named | {"insecure": True} if is_insecure else named
    if isinstance(value, list):
        return [replace_host(item, origin) for item in value]
    parts = urlsplit(origin)
    unknown = f"{parts.scheme}://{UNKNOWN_HOST}:{parts.port}"
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


def _render_route(route: Document) -> str:
    """Return a route as a YAML item with its comment."""
    first, _, rest = _yaml([route]).partition("\n")
    return f"{first}  # {_COMMENTS[route['name']]}\n{rest}"


def _yaml(value: Any) -> str:
    # Repeated values are written out, not as aliases.
    class Plain(yaml.SafeDumper):
        def ignore_aliases(self, _data: object) -> bool:
            return True

    written: str = yaml.dump(value, Dumper=Plain, sort_keys=False, width=1000, allow_unicode=True)
    return written
