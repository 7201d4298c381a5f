"""Server-sent events: they end with the session, with the reader, and with a reader that does not read."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from pathlib import Path

import pytest

from tests.fakes.console_gate import ConsoleGate, RecordingBackend, WebBrowser, serve_console, write_users
from tests.fakes.waiting import TIME_LIMIT, wait_until


class Feed(RecordingBackend):
    """A gateway with live calls that a test sends; `readers` counts those who watch."""

    def __init__(self) -> None:
        super().__init__()
        self.readers = 0
        self.lines: asyncio.Queue[bytes] = asyncio.Queue()

    async def watch_calls(self) -> AsyncGenerator[Sequence[bytes], None]:
        self.readers += 1
        try:
            while True:
                yield [await self.lines.get()]
        finally:
            self.readers -= 1


@pytest.fixture
def feed() -> Feed:
    return Feed()


@pytest.fixture
async def gate(tmp_path: Path, feed: Feed, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ConsoleGate]:
    monkeypatch.setattr("gateway.console.console_responses.HEARTBEAT", 0.01)
    monkeypatch.setattr("gateway.console.console_responses.CHECK_INTERVAL", 0.0)
    users = write_users(tmp_path, ann="viewer")
    async with serve_console(tmp_path, backend=feed, users=str(users)) as gate:
        yield gate


async def open_stream(gate: ConsoleGate, browser: WebBrowser) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    host, _, port = gate.address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    cookies = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())
    head = f"GET /console/calls/live HTTP/1.1\r\nHost: {gate.address}\r\nCookie: {cookies}\r\n"
    writer.write(f"{head}Accept: text/event-stream\r\n\r\n".encode())
    async with asyncio.timeout(TIME_LIMIT):
        assert b" 200 OK" in await reader.readuntil(b"\r\n\r\n")
    return reader, writer


async def has_no_readers(feed: Feed) -> bool:
    await asyncio.sleep(0)
    return feed.readers == 0


async def test_a_reader_that_leaves_is_noticed_without_calls(gate: ConsoleGate, feed: Feed) -> None:
    browser = gate.browser()
    await browser.log_in("ann")
    reader, writer = await open_stream(gate, browser)
    async with asyncio.timeout(TIME_LIMIT):
        await reader.readuntil(b": waiting\n\n")
    assert feed.readers == 1
    writer.close()
    await wait_until(lambda: has_no_readers(feed))


@pytest.mark.parametrize("end", ["logout", "removal", "idle"])
async def test_events_end_with_the_session(gate: ConsoleGate, feed: Feed, end: str) -> None:
    browser = gate.browser()
    await browser.log_in("ann")
    reader, writer = await open_stream(gate, browser)
    if end == "logout":
        await browser.post("/console/logout", {"csrf_token": (await browser.get("/console/")).csrf_token})
    elif end == "removal":
        write_users(gate.folder, bob="viewer")
    else:
        gate.clock.seconds = 1801
    async with asyncio.timeout(TIME_LIMIT):
        await reader.read(-1) if reader.at_eof() else await reader.readuntil(b"0\r\n\r\n")
    writer.close()
    await wait_until(lambda: has_no_readers(feed))


async def test_events_need_a_session(gate: ConsoleGate) -> None:
    response = await gate.browser().get("/console/calls/live", "Accept: text/event-stream")
    assert response.status == 401


async def test_a_page_that_refreshes_itself_keeps_no_session_alive(gate: ConsoleGate) -> None:
    browser = gate.browser()
    await browser.log_in("ann")
    for second in range(600, 1801, 600):
        gate.clock.seconds = second - 1
        assert (await browser.get("/console/", "HX-Request: true")).status == 200
        assert (await browser.get("/console/series?step=1", "Accept: */*")).status == 200
    gate.clock.seconds = 1801
    assert (await browser.get("/console/", "HX-Request: true")).status == 401
