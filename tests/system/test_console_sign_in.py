"""Sign-in from the console with real processes, one and several, against the sandbox and Authlib's server."""

import asyncio
import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from gateway.sandbox import RegisteredClient, Sandbox, User
from tests.fakes.authlib_server import Client as AuthlibClient
from tests.fakes.authlib_server import serving
from tests.fakes.console_gate import WebBrowser
from tests.fakes.ports import reserved_port
from tests.fakes.process import Process, gateway, run
from tests.fakes.waiting import TIME_LIMIT, wait_until
from tests.system.scene import route, written
from tests.system.test_signin import GRANTS, KEY, back_from

PAGE = "/console/credentials/person"


class Console:
    """A gateway with a console on this machine, and a credential that a person signs in for."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder = folder
        self.url = f"http://127.0.0.1:{port}"
        self.back = f"{self.url}/console/sign-in/callback"

    def file(self, upstream: str, person: dict[str, Any], **more: Any) -> Path:
        """The configuration with these keys of the credential and of the file."""
        document = {
            "listen": "127.0.0.1:0",
            "admin": urlsplit(self.url).netloc,
            "console": {"url": self.url, "audit": "audit.jsonl"},
            "state": {"path": "state.db", "keys": [{"env": "STATE_KEY"}], "timeout": "20s"},
            "credentials": {"person": {"grant": "authorization_code", **person}},
            "routes": [route("orders", upstream, credential="person")],
            **more,
        }
        return written(self.folder, document)

    def sandbox_file(self, sandbox: Sandbox, *, more_person: dict[str, Any] | None = None, **more: Any) -> Path:
        """The configuration for the sandbox's public client `page`."""
        uris = frozenset({self.back})
        sandbox.clients["page"] = RegisteredClient(is_public=True, grants=GRANTS, redirect_uris=uris)
        person = {
            "client_auth": "none",
            "client_id": "page",
            "token_url": sandbox.token_url,
            "scope": f"{sandbox.scope} offline_access",
            **(more_person or {}),
        }
        return self.file(sandbox.upstream("ORDERS"), person, **more)

    def browser(self) -> WebBrowser:
        return WebBrowser(urlsplit(self.url).netloc, self.url)

    def audit(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.folder / "audit.jsonl").read_text().splitlines()]


@pytest.fixture
def console(tmp_path: Path) -> Console:
    with reserved_port() as port:
        return Console(tmp_path, port)


async def follow(browser: WebBrowser, refresh: str | None) -> str:
    """Go to the identity domain and back; return where the console sends the browser."""
    back = urlsplit(await back_from((refresh or "").removeprefix("0; url=")))
    return (await browser.get(f"{back.path}?{back.query}")).location


async def act(browser: WebBrowser, action: str) -> str | None:
    token = (await browser.get(PAGE)).csrf_token
    response = await browser.post(f"/console/actions/{action}", {"name": "person", "csrf_token": token})
    return response.field("Refresh") or response.location


async def sign_in(browser: WebBrowser) -> str:
    """Sign in from the page of the credential; return the page afterwards."""
    assert await follow(browser, await act(browser, "sign-in")) == PAGE
    return (await browser.get(PAGE)).body


async def call_all(gate: Process, count: int = 20) -> set[int]:
    """The statuses of calls on new connections, so that all workers get some."""
    return {(await gate.get("/orders/"))[0] for _ in range(count)}


@pytest.mark.parametrize("workers", [1, 2])
async def test_all_processes_use_a_sign_in_at_once(console: Console, sandbox: Sandbox, workers: int) -> None:
    async with gateway(console.sandbox_file(sandbox, workers=workers), **KEY) as gate:
        assert await call_all(gate) == {502}
        browser = console.browser()
        assert "Press Sign in on the page of the credential" in (await browser.get(PAGE)).body
        assert "person: signed in as jdoe" in await sign_in(browser)
        assert await call_all(gate) == {200}  # all workers, without waiting for their next look at the store
        [request] = sandbox.token_requests
        assert request.form["grant_type"] == "authorization_code"
        page = (await browser.get(PAGE)).body
        assert "jdoe" in page  # the claim `sub`
        assert "Press Sign in" not in page

        sandbox.users["clerk"] = User(password="unused")
        sandbox.switches.signed_in = "clerk"
        back = urlsplit(await back_from((await act(browser, "sign-in") or "").removeprefix("0; url=")))
        await browser.get(f"{back.path}?{back.query}")
        assert "person: signed in as clerk" in (await browser.get(PAGE)).body
        assert await call_all(gate) == {200}
        assert await act(browser, "sign-out") == PAGE
        assert await call_all(gate) == {502}
        output = gate.output_text() + json.dumps(console.audit())
        [code], [state] = (parse_qs(back.query)[name] for name in ("code", "state"))
        assert code not in output
        assert state not in output
        assert [entry["action"] for entry in console.audit()] == ["sign-in"] * 4 + ["sign-out"]


@pytest.mark.parametrize("workers", [1, 2])
async def test_an_invite_of_the_command_line_is_redeemed_once(console: Console, sandbox: Sandbox, workers: int) -> None:
    file = console.sandbox_file(sandbox, workers=workers)
    async with gateway(file, **KEY) as gate:
        printed = await run("login", "--invite", "person", "-c", file, **KEY)
        assert (printed.status, printed.err) == (0, "")
        [link] = re.findall(rf"(?m)^  {console.url}(/console/invite/[\w-]{{43}})$", printed.out)
        browser, other = console.browser(), console.browser()
        pages = [await one.get(link) for one in (browser, other)]
        assert "(command line)" in pages[0].body
        answers = await asyncio.gather(
            *(
                one.post(link, {"csrf_token": page.csrf_token})
                for one, page in zip((browser, other), pages, strict=True)
            )
        )
        assert sorted(answer.status for answer in answers) == [200, 410]
        winner, answer = next(pair for pair in zip((browser, other), answers, strict=True) if pair[1].status == 200)
        assert await follow(winner, answer.field("Refresh")) == "/console/sign-in/result"
        assert "now uses the account <strong>jdoe</strong>" in (await winner.get("/console/sign-in/result")).body
        assert await call_all(gate) == {200}
        signed_in = console.audit()[-1]
        assert (signed_in["who"], signed_in["login"], signed_in["client"]) == ("jdoe", "invite", "127.0.0.1")
        assert "invited by" in signed_in["detail"]
        token = link.rpartition("/")[2]
        assert token not in gate.output_text() + json.dumps(console.audit())


async def test_an_invite_of_the_console_is_a_link_to_it(console: Console, sandbox: Sandbox) -> None:
    async with gateway(console.sandbox_file(sandbox), **KEY) as gate:
        browser = console.browser()
        location = await act(browser, "invite")
        [link] = set(
            re.findall(rf"{console.url}(/console/invite/[\w-]{{43}})", (await browser.get(location or "")).body)
        )
        page = await console.browser().get(link)
        assert page.status == 200
        assert await call_all(gate) == {502}


async def test_a_reload_between_redirect_and_return_is_noticed(console: Console, sandbox: Sandbox) -> None:
    file = console.sandbox_file(sandbox)
    async with gateway(file, **KEY) as gate:
        browser = console.browser()
        for person in ({"scope": f"{sandbox.scope} offline_access openid"}, {"grant": "client_credentials"}):
            refresh = await act(browser, "sign-in")
            console.sandbox_file(sandbox, more_person=person)
            await act(browser, "reload")
            assert await follow(browser, refresh) == PAGE
            assert console.audit()[-1]["result"] == "failed"
        assert len(sandbox.token_requests) == 0
        assert await call_all(gate, 1) == {502}


async def test_a_failed_exchange_shows_what_to_do(console: Console, sandbox: Sandbox) -> None:
    async with gateway(console.sandbox_file(sandbox, more_person={"scope": sandbox.scope}), **KEY):
        page = await sign_in(console.browser())
        assert "issued no refresh token" in page
        assert "<code>offline_access</code>" in page
        assert console.audit()[-1]["result"] == "failed"


async def test_an_idle_sign_in_of_the_console_is_renewed(console: Console, sandbox: Sandbox) -> None:
    person = {"renew": {"idle": "1s"}, "token_wait": "60s"}
    file = console.sandbox_file(sandbox, more_person=person, workers=2)
    async with gateway(file, **KEY) as gate:
        await sign_in(console.browser())

        async def is_renewed() -> bool:
            assert await call_all(gate, 1) == {200}
            return [request.form["grant_type"] for request in sandbox.token_requests][1:3] == ["refresh_token"] * 2

        await wait_until(is_renewed)
        assert await call_all(gate) == {200}


async def test_with_a_server_that_the_project_did_not_write(console: Console) -> None:
    client = AuthlibClient(
        "app", "s3cret", method="client_secret_basic", grants=tuple(GRANTS), redirect_uri=console.back
    )
    with serving(client) as (url, server):
        person = {"client_id": "app", "client_secret": {"env": "APP_SECRET"}, "token_url": url, "scope": "orders"}
        file = console.file("https://u.example/", person)
        async with gateway(file, **KEY, APP_SECRET="s3cret"):
            page = await sign_in(console.browser())
            assert "person: signed in" in page
            assert len(server.refresh_tokens) == 1


async def test_an_invite_needs_the_url_of_the_console(console: Console, sandbox: Sandbox) -> None:
    file = console.sandbox_file(sandbox, console=None)
    ended = await run("login", "--invite", "person", "-c", file, **KEY)
    assert (ended.status, "add `console: {url: URL}`" in ended.err) == (78, True)
    async with asyncio.timeout(TIME_LIMIT):
        ended = await run("login", "--invite", "--paste", "person", "-c", file, **KEY)
    assert ended.status == 2
