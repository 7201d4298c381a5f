"""The admin port's server: five paths, two methods, and nobody's browser.

Built on aiohttp's low-level server, not on an application: there is no routing to be clever about, and every answer,
those to malformed requests included, is made here.
"""

import asyncio
import json
import logging
import socket
import time
from collections.abc import Awaitable, Callable, Sequence
from http import HTTPStatus
from typing import Any, Final

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from gateway.admin.acceptor import Acceptor
from gateway.admin.address import AdminAddress, parse_address
from gateway.admin.backend import AdminBackend
from gateway.history.interface import NoneKept, Unsearchable, document
from gateway.history.query import BadQuery, parse
from gateway.observe.log import log_event
from gateway.observe.metrics import CONTENT_TYPE
from gateway.observe.time_slices import encode_chunks, work_in_turns
from gateway.system.bind import UnixSocket, bind_tcp

MayCall = Callable[[str | None, str], str | None]
"""(peer address or None on a unix socket, Host field) → why not, or None."""

_log = logging.getLogger(__name__)

MOST_CONNECTIONS = 32
BACKLOG = 128

_ALWAYS = {"Server": "oic-gateway", "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
_JSON = json.JSONEncoder(default=str, indent=2)
_FOREIGN_SITES = frozenset(("cross-site", "same-site"))
_LIMITS: Final[dict[str, Any]] = {
    "max_line_size": 4096,
    "max_field_size": 4096,
    "max_headers": 64,
    "keepalive_timeout": 75.0,
    "lingering_time": 0.0,
    "access_log": None,
}


class AdminServer:
    """Serves `desk` to callers that `may_call` lets through. `start`, then `close`, on one running loop."""

    def __init__(self, desk: AdminBackend, *, may_call: MayCall) -> None:
        self._desk = desk
        self._may_call = may_call
        self._poll: asyncio.Task[tuple[bool, dict[str, Any]]] | None = None
        self._server: _AdminWebServer | None = None
        self._unix: UnixSocket | None = None
        self._acceptors: list[Acceptor] = []
        self._answers: dict[str, Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]] = {
            "/livez": self._livez,
            "/readyz": self._readyz,
            "/metrics": self._metrics,
            "/status": self._status,
            "/instances": self._instances,
        }

    async def start(self, address: str) -> str:
        """Listens on `HOST:PORT` (port 0: any) or `unix:/PATH`; the address as bound. OSError when it is taken."""
        where = parse_address(address)
        self._server = _AdminWebServer(self._handle, **_LIMITS)
        if where.path:
            self._unix = UnixSocket(where.path)
            bound = [self._unix.socket.dup()]
        else:
            bound = bind_tcp(where.host, where.port)
        for listener in bound:
            listener.listen(BACKLOG)
            self._acceptors.append(Acceptor(listener, self._server, make_room=self._server.make_room))
        return address if where.path else _bound_address(where, bound)

    async def close(self) -> None:
        """Stops listening and ends every connection within a second."""
        if self._poll is not None:
            self._poll.cancel()
        for acceptor in self._acceptors:
            acceptor.close()
        if self._unix is not None:
            self._unix.close()
        if self._server is not None:
            await self._server.shutdown(timeout=1.0)

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        connection = request.protocol
        assert isinstance(connection, _QuietHandler)
        connection.is_busy = True
        try:
            return await self._answer(request)
        finally:
            connection.is_busy, connection.used = False, time.monotonic()

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        refusal = self._refusal(request)
        if refusal is not None:
            return _problem(403, refusal)
        answer = self._answers.get(request.rel_url.raw_path)
        if answer is None:
            return _problem(404, f"The admin port serves {', '.join(self._answers)} and nothing else.")
        if request.method not in {"GET", "HEAD"}:
            return _problem(405, "The admin port is read-only.", Allow="GET, HEAD")
        try:
            return await answer(request)
        except Exception as error:  # noqa: BLE001 - the request boundary
            log_event(
                _log, logging.ERROR, "admin-failed", "the admin port could not answer", exc=error, path=request.path
            )
            return _problem(500, "The gateway failed to answer; the log says why.")

    def _refusal(self, request: web.BaseRequest) -> str | None:
        """Why this request is not served: a page in a browser, or a caller that is not let through."""
        if "Origin" in request.headers or request.headers.get("Sec-Fetch-Site", "none") in _FOREIGN_SITES:
            return "The admin port does not answer pages in a browser."
        hosts = request.headers.getall("Host", [])
        if len(hosts) > 1:
            return "A request has one Host field."
        return self._may_call(_peer(request), hosts[0] if hosts else "")

    async def _livez(self, _: object) -> web.Response:
        alive, document = await self._desk.liveness()
        return _document(200 if alive else 503, document)

    async def _readyz(self, _: object) -> web.Response:
        """Callers that ask at the same time share one evaluation, and one that leaves cancels it for nobody."""
        if self._poll is None or self._poll.done():
            self._poll = asyncio.ensure_future(self._desk.readiness())
        ready, document = await asyncio.shield(self._poll)
        return _document(200 if ready else 503, document)

    async def _metrics(self, request: web.BaseRequest) -> web.StreamResponse:
        return await _send(request, await self._desk.metrics(), CONTENT_TYPE)

    async def _status(self, request: web.BaseRequest) -> web.StreamResponse:
        chunks = await work_in_turns(encode_chunks(_JSON.iterencode(await self._desk.status())))
        return await _send(request, [*chunks, b"\n"], "application/json")

    async def _instances(self, request: web.BaseRequest) -> web.Response:
        """The last calls that have in common what the query says."""
        try:
            query = parse(request.rel_url.query.items(), now=time.time())
            found = await self._desk.instances(query)
        except BadQuery as error:
            return _problem(400, str(error))
        except NoneKept as error:
            return _problem(404, str(error))
        except Unsearchable as error:
            return _problem(503, str(error))
        return web.Response(body=document(found), headers={**_ALWAYS, "Content-Type": "application/json"})


class _QuietHandler(RequestHandler):
    """aiohttp's protocol, less the pages it makes for malformed requests, which name its version. `used` is when its
    last request ended, `is_busy` says that one is under way.
    """

    def __init__(self, manager: web.Server, **options: Any) -> None:
        super().__init__(manager, **options)
        self.is_busy = False
        self.used = time.monotonic()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """A problem document without any detail of the cause; the connection ends with it."""
        del message  # it quotes the request
        log_event(
            _log, logging.DEBUG, "admin-malformed", "request to the admin port is malformed", cause=type(exc).__name__
        )
        if request.writer.output_size > 0:
            raise ConnectionError("a reply has already begun")
        response = _problem(status, "The request is malformed." if status < 500 else "The gateway failed to answer.")
        response.force_close()
        return response


class _AdminWebServer(web.Server):
    """aiohttp's server with our protocol; unlike its own it does not drop all limits when one is misspelt. It holds at
    most `MOST_CONNECTIONS`: one more takes the place of the one that has not been used for longest.
    """

    def __init__(self, handler: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]], **limits: Any) -> None:
        super().__init__(handler, **limits)
        self._open: set[_QuietHandler] = set()

    def __call__(self) -> RequestHandler:
        return _QuietHandler(self, loop=self._loop, **self._kwargs)

    def connection_made(self, handler: RequestHandler, transport: asyncio.Transport) -> None:
        """aiohttp: one more."""
        super().connection_made(handler, transport)
        if len(self._open) >= MOST_CONNECTIONS:
            self.make_room()
        assert isinstance(handler, _QuietHandler)
        self._open.add(handler)

    def connection_lost(self, handler: RequestHandler, exc: BaseException | None = None) -> None:
        """aiohttp: one less."""
        super().connection_lost(handler, exc)
        assert isinstance(handler, _QuietHandler)
        self._open.discard(handler)

    def make_room(self) -> None:
        """Closes the connection that has not been used for longest; one with a request under way only if all have."""
        if self._open:
            oldest = min(self._open, key=lambda handler: (handler.is_busy, handler.used))
            self._open.discard(oldest)
            if oldest.transport is not None:
                oldest.transport.abort()


def _bound_address(where: AdminAddress, bound: list[socket.socket]) -> str:
    """The address as bound; a name that stands for several keeps its name."""
    host, port = bound[0].getsockname()[:2]
    if len(bound) > 1 and where.host:
        host = where.host
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _peer(request: web.BaseRequest) -> str | None:
    transport = request.transport
    name = transport.get_extra_info("peername") if transport is not None else None
    return name[0] if isinstance(name, tuple) else None


async def _send(request: web.BaseRequest, chunks: Sequence[bytes], content_type: str) -> web.StreamResponse:
    """Sends a large body chunk by chunk: callers have their turn in between."""
    length = sum(map(len, chunks))
    response = web.StreamResponse(headers={**_ALWAYS, "Content-Type": content_type, "Content-Length": str(length)})
    await response.prepare(request)
    if request.method != "HEAD":
        for chunk in chunks:
            await response.write(chunk)
            await asyncio.sleep(0)
    await response.write_eof()
    return response


def _document(status: int, document: dict[str, Any], **headers: str) -> web.Response:
    body = _JSON.encode(document).encode() + b"\n"
    return web.Response(status=status, body=body, headers={**_ALWAYS, "Content-Type": "application/json", **headers})


def _problem(status: int, detail: str, **headers: str) -> web.Response:
    document = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": detail}
    return _document(status, document, **{"Content-Type": "application/problem+json", **headers})
