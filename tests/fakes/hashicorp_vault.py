"""HashiCorp Vault on a real socket: KV version 2, tokens with leases, AppRole, Kubernetes, namespaces, a sealed server.

Statuses, documents and error texts are those of Vault 1.15 and later. The clock of the leases is turned by tests.
"""

import json
import secrets
import ssl
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import unquote

from tests.fakes.waiting import TIME_LIMIT

ROOT = "hvs.root"
ROLE_ID, SECRET_ID = "675a50e7-cfe0-be76-e35f-49ec009731ea", "ed0a642f-2acf-c2da-232f-1b21300d5f29"
JWT = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJnYXRld2F5In0.c2lnbmF0dXJl"
DENIED = "1 error occurred:\n\t* permission denied\n\n"
INVALID = "2 errors occurred:\n\t* permission denied\n\t* invalid token\n\n"
_CREATED = "2026-01-02T03:04:05.678901234Z"

Answer = tuple[int, dict[str, Any] | None]


@dataclass
class Version:
    """One version of a secret. `state` is empty, `deleted` or `destroyed`."""

    data: dict[str, Any]
    state: str = ""


@dataclass
class IssuedToken:
    """A token; `ends` is by the clock of the server, None: never."""

    ends: float | None = None
    is_renewable: bool = False
    period: int = 0
    has_default_policy: bool = True


@dataclass
class FakeHashiCorpVault:
    """Answers within `with`. `secrets` has the versions of each secret by namespace, mount and path; `requested` has
    each method and path. Policies do not allow the paths in `denied`. `answer` is the response to every request
    instead, as status, header fields and body. While `pause` is cleared, requests wait.
    """

    context: ssl.SSLContext | None = None
    secrets: dict[tuple[str, str, str], list[Version]] = field(default_factory=dict)
    tokens: dict[str, IssuedToken] = field(default_factory=lambda: {ROOT: IssuedToken()})
    mounts: dict[str, str] = field(default_factory=lambda: {"secret": "kv2", "old": "kv1"})
    namespaces: set[str] = field(default_factory=lambda: {"", "integration"})
    lease: int = 1200
    now: float = 0.0
    is_sealed: bool = False
    denied: set[str] = field(default_factory=set)
    requested: list[str] = field(default_factory=list)
    fields: list[dict[str, str]] = field(default_factory=list)
    answer: tuple[int, dict[str, str], bytes] | None = None
    pause: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Self:
        self.pause.set()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        if self.context is not None:
            self._server.socket = self.context.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()
        scheme = "http" if self.context is None else "https"
        self.url = f"{scheme}://127.0.0.1:{self._server.server_port}"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.pause.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def put(self, path: str, *, mount: str = "secret", namespace: str = "", **data: Any) -> None:
        """Store a new version of a secret."""
        self.secrets.setdefault((namespace, mount, path), []).append(Version(data))

    def issue(self, ttl: int | None = None, **more: Any) -> str:
        """Return a new token that lives for `ttl` seconds; None: for ever."""
        value = f"hvs.{secrets.token_urlsafe(24)}"
        self.tokens[value] = IssuedToken(None if ttl is None else self.now + ttl, **more)
        return value

    def count(self, part: str) -> int:
        """Return the number of requests whose path contains `part`."""
        return sum(part in path for path in self.requested)

    def respond(self, method: str, path: str, fields: dict[str, str], body: bytes) -> Answer:
        """Return status and document."""
        self.requested.append(f"{method} {path}")
        self.fields.append(fields)
        self.pause.wait(TIME_LIMIT)
        namespace = fields.get("x-vault-namespace", "").strip("/")
        if self.is_sealed:
            return _errors(503, "Vault is sealed")
        if namespace not in self.namespaces or not path.startswith("/v1/"):
            return _errors(404)
        route, document = unquote(path.removeprefix("/v1/")), json.loads(body) if body else {}
        if method in {"POST", "PUT"} and route.startswith("auth/") and route.endswith("/login"):
            return self._log_in(route.split("/")[1], document)
        token = self.tokens.get(fields.get("x-vault-token", ""))
        if token is None or (token.ends is not None and token.ends <= self.now):
            return _errors(403, INVALID)
        if route.startswith("auth/token/"):
            return self._own_token(route, fields["x-vault-token"], token)
        is_denied = route in self.denied
        return _errors(403, DENIED) if is_denied else self._key_value(method, namespace, route, document)

    def _log_in(self, mount: str, document: dict[str, Any]) -> Answer:
        if mount == "approle":
            if (document.get("role_id"), document.get("secret_id")) != (ROLE_ID, SECRET_ID):
                return _errors(400, "invalid role or secret ID")
        elif mount == "kubernetes":
            if document.get("role") != "gateway":
                return _errors(400, f'invalid role name "{document.get("role")}"')
            if document.get("jwt") != JWT:
                return _errors(403, "permission denied")
        else:
            return _errors(403, "permission denied")
        value = self.issue(self.lease, is_renewable=True)
        return self._auth(value)

    def _auth(self, value: str) -> Answer:
        token = self.tokens[value]
        left = 0 if token.ends is None else int(token.ends - self.now)
        auth = {
            "client_token": value,
            "accessor": "accessor",
            "policies": ["default", "gateway"],
            "metadata": {},
            "lease_duration": left,
            "renewable": token.is_renewable,
            "token_type": "service",
        }
        return 200, _document(None) | {"auth": auth}

    def _own_token(self, route: str, value: str, token: IssuedToken) -> Answer:
        if not token.has_default_policy:
            return _errors(403, DENIED)
        if route == "auth/token/lookup-self":
            left = 0 if token.ends is None else int(token.ends - self.now)
            return 200, _document({"id": value, "ttl": left, "renewable": token.is_renewable, "period": token.period})
        if route != "auth/token/renew-self" or not token.is_renewable:
            return _errors(400, "lease is not renewable")
        token.ends = self.now + (token.period or self.lease)
        return self._auth(value)

    def _key_value(self, method: str, namespace: str, route: str, document: dict[str, Any]) -> Answer:
        mount, _, rest = route.partition("/")
        kind, _, path = rest.partition("/")
        if mount not in self.mounts:
            return _errors(403, f'1 error occurred:\n\t* preflight capability check returned 403 for "{route}"\n\n')
        if self.mounts[mount] == "kv1":
            return (200, _document({"plain": "text"})) if rest == "data/apps/orders" else _errors(404)
        if kind != "data":
            warning = (
                "Invalid path for a versioned K/V secrets engine. See the API docs for the appropriate API endpoints"
            )
            return 404, {"errors": [], "warnings": [warning]}
        versions = self.secrets.setdefault((namespace, mount, path), [])
        if method == "GET":
            return self._read(versions)
        cas = document.get("options", {}).get("cas")
        if cas is not None and cas != len(versions):
            return _errors(400, "check-and-set parameter did not match the current version")
        versions.append(Version(document["data"]))
        return 200, _document(_metadata(versions))

    def _read(self, versions: list[Version]) -> Answer:
        if not versions:
            return _errors(404)
        if versions[-1].state:
            return 404, _document({"data": None, "metadata": _metadata(versions)})
        return 200, _document({"data": versions[-1].data, "metadata": _metadata(versions)})


def _metadata(versions: list[Version]) -> dict[str, Any]:
    return {
        "created_time": _CREATED,
        "custom_metadata": None,
        "deletion_time": _CREATED if versions[-1].state == "deleted" else "",
        "destroyed": versions[-1].state == "destroyed",
        "version": len(versions),
    }


def _document(data: Any) -> dict[str, Any]:
    return {
        "request_id": "0e3d2c1b-0000-0000-0000-000000000000",
        "lease_id": "",
        "renewable": False,
        "lease_duration": 0,
        "data": data,
        "wrap_info": None,
        "warnings": None,
        "auth": None,
    }


def _errors(status: int, *texts: str) -> Answer:
    return status, {"errors": list(texts)}


def _handler(vault: FakeHashiCorpVault) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            fields = {name.lower(): value for name, value in self.headers.items()}
            content = self.rfile.read(int(fields.get("content-length", "0")))
            status, document = vault.respond(self.command, self.path, fields, content)
            headers, body = {"Content-Type": "application/json"}, json.dumps(document).encode()
            if vault.answer is not None:
                status, headers, body = vault.answer
            with suppress(OSError):  # the client has given up
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        def do_POST(self) -> None:
            self.do_GET()

        def do_PUT(self) -> None:
            self.do_GET()

        def log_message(self, *_: object) -> None:
            """Write no log."""

    return Handler
