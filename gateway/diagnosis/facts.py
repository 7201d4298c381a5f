"""What was gathered, as values: no secret, no token."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Certificate:
    """What a server's certificate says; instants in epoch seconds."""

    subject: str
    issuer: str
    names: tuple[str, ...] = ()
    begins: float = 0.0
    ends: float = 0.0


@dataclass(frozen=True, slots=True)
class ConnectionProbe:
    """How far a connection came.

    `step` is the one that failed: `name`, `connect`, `egress proxy`, `TLS`, `time`, `files`; empty where all went well.
    `detail` says how, in words for operators. `verify` is OpenSSL's number for what is wrong with the certificate, 0
    for anything else; `certificate` is shown whether it is good or not. `now` is the time of day here.
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
    """What /.well-known/openid-configuration answered: status 0 where nothing did. `skew` is how many seconds the
    identity domain's clock is ahead of this one, by the `Date` of the answer.
    """

    status: int = 0
    token_endpoint: str = ""
    skew: float | None = None


@dataclass(frozen=True, slots=True)
class CredentialConfig:
    """The configured part of a credential, as far as it tells something; `doubts` says what is suspicious of each
    client secret, without showing it, and is empty for one that looks well.
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
    """What became of a credential: `reason` is the refusal, code and colon first; or empty, and there is a token."""

    shape: CredentialConfig
    contact: ConnectionProbe
    discovery: Discovery = Discovery()
    reason: str = ""
    life: float = 0.0
    claims: Mapping[str, Any] = field(default_factory=dict)
    skew: float | None = None


@dataclass(frozen=True, slots=True)
class ProbeResponse:
    """What an upstream answered; `fields` by lower-case name, `text` the beginning of the body."""

    status: int
    fields: Mapping[str, str] = field(default_factory=dict)
    text: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class RouteProbe:
    """What a harmless request with a token came to.

    `reply` is None where there was none, and `error` says why, code and colon first. `bare` is the status that the same
    request got without a token, 0 where it was not asked or not answered. `elsewhere` is a version of the integration
    that does answer, empty where none was found. `followed` is the origin that a 307 was followed to, where `reply`
    comes from; empty: none was. `in_passing`: the request was a caller's, and nothing was asked again: neither `bare`
    nor `elsewhere` is known.
    """

    upstream: str
    """The configured URL."""
    method: str
    target: str
    query: Mapping[str, str] = field(default_factory=dict)
    """What the route sets."""
    reply: ProbeResponse | None = None
    error: str = ""
    bare: int = 0
    elsewhere: str = ""
    scope: str = ""
    followed: str = ""
    in_passing: bool = False
