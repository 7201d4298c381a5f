"""The console at a real admin port in the process of the test, and a browser that sends the requests of a test."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from argon2 import PasswordHasher

from gateway.admin.admin_server import AdminServer
from gateway.admin.console_backend import ActionResult, InviteResult, OpenInvite, SignInResponse, SignInResult
from gateway.config.load import load
from gateway.config.model import Config
from gateway.console.console import Console
from gateway.diagnosis.finding import Finding
from gateway.oauth.clock import SystemClock
from gateway.oauth.stores.memory import MemoryStore
from gateway.proxy.admission import Admission
from gateway.server.admin_documents import rejection_reason
from gateway.signin import invites
from gateway.signin.authorization_response import NotSignedIn
from tests.console.recorded_gateway import RecordedGateway

PASSWORD = "correct horse battery"
CONSOLE_HOST = "gateway-admin.example.com"
_HASH = PasswordHasher(time_cost=1, memory_cost=64).hash(PASSWORD)  # quick to verify


class RecordingBackend(RecordedGateway):
    """A gateway with recorded documents, which notes the actions that were run. Its invites are real."""

    def __init__(self, clock: "LaterClock | None" = None) -> None:
        super().__init__()
        self.actions: list[tuple[str, str]] = []
        self.sign_ins: list[tuple[str, SignInResponse]] = []
        self.account = "jdoe"
        self._clock = clock or LaterClock()
        self._store = MemoryStore(self._clock)

    async def _run(self, action: str, name: str = "") -> ActionResult:
        self.actions.append((action, name))
        return ActionResult(ok=True, message=f"{action} done")

    async def check_credential(self, name: str) -> Sequence[Finding]:
        await self._run("check-credential", name)
        return [Finding(ok=False, subject=f"credential {name}", seen="no token", remedy="Look.")]

    async def check_route(self, name: str) -> Sequence[Finding]:
        await self._run("check-route", name)
        return [Finding(ok=True, subject=f"route {name}", seen="fine")]

    async def renew_token(self, name: str) -> ActionResult:
        return await self._run("renew", name)

    async def sign_out(self, name: str) -> ActionResult:
        return await self._run("sign-out", name)

    async def complete_sign_in(self, name: str, response: SignInResponse) -> SignInResult:
        self.sign_ins.append((name, response))
        finding = Finding(ok=True, subject=f"credential {name}", seen=f"signed in as {self.account}")
        return SignInResult(finding, self.account)

    async def create_invite(self, name: str, invited_by: str) -> InviteResult:
        result = await self._run("invite", name)
        try:
            token = await invites.create_invite(self._store, name, invited_by, clock=self._clock)
        except NotSignedIn as error:
            return InviteResult(ActionResult(ok=False, message=error.seen, remedy=error.remedy))
        return InviteResult(result, f"https://{CONSOLE_HOST}{invites.INVITE_PATH}{token}")

    async def find_invite(self, token_hash: str) -> OpenInvite | ActionResult:
        return await self._invite(invites.find_invite(self._store, token_hash))

    async def redeem_invite(self, token_hash: str) -> OpenInvite | ActionResult:
        return await self._invite(invites.redeem_invite(self._store, token_hash))

    async def _invite(self, call: Awaitable[invites.Invite]) -> OpenInvite | ActionResult:
        try:
            invite = await call
        except NotSignedIn as error:
            return ActionResult(ok=False, message=error.seen, remedy=error.remedy)
        return OpenInvite(invite.credential, invite.invited_by)

    async def close_breaker(self, service: str) -> ActionResult:
        return await self._run("close-breaker", service)

    async def reload(self) -> ActionResult:
        return await self._run("reload")


@dataclass(slots=True)
class WebResponse:
    status: int
    fields: list[tuple[str, str]]
    body: str

    def field(self, name: str) -> str | None:
        return next((value for key, value in self.fields if key.lower() == name.lower()), None)

    @property
    def location(self) -> str:
        return self.field("Location") or ""

    @property
    def csrf_token(self) -> str:
        """The token in the first form of a page."""
        match = re.search(r'name="csrf_token" value="([^"]+)"', self.body)
        assert match is not None, self.body
        return match[1]


@dataclass(slots=True)
class WebBrowser:
    """Sends requests to an address, with the cookies that responses set. `origin` is that of its address bar."""

    address: str
    origin: str
    cookies: dict[str, str] = field(default_factory=dict)

    async def send(
        self, method: str, target: str, *fields: str, host: str | None = None, body: bytes = b""
    ) -> WebResponse:
        """Send one request with these fields. Cookies and Host are added."""
        name, _, port = self.address.rpartition(":")
        reader, writer = await asyncio.open_connection(name, int(port))
        lines = [f"{method} {target} HTTP/1.1", f"Host: {host or self.origin.partition('://')[2]}", *fields]
        if self.cookies:
            lines.append(f"Cookie: {'; '.join(f'{key}={value}' for key, value in self.cookies.items())}")
        if body:
            lines.append(f"Content-Length: {len(body)}")
        writer.write("\r\n".join([*lines, "Connection: close", "", ""]).encode() + body)
        try:
            head, _, content = (await reader.read(-1)).partition(b"\r\n\r\n")
        finally:
            writer.close()
        first, *rest = head.decode().split("\r\n")
        response = WebResponse(
            int(first.split()[1]),
            [(key, value) for key, _, value in (row.partition(": ") for row in rest)],
            content.decode(),
        )
        for key, value in response.fields:
            if key.lower() == "set-cookie":
                self._store(value)
        return response

    def _store(self, text: str) -> None:
        pair, *attributes = text.split("; ")
        name, _, value = pair.partition("=")
        if "Max-Age=0" in attributes:
            self.cookies.pop(name, None)
        else:
            self.cookies[name] = value

    async def get(self, target: str, *fields: str, host: str | None = None) -> WebResponse:
        return await self.send("GET", target, *fields, host=host)

    async def post(
        self, target: str, form: dict[str, str], *fields: str, origin: str | None = "", host: str | None = None
    ) -> WebResponse:
        """Send a form as a page at `origin` does (default: the browser's own; None: without the field)."""
        own = [] if origin is None else [f"Origin: {origin or self.origin}"]
        body = urlencode(form).encode() or b"x="
        return await self.send(
            "POST", target, "Content-Type: application/x-www-form-urlencoded", *own, *fields, body=body, host=host
        )

    async def log_in(self, name: str, password: str = PASSWORD, *, target: str = "") -> WebResponse:
        """Fill in the form of the login page."""
        page = await self.get("/console/login")
        form = {"name": name, "password": password, "csrf_token": page.csrf_token, "return": target}
        return await self.post("/console/login", form)


class LaterClock:
    """The clocks of this machine, `seconds` later."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def monotonic(self) -> float:
        return SystemClock.monotonic() + self.seconds

    def wall(self) -> float:
        return SystemClock.wall() + self.seconds


@dataclass(slots=True)
class ConsoleGate:
    """A running console, whose `clock` a test turns."""

    backend: RecordingBackend
    console: Console
    address: str
    folder: Path
    url: str | None
    clock: LaterClock

    def browser(self, origin: str | None = None) -> WebBrowser:
        """A new browser, at `url` if the console has one."""
        return WebBrowser(self.address, origin or self.url or f"http://{self.address}")

    def configure(self, credentials: dict[str, Any] | None = None, **settings: Any) -> None:
        """Reload the console with these settings and credentials."""
        self.console.apply_config(console_config(self.folder, settings, credentials))

    @property
    def audit(self) -> list[dict[str, Any]]:
        """The entries in the audit file."""
        file = self.folder / "audit.jsonl"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def write_users(folder: Path, **roles: str) -> Path:
    """Write a file of users with these roles, all with `PASSWORD`."""
    file = folder / "users"
    file.write_text("".join(f"{name}:{role}:{_HASH}\n" for name, role in roles.items()))
    file.chmod(0o600)
    return file


PERSON = {
    "grant": "authorization_code",
    "token_url": "https://idcs.example/oauth2/v1/token",
    "client_id": "page",
    "client_auth": "none",
    "scope": "orders openid offline_access",
}
"""A credential that a person signs in for."""


def console_config(folder: Path, settings: dict[str, Any], credentials: dict[str, Any] | None = None) -> Config:
    """A configuration with this `console` and these `credentials` (default: `finance-clerk`), beside `app`."""
    secret = {"env": "APP_SECRET"}
    app = {"token_url": "https://idcs.example/token", "client_id": "x", "client_secret": secret}
    document = {
        "state": {"path": "state.db", "keys": [{"env": "STATE_KEY"}]},
        "credentials": {"app": app, **({"finance-clerk": PERSON} if credentials is None else credentials)},
        "routes": [{"name": "o", "path": "/", "upstream": "https://oic.example/", "credential": "app"}],
        "console": settings,
    }
    file = folder / "gateway.yaml"
    file.write_text(json.dumps(document))
    return load(file, environ={"APP_SECRET": "x", "STATE_KEY": "0123456789abcdef" * 4}, check_secrets=False).config


@asynccontextmanager
async def serve_console(
    folder: Path, *, environ: dict[str, str] | None = None, backend: RecordingBackend | None = None, **settings: Any
) -> AsyncIterator[ConsoleGate]:
    """Serve a console with these settings."""
    config = console_config(folder, settings)
    clock = LaterClock()
    backend, admission = backend or RecordingBackend(clock), Admission([], [])
    console = Console(backend, config, environ=environ or {}, clock=clock)

    def may_call(peer: str | None, host: str, *, accepts_console_host: bool) -> str | None:
        return rejection_reason(admission, peer, host, console_host=CONSOLE_HOST if accepts_console_host else None)

    server = AdminServer(backend, may_call=may_call)
    server.set_console(console.answer)
    address = await server.start("127.0.0.1:0")
    try:
        yield ConsoleGate(backend, console, address, folder, settings.get("url"), clock)
    finally:
        await server.close()
