"""The console's login with oidc-provider, a certified OpenID Connect provider that others wrote, as the issuer.

`make test-clients` installs it.
"""

import asyncio
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urljoin, urlsplit

import aiohttp

from tests.fakes.console_gate import CONSOLE_HOST, ConsoleGate, WebResponse, serve_console
from tests.fakes.ports import reserved_port
from tests.fakes.waiting import TIME_LIMIT

PROVIDER = Path(sys.prefix) / "oidc"
URL = f"https://{CONSOLE_HOST}"
CALLBACK = f"{URL}/console/login/callback"


@asynccontextmanager
async def provider() -> AsyncIterator[str]:
    """A provider of its own process. Yield its issuer."""
    assert (PROVIDER / "node_modules").is_dir(), "oidc-provider is not installed; run `make test-clients`"
    with reserved_port() as port:
        process = await asyncio.create_subprocess_exec(
            "node", "server.mjs", str(port), CALLBACK, cwd=PROVIDER, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        try:
            assert process.stdout is not None
            async with asyncio.timeout(TIME_LIMIT):
                while b"listening" not in await process.stdout.readline():
                    assert process.returncode is None
            yield f"http://127.0.0.1:{port}"
        finally:
            process.kill()
            await process.wait()


@asynccontextmanager
async def console(folder: Path, issuer: str, **more: Any) -> AsyncIterator[ConsoleGate]:
    sign_in = {"issuer": issuer, "client_id": "console", "client_secret": {"env": "SECRET"}, **more}
    sign_in = {"scope": "openid profile groups"} | sign_in
    roles = {"admin": ["OIC-Admins"], "viewer": ["OIC-Readers"]}
    audit = str(folder / "audit.jsonl")
    environ = {"SECRET": "secret-of-the-console"}
    async with serve_console(folder, environ=environ, url=URL, sign_in=sign_in, roles=roles, audit=audit) as gate:
        yield gate


async def sign_in(location: str, name: str) -> str:
    """Sign in at the provider as a person does, form by form. Return the target of its redirection to the console."""
    jar = aiohttp.CookieJar(unsafe=True)
    async with aiohttp.ClientSession(cookie_jar=jar) as session:
        response = await session.get(location, allow_redirects=False)
        for _ in range(12):
            while response.status in {302, 303}:
                location = urljoin(str(response.url), response.headers["Location"])
                if location.startswith(CALLBACK):
                    return location.removeprefix(URL)
                response = await session.get(location, allow_redirects=False)
            page = await response.text()
            form = re.search(r'<form[^>]* action="([^"]+)"', page)
            assert form is not None, page
            hidden = dict(re.findall(r'name="([^"]+)" value="([^"]*)"', page))
            fields = hidden | ({"login": name, "password": "any"} if 'name="login"' in page else {})
            response = await session.post(urljoin(location, unescape(form[1])), data=fields, allow_redirects=False)
    raise AssertionError("the provider did not end the sign-in")


async def log_in(gate: ConsoleGate, name: str) -> tuple[Any, WebResponse]:
    browser = gate.browser()
    start = await browser.get("/console/login/start?return=/console/usage")
    assert start.status == 303, start.body
    return browser, await browser.get(await sign_in(start.location, name))


async def test_a_person_gets_the_role_of_the_group(tmp_path: Path) -> None:
    async with provider() as issuer, console(tmp_path, issuer) as gate:
        browser, response = await log_in(gate, "ann.OIC-Admins")
        assert (response.status, response.location) == (303, "/console/usage"), response.body
        page = await browser.get("/console/")
        assert "ann.OIC-Admins" in page.body
        assert (gate.audit[-1]["who"], gate.audit[-1]["role"]) == ("ann.OIC-Admins", "admin")
        assert (await browser.post("/console/actions/reload", {"csrf_token": page.csrf_token})).status == 303
        _, response = await log_in(gate, "bob.Others")
        assert (response.status, gate.audit[-1]["result"]) == (403, "denied")


async def test_another_claim_may_name_the_person(tmp_path: Path) -> None:
    async with provider() as issuer, console(tmp_path, issuer, name_claim="name") as gate:
        _, response = await log_in(gate, "carla.OIC-Readers")
        assert (response.status, gate.audit[-1]["who"]) == (303, "carla")


async def test_a_wrong_client_secret_is_explained(tmp_path: Path) -> None:
    async with provider() as issuer, console(tmp_path, issuer, client_secret={"env": "OTHER"}) as gate:
        gate.console._environ["OTHER"] = "wrong"  # type: ignore[index]
        _, response = await log_in(gate, "ann.OIC-Admins")
        assert response.status == 502
        assert "the provider refused the code (401 invalid_client)" in response.body
        assert "wrong" not in response.body.replace("wrong client", "")


async def test_a_response_of_the_provider_counts_once(tmp_path: Path) -> None:
    async with provider() as issuer, console(tmp_path, issuer) as gate:
        browser = gate.browser()
        start = await browser.get("/console/login/start")
        target = await sign_in(start.location, "ann.OIC-Admins")
        assert dict(part.split("=") for part in urlsplit(target).query.split("&")).keys() >= {"code", "state", "iss"}
        assert (await gate.browser().get(target)).status == 403
        cookies = dict(browser.cookies)
        assert (await browser.get(target)).status == 303
        browser.cookies = cookies
        again = await browser.get(target)
        assert "the provider refused the code (400 invalid_grant)" in again.body
        forged = target.replace("iss=", f"{urlencode({'x': 'y'})}&iss=https%3A%2F%2Fevil.example&")
        assert (await browser.get(forged)).status in {403, 502}
