"""From resolved routes to compiled ones: upstreams, edits, and the connection pools that routes share."""

from functools import lru_cache

import msgspec

from gateway.config.model import Config
from gateway.config.resolved import ResolvedRoute, services_by_origin
from gateway.content.untrusted_text import browser_origin
from gateway.diagnosis.route_health import RouteHealth
from gateway.http.pool import ConnectionBudget, ConnectionPool
from gateway.network.dial import Origin
from gateway.oauth.token_source import TokenSource
from gateway.observe.metrics import Metrics
from gateway.oic.instance_id import (
    DEFAULT_LOCATIONS,
    TRIGGER_LOCATIONS,
    InstanceIdFinder,
    InstanceIdLocation,
    LocationKind,
)
from gateway.oic.urls import design_host, is_developer_upstream
from gateway.proxy.cookies import CookieScope
from gateway.proxy.cors import CorsPolicy
from gateway.proxy.headers import RESPONSE_RULES, forwardable_response_fields
from gateway.proxy.request_edits import RequestEdits
from gateway.proxy.route_table import GENERAL_METHODS, Route, UpstreamServer
from gateway.proxy.routing import UpstreamUrl
from gateway.services.service_gates import ServiceGates
from gateway.wiring.callers import challenges_of
from gateway.wiring.outbound import EgressSelector, TlsContexts

_ALL_METHODS = frozenset(GENERAL_METHODS)


class UpstreamEndpoint(msgspec.Struct, frozen=True):
    """An upstream URL and how it is reached."""

    url: UpstreamUrl
    origin: Origin


class PreparedRoute(msgspec.Struct, frozen=True):
    """A resolved route whose certificate files and proxy secrets have been read."""

    route: ResolvedRoute
    upstream: UpstreamEndpoint
    design_upstream: UpstreamEndpoint | None


def prepare_route(route: ResolvedRoute, *, egress: EgressSelector, contexts: TlsContexts) -> PreparedRoute:
    """Read the files that a route names; in a thread where callers are served. Raise OSError or ssl.SSLError for a
    file that cannot be used.
    """

    def endpoint(text: str, url: UpstreamUrl) -> UpstreamEndpoint:
        load_proxy = egress.proxy_loader(text, route.proxy, route.tls, contexts)
        proxy = load_proxy() if load_proxy is not None else None
        tls = contexts.context(route.tls) if url.scheme == "https" else None
        return UpstreamEndpoint(url, Origin(url.host, url.port, tls, proxy))

    url = UpstreamUrl.parse(route.upstream)
    design = _design_url(route, url)
    return PreparedRoute(
        route, endpoint(route.upstream, url), None if design is None else endpoint(design, UpstreamUrl.parse(design))
    )


class RouteCompiler:
    """Compiles the routes of one configuration. Routes to one origin share its connection pool. Opens no file."""

    def __init__(
        self,
        config: Config,
        *,
        metrics: Metrics,
        gates: ServiceGates,
        budget: ConnectionBudget | None = None,
    ) -> None:
        """`budget` bounds the connections to all upstreams together; `gates` are those of all services."""
        self._config = config
        self._limits = config.pool
        self._scopes = {name: credential.scope or "" for name, credential in config.credentials.items()}
        self._metrics = metrics
        self._budget = budget
        self._gates = gates
        self._services = services_by_origin(config)
        self._pools: dict[Origin, ConnectionPool] = {}

    @property
    def pools(self) -> tuple[ConnectionPool, ...]:
        """Return the pools of all compiled routes."""
        return tuple(self._pools.values())

    def compile(self, prepared: PreparedRoute, source: TokenSource) -> Route:
        """Compile one route."""
        route, design = prepared.route, prepared.design_upstream
        methods, origins = route.methods or _ALL_METHODS, _browser_origins(route.origins)
        id_fields = [name for place, name in route.instance_id or () if place == "header"]
        return Route(
            name=route.name,
            path=route.path,
            credential=route.credential,
            callers=route.callers,
            challenges=challenges_of(self._config, route.callers or ()),
            methods=methods,
            connect_timeout=route.connect_timeout,
            response_timeout=route.response_timeout,
            idle_timeout=route.idle_timeout,
            replay=route.replay,
            idempotent=route.idempotent,
            replay_limit=route.replay_limit,
            origins=origins,
            cors=CorsPolicy.compile(origins, methods, id_fields),
            answers_half_closed=route.half_close == "answer",
            response_fields=forwardable_response_fields(ranges=not route.rewrite),
            cookies=CookieScope.compile(route.name, route.path, prepared.upstream.url) if route.keep_cookies else None,
            rewrite=route.rewrite,
            edits=RequestEdits.compile(
                fields=route.set_headers, removed=route.remove_headers, parameters=route.set_query
            ),
            instance_id_finder=_instance_id_finder(
                route.instance_id, is_developer=is_developer_upstream(prepared.upstream.url.path)
            ),
            token_source=source,
            upstream=self._upstream_server(route, prepared.upstream),
            is_developer=route.design is not None,
            design_upstream=None if design is None else self._upstream_server(route, design),
            meter=self._metrics.route(route.name),
            service_name=self._service_name(prepared),
            health=RouteHealth(route.upstream, self._scopes[route.credential]),
            service=None if route.service is None else self._gates.gate(route.service),
            file_scope=route.file_scope,
        )

    def _service_name(self, prepared: PreparedRoute) -> str:
        """Return the name in `services` of the service that a route belongs to, else the host of its upstream."""
        origin = prepared.route.service
        return prepared.upstream.url.host if origin is None else self._services[origin][0]

    def _upstream_server(self, route: ResolvedRoute, endpoint: UpstreamEndpoint) -> UpstreamServer:
        url, origin = endpoint.url, endpoint.origin
        if origin not in self._pools:
            limits = self._limits
            self._pools[origin] = ConnectionPool(
                origin,
                RESPONSE_RULES,
                size=limits.size,
                idle_timeout=limits.idle,
                max_age=limits.max_age,
                budget=self._budget,
            )
        pool = self._pools[origin]
        return UpstreamServer(url, pool, pool.get_share(route.name), f"Host: {url.authority}".encode())


def _design_url(route: ResolvedRoute, url: UpstreamUrl) -> str | None:
    """Return the design host's URL of the same path: the configured one, else that of OIC 3's developer API."""
    if route.design is not None:
        return f"{route.design}{url.path}"
    host = design_host(url.host) if is_developer_upstream(url.path) else None
    return None if host is None else f"{url.scheme}://{host}{url.path}"


@lru_cache(maxsize=16)
def _browser_origins(origins: tuple[str, ...]) -> frozenset[str]:
    """Return the origins as browsers write them. Routes with equal settings share the result."""
    return frozenset(browser_origin(origin) or origin for origin in origins)


@lru_cache(maxsize=64)
def _instance_id_finder(rules: tuple[tuple[LocationKind, str], ...] | None, *, is_developer: bool) -> InstanceIdFinder:
    if rules is None:
        return InstanceIdFinder.compile(DEFAULT_LOCATIONS if is_developer else TRIGGER_LOCATIONS)
    return InstanceIdFinder.compile(InstanceIdLocation(where, name) for where, name in rules)
