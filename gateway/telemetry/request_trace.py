"""What the spans of one request and of one token fetch are made of: ids, times, attempts. Pure.

The request pipeline fills a `RequestTrace` with the little that the record does not have. `span_encoding` makes the
spans of it later, in a thread. All times are seconds of the monotonic clock.
"""

from typing import Protocol

import msgspec

from gateway.observe.record import Record


class AttemptServer(Protocol):
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
    """One attempt to send a request upstream. `error` is why it has no response, or none that can be delivered."""

    span_id: str
    started_at: float
    ended_at: float
    server: AttemptServer
    target: str
    status: int | None
    error: str | None


class WaitTrace(msgspec.Struct):
    """A time in which the request waited: `queue` or `token`. `link` names the fetch of the token."""

    name: str
    started_at: float
    ended_at: float
    link: str | None = None


class RequestTrace(msgspec.Struct):
    """The trace of one request. Most requests have one attempt and no wait: little is stored for them, since every call
    pays for it.

    `attempt_id` is the span id of the present attempt, `status` and `error` are its result; `earlier` has the attempts
    before it. `replaces_fields`: the caller sent `traceparent` or `tracestate`. If its trace goes on, `traceparent` and
    `tracestate` are the values of its fields, else they are empty.

    `record` and the attributes after it are set when the request has ended. `server` is None if nothing was sent.
    """

    trace_id: str
    attempt_id: str
    flags: int
    started_at: float
    scheme: str = "http"
    is_http11: bool = True
    host: bytes | None = None
    traceparent: bytes = b""
    tracestate: bytes = b""
    replaces_fields: bool = False
    status: int | None = None
    error: str | None = None
    ended_attempts: int = 0
    earlier: list[AttemptTrace] | None = None
    waits: list[WaitTrace] | None = None
    record: Record | None = None
    route_path: str | None = None
    server: AttemptServer | None = None
    target: str = ""
    attempt_started_at: float = 0.0

    @property
    def span_count(self) -> int:
        """Return the number of spans."""
        return 1 + len(self.waits or ()) + len(self.earlier or ()) + (self.server is not None)

    def add_wait(self, name: str, began: float, ended: float, link: str | None = None) -> None:
        """Record a time in which the request waited."""
        self.waits = [*(self.waits or ()), WaitTrace(name, began, ended, link)]

    def end_attempt(self, server: AttemptServer, target: str, times: tuple[float, float], error: str | None) -> None:
        """Record the present attempt, because another follows."""
        attempt = AttemptTrace(self.attempt_id, *times, server, target, self.status, error or self.error)
        self.earlier = [*(self.earlier or ()), attempt]
        self.attempt_id = f"{(int(self.attempt_id, 16) + 1) & _SPAN_BITS or 1:016x}"
        self.status = self.error = None
        self.ended_attempts += 1

    def all_attempts(self, ended_at: float) -> list[AttemptTrace]:
        """Return all attempts; the last one ended then."""
        attempts = [*(self.earlier or ())]
        if self.server is not None:
            times = self.attempt_started_at, ended_at
            attempts.append(AttemptTrace(self.attempt_id, *times, self.server, self.target, self.status, self.error))
        return attempts

    def server_span_id(self) -> int:
        """Return the id of the span of the whole request, which is derived from that of the first attempt."""
        first = self.earlier[0].span_id if self.earlier else self.attempt_id
        return int(first, 16) ^ 1 << 63 or 1


class TokenRequestTrace(msgspec.Struct):
    """One request to a token endpoint; `result` is `ok`, `refused` or `unavailable`, `status` that of the response."""

    started_at: float
    ended_at: float
    result: str
    status: int | None


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

    def add_request(self, started_at: float, ended_at: float, result: str, status: int | None) -> None:
        """Record a request to the token endpoint."""
        self.requests.append(TokenRequestTrace(started_at, ended_at, result, status))

    @property
    def link(self) -> str:
        """Return what `WaitTrace.link` has for this fetch."""
        return f"{self.trace_id}-{self.span_id}"
