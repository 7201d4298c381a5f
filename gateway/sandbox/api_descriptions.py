"""Swagger 2.0 and OpenAPI 3 documents of a REST trigger, which contain the address of OIC [C; their form is inferred].
Pure.
"""

from typing import Any
from urllib.parse import urlsplit

from gateway.sandbox.scope_check import AUDIENCE, TRIGGER

Document = dict[str, Any]

# By code of the integration: the methods of each path below its base URL. Any other code has GET and POST at its base.
_PATHS: dict[str, dict[str, tuple[str, ...]]] = {
    "ORDERS": {"/": ("get", "post"), "/{id}": ("get",)},
    "PROJORDERS": {"/": ("get", "post"), "/{id}": ("get",)},
    "BYTES": {"/{id}": ("get",)},
    "BIG": {"/{id}": ("get",)},
    "STATUS": {"/{id}": ("get", "post")},
}
_ANY: dict[str, tuple[str, ...]] = {"/": ("get", "post")}
_SCOPE = AUDIENCE + TRIGGER
_SECURITY = [{"oauth": [_SCOPE]}]


def about(code: str, base: str) -> Document:
    """Return the page `/metadata`, which links to the other two."""
    links = [{"rel": kind, "href": f"{base}/metadata/{kind}"} for kind in ("swagger", "openapi")]
    return {"code": code, "version": "1.0", "endpoint-url": f"{base}/", "links": links}


def swagger(code: str, base: str, token_url: str) -> Document:
    """Return Swagger 2.0; its `host` contains the port even if it is the default port of the scheme [C]."""
    parts = urlsplit(base)
    port = "" if parts.port else {"https": ":443", "http": ":80"}[parts.scheme]
    flow = {"type": "oauth2", "flow": "application", "tokenUrl": token_url, "scopes": {_SCOPE: "All triggers"}}
    return {
        "swagger": "2.0",
        "info": _info(code),
        "host": parts.netloc + port,
        "basePath": parts.path,
        "schemes": [parts.scheme],
        "consumes": ["application/json"],
        "produces": ["application/json"],
        "securityDefinitions": {"oauth": flow},
        "security": _SECURITY,
        "paths": _paths(code, {"in": "path", "name": "id", "required": True, "type": "string"}),
    }


def openapi(code: str, base: str, token_url: str) -> Document:
    """Return OpenAPI 3.0."""
    flow = {"tokenUrl": token_url, "scopes": {_SCOPE: "All triggers"}}
    scheme = {"type": "oauth2", "flows": {"clientCredentials": flow}}
    return {
        "openapi": "3.0.3",
        "info": _info(code),
        "servers": [{"url": base, "description": "The integration"}],
        "security": _SECURITY,
        "components": {"securitySchemes": {"oauth": scheme}},
        "paths": _paths(code, {"in": "path", "name": "id", "required": True, "schema": {"type": "string"}}),
    }


def _info(code: str) -> Document:
    return {"title": code, "version": "1.0", "description": "An integration; see https://docs.example/ic/ for all."}


def _paths(code: str, parameter: Document) -> Document:
    return {
        path: {method: _operation(method, path, parameter) for method in methods}
        for path, methods in _PATHS.get(code, _ANY).items()
    }


def _operation(method: str, path: str, parameter: Document) -> Document:
    has_id = "{id}" in path
    operation: Document = {
        "operationId": f"{method}{'One' if has_id else 'All'}",
        "responses": {"200": {"description": "Done"}, "401": {"description": "Unauthorized"}},
    }
    return operation | ({"parameters": [parameter]} if has_id else {})
