"""Responses of the console, with the fields that protect them."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing

from aiohttp import web

from gateway.console.page import Page, PageDocument, PageStream
from gateway.console.rendering import TemplateRenderer
from gateway.console.security_headers import SECURITY_HEADERS
from gateway.console.static_files import static_files
from gateway.observe.time_slices import run_in_slices

CHECK_INTERVAL = 1.0  # seconds between two checks of the session of a reader of events
HEARTBEAT = 5.0  # seconds
WRITE_TIMEOUT = 30.0  # seconds until a reader of events that does not read is disconnected
_COMMENT = b": waiting\n\n"
_HTML = {"Content-Type": "text/html; charset=utf-8"}

_DEFAULTS: Mapping[str, object] = {"viewer": None, "outcome": None, "can_log_out": False}
"""Values of all templates, without a session."""


class ResponseFactory:
    """Makes the responses of the console."""

    def __init__(self) -> None:
        self._renderer = TemplateRenderer()

    def page(self, page: Page, values: Mapping[str, object], *, is_fragment: bool = False) -> web.Response:
        """Return a page; `values` are those of all templates, and replace the defaults."""
        body = self._renderer.render(page, is_fragment=is_fragment, values={**_DEFAULTS, **values})
        return web.Response(status=page.status, body=body, headers=SECURITY_HEADERS | _HTML)

    async def long_page(self, page: Page, values: Mapping[str, object], *, is_fragment: bool = False) -> web.Response:
        """Return a page whose template is rendered in slices: the loop may serve callers, who must not wait for it."""
        pieces = self._renderer.render_pieces(page, is_fragment=is_fragment, values={**_DEFAULTS, **values})
        body = "".join(await run_in_slices(pieces)).encode()
        return web.Response(status=page.status, body=body, headers=SECURITY_HEADERS | _HTML)

    def error(self, status: int, detail: str, values: Mapping[str, object] | None = None) -> web.Response:
        """Return a page with an error."""
        page = Page("error.html", {"title": "The console cannot answer", "detail": detail}, status)
        return self.page(page, values or {})

    def leave(self, url: str, host: str, *cookies: str) -> web.Response:
        """Return the answer to a form that sends the browser to another site.

        It is a page, not a redirection: Chromium applies `form-action` to redirections after a form, too, also to those
        of the other site.
        """
        response = self.page(Page("leave.html", {"title": "Sign in", "url": url, "host": host}), {})
        response.headers["Refresh"] = f"0; url={url}"
        return without_referrer(with_cookies(response, *cookies))

    @staticmethod
    def document(document: PageDocument) -> web.Response:
        """Return a document."""
        fields = SECURITY_HEADERS | {"Content-Type": document.content_type}
        if document.filename is not None:
            fields["Content-Disposition"] = f'attachment; filename="{document.filename}"'
        return web.Response(status=document.status, body=document.body, headers=fields)

    @staticmethod
    def static(name: str, known_etag: str | None) -> web.Response | None:
        """Return a file for browsers; None if there is none of that name."""
        file = static_files().get(name)
        if file is None:
            return None
        fields = SECURITY_HEADERS | {"Cache-Control": "no-cache", "ETag": file.etag}
        if known_etag == file.etag:
            return web.Response(status=304, headers=fields)
        return web.Response(body=file.body, headers=fields | {"Content-Type": file.content_type})


def redirect(location: str, *, cookies: tuple[str, ...] = ()) -> web.Response:
    """Return 303, which makes a browser get the location, and these `Set-Cookie` fields."""
    response = web.Response(status=303, headers=SECURITY_HEADERS | {"Location": location})
    return with_cookies(response, *cookies)


def with_cookies(response: web.Response, *cookies: str) -> web.Response:
    """Add `Set-Cookie` fields, and return the response."""
    for cookie in cookies:
        response.headers.add("Set-Cookie", cookie)
    return response


def without_referrer(response: web.Response) -> web.Response:
    """Keep the address of a page, which is worth a sign-in, out of all further requests. The page must have no form."""
    response.headers["Referrer-Policy"] = "no-referrer"
    return response


async def send_stream(
    request: web.BaseRequest, stream: PageStream, is_allowed: Callable[[], Awaitable[bool]]
) -> web.StreamResponse:
    """Send events until they end, the reader leaves or does not read for `WRITE_TIMEOUT`, or is no longer allowed to
    read them. A comment every `HEARTBEAT` finds readers that have left.
    """
    response = web.StreamResponse(headers=SECURITY_HEADERS | {"Content-Type": "text/event-stream"})
    await response.prepare(request)
    try:
        async with aclosing(_with_heartbeats(stream)) as events:
            await _write_events(response, events, is_allowed)
        await response.write_eof()
    except (TimeoutError, ConnectionError):
        response.force_close()
    return response


async def _write_events(
    response: web.StreamResponse, events: AsyncIterator[bytes], is_allowed: Callable[[], Awaitable[bool]]
) -> None:
    loop = asyncio.get_running_loop()
    checked_at = loop.time()
    async for event in events:
        if loop.time() - checked_at >= CHECK_INTERVAL:
            if not await is_allowed():
                return
            checked_at = loop.time()
        async with asyncio.timeout(WRITE_TIMEOUT):
            await response.write(event)


async def _with_heartbeats(stream: PageStream) -> AsyncGenerator[bytes, None]:
    """Yield the events of a stream, and a comment whenever none arrives for `HEARTBEAT`."""
    waiting: asyncio.Future[bytes | None] | None = None
    try:
        while True:
            waiting = waiting or asyncio.ensure_future(_next_event(stream))
            await asyncio.wait((waiting,), timeout=HEARTBEAT)
            if not waiting.done():
                yield _COMMENT
                continue
            event, waiting = waiting.result(), None
            if event is None:
                return
            yield event
    finally:
        if waiting is not None:
            waiting.cancel()
            await asyncio.wait((waiting,))
        if (close := getattr(stream.events, "aclose", None)) is not None:
            await close()


async def _next_event(stream: PageStream) -> bytes | None:
    return await anext(stream.events, None)
