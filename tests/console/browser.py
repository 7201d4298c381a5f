"""The console in a real Chromium: accessible at every width, usable by keyboard and without scripts; run by
`make test-browsers`.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Page, async_playwright, expect

from gateway.admin.console_backend import ActionResult
from gateway.diagnosis.finding import Finding, failed_finding
from tests.console.pages import NAMES, PAGES
from tests.console.recorded_gateway import RecordedGateway
from tests.console.showcase import USER, log_in, serve_showcase, showcase_gateway
from tests.console.sign_in_pages import sign_in_pages
from tests.fakes.waiting import TIME_LIMIT

CHROMIUM = "/usr/bin/chromium"
FIND_SPILLED = """() => [...document.querySelectorAll(".panel, .notice, .button")]
  .filter(one => one.scrollWidth > one.clientWidth + 1 && getComputedStyle(one).overflowX === "visible")
  .map(one => one.textContent.trim().slice(0, 80))"""
"""Parts of a page whose content is wider than they are."""
REPORTS = ("Content Security Policy", "Refused to", "violates")


class Visit:
    """A browser at the console; `reports` are its messages about the security policy, and errors of scripts."""

    def __init__(self, page: Page, url: str, gate: RecordedGateway) -> None:
        self.page = page
        self.url = url
        self.gate = gate
        self.reports: list[str] = []
        page.on("console", lambda message: self._report(message.text))
        page.on("pageerror", lambda error: self.reports.append(str(error)))

    async def open(self, path: str) -> None:
        response = await self.page.goto(self.url + path)
        assert response is not None

    async def problems(self, name: str) -> list[str]:
        """What is wrong with the page that is open, in lines that begin with its name."""
        await self.page.wait_for_selector("html.has-script")
        found = await Axe().run(self.page)
        problems = [
            f"{name}: {rule['id']}: {node['html'][:120]}"
            for rule in found.response["violations"]
            for node in rule["nodes"]
        ]
        overflow = await self.page.evaluate("document.documentElement.scrollWidth - innerWidth")
        if overflow > 0:
            problems.append(f"{name}: {overflow} px wider than the window")
        cut = await self.page.evaluate(FIND_SPILLED)
        return problems + [f"{name}: wider than its panel: {text}" for text in cut]

    def _report(self, text: str) -> None:
        if any(words in text for words in REPORTS):
            self.reports.append(text)


@asynccontextmanager
async def visit(folder: Path, *, is_logged_in: bool = True, **options: Any) -> AsyncIterator[Visit]:
    """Open a browser at a console with fifteen minutes of traffic; `options` are those of its context."""
    gate = showcase_gateway(time.time())
    gate.feed = asyncio.Queue()
    async with serve_showcase(gate, folder) as url, async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        context = await browser.new_context(locale="en-GB", timezone_id="Asia/Kolkata", **options)
        context.set_default_timeout(TIME_LIMIT * 1000)
        visitor = Visit(await context.new_page(), url, gate)
        if is_logged_in:
            await log_in(visitor.page, url)
        yield visitor
        await browser.close()


@pytest.mark.parametrize("width", [320, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_every_page_is_accessible(tmp_path: Path, scheme: str, width: int) -> None:
    async with visit(tmp_path, color_scheme=scheme, viewport={"width": width, "height": 800}) as visitor:
        problems: list[str] = []
        for name in NAMES:
            await visitor.open(PAGES[name])
            problems += await visitor.problems(name)
        assert problems == []
        assert visitor.reports == []


@pytest.mark.parametrize("width", [320, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_the_login_page_is_accessible(tmp_path: Path, scheme: str, width: int) -> None:
    options = {"color_scheme": scheme, "viewport": {"width": width, "height": 800}}
    async with visit(tmp_path, is_logged_in=False, **options) as visitor:
        await visitor.open("")
        await visitor.page.get_by_label("Name").fill(USER)
        await visitor.page.get_by_label("Password").fill("a wrong password")
        await visitor.page.keyboard.press("Enter")
        await visitor.page.get_by_role("alert").wait_for()
        assert await visitor.problems("login") == []
        assert visitor.reports == []


@pytest.mark.parametrize("width", [320, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_every_page_of_a_sign_in_is_accessible(tmp_path: Path, scheme: str, width: int) -> None:
    async with visit(tmp_path, color_scheme=scheme, viewport={"width": width, "height": 800}) as visitor:
        visitor.gate.result = ActionResult(
            ok=True, message="one person can sign in for finance-clerk with this link, once, within 30 minutes"
        )
        problems = []
        async for name in sign_in_pages(visitor.page, visitor.url):
            problems += await visitor.problems(name)
        assert problems == []
        assert visitor.reports == []


@pytest.mark.parametrize("has_scripts", [True, False])
async def test_actions_show_what_they_did(tmp_path: Path, has_scripts: bool) -> None:  # noqa: FBT001
    async with visit(tmp_path, java_script_enabled=has_scripts) as visitor:
        visitor.gate.result = ActionResult(ok=True, message="a new token was obtained")
        visitor.gate.findings = [
            Finding(ok=True, subject="route orders", seen="200 with an instance id", step="request"),
            failed_finding("role-missing", "route orders", "401 with a good token"),
        ]
        page = visitor.page
        await visitor.open("credentials/orders-app")
        await page.get_by_role("button", name="Renew token").click()
        await expect(page.locator(".outcome")).to_contain_text("a new token was obtained")
        assert page.url.endswith("/console/credentials/orders-app")
        await visitor.open("")
        await page.get_by_role("button", name="Close circuit of gone").first.click()
        await expect(page.locator(".outcome")).to_contain_text("a new token was obtained")
        await visitor.open("routes/orders")
        await page.get_by_role("button", name="Check now").click()
        await expect(page.locator(".outcome")).to_contain_text("Failed route orders")
        await expect(page.locator(".outcome .do")).to_contain_text("What to do")
        if has_scripts:  # the rest of the page is whole again
            await expect(page.locator("figure canvas")).to_have_count(4)
            await expect(page.locator("time[data-local]").first).to_be_attached()
        found = await Axe().run(page) if has_scripts else None
        assert found is None or [rule["id"] for rule in found.response["violations"]] == []
        await page.get_by_role("link", name="Audit").click()
        await expect(page.locator("tbody tr")).to_have_count(4)
        await expect(page.locator("tbody tr").first).to_contain_text("check-route")
        await page.get_by_role("button", name="Log out").click()
        await expect(page.get_by_role("heading", name="Log in")).to_be_visible()
        assert visitor.reports == []


async def test_every_page_can_be_used_by_keyboard(tmp_path: Path) -> None:
    async with visit(tmp_path, viewport={"width": 1280, "height": 800}) as visitor:
        for name in NAMES:
            await visitor.open(PAGES[name])
            await visitor.page.wait_for_selector("html.has-script")
            expected = await visitor.page.evaluate(MARK_CONTROLS)
            await visitor.page.keyboard.press("Tab")
            assert await visitor.page.evaluate("document.activeElement.textContent") == "Skip to content"
            reached = [one async for one in walk(visitor.page)]
            # A part that scrolls gets the focus too, and is no control.
            assert [one["control"] for one in reached if one["control"]] == [str(at + 1) for at in range(expected)], (
                name
            )
            assert all(one["outline"] != "none" for one in reached), name


MARK_CONTROLS = """() => {
  const kinds = "a[href], button, input:not([type=hidden]), select, summary, [tabindex='0']";
  const visible = [...document.querySelectorAll(kinds)].filter(one => one.checkVisibility());
  visible.forEach((one, at) => one.dataset.control = at + 1);
  return visible.length;
}"""
DESCRIBE_FOCUS = """() => {
  const one = document.activeElement;
  if (one === document.body) return null;
  return {control: one.dataset.control ?? null, outline: getComputedStyle(one).outlineStyle};
}"""


async def walk(page: Page) -> AsyncIterator[dict[str, str]]:
    """Press Tab until the focus leaves the page or is at its first control again; yield the elements that had it."""
    for pressed in range(500):
        one = await page.evaluate(DESCRIBE_FOCUS)
        if one is None or (pressed and one["control"] == "1"):
            return
        yield one
        await page.keyboard.press("Tab")


async def test_every_page_works_without_scripts(tmp_path: Path) -> None:
    async with visit(tmp_path, java_script_enabled=False) as visitor:
        await visitor.open("")
        await visitor.page.get_by_role("link", name="Routes", exact=True).click()
        await visitor.page.get_by_role("link", name="orders", exact=True).click()
        await expect(visitor.page.get_by_role("heading", level=1)).to_contain_text("orders")
        # The table of the charts is open, times are UTC, and nothing is there that needs a script.
        await expect(visitor.page.get_by_role("columnheader", name="p95")).to_be_visible()
        assert "UTC" in (await visitor.page.locator("time").first.inner_text())
        assert await visitor.page.locator("figure:visible, [data-copy]:visible").count() == 0
        await visitor.page.get_by_role("link", name="24 hours").click()
        assert visitor.page.url.endswith("/routes/orders?range=24h")
        await visitor.page.get_by_role("link", name="Calls", exact=True).first.click()
        await visitor.page.get_by_role("textbox", name="Status").fill("404")
        await visitor.page.get_by_role("button", name="Search").click()
        await expect(visitor.page.locator("#rows tbody tr")).to_have_count(1)
        await visitor.page.locator("#rows tbody a").first.click()
        await expect(visitor.page.get_by_text("No route is configured for this path.")).to_be_visible()
        assert visitor.reports == []


async def test_times_are_those_of_the_viewer(tmp_path: Path) -> None:
    async with visit(tmp_path) as visitor:
        await visitor.open("calls")
        element = visitor.page.locator("#rows time").first
        await expect(element).to_have_attribute("data-local", "")
        shown, instant = await element.inner_text(), await element.get_attribute("datetime")
        assert instant is not None
        expected = await visitor.page.evaluate(
            "text => new Date(text).toLocaleTimeString('en-GB', {timeZone: 'Asia/Kolkata'})", instant
        )
        assert shown.endswith(expected)
        assert (await element.get_attribute("title") or "").endswith(" UTC")


async def test_new_calls_appear_by_themselves_until_paused(tmp_path: Path) -> None:
    async with visit(tmp_path) as visitor:
        await visitor.open("calls")
        page, rows = visitor.page, visitor.page.locator("#rows tbody tr")
        await expect(page.locator("[data-live-text]")).to_have_text("live")
        before = await rows.count()
        assert visitor.gate.feed is not None
        visitor.gate.feed.put_nowait([new_call(visitor.gate, "/first")])
        await expect(rows.first).to_contain_text("/first")
        await page.get_by_role("button", name="Pause").click()
        visitor.gate.feed.put_nowait([new_call(visitor.gate, "/second"), b'{"event":"lost","lines":7}\n'])
        await expect(page.locator("[data-live-text]")).to_have_text("paused, 1 new, 7 left out")
        await expect(rows).to_have_count(before + 1)
        await page.get_by_role("button", name="Pause").click()
        await expect(rows.first).to_contain_text("/second")
        await expect(rows).to_have_count(before + 2)
        assert visitor.reports == []


async def test_the_first_call_replaces_the_empty_state(tmp_path: Path) -> None:
    async with visit(tmp_path) as visitor:
        calls, visitor.gate.calls = visitor.gate.calls, ()
        await visitor.open("calls")
        await expect(visitor.page.get_by_text("No calls yet")).to_be_visible()
        await expect(visitor.page.locator("[data-live-text]")).to_have_text("live")
        assert visitor.gate.feed is not None
        visitor.gate.feed.put_nowait([calls[0]])
        await expect(visitor.page.locator("#rows tbody tr")).to_have_count(1)
        await expect(visitor.page.get_by_text("No calls yet")).to_have_count(0)


def new_call(gate: RecordedGateway, path: str) -> bytes:
    record = json.loads(gate.calls[-1])
    return json.dumps(record | {"path": path, "request_id": path[1:]}, separators=(",", ":")).encode() + b"\n"


async def test_charts_are_drawn_and_follow_the_pointer(tmp_path: Path) -> None:
    async with visit(tmp_path, viewport={"width": 1280, "height": 900}) as visitor:
        await visitor.open("routes/orders")
        charts = visitor.page.locator("figure[data-chart]")
        await expect(charts.locator("canvas")).to_have_count(4)
        first = charts.first
        await first.locator(".u-over").hover()
        await expect(first.locator("[data-reading]")).to_contain_text("/s")
        assert visitor.reports == []


async def test_a_page_without_input_stops_to_refresh(tmp_path: Path) -> None:
    async with visit(tmp_path) as visitor:
        page = visitor.page
        await page.clock.install()
        await visitor.open("")
        requests: list[str] = []
        page.on("request", lambda request: requests.append(request.url))
        await page.clock.run_for(10_000)
        assert requests != []
        await page.clock.run_for(15 * 60_000)
        await expect(page.locator("#announcement")).to_contain_text("Paused after 15 minutes")
        requests.clear()
        await page.clock.run_for(10 * 60_000)
        assert requests == []
        await page.mouse.move(40, 40)
        await expect(page.locator("#announcement")).to_have_text("")
        await page.clock.run_for(10_000)
        assert requests != []


async def test_the_overview_refreshes_without_a_reload(tmp_path: Path) -> None:
    async with visit(tmp_path) as visitor:
        await visitor.open("")
        await visitor.page.evaluate("window.isSamePage = true")
        visitor.gate.status_document["requests_under_way"] = 4321
        await visitor.page.evaluate("document.body.dispatchEvent(new Event('refresh'))")
        await expect(visitor.page.get_by_text("4\u202f321")).to_be_visible()
        assert await visitor.page.evaluate("window.isSamePage")
        assert visitor.reports == []
