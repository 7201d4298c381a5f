"""Role by action by what is wrong with the request: an action runs only for a session, a page and a role that may."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from gateway.config.console_model import ROLES, Role
from gateway.console.actions import HANDLERS
from gateway.console.roles import ACTIONS, may_act
from tests.fakes.console_gate import CONSOLE_HOST, ConsoleGate, WebBrowser, WebResponse, serve_console, write_users

URL = f"https://{CONSOLE_HOST}"
ALLOWED: dict[Role, set[str]] = {
    "viewer": set(),
    "operator": {"check-credential", "check-route", "renew", "close-breaker"},
    "admin": {"check-credential", "check-route", "renew", "close-breaker", "sign-out", "sign-in", "invite", "reload"},
}
"""Written down here a second time, so that a change of the table is noticed."""


@pytest.fixture
async def gate(tmp_path: Path) -> AsyncIterator[ConsoleGate]:
    users = write_users(tmp_path, viewer="viewer", operator="operator", admin="admin")
    async with serve_console(tmp_path, url=URL, users=str(users), audit=str(tmp_path / "audit.jsonl")) as gate:
        yield gate


async def log_in(gate: ConsoleGate, name: str) -> tuple[WebBrowser, str]:
    """A browser that is logged in, and the token of its session."""
    browser = gate.browser()
    assert (await browser.log_in(name)).status == 303
    return browser, (await browser.get("/console/")).csrf_token


def test_the_table_grants_each_role_its_actions() -> None:
    assert set(ACTIONS) == ALLOWED["admin"]
    for role in ROLES:
        assert {action for action in ACTIONS if may_act(role, action)} == ALLOWED[role]


@pytest.mark.parametrize("role", ROLES)
async def test_each_action_runs_for_its_roles_only(gate: ConsoleGate, role: Role) -> None:
    browser, token = await log_in(gate, role)
    for action in HANDLERS:
        gate.backend.actions.clear()
        response = await browser.post(f"/console/actions/{action}", {"name": "app", "csrf_token": token})
        name = "" if action == "reload" else "app"
        assert gate.backend.actions == ([(action, name)] if action in ALLOWED[role] else [])
        assert response.status == (303 if action in ALLOWED[role] else 403)
        entry = gate.audit[-1]
        assert (entry["who"], entry["role"], entry["action"], entry["target"]) == (role, role, action, "app")
        expected = "denied" if action not in ALLOWED[role] else "failed" if action == "check-credential" else "ok"
        assert (entry["result"], entry["client"]) == (expected, "127.0.0.1")
    assert (await browser.get("/console/")).status == 200


@dataclass(slots=True)
class Attempt:
    """An action as its page sends it, and what a test changes of it."""

    gate: ConsoleGate
    browser: WebBrowser
    other_token: str
    form: dict[str, str]
    method: str = "POST"
    host: str | None = None
    content_type: str = "application/x-www-form-urlencoded"
    origins: list[str] = field(default_factory=lambda: [URL])
    fields: list[str] = field(default_factory=list)

    async def send(self, target: str) -> WebResponse:
        fields = [f"Origin: {origin}" for origin in self.origins] + self.fields
        if self.method != "POST":
            return await self.browser.send(self.method, f"{target}?{urlencode(self.form)}", *fields, host=self.host)
        fields.append(f"Content-Type: {self.content_type}")
        body = urlencode(self.form).encode()
        return await self.browser.send("POST", target, *fields, body=body, host=self.host)


def change(**values: Any) -> Callable[[Attempt], None]:
    """Set these attributes of an attempt."""

    def apply(attempt: Attempt) -> None:
        for name, value in values.items():
            setattr(attempt, name, value)

    return apply


def expire(seconds: float) -> Callable[[Attempt], None]:
    return lambda attempt: setattr(attempt.gate.clock, "seconds", seconds)


def send_token(read: Callable[[Attempt], str]) -> Callable[[Attempt], None]:
    return lambda attempt: attempt.form.update(csrf_token=read(attempt))


FAULTS: dict[str, Callable[[Attempt], None]] = {
    "no session": lambda attempt: attempt.browser.cookies.clear(),
    "unknown session": lambda attempt: attempt.browser.cookies.update(dict.fromkeys(attempt.browser.cookies, "A" * 43)),
    "idle session": expire(1801.0),
    "old session": expire(36001.0),
    "no token": send_token(lambda _: ""),
    "wrong token": send_token(lambda attempt: attempt.form["csrf_token"][::-1]),
    "token of another session": send_token(lambda attempt: attempt.other_token),
    "no origin": change(origins=[]),
    "foreign origin": change(origins=["https://evil.example"]),
    "null origin": change(origins=["null"]),
    "origin of another port": change(origins=[f"{URL}:8443"]),
    "origin without TLS": change(origins=[URL.replace("https", "http")]),
    "two origins": change(origins=[URL, URL]),
    "cross-site": change(fields=["Sec-Fetch-Site: cross-site"]),
    "same-site": change(fields=["Sec-Fetch-Site: same-site"]),
    "rebinding host": change(host="evil.example", origins=["https://evil.example"]),
    "host of the network": change(host="gateway", origins=["http://gateway"]),
    "get": change(method="GET"),
    "head": change(method="HEAD"),
    "put": change(method="PUT"),
    "json": change(content_type="application/json"),
    "text": change(content_type="text/plain"),
}


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("fault", FAULTS)
async def test_no_action_runs_for_a_faulty_request(gate: ConsoleGate, role: Role, fault: str) -> None:
    other_token = (await log_in(gate, role))[1]
    browser, token = await log_in(gate, role)
    attempt = Attempt(gate, browser, other_token, {"name": "app", "csrf_token": token})
    FAULTS[fault](attempt)
    for action in HANDLERS:
        response = await attempt.send(f"/console/actions/{action}")
        is_read = attempt.method in {"GET", "HEAD"}
        assert response.status in ({303, 404} if is_read else {401, 403, 405, 415}), (action, response.status)
    assert gate.backend.actions == []


async def test_the_same_request_without_a_fault_runs(gate: ConsoleGate) -> None:
    browser, token = await log_in(gate, "admin")
    attempt = Attempt(gate, browser, "", {"name": "app", "csrf_token": token})
    gate.clock.seconds = 1700.0
    assert (await attempt.send("/console/actions/renew")).status == 303
    gate.clock.seconds = 3400.0
    assert (await attempt.send("/console/actions/renew")).location == "/console/credentials/app"
    assert gate.backend.actions == [("renew", "app")] * 2


@pytest.mark.parametrize("path", ["/console/", "/console/credentials/app", "/console/nothing", "/console/audit"])
async def test_every_page_needs_a_session(gate: ConsoleGate, path: str) -> None:
    browser = gate.browser()
    response = await browser.get(path)
    assert response.status == 303
    assert response.location.startswith("/console/login?return=%2Fconsole%2F")
    fragment = await browser.get(path, "HX-Request: true")
    assert (fragment.status, fragment.field("HX-Redirect")) == (401, "/console/login?return=%2Fconsole%2F")
    shown = await browser.get(path, "HX-Request: true", "HX-Current-URL: https://x/console/calls?route=a")
    assert shown.field("HX-Redirect") == "/console/login?return=%2Fconsole%2Fcalls%3Froute%3Da"
    assert (await browser.get(path, "Accept: application/json")).status == 401
    assert (await browser.get(path, host="evil.example")).status == 403
