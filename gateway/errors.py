"""The errors that the gateway sends, each with code, status, blame, meaning and remedy. Pure.

Each error is a class, whose facts are class data: responses, records, metrics and documentation use the same table
(`ERRORS`). A class exists only if it has its own remedy. The text of a cause is only for the log (`reason`), never for
a response.
"""

from typing import ClassVar, Literal

Blame = Literal["caller", "identity", "upstream", "gateway"]


class GatewayError(Exception):
    """The gateway responds to a request with an error. `detail` is for the caller, `reason` only for operators.
    `fields` are additional field lines of the response.
    """

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
        fields: tuple[str, ...] = (),
    ) -> None:
        super().__init__(detail or self.meaning)
        self.detail = detail or self.meaning
        self.reason = reason
        self.retry_after = retry_after
        self.allow = allow
        self.fields = fields


class BadRequest(GatewayError):
    """The request is malformed or ambiguous (RFC 9112 §2.2, §6.3, RFC 9110 §7.2)."""

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


class UnknownCaller(GatewayError):
    """The route has `callers`, and the request proves none of them; `fields` are the challenges (RFC 9110 §15.5.2)."""

    code = "unknown-caller"
    status = 401
    blame = "caller"
    meaning = "The request does not prove which caller it comes from."
    remedy = (
        "Send exactly one caller's user, key, token or certificate, and a correct one; the record's `reason` names the "
        "wrong proof."
    )


class CallerNotAllowed(GatewayError):
    """The caller is known, but is not one of the route's `callers`."""

    code = "caller-not-allowed"
    status = 403
    blame = "caller"
    meaning = "This caller may not use this route."
    remedy = "Call another route, or add the caller to the route's `callers`."


class NoRoute(GatewayError):
    """No configured path is a prefix of the target."""

    code = "no-route"
    status = 404
    blame = "caller"
    meaning = "No route is configured for this path."
    remedy = "Compare the path with the `path` of the routes; `/status` on the admin port lists them."


class MethodNotAllowed(GatewayError):
    """The route does not allow this method; `allow` lists the allowed ones (RFC 9110 §15.5.6)."""

    code = "method-not-allowed"
    status = 405
    blame = "caller"
    meaning = "This route does not allow this method."
    remedy = "Use a method of the `Allow` field, or add it to the route's `methods`."


class RequestTimeout(GatewayError):
    """The head or the body of a request did not arrive in time (RFC 9110 §15.5.9)."""

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
    """A field is longer than `limits` allows, or there are too many fields (RFC 6585 §5)."""

    code = "headers-too-large"
    status = 431
    blame = "caller"
    meaning = "A header field is too long, or there are too many of them."
    remedy = "Send fewer or shorter fields, or raise `limits.field` or `limits.fields`."


class TooManyRequests(GatewayError):
    """The caller has reached its `rate` or `quota` (RFC 6585 §4); `fields` describe its limits."""

    code = "too-many-requests"
    status = 429
    blame = "caller"
    meaning = "The caller has reached its limit of calls or messages; nothing was sent."
    remedy = "Try again after `Retry-After`; call less often, or raise the caller's `rate`, `burst` or `quota`."


class CallerGone(GatewayError):
    """The caller closed the connection before its response was complete; appears only in the record."""

    code = "caller-gone"
    status = 499
    blame = "caller"
    meaning = "The caller closed the connection before the response was complete."
    remedy = "Raise the caller's time limit; a run in OIC may take five minutes."


class TokenRefused(GatewayError):
    """The identity domain permanently refuses a token: wrong client, secret, scope or grant. An operator must act.

    `new_refresh_token` is from an otherwise unusable response: the refresh token that was sent may be invalid now.
    `response_status` is the status of the response, if there was one.
    """

    new_refresh_token: str | None = None
    response_status: int | None = None

    code = "token-refused"
    status = 502
    blame = "identity"
    meaning = "The identity domain permanently refuses a token for this route's credential."
    remedy = "Run `oic-gateway check --live`; `/status` on the admin port shows the identity domain's error code."


class TokenUnavailable(GatewayError):
    """The identity domain is down, slow, rate limiting, or sent an invalid response; the gateway retries.

    `new_refresh_token` is from an otherwise unusable response. `response_status` is the status of the response, if
    there was one.
    """

    new_refresh_token: str | None = None
    response_status: int | None = None

    code = "token-unavailable"
    status = 503
    blame = "identity"
    meaning = "The gateway cannot get a token at the moment."
    remedy = "Try again after `Retry-After`; check the identity domain and the network path to it."


class UpstreamUnreachable(GatewayError):
    """No connection could be established; nothing of the request was sent."""

    code = "upstream-unreachable"
    status = 502
    blame = "upstream"
    meaning = "The upstream cannot be reached; nothing was sent."
    remedy = (
        "Check name, port, TLS trust, egress proxy and the instance's allow-list; the record's `reason` names the "
        "cause."
    )


class UpstreamTimeout(GatewayError):
    """The request was sent and no response arrived in time; its outcome is unknown."""

    code = "upstream-timeout"
    status = 504
    blame = "upstream"
    meaning = "The upstream did not respond in time; the outcome is unknown."
    remedy = "Look for the run in OIC before you try again; raise `timeout.response` if runs take longer."


class UpstreamBroken(GatewayError):
    """The upstream's response violates HTTP or is truncated."""

    code = "upstream-broken"
    status = 502
    blame = "upstream"
    meaning = "The response of the upstream was malformed or truncated; the outcome is unknown."
    remedy = "Look for the run in OIC before you try again; the record's `reason` contains the cause."


class UpstreamDown(GatewayError):
    """The service did not answer several calls in a row: the circuit is open, and calls are not sent for a while."""

    code = "upstream-down"
    status = 503
    blame = "upstream"
    meaning = "The OIC service does not answer at the moment; nothing was sent."
    remedy = (
        "Try again after `Retry-After`. `services` in `/status` contains the failure that opened the circuit; the "
        "gateway tries the service again by itself."
    )


class Overloaded(GatewayError):
    """All connections are busy, or all places of the service are taken, and none became free in time."""

    code = "overloaded"
    status = 503
    blame = "gateway"
    meaning = "The gateway has reached its limit of connections, or of calls to the service at once."
    remedy = (
        "Try again after `Retry-After`; raise the limit that `reason` names (`pool.size`, `limits.connections`, "
        "`limits.address_share`, `calls` or `wait` of the service), or add a replica or a message pack."
    )


class Draining(GatewayError):
    """The gateway is stopping and accepts no new requests."""

    code = "draining"
    status = 503
    blame = "gateway"
    meaning = "The gateway is shutting down."
    remedy = "Try again after `Retry-After`; another replica or the restarted gateway responds."


class LoopDetected(GatewayError):
    """The request has passed this gateway before: `Via` contains its name (RFC 5842 §7.2, RFC 9110 §7.6.3)."""

    code = "loop-detected"
    status = 508
    blame = "gateway"
    meaning = "The request has passed this gateway before: the upstream of a route leads back to it."
    remedy = "Set the `upstream` of the route to OIC, not to this gateway or another one that leads back to it."


class Lost(GatewayError):
    """The process of the call was killed; appears only in the history."""

    code = "lost"
    status = 500
    blame = "gateway"
    meaning = "The process was killed before the call ended; the outcome is unknown."
    remedy = "Look for the run in OIC before you try again; the log contains when and how the process ended."


class Internal(GatewayError):
    """A defect of the gateway; the log contains the traceback."""

    code = "internal"
    status = 500
    blame = "gateway"
    meaning = "The gateway failed because of a defect."
    remedy = "Report it with the log line of the same `request_id`."


ERRORS: tuple[type[GatewayError], ...] = (
    BadRequest,
    UnknownCaller,
    Forbidden,
    CallerNotAllowed,
    NoRoute,
    MethodNotAllowed,
    RequestTimeout,
    BodyTooLarge,
    UriTooLong,
    ExpectationFailed,
    TooManyRequests,
    HeadersTooLarge,
    CallerGone,
    TokenRefused,
    TokenUnavailable,
    UpstreamUnreachable,
    UpstreamTimeout,
    UpstreamBroken,
    UpstreamDown,
    Overloaded,
    Draining,
    LoopDetected,
    Lost,
    Internal,
)
BLAME_BY_CODE = {error.code: error.blame for error in ERRORS}


def defect_origin(error: BaseException) -> str:
    """Return the class of a defect, and the module and line that raised it: `KeyError at gateway.oauth.grants:12`. Omit
    its text, which may contain a secret.
    """
    traceback, origin = error.__traceback__, ""
    while traceback is not None:
        name = str(traceback.tb_frame.f_globals.get("__name__", ""))
        if name.startswith("gateway.") or not origin:
            origin = f" at {name}:{traceback.tb_lineno}"
        traceback = traceback.tb_next
    return f"{type(error).__name__}{origin}"
