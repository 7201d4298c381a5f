"""State of one request: what each step of the pipeline finds out, the error response, and the one record."""

import logging
import random
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from gateway.errors import BodyTooLarge, CallerGone, GatewayError
from gateway.http.caller_connection import CallerConnection
from gateway.http.fields import COOKIE, field_value, remove_fields
from gateway.http.request_body import RequestBody
from gateway.http.request_head import RequestHead
from gateway.http.response_parser import ResponseHead
from gateway.http.response_writer import ResponseWriter, date_line, make_status_line
from gateway.limits.limit_gate import LimitGate
from gateway.observe.meters import RouteMeter
from gateway.observe.record import Record
from gateway.observe.timestamp import timestamp
from gateway.oic.billed_messages import count_messages
from gateway.proxy.error_response import REASONS, build_error_response, error_status, request_soap_namespace
from gateway.proxy.headers import (
    DIGEST_FIELDS,
    choose_request_id,
    decrement_max_forwards,
    deferred_request_lines,
    read_max_forwards,
)
from gateway.proxy.redirects import MAX_REDIRECTS, resolve_redirect
from gateway.proxy.request_edits import TemplateValues
from gateway.proxy.retry import RetryState
from gateway.proxy.route_table import Route, RouteTable, UpstreamServer
from gateway.proxy.routing import RouteMatch
from gateway.services.service_gate import Place

if TYPE_CHECKING:
    from gateway.telemetry.request_trace import RequestTrace

log = logging.getLogger("gateway.forward")

# After these statuses the framing is in doubt, or the caller still sends: no further request is read from it.
CLOSING_STATUSES = frozenset({400, 408, 413, 414, 431})
UNREADABLE_HEAD = RequestHead("", "", is_http11=True, lines=[], known_fields={})
"""The head of a request that cannot be read."""
UNKNOWN: Any = None
"""The value of an attribute before the step that finds it out."""


class RecordSink(Protocol):
    """Takes each finished record."""

    def __call__(self, record: Record, meter: RouteMeter, service: str, /) -> None:
        """Write the record without blocking. `meter` has it already; `service` is that of its usage, if any."""


class BodyIdScanner(Protocol):
    """Searches a body for the instance id while it streams; `instance_id` is the result so far."""

    instance_id: str | None

    def feed(self, pieces: Sequence[bytes]) -> None:
        """Search the next pieces of the body."""

    def end(self) -> None:
        """Search what is left at the end of the body."""


class Exchange(msgspec.Struct, eq=False):
    """The state of one request. Each pipeline step sets the attributes that it finds out; those that are `UNKNOWN` at
    first may be read from that step on.
    """

    caller: CallerConnection
    head: RequestHead
    body: RequestBody
    response: ResponseWriter
    record: Record
    started_at: float
    route_table: RouteTable
    """That of the arrival: a reload does not change it."""
    request_lines: list[bytes]
    """The caller's field lines to send upstream."""
    host: bytes | None = None
    """The name of the gateway that the caller used."""
    limit_gate: LimitGate | None = None
    """Of a caller with limits."""
    cors_lines: tuple[bytes, ...] = ()
    """Of the response, on routes with `origins`."""
    soap_namespace: str = ""
    """Of the caller's envelope, once it is known."""
    upstream_started_at: float = 0.0
    """When the last attempt began."""
    upstream_ended_at: float = 0.0
    """When the last attempt ended, if the caller reads the response for longer."""
    health_update: Callable[[], None] | None = None
    """Updates the route's health, after the response is out."""
    place: Place | None = None
    """At the route's service, from the moment that the request may be sent."""
    id_scanner: BodyIdScanner | None = None
    """While the response body is searched for the instance id."""
    redirects: int = 0
    """Followed so far."""
    trace: "RequestTrace | None" = None
    """With `telemetry`."""
    needs_fresh_connection: bool = False
    """True: dial, since other idle connections may be dead as well."""
    route_match: RouteMatch[Route] = UNKNOWN
    route: Route = UNKNOWN
    """That of `route_match`."""
    retry_state: RetryState = UNKNOWN
    token: str = UNKNOWN
    upstream: UpstreamServer = UNKNOWN
    request_target: str = UNKNOWN

    def __repr__(self) -> str:
        """Return a text without the token and what the caller sent."""
        return f"<Exchange {self.record.request_id}>"

    @classmethod
    def begin(cls, caller: CallerConnection, head: RequestHead, body: RequestBody, table: RouteTable) -> "Exchange":
        """Return the state of a request that has arrived, with a request id."""
        request_id = choose_request_id(head, new_request_id) if head.has_special_fields else new_request_id()
        record = Record(timestamp(time.time()), request_id=request_id, client=caller.peer, method=head.method or None)
        return cls(
            caller, head, body, ResponseWriter(caller, head.is_http11), record, time.monotonic(), table, head.lines
        )

    # The request ----------------------------------------------------------------------------------------------------

    def prepare_body(self) -> None:
        """Set the limits of the body. Raise BodyTooLarge if its Content-Length, or what has come of a chunked body, is
        above `limits.body` (the rest is counted while it is read), BadRequest if its framing is broken already.
        """
        body, table = self.body, self.route_table
        if body.error is not None:
            raise body.error
        if table.body_limit is not None and (self.head.length or 0) > table.body_limit:
            raise BodyTooLarge
        body.configure(
            replay_limit=self.route.replay_limit,
            limit=table.body_limit,
            send_continue=self.response.send_continue if self.head.expects_continue else None,
            min_rate=table.body_rate,
        )
        body.check_limit()

    def edit_request(self) -> None:
        """Apply to target and field lines what the route, or a shortened body, changes."""
        route, known = self.route, self.head.known_fields
        if self.head.deferred:
            added = deferred_request_lines(self.head.deferred, asks_whole=bool(route.rewrite))
            self.request_lines = [*self.request_lines, *added]
        if self.body.bytes_removed:
            self.request_lines = remove_fields(DIGEST_FIELDS, self.request_lines)
        if COOKIE in known and route.cookies is not None and (line := route.cookies.request_line(known[COOKIE])):
            self.request_lines = [*self.request_lines, line]
        if self.head.method == "OPTIONS" and (hops := read_max_forwards(known)):
            self.request_lines = decrement_max_forwards(self.request_lines, hops)
        if route.edits is not None:
            values = self._template_values()
            self.request_lines = route.edits.edit_lines(self.request_lines, values)
            self.request_target = route.edits.edit_target(self.request_target, values)

    def start_attempt(self) -> None:
        """Count an attempt, and begin its time."""
        self.retry_state.attempts = self.record.attempts = self.retry_state.attempts + 1
        self.upstream_started_at = time.monotonic()
        self.id_scanner = None

    def record_retry(self, reason: str, error: str | None = None) -> None:
        """Count a further attempt, and end the one before it; `error` is why that one had no response."""
        self.route.meter.record_retry(reason)
        self.end_attempt(error)

    def end_attempt(self, error: str | None = None) -> None:
        """End the attempt in the trace, unless it has ended, because another may follow."""
        if self.trace is not None and self.trace.ended_attempts < self.record.attempts:
            times = self.upstream_started_at, time.monotonic()
            self.trace.end_attempt(self.upstream.url, self.request_target, times, error)

    def record_failed_attempt(self, error: GatewayError) -> None:
        """Record the error that ends the request while or after it was sent."""
        if error.blame == "upstream":
            health = self.route.health
            self.health_update = partial(health.record_failure, error.code, error.reason, at=time.time())
        if self.trace is not None:
            self.trace.error = error.code

    def record_token_wait(self, began: float) -> None:
        """Record that the request has waited for a token since then."""
        now = time.monotonic()
        self.record.token_wait_ms = round(self.record.token_wait_ms + (now - began) * 1000, 3)
        if self.trace is not None:
            self.trace.add_wait("token", began, now, self.route.token_source.fetch_trace)

    def follow_redirect(self, response: ResponseHead) -> bool:
        """Change the target to the Location of a 307 of the developer API. Return False, and change nothing, if the
        redirect must not be followed.
        """
        route = self.route
        if not route.follows_redirects_of(self.request_target):
            return False
        values = (field_value(line) for name, line in response.deferred if name == b"location")
        targets = {target.url: target for target in route.upstreams}
        found = resolve_redirect(next(values, b"").decode("latin-1"), at=self.upstream.url, bases=targets)
        may_follow = self.retry_state.may_retry and self.body.is_replayable and self.redirects < MAX_REDIRECTS
        if found is None or not may_follow:
            return False
        self.end_attempt()
        self.redirects += 1
        self.needs_fresh_connection = False
        if route.cookies is not None and found[0] != self.upstream.url:  # cookies belong to one host
            self.request_lines = remove_fields(frozenset({COOKIE}), self.request_lines)
        self.upstream, self.request_target = targets[found[0]], found[1]
        if route.edits is not None:
            self.request_target = route.edits.edit_target(self.request_target, self._template_values())
        return True

    def release_place(self) -> None:
        """Release the place at the service, if the request has one."""
        place, self.place = self.place, None
        if place is not None:
            place.release()

    def _template_values(self) -> TemplateValues:
        record = self.record
        return {
            "request_id": record.request_id or "",
            "route": self.route.name,
            "client": record.client or "",
            "method": self.head.method,
            "path": self.route_match.path,
            "host": (self.host or b"").decode("ascii"),
            "caller": record.caller or "",
        }

    # The response ---------------------------------------------------------------------------------------------------

    def public_base_url(self) -> str:
        """Return the gateway's own URL for responses, without a slash at its end: `public_url`, else the host that the
        caller used, else (HTTP/1.0 without Host) the address that it connected to. Empty for a unix socket.
        """
        if self.route_table.public_url:
            return self.route_table.public_url
        host = self.caller.local_authority() if self.host is None else self.host.decode("ascii")
        return f"{self.caller.scheme}://{host}" if host else ""

    def scan_for_id(self, pieces: Sequence[bytes]) -> None:
        """Search pieces of the response body for the instance id. A defect ends the search, not the delivery."""
        try:
            if self.id_scanner is not None:
                self.id_scanner.feed(pieces)
        except Exception:
            self.id_scanner = None
            log.exception("cannot search a body for the instance id", extra={"event": "defect"})

    def send_error(self, error: GatewayError, *, silently: bool = False) -> None:
        """Send the response of a gateway error. If a response has begun, or `silently`, abort the connection: the
        caller must not take what it has for complete.
        """
        record, response, head = self.record, self.response, self.head
        record.error = error.code
        record.reason = error.reason or (error.detail if error.detail != error.meaning else msgspec.UNSET)
        if silently or response.started or isinstance(error, CallerGone):
            record.status = record.status or error.status
            response.abort()
            return
        response.keep_alive = response.keep_alive and error.status not in CLOSING_STATUSES
        soap = request_soap_namespace(head.known_fields, self.soap_namespace)
        record.status = error_status(error, soap)
        lines, body = build_error_response(error, request_id=record.request_id or "", soap=soap)
        try:
            self._send_generated_response(record.status, lines, body)
        except CallerGone as gone:
            record.status, record.error, record.reason = gone.status, gone.code, f"not delivered: {error.code}"
            response.abort()

    def answer_options(self, allow: Iterable[str]) -> None:
        """Answer an OPTIONS request that ends at the gateway (RFC 9110 §7.6.2, §9.3.7): 204, with the methods."""
        self.record.status = 204
        self._send_generated_response(204, [f"Allow: {', '.join(allow)}".encode()], None)

    def answer_preflight(self, lines: list[bytes]) -> None:
        """Answer the preflight request of a web page."""
        self.record.status = 204
        self._send_generated_response(204, lines, None)

    def _send_generated_response(self, status: int, lines: list[bytes], body: bytes | None) -> None:
        """Send a response that the gateway makes; `body` is None where none may follow."""
        is_head = self.head.method == "HEAD"
        self.response.send_head(
            b"\r\n".join(
                [
                    make_status_line(status, REASONS[status].encode()),
                    *lines,
                    *self.cors_lines,
                    date_line(time.time()),
                    b"X-Request-Id: %b\r\n" % (self.record.request_id or "").encode(),
                ]
            ),
            [] if is_head or body is None else [body],
            None if body is None else len(body),
            has_no_body=is_head or body is None,
            is_request_complete=self.body.is_complete and not self.caller.trailing_size(),
        )

    # The record -----------------------------------------------------------------------------------------------------

    def finish(self, unrouted: RouteMeter, sink: RecordSink) -> None:
        """Release what the request holds, count it for its route, or as `unrouted`, and pass its record to `sink`. Call
        once, at the end.
        """
        if self.place is not None:
            self.place.release()
        if self.health_update is not None:
            self._update_route_health(self.health_update)
        record, now = self.record, time.monotonic()
        # This rounds to three decimals at half the cost of round().
        record.duration_ms = int((now - self.started_at) * 1e6 + 0.5) / 1000
        if self.upstream_started_at:
            record.upstream_ms = int(((self.upstream_ended_at or now) - self.upstream_started_at) * 1e6 + 0.5) / 1000
        record.bytes_out = self.response.bytes_sent
        record.bytes_in = self.body.bytes_read
        if self.caller.reader.pending and record.reason is msgspec.UNSET and (size := self.caller.trailing_size()):
            record.reason = f"{size} bytes after the body"
        if self.id_scanner is not None:
            record.instance_id = self._scanned_id(self.id_scanner)
        if record.upstream_status is not None:
            # Only the last response can be that of a flow: no call with one is retried.
            record.messages = count_messages(
                record.bytes_in - self.body.bytes_removed,
                self.retry_state.method,
                self.request_target,
                record.upstream_status,
                has_instance_id=record.instance_id is not None,
            )
        if self.limit_gate is not None and record.messages:
            self.limit_gate.count_messages(record.messages)
        if record.route is None:
            meter, service = unrouted, ""
            meter.begun += 1
            record.path = self.head.target.partition("?")[0] or None
        else:
            meter, service = self.route.meter, self.route.service_name
        meter.ended.append(record)
        sink(record, meter, service)

    def _update_route_health(self, health_update: Callable[[], None]) -> None:
        """Run the health update. The response is out and must not suffer: a defect is logged."""
        try:
            health_update()
        except Exception:
            log.exception("cannot update the health of a route", extra={"event": "defect"})

    @staticmethod
    def _scanned_id(scanner: BodyIdScanner) -> str | None:
        """Return the instance id found in the streamed body."""
        try:
            scanner.end()
        except Exception:
            log.exception("cannot search a body for the instance id", extra={"event": "defect"})
            return None
        return scanner.instance_id


def new_request_id() -> str:
    """Return a new request id: 128 random bits in hex."""
    return f"{random.getrandbits(128):032x}"
