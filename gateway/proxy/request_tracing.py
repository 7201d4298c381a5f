"""The trace of a request in the pipeline: begun with the request, sent with each attempt, exported after the record."""

from typing import TYPE_CHECKING

from gateway.http.fields import remove_fields
from gateway.http.request_head import RequestHead
from gateway.proxy.exchange import Exchange
from gateway.telemetry.trace_context import SAMPLED, TRACEPARENT, TRACESTATE

if TYPE_CHECKING:
    from gateway.telemetry.request_trace import RequestTrace
    from gateway.telemetry.tracer import Tracer

_REPLACED, _CONTINUED = frozenset({TRACEPARENT, TRACESTATE}), frozenset({TRACEPARENT})


def start_trace(exchange: Exchange, tracer: "Tracer") -> None:
    """Begin the trace of the request, or continue the caller's."""
    caller = exchange.caller
    exchange.trace = trace = tracer.start(exchange.head, caller.peer, caller.scheme, exchange.started_at)
    exchange.record.trace_id = trace.trace_id
    exchange.request_lines = _traced_lines(exchange.head, trace)


def _traced_lines(head: RequestHead, trace: "RequestTrace") -> list[bytes]:
    """Return the caller's field lines without its `traceparent`, which the gateway replaces, and without its
    `tracestate` unless its trace goes on (W3C Trace Context §3.3). Return them as they are if nothing is replaced.
    """
    if not trace.replaces_fields:
        return head.lines
    if not trace.traceparent:
        return remove_fields(_REPLACED, head.lines)
    lines = head.lines.copy()
    try:
        lines.remove(b"traceparent: " + trace.traceparent)
    except ValueError:  # in another spelling
        return remove_fields(_CONTINUED, lines)
    return lines


def trace_line(exchange: Exchange, trace: "RequestTrace") -> str:
    """Return the `traceparent` line of the attempt; empty if the route sets or removes the field itself."""
    edits = exchange.route.edits
    if edits is not None and TRACEPARENT in edits.dropped:
        return ""
    return f"traceparent: 00-{trace.trace_id}-{trace.attempt_id}-0{trace.flags}\r\n"


def finish_trace(exchange: Exchange, trace: "RequestTrace", tracer: "Tracer") -> None:
    """Export the trace if it is sampled, or if the request ended with an error, with its complete record."""
    record = exchange.record
    if not trace.flags & SAMPLED and not tracer.ended_with_error(record):
        return
    if record.route is not None:
        trace.route_path = exchange.route.path
        if record.attempts > trace.ended_attempts:
            trace.server, trace.target = exchange.upstream.url, exchange.request_target
            trace.attempt_started_at = exchange.upstream_started_at
    tracer.finish(trace, record)
