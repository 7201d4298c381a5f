"""The shape of the configuration file: data only, frozen, every key described once.

The descriptions here are the JSON Schema's and the reference's (docs/configuration.md). `load` reads a file into
these classes and says what is wrong in a person's words; `wiring` compiles them into ready-made objects. A ValueError
raised here reads "what is wrong; what to do" and never shows the value.
"""

from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Discriminator,
    Field,
    Tag,
    model_validator,
)

from gateway.config.route_model import RouteEntry, RouteSettings
from gateway.config.state_model import State
from gateway.config.strict_model import Proxy, SecretRef, StrictModel, Tls
from gateway.config.values import (
    Address,
    BaseUrl,
    Duration,
    FilePath,
    HostName,
    HttpUrl,
    LineSize,
    Name,
    Network,
    Size,
    Text,
    Workers,
)

# Parameters that the grant, the client authentication or the gateway itself sets (RFC 6749, 7521, 7636, 8707).
RESERVED_PARAMS = frozenset(
    "grant_type client_id client_secret client_assertion client_assertion_type scope username password code "
    "redirect_uri refresh_token assertion code_verifier code_challenge code_challenge_method response_type state "
    "nonce".split()
)


class ClientTls(Tls):
    """How the identity domain's certificate is checked, and the client certificate that is shown to it."""

    cert: FilePath | None = None
    """PEM file of the client certificate, its chain below it; relative to the configuration file."""
    key: FilePath | None = None
    """PEM file of the certificate's private key; omitted: it stands in the file of `cert`."""
    key_password: SecretRef | None = None
    """Password of the private key, by reference."""


class Signing(StrictModel):
    """How assertions are signed (RFC 7523)."""

    private_key: SecretRef
    """Private key in PEM, by reference: RSA of 2048 bits or more, or EC P-256."""
    key_password: SecretRef | None = None
    """Password of the private key, by reference."""
    cert: FilePath | None = None
    """PEM file of its certificate, relative to the configuration file; `x5t` is computed from it."""
    kid: Text | None = None
    """Key id in the head, as the identity domain knows it: the alias of the certificate. Omitted without `x5t` and
    `cert`: the RFC 7638 thumbprint of the key."""
    x5t: Text | None = None
    """Thumbprint of the certificate in the head, in place of the computed one."""
    algorithm: Literal["RS256", "ES256"] | None = None
    """Algorithm; omitted: as the key asks. Identity domains take RS256 only."""
    audience: Text = "https://identity.oraclecloud.com/"
    """Claim `aud`."""
    issuer: Text | None = None
    """Claim `iss` of a user assertion; omitted: the client id. A client's own assertion always has the client id."""
    lifetime: Duration = 120.0
    """Time until an assertion expires; each is used once only."""


def _list_of_one(value: object) -> object:
    return [value] if isinstance(value, str) else value


def _kind(value: object) -> str:
    return "[several]" if isinstance(value, list) else "[one]"


# Told apart by hand, so that a mistake in one shape is not said of the other too; `words` leaves the tags out.
Secrets = Annotated[
    Annotated[SecretRef, Tag("[one]")] | Annotated[Annotated[list[SecretRef], Field(min_length=1)], Tag("[several]")],
    Discriminator(_kind),
]


def _scope(value: object) -> object:
    return " ".join(value) if isinstance(value, list) and all(isinstance(item, str) for item in value) else value


def _not_blank(value: str | None) -> str | None:
    if value is not None and not value.strip():
        raise ValueError("is empty; write the scope, or leave the key out")
    return value


def _unreserved(value: dict[str, str]) -> dict[str, str]:
    if taken := sorted(RESERVED_PARAMS & set(value)):
        raise ValueError(f"must not set {', '.join(taken)}; OAuth itself uses it, use the key of that name if any")
    return value


class Renew(StrictModel):
    """When a token is renewed; each is jittered by up to half as long again, and never more than half of a life."""

    share: Annotated[float, Field(ge=0, le=0.5)] = 0.2
    """Renewed while this share of its life is left."""
    at_least: Duration = 60.0
    """Renewed at least so long before its end."""
    refused_every: Duration = 30.0
    """Shortest time between two renewals that are forced because the upstream refuses the token, unless it accepted the
    token of the first one."""


class BudgetSettings(StrictModel):
    """How often the token endpoint may be asked, by each process."""

    per_second: Annotated[int, Field(ge=1, le=10_000)] = 8
    """Most token requests in a second. A Free identity domain takes 10."""
    per_minute: Annotated[int, Field(ge=1, le=100_000)] = 120
    """Most token requests in a minute. A Free identity domain takes 150."""


class Credential(StrictModel):
    """How a token is obtained."""

    grant: Literal[
        "client_credentials", "authorization_code", "refresh_token", "jwt_bearer", "password", "tls_client_auth"
    ] = "client_credentials"
    """OAuth 2.0 grant; docs/tokens.md tells what each needs."""
    token_url: HttpUrl
    """Token endpoint of the identity domain."""
    insecure: bool = False
    """True: the URLs may be http:// URLs of another machine; the client secret goes there unencrypted."""
    client_id: Text
    """Client id of the application."""
    client_secret: Secrets | None = None
    """Client secret, by reference; a list is tried in order, so that a secret can be rotated without a gap."""
    client_auth: Literal["basic", "post", "private_key_jwt", "tls", "none"] = "basic"
    """How the client authenticates: `basic` (HTTP Basic), `post` (secret in the form), `private_key_jwt` (signed
    assertion), `tls` (client certificate), `none` (public client)."""
    signing: Signing | None = None
    """How assertions are signed: those of `private_key_jwt` and of the grant `jwt_bearer`."""
    scope: Annotated[
        str | None,
        BeforeValidator(_scope, json_schema_input_type=str | list[str] | None),
        AfterValidator(_not_blank),
    ] = None
    """Scope, a string or a list of strings."""
    audience: Text | None = None
    """Form parameter `audience`."""
    resource: Annotated[
        Annotated[list[Text], Field(min_length=1)] | None,
        BeforeValidator(_list_of_one, json_schema_input_type=str | list[str] | None),
    ] = None
    """Form parameter `resource` (RFC 8707), a string or a list of strings; one alone also picks the token of an answer
    that holds several."""
    params: Annotated[dict[str, str], AfterValidator(_unreserved)] = Field(default_factory=dict)
    """Further form parameters of the token request and of the sign-in's address; none that OAuth itself uses."""
    subject: Text | None = None
    """User for whom the grant `jwt_bearer` asks."""
    username: Text | None = None
    """User of the grant `password`."""
    password: SecretRef | None = None
    """Password of the grant `password`, by reference."""
    refresh_token: SecretRef | None = None
    """Refresh token of the grant `refresh_token`, by reference."""
    redirect_uri: HttpUrl | None = None
    """Where the sign-in of `authorization_code` comes back to, as registered in the application; omitted:
    http://127.0.0.1:PORT/callback with any free port, for servers that take any (RFC 8252)."""
    authorize_url: HttpUrl | None = None
    """Where a person signs in for `authorization_code`; omitted: beside `token_url`."""
    revoke_url: HttpUrl | None = None
    """Where `logout` revokes a refresh token (RFC 7009); omitted: beside `token_url`."""
    issuer: Text | None = None
    """Who the answer of a sign-in must say it is from, if it says it (RFC 9207); omitted: the host of the sign-in."""
    timeout: Duration = 10.0
    """Longest time one token request may take."""
    connect_timeout: Duration = 5.0
    """Longest time to reach the token endpoint: name, TCP, TLS, egress proxy."""
    token_wait: Duration = 10.0
    """Longest time a caller waits for a token before it gets 503."""
    renew: Renew = Field(default_factory=Renew)
    """When a token is renewed."""
    prefetch: bool = False
    """True: a token is got at the start, not for the first caller."""
    budget: BudgetSettings | None = None
    """How often the token endpoint may be asked, by each process. Credentials of one endpoint share a budget: the least
    that one of them says. Omitted by all: 8 a second, 120 a minute."""
    tls: ClientTls | None = None
    """How the identity domain's certificate is checked, and the client certificate that is shown to it."""
    proxy: Proxy | None = None
    """Egress proxy to the identity domain; omitted: HTTPS_PROXY and NO_PROXY decide."""


class LimitSettings(StrictModel):
    """What a caller may send."""

    uri: LineSize = 8 * 1024
    """Longest request target."""
    field: LineSize = 16 * 1024
    """Longest header field."""
    fields: Annotated[int, Field(ge=8, le=1000)] = 128
    """Most header fields."""
    head: LineSize = 128 * 1024
    """The whole head."""
    body: Size | None = None
    """Largest request body; omitted: no limit (bodies stream)."""
    body_rate: Size = 1024
    """Least bytes a second of a request body, on average, beyond 60 s that any body may take; 0B: no limit."""
    connections: Annotated[int, Field(ge=1)] = 10_000
    """Most connections of callers at once, to each worker; fewer where the limit of open files does not allow it."""
    address_share: Annotated[float, Field(ge=0.01, le=1)] = 0.5
    """Largest part of `connections` that one caller address may hold (an IPv6 address: its /64 network). 1 where many
    callers share one address: behind a balancer, say. Loopback and unix sockets may always hold all."""


class Pool(StrictModel):
    """Connections to each upstream origin."""

    size: Annotated[int, Field(ge=1)] = 256
    """Most connections to one origin at once; where several routes lead to it, each uses three quarters at most."""
    idle: Duration = 15.0
    """An unused connection is closed after this time."""
    max_age: Duration = 600.0
    """A connection is not used again after this time, so that changes of DNS are followed."""


class LogSettings(StrictModel):
    """What is written to standard output."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """Least severe event that is written; records of requests are always written."""
    format: Literal["auto", "json", "text"] = "auto"
    """`json` lines, readable `text`, or `auto`: text on a terminal."""


def _room(value: int) -> int:
    if value < 1024**2:
        raise ValueError("must be 1MiB or more; write it like 256MiB")
    return value


class HistorySettings(StrictModel):
    """The last calls, which `oic-gateway instances` searches: kept in memory, by each worker for itself, or with
    `state.path` in a file beside it, `PATH.history`. The oldest go first.
    """

    calls: Annotated[int, Field(ge=0)] | None = None
    """Most calls that are kept; 0: none. Omitted: 10000 in memory, in a file as many as `size` takes."""
    keep: Duration = 7 * 86400.0
    """Longest time that a call is kept."""
    size: Annotated[Size, AfterValidator(_room)] = 256 * 1024**2
    """Most room that calls take, in memory or in the file; at least 1MiB."""


class Oci(StrictModel):
    """How secrets are read from OCI Vault; only where a secret is one of it (`oci_vault`)."""

    auth: Literal["instance_principal", "resource_principal", "config_file"] = "instance_principal"
    """Who the gateway is to OCI: the instance that it runs on, its resource (a container instance, a function, a pod),
    or the user of a profile in OCI's configuration file (`~/.oci/config`, or what `OCI_CONFIG_FILE` names)."""
    profile: Text | None = None
    """Profile of `auth: config_file`; omitted: DEFAULT."""
    refresh: Duration = 300.0
    """So long a secret is used without asking OCI again; after a failure it is asked for at once."""
    endpoint: BaseUrl | None = None
    """Where secrets are asked for, in place of the public address in the secret's region."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.profile is not None and self.auth != "config_file":
            raise ValueError("has a `profile`, which only `auth: config_file` uses; write that, or take it out")
        return self


class Config(StrictModel):
    """The whole file."""

    listen: Address = "127.0.0.1:8080"
    """Where callers connect: HOST:PORT or unix:/path; a non-loopback address needs `allow`."""
    admin: Address = "127.0.0.1:9090"
    """Where health, metrics and status are served; never the proxied path space."""
    workers: Workers = 1
    """Processes that serve callers; `auto`: as many as the CPUs that this process may use."""
    allow: list[Network] = Field(default_factory=list)
    """Networks (CIDR) whose callers are served; loopback always is."""
    hosts: list[HostName] = Field(default_factory=list)
    """Further names accepted in Host."""
    public_url: BaseUrl | None = None
    """The gateway's own URL as callers know it, where that is not `http://` and the Host that they sent: behind a
    balancer that ends TLS, say. It stands in place of OIC's in replies."""
    drain: Duration = 330.0
    """At a stop, how long requests under way may take to finish."""
    log: LogSettings = Field(default_factory=LogSettings)
    """What is written to standard output."""
    limits: LimitSettings = Field(default_factory=LimitSettings)
    """What a caller may send."""
    pool: Pool = Field(default_factory=Pool)
    """Connections to each upstream origin."""
    state: State | None = None
    """Where tokens are kept; omitted: in memory, by each process for itself."""
    history: HistorySettings = Field(default_factory=HistorySettings)
    """How many of the last calls can be searched."""
    oci: Oci = Field(default_factory=Oci)
    """How secrets are read from OCI Vault; only where a secret is one of it (`oci_vault`)."""
    credentials: Annotated[dict[Name, Credential], Field(min_length=1)]
    """Credentials by name."""
    defaults: RouteSettings = Field(default_factory=RouteSettings)
    """Any route setting, for all routes that do not say it themselves."""
    routes: Annotated[list[RouteEntry], Field(min_length=1)]
    """The routes."""
