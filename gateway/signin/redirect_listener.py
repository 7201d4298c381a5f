"""The listener for the redirect after a sign-in: one path on a loopback address (RFC 8252 section 7.3)."""

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import urlsplit

from aiohttp import web

from gateway.signin.authorization_response import MAX_LENGTH, NotSignedIn, UnrelatedRequest, html_page
from gateway.system.bind import bind_tcp

DEFAULT_REDIRECT_URI = "http://127.0.0.1:0/callback"
"""The redirect URI of a credential without `redirect_uri`: any free port."""

# aiohttp logs requests that it cannot parse, which may contain a code: its log is disabled.
_QUIET = logging.getLogger(__name__)
_QUIET.disabled = True
_OPTIONS: Final[dict[str, Any]] = {"max_line_size": MAX_LENGTH, "access_log": None, "logger": _QUIET}
_FIELDS = {
    "Server": "oic-gateway",
    "Content-Type": "text/html; charset=utf-8",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",  # the address contains the code
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Connection": "close",
}


class RedirectListener:
    """Listens on a redirect URI. Call `start`, `expect`, `answer`, `close`, on one running loop."""

    def __init__(self) -> None:
        self._answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._read: Callable[[str], str] = _reject_unexpected
        self._path = ""
        self._runner = web.ServerRunner(web.Server(self._handle, **_OPTIONS), shutdown_timeout=1.0)

    async def start(self, redirect_uri: str) -> str:
        """Listen on the redirect URI, and return it with the real port where it names port 0. Raise OSError."""
        parts = urlsplit(redirect_uri)
        self._path = parts.path or "/"
        await self._runner.setup()
        port = 80 if parts.port is None else parts.port
        for sock in bind_tcp(parts.hostname or "", port):  # a browser may try either address of `localhost`
            await web.SockSite(self._runner, sock).start()
        if port:
            return redirect_uri
        return redirect_uri.replace(":0/", f":{self._runner.addresses[0][1]}/", 1)

    def expect(self, read: Callable[[str], str]) -> None:
        """Read the query of a redirect with `read` from now on. Its UnrelatedRequest is shown in the browser only: any
        program can send one.
        """
        self._read = read

    async def answer(self, *, within: float) -> str:
        """Return the code that `read` returned. Raise its NotSignedIn, and TimeoutError after so many seconds."""
        async with asyncio.timeout(within):
            return await self._answer

    async def close(self) -> None:
        """End every connection, within a second."""
        self._answer.cancel()
        await self._runner.cleanup()

    async def _handle(self, request: web.BaseRequest) -> web.Response:
        if request.rel_url.raw_path != self._path:
            return _page(404, "Not found.")
        if request.method != "GET":
            return _page(405, "A sign-in returns with GET.", Allow="GET")
        if self._answer.done():
            return _page(409, "The sign-in has already returned; the terminal shows its result.")
        try:
            code = self._read(request.rel_url.raw_query_string)
        except UnrelatedRequest as error:
            return _page(400, f"This is not the response that oic-gateway waits for: {error}.")
        except NotSignedIn as error:
            self._answer.set_exception(error)
            return _page(200, f"The sign-in failed: {error.seen}. {error.remedy}")
        self._answer.set_result(code)
        return _page(200, "The sign-in has returned to oic-gateway; the terminal shows its result.")


def _reject_unexpected(_query: str) -> str:
    raise UnrelatedRequest("oic-gateway expects no response yet")


def _page(status: int, text: str, **fields: str) -> web.Response:
    return web.Response(status=status, body=html_page(text), headers=_FIELDS | fields)
