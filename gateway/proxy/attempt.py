"""The steps of one attempt: get a connection, send the request, decide by the response head."""

import asyncio
import time
from collections.abc import Callable, Sequence

from gateway.errors import GatewayError, LoopDetected, UpstreamBroken, UpstreamTimeout, UpstreamUnreachable
from gateway.http.request_body import NO_BODY
from gateway.http.response_parser import ResponseHead
from gateway.http.upstream_connection import StaleConnection, UpstreamConnection
from gateway.proxy import retry
from gateway.proxy.exchange import Exchange
from gateway.proxy.headers import build_request_head, read_retry_after_field
from gateway.proxy.request_tracing import trace_line
from gateway.proxy.response import record_unreadable_response
from gateway.proxy.retry import RetryDecision, RetryStep

BodyTask = asyncio.Task[None]

# Statuses for one hop only: a caller would take 407 for the gateway's own (RFC 9110 §15.5.8); 426 needs its Upgrade
# field (§15.5.22), which is not forwarded.
NEVER_DELIVERED = frozenset({407, 426})
LOOP_CODE = LoopDetected.code.encode()


async def acquire_connection(exchange: Exchange) -> UpstreamConnection | None:
    """Wait for a connection, or dial one. Return None if dialing failed and may be repeated."""
    await exchange.caller.become_task()
    route, target, began = exchange.route, exchange.upstream, time.monotonic()
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
        exchange.record_retry("unreachable", error.code)
        return None


def send_request(exchange: Exchange, connection: UpstreamConnection, pseudonym: str) -> bool:
    """Write the head, and the body if it is complete. Return False if the caller is still sending it: `start_upload`
    must follow.
    """
    head, body = exchange.head, exchange.body
    start = build_request_head(
        head,
        exchange.request_target,
        exchange.upstream.host_line,
        exchange.record.request_id or "",
        exchange.token,
        exchange.request_lines,
        body.bytes_removed,
        pseudonym,
        "" if exchange.trace is None else trace_line(exchange, exchange.trace),
    )
    parts: Sequence[bytes] | None = ()
    response_timeout: float | None = exchange.route.response_timeout
    if body is not NO_BODY and (parts := body.buffered()) is None:
        response_timeout = None  # it runs from the end of the upload
    connection.start_exchange(
        start,
        parts,
        is_head_request=head.method == "HEAD",
        response_timeout=response_timeout,
        reader_task=exchange.caller.handler_task,
    )
    return parts is not None


async def start_upload(exchange: Exchange, connection: UpstreamConnection) -> BodyTask:
    """Return a task that streams the body, which the caller is still sending."""
    await exchange.caller.become_task()
    route = exchange.route
    upload = asyncio.create_task(
        exchange.body.stream(connection, idle_timeout=route.idle_timeout, response_timeout=route.response_timeout)
    )
    upload.add_done_callback(_task_error)
    return upload


def decide(exchange: Exchange, response: ResponseHead, random_fraction: Callable[[], float]) -> RetryDecision:
    """Decide by the response head: deliver, or try again. Raise UpstreamBroken or LoopDetected."""
    status, route = response.status, exchange.route
    is_awaiting_acceptance = route.token_source.renewal_policy.is_awaiting_acceptance
    if (
        status < 300
        and not is_awaiting_acceptance
        and (exchange.place is None or not exchange.place.gate.reports_success)
    ):  # as most
        return retry.DELIVER
    has_instance_id = exchange.record.instance_id is not None
    if (place := exchange.place) is not None and (status >= 400 or place.gate.reports_success):
        has_run = has_instance_id or exchange.retry_state.is_final
        wait = read_retry_after_field(response.known_fields.get(b"retry-after"), now=time.time())
        place.record_response(status, has_instance_id=has_run, retry_after=wait)
    if status in NEVER_DELIVERED:
        raise UpstreamBroken(reason=f"status {status}, which is for the next hop alone")
    if status == 508 and not has_instance_id and response.known_fields.get(b"x-gateway-error") == LOOP_CODE:
        raise LoopDetected(reason="the upstream is this gateway, or leads back to it")
    if status == 307 and not has_instance_id and exchange.follow_redirect(response):
        return retry.RESEND_NOW
    if (has_instance_id or status < 300) and is_awaiting_acceptance:
        route.token_source.record_acceptance(exchange.token, route.name)
    if status < 400:
        return retry.DELIVER
    decision = retry.decide_after_response(
        exchange.retry_state,
        status,
        has_instance_id=has_instance_id,
        body_is_replayable=exchange.body.is_replayable,
        retry_after=read_retry_after_field(response.known_fields.get(b"retry-after"), now=time.time()),
        random_fraction=random_fraction(),
    )
    if status == 401 and not has_instance_id and decision is retry.DELIVER:
        # This request may not be replayed, or was: the next one must not get the same 401.
        route.token_source.record_rejection(exchange.token, route.name)
    if decision.step is RetryStep.RESEND:
        if not _may_retry(exchange):
            return retry.DELIVER
        exchange.retry_state.was_retried = True
    return decision


async def renew_token(exchange: Exchange) -> RetryDecision:
    """Force a renewal after a 401. Without a new token the 401 is delivered."""
    route, began = exchange.route, time.monotonic()
    exchange.retry_state.was_token_renewed = True
    exchange.end_attempt()
    await exchange.caller.become_task()
    try:
        token = await route.token_source.renew_rejected_token(exchange.token, route.name)
    finally:
        exchange.record_token_wait(began)
    if token is None or not exchange.body.is_replayable:  # meanwhile the upload may have exceeded the replay limit
        return retry.DELIVER
    exchange.token = token
    return retry.RESEND_NOW


def retry_stale_connection(exchange: Exchange, upload: BodyTask | None, error: StaleConnection) -> RetryDecision:
    """Return that the request is sent again, after a reused connection closed before the response. Raise the error if
    it must not be.
    """
    can_retry = retry.can_retry_stale_connection(exchange.retry_state, body_is_replayable=exchange.body.is_replayable)
    if not (can_retry and _may_retry(exchange)):
        raise primary_error(upload, error) from None
    exchange.record_retry("stale", "stale-connection")
    return retry.RESEND_NOW


def _may_retry(exchange: Exchange) -> bool:
    """Return whether the service's budget allows a second try, and count it. Without a service there is no budget."""
    return exchange.place is None or exchange.place.try_retry()


def record_no_response(exchange: Exchange, connection: UpstreamConnection, error: GatewayError) -> None:
    """Record what is known of an exchange without a response head."""
    record_unreadable_response(exchange, connection)
    if exchange.place is not None and isinstance(error, UpstreamTimeout):
        exchange.place.record_failure(error.reason)


def end_upload(upload: BodyTask, connection: UpstreamConnection) -> None:
    """End an upload after the response; if it is unfinished, no other request may follow on the connection."""
    if not upload.done() or _task_error(upload) is not None:
        upload.cancel()
        connection.abort()


def _task_error(upload: BodyTask) -> BaseException | None:
    return None if upload.cancelled() else upload.exception()


def primary_error(upload: BodyTask | None, error: GatewayError) -> BaseException:
    """Return the error to report: a broken request body causes an upstream error too, and is the reason for it."""
    return error if upload is None or not upload.done() else _task_error(upload) or error
