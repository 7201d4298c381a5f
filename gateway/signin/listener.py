"""Where a browser on this machine is sent back to after the sign-in: one path of one loopback address, for a while."""

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import urlsplit

from aiohttp import web

from gateway.signin.authorization_response import LONGEST, NotSignedIn, UnrelatedRequest, page
from gateway.system.bind import bind_tcp

ANY = "http://127.0.0.1:0/callback"
"""Where to be sent back to when the credential does not say: any free port (RFC 8252 §7.3)."""

# aiohttp quotes what it cannot read, and that may hold a code: it tells nobody.
_QUIET = logging.getLogger(__name__)
_QUIET.disabled = True
_OPTIONS: Final[dict[str, Any]] = {"max_line_size": LONGEST, "access_log": None, "logger": _QUIET}
_FIELDS = {
    "Server": "oic-gateway",
    "Content-Type": "text/html; charset=utf-8",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",  # the address holds the code
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Connection": "close",
}


class Listener:
    """Listens on a redirect URI. `start`, `expect`, `answer`, `close`, on one running loop."""

    def __init__(self) -> None:
        self._answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._read: Callable[[str], str] = _unasked
        self._path = ""
        self._runner = web.ServerRunner(web.Server(self._handle, **_OPTIONS), shutdown_timeout=1.0)

    async def start(self, redirect_uri: str) -> str:
        """Listens there; gives the redirect URI with its port, port 0: any. OSError where it cannot."""
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
        """From now on `read` judges the query that a browser brings. What it calls no answer (NotAnswer) is told to the
        browser alone: anyone can send one here.
        """
        self._read = read

    async def answer(self, *, within: float) -> str:
        """What was read; raises the NotSignedIn of it, and TimeoutError after so many seconds."""
        async with asyncio.timeout(within):
            return await self._answer

    async def close(self) -> None:
        """Ends every connection, within a second."""
        self._answer.cancel()
        await self._runner.cleanup()

    async def _handle(self, request: web.BaseRequest) -> web.Response:
        if request.rel_url.raw_path != self._path:
            return _page(404, "There is nothing here.")
        if request.method != "GET":
            return _page(405, "A sign-in comes back by GET.", Allow="GET")
        if self._answer.done():
            return _page(409, "The sign-in has come back already; the terminal tells how it went on.")
        try:
            code = self._read(request.rel_url.raw_query_string)
        except UnrelatedRequest as error:
            return _page(400, f"This is not the answer to the sign-in that oic-gateway waits for: {error}.")
        except NotSignedIn as error:
            self._answer.set_exception(error)
            return _page(200, f"Nobody has signed in: {error.seen}. {error.remedy}")
        self._answer.set_result(code)
        return _page(200, "The sign-in has come back to oic-gateway; the terminal tells how it goes on.")


def _unasked(_query: str) -> str:
    raise UnrelatedRequest("nobody has asked for one yet")


def _page(status: int, text: str, **fields: str) -> web.Response:
    return web.Response(status=status, body=page(text), headers=_FIELDS | fields)
