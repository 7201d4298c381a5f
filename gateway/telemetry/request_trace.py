"""What the spans of one request and of one token fetch are made of: ids, times, attempts. Pure.

The request pipeline fills a `RequestTrace` with the little that the record does not have. `span_encoding` makes the
spans of it later, in a thread. All times are seconds of the monotonic clock.
"""

from typing import Protocol

import msgspec

from gateway.observe.record import Record


class Server(Protocol):
    """Where an attempt is sent to."""

    @property
    def scheme(self) -> str:
        """Return `http` or `https`."""

    @property
    def host(self) -> str:
        """Return the host name."""

    @property
    def port(self) -> int:
        """Return the port."""


_SPAN_BITS = (1 << 64) - 1


class AttemptTrace(msgspec.Struct):
    """One attempt to send a request upstream. `ended_at` is 0 if the attempt ends with the request."""

    span_id: str
    started_at: float
    server: Server
    target: str
    ended_at: float = 0.0
    status: int | None = None
    error: str | None = None


class WaitTrace(msgspec.Struct):
    """A time in which the request waited: `queue` or `token`. `link` names the fetch of the token."""

    name: str
    started_at: float
    ended_at: float
    link: str | None = None


class RequestTrace(msgspec.Struct):
    """The trace of one request. `parent_id` is the caller's span, empty in a trace that begins here; `attempt_id` is
    the span id of the first attempt.

    `replaces_fields`: the caller sent `traceparent` or `tracestate`. `is_continued`: its trace goes on, with its
    `tracestate`. `record`, and the attributes after it, are set when the request has ended.
    """

    trace_id: str
    span_id: str
    attempt_id: str
    flags: int
    started_at: float
    parent_id: str = ""
    is_continued: bool = False
    replaces_fields: bool = False
    tracestate: bytes = b""
    attempts: list[AttemptTrace] = []
    waits: list[WaitTrace] = []
    record: Record | None = None
    scheme: str = "http"
    is_http11: bool = True
    host: bytes | None = None
    route_path: str | None = None

    @property
    def span_count(self) -> int:
        """Return the number of spans."""
        return 1 + len(self.waits) + len(self.attempts)

    def start_attempt(self, server: Server, target: str, now: float) -> None:
        """Begin an attempt to send the request."""
        number = len(self.attempts)
        span_id = f"{(int(self.attempt_id, 16) + number) & _SPAN_BITS or 1:016x}" if number else self.attempt_id
        self.attempts.append(AttemptTrace(span_id, now, server, target))

    def traceparent_line(self) -> str:
        """Return the `traceparent` line of the current attempt, with CRLF."""
        return f"traceparent: 00-{self.trace_id}-{self.attempts[-1].span_id}-0{self.flags}\r\n"

    def add_wait(self, name: str, began: float, ended: float, link: str | None = None) -> None:
        """Record a time in which the request waited."""
        self.waits.append(WaitTrace(name, began, ended, link))

    def end_attempt(self, now: float, error: str | None = None) -> None:
        """End the current attempt, because another follows; `error` is why it has no response."""
        attempt = self.attempts[-1]
        attempt.ended_at, attempt.error = attempt.ended_at or now, error

    def fail_attempt(self, error: str) -> None:
        """Record why the current attempt, if there is one, has no response, or none that can be delivered."""
        if self.attempts:
            self.attempts[-1].error = error

    def record_response(self, status: int | None) -> None:
        """Record the status of the current attempt."""
        if self.attempts:
            self.attempts[-1].status = status


class TokenRequestTrace(msgspec.Struct):
    """One request to a token endpoint; `result` is `ok`, `refused` or `unavailable`."""

    started_at: float
    ended_at: float
    result: str


class FetchTrace(msgspec.Struct):
    """The trace of one fetch of a token, for all requests that wait for it."""

    trace_id: str
    span_id: str
    credential: str
    token_url: str
    started_at: float
    ended_at: float = 0.0
    error: str | None = None
    requests: list[TokenRequestTrace] = []

    @property
    def span_count(self) -> int:
        """Return the number of spans."""
        return 1 + len(self.requests)

    @property
    def link(self) -> str:
        """Return what `WaitTrace.link` has for this fetch."""
        return f"{self.trace_id}-{self.span_id}"
