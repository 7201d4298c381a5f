"""The shape of the configuration file: data only, frozen, every key described once.

The descriptions here are the JSON Schema's and the reference's (docs/configuration.md). `load` reads a file into
these classes and says what is wrong in a person's words; `wiring` compiles them into ready-made objects. A ValueError
raised here reads "what is wrong; what to do" and never shows the value.
"""

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from gateway.config.values import (
    PATH_PATTERN,
    VARIABLE_PATTERN,
    Address,
    BaseUrl,
    Duration,
    FilePath,
    HostName,
    HttpUrl,
    LineSize,
    Name,
    Network,
    Origin,
    Size,
)

# Parameters that the grant, the client authentication or the gateway itself sets (RFC 6749, 7521, 7636, 8707).
RESERVED_PARAMS = frozenset(
    "grant_type client_id client_secret client_assertion client_assertion_type scope username password code "
    "redirect_uri refresh_token assertion code_verifier response_type state".split()
)
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


class Part(BaseModel):
    """Any mapping of the file: frozen, strict, unknown keys refused."""

    model_config = ConfigDict(
        frozen=True, strict=True, extra="forbid", hide_input_in_errors=True, use_attribute_docstrings=True
    )


class SecretRef(Part):
    """Where a secret is found; exactly one of the two."""

    file: FilePath | None = None
    """File that holds the secret, relative to the configuration file; a newline at its end is left off."""
    env: Annotated[str, Field(pattern=VARIABLE_PATTERN)] | None = None
    """Environment variable that holds the secret."""

    @model_validator(mode="before")
    @classmethod
    def _reference(cls, value: object) -> object:
        if isinstance(value, str | int | float):
            raise ValueError("a secret must not stand in the file; write {file: /path} or {env: NAME}")  # noqa: TRY004 - pydantic reads ValueError
        return value

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.file is None) == (self.env is None):
            raise ValueError("needs exactly one of `file` and `env`; write {file: /path} or {env: NAME}")
        return self


class Tls(Part):
    """How the other side's certificate is checked."""

    ca: FilePath | None = None
    """PEM file of the authorities to trust in place of the system's, relative to the configuration file."""


class Proxy(Part):
    """The egress proxy; a CONNECT tunnel is made through it."""

    url: BaseUrl
    """Address of the proxy, like http://proxy.corp:3128."""
    username: str | None = None
    """User for the proxy's Basic authentication."""
    password: SecretRef | None = None
    """Password for the proxy's Basic authentication, by reference."""

    @model_validator(mode="after")
    def _both(self) -> Self:
        if self.password is not None and self.username is None:
            raise ValueError("has a `password` but no `username`; write both or none")
        if ":" in (self.username or ""):  # RFC 7617 §2
            raise ValueError("has a colon in `username`; Basic authentication cannot carry it, use another user")
        return self


class Timeout(Part):
    """How long each step may take."""

    connect: Duration | None = None
    """To reach the upstream: name, TCP, TLS, and a free connection of the pool. Default 5s."""
    response: Duration | None = None
    """From the whole request sent to the first byte of the reply. Default 330s: OIC may run for five minutes."""
    idle: Duration | None = None
    """Longest silence within a body, either way. Default 60s."""


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


class Credential(Part):
    """How a token is obtained."""

    grant: Literal["client_credentials"] = "client_credentials"
    """OAuth 2.0 grant (RFC 6749 §4.4)."""
    token_url: HttpUrl
    """Token endpoint of the identity domain."""
    client_id: Annotated[str, Field(min_length=1)]
    """Client id of the confidential application."""
    client_secret: SecretRef
    """Client secret, by reference."""
    client_auth: Literal["basic", "post"] = "basic"
    """How the client authenticates: `basic` (HTTP Basic) or `post` (in the form), RFC 6749 §2.3.1."""
    scope: Annotated[
        str | None,
        BeforeValidator(_scope, json_schema_input_type=str | list[str] | None),
        AfterValidator(_not_blank),
    ] = None
    """Scope, a string or a list of strings."""
    params: Annotated[dict[str, str], AfterValidator(_unreserved)] = Field(default_factory=dict)
    """Further form parameters of the token request; none that OAuth itself uses."""
    timeout: Duration = 10.0
    """Longest time one token request may take."""
    token_wait: Duration = 10.0
    """Longest time a caller waits for a token before it gets 503."""
    tls: Tls | None = None
    """How the identity domain's certificate is checked."""
    proxy: Proxy | None = None
    """Egress proxy to the identity domain; omitted: HTTPS_PROXY and NO_PROXY decide."""


class RouteSettings(Part):
    """What a route may say and `defaults` may say for all routes."""

    credential: str | None = None
    """Name of the credential whose token is injected."""
    methods: Annotated[list[Literal[METHODS]], Field(min_length=1)] | None = None  # type: ignore[valid-type] # a tuple of names is one list of words
    """Methods that the route takes; omitted: all. GET brings HEAD."""
    timeout: Timeout | None = None
    """How long each step may take."""
    replay: Literal["any", "safe", "never"] | None = None
    """Which methods may be sent a second time: any (default), safe ones only, never."""
    idempotent: bool | None = None
    """True: every method of the route may be repeated after 429, 502, 503, 504 as if it were safe. Default false."""
    replay_limit: Size | None = None
    """Up to this size a body is kept so that it can be sent a second time. Default 256KiB."""
    origins: list[Origin] | None = None
    """Browser origins that may call the route, or `*`; omitted: none."""
    keep_cookies: bool | None = None
    """True: `Set-Cookie` of the upstream is passed to the caller. Default false."""
    tls: Tls | None = None
    """How the upstream's certificate is checked."""
    proxy: Proxy | None = None
    """Egress proxy to the upstream; omitted: HTTPS_PROXY and NO_PROXY decide."""


class Route(RouteSettings):
    """A path prefix and where it leads."""

    name: Name
    """Unique name; used in logs, metrics and messages."""
    path: Annotated[str, Field(pattern=PATH_PATTERN)]
    """Path prefix; the longest wins, on segment borders."""
    upstream: BaseUrl
    """URL that takes the prefix's place."""


class Limits(Part):
    """What a caller may send."""

    uri: LineSize = 8 * 1024
    """Longest request target."""
    field: LineSize = 16 * 1024
    """Longest header field."""
    fields: Annotated[int, Field(ge=8, le=1000)] = 128
    """Most header fields."""
    body: Size | None = None
    """Largest request body; omitted: no limit (bodies stream)."""
    connections: Annotated[int, Field(ge=1)] = 10_000
    """Most connections of callers at once."""


class Pool(Part):
    """Connections to each upstream origin."""

    size: Annotated[int, Field(ge=1)] = 256
    """Most connections to one origin at once."""
    idle: Duration = 15.0
    """An unused connection is closed after this time."""
    max_age: Duration = 600.0
    """A connection is not used again after this time, so that changes of DNS are followed."""


class Log(Part):
    """What is written to standard output."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """Least severe event that is written; records of requests are always written."""
    format: Literal["auto", "json", "text"] = "auto"
    """`json` lines, readable `text`, or `auto`: text on a terminal."""


class Config(Part):
    """The whole file."""

    listen: Address = "127.0.0.1:8080"
    """Where callers connect: HOST:PORT or unix:/path; a non-loopback address needs `allow`."""
    admin: Address = "127.0.0.1:9090"
    """Where health, metrics and status are served; never the proxied path space."""
    allow: list[Network] = Field(default_factory=list)
    """Networks (CIDR) whose callers are served; loopback always is."""
    hosts: list[HostName] = Field(default_factory=list)
    """Further names accepted in Host."""
    drain: Duration = 330.0
    """At a stop, how long requests under way may take to finish."""
    log: Log = Field(default_factory=Log)
    """What is written to standard output."""
    limits: Limits = Field(default_factory=Limits)
    """What a caller may send."""
    pool: Pool = Field(default_factory=Pool)
    """Connections to each upstream origin."""
    credentials: Annotated[dict[Name, Credential], Field(min_length=1)]
    """Credentials by name."""
    defaults: RouteSettings = Field(default_factory=RouteSettings)
    """Any route setting, for all routes that do not say it themselves."""
    routes: Annotated[list[Route], Field(min_length=1)]
    """The routes."""
