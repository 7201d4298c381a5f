"""From finished traces to spans of OTLP, by the semantic conventions of HTTP. Runs in a thread.

The spans have what the record has, which is masked and cut already, and no query strings.
"""

import time
from collections.abc import Sequence
from functools import lru_cache

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, Status

from gateway.content.untrusted_text import DEFAULT_PORTS, bracket_ipv6, read_authority, read_url
from gateway.errors import CallerGone
from gateway.observe.record import MAX_PATH, MAX_REASON, METHODS, Record, remove_secret_parts
from gateway.observe.secret_mask import mask_start
from gateway.telemetry.otlp_resource import (
    SCHEMA_URL,
    SCOPE,
    AttributeValue,
    add_attributes,
    decode_message,
    valid_text,
)
from gateway.telemetry.request_trace import AttemptServer, AttemptTrace, FetchTrace, RequestTrace, WaitTrace
from gateway.telemetry.trace_context import SPAN_ID
from gateway.telemetry.tracer import Trace

KNOWN_METHODS = METHODS | {"CONNECT", "TRACE"}
OTHER_METHOD = "_OTHER"
YIELD_EVERY = 4
"""Traces after which the loop of the callers may run."""
YIELD_TIME = 0.00005
"""Seconds."""

_HAS_REMOTE, _IS_REMOTE = 0x100, 0x200  # SpanFlags


def encode_traces(traces: Sequence[Trace], resource: Resource) -> bytes:
    """Return the request that exports these traces."""
    scope = ScopeSpans(scope=SCOPE, schema_url=SCHEMA_URL)
    writer = _SpanWriter(scope, time.time() - time.monotonic())
    for number, trace in enumerate(traces):
        if isinstance(trace, FetchTrace):
            _add_fetch(writer, trace)
        else:
            _add_request(writer, trace)
        if number % YIELD_EVERY == YIELD_EVERY - 1:
            time.sleep(YIELD_TIME)
    spans_of_process = ResourceSpans(resource=resource, scope_spans=[scope], schema_url=SCHEMA_URL)
    body: bytes = ExportTraceServiceRequest(resource_spans=[spans_of_process]).SerializeToString()
    return body


def read_trace_response(body: bytes) -> tuple[int, str]:
    """Return the number of rejected spans and the text in a response. Raise ValueError if it is malformed."""
    response = decode_message(ExportTraceServiceResponse, body)
    return response.partial_success.rejected_spans, response.partial_success.error_message


class _SpanWriter:
    """Adds spans to a message. `offset` is the time of day minus the monotonic clock, in seconds."""

    def __init__(self, scope: ScopeSpans, offset: float) -> None:
        self._scope = scope
        self._offset = offset

    def add(
        self, ids: tuple[bytes, bytes, bytes], name: str, kind: "Span.SpanKind.ValueType", times: tuple[float, float]
    ) -> Span:
        """Add a span with these ids (trace, span, parent) and times of the monotonic clock, and return it."""
        (trace_id, span_id, parent), (start, end) = ids, times
        return self._scope.spans.add(
            trace_id=trace_id,
            span_id=span_id,
            parent_span_id=parent,
            name=name,
            kind=kind,
            start_time_unix_nano=int((start + self._offset) * 1e9),
            end_time_unix_nano=int((max(start, end) + self._offset) * 1e9),
        )


def _add_request(writer: _SpanWriter, trace: RequestTrace) -> None:
    """Add the spans of one request."""
    record = trace.record
    assert record is not None
    _add_server_span(writer, trace, record)
    for number, wait in enumerate(trace.waits or ()):
        _add_wait_span(writer, trace, wait, record, number)
    attempts = trace.all_attempts(_end_of_last_attempt(trace, record))
    for number, attempt in enumerate(attempts):
        if attempt is not attempts[-1]:
            _add_attempt_span(writer, trace, attempt, record, number)
            continue
        attempt.error = attempt.error or _error_of_status(attempt.status) or record.error
        span = _add_attempt_span(writer, trace, attempt, record, number)
        add_attributes(span, {"oic.instance_id": record.instance_id})


def _add_fetch(writer: _SpanWriter, trace: FetchTrace) -> None:
    """Add the spans of the fetch of a token."""
    trace_id, span_id = bytes.fromhex(trace.trace_id), bytes.fromhex(trace.span_id)
    times = trace.started_at, trace.ended_at
    span = writer.add((trace_id, span_id, b""), "token fetch", Span.SPAN_KIND_INTERNAL, times)
    add_attributes(span, {"oic_gateway.credential": trace.credential, "error.type": trace.error})
    if trace.error is not None:
        span.status.code = Status.STATUS_CODE_ERROR
    url = read_url(trace.token_url)
    for number, request in enumerate(trace.requests):
        ids = trace_id, _derived_id(int(trace.span_id, 16), number + 1), span_id
        span = writer.add(ids, "POST", Span.SPAN_KIND_CLIENT, (request.started_at, request.ended_at))
        attributes: dict[str, AttributeValue] = {
            "http.request.method": "POST",
            "http.response.status_code": request.status,
            "http.request.resend_count": number or None,
            "network.protocol.version": None if request.status is None else "1.1",
            "oic_gateway.credential": trace.credential,
            "error.type": _error_of_status(request.status) or (None if request.result == "ok" else request.result),
        }
        if url is not None:
            attributes["url.full"] = f"{url.scheme}://{url.authority}{url.path}"
            attributes |= _server_attributes(url.scheme, url.host, url.port)
        add_attributes(span, attributes)
        if request.result != "ok":
            span.status.code = Status.STATUS_CODE_ERROR


def _add_server_span(writer: _SpanWriter, trace: RequestTrace, record: Record) -> None:
    method = _method(record)
    name = "HTTP" if method == OTHER_METHOD else method
    parent = bytes.fromhex(trace.traceparent[SPAN_ID].decode())
    span = writer.add(
        (bytes.fromhex(trace.trace_id), _derived_id(trace.server_span_id(), 0), parent),
        name if trace.route_path is None else f"{name} {trace.route_path}",
        Span.SPAN_KIND_SERVER,
        (trace.started_at, _end_of_request(trace, record)),
    )
    span.flags = trace.flags | _HAS_REMOTE | (_IS_REMOTE if parent else 0)
    span.trace_state = valid_text(trace.tracestate.decode("latin-1"))
    status = None if record.status == CallerGone.status and record.error == CallerGone.code else record.status or None
    is_failed = record.error is not None if status is None or status < 400 else status >= 500
    host, port, path = _server_and_path(trace.host, record.path)
    attributes: dict[str, AttributeValue] = {
        "http.request.method": method,
        "http.request.method_original": record.method if method == OTHER_METHOD else None,
        "http.response.status_code": status,
        "http.route": trace.route_path,
        "url.scheme": trace.scheme,
        "url.path": (remove_secret_parts(path) or "")[:MAX_PATH] or None,
        "server.address": host,
        "server.port": port,
        "client.address": record.client,
        "network.protocol.version": "1.1" if trace.is_http11 else "1.0",
        "error.type": record.error or (str(status) if is_failed else None),
        "oic.instance_id": record.instance_id,
        "oic.opc_request_id": record.opc_request_id,
        "oic_gateway.route": record.route,
        "oic_gateway.credential": record.credential,
        "oic_gateway.caller": record.caller,
        "oic_gateway.request_id": record.request_id,
        "oic_gateway.messages": record.messages or None,
    }
    add_attributes(span, attributes)
    if is_failed:
        span.status.code = Status.STATUS_CODE_ERROR
        if isinstance(record.reason, str):
            span.status.message = valid_text(mask_start(record.reason, MAX_REASON))


def _add_wait_span(writer: _SpanWriter, trace: RequestTrace, wait: WaitTrace, record: Record, number: int) -> None:
    ids = (
        bytes.fromhex(trace.trace_id),
        _derived_id(trace.server_span_id(), number + 1),
        _derived_id(trace.server_span_id(), 0),
    )
    span = writer.add(ids, wait.name, Span.SPAN_KIND_INTERNAL, (wait.started_at, wait.ended_at))
    span.flags = trace.flags | _HAS_REMOTE
    if wait.name == "token":
        add_attributes(span, {"oic_gateway.credential": record.credential})
    if wait.link is not None:
        trace_id, _, span_id = wait.link.partition("-")
        span.links.add(trace_id=bytes.fromhex(trace_id), span_id=bytes.fromhex(span_id))


def _add_attempt_span(
    writer: _SpanWriter, trace: RequestTrace, attempt: AttemptTrace, record: Record, number: int
) -> Span:
    method = _method(record)
    ids = bytes.fromhex(trace.trace_id), bytes.fromhex(attempt.span_id), _derived_id(trace.server_span_id(), 0)
    name = "HTTP" if method == OTHER_METHOD else method
    span = writer.add(ids, name, Span.SPAN_KIND_CLIENT, (attempt.started_at, attempt.ended_at))
    span.flags = trace.flags | _HAS_REMOTE
    server, status = attempt.server, attempt.status
    error = attempt.error or _error_of_status(status)
    attributes: dict[str, AttributeValue] = {
        "http.request.method": method,
        "http.response.status_code": status,
        "http.request.resend_count": number or None,
        "network.protocol.version": None if status is None else "1.1",
        "url.full": _url(server, attempt.target),
        "error.type": error,
        "oic_gateway.route": record.route,
    }
    add_attributes(span, attributes | _server_attributes(server.scheme, server.host, server.port))
    if error is not None:
        span.status.code = Status.STATUS_CODE_ERROR
    return span


def _method(record: Record) -> str:
    """Return the method if it is one of HTTP: others could be any text."""
    return record.method if record.method in KNOWN_METHODS and record.method is not None else OTHER_METHOD


def _server_and_path(host: bytes | None, target: str | None) -> tuple[str | None, int | None, str | None]:
    """Return host and port that the caller used, and the path: those of an absolute target if it has one."""
    url = None if target is None or target.startswith("/") else read_url(target)
    if url is None or not url.host:
        return *_split_authority(host), target
    return url.host, url.port, url.path or "/"


def _error_of_status(status: int | None) -> str | None:
    """Return the error of a client span by the status of its response."""
    return str(status) if status is not None and status >= 400 else None


def _end_of_request(trace: RequestTrace, record: Record) -> float:
    return trace.started_at + record.duration_ms / 1000


def _end_of_last_attempt(trace: RequestTrace, record: Record) -> float:
    ended_at = _end_of_request(trace, record)
    if record.upstream_ms is None:
        return ended_at
    return min(ended_at, trace.attempt_started_at + record.upstream_ms / 1000)


def _derived_id(span_id: int, number: int) -> bytes:
    """Return the id of a span inside another one of the gateway; number 0 is that one itself."""
    return ((span_id ^ (number << 32)) or 1).to_bytes(8, "big")


def _url(server: AttemptServer, target: str) -> str:
    """Return the URL of an attempt, without its query."""
    host = bracket_ipv6(server.host)
    port = "" if server.port == DEFAULT_PORTS[server.scheme] else f":{server.port}"
    return f"{server.scheme}://{host}{port}{target.partition('?')[0][:MAX_PATH]}"


def _server_attributes(scheme: str, host: str, port: int | None) -> dict[str, AttributeValue]:
    return {"server.address": host, "server.port": port or DEFAULT_PORTS.get(scheme)}


@lru_cache(maxsize=1024)
def _split_authority(host: bytes | None) -> tuple[str | None, int | None]:
    named = None if not host else read_authority(host.decode("latin-1"))
    return (None, None) if named is None else (named.host, named.port)
