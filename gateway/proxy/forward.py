"""The walk of a request. Read `_walk` first: it is the list of the steps, in their order.

This is the one module that knows the proxy, the tokens and OIC together. It decides nothing by itself: each step asks a
pure module (`routing`, `headers`, `admission`, `attempts`, `rewriting`, `oic.instances`) and acts on its answer. One
request makes exactly one record, whatever happens on the way.
"""

import asyncio
import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from aiohttp import web

from gateway.errors import (
    ERRORS,
    BadRequest,
    BodyTooLarge,
    CallerGone,
    Draining,
    Forbidden,
    GatewayError,
    Internal,
    MethodNotAllowed,
    NoRoute,
    Overloaded,
    UpstreamUnreachable,
)
from gateway.oauth.source import TokenSource
from gateway.observe.metrics import UNROUTED, Metrics, RouteMeter
from gateway.observe.record import Record
from gateway.oic.instances import Trace, trace
from gateway.proxy import attempts
from gateway.proxy.admission import Admission, check_browser
from gateway.proxy.attempts import Replay, Step, Tries, Verdict
from gateway.proxy.body import CallerBody
from gateway.proxy.connection import Connection, StaleConnection
from gateway.proxy.delivery import CLOSED, Answered, Delivery, date_line
from gateway.proxy.headers import CallerHead, read_caller, reply_lines, request_head, retry_after, wants_keep_alive
from gateway.proxy.problems import REASONS, problem, soap_version
from gateway.proxy.replies import ReplyHead
from gateway.proxy.rewriting import Names
from gateway.proxy.routing import Base, Routing, Way, split_absolute
from gateway.proxy.server import CallerConnection
from gateway.proxy.upstream import Upstream

log = logging.getLogger("gateway.forward")

BLAMES = {error.code: error.blame for error in ERRORS}
GENERAL_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


@dataclass(frozen=True, slots=True)
class Route:
    """A configured route, compiled: everything a request needs, looked up once at start."""

    name: str
    path: str
    base: Base
    credential: str
    methods: frozenset[str]
    connect_timeout: float
    response_timeout: float
    idle_timeout: float
    replay: Replay
    idempotent: bool
    replay_limit: int
    origins: frozenset[str]
    keep_cookies: bool
    source: TokenSource
    upstream: Upstream
    meter: RouteMeter
    host_line: bytes


@dataclass(frozen=True, slots=True)
class Table:
    """All routes of one configuration; replaced whole when the configuration is read again."""

    routing: Routing[Route]
    names: Names
    admission: Admission
    body_limit: int | None


class Sink(Protocol):
    """Takes each finished record."""

    def __call__(self, record: Record) -> None:
        """Writes the record without blocking."""


class Exchange:
    """What is known of one request on its way; lives as long as the request."""

    __slots__ = ("body", "delivery", "head", "public", "record", "request", "route", "started", "upstream_started")

    def __init__(self, request: web.BaseRequest, *, modern: bool) -> None:
        self.request = request
        self.started = time.monotonic()
        self.upstream_started = 0.0
        self.public = ""
        self.head: CallerHead | None = None
        self.body: CallerBody | None = None
        self.route: Route | None = None
        self.delivery = Delivery(request, modern=modern)
        peer = request.protocol.peer if isinstance(request.protocol, CallerConnection) else None
        self.record = Record(time=time.time(), client=peer, method=request.method)


class Forward:
    """Forwards requests by the present table; `draining` refuses new ones."""

    def __init__(
        self, table: Table, *, metrics: Metrics, sink: Sink, luck: Callable[[], float] = random.random
    ) -> None:
        self.table = table
        self.draining = False
        self.under_way = 0
        self.idle = asyncio.Event()
        self.idle.set()
        self._sink = sink
        self._luck = luck
        self._unrouted = metrics.route(UNROUTED)

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answers one request: the boundary where every error becomes a reply and a record."""
        exchange = Exchange(request, modern=request.version >= (1, 1))
        self._enter()
        try:
            await self._walk(exchange)
        except GatewayError as error:
            self._refuse(exchange, error)
        except asyncio.CancelledError:
            self._refuse(exchange, CallerGone())
            raise
        except Exception as error:
            log.exception("the walk failed", extra={"event": "defect"})
            self._refuse(exchange, Internal(reason=type(error).__name__))
        finally:
            self._leave(exchange)
        return exchange.delivery.answer()

    def malformed(self, request: web.BaseRequest, error: GatewayError) -> Answered:
        """Answers what could not even be read as a request."""
        exchange = Exchange(request, modern=True)
        exchange.record.method = None
        self._enter()
        self._refuse(exchange, error)
        self._leave(exchange)
        return CLOSED

    # The walk -------------------------------------------------------------------------------------------------------

    async def _walk(self, exchange: Exchange) -> None:
        table = self.table
        head = self._read(exchange, table)
        way = self._route(exchange, head, table)
        self._body(exchange, head, table, way.route)
        tries = Tries(exchange.request.method, way.route.replay, way.route.idempotent)
        token = await self._token(exchange, way.route)
        verdict = attempts.AT_ONCE
        while verdict.step is not Step.DELIVER:
            if verdict.pause:
                await asyncio.sleep(verdict.pause)
            verdict, token = await self._attempt(exchange, way, table, tries, token)

    async def _attempt(
        self, exchange: Exchange, way: Way[Route], table: Table, tries: Tries, token: str
    ) -> tuple[Verdict, str]:
        """Steps 3 to 12 once: delivers the reply, or says what the next attempt needs."""
        route, pump = way.route, None
        tries.attempts = exchange.record.attempts = tries.attempts + 1
        connection = await self._connect(exchange, route, tries)
        if connection is None:
            return Verdict(Step.AGAIN, attempts.SHORT_PAUSE * self._luck()), token
        try:
            pump = self._send(exchange, way, connection, token)
            verdict, reply, ids = await self._reply(exchange, route, connection, tries)
            if reply is None:
                return verdict, token
            if verdict.step is Step.RENEW:
                verdict, token = await self._renew(exchange, route, tries, token)
            elif reply.status == 401 and tries.renewed:
                route.source.fruitless(token)
            if verdict.step is Step.DELIVER:
                await self._deliver(exchange, way, table, connection, reply=reply, ids=ids)
            else:
                route.meter.replayed(str(reply.status))
            return verdict, token
        finally:
            self._end(route, connection, pump)

    def _read(self, exchange: Exchange, table: Table) -> CallerHead:
        """Step 1: limits, framing, who may call."""
        request = exchange.request
        connection = request.protocol
        exchange.record.path = request.raw_path.partition("?")[0]
        head = exchange.head = read_caller(request.raw_headers)
        exchange.record.request_id = head.request_id(self._fresh_id)
        exchange.delivery.keep_alive = not self.draining and wants_keep_alive(
            request.version, head.noted.get(b"connection")
        )
        if self.draining:
            raise Draining(retry_after=1)
        if isinstance(connection, CallerConnection) and connection.is_over:
            exchange.delivery.keep_alive = False
            raise Overloaded(reason="limits.connections", retry_after=1)
        if not table.admission.accepts_address(exchange.record.client):
            raise Forbidden("This address may not call; add its network to `allow`.")
        if request.version not in {(1, 0), (1, 1)}:
            raise BadRequest("Only HTTP/1.1 and HTTP/1.0 are understood.")
        return head

    def _route(self, exchange: Exchange, head: CallerHead, table: Table) -> Way[Route]:
        """Step 2: method and raw path to route and target, byte for byte."""
        request, host = exchange.request, head.noted.get(b"host")
        if request.method == "CONNECT":
            raise MethodNotAllowed(allow=GENERAL_METHODS)
        target = request.raw_path
        way = None if target.startswith("/") else table.routing.find_absolute(target)
        if way is None:
            absolute = split_absolute(target)
            if absolute is not None:
                # RFC 9112 §3.2.2: the authority of the target counts, not the Host field.
                host, target = absolute[0].encode("latin-1", "replace"), absolute[1]
                if not table.admission.accepts_host(host.decode("latin-1")):
                    raise NoRoute
            table.admission.check_host(host, required=request.version >= (1, 1))
            exchange.public = f"http://{host.decode('latin-1')}" if host else ""
            way = table.routing.find(target)
        exchange.route = route = way.route
        route.meter.begin()
        exchange.record.route, exchange.record.credential, exchange.record.path = route.name, route.credential, way.path
        check_browser(head.noted.get(b"origin"), head.noted.get(b"sec-fetch-site"), route.origins)
        if request.method not in route.methods:
            raise MethodNotAllowed(allow=tuple(sorted(route.methods)))
        return way

    def _body(self, exchange: Exchange, head: CallerHead, table: Table, route: Route) -> CallerBody:
        """Step 1 again, for the body: its limit, and how much of it is kept."""
        if table.body_limit is not None and (head.length or 0) > table.body_limit:
            raise BodyTooLarge
        content = exchange.request.content
        invited = exchange.request.version < (1, 1) or not head.expects_continue

        def invite() -> None:
            nonlocal invited
            if not invited and not content.total_bytes:
                exchange.delivery.invite()
            invited = True

        exchange.body = CallerBody(
            content,
            has_body=head.has_body,
            chunked=head.chunked,
            keep=route.replay_limit,
            limit=table.body_limit,
            invite=invite,
        )
        return exchange.body

    async def _token(self, exchange: Exchange, route: Route) -> str:
        """Step 4: the token of the route's credential; no token, no request."""
        token = route.source.current()
        if token is not None:
            return token
        began = time.monotonic()
        try:
            return await route.source.get()
        finally:
            exchange.record.token_wait_ms += (time.monotonic() - began) * 1000

    async def _connect(self, exchange: Exchange, route: Route, tries: Tries) -> Connection | None:
        """Step 6: a connection, or None where none could be made and another try is due."""
        began = exchange.upstream_started = time.monotonic()
        connection = route.upstream.take()
        if connection is not None:
            return connection
        try:
            return await route.upstream.acquire(route.connect_timeout)
        except UpstreamUnreachable:
            if not attempts.may_dial_again(tries, hasty=time.monotonic() - began < route.connect_timeout / 2):
                raise
            route.meter.replayed("unreachable")
            return None

    def _send(
        self, exchange: Exchange, way: Way[Route], connection: Connection, token: str
    ) -> asyncio.Task[None] | None:
        """Steps 3, 5 and 6: the head with the bearer last, then the body; a task where the body is still coming."""
        route, body, caller = way.route, exchange.body, exchange.head
        assert body is not None
        assert caller is not None
        method, request_id = exchange.request.method, exchange.record.request_id or ""
        head = request_head(method, way.target, route.host_line, caller, request_id=request_id, bearer=token)
        connection.begin(to_head=method == "HEAD")
        parts = body.at_once()
        if parts is None:
            connection.write(head)
            return asyncio.create_task(body.pump(connection, idle=route.idle_timeout, response=route.response_timeout))
        if parts:
            connection.writelines([head, *parts])
        else:
            connection.write(head)
        connection.expect(route.response_timeout)
        return None

    async def _reply(
        self, exchange: Exchange, route: Route, connection: Connection, tries: Tries
    ) -> tuple[Verdict, ReplyHead | None, Trace]:
        """Step 7: the reply's head, or why there is none, and what follows from it."""
        body, record = exchange.body, exchange.record
        assert body is not None
        try:
            reply = await connection.head()
        except StaleConnection:
            if not attempts.may_follow_stale(tries, body_is_whole=body.is_whole):
                raise
            route.meter.replayed("stale")
            return attempts.AT_ONCE, None, Trace(None, None)
        except GatewayError:
            if body.error is not None:
                raise body.error from None
            raise
        record.upstream_status = reply.status
        ids = trace(reply.fields)
        if reply.status < 400:
            return attempts.DELIVER, reply, ids
        verdict = attempts.after_reply(
            tries,
            reply.status,
            has_instance_id=ids.instance_id is not None,
            body_is_whole=body.is_whole,
            retry_after=retry_after(reply.fields, now=time.time()),
            luck=self._luck(),
        )
        tries.replied = tries.replied or verdict.step is Step.AGAIN
        return verdict, reply, ids

    async def _renew(self, exchange: Exchange, route: Route, tries: Tries, token: str) -> tuple[Verdict, str]:
        """Step 7 after a 401: a forced renewal; where none is to be had the 401 is delivered as it is."""
        tries.renewed = True
        began = time.monotonic()
        try:
            fresh = await route.source.renewed(token)
        finally:
            exchange.record.token_wait_ms += (time.monotonic() - began) * 1000
        return (attempts.DELIVER, token) if fresh is None else (attempts.AT_ONCE, fresh)

    async def _deliver(
        self, exchange: Exchange, way: Way[Route], table: Table, connection: Connection, *, reply: ReplyHead, ids: Trace
    ) -> None:
        """Steps 8 to 11: headers in, names, ids, and the body with back-pressure."""
        record, route, delivery = exchange.record, way.route, exchange.delivery
        record.status, record.instance_id, record.opc_request_id = reply.status, ids.instance_id, ids.opc_request_id
        lines = reply_lines(
            reply,
            rename=lambda name, value: _renamed(name, value, exchange.public, way, table.names),
            keep_cookies=route.keep_cookies,
            tls_listener=False,
        )
        if not any(line[:5].lower() == b"date:" for line in lines):
            lines.append(date_line(record.time))
        lines.append(b"X-Request-Id: %b\r\n" % (record.request_id or "").encode())
        whole = connection.complete
        first = await connection.body(route.idle_timeout) if whole else []
        delivery.begin(reply.status, reply.reason, lines, length=reply.length, bodyless=reply.bodyless, body=first)
        if not whole:
            while pieces := await connection.body(route.idle_timeout):
                await delivery.send(pieces, idle=route.idle_timeout)
        delivery.end()
        record.upstream_ms = (time.monotonic() - exchange.upstream_started) * 1000
        await delivery.drain(route.idle_timeout)

    def _end(self, route: Route, connection: Connection, pump: asyncio.Task[None] | None) -> None:
        """Step 12: the connection goes back to its pool, or away when either side of the exchange is unfinished."""
        if pump is not None and not pump.done():
            pump.cancel()
            connection.abort()
        route.upstream.release(connection)

    # The boundary ---------------------------------------------------------------------------------------------------

    def _enter(self) -> None:
        self.under_way += 1
        self.idle.clear()

    def _leave(self, exchange: Exchange) -> None:
        """The one record of the request."""
        record, delivery = exchange.record, exchange.delivery
        elapsed = time.monotonic() - exchange.started
        record.duration_ms = elapsed * 1000
        record.bytes_out = delivery.sent
        if exchange.body is not None:
            record.bytes_in = exchange.body.taken
        if exchange.upstream_started and record.upstream_ms is None:
            record.upstream_ms = (time.monotonic() - exchange.upstream_started) * 1000
        self._sink(record)
        if exchange.route is None:
            self._unrouted.begin()
        meter = self._unrouted if exchange.route is None else exchange.route.meter
        meter.done(
            record.method or "-",
            record.status or 0,
            BLAMES[record.error] if record.error else None,
            elapsed,
            None if record.upstream_ms is None else record.upstream_ms / 1000,
            record.token_wait_ms / 1000,
            record.bytes_in,
            record.bytes_out,
        )
        self.under_way -= 1
        if not self.under_way:
            self.idle.set()

    def _refuse(self, exchange: Exchange, error: GatewayError) -> None:
        """Answers with an error of ours; after a reply has begun all that is left is to break it visibly."""
        record, delivery = exchange.record, exchange.delivery
        record.error, record.reason = error.code, error.reason or None
        record.request_id = record.request_id or self._fresh_id()
        if delivery.began or isinstance(error, CallerGone):
            record.status = record.status or error.status
            delivery.abort()
            return
        record.status = error.status
        if error.blame == "caller" and error.status in {400, 413, 414, 431}:
            delivery.keep_alive = False
        lines, body = problem(error, request_id=record.request_id, soap=soap_version(exchange.request.headers))
        lines += [date_line(record.time), b"X-Request-Id: %b\r\n" % record.request_id.encode()]
        bodyless = exchange.request.method == "HEAD"
        try:
            delivery.begin(
                error.status,
                REASONS[error.status].encode(),
                lines,
                length=len(body),
                bodyless=bodyless,
                body=[] if bodyless else [body],
            )
        except CallerGone:
            delivery.abort()

    def _fresh_id(self) -> str:
        return f"{random.getrandbits(128):032x}"


def _renamed(name: bytes, value: bytes, public: str, way: Way[Route], names: Names) -> bytes:
    """Step 9, for the head: a URL of a reply in the gateway's names."""
    rename = names.rename_link if name == b"link" else names.rename
    return rename(value.decode("latin-1"), own=way.route.base, public=public, named=way.named).encode("latin-1")
