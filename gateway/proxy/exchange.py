"""One request on its way: what is known of it, how it is refused, and the one record that it leaves."""

import logging
import random
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from gateway.errors import ERRORS, CallerGone, GatewayError
from gateway.http.request_body import NO_BODY, RequestBody
from gateway.http.request_head import RequestHead
from gateway.http.response_writer import ResponseWriter, date_line
from gateway.http.server import CallerConnection
from gateway.observe.meters import RouteMeter
from gateway.observe.record import Record
from gateway.observe.timestamp import timestamp
from gateway.proxy.error_response import REASONS, build_problem, soap_version, status_of

log = logging.getLogger("gateway.forward")

BLAMES = {error.code: error.blame for error in ERRORS}
# The caller's framing, or what it still wants to send, is in doubt: no further request is read from it.
CLOSING = frozenset({400, 408, 413, 414, 431})


class BodyIdScanner(Protocol):
    """Looks for the instance id in a body that passes; `instance_id` is what it has found."""

    instance_id: str | None

    def feed(self, pieces: Sequence[bytes]) -> None:
        """The next pieces of the body."""

    def end(self) -> None:
        """Nothing follows."""


class Exchange:
    """The state of one request; lives as long as the request. The walk fills it, each step what it finds out."""

    __slots__ = (
        *(
            "body",
            "caller",
            "response",
            "head",
            "host",
            "explain",
            "meter",
            "record",
            "soap_namespace",
            "started",
            "id_scanner",
        ),
        "upstream_started",
    )

    def __init__(self, caller: CallerConnection, head: RequestHead | None, body: RequestBody = NO_BODY) -> None:
        """`head` is None for what could not be read as a request."""
        self.caller = caller
        self.head = head
        self.body = body
        self.started = time.monotonic()
        self.upstream_started = 0.0
        self.host: bytes | None = None  # the gateway as its caller named it
        self.meter: RouteMeter | None = None
        self.soap_namespace = ""  # the namespace of the envelope that the caller sent, once it has been seen
        self.explain: Callable[[], None] | None = None  # what only explains, run behind the delivery
        self.id_scanner: BodyIdScanner | None = None  # while the instance id is looked for in the reply's body
        self.response = ResponseWriter(caller, head is None or head.is_http11)
        self.record = Record(
            time=timestamp(time.time()), client=caller.peer, method=None if head is None else head.method
        )

    @property
    def is_request_over(self) -> bool:
        """The caller has sent all of the request, and nothing behind it that is no request."""
        return self.body.is_complete and not self.caller.trailing

    def record_upstream(self, upstream_status: int | None, ids: tuple[str | None, str | None]) -> None:
        """Remembers what the upstream answered last, and which run it spoke of: instance id and opc-request-id."""
        record = self.record
        record.upstream_status = upstream_status
        record.instance_id, record.opc_request_id = ids

    def send_error(self, error: GatewayError, *, silently: bool = False) -> None:
        """Answers with an error of ours; after a reply has begun, or `silently`, all that is left is to break it
        visibly.
        """
        record, delivery, head = self.record, self.response, self.head
        told = error.detail if error.detail != error.meaning else None
        record.error, record.reason = error.code, error.reason or told
        record.request_id = record.request_id or new_request_id()
        if silently or delivery.started or isinstance(error, CallerGone):
            record.status = record.status or error.status
            delivery.abort()
            return
        delivery.keep_alive = delivery.keep_alive and error.status not in CLOSING
        soap = soap_version(head.known_fields, self.soap_namespace) if head is not None else self.soap_namespace
        record.status = status = status_of(error, soap)
        lines, body = build_problem(error, request_id=record.request_id, soap=soap)
        lines += [date_line(time.time()), b"X-Request-Id: %b" % record.request_id.encode()]
        bodyless = head is not None and head.method == "HEAD"
        try:
            delivery.begin(
                status,
                REASONS[status].encode(),
                lines,
                length=len(body),
                bodyless=bodyless,
                body=[] if bodyless else [body],
                arrived=self.is_request_over,
            )
        except CallerGone as gone:
            record.status, record.error, record.reason = gone.status, gone.code, f"not delivered: {error.code}"
            delivery.abort()

    def answer_options(self, allow: Iterable[str]) -> None:
        """Answer an OPTIONS request that ends at the gateway (RFC 9110 §7.6.2, §9.3.7): 204, with the methods."""
        record = self.record
        record.status = 204
        lines = [f"Allow: {', '.join(allow)}".encode(), date_line(time.time())]
        lines.append(b"X-Request-Id: %b" % (record.request_id or "").encode())
        self.response.begin(
            204, b"No Content", lines, length=None, bodyless=True, body=[], arrived=self.is_request_over
        )

    def show(self, pieces: Sequence[bytes]) -> None:
        """Show the trail what passes of the body; a defect in it ends the search, and not the delivery."""
        trail = self.id_scanner
        try:
            if trail is not None:
                trail.feed(pieces)
        except Exception:
            self.id_scanner = None
            log.exception("cannot search a body for the instance id", extra={"event": "defect"})

    def run_explanation(self) -> None:
        """Run what only explains. The response is out: nothing here may harm it, so that a defect is logged."""
        try:
            if self.explain is not None:
                self.explain()
        except Exception:
            log.exception("cannot explain a response", extra={"event": "defect"})

    def _searched(self) -> str | None:
        """What the trail has found in the whole body."""
        try:
            if self.id_scanner is None:
                return None
            self.id_scanner.end()
        except Exception:
            log.exception("cannot search a body for the instance id", extra={"event": "defect"})
            return None
        return self.id_scanner.instance_id

    def finish(self, unrouted: RouteMeter) -> Record:
        """Counts the request, for its route or as `unrouted`, and gives its record. Once, at the end."""
        record, meter = self.record, self.meter
        now = time.monotonic()
        elapsed = now - self.started
        record.duration_ms = elapsed * 1000
        record.bytes_out = self.response.bytes_sent
        record.bytes_in = self.body.bytes_read
        if self.upstream_started and record.upstream_ms is None:
            record.upstream_ms = (now - self.upstream_started) * 1000
        if record.reason is None and (trailing := self.caller.trailing):
            record.reason = f"{trailing} bytes behind the body"
        if meter is None:
            meter = unrouted
            meter.begin()
        if self.id_scanner is not None:
            record.instance_id = self._searched()
        if record.upstream_status is not None:
            meter.record_run(has_id=record.instance_id is not None)
        meter.record(
            record.method or "-",
            record.status or 0,
            BLAMES[record.error] if record.error else None,
            elapsed,
            None if record.upstream_ms is None else record.upstream_ms / 1000,
            record.token_wait_ms / 1000,
            record.bytes_in,
            record.bytes_out,
        )
        return record


def new_request_id() -> str:
    """A request id for a caller that gave none: 128 random bits in hex."""
    return f"{random.getrandbits(128):032x}"
