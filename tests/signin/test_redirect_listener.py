"""The page that a browser is sent back to, on a real socket."""

import asyncio
import logging
from collections.abc import AsyncIterator
from functools import partial

import aiohttp
import pytest

from gateway.signin.authorization_response import NotSignedIn, read_authorization_response
from gateway.signin.redirect_listener import DEFAULT_REDIRECT_URI, RedirectListener
from tests.fakes.waiting import TIME_LIMIT

READ = partial(read_authorization_response, state="st", is_issuer=lambda _said: False)


@pytest.fixture
async def listener() -> AsyncIterator[RedirectListener]:
    redirect_listener = RedirectListener()
    yield redirect_listener
    await redirect_listener.close()


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with asyncio.timeout(TIME_LIMIT), aiohttp.ClientSession() as made:
        yield made


async def test_the_answer_that_a_browser_brings(listener: RedirectListener, session: aiohttp.ClientSession) -> None:
    back = await listener.start(DEFAULT_REDIRECT_URI)
    assert back.startswith("http://127.0.0.1:")
    assert back.endswith("/callback")
    listener.expect(READ)
    waiting = asyncio.create_task(listener.answer(within=20))
    for query, status in (("", 400), ("?code=evil&state=guess", 400), ("?code=good&state=st", 200), ("?code=x", 409)):
        async with session.get(back + query) as reply:
            assert reply.status == status
            assert reply.headers["Referrer-Policy"] == "no-referrer"
            assert reply.headers["Cache-Control"] == "no-store"
            assert reply.headers["Content-Security-Policy"].startswith("default-src 'none'")
            assert reply.headers["Server"] == "oic-gateway"
            text = await reply.text()
        assert "<script" not in text
        assert not {"evil", "good", "guess"} & set(text.replace(".", " ").split())
    assert await waiting == "good"


async def test_before_it_is_asked_and_elsewhere_there_is_nothing(
    listener: RedirectListener, session: aiohttp.ClientSession
) -> None:
    back = await listener.start(DEFAULT_REDIRECT_URI)
    async with session.get(f"{back}?code=c&state=st") as reply:
        assert reply.status == 400
    async with session.get(back.replace("/callback", "/favicon.ico")) as reply:
        assert reply.status == 404
    async with session.post(f"{back}?code=c&state=st") as reply:
        assert (reply.status, reply.headers["Allow"]) == (405, "GET")


async def test_an_error_ends_the_waiting_and_is_escaped(
    listener: RedirectListener, session: aiohttp.ClientSession
) -> None:
    back = await listener.start(DEFAULT_REDIRECT_URI)
    listener.expect(READ)
    waiting = asyncio.create_task(listener.answer(within=20))
    markup = "%3Cscript%3Ealert(1)%3C/script%3E"
    async with session.get(f"{back}?error=access_denied&error_description={markup}&state=st") as reply:
        text = await reply.text()
    assert "<script" not in text
    assert "&lt;script&gt;" in text
    with pytest.raises(NotSignedIn, match="access_denied"):
        await waiting


async def test_the_wait_for_the_browser_is_bounded(listener: RedirectListener) -> None:
    await listener.start(DEFAULT_REDIRECT_URI)
    with pytest.raises(TimeoutError):
        await listener.answer(within=0.01)


async def test_a_request_that_is_not_http_logs_nothing(
    listener: RedirectListener, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    port = int((await listener.start(DEFAULT_REDIRECT_URI)).split(":")[2].split("/")[0])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /callback?code=hunter2 NONSENSE\r\n\r\n")
    assert b"400" in await reader.readline()
    writer.close()
    assert "hunter2" not in caplog.text


async def test_a_port_that_is_taken_is_an_error(listener: RedirectListener) -> None:
    back = await listener.start(DEFAULT_REDIRECT_URI)
    another = RedirectListener()
    with pytest.raises(OSError, match="address already in use"):
        await another.start(back)
    await another.close()
