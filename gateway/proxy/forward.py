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
from typing import TYPE_CHECKING

from gateway.errors import (
    CallerGone,
    Draining,
    GatewayError,
    Internal,
    Overloaded,
)
from gateway.http.caller_connection import CallerConnection
from gateway.http.connection_limits import RefusalReason
from gateway.http.request_body import NO_BODY, RequestBody
from gateway.http.request_head import RequestHead
from gateway.http.upstream_connection import StaleConnection
from gateway.observe.log import log_event
from gateway.observe.metric_table import UNROUTED
from gateway.observe.metrics import Metrics
from gateway.observe.record import Record
from gateway.proxy import retry
from gateway.proxy.attempt import (
    acquire_connection,
    decide,
    end_upload,
    primary_error,
    record_no_response,
    renew_token,
    retry_stale_connection,
    send_request,
    start_upload,
)
from gateway.proxy.caller_check import recognize_caller
from gateway.proxy.error_response import soap_namespace_of_broken_head
from gateway.proxy.exchange import UNREADABLE_HEAD, Exchange, RecordSink
from gateway.proxy.headers import PSEUDONYM
from gateway.proxy.request_checks import check_caller_and_body, match_route
from gateway.proxy.request_tracing import finish_trace, start_trace
from gateway.proxy.response import ResponseRelay
from gateway.proxy.retry import RetryDecision, RetryState, RetryStep
from gateway.proxy.route_table import Route, RouteTable
from gateway.services.service_gate import Place, ServiceGate

if TYPE_CHECKING:
    from gateway.telemetry.tracer import Tracer

log = logging.getLogger("gateway.forward")

LIMIT_KEYS = {RefusalReason.LIMIT: "connections", RefusalReason.ADDRESS: "address_share"}
"""The key of `limits` that a refused connection exceeds."""


class RequestPipeline:
    """Forwards requests by the current `table`. `in_flight` requests are under way.

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
        self._sink = sink
        self._before_unsafe = before_unsafe
        self._random_fraction = random_fraction
        self._pseudonym = pseudonym
        self._unrouted = metrics.route(UNROUTED)
        self.tracer: Tracer | None = None
        """With `telemetry`."""

    async def serve(self, caller: CallerConnection, head: RequestHead, body: RequestBody) -> bool:
        """Answer one request: every error becomes a response and a record. Return whether another request may follow on
        the connection.
        """
        exchange = Exchange.begin(caller, head, body, self.table)
        self.in_flight += 1
        try:
            if self.tracer is not None:
                start_trace(exchange, self.tracer)
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
        exchange = Exchange.begin(caller, UNREADABLE_HEAD, NO_BODY, self.table)
        exchange.soap_namespace = soap_namespace_of_broken_head(data)
        if self.tracer is not None:
            start_trace(exchange, self.tracer)
        self.in_flight += 1
        exchange.send_error(error)
        self._remove_in_flight(exchange)

    def log_trailing_bytes(self, caller: CallerConnection, count: int) -> None:
        """Log bytes that came behind a request after its record was written."""
        message = "bytes after the body of a request are not a request; the connection ends without a response"
        log_event(log, logging.INFO, "trailing-bytes", message, client=caller.peer, bytes=count)

    def _remove_in_flight(self, exchange: Exchange) -> None:
        try:
            exchange.finish(self._unrouted, self._sink)
            if exchange.trace is not None and self.tracer is not None:
                finish_trace(exchange, exchange.trace, self.tracer)
        finally:
            self.in_flight -= 1

    # The pipeline: the steps of a request, then those of an attempt -------------------------------------------------

    async def _handle(self, exchange: Exchange) -> None:
        head, body = exchange.head, exchange.body
        if self.is_refusing_requests or exchange.caller.refusal is not None:
            self._check_refusal(exchange.caller.refusal)
        exchange.response.keep_alive = head.keeps_alive and not self.is_closing_connections
        match = match_route(exchange, self._pseudonym)
        if match is None:
            return
        route = match.route
        # Most requests have no credentials, or those that their connection has had before.
        if head.may_have_credentials if route.callers is None else not recognize_caller(exchange):
            await check_caller_and_body(exchange)
        exchange.token = route.token_source.get_fresh_token() or await self._acquire_token(exchange)
        if not body.is_complete:
            await body.collect(idle_timeout=route.idle_timeout)
            exchange.token = route.token_source.get_fresh_token() or await self._acquire_token(exchange)
        if route.service is not None:
            exchange.record.queue_ms = 0.0
            is_free = route.service.try_acquire(time.monotonic())
            exchange.place = route.service.place if is_free else await self._wait_for_place(exchange, route.service)
        method = match.method or head.method
        exchange.upstream, exchange.request_target = route.upstream, match.target
        exchange.retry_state = RetryState(method, route.replay, route.idempotent)
        if route.edits is not None or body.bytes_removed or head.has_special_fields or head.deferred:
            exchange.edit_request()
        if self._before_unsafe is not None and method not in retry.SAFE_METHODS:
            self._before_unsafe(exchange.record)
        decision = retry.RESEND_NOW
        while decision is not retry.DELIVER:
            if decision.pause:
                await exchange.caller.become_task()
                await asyncio.sleep(decision.pause)
            try:
                decision = await self._attempt(exchange)
            except GatewayError as error:
                exchange.record_failed_attempt(error)
                raise
        if exchange.caller.write_paused:
            exchange.upstream_ended_at = time.monotonic()
            exchange.release_place()
            await exchange.caller.drain(route.idle_timeout)

    async def _attempt(self, exchange: Exchange) -> RetryDecision:
        """Send the request once and relay the response, or return what the next attempt needs."""
        upload = relay = None
        pool = exchange.upstream.pool
        exchange.start_attempt()
        connection = None if exchange.needs_fresh_connection else pool.try_acquire(exchange.upstream.share)
        if connection is None and (connection := await acquire_connection(exchange)) is None:
            return RetryDecision(RetryStep.RESEND, retry.SHORT_PAUSE * self._random_fraction())
        exchange.needs_fresh_connection = True
        try:
            is_sent = send_request(exchange, connection, self._pseudonym)
            upload = None if is_sent else await start_upload(exchange, connection)
            response = await connection.read_head()
            relay = ResponseRelay(exchange, connection, response)
            if not relay.record_ids():
                await relay.scan_body_for_id()
            decision = decide(exchange, response, self._random_fraction)
            if decision is retry.RENEW_TOKEN:
                decision = await renew_token(exchange)
            if decision is retry.DELIVER:
                exchange.response.keep_alive &= not (self.is_closing_connections or self.is_refusing_requests)
                if not relay.deliver_at_once():
                    await relay.deliver()
            else:
                exchange.record_retry(str(response.status))
        except StaleConnection as error:
            return retry_stale_connection(exchange, upload, error)
        except GatewayError as error:
            if relay is None:
                record_no_response(exchange, connection, error)
            raise primary_error(upload, error) from None
        else:
            return decision
        finally:
            if upload is not None:
                end_upload(upload, connection)
            pool.release(connection)

    # The steps, in the same order -----------------------------------------------------------------------------------

    def _check_refusal(self, refusal: RefusalReason | None) -> None:
        """Raise Draining, or Overloaded if the connection exceeds a limit. For its address, `match_route` raises."""
        if self.is_refusing_requests:
            raise Draining(retry_after=1)
        if refusal is not None and refusal in LIMIT_KEYS:
            raise Overloaded(reason=f"limits.{LIMIT_KEYS[refusal]}", retry_after=1)

    async def _acquire_token(self, exchange: Exchange) -> str:
        """Wait for a token: without one the request is not sent."""
        await exchange.caller.become_task()
        route, began = exchange.route, time.monotonic()
        try:
            return await route.token_source.wait_for_token(route.name)
        finally:
            exchange.record_token_wait(began)

    async def _wait_for_place(self, exchange: Exchange, service: ServiceGate) -> Place:
        """Wait for one of the places of the service, and return it: without it the request is not sent. The exchange
        has it from then on, also if no token can be had: the token may have been renewed meanwhile.
        """
        await exchange.caller.become_task()
        record, began = exchange.record, time.monotonic()
        share = exchange.route_table.shares.get(record.caller or "", 1)
        try:
            exchange.place = place = await service.acquire(record.caller or record.client or "", share)
        finally:
            now = time.monotonic()
            record.queue_ms = round((now - began) * 1000, 3)
            if exchange.trace is not None:
                exchange.trace.add_wait("queue", began, now)
        exchange.token = exchange.route.token_source.get_fresh_token() or await self._acquire_token(exchange)
        return place
