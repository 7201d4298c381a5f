"""The trace of a request in the pipeline: begun with the request, sent with each attempt, exported after the record."""

import time

from gateway.http.fields import remove_fields
from gateway.proxy.exchange import Exchange
from gateway.telemetry.request_trace import RequestTrace
from gateway.telemetry.trace_context import TRACEPARENT, TRACESTATE
from gateway.telemetry.tracer import Tracer

_REPLACED, _CONTINUED = frozenset({TRACEPARENT, TRACESTATE}), frozenset({TRACEPARENT})


def start_trace(exchange: Exchange, tracer: Tracer) -> None:
    """Begin the trace of the request, or continue the caller's."""
    trace = tracer.start(exchange.head.known_fields, exchange.caller.peer, exchange.started_at)
    exchange.trace, exchange.record.trace_id = trace, trace.trace_id


def traced_lines(exchange: Exchange, trace: RequestTrace) -> list[bytes]:
    """Return the caller's field lines without its `traceparent`, which the gateway replaces, and without its
    `tracestate` unless its trace goes on (W3C Trace Context §3.3).
    """
    lines = exchange.head.lines
    return remove_fields(_CONTINUED if trace.is_continued else _REPLACED, lines) if trace.replaces_fields else lines


def trace_line(exchange: Exchange, trace: RequestTrace) -> str:
    """Return the `traceparent` line of the attempt; empty if the route sets or removes the field itself."""
    edits = exchange.route_match.route.edits
    return "" if edits is not None and TRACEPARENT in edits.dropped else trace.traceparent_line()


def finish_trace(exchange: Exchange, trace: RequestTrace, tracer: Tracer) -> None:
    """Export the trace, if it is to be exported, after the record is written."""
    record = exchange.record
    trace.scheme, trace.is_http11, trace.host = exchange.caller.scheme, exchange.head.is_http11, exchange.host
    if record.route is not None:
        trace.route_path = exchange.route_match.route.path
    if tracer.finish(trace, record) and exchange.meter is not None:
        exchange.meter.record_exemplar(trace.trace_id, record.duration_ms / 1000, time.time())
