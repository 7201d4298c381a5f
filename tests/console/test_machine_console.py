"""A console without login serves its own machine only; and what every console sends to browsers."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.fakes.console_gate import ConsoleGate, serve_console, write_users


@pytest.fixture
async def gate(tmp_path: Path) -> AsyncIterator[ConsoleGate]:
    async with serve_console(tmp_path) as gate:
        yield gate


async def test_everyone_on_this_machine_is_an_admin(gate: ConsoleGate) -> None:
    browser = gate.browser()
    page = await browser.get("/console/")
    assert page.status == 200
    assert "admin" in page.body
    (cookie,) = (value for name, value in page.fields if name == "Set-Cookie")
    assert cookie.partition("; ")[2] == "Path=/; HttpOnly; SameSite=Lax"
    assert cookie.startswith(f"oic-gateway-session-{gate.address.rpartition(':')[2]}=")
    token = (await browser.get("/console/credentials/orders-app")).csrf_token
    assert (await browser.post("/console/actions/renew", {"name": "a", "csrf_token": token})).status == 303
    assert gate.backend.actions == [("renew", "a")]


@pytest.mark.parametrize("path", ["/console/login", "/console/login/start", "/console/login/callback?code=x&state=y"])
async def test_without_login_there_is_no_login_page(gate: ConsoleGate, path: str) -> None:
    assert (await gate.browser().get(path)).status == 404


@pytest.mark.parametrize(
    "field",
    [
        "X-Forwarded-For: 10.0.0.1",
        "Forwarded: for=10.0.0.1",
        "Via: 1.1 proxy",
        "X-Forwarded-Host: x",
        "X-Real-IP: 1.1.1.1",
        "X-Forwarded-Proto: https",
    ],
)
async def test_a_forwarded_request_is_not_of_this_machine(gate: ConsoleGate, field: str) -> None:
    browser = gate.browser()
    assert (await browser.get("/console/", field)).status == 403
    page = await browser.get("/console/credentials/orders-app")
    assert (await browser.get("/console/", field)).status == 403
    response = await browser.post("/console/actions/reload", {"csrf_token": page.csrf_token}, field)
    assert (response.status, gate.backend.actions) == (401, [])


@pytest.mark.parametrize("host", ["gateway", "10.0.0.1", "gateway-admin.example.com"])
async def test_another_name_is_not_of_this_machine(gate: ConsoleGate, host: str) -> None:
    assert (await gate.browser().get("/console/", host=host)).status == 403


async def test_a_login_that_is_added_ends_open_sessions(gate: ConsoleGate) -> None:
    browser = gate.browser()
    assert (await browser.get("/console/")).status == 200
    gate.configure(users=str(write_users(gate.folder, ann="viewer")))
    assert (await browser.get("/console/")).status == 303
    assert (await browser.log_in("ann")).status == 303
    gate.configure()
    assert (await browser.get("/console/")).status == 200


@pytest.mark.parametrize(
    "path", ["/console/", "/console/nothing", "/console/static/console.css", "/console/usage.csv", "/"]
)
async def test_every_response_limits_what_a_browser_may_do(gate: ConsoleGate, path: str) -> None:
    response = await gate.browser().get(path)
    policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    assert (
        response.field("Content-Security-Policy")
        == policy + "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    )
    assert response.field("X-Content-Type-Options") == "nosniff"
    assert response.field("Referrer-Policy") == "same-origin"
    assert response.field("Cache-Control") == ("no-cache" if "static" in path else "no-store")
    assert response.field("Server") == "oic-gateway"


async def test_a_page_cannot_be_loaded_into_another_site(gate: ConsoleGate) -> None:
    browser = gate.browser()
    embedded = await browser.get("/console/", "Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: no-cors")
    assert embedded.status == 403
    assert (await browser.get("/console/", "Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate")).status == 200


async def test_other_paths_of_the_admin_port_refuse_web_pages(gate: ConsoleGate) -> None:
    browser = gate.browser()
    for path in ("/status", "/metrics", "/livez", "/readyz", "/consoles", "/console.json"):
        assert (await browser.get(path, f"Origin: {browser.origin}")).status == 403
        assert (await browser.get(path, "Sec-Fetch-Site: cross-site")).status == 403
    assert (await browser.get("/status")).status == 200


async def test_a_static_file_is_sent_once(gate: ConsoleGate) -> None:
    browser = gate.browser()
    first = await browser.get("/console/static/console.css")
    assert (first.status, first.field("Content-Type")) == (200, "text/css; charset=utf-8")
    again = await browser.get("/console/static/console.css", f"If-None-Match: {first.field('ETag')}")
    assert (again.status, again.body) == (304, "")


@pytest.mark.parametrize("name", ["../layout.html", "..%2flayout.html", "%2e%2e/templates/layout.html", "", "x"])
async def test_no_other_file_can_be_read(gate: ConsoleGate, name: str) -> None:
    assert (await gate.browser().get(f"/console/static/{name}")).status == 404


async def test_a_form_that_never_arrives_ends(gate: ConsoleGate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.console.console_request.FORM_TIMEOUT", 0.05)
    host, _, port = gate.address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    head = f"POST /console/login HTTP/1.1\r\nHost: {gate.address}\r\nOrigin: http://{gate.address}\r\n"
    fields = "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 100\r\n\r\n"
    writer.write((head + fields + "name=").encode())
    response = await reader.read(-1)
    writer.close()
    assert response.startswith(b"HTTP/1.1 408 ")
