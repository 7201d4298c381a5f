"""The request pipeline. Read `_handle` and `_attempt` first: they list the steps in the order in which they run.

Only this module, with `route_table` and `response`, knows the proxy, the tokens and OIC together. The steps act on the
answers of pure modules (`routing`, `admission`, `headers`, `retry`, `redirects`). Each request leaves exactly one
record, whatever happens.
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
    CallerGone,
    Draining,
    GatewayError,
    Internal,
    LoopDetected,
    MethodNotAllowed,
    Overloaded,
    UpstreamBroken,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from gateway.http.caller_connection import CallerConnection
from gateway.http.connection_limits import RefusalReason
from gateway.http.pool import ConnectionPool
from gateway.http.request_body import NO_BODY, RequestBody
from gateway.http.request_head import RequestHead
from gateway.http.response_parser import ResponseHead
from gateway.http.upstream_connection import StaleConnection, UpstreamConnection
from gateway.observe.log import log_event
from gateway.observe.metric_table import UNROUTED
from gateway.observe.metrics import Metrics
from gateway.observe.record import Record
from gateway.oic.billed_messages import count_messages
from gateway.oic.soap_credentials import SoapCredentialFilter, may_be_soap
from gateway.oic.urls import SOAP_TRIGGERS
from gateway.oic.ws_security import UsernameToken
from gateway.proxy import retry
from gateway.proxy.admission import check_browser
from gateway.proxy.caller_check import identify_by_tokens, identify_caller
from gateway.proxy.cors import REQUEST_HEADERS, REQUEST_METHOD
from gateway.proxy.error_response import detect_soap, soap_expected
from gateway.proxy.exchange import UNREADABLE, Exchange, new_request_id
from gateway.proxy.headers import EDITED, PSEUDONYM, max_forwards, request_head, request_id, retry_after, via_contains
from gateway.proxy.method_override import check_methods
from gateway.proxy.response import ResponseRelay, record_unreadable_response
from gateway.proxy.retry import RetryDecision, RetryState, RetryStep
from gateway.proxy.route_table import GENERAL_METHODS, Route, RouteTable
from gateway.proxy.routing import RouteMatch
from gateway.services.service_gate import ServiceGate

log = logging.getLogger("gateway.forward")

BodyTask = asyncio.Task[None]

LIMIT_KEYS = {RefusalReason.LIMIT: "connections", RefusalReason.ADDRESS: "address_share"}
"""The key of `limits` that a refused connection exceeds."""
# Statuses for one hop only: a caller would take 407 for the gateway's own (RFC 9110 §15.5.8); 426 needs its Upgrade
# field (§15.5.22), which is not forwarded.
NEVER_DELIVERED = frozenset({407, 426})
LOOP_CODE = LoopDetected.code.encode()


class RecordSink(Protocol):
    """Takes each finished record."""

    def __call__(self, record: Record) -> None:
        """Write the record without blocking."""


class RequestPipeline:
    """Forwards requests by the current `table`. `idle` is set while no request is under way.

    The steps of a stop: `is_closing_connections`, each connection ends with its response; `is_refusing_requests`, new
    requests get 503; `is_aborting_requests`, requests under way are cut off.
    """

    def __init__(
        self,
        table: RouteTable,
        *,
        metrics: Metrics,
        sink: RecordSink,
        before_unsafe: Callable[[Record], None] | None = None,
        random_fraction: Callable[[], float] = random.random,
        pseudonym: str = PSEUDONYM,
    ) -> None:
        """`before_unsafe` is called before a request is sent that may change something. `random_fraction` in [0, 1)
        spreads pauses. `pseudonym` names this gateway in `Via`, so that it recognizes loops.
        """
        self.table = table
        self.is_closing_connections = False
        self.is_refusing_requests = False
        self.is_aborting_requests = False
        self.in_flight = 0
        self.idle = asyncio.Event()
        self.idle.set()
        self._sink = sink
        self._before_unsafe = before_unsafe
        self._random_fraction = random_fraction
        self._pseudonym = pseudonym
        self._unrouted = metrics.route(UNROUTED)

    async def serve(self, caller: CallerConnection, head: RequestHead, body: RequestBody) -> bool:
        """Answer one request: every error becomes a response and a record. Return whether another request may follow on
        the connection.
        """
        exchange = Exchange(caller, head, body)
        self._add_in_flight()
        try:
            await self._handle(exchange)
        except GatewayError as error:
            exchange.response.keep_alive = exchange.response.keep_alive and not self.is_closing_connections
            # A request cut off at the end of a drain may have run: a 503 would invite its caller to run it twice.
            exchange.send_error(Draining() if self.is_aborting_requests else error, silently=self.is_aborting_requests)
        except asyncio.CancelledError:
            exchange.send_error(Draining() if self.is_aborting_requests else CallerGone(), silently=True)
            raise
        except Exception as error:
            log.exception("the request pipeline failed", extra={"event": "defect"})
            exchange.send_error(Internal(reason=type(error).__name__))
        finally:
            self._remove_in_flight(exchange)
        return exchange.response.keep_alive

    def is_allowed(self, peer: str | None) -> bool:
        """Return whether this address may call."""
        return self.table.admission.accepts_address(peer)

    def answers_half_closed(self, caller: CallerConnection) -> bool:
        """Return whether the route of the request answers a caller that has closed its sending side."""
        route = caller.last_route
        return not isinstance(route, Route) or route.answers_half_closed

    def reject(self, caller: CallerConnection, error: GatewayError, data: bytes) -> None:
        """Answer a request that cannot be read; `data` is its beginning."""
        exchange = Exchange(caller, UNREADABLE)
        exchange.soap_namespace = detect_soap(data)
        self._add_in_flight()
        exchange.send_error(error)
        self._remove_in_flight(exchange)

    def log_trailing(self, caller: CallerConnection, count: int) -> None:
        """Log bytes that came behind a request after its record was written."""
        message = "bytes behind the body of a request are not a request; the connection ends without a response"
        log_event(log, logging.INFO, "trailing-bytes", message, client=caller.peer, bytes=count)

    def _add_in_flight(self) -> None:
        if not self.in_flight:
            self.idle.clear()
        self.in_flight += 1

    def _remove_in_flight(self, exchange: Exchange) -> None:
        try:
            if exchange.place is not None:
                exchange.release_place()
            exchange.update_route_health()
            record = exchange.finish(self._unrouted)
            if record.upstream_status is not None:
                _count_messages(exchange)
            self._sink(record)
        finally:
            self.in_flight -= 1
            if not self.in_flight:
                self.idle.set()

    # The pipeline: the steps of a request, then those of an attempt -------------------------------------------------

    async def _handle(self, exchange: Exchange) -> None:
        head = exchange.head
        self._begin(exchange)
        match = self._match_route(exchange)
        if match is None:
            return
        route = match.route
        if route.callers is not None or exchange.body is not NO_BODY:
            await _check_caller_and_body(exchange)
        token = route.token_source.get_fresh_token() or await self._acquire_token(exchange)
        if not exchange.body.is_complete:
            await exchange.body.collect(idle=route.idle_timeout)
            token = route.token_source.get_fresh_token() or await self._acquire_token(exchange)
        if route.service is not None and not exchange.try_acquire_place(route.service):
            token = await self._wait_for_place(exchange, route.service)
        exchange.token, exchange.upstream = token, route.upstream
        exchange.request_target, exchange.request_lines = match.target, head.lines
        exchange.retry_state = RetryState(match.method or head.method, route.replay, route.idempotent)
        if route.edits is not None or exchange.body.bytes_removed or not EDITED.isdisjoint(head.known_fields):
            exchange.edit_request()
        if self._before_unsafe is not None and exchange.retry_state.method not in retry.SAFE_METHODS:
            self._before_unsafe(exchange.record)
        decision = retry.RESEND_NOW
        while decision.step is not RetryStep.DELIVER:
            if decision.pause:
                await asyncio.sleep(decision.pause)
            try:
                decision = await self._attempt(exchange)
            except GatewayError as error:
                if error.blame == "upstream":
                    exchange.health_update = partial(
                        route.health.record_failure, error.code, error.reason, at=time.time()
                    )
                raise
        if exchange.caller.write_paused:
            exchange.release_place()
            await exchange.caller.drain(route.idle_timeout)

    async def _attempt(self, exchange: Exchange) -> RetryDecision:
        """Send the request once and relay the response, or return what the next attempt needs."""
        upload = relay = None
        pool, state, meter = exchange.upstream.pool, exchange.retry_state, exchange.route_match.route.meter
        state.attempts = exchange.record.attempts = state.attempts + 1
        exchange.upstream_started_at = time.monotonic()
        exchange.id_scanner = None
        connection = None if exchange.needs_fresh_connection else pool.try_acquire(exchange.upstream.share)
        if connection is None and (connection := await self._acquire_connection(exchange)) is None:
            return RetryDecision(RetryStep.RESEND, retry.SHORT_PAUSE * self._random_fraction())
        exchange.needs_fresh_connection = True
        try:
            upload = self._send_request(exchange, connection)
            response = await connection.read_head()
            relay = ResponseRelay(exchange, connection, response)
            if not relay.record_ids():
                await relay.scan_body_for_id()
            decision = self._decide(exchange, response)
            if decision.step is RetryStep.RENEW_TOKEN:
                decision = await self._renew_token(exchange)
            if decision.step is RetryStep.DELIVER:
                if self.is_closing_connections or self.is_refusing_requests:
                    exchange.response.keep_alive = False
                await relay.deliver()
                exchange.record.upstream_ms = (time.monotonic() - exchange.upstream_started_at) * 1000
            else:
                meter.record_retry(str(response.status))
        except StaleConnection as error:
            can_retry = retry.can_retry_stale_connection(state, body_is_whole=exchange.body.is_whole)
            if not (can_retry and _may_retry(exchange)):
                raise _primary_error(upload, error) from None
            meter.record_retry("stale")
            return retry.RESEND_NOW
        except GatewayError as error:
            if relay is None:
                _record_no_response(exchange, connection, error)
            raise _primary_error(upload, error) from None
        else:
            return decision
        finally:
            _release_connection(pool, connection, upload)

    # The steps, in the same order -----------------------------------------------------------------------------------

    def _begin(self, exchange: Exchange) -> None:
        """Assign the request id. Raise Draining or Overloaded if no request can be served now."""
        record, caller, head = exchange.record, exchange.caller, exchange.head
        exchange.route_table = self.table
        record.path = head.target.partition("?")[0]
        record.request_id = request_id(head, new_request_id)
        if self.is_refusing_requests:
            raise Draining(retry_after=1)
        if caller.refusal is not None and caller.refusal in LIMIT_KEYS:
            raise Overloaded(reason=f"limits.{LIMIT_KEYS[caller.refusal]}", retry_after=1)
        # After a head with an error nothing more is read: the connection must end.
        exchange.response.keep_alive = head.error is None and head.keeps_alive and not self.is_closing_connections

    def _match_route(self, exchange: Exchange) -> RouteMatch[Route] | None:
        """Check who calls, and find route and upstream target. Return None for an OPTIONS request that the gateway has
        answered itself.
        """
        head, table, caller = exchange.head, exchange.route_table, exchange.caller
        known, method = head.known_fields, head.method
        table.admission.check_address(caller.peer)
        if head.error is not None:
            raise head.error
        if (via := known.get(b"via")) is not None and via_contains(via, self._pseudonym):
            raise LoopDetected
        if method == "CONNECT":
            exchange.response.keep_alive = False  # the bytes that follow are meant for the tunnel
            raise MethodNotAllowed(
                "The gateway opens no tunnels: set the caller's http_proxy, and write OIC's URL with http://.",
                allow=GENERAL_METHODS,
            )
        exchange.host, match = table.resolve(head, caller.local_address)
        if match is None:
            exchange.answer_options(GENERAL_METHODS)
            return None
        route, edits = match.route, match.route.edits
        self._record_route(exchange, match)
        check_browser(known.get(b"origin"), known.get(b"sec-fetch-site"), route.origins)
        if method == "OPTIONS" and route.cors is not None and b"origin" in known and REQUEST_METHOD in known:
            exchange.answer_preflight(route.cors.preflight_lines(known.get(REQUEST_HEADERS)))
            return None
        removed, added = ((), ()) if edits is None else (edits.dropped, edits.methods)
        if (effective := check_methods(head, route.methods, removed=removed, added=added)) != method:
            exchange.route_match = match = msgspec.structs.replace(match, method=effective)
        if method == "OPTIONS" and max_forwards(known) == 0:  # RFC 9110 §7.6.2
            exchange.answer_options(sorted(route.methods))
            return None
        return match

    def _record_route(self, exchange: Exchange, match: RouteMatch[Route]) -> None:
        record, route = exchange.record, match.route
        exchange.route_match, exchange.meter = match, route.meter
        exchange.caller.last_route = route
        if route.cors is not None:
            exchange.cors_lines = route.cors.response_lines(exchange.head.known_fields.get(b"origin"))
        route.meter.begin()
        record.route, record.credential, record.path = route.name, route.credential, match.path
        if exchange.body is not NO_BODY and SOAP_TRIGGERS in match.target:
            exchange.soap_namespace = soap_expected(exchange.head)

    async def _acquire_token(self, exchange: Exchange) -> str:
        """Wait for a token: without one the request is not sent."""
        route, began = exchange.route_match.route, time.monotonic()
        try:
            return await route.token_source.wait_for_token(route.name)
        finally:
            exchange.record.token_wait_ms += (time.monotonic() - began) * 1000

    async def _wait_for_place(self, exchange: Exchange, service: ServiceGate) -> str:
        """Wait for one of the places of the service: without it the request is not sent. Return the token, which may
        have been renewed meanwhile.
        """
        record, began = exchange.record, time.monotonic()
        share = exchange.route_table.shares.get(record.caller or "", 1)
        try:
            exchange.place = await service.acquire(record.caller or record.client or "", share)
        finally:
            record.queue_ms = (time.monotonic() - began) * 1000
        return exchange.route_match.route.token_source.get_fresh_token() or await self._acquire_token(exchange)

    async def _acquire_connection(self, exchange: Exchange) -> UpstreamConnection | None:
        """Wait for a connection, or dial one. Return None if dialing failed and may be repeated."""
        route, target, began = exchange.route_match.route, exchange.upstream, time.monotonic()
        try:
            return await target.pool.acquire(
                route.connect_timeout, fresh=exchange.needs_fresh_connection, share=target.share
            )
        except UpstreamUnreachable as error:
            if exchange.place is not None:
                exchange.place.record_failure(error.reason)
            failed_fast = time.monotonic() - began < route.connect_timeout / 2
            if not (retry.can_reconnect(exchange.retry_state, failed_fast=failed_fast) and _may_retry(exchange)):
                raise
            route.meter.record_retry("unreachable")
            return None

    def _send_request(self, exchange: Exchange, connection: UpstreamConnection) -> BodyTask | None:
        """Write head and body. Return a task that streams the body if the caller is still sending it."""
        head, body, route = exchange.head, exchange.body, exchange.route_match.route
        start = request_head(
            head,
            exchange.request_target,
            exchange.upstream.host_line,
            lines=exchange.request_lines,
            request_id=exchange.record.request_id or "",
            bearer=exchange.token,
            removed=body.bytes_removed,
            pseudonym=self._pseudonym,
        )
        to_head, parts = head.method == "HEAD", body.buffered()
        if parts is not None:
            connection.start_exchange([start, *parts], to_head=to_head, within=route.response_timeout)
            return None
        connection.start_exchange([start], to_head=to_head)
        upload = asyncio.create_task(body.stream(connection, idle=route.idle_timeout, response=route.response_timeout))
        upload.add_done_callback(_task_error)
        return upload

    def _decide(self, exchange: Exchange, response: ResponseHead) -> RetryDecision:
        """Decide by the response head: deliver, or try again. Raise UpstreamBroken or LoopDetected."""
        status, route = response.status, exchange.route_match.route
        has_instance_id = exchange.record.instance_id is not None
        if (place := exchange.place) is not None and (status >= 400 or place.gate.reports_success):
            has_run = has_instance_id or exchange.retry_state.is_final
            wait = retry_after(response.known_fields.get(b"retry-after"), now=time.time())
            place.record_response(status, has_instance_id=has_run, retry_after=wait)
        if status in NEVER_DELIVERED:
            raise UpstreamBroken(reason=f"status {status}, which is for the next hop alone")
        if status == 508 and not has_instance_id and response.known_fields.get(b"x-gateway-error") == LOOP_CODE:
            raise LoopDetected(reason="the upstream is this gateway, or leads back to it")
        if status == 307 and not has_instance_id and exchange.follow_redirect(response):
            return retry.RESEND_NOW
        if (has_instance_id or status < 300) and route.token_source.renewal_policy.is_awaiting_acceptance:
            route.token_source.record_acceptance(exchange.token, route.name)
        if status < 400:
            return retry.DELIVER
        decision = retry.decide_after_response(
            exchange.retry_state,
            status,
            has_instance_id=has_instance_id,
            body_is_whole=exchange.body.is_whole,
            retry_after=retry_after(response.known_fields.get(b"retry-after"), now=time.time()),
            random_fraction=self._random_fraction(),
        )
        if status == 401 and not has_instance_id and decision.step is RetryStep.DELIVER:
            # This request may not be replayed, or was: the next one must not get the same 401.
            route.token_source.record_rejection(exchange.token, route.name)
        if decision.step is RetryStep.RESEND:
            if not _may_retry(exchange):
                return retry.DELIVER
            exchange.retry_state.was_retried = True
        return decision

    async def _renew_token(self, exchange: Exchange) -> RetryDecision:
        """Force a renewal after a 401. Without a new token the 401 is delivered."""
        route, began = exchange.route_match.route, time.monotonic()
        exchange.retry_state.was_token_renewed = True
        try:
            token = await route.token_source.renew_rejected_token(exchange.token, route.name)
        finally:
            exchange.record.token_wait_ms += (time.monotonic() - began) * 1000
        if token is None or not exchange.body.is_whole:  # meanwhile the upload may have exceeded the replay limit
            return retry.DELIVER
        exchange.token = token
        return retry.RESEND_NOW


def _count_messages(exchange: Exchange) -> None:
    """Count what OIC bills for this call. Only its last response can be that of a flow: no call with one is retried."""
    record, body, route = exchange.record, exchange.body, exchange.route_match.route
    record.messages = messages = count_messages(
        record.bytes_in - body.bytes_removed,
        method=exchange.retry_state.method,
        target=exchange.request_target,
        status=record.upstream_status or 0,
        has_instance_id=record.instance_id is not None,
    )
    if messages:
        route.meter.messages += messages
        if exchange.caller_meter is not None:
            exchange.caller_meter.messages += messages
        route.usage.count(record)


def _may_retry(exchange: Exchange) -> bool:
    """Return whether the service's budget allows a second try, and count it. Without a service there is no budget."""
    return exchange.place is None or exchange.place.try_retry()


def _record_no_response(exchange: Exchange, connection: UpstreamConnection, error: GatewayError) -> None:
    """Record what is known of an exchange without a response head."""
    record_unreadable_response(exchange, connection)
    if exchange.place is not None and isinstance(error, UpstreamTimeout):
        exchange.place.record_failure(error.reason)


def _may_be_soap(head: RequestHead, target: str) -> bool:
    known = head.known_fields
    return may_be_soap(
        known.get(b"content-type"), soap_action=b"soapaction" in known, is_soap_route=SOAP_TRIGGERS in target
    )


async def _check_caller_and_body(exchange: Exchange) -> None:
    """Identify the caller, set the limits of the body, and remove the caller's own credentials from it. Raise
    UnknownCaller, CallerNotAllowed, and as `_strip_soap_credentials` and `prepare_body` do.
    """
    match = exchange.route_match
    may_be_soap = exchange.body is not NO_BODY and _may_be_soap(exchange.head, match.target)
    if match.route.callers is not None:
        identify_caller(exchange, may_have_token=may_be_soap)
    exchange.prepare_body()
    if may_be_soap:
        tokens = await _strip_soap_credentials(exchange)
        if match.route.callers is not None:
            identify_by_tokens(exchange, tokens)


async def _strip_soap_credentials(exchange: Exchange) -> list[UsernameToken]:
    """Remove the caller's own credentials from its SOAP message, and return them if the route has `callers`. Raise
    BadRequest if the message cannot be searched, CallerGone if the caller left.
    """
    known, match = exchange.head.known_fields, exchange.route_match
    soap_filter = SoapCredentialFilter(
        known.get(b"content-type"),
        soap_action=b"soapaction" in known,
        is_soap_route=SOAP_TRIGGERS in match.target,
        coding=known.get(b"content-encoding"),
        reads_tokens=match.route.callers is not None,
    )
    try:
        await exchange.body.inspect(soap_filter, idle=match.route.idle_timeout)
    finally:
        exchange.soap_namespace = soap_filter.space or exchange.soap_namespace
    return soap_filter.tokens


def _release_connection(pool: ConnectionPool, connection: UpstreamConnection, upload: BodyTask | None) -> None:
    """Return the connection to its pool; abort it if the upload is unfinished."""
    if upload is not None and (not upload.done() or _task_error(upload) is not None):
        upload.cancel()
        connection.abort()
    pool.release(connection)


def _task_error(upload: BodyTask) -> BaseException | None:
    return None if upload.cancelled() else upload.exception()


def _primary_error(upload: BodyTask | None, error: GatewayError) -> BaseException:
    """Return the error to report: a broken request body causes an upstream error too, and is the reason for it."""
    return error if upload is None or not upload.done() else _task_error(upload) or error
