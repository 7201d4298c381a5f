"""Routes with `defaults` and the built-in defaults applied, and values derived from credentials. Pure."""

from collections.abc import Container, Iterable
from functools import lru_cache
from typing import Literal, TypedDict, TypeVar
from urllib.parse import urlsplit

import msgspec

from gateway.config.listen_model import START_KEYS, ListenSettings
from gateway.config.model import BudgetSettings, Config, CredentialSettings
from gateway.config.route_model import (
    HalfClose,
    HeaderSettings,
    IdLocationKind,
    RouteEntry,
    RouteSettings,
    TimeoutSettings,
)
from gateway.config.service_model import ServiceEntry
from gateway.config.strict_model import ProxySettings, SecretRef, TlsSettings, secret_refs
from gateway.config.values import split_address
from gateway.content.untrusted_text import normalize_host, read_host, read_origin

RESTART_KEYS = ("workers", "listen", "admin", "admin_quit", "limits", "log")
"""Keys that take effect only at a start; of `listen` the addresses, and whether one has `tls` or `proxy_protocol`."""
CONNECT_TIMEOUT = 5.0
RESPONSE_TIMEOUT = 330.0
IDLE_TIMEOUT = 60.0
REPLAY_LIMIT = 256 * 1024
REWRITE = ("json", "xml", "yaml")

ReplayPolicy = Literal["any", "safe", "never"]
Value = TypeVar("Value")


class ResolvedRoute(msgspec.Struct, frozen=True):
    """One route with all settings.

    `path` has no trailing slash and is empty for `/`; `upstream` and `credential` are as written; `callers` is None if
    none is checked; `methods` is None for all methods, and contains HEAD if it contains GET; timeouts are in seconds,
    `replay_limit` in bytes.
    """

    name: str
    path: str
    upstream: str
    credential: str
    callers: frozenset[str] | None
    methods: frozenset[str] | None
    connect_timeout: float
    response_timeout: float
    idle_timeout: float
    replay: ReplayPolicy
    idempotent: bool
    replay_limit: int
    origins: tuple[str, ...]
    keep_cookies: bool
    half_close: HalfClose
    rewrite: frozenset[str]
    set_headers: tuple[tuple[str, str], ...]
    """Names as written, values as templates."""
    remove_headers: tuple[str, ...]
    set_query: tuple[tuple[str, str], ...]
    instance_id: tuple[tuple[IdLocationKind, str], ...] | None
    """Pairs of `header`, `json` or `xml` and a name, in order; None if not set."""
    design: str | None
    tls: TlsSettings | None
    proxy: ProxySettings | None
    service: str | None
    """The origin of the service that the route belongs to; None if it belongs to none."""
    file_scope: str = ""
    """The scope of the file that has the route (`SourceFile.scope`); empty for the main file."""


def resolve(config: Config) -> tuple[ResolvedRoute, ...]:
    """Return the routes in the file's order. A route's value overrides `defaults`, which override the built-in one."""
    services = services_by_origin(config)
    return tuple(_resolve_route(route, config.defaults, services) for route in config.routes)


def services_by_origin(config: Config) -> dict[str, tuple[str, ServiceEntry]]:
    """Return name and settings of each service by its origin."""
    named = ((read_origin(entry.url), (name, entry)) for name, entry in config.services.items())
    return {origin: service for origin, service in named if origin is not None}


def listeners_of(config: Config) -> tuple[ListenSettings, ...]:
    """Return the addresses for callers in the file's order."""
    entries = config.listen if isinstance(config.listen, list) else [config.listen]
    return tuple(
        ListenSettings.model_construct(address=entry) if isinstance(entry, str) else entry for entry in entries
    )


def keep_listeners(before: Config, after: Config) -> list[ListenSettings]:
    """Return the listeners of `before`, each with the settings of `after` that need no restart (`restart_settings`)."""
    entries = [*listeners_of(after)]
    listeners = []
    for listener in listeners_of(before):
        match = next((entry for entry in entries if restart_settings(entry) == restart_settings(listener)), None)
        if match is not None:
            entries.remove(match)
        listeners.append(match or listener)
    return listeners


def keep_start_settings(before: Config, after: Config) -> Config:
    """Return `after` with the settings of `before` that need a restart."""
    kept = {key: getattr(before, key) for key in RESTART_KEYS}
    return after.model_copy(update=kept | {"listen": keep_listeners(before, after)})


def restart_settings(listener: ListenSettings) -> tuple[object, ...]:
    """Return the settings that change only at a restart: the address, and whether TLS or the PROXY protocol is used."""
    return listener.address, *(getattr(listener, key) is None for key in START_KEYS)


def configured_host(address: str) -> str:
    """Return the host of an address for callers in its plain form; empty for a unix socket."""
    return "" if address.startswith("unix:") else normalize_host(split_address(address)[0])


def hosts_of(config: Config) -> tuple[str, ...]:
    """Return the allowed names of the Host field; a load balancer may forward the one of `public_url`."""
    public_host = urlsplit(config.public_url).hostname if config.public_url else None
    return (*config.hosts, public_host) if public_host else tuple(config.hosts)


def console_host_of(config: Config) -> str | None:
    """Return the host of the console's `url`, which the admin port accepts in Host beside the names of `hosts`."""
    url = config.console.url if config.console is not None else None
    return normalize_host(read_host(url)) if url is not None else None


def client_secrets(credential: CredentialSettings) -> tuple[SecretRef, ...]:
    """Return the references of the client secret in the order of use; empty for a client without a secret."""
    return secret_refs(credential.client_secret)


def authorize_url_of(credential: CredentialSettings) -> str:
    """Return the authorization endpoint; by default it is next to the token endpoint."""
    return credential.authorize_url or f"{credential.token_url.removesuffix('/token')}/authorize"


def revoke_url_of(credential: CredentialSettings) -> str:
    """Return the revocation endpoint; by default it is next to the token endpoint."""
    return credential.revoke_url or f"{credential.token_url.removesuffix('/token')}/revoke"


def endpoint_of(credential: CredentialSettings) -> str:
    """Return the origin of the token endpoint: all clients of an identity domain share its rate limits."""
    return read_origin(credential.token_url) or credential.token_url


def count_origins(config: Config) -> int:
    """Count the distinct upstream hosts of the routes, design hosts included."""
    urls = {url for route in config.routes for url in (route.upstream, route.design) if url is not None}
    return len({read_origin(url) for url in urls})


def limits_by_endpoint(credentials: Iterable[CredentialSettings]) -> dict[str, BudgetSettings]:
    """Return for each endpoint the lowest limits of its credentials, or the default limits."""
    limits_of: dict[str, list[BudgetSettings]] = {}
    for credential in credentials:
        limits_of.setdefault(endpoint_of(credential), []).extend([credential.budget] if credential.budget else [])
    return {endpoint: _lowest_limits(limits) for endpoint, limits in limits_of.items()}


def _lowest_limits(limits: list[BudgetSettings]) -> BudgetSettings:
    default = BudgetSettings.model_construct()
    return BudgetSettings.model_construct(
        per_second=min((limit.per_second for limit in limits), default=default.per_second),
        per_minute=min((limit.per_minute for limit in limits), default=default.per_minute),
    )


def _resolve_route(route: RouteEntry, defaults: RouteSettings, services: Container[str]) -> ResolvedRoute:
    origin = read_origin(route.upstream)
    no_timeout = TimeoutSettings.model_construct()
    own_timeout, default_timeout = route.timeout or no_timeout, defaults.timeout or no_timeout
    return ResolvedRoute(
        name=route.name,
        path=route.path.rstrip("/"),
        upstream=route.upstream,
        credential=_first_set(route.credential, defaults.credential, built_in=""),
        callers=_caller_names(_first_set(route.callers, defaults.callers, built_in=[])),
        methods=_with_head(tuple(_first_set(route.methods, defaults.methods, built_in=[]))),
        connect_timeout=_first_set(own_timeout.connect, default_timeout.connect, built_in=CONNECT_TIMEOUT),
        response_timeout=_first_set(own_timeout.response, default_timeout.response, built_in=RESPONSE_TIMEOUT),
        idle_timeout=_first_set(own_timeout.idle, default_timeout.idle, built_in=IDLE_TIMEOUT),
        replay=_first_set(route.replay, defaults.replay, built_in="any"),
        idempotent=_first_set(route.idempotent, defaults.idempotent, built_in=False),
        replay_limit=_first_set(route.replay_limit, defaults.replay_limit, built_in=REPLAY_LIMIT),
        origins=tuple(_first_set(route.origins, defaults.origins, built_in=[])),
        half_close=_first_set(route.half_close, defaults.half_close, built_in="answer"),
        keep_cookies=_first_set(route.keep_cookies, defaults.keep_cookies, built_in=False),
        rewrite=_shared_kinds(_first_set(_to_tuple(route.rewrite), _to_tuple(defaults.rewrite), built_in=REWRITE)),
        **_resolve_edits(route, defaults),
        instance_id=_instance_id_rules(route, defaults),
        design=_first_set(route.design, defaults.design, built_in=None),
        tls=_first_set(route.tls, defaults.tls, built_in=None),
        proxy=_first_set(route.proxy, defaults.proxy, built_in=None),
        service=origin if origin in services else None,
        file_scope=route.file_scope,
    )


class _ResolvedEdits(TypedDict):
    set_headers: tuple[tuple[str, str], ...]
    remove_headers: tuple[str, ...]
    set_query: tuple[tuple[str, str], ...]


def _resolve_edits(route: RouteEntry, defaults: RouteSettings) -> _ResolvedEdits:
    """Return the changes to a request: those of the route override those of `defaults`, name by name."""
    no_headers = HeaderSettings.model_construct()
    own_headers, default_headers = route.headers or no_headers, defaults.headers or no_headers
    overridden = {name.lower() for name in (*own_headers.set, *own_headers.remove)}
    inherited = {name: value for name, value in default_headers.set.items() if name.lower() not in overridden}
    queries = [query.set for query in (defaults.query, route.query) if query is not None]
    parameters: dict[str, str] = {}
    for query in queries:
        parameters |= query
    return {
        "set_headers": tuple({**inherited, **own_headers.set}.items()),
        "remove_headers": (
            *(name for name in default_headers.remove if name.lower() not in overridden),
            *own_headers.remove,
        ),
        "set_query": tuple(parameters.items()),
    }


def _instance_id_rules(route: RouteEntry, defaults: RouteSettings) -> tuple[tuple[IdLocationKind, str], ...] | None:
    rules = defaults.instance_id if route.instance_id is None else route.instance_id
    return None if rules is None else tuple(rule.place for rule in rules)


def _caller_names(names: list[str]) -> frozenset[str] | None:
    return frozenset(names) or None


def _first_set(own: Value | None, default: Value | None, *, built_in: Value) -> Value:
    if own is not None:
        return own
    return built_in if default is None else default


def _to_tuple(values: Iterable[str] | None) -> tuple[str, ...] | None:
    return None if values is None else tuple(values)


@lru_cache(maxsize=64)
def _shared_kinds(kinds: tuple[str, ...]) -> frozenset[str]:
    """Return one shared set for all routes with the same kinds."""
    return frozenset(kinds)


@lru_cache(maxsize=64)
def _with_head(methods: tuple[str, ...]) -> frozenset[str] | None:
    """Return one shared set for all routes with the same methods; None for an empty tuple."""
    return frozenset({*methods, "HEAD"} if "GET" in methods else methods) or None
