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

import msgspec

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
from gateway.proxy.arrival import admit, find, greet, take_body
from gateway.proxy.attempts import Replay, Step, Tries, Verdict
from gateway.proxy.body import CallerBody
from gateway.proxy.connection import Connection, StaleConnection
from gateway.proxy.delivery import Delivery, date_line
from gateway.proxy.exchange import Exchange
from gateway.proxy.headers import reply_lines, request_head, retry_after
from gateway.proxy.replies import ReplyHead
from gateway.proxy.requests import RequestHead
from gateway.proxy.rewriting import Names
from gateway.proxy.routing import Base, Routing, Way
from gateway.proxy.server import CallerConnection
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


class Settled(msgspec.Struct):
    """What steps 1 and 2 made of the last head on a connection, while the table is the same."""

    head: RequestHead
    table: Table
    host: bytes | None
    way: Way[Route]


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

    async def serve(self, caller: CallerConnection, head: RequestHead, body: CallerBody) -> bool:
        """Answers one request: the boundary where every error becomes a reply and a record. True when another may
        follow on its connection.
        """
        exchange = Exchange(caller, head, body)
        self._enter()
        try:
            await self._walk(exchange, head)
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
        return exchange.delivery.keep_alive

    def accepts(self, peer: str | None) -> bool:
        """Whether this address may call."""
        return self.table.admission.accepts_address(peer)

    def refuse(self, caller: CallerConnection, error: GatewayError) -> None:
        """Answers what could not even be read as a request."""
        exchange = Exchange(caller, None)
        self._enter()
        exchange.refuse(error)
        self._leave(exchange)

    def _enter(self) -> None:
        if not self.under_way:
            self.idle.clear()
        self.under_way += 1

    def _leave(self, exchange: Exchange) -> None:
        try:
            self._sink(exchange.finish(self._unrouted))
        finally:
            self.under_way -= 1
            if not self.under_way:
                self.idle.set()

    # The walk -------------------------------------------------------------------------------------------------------

    async def _walk(self, exchange: Exchange, head: RequestHead) -> None:
        table = self.table
        greet(exchange, head, draining=self.draining)
        way = self._known(exchange, head, table) or self._route(exchange, head, table)
        route = way.route
        take_body(exchange, head, keep=route.replay_limit, limit=table.body_limit)
        token = route.source.current() or await self._token(exchange, route)
        tries = Tries(head.method, route.replay, route.idempotent)
        verdict = attempts.AT_ONCE
        while verdict.step is not Step.DELIVER:
            if verdict.pause:
                await asyncio.sleep(verdict.pause)
            verdict, token = await self._attempt(exchange, head, way, tries, token)
        if exchange.caller.is_behind:
            await exchange.caller.drain(route.idle_timeout)

    async def _attempt(
        self, exchange: Exchange, head: RequestHead, way: Way[Route], tries: Tries, token: str
    ) -> tuple[Verdict, str]:
        """Steps 3 to 12 once: delivers the reply, or says what the next attempt needs."""
        route, pump = way.route, None
        tries.attempts = exchange.record.attempts = tries.attempts + 1
        exchange.upstream_started = time.monotonic()
        connection = route.upstream.take() if tries.attempts == 1 else None
        if connection is None and (connection := await self._connect(route, tries)) is None:
            return Verdict(Step.AGAIN, attempts.SHORT_PAUSE * self._luck()), token
        try:
            pump = self._send(exchange, head, way, connection, token)
            reply = await connection.head()
            verdict = self._judge(exchange, reply, tries)
            if verdict.step is Step.RENEW:
                verdict, token = await self._renew(exchange, route, tries, token)
            elif reply.status == 401 and tries.renewed:
                route.source.fruitless(token)
            if verdict.step is Step.DELIVER:
                self._begin_reply(exchange, way, connection, reply)
                if not connection.complete:
                    await self._stream(exchange.delivery, connection, route.idle_timeout)
                self._end_reply(exchange)
            else:
                route.meter.replayed(str(reply.status))
        except StaleConnection as error:
            if not attempts.may_follow_stale(tries, body_is_whole=exchange.body.is_whole):
                raise _cause(pump, error) from None
            route.meter.replayed("stale")
            return attempts.AT_ONCE, token
        except GatewayError as error:
            if (known := connection.known_head) is not None:  # a flow ran, even if its reply is of no use
                exchange.note(known.status, trace(known.noted))
            raise _cause(pump, error) from None
        else:
            return verdict, token
        finally:
            self._end(route, connection, pump)

    def _known(self, exchange: Exchange, head: RequestHead, table: Table) -> Way[Route] | None:
        """Steps 1 and 2 for a caller that says on its connection what it said before: they end as they did then."""
        settled = exchange.caller.settled
        if not isinstance(settled, Settled) or settled.head is not head or settled.table is not table:
            return None
        exchange.host, way = settled.host, settled.way
        self._enter_route(exchange, way)
        return way

    def _enter_route(self, exchange: Exchange, way: Way[Route]) -> None:
        record, route = exchange.record, way.route
        exchange.meter = route.meter
        route.meter.begin()
        record.route, record.credential, record.path = route.name, route.credential, way.path

    def _route(self, exchange: Exchange, head: RequestHead, table: Table) -> Way[Route]:
        """Steps 1 and 2: who may call, then method and raw path to route and target, byte for byte."""
        method = head.method
        admit(exchange, head, table.admission)
        if method == "CONNECT":
            exchange.delivery.keep_alive = False  # what follows is meant for the tunnel
            raise MethodNotAllowed(
                "The gateway opens no tunnels: set the caller's http_proxy, and write OIC's URL with http://.",
                allow=GENERAL_METHODS,
            )
        way = find(exchange, head, table.routing, table.admission)
        route = way.route
        self._enter_route(exchange, way)
        check_browser(head.noted.get(b"origin"), head.noted.get(b"sec-fetch-site"), route.origins)
        if method not in route.methods:
            raise MethodNotAllowed(allow=tuple(sorted(route.methods)))
        exchange.caller.settled = Settled(head, table, exchange.host, way)
        return way

    async def _token(self, exchange: Exchange, route: Route) -> str:
        """Step 4 where no token is at hand: no token, no request."""
        began = time.monotonic()
        try:
            return await route.source.get()
        finally:
            exchange.record.token_wait_ms += (time.monotonic() - began) * 1000

    async def _connect(self, route: Route, tries: Tries) -> Connection | None:
        """Step 6 where no kept connection will do: one, or None where none could be made and another try is due.

        A second try gets a new one: what made the first fail may have closed its neighbours too.
        """
        began = time.monotonic()
        try:
            return await route.upstream.acquire(route.connect_timeout, fresh=tries.attempts > 1)
        except UpstreamUnreachable:
            if not attempts.may_dial_again(tries, hasty=time.monotonic() - began < route.connect_timeout / 2):
                raise
            route.meter.replayed("unreachable")
            return None

    def _send(
        self, exchange: Exchange, head: RequestHead, way: Way[Route], connection: Connection, token: str
    ) -> Pump | None:
        """Steps 3, 5 and 6: the head with the bearer last, then the body; a task where the body is still coming."""
        route, body = way.route, exchange.body
        start = request_head(
            head, way.target, route.host_line, request_id=exchange.record.request_id or "", bearer=token
        )
        to_head, parts = head.method == "HEAD", body.at_once()
        if parts is not None:
            connection.begin([start, *parts], to_head=to_head, within=route.response_timeout)
            return None
        connection.begin([start], to_head=to_head)
        pump = asyncio.create_task(body.pump(connection, idle=route.idle_timeout, response=route.response_timeout))
        pump.add_done_callback(_error_of)
        return pump

    def _judge(self, exchange: Exchange, reply: ReplyHead, tries: Tries) -> Verdict:
        """Step 7: what follows from the reply's head."""
        status = reply.status
        ids = instance_id, _ = trace(reply.noted)
        exchange.note(status, ids)
        if status < 400:
            return attempts.DELIVER
        verdict = attempts.after_reply(
            tries,
            status,
            has_instance_id=instance_id is not None,
            body_is_whole=exchange.body.is_whole,
            retry_after=retry_after(reply.noted.get(b"retry-after"), now=time.time()),
            luck=self._luck(),
        )
        tries.replied = tries.replied or verdict.step is Step.AGAIN
        return verdict

    async def _renew(self, exchange: Exchange, route: Route, tries: Tries, token: str) -> tuple[Verdict, str]:
        """Step 7 after a 401: a forced renewal; where none is to be had the 401 is delivered as it is."""
        tries.renewed = True
        began = time.monotonic()
        try:
            fresh = await route.source.renewed(token)
        finally:
            exchange.record.token_wait_ms += (time.monotonic() - began) * 1000
        if fresh is None or not exchange.body.is_whole:  # the upload went on meanwhile, beyond what is kept
            return attempts.DELIVER, token
        return attempts.AT_ONCE, fresh

    def _begin_reply(self, exchange: Exchange, way: Way[Route], connection: Connection, reply: ReplyHead) -> None:
        """Steps 8, 9 and 11: headers in, names, and what of the body has come."""
        record, delivery = exchange.record, exchange.delivery
        record.status = reply.status
        lines = reply_lines(
            reply,
            rename=lambda name, value: _renamed(name, value, exchange.host, way, self.table.names),
            keep_cookies=way.route.keep_cookies,
            tls_listener=False,
        )
        if b"date" not in reply.noted:
            lines.append(date_line(time.time()))
        lines.append(b"X-Request-Id: %b" % (record.request_id or "").encode())
        delivery.keep_alive = delivery.keep_alive and not self.draining
        delivery.begin(
            reply.status,
            reply.reason,
            lines,
            length=reply.length,
            bodyless=reply.bodyless,
            body=connection.arrived(),
            arrived=exchange.body.arrived,
        )

    async def _stream(self, delivery: Delivery, connection: Connection, idle: float) -> None:
        """Step 11: the rest of the body, with back-pressure."""
        while pieces := await connection.body(idle):
            delivery.send(pieces)
            if not connection.complete:  # the upstream need not wait for a caller that is slow to take the rest
                await delivery.drain(idle)

    def _end_reply(self, exchange: Exchange) -> None:
        exchange.delivery.end()
        exchange.record.upstream_ms = (time.monotonic() - exchange.upstream_started) * 1000

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


def _renamed(name: bytes, value: bytes, host: bytes | None, way: Way[Route], names: Names) -> bytes:
    """Step 9, for the head: a URL of a reply in the gateway's names."""
    rename = names.rename_link if name == b"link" else names.rename
    route, url = way.route, value.decode("latin-1")
    public = f"http://{host.decode('ascii')}" if host else ""
    return rename(url, own=route.base, public=public, named=way.named, home=route.path).encode("latin-1")
