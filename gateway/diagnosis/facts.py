"""Results of probes as frozen values, without secrets and tokens."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec


class ServerCertificate(msgspec.Struct, frozen=True):
    """Contents of a server's certificate; times in epoch seconds."""

    subject: str
    issuer: str
    names: tuple[str, ...] = ()
    not_before: float = 0.0
    not_after: float = 0.0


class ConnectionProbe(msgspec.Struct, frozen=True):
    """Result of a connection attempt.

    `step` is the step that failed: `name`, `connect`, `egress proxy`, `TLS`, `time`, `files`; empty after success.
    `detail` is the cause for operators. `verify_error` is OpenSSL's error number for the certificate, else 0.
    `certificate` is that of the server, valid or not. `now` is the local time in epoch seconds.
    """

    origin: str
    """scheme://host:port"""
    step: str = ""
    detail: str = ""
    proxy: str = ""
    """host:port of the egress proxy, if any."""
    verify_error: int = 0
    tls_version: str = ""
    certificate: ServerCertificate | None = None
    now: float = 0.0


class Discovery(msgspec.Struct, frozen=True):
    """Response of /.well-known/openid-configuration; status 0 without a response. `skew` is by how many seconds the
    identity domain's clock is ahead of the local one, from the `Date` of the response.
    """

    status: int = 0
    token_endpoint: str = ""
    skew: float | None = None


class CredentialConfig(msgspec.Struct, frozen=True):
    """Configuration of a credential. `suspicious_secrets` describes what is suspicious about each client
    secret, without the secret itself; it is empty for a plausible secret.
    """

    name: str
    grant: str
    client_auth: str
    client_id: str
    token_url: str
    scope: str = ""
    suspicious_secrets: tuple[str, ...] = ()
    suspicious_client_id: str = ""


class CredentialProbe(msgspec.Struct, frozen=True):
    """Result of a token request: `reason` is the refusal, `CODE: text`; empty if there is a token."""

    config: CredentialConfig
    connection: ConnectionProbe
    discovery: Discovery = Discovery()
    reason: str = ""
    lifetime: float = 0.0
    claims: Mapping[str, Any] = msgspec.field(default_factory=dict)
    skew: float | None = None


@dataclass(frozen=True, slots=True)
class ProbeResponse:
    """Response of an upstream; `fields` by lower-case name, `text` is the start of the body."""

    status: int
    fields: Mapping[str, str] = field(default_factory=dict)
    text: str = field(default="", repr=False)


class RouteProbe(msgspec.Struct, frozen=True):
    """Result of a harmless request with a token.

    `response` is None if there was none; then `error` is the cause, `CODE: text`. `status_without_token` is the status
    of the same request without a token, 0 if it was not sent or got no response. `other_version` is a version of the
    integration that exists, empty if none was found. `redirected_to` is the origin of `response` if a 307 was followed,
    else empty. `is_caller_request` is true for a caller's own request: then `status_without_token` and `other_version`
    are unknown.
    """

    upstream: str
    """The configured URL."""
    method: str
    target: str
    query: Mapping[str, str] = msgspec.field(default_factory=dict)
    """Query parameters that the route sets."""
    response: ProbeResponse | None = None
    error: str = ""
    status_without_token: int = 0
    other_version: str = ""
    scope: str = ""
    redirected_to: str = ""
    is_caller_request: bool = False
