"""The pages of a sign-in for a credential, as the browser of a person reaches them: one after the other."""

import asyncio
from collections.abc import AsyncIterator
from urllib.parse import parse_qs, urlencode, urlsplit

from playwright.async_api import Page, Route, expect

from tests.console.pages import PAGES
from tests.console.showcase import IDENTITY_DOMAIN
from tests.fakes.waiting import TIME_LIMIT


class IdentityDomain:
    """Sends the browser back to the console with `parameters`, once; until it has some, the browser stays."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.parameters: dict[str, str] = {}
        self.was_asked = asyncio.Event()

    async def answer(self, route: Route) -> None:
        if not self.parameters:
            await route.fulfill(status=204)
            self.was_asked.set()
            return
        [state] = parse_qs(urlsplit(route.request.url).query)["state"]
        query, self.parameters = urlencode({**self.parameters, "state": state}), {}
        body = f'<meta http-equiv="refresh" content="0; url={self.url}sign-in/callback?{query}">'
        await route.fulfill(body=body, content_type="text/html")


async def sign_in_pages(page: Page, url: str) -> AsyncIterator[str]:
    """Invite a person, be that person, and sign in as an admin; yield a name for each page, while it is open. `url` is
    that of the console, in which the browser is logged in.
    """
    domain = IdentityDomain(url)
    heading, sign_in = page.get_by_role("heading", level=1), page.get_by_role("button", name="Sign in", exact=True)
    await page.route(f"https://{IDENTITY_DOMAIN}/**", domain.answer)
    await page.goto(url + PAGES["credential-sign-in"])
    await page.get_by_role("button", name="Invite").click()
    await expect(page.get_by_text("It is not shown again.")).to_be_visible()
    yield "invite-outcome"
    link = await page.locator(".outcome code").inner_text()
    for result, parameters in {"Signed in": {"code": "c0de"}, "Not signed in": {"error": "access_denied"}}.items():
        await page.goto(url + link.partition("/console/")[2])
        await expect(heading).to_have_text("Sign in for finance-clerk")
        yield "invite"
        await sign_in.press("Enter")
        await expect(heading).to_have_text("Continue to sign in")
        async with asyncio.timeout(TIME_LIMIT):
            await domain.was_asked.wait()  # by the browser itself, not by the link
        domain.was_asked.clear()
        yield "leave"
        domain.parameters = parameters
        await page.get_by_role("link", name="Sign in").click()
        await expect(heading).to_have_text(result)
        yield f"sign-in-result: {result}"
        await page.goto(url + PAGES["credential-sign-in"])
        domain.parameters = parameters
        await sign_in.click()
        await expect(page.locator(".outcome")).to_be_visible()
        yield f"sign-in-outcome: {result}"
    await page.goto(url + "invite/used")
    await expect(heading).to_have_text("This invite cannot be used")
    yield "invite-ended"
    await page.goto(url + "sign-in/callback?code=c0de&state=unknown")
    await expect(heading).to_have_text("The console cannot answer")
    yield "sign-in-unknown"
