"""Answers the requests of the console at the admin port."""

import asyncio
import logging
import time
from urllib.parse import unquote

from aiohttp import web

from gateway.admin.console_backend import ConsoleBackend
from gateway.config.console_model import ConsoleSettings
from gateway.config.model import Config
from gateway.console.page import Page, PageAnswer, PageDocument, PageHandler, PageRequest, PageStream, Viewer
from gateway.console.pages import PAGES
from gateway.console.rendering import TemplateRenderer
from gateway.console.security_headers import SECURITY_HEADERS
from gateway.console.static_files import static_files
from gateway.content.untrusted_text import is_loopback_host, normalize_host, read_authority
from gateway.observe.log import log_event

_log = logging.getLogger(__name__)

WRITE_TIMEOUT = 30.0  # seconds until a reader of events that does not read is disconnected
_HTML = "text/html; charset=utf-8"
_READ = ("GET", "HEAD")
_NO_LOGIN = (
    "This console has no login, so it serves only the machine that it runs on. Configure `console.sign_in` or "
    "`console.users`."
)


class Console:
    """The console of one gateway."""

    def __init__(self, backend: ConsoleBackend, config: Config) -> None:
        self._backend = backend
        self._renderer = TemplateRenderer()
        self.apply_config(config)

    def apply_config(self, config: Config) -> None:
        """Use another configuration."""
        self._settings = config.console or ConsoleSettings()

    async def answer(self, request: web.BaseRequest, peer: str | None, host: str) -> web.StreamResponse:
        """Answer one request from the address `peer`; the admin port accepts both `peer` and `host`."""
        path = request.rel_url.raw_path
        if path in {"/", "/console"}:
            return _redirect("/console/")
        if request.method not in _READ:
            return self._error(405, "This page accepts GET only.", viewer=None, Allow="GET, HEAD")
        if path.startswith("/console/static/"):
            return self._static(request, path.removeprefix("/console/static/"))
        if not _is_on_this_machine(request, peer, host):
            return self._error(403, _NO_LOGIN, viewer=None)
        return await self._page(request, path, Viewer("local", "admin", ""), f"http://{host}")

    async def _page(self, request: web.BaseRequest, path: str, viewer: Viewer, base_url: str) -> web.StreamResponse:
        segments = _segments(path)
        handler = find_page(segments)
        if handler is None:
            return self._error(404, "The console has no such page.", viewer=viewer)
        is_fragment = request.headers.get("HX-Request") == "true"
        page_request = PageRequest(
            self._backend, viewer, segments, dict(request.rel_url.query), is_fragment, time.time(), base_url
        )
        try:
            answer = await handler(page_request)
            return await self._send(request, answer, viewer, is_fragment=is_fragment)
        except Exception as error:  # noqa: BLE001 - the request boundary
            log_event(_log, logging.ERROR, "console-failed", "the console could not answer", exc=error, path=path)
            return self._error(500, "The gateway could not make this page; its log has the cause.", viewer=viewer)

    async def _send(
        self, request: web.BaseRequest, answer: PageAnswer, viewer: Viewer, *, is_fragment: bool
    ) -> web.StreamResponse:
        if isinstance(answer, PageStream):
            return await _stream(request, answer)
        if isinstance(answer, PageDocument):
            fields = SECURITY_HEADERS | {"Content-Type": answer.content_type}
            if answer.filename is not None:
                fields["Content-Disposition"] = f'attachment; filename="{answer.filename}"'
            return web.Response(status=answer.status, body=answer.body, headers=fields)
        body = self._renderer.render(answer, is_fragment=is_fragment, values={"viewer": viewer})
        return web.Response(status=answer.status, body=body, headers=SECURITY_HEADERS | {"Content-Type": _HTML})

    def _error(self, status: int, detail: str, *, viewer: Viewer | None, **fields: str) -> web.Response:
        page = Page("error.html", {"title": "The console cannot answer", "detail": detail})
        body = self._renderer.render(page, is_fragment=False, values={"viewer": viewer})
        return web.Response(status=status, body=body, headers=SECURITY_HEADERS | {"Content-Type": _HTML} | fields)

    def _static(self, request: web.BaseRequest, name: str) -> web.Response:
        file = static_files().get(name)
        if file is None:
            return self._error(404, "The console has no such file.", viewer=None)
        fields = SECURITY_HEADERS | {"Cache-Control": "no-cache", "ETag": file.etag}
        if request.headers.get("If-None-Match") == file.etag:
            return web.Response(status=304, headers=fields)
        return web.Response(body=file.body, headers=fields | {"Content-Type": file.content_type})


def find_page(segments: tuple[str, ...]) -> PageHandler | None:
    """Return the page of a path: the one with these segments, else the one with `*` for the last one."""
    return PAGES.get(segments) or PAGES.get((*segments[:-1], "*") if segments else ())


def _segments(path: str) -> tuple[str, ...]:
    """Return the decoded segments below `/console/`; a final slash adds none."""
    below = path.removeprefix("/console/").removesuffix("/")
    return tuple(unquote(segment) for segment in below.split("/")) if below else ()


def _is_on_this_machine(request: web.BaseRequest, peer: str | None, host: str) -> bool:
    """Return whether the request comes from this machine, by a name of this machine, and through no proxy."""
    named = read_authority(host)
    is_forwarded = any(name in request.headers for name in ("Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "Via"))
    is_local = peer is None or is_loopback_host(normalize_host(peer))
    return is_local and named is not None and is_loopback_host(named.host) and not is_forwarded


async def _stream(request: web.BaseRequest, stream: PageStream) -> web.StreamResponse:
    """Send events until they end, the reader leaves, or it does not read for `WRITE_TIMEOUT`."""
    response = web.StreamResponse(headers=SECURITY_HEADERS | {"Content-Type": "text/event-stream"})
    await response.prepare(request)
    async for event in stream.events:
        async with asyncio.timeout(WRITE_TIMEOUT):
            await response.write(event)
    await response.write_eof()
    return response


def _redirect(location: str) -> web.Response:
    return web.Response(status=303, headers=SECURITY_HEADERS | {"Location": location})
