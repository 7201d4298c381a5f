"""The shape of the configuration file: data only, frozen, every key described once.

The JSON Schema and the reference (docs/configuration.md) are generated from the docstrings. `load` reads a file into
these classes; `gateway.wiring` compiles them into objects. The message of a ValueError is "problem; remedy" and never
contains the value.
"""

from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    model_validator,
)

from gateway.config.caller_model import CallerSettings
from gateway.config.console_model import ConsoleSettings
from gateway.config.default_addresses import DEFAULT_ADMIN, DEFAULT_LISTEN
from gateway.config.include_model import Include
from gateway.config.listen_model import Listen
from gateway.config.log_model import LogSettings
from gateway.config.notify_model import MAX_HOOKS, NotifySettings
from gateway.config.route_model import RouteEntry, RouteSettings
from gateway.config.service_model import ServiceEntry
from gateway.config.state_model import StateSettings
from gateway.config.strict_model import (
    ClientTlsSettings,
    FileScopedModel,
    OneOrMoreSecrets,
    ProxySettings,
    SecretRef,
    StrictModel,
)
from gateway.config.telemetry_model import TelemetrySettings
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
from gateway.config.vault_model import VaultSettings

# Parameters that the grant, the client authentication or the gateway itself sets (RFC 6749, 7521, 7636).
RESERVED_PARAMS = frozenset(
    "grant_type client_id client_secret client_assertion client_assertion_type scope username password code "
    "redirect_uri refresh_token assertion code_verifier code_challenge code_challenge_method response_type state "
    "nonce".split()
)


class SigningSettings(StrictModel):
    """How assertions are signed (RFC 7523)."""

    private_key: SecretRef
    """Private key in PEM, by reference: RSA of 2048 bits or more, or EC P-256."""
    key_password: SecretRef | None = None
    """Password of the private key, by reference."""
    cert: FilePath | None = None
    """PEM file of its certificate, relative to the configuration file; `x5t` is computed from it."""
    kid: Text | None = None
    """Key id in the header of the assertion: the alias of the certificate in the identity domain. Omitted without
    `x5t` and `cert`: the RFC 7638 thumbprint of the key."""
    x5t: Text | None = None
    """Thumbprint of the certificate in the header, in place of the computed one."""
    algorithm: Literal["RS256", "ES256"] | None = None
    """Algorithm; omitted: that of the key. Identity domains support RS256 only."""
    audience: Text = "https://identity.oraclecloud.com/"
    """Claim `aud`."""
    issuer: Text | None = None
    """Claim `iss` of a user assertion; omitted: the client id. A client's own assertion always has the client id."""
    lifetime: Duration = 120.0
    """Time until an assertion expires; each is used once."""


def _list_of_one(value: object) -> object:
    return [value] if isinstance(value, str) else value


def _scope(value: object) -> object:
    return " ".join(value) if isinstance(value, list) and all(isinstance(item, str) for item in value) else value


def _not_blank(value: str | None) -> str | None:
    if value is not None and not value.strip():
        raise ValueError("is empty; write the scope, or remove the key")
    return value


def _unreserved(value: dict[str, str]) -> dict[str, str]:
    if taken := sorted(RESERVED_PARAMS & set(value)):
        raise ValueError(f"must not set {', '.join(taken)}, which the gateway sets; use that key, or remove it")
    return value


class RenewalSettings(StrictModel):
    """When a token is renewed; with jitter of up to half of the time, and never before half of the lifetime."""

    share: Annotated[float, Field(ge=0, le=0.5)] = 0.2
    """Renew when this share of the lifetime is left."""
    at_least: Duration = 60.0
    """Renew at least this long before the token expires."""
    refused_every: Duration = 30.0
    """Shortest time between two renewals because the upstream rejects the token, unless it accepted the token of the
    first one."""
    idle: Duration = 86400.0
    """Longest time that a refresh token of `authorization_code` or `refresh_token` is unused, even without calls: many
    servers end a sign-in that is not used. Requires `state`; one process of all workers and replicas does it."""


class BudgetSettings(StrictModel):
    """Limit of token requests, for each process."""

    per_second: Annotated[int, Field(ge=1, le=10_000)] = 8
    """Largest number of token requests in a second. A Free identity domain allows 10."""
    per_minute: Annotated[int, Field(ge=1, le=100_000)] = 120
    """Largest number of token requests in a minute. A Free identity domain allows 150."""


class CredentialSettings(FileScopedModel):
    """How a token is obtained."""

    grant: Literal[
        "client_credentials", "authorization_code", "refresh_token", "jwt_bearer", "password", "tls_client_auth"
    ] = "client_credentials"
    """OAuth 2.0 grant; docs/tokens.md lists the keys that each needs."""
    token_url: HttpUrl
    """Token endpoint of the identity domain."""
    insecure: bool = False
    """True: allow http:// URLs of other machines; the client secret is sent unencrypted."""
    client_id: Text
    """Client id of the application."""
    client_secret: OneOrMoreSecrets | None = None
    """Client secret, by reference; a list is tried in order, so that a secret can be rotated without a gap."""
    client_auth: Literal["basic", "post", "private_key_jwt", "tls", "none"] = "basic"
    """How the client authenticates: `basic` (HTTP Basic), `post` (secret in the form), `private_key_jwt` (signed
    assertion), `tls` (client certificate), `none` (public client)."""
    signing: SigningSettings | None = None
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
    """Form parameter `resource` (RFC 8707), a string or a list of strings; a single one also selects the token of a
    response with several tokens."""
    params: Annotated[dict[str, str], AfterValidator(_unreserved)] = Field(default_factory=dict)
    """More form parameters of the token request and of the authorization URL; not those of OAuth itself."""
    subject: Text | None = None
    """User (`sub`) of the grant `jwt_bearer`."""
    username: Text | None = None
    """User of the grant `password`."""
    password: SecretRef | None = None
    """Password of the grant `password`, by reference."""
    refresh_token: SecretRef | None = None
    """Refresh token of the grant `refresh_token`, by reference."""
    redirect_uri: HttpUrl | None = None
    """Redirect URI of `authorization_code`, as registered in the application; omitted: http://127.0.0.1:PORT/callback
    with any free port, for servers that accept any port (RFC 8252)."""
    authorize_url: HttpUrl | None = None
    """Authorization endpoint for `authorization_code`; omitted: derived from `token_url`."""
    revoke_url: HttpUrl | None = None
    """Revocation endpoint for `logout` (RFC 7009); omitted: derived from `token_url`."""
    issuer: Text | None = None
    """Expected `iss` of an authorization response, if it has one (RFC 9207); omitted: the host of `authorize_url`."""
    timeout: Duration = 10.0
    """Time limit of one token request."""
    connect_timeout: Duration = 5.0
    """Time limit of the connection to the token endpoint: name, TCP, TLS, egress proxy."""
    token_wait: Duration = 10.0
    """Longest time that a caller waits for a token before it gets 503."""
    renew: RenewalSettings = Field(default_factory=RenewalSettings.model_construct)
    """When a token is renewed."""
    prefetch: bool = False
    """True: get a token at the start, not for the first caller."""
    budget: BudgetSettings | None = None
    """Limit of token requests to the token endpoint, for each process. Credentials with the same endpoint share the
    smallest of their limits. Without any: 8 a second, 120 a minute."""
    tls: ClientTlsSettings | None = None
    """Verification of the identity domain's certificate, and the client certificate."""
    proxy: ProxySettings | None = None
    """Egress proxy to the identity domain; omitted: that of HTTPS_PROXY, with the exceptions of NO_PROXY."""


class LimitSettings(StrictModel):
    """Limits of requests and connections of callers."""

    uri: LineSize = 8 * 1024
    """Longest request target."""
    field: LineSize = 16 * 1024
    """Longest header field."""
    fields: Annotated[int, Field(ge=8, le=1000)] = 128
    """Largest number of header fields."""
    head: LineSize = 128 * 1024
    """Largest head: request line and header fields."""
    body: Size | None = None
    """Largest request body; omitted: no limit (bodies stream)."""
    body_rate: Size = 1024
    """Slowest average rate of a request body in bytes a second, after the first 60 s; 0B: no limit."""
    keepalive: Duration = 120.0
    """Time after which an idle connection of a caller is closed. It must be longer than clients keep theirs, or a
    request may meet the close: .NET keeps them for 100 seconds."""
    connections: Annotated[int, Field(ge=1)] = 10_000
    """Largest number of connections of callers to each worker; fewer if the limit of open files is too low."""
    address_share: Annotated[float, Field(ge=0.01, le=1)] = 0.5
    """Share of `connections` that one caller address may use (an IPv6 address: its /64 network). Set 1 if many callers
    share one address, for example behind a load balancer. Loopback and unix sockets have no such limit."""


class PoolSettings(StrictModel):
    """Connections to each upstream origin."""

    size: Annotated[int, Field(ge=1)] = 256
    """Largest number of connections to one origin; one of several routes to it uses at most three quarters."""
    idle: Duration = 15.0
    """Time after which an idle connection is closed."""
    max_age: Duration = 600.0
    """Time after which a connection gets no new requests, so that changes of DNS take effect."""


def _history_size(value: int) -> int:
    if value < 1024**2:
        raise ValueError("must be 1MiB or more; write it like 256MiB")
    return value


class HistorySettings(StrictModel):
    """History of the last calls, for `oic-gateway instances`: in the memory of each worker, or with `state.path` in the
    file `PATH.history`. The oldest calls are removed first.
    """

    calls: Annotated[int, Field(ge=0)] | None = None
    """Largest number of calls; 0: none. Omitted: 10000 in memory, in a file limited by `size`."""
    keep: Duration = 7 * 86400.0
    """Time after which a call is removed."""
    size: Annotated[Size, AfterValidator(_history_size)] = 256 * 1024**2
    """Largest size of the history, in memory or in the file; at least 1MiB."""


class OciSettings(StrictModel):
    """Access to OCI Vault, for secrets with `oci_vault`."""

    auth: Literal["instance_principal", "resource_principal", "config_file"] = "instance_principal"
    """Identity of the gateway: the compute instance, its resource (container instance, function, pod), or the user of
    a profile in the OCI configuration file (`~/.oci/config`, or the file of `OCI_CONFIG_FILE`)."""
    profile: Text | None = None
    """Profile of `auth: config_file`; omitted: DEFAULT."""
    refresh: Duration = 300.0
    """Time that a secret is used before it is read again; after a failure it is read at once."""
    endpoint: BaseUrl | None = None
    """URL of the service, in place of the public one in the region of the secret."""

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if self.profile is not None and self.auth != "config_file":
            raise ValueError("has a `profile`, which requires `auth: config_file`; set that, or remove `profile`")
        return self


class IncludedSettings(StrictModel):
    """A file that `include` names. Relative paths are relative to its folder, and lead to files below it."""

    credentials: dict[Name, CredentialSettings] = Field(default_factory=dict)
    """Credentials by name."""
    callers: dict[Name, CallerSettings] = Field(default_factory=dict)
    """Callers by name, for the `callers` of routes. Their proofs are never forwarded to OIC."""
    routes: list[RouteEntry] = Field(default_factory=list)
    """The routes."""


def _unless_included(schema: dict[str, Any]) -> None:
    """Declare in the JSON Schema that included files may hold the required keys."""
    choices = schema.pop("required"), ["include"]
    schema["anyOf"] = [{"required": keys, "properties": dict.fromkeys(keys, True)} for keys in choices]


class Config(StrictModel):
    """The whole file, with what its included files hold."""

    model_config = ConfigDict(json_schema_extra=_unless_included)

    listen: Listen = DEFAULT_LISTEN
    """Address for callers: HOST:PORT or unix:/path, or a list of addresses, each a string or a mapping. An address that
    is not loopback requires `allow`."""
    admin: Address = DEFAULT_ADMIN
    """Address of health, metrics and status; it never serves routes."""
    admin_quit: bool = False
    """True: `POST /quit` at `admin`, which must be loopback or a unix socket, stops the gateway as SIGTERM does."""
    console: ConsoleSettings | None = None
    """Web console on the admin port; omitted: none. docs/console.md describes it."""
    workers: Workers = 1
    """Processes that serve callers; `auto`: one for each CPU that this process may use."""
    allow: list[Network] = Field(default_factory=list)
    """Networks (CIDR) of allowed callers; loopback is always allowed."""
    hosts: list[HostName] = Field(default_factory=list)
    """More names that are accepted in Host."""
    public_url: BaseUrl | None = None
    """URL of the gateway for callers, if it is not `http://` and the Host that they send, for example behind a load
    balancer with TLS. It replaces URLs of OIC in responses."""
    drain: Duration = 330.0
    """Time that open requests have to finish during a stop."""
    log: LogSettings = Field(default_factory=LogSettings.model_construct)
    """Log on standard output."""
    limits: LimitSettings = Field(default_factory=LimitSettings.model_construct)
    """Limits of requests and connections of callers."""
    pool: PoolSettings = Field(default_factory=PoolSettings.model_construct)
    """Connections to each upstream origin."""
    notify: Annotated[list[NotifySettings], Field(max_length=MAX_HOOKS)] = Field(default_factory=list)
    """Hooks that are called when a person should act."""
    state: StateSettings | None = None
    """Store for tokens; omitted: in the memory of each process."""
    history: HistorySettings = Field(default_factory=HistorySettings.model_construct)
    """History of the last calls."""
    telemetry: TelemetrySettings | None = None
    """Export of traces and metrics to an OpenTelemetry collector; omitted: none."""
    oci: OciSettings = Field(default_factory=OciSettings.model_construct)
    """Access to OCI Vault, for secrets with `oci_vault`."""
    vault: VaultSettings = Field(default_factory=VaultSettings.model_construct)
    """Access to HashiCorp Vault, for secrets with `vault`; docs/vault.md describes it."""
    credentials: Annotated[dict[Name, CredentialSettings], Field(min_length=1)]
    """Credentials by name."""
    callers: dict[Name, CallerSettings] = Field(default_factory=dict)
    """Callers by name, for the `callers` of routes. Their proofs are never forwarded to OIC."""
    services: dict[Name, ServiceEntry] = Field(default_factory=dict)
    """OIC service instances by name, with their limits of calls at once; omitted: no limits."""
    include: Include = Field(default_factory=list)
    """Files with more `credentials`, `callers` and `routes`: a list of patterns, each a string or a mapping. The files
    are confined to their folder, path and credentials."""
    watch: bool = False
    """True: reload when this file, or an included one, changes."""
    defaults: RouteSettings = Field(default_factory=RouteSettings.model_construct)
    """Any route setting, for routes that do not have it."""
    routes: Annotated[list[RouteEntry], Field(min_length=1)]
    """The routes."""
