"""Settled routes: each route with `defaults` and the built-in defaults worked in, so that nobody asks twice; and
the client secrets of a credential in their order, the addresses beside its token endpoint. Pure.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, TypeVar
from urllib.parse import urlsplit

from gateway.config.model import Config, Credential, Proxy, Route, RouteSettings, Timeout
from gateway.config.pace import Budget
from gateway.config.part import SecretRef, Tls

CONNECT_TIMEOUT = 5.0
RESPONSE_TIMEOUT = 330.0
IDLE_TIMEOUT = 60.0
REPLAY_LIMIT = 256 * 1024

Replay = Literal["any", "safe", "never"]
Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class SettledRoute:
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
    tls: Tls | None
    proxy: Proxy | None


def settle(config: Config) -> tuple[SettledRoute, ...]:
    """The routes in the file's order: the route's word counts first, then that of `defaults`, then the built-in one."""
    return tuple(_settled(route, config.defaults) for route in config.routes)


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


def budgets(credentials: Iterable[Credential]) -> dict[str, Budget]:
    """For each endpoint the least that a credential of it says; the default where none says anything."""
    said: dict[str, list[Budget]] = {}
    for credential in credentials:
        said.setdefault(endpoint_of(credential), []).extend([credential.budget] if credential.budget else [])
    return {endpoint: _least(limits) for endpoint, limits in said.items()}


def _least(limits: list[Budget]) -> Budget:
    return Budget(
        per_second=min((limit.per_second for limit in limits), default=Budget().per_second),
        per_minute=min((limit.per_minute for limit in limits), default=Budget().per_minute),
    )


def _settled(route: Route, defaults: RouteSettings) -> SettledRoute:
    near, far = route.timeout or Timeout(), defaults.timeout or Timeout()
    return SettledRoute(
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
        tls=_first(route.tls, defaults.tls, built_in=None),
        proxy=_first(route.proxy, defaults.proxy, built_in=None),
    )


def _first(near: Value | None, far: Value | None, *, built_in: Value) -> Value:
    if near is not None:
        return near
    return built_in if far is None else far


@lru_cache(maxsize=64)
def _with_head(methods: tuple[str, ...]) -> frozenset[str] | None:
    """The set is the same one for all routes that say the same; a model's list is never empty."""
    return frozenset({*methods, "HEAD"} if "GET" in methods else methods) or None
