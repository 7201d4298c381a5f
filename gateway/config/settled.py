"""Settled routes: each route with `defaults` and the built-in defaults worked in, so that nobody asks twice. Pure."""

from dataclasses import dataclass
from typing import Literal, TypeVar

from gateway.config.model import Config, Proxy, Route, RouteSettings, Timeout, Tls

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


def _settled(route: Route, defaults: RouteSettings) -> SettledRoute:
    near, far = route.timeout or Timeout(), defaults.timeout or Timeout()
    return SettledRoute(
        name=route.name,
        path=route.path.rstrip("/"),
        upstream=route.upstream,
        credential=_first(route.credential, defaults.credential, built_in=""),
        methods=_with_head(_first(route.methods, defaults.methods, built_in=None)),
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


def _with_head(methods: list[str] | None) -> frozenset[str] | None:
    if methods is None:
        return None
    return frozenset(methods) | ({"HEAD"} if "GET" in methods else set())
