"""Settled routes: each route with `defaults` and the built-in defaults worked in, so that nobody asks twice; and
the client secrets of a credential in their order, the addresses beside its token endpoint. Pure.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, TypedDict, TypeVar
from urllib.parse import urlsplit

from gateway.config.model import BudgetSettings, Config, Credential
from gateway.config.route_model import HeaderSettings, IdLocation, RouteEntry, RouteSettings, Timeout
from gateway.config.strict_model import Proxy, SecretRef, Tls

CONNECT_TIMEOUT = 5.0
RESPONSE_TIMEOUT = 330.0
IDLE_TIMEOUT = 60.0
REPLAY_LIMIT = 256 * 1024
REWRITE = ("json", "xml", "yaml")

Replay = Literal["any", "safe", "never"]
Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class ResolvedRoute:
    """One route, every setting decided.

    `path` has no trailing slash and is empty for `/`; `upstream` and `credential` are as written; `methods` is None
    for all and holds HEAD wherever it holds GET; timeouts are in seconds, `replay_limit` in bytes.
    """

    name: str
    path: str
    upstream: str
    credential: str
    methods: frozenset[str] | None
    connect_timeout: float
    response_timeout: float
    idle_timeout: float
    replay: Replay
    idempotent: bool
    replay_limit: int
    origins: tuple[str, ...]
    keep_cookies: bool
    rewrite: frozenset[str]
    set_headers: tuple[tuple[str, str], ...]
    """Names as written, values as templates."""
    remove_headers: tuple[str, ...]
    set_query: tuple[tuple[str, str], ...]
    instance_id: tuple[tuple[IdLocation, str], ...] | None
    """(`header`, `json` or `xml`, name) in their order; None where nothing is said."""
    design: str | None
    tls: Tls | None
    proxy: Proxy | None


def resolve(config: Config) -> tuple[ResolvedRoute, ...]:
    """The routes in the file's order: the route's word counts first, then that of `defaults`, then the built-in one."""
    return tuple(_resolved(route, config.defaults) for route in config.routes)


def hosts_of(config: Config) -> tuple[str, ...]:
    """The names that Host may have: a balancer may pass on that of `public_url`."""
    ours = urlsplit(config.public_url).hostname if config.public_url else None
    return (*config.hosts, ours) if ours else tuple(config.hosts)


def client_secrets(credential: Credential) -> tuple[SecretRef, ...]:
    """The references of the client secret in the order in which they are tried; none for a client without one."""
    secret = credential.client_secret
    if secret is None:
        return ()
    return tuple(secret) if isinstance(secret, list) else (secret,)


def authorize_url_of(credential: Credential) -> str:
    """Where a person signs in; beside the token endpoint unless it is said."""
    return credential.authorize_url or f"{credential.token_url.removesuffix('/token')}/authorize"


def revoke_url_of(credential: Credential) -> str:
    """Where a refresh token is revoked; beside the token endpoint unless it is said."""
    return credential.revoke_url or f"{credential.token_url.removesuffix('/token')}/revoke"


def endpoint_of(credential: Credential) -> str:
    """Whose budget a token request uses: host and port of the token endpoint, since limits are an identity domain's."""
    return urlsplit(credential.token_url).netloc.lower()


def count_origins(config: Config) -> int:
    """How many upstream hosts the routes name, design hosts among them."""
    urls = {url for route in config.routes for url in (route.upstream, route.design) if url is not None}
    return len({urlsplit(url)[:2] for url in urls})


def budgets(credentials: Iterable[Credential]) -> dict[str, BudgetSettings]:
    """For each endpoint the least that a credential of it says; the default where none says anything."""
    said: dict[str, list[BudgetSettings]] = {}
    for credential in credentials:
        said.setdefault(endpoint_of(credential), []).extend([credential.budget] if credential.budget else [])
    return {endpoint: _least(limits) for endpoint, limits in said.items()}


def _least(limits: list[BudgetSettings]) -> BudgetSettings:
    return BudgetSettings(
        per_second=min((limit.per_second for limit in limits), default=BudgetSettings().per_second),
        per_minute=min((limit.per_minute for limit in limits), default=BudgetSettings().per_minute),
    )


def _resolved(route: RouteEntry, defaults: RouteSettings) -> ResolvedRoute:
    near, far = route.timeout or Timeout(), defaults.timeout or Timeout()
    return ResolvedRoute(
        name=route.name,
        path=route.path.rstrip("/"),
        upstream=route.upstream,
        credential=_first(route.credential, defaults.credential, built_in=""),
        methods=_with_head(tuple(_first(route.methods, defaults.methods, built_in=[]))),
        connect_timeout=_first(near.connect, far.connect, built_in=CONNECT_TIMEOUT),
        response_timeout=_first(near.response, far.response, built_in=RESPONSE_TIMEOUT),
        idle_timeout=_first(near.idle, far.idle, built_in=IDLE_TIMEOUT),
        replay=_first(route.replay, defaults.replay, built_in="any"),
        idempotent=_first(route.idempotent, defaults.idempotent, built_in=False),
        replay_limit=_first(route.replay_limit, defaults.replay_limit, built_in=REPLAY_LIMIT),
        origins=tuple(_first(route.origins, defaults.origins, built_in=[])),
        keep_cookies=_first(route.keep_cookies, defaults.keep_cookies, built_in=False),
        rewrite=_kinds(_first(_words(route.rewrite), _words(defaults.rewrite), built_in=REWRITE)),
        **_edits(route, defaults),
        instance_id=_places(route, defaults),
        design=_first(route.design, defaults.design, built_in=None),
        tls=_first(route.tls, defaults.tls, built_in=None),
        proxy=_first(route.proxy, defaults.proxy, built_in=None),
    )


class _ResolvedEdits(TypedDict):
    set_headers: tuple[tuple[str, str], ...]
    remove_headers: tuple[str, ...]
    set_query: tuple[tuple[str, str], ...]


def _edits(route: RouteEntry, defaults: RouteSettings) -> _ResolvedEdits:
    """What is changed on the way out: the route's changes go on top of those of `defaults`, name by name."""
    near, far = route.headers or HeaderSettings(), defaults.headers or HeaderSettings()
    said = {name.lower() for name in (*near.set, *near.remove)}
    kept = {name: value for name, value in far.set.items() if name.lower() not in said}
    queries = [query.set for query in (defaults.query, route.query) if query is not None]
    parameters: dict[str, str] = {}
    for query in queries:
        parameters |= query
    return {
        "set_headers": tuple({**kept, **near.set}.items()),
        "remove_headers": (*(name for name in far.remove if name.lower() not in said), *near.remove),
        "set_query": tuple(parameters.items()),
    }


def _places(route: RouteEntry, defaults: RouteSettings) -> tuple[tuple[IdLocation, str], ...] | None:
    places = defaults.instance_id if route.instance_id is None else route.instance_id
    return None if places is None else tuple(place.place for place in places)


def _first(near: Value | None, far: Value | None, *, built_in: Value) -> Value:
    if near is not None:
        return near
    return built_in if far is None else far


def _words(words: Iterable[str] | None) -> tuple[str, ...] | None:
    return None if words is None else tuple(words)


@lru_cache(maxsize=64)
def _kinds(kinds: tuple[str, ...]) -> frozenset[str]:
    """One set for all routes that say the same."""
    return frozenset(kinds)


@lru_cache(maxsize=64)
def _with_head(methods: tuple[str, ...]) -> frozenset[str] | None:
    """The set is the same one for all routes that say the same; a model's list is never empty."""
    return frozenset({*methods, "HEAD"} if "GET" in methods else methods) or None
