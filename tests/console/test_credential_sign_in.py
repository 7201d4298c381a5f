"""Sign-in for a credential in the browser: bound to one browser, one credential and one use; with an invite, too."""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest

from gateway.signin.invites import MAX_OPEN_INVITES
from tests.fakes.console_gate import (
    CONSOLE_HOST,
    PERSON,
    ConsoleGate,
    WebBrowser,
    WebResponse,
    serve_console,
    write_users,
)

URL = f"https://{CONSOLE_HOST}"
CALLBACK = "/console/sign-in/callback"
NAME = "finance-clerk"
"""The credential that a person signs in for; the recorded gateway has one of this name."""
PAGE = f"/console/credentials/{NAME}"


@pytest.fixture
async def gate(tmp_path: Path) -> AsyncIterator[ConsoleGate]:
    users = write_users(tmp_path, operator="operator", ann="admin", bob="admin")
    async with serve_console(tmp_path, url=URL, users=str(users), audit=str(tmp_path / "audit.jsonl")) as gate:
        yield gate


async def log_in(gate: ConsoleGate, name: str = "ann") -> tuple[WebBrowser, str]:
    """A browser that is logged in, and the token of its session."""
    browser = gate.browser()
    assert (await browser.log_in(name)).status == 303
    return browser, (await browser.get("/console/")).csrf_token


def sent_to(response: WebResponse) -> dict[str, str]:
    """The parameters of the authorization request to which a page sends the browser."""
    refresh = response.field("Refresh") or ""
    url = refresh.removeprefix("0; url=")
    assert url.startswith("https://idcs.example/oauth2/v1/authorize?"), (response.status, refresh)
    assert url in unescape(response.body)  # a browser that ignores the field has a link
    return {name: value for name, [value] in parse_qs(urlsplit(url).query).items()}


async def begin(browser: WebBrowser, token: str, name: str = NAME) -> dict[str, str]:
    """Press Sign in; the parameters of the authorization request."""
    response = await browser.post("/console/actions/sign-in", {"name": name, "csrf_token": token})
    return sent_to(response)


async def come_back(browser: WebBrowser, **parameters: str) -> WebResponse:
    """The redirection from the identity domain."""
    return await browser.get(
        f"{CALLBACK}?{urlencode(parameters)}", "Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate"
    )


async def invite(gate: ConsoleGate) -> str:
    """Press Invite; the path of the link."""
    browser, token = await log_in(gate)
    response = await browser.post("/console/actions/invite", {"name": NAME, "csrf_token": token})
    page = await browser.get(response.location)
    [link] = set(re.findall(rf"{URL}(/console/invite/[\w-]+)", page.body))
    again = await browser.get(response.location)
    assert link not in again.body  # it is shown once
    return str(link)


async def accept(browser: WebBrowser, link: str) -> dict[str, str]:
    """Press the button of an invite."""
    page = await browser.get(link)
    return sent_to(await browser.post(link, {"csrf_token": page.csrf_token}))


async def test_an_admin_signs_a_credential_in(gate: ConsoleGate) -> None:
    browser, token = await log_in(gate)
    assert 'action="/console/actions/sign-in"' in (await browser.get(PAGE)).body
    request = await begin(browser, token)
    assert request["redirect_uri"] == f"{URL}{CALLBACK}"
    assert (request["code_challenge_method"], len(request["code_challenge"])) == ("S256", 43)
    assert min(len(request["state"]), len(request["nonce"])) >= 43
    response = await come_back(browser, code="c0de", state=request["state"])
    assert (response.status, response.location) == (303, PAGE)
    assert response.field("Referrer-Policy") == "no-referrer"
    [(name, sent)] = gate.backend.sign_ins
    assert (name, sent.code, sent.redirect_uri, sent.nonce) == (NAME, "c0de", f"{URL}{CALLBACK}", request["nonce"])
    page = await browser.get(PAGE)
    assert f"{NAME}: signed in as jdoe" in page.body
    entries = [entry for entry in gate.audit if entry["action"] == "sign-in"]
    assert [(entry["who"], entry["result"], entry["target"]) for entry in entries] == [("ann", "ok", NAME)] * 2
    assert (entries[0]["detail"], entries[1]["detail"]) == ("began at idcs.example", "signed in as jdoe")


async def test_two_sign_ins_of_one_session_do_not_mix(gate: ConsoleGate) -> None:
    other = {**PERSON, "token_url": "https://other.example/oauth2/v1/token", "client_id": "second"}
    gate.configure({NAME: PERSON, "other": other}, url=URL, users=str(gate.folder / "users"))
    browser, token = await log_in(gate)
    first = await begin(browser, token)
    response = await browser.post("/console/actions/sign-in", {"name": "other", "csrf_token": token})
    second = parse_qs(urlsplit(response.field("Refresh") or "").query)
    assert second["state"] != [first["state"]]
    await come_back(browser, code="for-second", state=second["state"][0])
    await come_back(browser, code="for-first", state=first["state"])
    assert [(name, sent.code) for name, sent in gate.backend.sign_ins] == [
        ("other", "for-second"),
        (NAME, "for-first"),
    ]
    assert gate.backend.sign_ins[0][1].verifier != gate.backend.sign_ins[1][1].verifier


@dataclass(slots=True)
class Attack:
    gate: ConsoleGate
    browser: WebBrowser
    token: str
    request: dict[str, str]

    async def answer(self, browser: WebBrowser | None = None, **parameters: str) -> WebResponse:
        return await come_back(
            browser or self.browser, **{"code": "c0de", "state": self.request["state"], **parameters}
        )


async def replay(attack: Attack) -> WebResponse:
    await attack.answer()
    attack.gate.backend.sign_ins.clear()
    return await attack.answer(code="another")


async def other_session(attack: Attack) -> WebResponse:
    return await attack.answer((await log_in(attack.gate, "bob"))[0])


async def other_session_of_the_same_person(attack: Attack) -> WebResponse:
    return await attack.answer((await log_in(attack.gate))[0])


async def no_session(attack: Attack) -> WebResponse:
    return await attack.answer(attack.gate.browser())


async def logged_out(attack: Attack) -> WebResponse:
    await attack.browser.post("/console/logout", {"csrf_token": attack.token})
    return await attack.answer()


async def late(attack: Attack) -> WebResponse:
    attack.gate.clock.seconds = 601.0
    return await attack.answer()


async def unknown_state(attack: Attack) -> WebResponse:
    return await attack.answer(state="A" * 43)


async def empty_state(attack: Attack) -> WebResponse:
    return await attack.answer(state="")


async def repeated_state(attack: Attack) -> WebResponse:
    state = attack.request["state"]
    return await attack.browser.get(f"{CALLBACK}?state={state}&code=x&state={state}")


async def no_code(attack: Attack) -> WebResponse:
    return await attack.browser.get(f"{CALLBACK}?state={attack.request['state']}")


async def nothing(attack: Attack) -> WebResponse:
    return await attack.browser.get(CALLBACK)


async def head(attack: Attack) -> WebResponse:
    return await attack.browser.send("HEAD", f"{CALLBACK}?state={attack.request['state']}&code=x")


async def posted(attack: Attack) -> WebResponse:
    return await attack.browser.post(
        CALLBACK, {"state": attack.request["state"], "code": "x", "csrf_token": attack.token}
    )


async def embedded(attack: Attack) -> WebResponse:
    target = f"{CALLBACK}?state={attack.request['state']}&code=x"
    return await attack.browser.get(target, "Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: no-cors")


async def rebinding(attack: Attack) -> WebResponse:
    return await attack.browser.get(f"{CALLBACK}?state={attack.request['state']}&code=x", host="evil.example")


ATTACKS: list[tuple[Callable[[Attack], Awaitable[WebResponse]], int]] = [
    *((replay, 403), (other_session, 403), (other_session_of_the_same_person, 403), (no_session, 403)),
    *((logged_out, 403), (late, 403), (unknown_state, 403), (empty_state, 403), (repeated_state, 400), (no_code, 400)),
    *((nothing, 403), (head, 405), (posted, 404), (embedded, 403), (rebinding, 403)),
]


@pytest.mark.parametrize(("attempt", "status"), ATTACKS, ids=[attempt.__name__ for attempt, _ in ATTACKS])
async def test_no_other_response_completes_a_sign_in(
    gate: ConsoleGate, attempt: Callable[[Attack], Awaitable[WebResponse]], status: int
) -> None:
    browser, token = await log_in(gate)
    request = await begin(browser, token)
    response = await attempt(Attack(gate, browser, token, request))
    assert response.status == status
    assert gate.backend.sign_ins == []
    assert request["state"] not in response.body


async def test_a_foreign_response_ends_no_sign_in(gate: ConsoleGate) -> None:
    browser, token = await log_in(gate)
    request = await begin(browser, token)
    await come_back((await log_in(gate, "bob"))[0], code="evil", state=request["state"])
    [entry] = [entry for entry in gate.audit if entry["result"] == "denied"]
    assert (entry["who"], entry["target"]) == ("bob", NAME)
    assert (await come_back(browser, code="c0de", state=request["state"])).location == PAGE
    assert [sent.code for _, sent in gate.backend.sign_ins] == ["c0de"]


async def test_concurrent_responses_exchange_one_code(gate: ConsoleGate) -> None:
    browser, token = await log_in(gate)
    request = await begin(browser, token)
    responses = await asyncio.gather(*(come_back(browser, code="c0de", state=request["state"]) for _ in range(5)))
    assert sorted(response.status for response in responses) == [303, 403, 403, 403, 403]
    assert len(gate.backend.sign_ins) == 1


@pytest.mark.parametrize(
    ("parameters", "seen", "remedy"),
    [
        (
            {"error": "access_denied", "error_description": "No <b>consent</b>"},
            "access_denied: No &lt;b&gt;",
            "consent",
        ),
        ({"error": "invalid_scope"}, "invalid_scope", "Compare"),
        ({"code": "x", "iss": "https://evil.example"}, "names another issuer (https://evil.example)", "issuer"),
    ],
)
async def test_an_error_response_ends_the_sign_in_with_its_remedy(
    gate: ConsoleGate, parameters: dict[str, str], seen: str, remedy: str
) -> None:
    browser, token = await log_in(gate)
    request = await begin(browser, token)
    response = await come_back(browser, state=request["state"], **parameters)
    assert response.location == PAGE
    page = await browser.get(PAGE)
    assert seen in page.body
    assert remedy in page.body
    assert gate.audit[-1]["result"] == "failed"
    assert (await come_back(browser, state=request["state"], code="x")).status == 403
    assert gate.backend.sign_ins == []


async def test_an_issuer_of_the_sign_in_is_accepted(gate: ConsoleGate) -> None:
    browser, token = await log_in(gate)
    request = await begin(browser, token)
    await come_back(browser, state=request["state"], code="x", iss="https://idcs.example")
    assert len(gate.backend.sign_ins) == 1


async def test_only_an_admin_signs_in_and_invites(gate: ConsoleGate) -> None:
    browser, token = await log_in(gate, "operator")
    for action in ("sign-in", "invite"):
        response = await browser.post(f"/console/actions/{action}", {"name": NAME, "csrf_token": token})
        assert response.status == 403
        assert gate.audit[-1]["result"] == "denied"
    assert gate.backend.actions == []


async def test_an_admin_who_lost_the_role_completes_no_sign_in(gate: ConsoleGate) -> None:
    browser, token = await log_in(gate)
    request = await begin(browser, token)
    write_users(gate.folder, ann="viewer")
    response = await come_back(browser, state=request["state"], code="x")
    assert response.location == PAGE
    assert gate.backend.sign_ins == []
    assert gate.audit[-1]["detail"] == "your role may no longer sign credentials in"


@pytest.mark.parametrize("name", ["app", "none"])
async def test_a_credential_without_sign_in_shows_the_reason(gate: ConsoleGate, name: str) -> None:
    browser, token = await log_in(gate)
    response = await browser.post("/console/actions/sign-in", {"name": name, "csrf_token": token})
    assert (response.status, response.location) == (303, f"/console/credentials/{name}")
    page = await browser.get("/console/credentials/orders-app")
    assert 'class="notice bad"' in page.body
    assert gate.audit[-1]["result"] == "failed"


async def test_a_sign_in_begins_only_at_the_url_of_the_console(tmp_path: Path) -> None:
    async with serve_console(tmp_path, url="http://localhost:9090") as gate:
        browser = gate.browser(f"http://{gate.address}")
        token = (await browser.get("/console/")).csrf_token
        response = await browser.post("/console/actions/sign-in", {"name": NAME, "csrf_token": token})
        assert response.location == PAGE
        assert "Open the console at http://localhost:9090" in (await browser.get(PAGE)).body


# Invites -------------------------------------------------------------------------------------------------------------


async def test_an_invite_signs_a_person_in_without_a_login(gate: ConsoleGate) -> None:
    link = await invite(gate)
    browser = gate.browser()
    for _ in range(3):  # link previews
        page = await gate.browser().get(link)
        assert page.status == 200
    page = await browser.get(link)
    assert all(text in page.body for text in (NAME, "ann", "idcs.example", CONSOLE_HOST))
    request = await accept(browser, link)
    assert request["redirect_uri"] == f"{URL}{CALLBACK}"
    response = await come_back(browser, code="c0de", state=request["state"])
    assert (response.status, response.location) == (303, "/console/sign-in/result")
    result = await browser.get(response.location)
    assert "now uses the account <strong>jdoe</strong>" in result.body
    assert [name for name, _ in gate.backend.sign_ins] == [NAME]
    entries = [entry for entry in gate.audit if entry["action"] in {"invite", "redeem-invite", "sign-in"}]
    assert [(entry["who"], entry["login"], entry["action"], entry["result"]) for entry in entries] == [
        ("ann", "local", "invite", "ok"),
        ("(invited person)", "invite", "redeem-invite", "ok"),
        ("jdoe", "invite", "sign-in", "ok"),
    ]
    assert entries[2]["detail"] == "signed in as jdoe; invited by ann"
    assert {entry["target"] for entry in entries} == {NAME}
    assert (await browser.get(PAGE)).status == 303  # still no login


async def test_an_invite_is_in_no_log_and_no_audit(gate: ConsoleGate, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    link = await invite(gate)
    browser = gate.browser()
    await accept(browser, link)
    gate.backend.find_invite = None  # type: ignore[assignment,method-assign] # a defect
    assert (await browser.get(link)).status == 500
    token = link.rpartition("/")[2]
    assert token not in (gate.folder / "audit.jsonl").read_text()
    shown = [f"{record.getMessage()} {vars(record)}" for record in caplog.records]
    assert any("'/console/invite/…'" in text for text in shown)
    assert not any(token in text for text in shown)


async def test_an_invite_works_once(gate: ConsoleGate) -> None:
    link = await invite(gate)
    one, other = gate.browser(), gate.browser()
    forms = [{"csrf_token": (await browser.get(link)).csrf_token} for browser in (one, other)]
    responses = await asyncio.gather(one.post(link, forms[0]), other.post(link, forms[1]))
    assert sorted(response.status for response in responses) == [200, 410]
    assert (await gate.browser().get(link)).status == 410
    assert "was used before" in (await one.get(link)).body


async def test_an_invite_ends_after_half_an_hour(gate: ConsoleGate) -> None:
    link = await invite(gate)
    browser = gate.browser()
    gate.clock.seconds = 1799.0
    page = await browser.get(link)
    assert page.status == 200
    gate.clock.seconds = 1801.0
    assert (await browser.post(link, {"csrf_token": page.csrf_token})).status == 410


async def test_open_invites_of_a_credential_are_bounded(gate: ConsoleGate) -> None:
    links = [await invite(gate) for _ in range(MAX_OPEN_INVITES)]
    browser, token = await log_in(gate)
    form = {"name": NAME, "csrf_token": token}
    response = await browser.post("/console/actions/invite", form)
    assert f"{MAX_OPEN_INVITES} invites for {NAME} are open" in (await browser.get(response.location)).body
    assert gate.audit[-1]["result"] == "failed"
    await accept(gate.browser(), links[3])
    assert await invite(gate) not in links


@dataclass(slots=True)
class InviteAttack:
    gate: ConsoleGate
    browser: WebBrowser
    link: str
    form: dict[str, str]


async def foreign_origin(attack: InviteAttack) -> WebResponse:
    return await attack.browser.post(attack.link, attack.form, origin="https://evil.example")


async def without_origin(attack: InviteAttack) -> WebResponse:
    return await attack.browser.post(attack.link, attack.form, origin=None)


async def wrong_token(attack: InviteAttack) -> WebResponse:
    return await attack.browser.post(attack.link, {"csrf_token": attack.form["csrf_token"][::-1]})


async def without_token(attack: InviteAttack) -> WebResponse:
    return await attack.browser.post(attack.link, {})


async def without_cookie(attack: InviteAttack) -> WebResponse:
    return await attack.gate.browser().post(attack.link, attack.form)


async def cookie_of_another_browser(attack: InviteAttack) -> WebResponse:
    other = attack.gate.browser()
    await other.get(attack.link)
    return await other.post(attack.link, attack.form)


async def page_of_another_invite(attack: InviteAttack) -> WebResponse:
    return await attack.browser.post(await invite(attack.gate), attack.form)


async def old_page(attack: InviteAttack) -> WebResponse:
    attack.gate.clock.seconds = 601.0
    return await attack.browser.post(attack.link, attack.form)


async def rebound_host(attack: InviteAttack) -> WebResponse:
    return await attack.browser.post(attack.link, attack.form, origin="https://evil.example", host="evil.example")


INVITE_ATTACKS = [
    *(foreign_origin, without_origin, wrong_token, without_token, without_cookie, cookie_of_another_browser),
    *(page_of_another_invite, old_page, rebound_host),
]


@pytest.mark.parametrize("attempt", INVITE_ATTACKS)
async def test_a_faulty_form_uses_no_invite_up(
    gate: ConsoleGate, attempt: Callable[[InviteAttack], Awaitable[WebResponse]]
) -> None:
    link, browser = await invite(gate), gate.browser()
    page = await browser.get(link)
    response = await attempt(InviteAttack(gate, browser, link, {"csrf_token": page.csrf_token}))
    assert response.status == 403
    assert response.field("Refresh") is None
    await accept(gate.browser(), link)


@pytest.mark.parametrize("token", ["", "x", "A" * 43, "A" * 44, "../../login", "%2e%2e", "A" * 42 + "%00"])
async def test_an_unknown_invite_has_no_button(gate: ConsoleGate, token: str) -> None:
    response = await gate.browser().get(f"/console/invite/{token}")
    assert response.status == 410
    assert "<form" not in response.body


async def test_the_response_to_an_invite_belongs_to_its_browser(gate: ConsoleGate) -> None:
    link, browser = await invite(gate), gate.browser()
    request = await accept(browser, link)
    for other in (gate.browser(), (await log_in(gate))[0]):
        assert (await come_back(other, code="evil", state=request["state"])).status == 403
    assert gate.backend.sign_ins == []
    response = await come_back(browser, error="access_denied", state=request["state"])
    result = await browser.get(response.location)
    assert "Not signed in" in result.body
    assert "access_denied" in result.body
    assert (await gate.browser().get(response.location)).status == 404
    assert (await come_back(browser, code="x", state=request["state"])).status == 403


APPLICATION = {"token_url": "https://idcs.example/token", "client_id": "x", "client_secret": {"env": "APP_SECRET"}}


@pytest.mark.parametrize("credentials", [{}, {NAME: APPLICATION}], ids=["removed", "no sign-in"])
async def test_an_invite_for_a_removed_credential_stays_unused(gate: ConsoleGate, credentials: dict[str, Any]) -> None:
    link, browser, users = await invite(gate), gate.browser(), str(gate.folder / "users")
    page = await browser.get(link)
    gate.configure(credentials, url=URL, users=users)
    assert (await browser.post(link, {"csrf_token": page.csrf_token})).status == 410
    gate.configure(url=URL, users=users)
    await accept(browser, link)


async def test_a_console_without_login_keeps_invites_on_its_machine(tmp_path: Path) -> None:
    async with serve_console(tmp_path) as gate:
        browser = gate.browser()
        forwarded = "X-Forwarded-For: 192.0.2.1"
        for path in ("/console/invite/" + "A" * 43, CALLBACK):
            assert (await browser.get(path, forwarded)).status == 403
        assert (await browser.get("/console/invite/" + "A" * 43)).status == 410
