"""What can go wrong on the way of a request, said once: code, status, blame, what it means and what to do.

Every error that the gateway makes itself is a class here; its facts are class data, so that the reply, the record, the
metrics and the documentation read the same table (`ERRORS`). A class exists only where someone must act differently.
The text of a cause never leaves the process in a reply: `reason` is for the log alone.
"""

from typing import ClassVar, Literal

Blame = Literal["caller", "identity", "upstream", "gateway"]


class GatewayError(Exception):
    """A request ends with an answer of our own. `detail` may be shown to the caller, `reason` only to operators."""

    code: ClassVar[str]
    status: ClassVar[int]
    blame: ClassVar[Blame]
    meaning: ClassVar[str]
    remedy: ClassVar[str]

    def __init__(
        self,
        detail: str = "",
        *,
        reason: str = "",
        retry_after: float | None = None,
        allow: tuple[str, ...] = (),
    ) -> None:
        super().__init__(detail or self.meaning)
        self.detail = detail or self.meaning
        self.reason = reason
        self.retry_after = retry_after
        self.allow = allow


class BadRequest(GatewayError):
    """The request cannot be read without guessing (RFC 9112 §2.2, §6.3, RFC 9110 §7.2)."""

    code = "bad-request"
    status = 400
    blame = "caller"
    meaning = "The request is malformed or its target is ambiguous."
    remedy = "Send well-formed HTTP/1.1; no dot segments, encoded slashes or NUL in the path, exactly one valid Host."


class Forbidden(GatewayError):
    """The caller's address, Host or browser origin is not allowed."""

    code = "forbidden"
    status = 403
    blame = "caller"
    meaning = "This caller may not use the gateway."
    remedy = "Add the address to `allow`, the name to `hosts`, or the origin to the route's `origins`."


class NoRoute(GatewayError):
    """No configured path is a prefix of the target."""

    code = "no-route"
    status = 404
    blame = "caller"
    meaning = "No route is configured for this path."
    remedy = "Compare the path with the `path` of the routes; `/status` on the admin port lists them."


class MethodNotAllowed(GatewayError):
    """The route does not take this method; `allow` lists those it takes (RFC 9110 §15.5.6)."""

    code = "method-not-allowed"
    status = 405
    blame = "caller"
    meaning = "This route does not allow this method."
    remedy = "Use a method of the `Allow` field, or add it to the route's `methods`."


class RequestTimeout(GatewayError):
    """The head or the body of a request stopped coming (RFC 9110 §15.5.9)."""

    code = "request-timeout"
    status = 408
    blame = "caller"
    meaning = "The request was not complete in time."
    remedy = "Send exactly `Content-Length` bytes, or the last chunk; check the network before the gateway."


class BodyTooLarge(GatewayError):
    """The body is longer than `limits.body` (RFC 9110 §15.5.14)."""

    code = "body-too-large"
    status = 413
    blame = "caller"
    meaning = "The request body is larger than the gateway accepts."
    remedy = "Send less, or raise `limits.body`."


class UriTooLong(GatewayError):
    """The request target is longer than `limits.uri` (RFC 9110 §15.5.15)."""

    code = "uri-too-long"
    status = 414
    blame = "caller"
    meaning = "The request target is longer than the gateway accepts."
    remedy = "Shorten the target, or raise `limits.uri`."


class ExpectationFailed(GatewayError):
    """An `Expect` other than 100-continue (RFC 9110 §10.1.1)."""

    code = "expectation-failed"
    status = 417
    blame = "caller"
    meaning = "The gateway does not support this expectation."
    remedy = "Remove the `Expect` field, or send `100-continue`."


class HeadersTooLarge(GatewayError):
    """A field, or their number, is over `limits` (RFC 6585 §5)."""

    code = "headers-too-large"
    status = 431
    blame = "caller"
    meaning = "A header field is too long, or there are too many of them."
    remedy = "Send fewer or shorter fields, or raise `limits.field` or `limits.fields`."


class CallerGone(GatewayError):
    """The caller hung up before its reply was complete; only ever seen in the record."""

    code = "caller-gone"
    status = 499
    blame = "caller"
    meaning = "The caller closed the connection before the response was complete."
    remedy = "Raise the caller's time limit; a run in OIC may take five minutes."


class TokenRefused(GatewayError):
    """The identity domain said no for good: wrong client, secret, scope or grant. Someone must act.

    `successor` is a refresh token that came with an answer of no use otherwise: the one used for it may be gone.
    """

    successor: str | None = None

    code = "token-refused"
    status = 502
    blame = "identity"
    meaning = "The identity domain permanently refuses a token for this route's credential."
    remedy = "Run `oic-gateway check --live`; `/status` on the admin port shows the identity domain's error code."


class TokenUnavailable(GatewayError):
    """The identity domain is down, slow, limiting, or answered nonsense; it is tried again. `successor`: see above."""

    successor: str | None = None

    code = "token-unavailable"
    status = 503
    blame = "identity"
    meaning = "The gateway cannot get a token at the moment."
    remedy = "Try again after `Retry-After`; check the identity domain and the network path to it."


class UpstreamUnreachable(GatewayError):
    """No connection could be made; not a byte of the request was sent."""

    code = "upstream-unreachable"
    status = 502
    blame = "upstream"
    meaning = "The upstream cannot be reached; nothing was sent."
    remedy = (
        "Check name, port, TLS trust, egress proxy and the instance's allow-list; the record's `reason` names the "
        "cause."
    )


class UpstreamTimeout(GatewayError):
    """The request was sent and no reply came in time; its outcome is unknown."""

    code = "upstream-timeout"
    status = 504
    blame = "upstream"
    meaning = "The upstream did not respond in time; the outcome is unknown."
    remedy = "Look for the run in OIC before you try again; raise `timeout.response` if runs take longer."


class UpstreamBroken(GatewayError):
    """The upstream's reply breaks HTTP, or ended too soon."""

    code = "upstream-broken"
    status = 502
    blame = "upstream"
    meaning = "The response of the upstream was malformed or truncated; the outcome is unknown."
    remedy = "Look for the run in OIC before you try again; the record's `reason` contains the cause."


class Overloaded(GatewayError):
    """All connections are busy and none came free in time."""

    code = "overloaded"
    status = 503
    blame = "gateway"
    meaning = "The gateway has reached its limit of connections."
    remedy = (
        "Try again after `Retry-After`; raise the limit that `reason` names (`pool.size`, `limits.connections`, "
        "`limits.address_share`), or add a replica."
    )


class Draining(GatewayError):
    """The gateway is stopping and takes no new requests."""

    code = "draining"
    status = 503
    blame = "gateway"
    meaning = "The gateway is shutting down."
    remedy = "Try again after `Retry-After`; another replica or the restarted gateway responds."


class LoopDetected(GatewayError):
    """The request has passed this gateway before (RFC 5842 §7.2, RFC 9110 §7.6.3): its own name is in `Via`."""

    code = "loop-detected"
    status = 508
    blame = "gateway"
    meaning = "The request has passed this gateway before: the upstream of a route leads back to it."
    remedy = "Set the `upstream` of the route to OIC, not to this gateway or another one that leads back to it."


class Lost(GatewayError):
    """A call whose process was killed; only ever seen in the history."""

    code = "lost"
    status = 500
    blame = "gateway"
    meaning = "The process was killed before the call ended; the outcome is unknown."
    remedy = "Look for the run in OIC before you try again; the log contains when and how the process ended."


class Internal(GatewayError):
    """A defect of the gateway itself; the log holds the trace."""

    code = "internal"
    status = 500
    blame = "gateway"
    meaning = "The gateway failed because of a defect."
    remedy = "Report it with the log line of the same `request_id`."


ERRORS: tuple[type[GatewayError], ...] = (
    BadRequest,
    Forbidden,
    NoRoute,
    MethodNotAllowed,
    RequestTimeout,
    BodyTooLarge,
    UriTooLong,
    ExpectationFailed,
    HeadersTooLarge,
    CallerGone,
    TokenRefused,
    TokenUnavailable,
    UpstreamUnreachable,
    UpstreamTimeout,
    UpstreamBroken,
    Overloaded,
    Draining,
    LoopDetected,
    Lost,
    Internal,
)
