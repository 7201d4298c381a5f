"""Results of probes as frozen values, without secrets and tokens."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Certificate:
    """Contents of a server's certificate; times in epoch seconds."""

    subject: str
    issuer: str
    names: tuple[str, ...] = ()
    begins: float = 0.0
    ends: float = 0.0


@dataclass(frozen=True, slots=True)
class ConnectionProbe:
    """Result of a connection attempt.

    `step` is the step that failed: `name`, `connect`, `egress proxy`, `TLS`, `time`, `files`; empty after success.
    `detail` is the cause for operators. `verify` is OpenSSL's error number for the certificate, else 0. `certificate`
    is that of the server, valid or not. `now` is the local time in epoch seconds.
    """

    origin: str
    """scheme://host:port"""
    step: str = ""
    detail: str = ""
    proxy: str = ""
    """host:port of the egress proxy, if any."""
    verify: int = 0
    version: str = ""
    certificate: Certificate | None = None
    now: float = 0.0


@dataclass(frozen=True, slots=True)
class Discovery:
    """Response of /.well-known/openid-configuration; status 0 without a response. `skew` is by how many seconds the
    identity domain's clock is ahead of the local one, from the `Date` of the response.
    """

    status: int = 0
    token_endpoint: str = ""
    skew: float | None = None


@dataclass(frozen=True, slots=True)
class CredentialConfig:
    """Configuration of a credential. `doubts` describes what is suspicious about each client secret, without the secret
    itself; it is empty for a plausible secret.
    """

    name: str
    grant: str
    client_auth: str
    client_id: str
    token_url: str
    scope: str = ""
    doubts: tuple[str, ...] = ()
    client_id_doubt: str = ""


@dataclass(frozen=True, slots=True)
class CredentialProbe:
    """Result of a token request: `reason` is the refusal, `CODE: text`; empty if there is a token."""

    shape: CredentialConfig
    contact: ConnectionProbe
    discovery: Discovery = Discovery()
    reason: str = ""
    life: float = 0.0
    claims: Mapping[str, Any] = field(default_factory=dict)
    skew: float | None = None


@dataclass(frozen=True, slots=True)
class ProbeResponse:
    """Response of an upstream; `fields` by lower-case name, `text` is the start of the body."""

    status: int
    fields: Mapping[str, str] = field(default_factory=dict)
    text: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class RouteProbe:
    """Result of a harmless request with a token.

    `reply` is None without a response; then `error` is the cause, `CODE: text`. `bare` is the status of the same
    request without a token, 0 if it was not sent or got no response. `elsewhere` is a version of the integration that
    exists, empty if none was found. `followed` is the origin of `reply` if a 307 was followed, else empty. `in_passing`
    is true for a caller's own request: then `bare` and `elsewhere` are unknown.
    """

    upstream: str
    """The configured URL."""
    method: str
    target: str
    query: Mapping[str, str] = field(default_factory=dict)
    """Query parameters that the route sets."""
    reply: ProbeResponse | None = None
    error: str = ""
    bare: int = 0
    elsewhere: str = ""
    scope: str = ""
    followed: str = ""
    in_passing: bool = False
