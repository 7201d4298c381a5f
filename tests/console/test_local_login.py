"""Login with a name and a password: its form, its limits, its session and its audit."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.fakes.console_gate import CONSOLE_HOST, PASSWORD, ConsoleGate, WebBrowser, serve_console, write_users

URL = f"https://{CONSOLE_HOST}"


@pytest.fixture
async def gate(tmp_path: Path) -> AsyncIterator[ConsoleGate]:
    users = write_users(tmp_path, ann="operator", bob="viewer")
    audit = str(tmp_path / "audit.jsonl")
    async with serve_console(tmp_path, url=URL, users=str(users), audit=audit, proxies=["127.0.0.1/32"]) as gate:
        yield gate


async def fail(browser: WebBrowser, name: str, *, client: str = "10.0.0.1", count: int = 1) -> list[int]:
    """Try a wrong password. Return the statuses."""
    statuses = []
    for _ in range(count):
        page = await browser.get("/console/login")
        form = {"name": name, "password": "wrong password", "csrf_token": page.csrf_token}
        response = await browser.post("/console/login", form, f"X-Forwarded-For: {client}")
        statuses.append(response.status)
    return statuses


async def test_a_login_sets_a_session_cookie_of_its_host(gate: ConsoleGate) -> None:
    browser = gate.browser()
    response = await browser.log_in("ann", target="/console/routes?x=1")
    assert (response.status, response.location) == (303, "/console/routes?x=1")
    cookie = next(value for name, value in response.fields if name == "Set-Cookie" and "session" in value)
    name, _, attributes = cookie.partition("=")
    assert name == "__Host-oic-gateway-session"
    assert attributes.partition("; ")[2] == "Path=/; HttpOnly; SameSite=Lax; Secure"
    assert len(browser.cookies[name]) == 43
    entry = gate.audit[-1]
    assert (entry["action"], entry["who"], entry["role"], entry["result"]) == ("login", "ann", "operator", "ok")
    assert (gate.folder / "audit.jsonl").stat().st_mode & 0o777 == 0o600


async def test_a_login_gets_a_new_session_and_ends_the_old_one(gate: ConsoleGate) -> None:
    browser = gate.browser()
    await browser.log_in("bob")
    old = dict(browser.cookies)
    page = await gate.browser().get("/console/login")
    assert page.status == 200
    other = gate.browser()
    form_page = await other.get("/console/login")
    other.cookies |= old  # an attacker has planted a known session
    form = {"name": "ann", "password": PASSWORD, "csrf_token": form_page.csrf_token}
    assert (await other.post("/console/login", form)).status == 303
    assert other.cookies["__Host-oic-gateway-session"] != old["__Host-oic-gateway-session"]
    assert (await browser.get("/console/")).status == 303


@pytest.mark.parametrize("origin", ["https://evil.example", "null", None])
async def test_another_site_cannot_log_a_person_in(gate: ConsoleGate, origin: str | None) -> None:
    browser = gate.browser()
    page = await browser.get("/console/login")
    form = {"name": "ann", "password": PASSWORD, "csrf_token": page.csrf_token}
    assert (await browser.post("/console/login", form, origin=origin)).status == 403
    assert "session" not in str(browser.cookies)


async def test_the_login_form_is_bound_to_its_browser(gate: ConsoleGate) -> None:
    token = (await gate.browser().get("/console/login")).csrf_token
    browser = gate.browser()
    form = {"name": "ann", "password": PASSWORD, "csrf_token": token}
    assert (await browser.post("/console/login", form)).status == 403
    await browser.get("/console/login")
    assert (await browser.post("/console/login", form)).status == 403


async def test_five_failures_of_a_name_stop_it_for_a_minute(gate: ConsoleGate) -> None:
    browser = gate.browser()
    for index in range(5):
        assert await fail(browser, "ann", client=f"10.0.0.{index}") == [403]
    response = await browser.log_in("ann")
    assert response.status == 429
    assert 0 < int(response.field("Retry-After") or 0) <= 60
    assert (await gate.browser().log_in("bob")).status == 303
    gate.clock.seconds = 61
    assert (await browser.log_in("ann")).status == 303


async def test_five_failures_of_an_address_stop_it(gate: ConsoleGate) -> None:
    browser = gate.browser()
    assert await fail(browser, "a", count=2) + await fail(browser, "b", count=3) == [403] * 5
    assert await fail(browser, "c") == [429]
    assert await fail(browser, "c", client="10.0.0.2") == [403]


async def test_an_ipv6_network_counts_as_one_address(gate: ConsoleGate) -> None:
    browser = gate.browser()
    for index in range(5):
        assert await fail(browser, f"user{index}", client=f"2001:db8::{index}") == [403]
    assert await fail(browser, "other", client="2001:db8::ffff") == [429]
    assert await fail(browser, "other", client="2001:db8:0:1::1") == [403]


async def test_successful_logins_are_not_counted(gate: ConsoleGate) -> None:
    for _ in range(8):
        assert (await gate.browser().log_in("ann")).status == 303


async def test_the_audit_shows_no_typed_name_that_no_user_has(gate: ConsoleGate) -> None:
    browser = gate.browser()
    await fail(browser, "my-secret-password")
    await fail(browser, "ann\r\nforged: entry")
    await fail(browser, "ann")
    assert [entry["who"] for entry in gate.audit] == ["(unknown user)", "(unknown user)", "ann"]
    assert {entry["client"] for entry in gate.audit} == {"10.0.0.1"}


async def test_a_forged_address_before_the_proxy_does_not_count(gate: ConsoleGate) -> None:
    await fail(gate.browser(), "ann", client="6.6.6.6, 10.0.0.9")
    assert gate.audit[-1]["client"] == "10.0.0.9"


async def test_a_removed_or_changed_user_is_logged_out(gate: ConsoleGate) -> None:
    browser = gate.browser()
    await browser.log_in("ann")
    assert (await browser.get("/console/")).status == 200
    write_users(gate.folder, ann="admin", bob="viewer")
    page = await browser.get("/console/")
    assert (await browser.post("/console/actions/reload", {"csrf_token": page.csrf_token})).status == 303
    write_users(gate.folder, bob="viewer")
    assert (await browser.get("/console/")).status == 303
    await browser.log_in("bob")
    users = gate.folder / "users"
    users.write_text(users.read_text().replace("bob:viewer:$argon2id$v=19$m=64", "bob:viewer:$argon2id$v=19$m=65"))
    assert (await browser.get("/console/")).status == 303


async def test_a_broken_file_of_users_keeps_the_users(gate: ConsoleGate) -> None:
    browser = gate.browser()
    await browser.log_in("ann")
    (gate.folder / "users").write_text("nonsense")
    assert (await browser.get("/console/")).status == 200
    (gate.folder / "users").unlink()
    assert (await browser.get("/console/")).status == 303


@pytest.mark.parametrize(
    ("fields", "body", "status"),
    [
        (["Content-Type: application/x-www-form-urlencoded"], b"name=" + b"x" * 20_000, 413),
        (["Content-Type: multipart/form-data; boundary=x"], b"--x--", 415),
        (["Content-Type: application/x-www-form-urlencoded"], b"&".join(b"a%d=1" % n for n in range(40)), 400),
        (["Content-Type: application/x-www-form-urlencoded"], b"name=%ff", 400),
        ([], b"name=x", 415),
    ],
)
async def test_an_unusable_form_is_refused(gate: ConsoleGate, fields: list[str], body: bytes, status: int) -> None:
    response = await gate.browser().send("POST", "/console/login", f"Origin: {URL}", *fields, body=body)
    assert response.status == status


async def test_a_page_names_its_outcome_once(gate: ConsoleGate) -> None:
    browser = gate.browser()
    await browser.log_in("ann")
    token = (await browser.get("/console/")).csrf_token
    response = await browser.post("/console/actions/renew", {"name": "orders-app", "csrf_token": token})
    assert "renew done" not in (await browser.get(response.location, "HX-Request: true")).body
    assert "renew done" in (await browser.get(response.location)).body
    assert "renew done" not in (await browser.get(response.location)).body
    form = {"name": "orders-app", "csrf_token": token}
    fragment = await browser.post("/console/actions/renew", form, "HX-Request: true")
    assert fragment.status == 200
    assert "renew done" in fragment.body
    assert "<html" not in fragment.body


async def test_the_audit_page_shows_a_refused_action(gate: ConsoleGate) -> None:
    browser = gate.browser()
    await browser.log_in("bob")
    token = (await browser.get("/console/")).csrf_token
    await browser.post("/console/actions/renew", {"name": "<script>", "csrf_token": token})
    body = (await browser.get("/console/audit")).body
    assert "Denied" in body
    assert "&lt;script&gt;" in body
    assert "<script>" not in body.replace("<script defer", "")
