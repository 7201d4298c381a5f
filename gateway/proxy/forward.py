"""The walk of a request. Read `_walk` and `_attempt` first: they are the list of the steps, in their order.

This is the one module that knows the proxy, the tokens and OIC together, with the `table` that it looks up. It
decides nothing by itself: each step asks a pure module (`routing`, `headers`, `admission`, `attempts`, `following`,
`oic.instances`) and acts on its answer; the way back is `returning`'s. One request makes exactly one record, whatever
happens on the way.
"""

import asyncio
import logging
import random
import time
from collections.abc import Callable
from functools import partial
from typing import Protocol

import msgspec

from gateway.errors import (
    BadRequest,
    CallerGone,
    Draining,
    GatewayError,
    Internal,
    LoopDetected,
    MethodNotAllowed,
    UpstreamBroken,
    UpstreamUnreachable,
)
from gateway.observe.log import say
from gateway.observe.metrics import UNROUTED, Metrics
from gateway.observe.record import Record
from gateway.oic.codings import peek
from gateway.oic.instances import BODY_PART, INSTANCE_ID, media, salvage_trace, trace
from gateway.oic.trail import Trail
from gateway.proxy import attempts
from gateway.proxy.admission import check_browser
from gateway.proxy.arrival import admit, check_methods, find, greet, take_body
from gateway.proxy.attempts import Step, Tries, Verdict
from gateway.proxy.body import NO_BODY, CallerBody
from gateway.proxy.connection import Connection, StaleConnection
from gateway.proxy.errand import Errand, edit, redirect
from gateway.proxy.exchange import Exchange
from gateway.proxy.fields import without
from gateway.proxy.headers import EDITED, PSEUDONYM, has_passed, max_forwards, request_head, retry_after
from gateway.proxy.problems import soap_expected, soap_of
from gateway.proxy.replies import ReplyHead, plain_status
from gateway.proxy.requests import RequestHead
from gateway.proxy.returning import Return
from gateway.proxy.routing import Way
from gateway.proxy.screening import SOAP_TRIGGERS, is_screened, screen
from gateway.proxy.server import CallerConnection
from gateway.proxy.table import GENERAL_METHODS, Route, Settled, Table
from gateway.proxy.upstream import Upstream

log = logging.getLogger("gateway.forward")

Pump = asyncio.Task[None]

# For one hop alone: a caller would take 407 for the gateway's own (RFC 9110 §15.5.8); 426 needs its Upgrade field
# (§15.5.22), which does not pass.
NEVER_DELIVERED = frozenset({407, 426})


class Sink(Protocol):
    """Takes each finished record."""

    def __call__(self, record: Record) -> None:
        """Writes the record without blocking."""


class Forward:
    """Forwards requests by the present table; `closing` ends each connection with its reply, `draining` refuses new
    requests, `cutting` says that those under way are cut
    off now. `idle` is set while none is under way.
    """

    def __init__(
        self,
        table: Table,
        *,
        metrics: Metrics,
        sink: Sink,
        begun: Callable[[Record], None] | None = None,
        luck: Callable[[], float] = random.random,
        pseudonym: str = PSEUDONYM,
    ) -> None:
        """`begun` is told of each call that may change something, before it is sent. `pseudonym`: the name of this
        running gateway in `Via`, by which a loop is known.
        """
        self.table = table
        self.closing = False
        self.draining = False
        self.cutting = False
        self.under_way = 0
        self.idle = asyncio.Event()
        self.idle.set()
        self._sink = sink
        self._begun = begun
        self._luck = luck
        self._pseudonym = pseudonym
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
            exchange.delivery.keep_alive = exchange.delivery.keep_alive and not self.closing
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

    def refuse(self, caller: CallerConnection, error: GatewayError, said: bytes) -> None:
        """Answers what could not even be read as a request; `said` is the beginning of it."""
        exchange = Exchange(caller, None)
        exchange.soap = soap_of(said)
        self._enter()
        exchange.refuse(error)
        self._leave(exchange)

    def note_trailing(self, caller: CallerConnection, count: int) -> None:
        """Logs bytes that came behind a request too late for its record."""
        told = "bytes behind the body of a request are no request; the connection ends without an answer"
        say(log, logging.INFO, "trailing-bytes", told, client=caller.peer, bytes=count)

    def _enter(self) -> None:
        if not self.under_way:
            self.idle.clear()
        self.under_way += 1

    def _leave(self, exchange: Exchange) -> None:
        try:
            exchange.run_explanation()
            self._sink(exchange.finish(self._unrouted))
        finally:
            self.under_way -= 1
            if not self.under_way:
                self.idle.set()

    # The walk -------------------------------------------------------------------------------------------------------

    async def _walk(self, exchange: Exchange, head: RequestHead) -> None:
        table = self.table
        greet(exchange, head, draining=self.draining)
        if self.closing:
            exchange.delivery.keep_alive = False
        way = self._known(exchange, head, table) or self._route(exchange, head, table)
        if way is None:
            return
        route = way.route
        take_body(exchange, head, keep=route.replay_limit, limit=table.body_limit, rate=table.body_rate)
        if exchange.body is not NO_BODY and is_screened(head, way.target):
            await screen(exchange, head, way.target, route.idle_timeout)
        token = route.source.current() or await self._token(exchange, route)
        if not exchange.body.arrived:
            await exchange.body.collect(idle=route.idle_timeout)
            token = route.source.current() or await self._token(exchange, route)
        tries = Tries(way.method or head.method, route.replay, route.idempotent)
        errand = Errand(exchange, head, table, way, tries, token, route.place, way.target, head.lines)
        if route.edits is not None or exchange.body.removed or not EDITED.isdisjoint(head.noted):
            edit(errand)
        if self._begun is not None and tries.method not in attempts.SAFE_METHODS:
            self._begun(exchange.record)
        verdict = attempts.AT_ONCE
        while verdict.step is not Step.DELIVER:
            if verdict.pause:
                await asyncio.sleep(verdict.pause)
            try:
                verdict = await self._attempt(errand)
            except GatewayError as error:
                if error.blame == "upstream":
                    exchange.explain = partial(route.trouble.failed, error.code, error.reason, at=time.time())
                raise
        if exchange.caller.is_behind:
            await exchange.caller.drain(route.idle_timeout)

    async def _attempt(self, errand: Errand) -> Verdict:
        """Steps 3 to 12 once: delivers the reply, or says what the next attempt needs."""
        exchange, tries, route = errand.exchange, errand.tries, errand.way.route
        pump = back = None
        upstream = errand.place.upstream
        tries.attempts = exchange.record.attempts = tries.attempts + 1
        exchange.upstream_started = time.monotonic()
        exchange.trail = None
        connection = None if errand.anew else upstream.take(errand.place.share)
        if connection is None and (connection := await self._connect(errand)) is None:
            return Verdict(Step.AGAIN, attempts.SHORT_PAUSE * self._luck())
        errand.anew = True
        try:
            pump = self._send(errand, connection)
            reply = await connection.head()
            back = Return(errand, connection, reply)
            if not self._look(back):
                await self._seek(back)
            verdict = self._judge(errand, reply)
            if verdict.step is Step.RENEW:
                verdict = await self._renew(errand)
            if verdict.step is Step.DELIVER:
                self._settle(back)
                await back.deliver()
                exchange.record.upstream_ms = (time.monotonic() - exchange.upstream_started) * 1000
            else:
                route.meter.replayed(str(reply.status))
        except StaleConnection as error:
            if not attempts.may_follow_stale(tries, body_is_whole=exchange.body.is_whole):
                raise _cause(pump, error) from None
            route.meter.replayed("stale")
            return attempts.AT_ONCE
        except GatewayError as error:
            if back is None:
                _note_useless(exchange, connection)
            raise _cause(pump, error) from None
        else:
            return verdict
        finally:
            _end(upstream, connection, pump)

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
        if exchange.body is not NO_BODY and SOAP_TRIGGERS in way.target:
            exchange.soap = soap_expected(exchange.head)

    def _route(self, exchange: Exchange, head: RequestHead, table: Table) -> Way[Route] | None:
        """Steps 1 and 2: who may call, then method and raw path to route and target, byte for byte. None where the
        gateway itself is asked, and has answered.
        """
        method = head.method
        admit(exchange, head, table.admission)
        if (via := head.noted.get(b"via")) is not None and has_passed(via, self._pseudonym):
            raise LoopDetected
        if method == "CONNECT":
            exchange.delivery.keep_alive = False  # what follows is meant for the tunnel
            raise MethodNotAllowed(
                "The gateway opens no tunnels: set the caller's http_proxy, and write OIC's URL with http://.",
                allow=GENERAL_METHODS,
            )
        way = find(exchange, head, table.routing, table.admission, table.own)
        if way is None:
            exchange.answer_options(GENERAL_METHODS)
            return None
        route = way.route
        self._enter_route(exchange, way)
        check_browser(head.noted.get(b"origin"), head.noted.get(b"sec-fetch-site"), route.origins)
        edits = route.edits
        removed, added = ((), ()) if edits is None else (edits.dropped, edits.methods)
        if (effective := check_methods(head, route.methods, removed=removed, added=added)) != method:
            way = msgspec.structs.replace(way, method=effective)
        if method == "OPTIONS" and _ends_here(head):
            exchange.answer_options(sorted(route.methods))
            return None
        exchange.caller.settled = Settled(head, table, exchange.host, way)
        return way

    async def _token(self, exchange: Exchange, route: Route) -> str:
        """Step 4 where no token is at hand: no token, no request."""
        began = time.monotonic()
        try:
            return await route.source.wait(route.name)
        finally:
            exchange.record.token_wait_ms += (time.monotonic() - began) * 1000

    async def _connect(self, errand: Errand) -> Connection | None:
        """Step 6 where no kept connection will do: one, or None where none could be made and another try is due."""
        route, tries, began = errand.way.route, errand.tries, time.monotonic()
        try:
            place = errand.place
            return await place.upstream.acquire(route.connect_timeout, fresh=errand.anew, share=place.share)
        except UpstreamUnreachable:
            if not attempts.may_dial_again(tries, hasty=time.monotonic() - began < route.connect_timeout / 2):
                raise
            route.meter.replayed("unreachable")
            return None

    def _send(self, errand: Errand, connection: Connection) -> Pump | None:
        """Steps 3, 5 and 6: the head with the bearer last, then the body; a task where the body is still coming."""
        exchange, head, route = errand.exchange, errand.head, errand.way.route
        body = exchange.body
        start = request_head(
            head,
            errand.target,
            errand.place.host_line,
            lines=errand.lines,
            request_id=exchange.record.request_id or "",
            bearer=errand.token,
            removed=body.removed,
            pseudonym=self._pseudonym,
        )
        to_head, parts = head.method == "HEAD", body.at_once()
        if parts is not None:
            connection.begin([start, *parts], to_head=to_head, within=route.response_timeout)
            return None
        connection.begin([start], to_head=to_head)
        pump = asyncio.create_task(body.pump(connection, idle=route.idle_timeout, response=route.response_timeout))
        pump.add_done_callback(_error_of)
        return pump

    def _look(self, back: Return) -> bool:
        """Step 10: the ids that the reply's head says; whether that settles them."""
        exchange, reply = back.errand.exchange, back.reply
        ids = instance_id, _ = trace(reply.noted)
        exchange.note(reply.status, ids)
        return instance_id is not None and back.errand.way.route.ids.leads

    async def _seek(self, back: Return) -> None:
        """Step 10 where OIC's own field does not settle it: the id by the route's rules. Only the head waits for the
        first bytes of a body, which would follow it at once.
        """
        exchange, route, reply = back.errand.exchange, back.errand.way.route, back.reply
        ids, noted, passed = route.ids, reply.noted, reply.passed
        kind = None if reply.bodyless else media(noted.get(b"content-type"))
        exchange.record.instance_id = ids.early(noted, passed, kind)
        if exchange.record.instance_id is not None or not ids.reads(kind):
            return
        # Whoever may be asked again must have said all that could forbid it.
        back.first = await back.gather(BODY_PART if reply.status in attempts.REPEATED else 1)
        try:
            instance_id = ids.find(noted, passed, kind, peek(noted.get(b"content-encoding"), b"".join(back.first)))
        except Exception:  # a flow may have run: the response is delivered, and nothing is sent again
            log.exception("cannot search a body for the instance id", extra={"event": "defect"})
            back.errand.tries.attempts = attempts.MAX_ATTEMPTS
            return
        exchange.record.instance_id = instance_id
        if instance_id is None and not back.connection.complete:
            exchange.trail = Trail(ids, noted, passed, kind=kind)
        elif instance_id is not None and not noted.get(INSTANCE_ID):
            reply.passed = without(frozenset({INSTANCE_ID}), passed)
            back.more = [b"%b: %b" % (INSTANCE_ID, instance_id.encode("ascii"))]

    def _settle(self, back: Return) -> None:
        """What the reply that is delivered means for the route and for its caller's connection."""
        exchange, route, status = back.errand.exchange, back.errand.way.route, back.reply.status
        if status >= 300 or route.trouble.is_known:
            has_id = exchange.record.instance_id is not None
            lines = (*back.reply.passed, *(line for _, line in back.reply.held))
            exchange.explain = partial(
                route.trouble.answered,
                status,
                has_instance_id=has_id,
                at=time.time(),
                target=back.errand.target,
                lines=lines,
            )
        if self.closing or self.draining:
            exchange.delivery.keep_alive = False

    def _judge(self, errand: Errand, reply: ReplyHead) -> Verdict:
        """Step 7: what follows from the reply's head."""
        exchange, tries, status = errand.exchange, errand.tries, reply.status
        has_instance_id = exchange.record.instance_id is not None
        if status in NEVER_DELIVERED:
            raise UpstreamBroken(reason=f"status {status}, which is for the next hop alone")
        if status == 508 and not has_instance_id and reply.noted.get(b"x-gateway-error") == LoopDetected.code.encode():
            raise LoopDetected(reason="the upstream is this gateway, or leads back to it")
        if status == 307 and not has_instance_id and redirect(errand, reply):
            return attempts.AT_ONCE
        route = errand.way.route
        if (has_instance_id or status < 300) and route.source.rejections.is_open:
            route.source.accept(errand.token, route.name)
        if status < 400:
            return attempts.DELIVER
        verdict = attempts.after_reply(
            tries,
            status,
            has_instance_id=has_instance_id,
            body_is_whole=exchange.body.is_whole,
            retry_after=retry_after(reply.noted.get(b"retry-after"), now=time.time()),
            luck=self._luck(),
        )
        if status == 401 and not has_instance_id and verdict.step is Step.DELIVER:
            # This request may not be replayed, or was: the next one must not meet the same refusal.
            route.source.reject(errand.token, route.name)
        tries.replied = tries.replied or verdict.step is Step.AGAIN
        return verdict

    async def _renew(self, errand: Errand) -> Verdict:
        """Step 7 after a 401: a forced renewal; where none is to be had the 401 is delivered as it is."""
        exchange, route = errand.exchange, errand.way.route
        errand.tries.renewed = True
        began = time.monotonic()
        try:
            fresh = await route.source.renewed(errand.token, route.name)
        finally:
            exchange.record.token_wait_ms += (time.monotonic() - began) * 1000
        if fresh is None or not exchange.body.is_whole:  # the upload went on meanwhile, beyond what is kept
            return attempts.DELIVER
        errand.token = fresh
        return attempts.AT_ONCE


def _ends_here(head: RequestHead) -> bool:
    """Whether an OPTIONS request may not be forwarded any more (RFC 9110 §7.6.2). Raises BadRequest."""
    try:
        return max_forwards(head.noted) == 0
    except ValueError as error:
        raise BadRequest(f"{error}.") from None


def _note_useless(exchange: Exchange, connection: Connection) -> None:
    """Records what a response says that is of no use: a flow ran, even if its head cannot be read."""
    if (known := connection.known_head) is not None:
        exchange.note(known.status, trace(known.noted))
    elif raw := connection.unread_head:
        exchange.note(plain_status(raw) or exchange.record.upstream_status, salvage_trace(raw))


def _end(upstream: Upstream, connection: Connection, pump: Pump | None) -> None:
    """Step 12: the connection goes back to its pool, or away when either side of the exchange is unfinished."""
    if pump is not None and (not pump.done() or _error_of(pump) is not None):
        pump.cancel()
        connection.abort()
    upstream.release(connection)


def _error_of(pump: Pump) -> BaseException | None:
    return None if pump.cancelled() else pump.exception()


def _cause(pump: Pump | None, error: GatewayError) -> BaseException:
    """A caller's body that broke off broke the exchange too, and is what there is to say."""
    return error if pump is None or not pump.done() else _error_of(pump) or error
