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

from gateway.content.content_coding import peek
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
from gateway.http.fields import remove_fields
from gateway.http.pool import ConnectionPool
from gateway.http.request_body import NO_BODY, RequestBody
from gateway.http.request_head import RequestHead
from gateway.http.response_parser import ResponseHead, plain_status
from gateway.http.server import CallerConnection
from gateway.http.upstream_connection import StaleConnection, UpstreamConnection
from gateway.observe.log import log_event
from gateway.observe.metrics import UNROUTED, Metrics
from gateway.observe.record import Record
from gateway.oic.body_id_scanner import InstanceIdScanner
from gateway.oic.instance_id import BODY_PART, INSTANCE_ID, media_kind, read_ids, salvage_trace
from gateway.proxy import retry
from gateway.proxy.admission import check_browser
from gateway.proxy.arrival import authorize, begin, check_methods, prepare_body, resolve_route
from gateway.proxy.error_response import detect_soap, soap_expected
from gateway.proxy.exchange import Exchange
from gateway.proxy.headers import EDITED, PSEUDONYM, has_passed, max_forwards, request_head, retry_after
from gateway.proxy.response import ResponseRelay
from gateway.proxy.retry import RetryDecision, RetryState, RetryStep
from gateway.proxy.route_table import GENERAL_METHODS, CachedMatch, Route, RouteTable
from gateway.proxy.routing import RouteMatch
from gateway.proxy.screening import SOAP_TRIGGERS, may_carry_soap_credentials, strip_soap_credentials
from gateway.proxy.upstream_request import UpstreamRequest, apply_route_edits, redirect

log = logging.getLogger("gateway.forward")

BodyTask = asyncio.Task[None]

# For one hop alone: a caller would take 407 for the gateway's own (RFC 9110 §15.5.8); 426 needs its Upgrade field
# (§15.5.22), which does not pass.
NEVER_DELIVERED = frozenset({407, 426})


class RecordSink(Protocol):
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
        table: RouteTable,
        *,
        metrics: Metrics,
        sink: RecordSink,
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
        self.aborting = False
        self.in_flight = 0
        self.idle = asyncio.Event()
        self.idle.set()
        self._sink = sink
        self._begun = begun
        self._random = luck
        self._pseudonym = pseudonym
        self._unrouted = metrics.route(UNROUTED)

    async def serve(self, caller: CallerConnection, head: RequestHead, body: RequestBody) -> bool:
        """Answers one request: the boundary where every error becomes a reply and a record. True when another may
        follow on its connection.
        """
        exchange = Exchange(caller, head, body)
        self._count_in()
        try:
            await self._handle(exchange, head)
        except GatewayError as error:
            exchange.response.keep_alive = exchange.response.keep_alive and not self.closing
            # A request cut off at the end of a drain may have run: a 503 would invite its caller to run it twice.
            exchange.send_error(Draining() if self.aborting else error, silently=self.aborting)
        except asyncio.CancelledError:
            exchange.send_error(Draining() if self.aborting else CallerGone(), silently=True)
            raise
        except Exception as error:
            log.exception("the walk failed", extra={"event": "defect"})
            exchange.send_error(Internal(reason=type(error).__name__))
        finally:
            self._count_out(exchange)
        return exchange.response.keep_alive

    def is_allowed(self, peer: str | None) -> bool:
        """Whether this address may call."""
        return self.table.admission.accepts_address(peer)

    def reject(self, caller: CallerConnection, error: GatewayError, said: bytes) -> None:
        """Answers what could not even be read as a request; `said` is the beginning of it."""
        exchange = Exchange(caller, None)
        exchange.soap_namespace = detect_soap(said)
        self._count_in()
        exchange.send_error(error)
        self._count_out(exchange)

    def note_trailing(self, caller: CallerConnection, count: int) -> None:
        """Logs bytes that came behind a request too late for its record."""
        told = "bytes behind the body of a request are no request; the connection ends without an answer"
        log_event(log, logging.INFO, "trailing-bytes", told, client=caller.peer, bytes=count)

    def _count_in(self) -> None:
        if not self.in_flight:
            self.idle.clear()
        self.in_flight += 1

    def _count_out(self, exchange: Exchange) -> None:
        try:
            exchange.run_explanation()
            self._sink(exchange.finish(self._unrouted))
        finally:
            self.in_flight -= 1
            if not self.in_flight:
                self.idle.set()

    # The walk -------------------------------------------------------------------------------------------------------

    async def _handle(self, exchange: Exchange, head: RequestHead) -> None:
        table = self.table
        begin(exchange, head, draining=self.draining)
        if self.closing:
            exchange.response.keep_alive = False
        way = self._cached_match(exchange, head, table) or self._match_route(exchange, head, table)
        if way is None:
            return
        route = way.route
        prepare_body(exchange, head, keep=route.replay_limit, limit=table.body_limit, rate=table.body_rate)
        if exchange.body is not NO_BODY and may_carry_soap_credentials(head, way.target):
            await strip_soap_credentials(exchange, head, way.target, route.idle_timeout)
        token = route.source.current() or await self._acquire_token(exchange, route)
        if not exchange.body.is_complete:
            await exchange.body.collect(idle=route.idle_timeout)
            token = route.source.current() or await self._acquire_token(exchange, route)
        tries = RetryState(way.method or head.method, route.replay, route.idempotent)
        errand = UpstreamRequest(exchange, head, table, way, tries, token, route.target, way.target, head.lines)
        if route.edits is not None or exchange.body.bytes_removed or not EDITED.isdisjoint(head.known_fields):
            apply_route_edits(errand)
        if self._begun is not None and tries.method not in retry.SAFE_METHODS:
            self._begun(exchange.record)
        verdict = retry.AT_ONCE
        while verdict.step is not RetryStep.DELIVER:
            if verdict.pause:
                await asyncio.sleep(verdict.pause)
            try:
                verdict = await self._attempt(errand)
            except GatewayError as error:
                if error.blame == "upstream":
                    exchange.explain = partial(route.health.record_failure, error.code, error.reason, at=time.time())
                raise
        if exchange.caller.write_paused:
            await exchange.caller.drain(route.idle_timeout)

    async def _attempt(self, errand: UpstreamRequest) -> RetryDecision:
        """Steps 3 to 12 once: delivers the reply, or says what the next attempt needs."""
        exchange, tries, route = errand.exchange, errand.retry_state, errand.match.route
        pump = back = None
        upstream = errand.upstream_target.pool
        tries.attempts = exchange.record.attempts = tries.attempts + 1
        exchange.upstream_started = time.monotonic()
        exchange.id_scanner = None
        connection = None if errand.fresh_connection else upstream.try_acquire(errand.upstream_target.share)
        if connection is None and (connection := await self._acquire_connection(errand)) is None:
            return RetryDecision(RetryStep.AGAIN, retry.SHORT_PAUSE * self._random())
        errand.fresh_connection = True
        try:
            pump = self._send_request(errand, connection)
            reply = await connection.read_head()
            back = ResponseRelay(errand, connection, reply)
            if not self._read_ids(back):
                await self._scan_body_for_id(back)
            verdict = self._decide(errand, reply)
            if verdict.step is RetryStep.RENEW:
                verdict = await self._renew_token(errand)
            if verdict.step is RetryStep.DELIVER:
                self._accept(back)
                await back.relay()
                exchange.record.upstream_ms = (time.monotonic() - exchange.upstream_started) * 1000
            else:
                route.meter.record_replay(str(reply.status))
        except StaleConnection as error:
            if not retry.can_retry_stale(tries, body_is_whole=exchange.body.is_whole):
                raise _primary_error(pump, error) from None
            route.meter.record_replay("stale")
            return retry.AT_ONCE
        except GatewayError as error:
            if back is None:
                _note_useless(exchange, connection)
            raise _primary_error(pump, error) from None
        else:
            return verdict
        finally:
            _release_connection(upstream, connection, pump)

    def _cached_match(self, exchange: Exchange, head: RequestHead, table: RouteTable) -> RouteMatch[Route] | None:
        """Steps 1 and 2 for a caller that says on its connection what it said before: they end as they did then."""
        settled = exchange.caller.cached_match
        if not isinstance(settled, CachedMatch) or settled.head is not head or settled.table is not table:
            return None
        exchange.host, way = settled.host, settled.match
        self._record_route(exchange, way)
        return way

    def _record_route(self, exchange: Exchange, way: RouteMatch[Route]) -> None:
        record, route = exchange.record, way.route
        exchange.meter = route.meter
        route.meter.begin()
        record.route, record.credential, record.path = route.name, route.credential, way.path
        if exchange.body is not NO_BODY and SOAP_TRIGGERS in way.target:
            exchange.soap_namespace = soap_expected(exchange.head)

    def _match_route(self, exchange: Exchange, head: RequestHead, table: RouteTable) -> RouteMatch[Route] | None:
        """Steps 1 and 2: who may call, then method and raw path to route and target, byte for byte. None where the
        gateway itself is asked, and has answered.
        """
        method = head.method
        authorize(exchange, head, table.admission)
        if (via := head.known_fields.get(b"via")) is not None and has_passed(via, self._pseudonym):
            raise LoopDetected
        if method == "CONNECT":
            exchange.response.keep_alive = False  # what follows is meant for the tunnel
            raise MethodNotAllowed(
                "The gateway opens no tunnels: set the caller's http_proxy, and write OIC's URL with http://.",
                allow=GENERAL_METHODS,
            )
        way = resolve_route(exchange, head, table.routing, table.admission, table.own)
        if way is None:
            exchange.answer_options(GENERAL_METHODS)
            return None
        route = way.route
        self._record_route(exchange, way)
        check_browser(head.known_fields.get(b"origin"), head.known_fields.get(b"sec-fetch-site"), route.origins)
        edits = route.edits
        removed, added = ((), ()) if edits is None else (edits.dropped, edits.methods)
        if (effective := check_methods(head, route.methods, removed=removed, added=added)) != method:
            way = msgspec.structs.replace(way, method=effective)
        if method == "OPTIONS" and _ends_here(head):
            exchange.answer_options(sorted(route.methods))
            return None
        exchange.caller.cached_match = CachedMatch(head, table, exchange.host, way)
        return way

    async def _acquire_token(self, exchange: Exchange, route: Route) -> str:
        """Step 4 where no token is at hand: no token, no request."""
        began = time.monotonic()
        try:
            return await route.source.wait(route.name)
        finally:
            exchange.record.token_wait_ms += (time.monotonic() - began) * 1000

    async def _acquire_connection(self, errand: UpstreamRequest) -> UpstreamConnection | None:
        """Step 6 where no kept connection will do: one, or None where none could be made and another try is due."""
        route, tries, began = errand.match.route, errand.retry_state, time.monotonic()
        try:
            place = errand.upstream_target
            return await place.pool.acquire(route.connect_timeout, fresh=errand.fresh_connection, share=place.share)
        except UpstreamUnreachable:
            if not retry.can_reconnect(tries, failed_fast=time.monotonic() - began < route.connect_timeout / 2):
                raise
            route.meter.record_replay("unreachable")
            return None

    def _send_request(self, errand: UpstreamRequest, connection: UpstreamConnection) -> BodyTask | None:
        """Steps 3, 5 and 6: the head with the bearer last, then the body; a task where the body is still coming."""
        exchange, head, route = errand.exchange, errand.head, errand.match.route
        body = exchange.body
        start = request_head(
            head,
            errand.target,
            errand.upstream_target.host_line,
            lines=errand.lines,
            request_id=exchange.record.request_id or "",
            bearer=errand.token,
            removed=body.bytes_removed,
            pseudonym=self._pseudonym,
        )
        to_head, parts = head.method == "HEAD", body.buffered()
        if parts is not None:
            connection.start_exchange([start, *parts], to_head=to_head, within=route.response_timeout)
            return None
        connection.start_exchange([start], to_head=to_head)
        pump = asyncio.create_task(body.stream(connection, idle=route.idle_timeout, response=route.response_timeout))
        pump.add_done_callback(_task_error)
        return pump

    def _read_ids(self, back: ResponseRelay) -> bool:
        """Step 10: the ids that the reply's head says; whether that settles them."""
        exchange, reply = back.request.exchange, back.response
        ids = instance_id, _ = read_ids(reply.known_fields)
        exchange.record_upstream(reply.status, ids)
        return instance_id is not None and back.request.match.route.instance_id_rules.header_first

    async def _scan_body_for_id(self, back: ResponseRelay) -> None:
        """Step 10 where OIC's own field does not settle it: the id by the route's rules. Only the head waits for the
        first bytes of a body, which would follow it at once.
        """
        exchange, route, reply = back.request.exchange, back.request.match.route, back.response
        ids, noted, passed = route.instance_id_rules, reply.known_fields, reply.forwarded_lines
        kind = None if reply.has_no_body else media_kind(noted.get(b"content-type"))
        exchange.record.instance_id = ids.find_in_head(noted, passed, kind)
        if exchange.record.instance_id is not None or not ids.reads(kind):
            return
        # Whoever may be asked again must have said all that could forbid it.
        back.first_pieces = await back.read_at_least(BODY_PART if reply.status in retry.RETRYABLE_STATUSES else 1)
        try:
            instance_id = ids.find(
                noted, passed, kind, peek(noted.get(b"content-encoding"), b"".join(back.first_pieces), BODY_PART)
            )
        except Exception:  # a flow may have run: the response is delivered, and nothing is sent again
            log.exception("cannot search a body for the instance id", extra={"event": "defect"})
            back.request.retry_state.attempts = retry.MAX_ATTEMPTS
            return
        exchange.record.instance_id = instance_id
        if instance_id is None and not back.connection.complete:
            exchange.id_scanner = InstanceIdScanner(ids, noted, passed, kind=kind)
        elif instance_id is not None and not noted.get(INSTANCE_ID):
            reply.forwarded_lines = remove_fields(frozenset({INSTANCE_ID}), passed)
            back.extra_lines = [b"%b: %b" % (INSTANCE_ID, instance_id.encode("ascii"))]

    def _accept(self, back: ResponseRelay) -> None:
        """What the reply that is delivered means for the route and for its caller's connection."""
        exchange, route, status = back.request.exchange, back.request.match.route, back.response.status
        if status >= 300 or route.health.is_known:
            has_id = exchange.record.instance_id is not None
            lines = (*back.response.forwarded_lines, *(line for _, line in back.response.deferred))
            exchange.explain = partial(
                route.health.record_response,
                status,
                has_instance_id=has_id,
                at=time.time(),
                target=back.request.target,
                lines=lines,
            )
        if self.closing or self.draining:
            exchange.response.keep_alive = False

    def _decide(self, errand: UpstreamRequest, reply: ResponseHead) -> RetryDecision:
        """Step 7: what follows from the reply's head."""
        exchange, tries, status = errand.exchange, errand.retry_state, reply.status
        has_instance_id = exchange.record.instance_id is not None
        if status in NEVER_DELIVERED:
            raise UpstreamBroken(reason=f"status {status}, which is for the next hop alone")
        if (
            status == 508
            and not has_instance_id
            and reply.known_fields.get(b"x-gateway-error") == LoopDetected.code.encode()
        ):
            raise LoopDetected(reason="the upstream is this gateway, or leads back to it")
        if status == 307 and not has_instance_id and redirect(errand, reply):
            return retry.AT_ONCE
        route = errand.match.route
        if (has_instance_id or status < 300) and route.source.rejections.is_open:
            route.source.accept(errand.token, route.name)
        if status < 400:
            return retry.DELIVER
        verdict = retry.decide_after_response(
            tries,
            status,
            has_instance_id=has_instance_id,
            body_is_whole=exchange.body.is_whole,
            retry_after=retry_after(reply.known_fields.get(b"retry-after"), now=time.time()),
            random_fraction=self._random(),
        )
        if status == 401 and not has_instance_id and verdict.step is RetryStep.DELIVER:
            # This request may not be replayed, or was: the next one must not meet the same refusal.
            route.source.reject(errand.token, route.name)
        tries.retried = tries.retried or verdict.step is RetryStep.AGAIN
        return verdict

    async def _renew_token(self, errand: UpstreamRequest) -> RetryDecision:
        """Step 7 after a 401: a forced renewal; where none is to be had the 401 is delivered as it is."""
        exchange, route = errand.exchange, errand.match.route
        errand.retry_state.token_renewed = True
        began = time.monotonic()
        try:
            fresh = await route.source.renewed(errand.token, route.name)
        finally:
            exchange.record.token_wait_ms += (time.monotonic() - began) * 1000
        if fresh is None or not exchange.body.is_whole:  # the upload went on meanwhile, beyond what is kept
            return retry.DELIVER
        errand.token = fresh
        return retry.AT_ONCE


def _ends_here(head: RequestHead) -> bool:
    """Whether an OPTIONS request may not be forwarded any more (RFC 9110 §7.6.2). Raises BadRequest."""
    try:
        return max_forwards(head.known_fields) == 0
    except ValueError as error:
        raise BadRequest(f"{error}.") from None


def _note_useless(exchange: Exchange, connection: UpstreamConnection) -> None:
    """Records what a response says that is of no use: a flow ran, even if its head cannot be read."""
    if (known := connection.response_head) is not None:
        exchange.record_upstream(known.status, read_ids(known.known_fields))
    elif raw := connection.unread_head:
        exchange.record_upstream(plain_status(raw) or exchange.record.upstream_status, salvage_trace(raw))


def _release_connection(upstream: ConnectionPool, connection: UpstreamConnection, pump: BodyTask | None) -> None:
    """Step 12: the connection goes back to its pool, or away when either side of the exchange is unfinished."""
    if pump is not None and (not pump.done() or _task_error(pump) is not None):
        pump.cancel()
        connection.abort()
    upstream.release(connection)


def _task_error(pump: BodyTask) -> BaseException | None:
    return None if pump.cancelled() else pump.exception()


def _primary_error(pump: BodyTask | None, error: GatewayError) -> BaseException:
    """A caller's body that broke off broke the exchange too, and is what there is to say."""
    return error if pump is None or not pump.done() else _task_error(pump) or error
