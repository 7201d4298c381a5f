"""Describes why a request of `http_request` failed, without quoting what may be secret."""

import ssl

import aiohttp

from gateway.content.redaction import safe_text
from gateway.network.dial import CannotConnect, Step
from gateway.network.http_request import ResponseTooLarge

# The first match wins. Most texts of aiohttp are not shown: they may quote the response, and so a token.
_ERROR_REASONS: tuple[tuple[type[Exception], str, str], ...] = (
    (aiohttp.ConnectionTimeoutError, "timeout", "no connection in time"),
    (TimeoutError, "timeout", "no complete answer in time"),
    (aiohttp.InvalidURL, "url", "`{key}` is not a usable URL"),
    (aiohttp.NonHttpUrlClientError, "url", "`{key}` is not an http or https URL"),
    (aiohttp.ClientPayloadError, "broken", "the answer ended too soon"),
    (aiohttp.ServerDisconnectedError, "broken", "the connection closed without an answer"),
    (aiohttp.ClientResponseError, "broken", "the answer is not HTTP"),
    (ResponseTooLarge, "unreadable", "the answer is longer than {limit} KiB"),
    (OSError, "network", "the connection failed"),
    (aiohttp.ClientError, "broken", "the exchange failed"),
    (ValueError, "request", "the request cannot be sent"),
)
HTTP_FAILURES: tuple[type[Exception], ...] = (CannotConnect, *(error for error, _, _ in _ERROR_REASONS))
"""What `send_http_request` and the reading of its response raise."""
_STEPS: dict[Step, tuple[str, str]] = {
    "name": ("dns", "the host name does not resolve"),
    "connect": ("connect", "no connection"),
    "tunnel": ("proxy", "the egress proxy refuses the tunnel"),
    "TLS": ("tls", "the TLS handshake failed"),
}


def describe_failure(cause: Exception, *, key: str, limit: int) -> str:
    """Return a code, a colon and why a request failed. `key` is the configuration key of its URL, `limit` that of
    `read_body`.
    """
    if isinstance(cause, CannotConnect):
        return _connect_reason(cause)
    code, text = next((code, text) for kind, code, text in _ERROR_REASONS if isinstance(cause, kind))
    text = text.format(key=key, limit=limit // 1024)
    detail = cause.strerror or "" if isinstance(cause, aiohttp.ClientOSError) else ""
    return f"{code}: {text} ({safe_text(detail)})" if detail else f"{code}: {text}"


def _connect_reason(error: CannotConnect) -> str:
    code, text = _STEPS[error.step]
    cause, detail = error.__cause__, error.cause
    if isinstance(cause, ssl.SSLCertVerificationError) and not error.is_proxy:
        code, text, detail = "tls-trust", "the certificate is not trusted", cause.verify_message
    elif error.is_proxy and error.step != "tunnel":
        code, text, detail = "proxy", "the egress proxy cannot be reached", f"{error.step}: {detail}"
    elif isinstance(cause, OSError) and cause.strerror and not isinstance(cause, ssl.SSLError):
        detail = cause.strerror
    return f"{code}: {text} ({safe_text(detail, limit=200)})"
