"""The server of the admin port: GET and HEAD, no browsers; POST for `/reload` by processes of this machine, and for
`/quit` if the configuration allows it.
With a console, browsers may use the paths below `/console`.
"""

import asyncio
import logging
import socket
import time
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from aiohttp.web_request import BaseRequest
from aiohttp.web_response import Response, StreamResponse

from gateway.admin.acceptor import Acceptor
from gateway.admin.address import AdminAddress, parse_address
from gateway.admin.admin_responses import (
    document_response,
    json_response,
    problem_document,
    problem_response,
    send_chunks,
    send_document,
)
from gateway.admin.admin_web_server import AdminConnection, AdminWebServer
from gateway.admin.backend import AdminBackend, ReloadBackend
from gateway.admin.forwarded import is_forwarded
from gateway.content.untrusted_text import format_authority, is_loopback_host
from gateway.history.interface import HistoryDisabled, Unsearchable, result_document
from gateway.history.query import BadQuery, parse_query
from gateway.history.usage_query import parse_usage, usage_document
from gateway.observe.exposition import CONTENT_TYPE, OPENMETRICS_TYPE, accepts_openmetrics
from gateway.observe.log import log_event
from gateway.system.bind import UnixSocket, bind_tcp
from gateway.system.passed_sockets import PassedSockets


class MayCall(Protocol):
    """A function that returns why a peer is rejected, or None."""

    def __call__(self, peer: str | None, host: str, *, accepts_console_host: bool) -> str | None:
        """Judge by the peer address (None on a unix socket) and the Host field, which may be that of `console.url` if
        `accepts_console_host`.
        """


ConsoleHandler = Callable[[BaseRequest, str | None, str], Awaitable[StreamResponse]]
"""Answers a request for the console, with the peer address (None on a unix socket) and the Host field."""

_log = logging.getLogger(__name__)

MAX_CONNECTIONS = 32
MAX_CONSOLE_CONNECTIONS = 256
"""With a console: a browser keeps several connections, and a page with live rows one for as long as it is open."""
BACKLOG = 128

_READ = ("GET", "HEAD")
_CONSOLE_PATHS = frozenset(("/", "/console"))
_FORWARDED = "Only a process of this machine may do this, without a proxy in between."
_OTHER_SITES = frozenset(("cross-site", "same-site"))

_Handler = Callable[[BaseRequest], Awaitable[StreamResponse]]


class AdminServer:
    """Serves `backend` to callers that `may_call` allows. `start`, then `close`, on one running loop. With
    `request_stop`, POST `/quit` calls it; `reloads` answers POST `/reload` and GET `/configuration`. `openmetrics`
    returns the metrics in OpenMetrics, or None where they have no exemplars, so that the Prometheus text is as good.
    """

    def __init__(
        self,
        backend: AdminBackend,
        *,
        may_call: MayCall,
        request_stop: Callable[[], None] | None = None,
        reloads: ReloadBackend | None = None,
        openmetrics: Callable[[], Awaitable[list[bytes] | None]] | None = None,
    ) -> None:
        self._backend = backend
        self._may_call = may_call
        self._request_stop = request_stop
        self._reloads = reloads
        self._openmetrics = openmetrics
        self._poll: asyncio.Task[tuple[bool, dict[str, Any]]] | None = None
        self._server: AdminWebServer | None = None
        self._unix: UnixSocket | None = None
        self._acceptors: list[Acceptor] = []
        self._console: ConsoleHandler | None = None
        self._handlers: dict[str, tuple[tuple[str, ...], _Handler]] = {
            "/livez": (_READ, self._livez),
            "/readyz": (_READ, self._readyz),
            "/metrics": (_READ, self._metrics),
            "/status": (_READ, self._status),
            "/instances": (_READ, self._instances),
            "/usage": (_READ, self._usage),
        }
        if reloads is not None:
            self._handlers["/configuration"] = (_READ, self._configuration)
            self._handlers["/reload"] = (("POST",), self._reload)
        if request_stop is not None:
            self._handlers["/quit"] = (("POST",), self._quit)

    def set_console(self, console: ConsoleHandler | None) -> None:
        """Serve this console below `/console`; None: none."""
        self._console = console
        if self._server is not None:
            self._server.max_connections = self._max_connections()

    def _max_connections(self) -> int:
        return MAX_CONNECTIONS if self._console is None else MAX_CONSOLE_CONNECTIONS

    async def start(self, address: str, passed: PassedSockets | None = None) -> str:
        """Listen on `HOST:PORT` (port 0: any) or `unix:/PATH`, with its sockets among `passed` if there are any. Return
        the address as bound. Raise OSError if it is in use.
        """
        parsed = parse_address(address)
        self._server = AdminWebServer(self._handle, max_connections=self._max_connections())
        if passed is not None and (taken := passed.take(parsed.path or parsed.host, parsed.port)):
            bound = taken
        elif parsed.path:
            self._unix = UnixSocket(parsed.path)
            bound = [self._unix.socket.dup()]
        else:
            bound = bind_tcp(parsed.host, parsed.port)
        for listener in bound:
            listener.listen(BACKLOG)
            self._acceptors.append(Acceptor(listener, self._server, make_room=self._server.make_room))
        return address if parsed.path else _bound_address(parsed, bound)

    async def close(self) -> None:
        """Stop listening and close every connection within a second."""
        if self._poll is not None:
            self._poll.cancel()
        for acceptor in self._acceptors:
            acceptor.close()
        if self._unix is not None:
            self._unix.close()
        if self._server is not None:
            await self._server.shutdown(timeout=1.0)

    async def _handle(self, request: BaseRequest) -> StreamResponse:
        connection = request.protocol
        assert isinstance(connection, AdminConnection)
        connection.is_busy = True
        try:
            return await self._answer(request)
        finally:
            connection.is_busy, connection.used = False, time.monotonic()

    async def _answer(self, request: BaseRequest) -> StreamResponse:
        path = request.rel_url.raw_path
        console = self._console if path in _CONSOLE_PATHS or path.startswith("/console/") else None
        rejection = self._rejection(request, may_be_page=console is not None)
        if rejection is not None:
            return problem_response(403, rejection)
        try:
            if console is not None:
                return await console(request, _peer(request), request.headers.get("Host", ""))
            return await self._answer_endpoint(request, path)
        except Exception as error:  # noqa: BLE001 - the request boundary
            log_event(
                _log, logging.ERROR, "admin-failed", "the admin port could not answer", exc=error, path=request.path
            )
            return problem_response(500, "The gateway failed to answer; see the log.")

    async def _answer_endpoint(self, request: BaseRequest, path: str) -> StreamResponse:
        methods, handler = self._handlers.get(path, ((), None))
        if handler is None:
            return problem_response(404, f"The admin port serves {', '.join(self._handlers)} and nothing else.")
        if request.method not in methods:
            return problem_response(405, f"{path} accepts {' and '.join(methods)} only.", Allow=", ".join(methods))
        return await handler(request)

    def _rejection(self, request: BaseRequest, *, may_be_page: bool) -> str | None:
        """Return why this request is rejected: a web page sent it, or the caller is not allowed. The console itself
        checks requests of pages (`may_be_page`).
        """
        if not may_be_page and self._is_of_page(request):
            return "The admin port rejects requests of web pages."
        hosts = request.headers.getall("Host", [])
        if len(hosts) > 1:
            return "The request has more than one Host field."
        is_direct = not is_forwarded(request.headers, request.version)
        # A proxy for people must lead to the console only: nothing else has a login.
        return self._may_call(_peer(request), hosts[0] if hosts else "", accepts_console_host=may_be_page or is_direct)

    @staticmethod
    def _is_of_page(request: BaseRequest) -> bool:
        return "Origin" in request.headers or request.headers.get("Sec-Fetch-Site", "none") in _OTHER_SITES

    async def _quit(self, request: BaseRequest) -> Response:
        """Begin a stop. A second request changes nothing."""
        assert self._request_stop is not None
        if is_forwarded(request.headers, request.version):
            return problem_response(403, _FORWARDED)
        log_event(_log, logging.INFO, "quit-requested", "a process of this machine requested a stop: POST /quit")
        self._request_stop()
        return document_response(202, {"state": "draining"})

    async def _reload(self, request: BaseRequest) -> Response:
        """Reload the configuration, and answer with the outcome. Machines of `allow` may only read."""
        assert self._reloads is not None
        peer = _peer(request)
        if peer is not None and not is_loopback_host(peer):
            detail = "Only a process of this machine may reload the configuration; use a loopback address."
            return problem_response(403, detail)
        if is_forwarded(request.headers, request.version):
            return problem_response(403, _FORWARDED)
        is_reloaded, document = await self._reloads.reload_by_request()
        if is_reloaded:
            return document_response(200, document)
        return problem_document(409, document)

    async def _livez(self, _: object) -> Response:
        alive, document = await self._backend.liveness()
        return document_response(200 if alive else 503, document)

    async def _readyz(self, _: object) -> Response:
        """Answer. Simultaneous callers share one evaluation, and a caller that leaves does not cancel it."""
        if self._poll is None or self._poll.done():
            self._poll = asyncio.ensure_future(self._backend.readiness())
        ready, document = await asyncio.shield(self._poll)
        return document_response(200 if ready else 503, document)

    async def _metrics(self, request: BaseRequest) -> StreamResponse:
        accept = ",".join(request.headers.getall("Accept", []))
        if self._openmetrics is not None and accepts_openmetrics(accept):
            chunks = await self._openmetrics()
            if chunks is not None:
                return await send_chunks(request, chunks, OPENMETRICS_TYPE)
        return await send_chunks(request, await self._backend.metrics(), CONTENT_TYPE)

    async def _status(self, request: BaseRequest) -> StreamResponse:
        return await send_document(request, await self._backend.status())

    async def _configuration(self, request: BaseRequest) -> StreamResponse:
        assert self._reloads is not None
        return await send_document(request, await self._reloads.configuration_document())

    async def _instances(self, request: BaseRequest) -> Response:
        """Answer with the calls that match the query."""
        try:
            query = parse_query(request.rel_url.query.items(), now=time.time())
            found = await self._backend.instances(query)
        except BadQuery as error:
            return problem_response(400, str(error))
        except HistoryDisabled as error:
            return problem_response(404, str(error))
        except Unsearchable as error:
            return problem_response(503, str(error))
        return json_response(result_document(found))

    async def _usage(self, request: BaseRequest) -> Response:
        """Answer with calls and messages, grouped as the query asks."""
        try:
            report = await self._backend.usage(parse_usage(request.rel_url.query.items(), now=time.time()))
        except BadQuery as error:
            return problem_response(400, str(error))
        except Unsearchable as error:
            return problem_response(503, str(error))
        return json_response(usage_document(report))


def _bound_address(address: AdminAddress, bound: list[socket.socket]) -> str:
    """Return the address as bound; a name with several addresses stays a name."""
    host, port = bound[0].getsockname()[:2]
    if len(bound) > 1 and address.host:
        host = address.host
    return format_authority(host, port)


def _peer(request: BaseRequest) -> str | None:
    transport = request.transport
    name = transport.get_extra_info("peername") if transport is not None else None
    return name[0] if isinstance(name, tuple) else None
