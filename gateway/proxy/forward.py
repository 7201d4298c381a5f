"""The walk of a request. Read `_walk` and `_attempt` first: they are the list of the steps, in their order.

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
    CallerGone,
    Draining,
    GatewayError,
    Internal,
    MethodNotAllowed,
    UpstreamUnreachable,
)
from gateway.oauth.source import TokenSource
from gateway.observe.meters import RouteMeter
from gateway.observe.metrics import UNROUTED, Metrics
from gateway.observe.record import Record
from gateway.oic.instances import trace
from gateway.proxy import attempts
from gateway.proxy.admission import Admission, check_browser
from gateway.proxy.arrival import find, read, take_body
from gateway.proxy.attempts import Replay, Step, Tries, Verdict
from gateway.proxy.connection import Connection, StaleConnection
from gateway.proxy.delivery import CLOSED, date_line
from gateway.proxy.exchange import Exchange
from gateway.proxy.headers import CallerHead, reply_lines, request_head, retry_after
from gateway.proxy.replies import ReplyHead
from gateway.proxy.rewriting import Names
from gateway.proxy.routing import Base, Routing, Way
from gateway.proxy.upstream import Upstream

log = logging.getLogger("gateway.forward")

GENERAL_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")

Pump = asyncio.Task[None]


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


class Forward:
    """Forwards requests by the present table; `draining` refuses new ones, `cutting` says that those under way are cut
    off now. `idle` is set while none is under way.
    """

    def __init__(
        self, table: Table, *, metrics: Metrics, sink: Sink, luck: Callable[[], float] = random.random
    ) -> None:
        self.table = table
        self.draining = False
        self.cutting = False
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
            # A request cut off at the end of a drain may have run: a 503 would invite its caller to run it twice.
            exchange.refuse(Draining() if self.cutting else error, silently=self.cutting)
        except asyncio.CancelledError:
            exchange.refuse(Draining() if self.cutting else CallerGone(), silently=True)
            raise
        except Exception as error:
            log.exception("the walk failed", extra={"event": "defect"})
            exchange.refuse(Internal(reason=type(error).__name__))
        finally:
            self._leave(exchange)
        return exchange.delivery.answer()

    def malformed(self, request: web.BaseRequest, error: GatewayError) -> web.StreamResponse:
        """Answers what could not even be read as a request."""
        exchange = Exchange(request, modern=True)
        exchange.record.method = None
        self._enter()
        exchange.refuse(error)
        self._leave(exchange)
        return CLOSED

    def _enter(self) -> None:
        self.under_way += 1
        self.idle.clear()

    def _leave(self, exchange: Exchange) -> None:
        self._sink(exchange.finish(self._unrouted))
        self.under_way -= 1
        if not self.under_way:
            self.idle.set()

    # The walk -------------------------------------------------------------------------------------------------------

    async def _walk(self, exchange: Exchange) -> None:
        table = self.table
        head = read(exchange, table.admission, draining=self.draining)
        way = self._route(exchange, head, table)
        take_body(exchange, head, keep=way.route.replay_limit, limit=table.body_limit)
        token = await self._token(exchange, way.route)
        tries = Tries(exchange.request.method, way.route.replay, way.route.idempotent)
        verdict = attempts.AT_ONCE
        while verdict.step is not Step.DELIVER:
            if verdict.pause:
                await asyncio.sleep(verdict.pause)
            verdict, token = await self._attempt(exchange, way, table, tries, token)
        await exchange.delivery.drain(way.route.idle_timeout)

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
            verdict, reply = await self._reply(exchange, route, connection, tries)
            if reply is None:
                return verdict, token
            if verdict.step is Step.RENEW:
                verdict, token = await self._renew(exchange, route, tries, token)
            elif reply.status == 401 and tries.renewed:
                route.source.fruitless(token)
            if verdict.step is Step.DELIVER:
                await self._deliver(exchange, way, table, connection, reply)
            else:
                route.meter.replayed(str(reply.status))
        except GatewayError as error:
            raise _cause(pump, error) from None
        else:
            return verdict, token
        finally:
            self._end(route, connection, pump)

    def _route(self, exchange: Exchange, head: CallerHead, table: Table) -> Way[Route]:
        """Step 2: method and raw path to route and target, byte for byte."""
        request, record = exchange.request, exchange.record
        if request.method == "CONNECT":
            exchange.delivery.keep_alive = False  # what follows is meant for the tunnel
            raise MethodNotAllowed(
                "The gateway opens no tunnels: set the caller's http_proxy, and write OIC's URL with http://.",
                allow=GENERAL_METHODS,
            )
        way = find(exchange, head, table.routing, admission=table.admission)
        route = way.route
        exchange.meter = route.meter
        route.meter.begin()
        record.route, record.credential, record.path = route.name, route.credential, way.path
        check_browser(head.noted.get(b"origin"), head.noted.get(b"sec-fetch-site"), route.origins)
        if request.method not in route.methods:
            raise MethodNotAllowed(allow=tuple(sorted(route.methods)))
        return way

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

    def _send(self, exchange: Exchange, way: Way[Route], connection: Connection, token: str) -> Pump | None:
        """Steps 3, 5 and 6: the head with the bearer last, then the body; a task where the body is still coming."""
        route, body, record = way.route, exchange.body, exchange.record
        assert body is not None
        method = exchange.request.method
        head = request_head(
            method, way.target, route.host_line, exchange.head, request_id=record.request_id or "", bearer=token
        )
        connection.begin(to_head=method == "HEAD")
        parts = body.at_once()
        if parts:
            connection.writelines([head, *parts])
        else:
            connection.write(head)
        if parts is not None:
            connection.expect(route.response_timeout)
            return None
        pump = asyncio.create_task(body.pump(connection, idle=route.idle_timeout, response=route.response_timeout))
        pump.add_done_callback(_error_of)
        return pump

    async def _reply(
        self, exchange: Exchange, route: Route, connection: Connection, tries: Tries
    ) -> tuple[Verdict, ReplyHead | None]:
        """Step 7: the reply's head, or None where there is none, and what follows from it."""
        body = exchange.body
        assert body is not None
        try:
            reply = await connection.head()
        except StaleConnection:
            if not attempts.may_follow_stale(tries, body_is_whole=body.is_whole):
                raise
            route.meter.replayed("stale")
            return attempts.AT_ONCE, None
        except GatewayError:
            if (known := connection.known_head) is not None:  # a flow ran, even if its reply is of no use
                exchange.note(known.status, *trace(known.fields))
            raise
        ids = trace(reply.fields)
        exchange.note(reply.status, *ids)
        if reply.status < 400:
            return attempts.DELIVER, reply
        verdict = attempts.after_reply(
            tries,
            reply.status,
            has_instance_id=ids.instance_id is not None,
            body_is_whole=body.is_whole,
            retry_after=retry_after(reply.fields, now=time.time()),
            luck=self._luck(),
        )
        tries.replied = tries.replied or verdict.step is Step.AGAIN
        return verdict, reply

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
        self, exchange: Exchange, way: Way[Route], table: Table, connection: Connection, reply: ReplyHead
    ) -> None:
        """Steps 8, 9 and 11: headers in, names, and the body with back-pressure."""
        record, route, delivery = exchange.record, way.route, exchange.delivery
        record.status = reply.status
        lines = reply_lines(
            reply,
            rename=lambda name, value: _renamed(name, value, exchange.public, way, table.names),
            keep_cookies=route.keep_cookies,
            tls_listener=False,
        )
        if not any(name.lower() == b"date" for name, _ in reply.fields):
            lines.append(date_line(time.time()))
        lines.append(b"X-Request-Id: %b\r\n" % (record.request_id or "").encode())
        delivery.keep_alive = delivery.keep_alive and not self.draining
        whole = connection.complete
        first = await connection.body(route.idle_timeout) if whole else []
        delivery.begin(reply.status, reply.reason, lines, length=reply.length, bodyless=reply.bodyless, body=first)
        if not whole:
            while pieces := await connection.body(route.idle_timeout):
                delivery.send(pieces)
                if not connection.complete:  # the upstream need not wait for a caller that is slow to take the rest
                    await delivery.drain(route.idle_timeout)
        delivery.end()
        record.upstream_ms = (time.monotonic() - exchange.upstream_started) * 1000

    def _end(self, route: Route, connection: Connection, pump: Pump | None) -> None:
        """Step 12: the connection goes back to its pool, or away when either side of the exchange is unfinished."""
        if pump is not None and (not pump.done() or _error_of(pump) is not None):
            pump.cancel()
            connection.abort()
        route.upstream.release(connection)


def _error_of(pump: Pump) -> BaseException | None:
    return None if pump.cancelled() else pump.exception()


def _cause(pump: Pump | None, error: GatewayError) -> BaseException:
    """A caller's body that broke off broke the exchange too, and is what there is to say."""
    return error if pump is None or not pump.done() else _error_of(pump) or error


def _renamed(name: bytes, value: bytes, public: str, way: Way[Route], names: Names) -> bytes:
    """Step 9, for the head: a URL of a reply in the gateway's names."""
    rename = names.rename_link if name == b"link" else names.rename
    route, url = way.route, value.decode("latin-1")
    return rename(url, own=route.base, public=public, named=way.named, home=route.path).encode("latin-1")
