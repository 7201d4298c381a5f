"""Configurations of the system tests: in front of a sandbox, or between scripted peers."""

import json
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

from gateway.sandbox import DEFAULT_ID, DEFAULT_SECRET, Sandbox
from tests.fakes.identity import Identity
from tests.fakes.process import Process, gateway
from tests.fakes.upstream import Upstream

Settings = dict[str, Any]

SECRETS = {"APP_SECRET": DEFAULT_SECRET}
"""The environment that every configuration here needs."""
FLOWS = ("ORDERS", "ECHO", "ASYNC", "BYTES", "UPLOAD", "SLOW", "STATUS", "DROP")


def credential(token_url: str, **more: Any) -> Settings:
    return {"token_url": token_url, "client_id": DEFAULT_ID, "client_secret": {"env": "APP_SECRET"}, **more}


def route(name: str, upstream: str, **more: Any) -> Settings:
    return {"name": name, "path": f"/{name}/", "upstream": upstream, "credential": "app", **more}


def settings(sandbox: Sandbox, **more: Any) -> Settings:
    """All flows of a sandbox, each under its name; `more` are further keys of the file."""
    routes = [route(code.lower(), sandbox.upstream(code)) for code in FLOWS]
    return {
        "listen": "127.0.0.1:0",
        "admin": "127.0.0.1:0",
        "credentials": {"app": credential(sandbox.token_url, scope=sandbox.scope)},
        "routes": [*routes, route("hello", sandbox.soap_upstream())],
        **more,
    }


def simple(token_url: str, upstream: str, **more: Any) -> Settings:
    """One route `orders`."""
    return {
        "listen": "127.0.0.1:0",
        "admin": "127.0.0.1:0",
        "credentials": {"app": credential(token_url)},
        "routes": [route("orders", upstream)],
        **more,
    }


def before(folder: Path, sandbox: Sandbox, **more: Any) -> AbstractAsyncContextManager[Process]:
    """The gateway in front of a sandbox."""
    return gateway(written(folder, settings(sandbox, **more)), **SECRETS)


def between(folder: Path, identity: Identity, upstream: Upstream, **more: Any) -> AbstractAsyncContextManager[Process]:
    """The gateway between scripted peers, with one route `orders`."""
    return gateway(written(folder, simple(identity.url, upstream.url, **more)), **SECRETS)


def written(folder: Path, document: Settings, name: str = "gateway.yaml") -> Path:
    """The document as a file; JSON is YAML."""
    file = folder / name
    file.write_text(json.dumps(document, indent=1), encoding="utf-8")
    return file
