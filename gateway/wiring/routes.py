"""From settled routes to compiled ones: where each leads, what it changes, and the connections that routes share."""

import ssl
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from gateway.config.model import Config
from gateway.config.resolved import ResolvedRoute
from gateway.config.strict_model import Proxy, Tls
from gateway.diagnosis.route_health import RouteHealth
from gateway.http.pool import ConnectionBudget, ConnectionPool
from gateway.network.dial import EgressProxy, Origin
from gateway.oauth.token_source import TokenSource
from gateway.observe.metrics import Metrics
from gateway.oic.design_host import design_host, is_developer
from gateway.oic.instance_id import DEFAULT_RULES, TRIGGER_RULES, IdRule, InstanceIdRules, RulePlace
from gateway.proxy.headers import RESPONSE_RULES, forwardable_response_fields
from gateway.proxy.request_edits import RequestEdits
from gateway.proxy.route_table import GENERAL_METHODS, Route, UpstreamTarget
from gateway.proxy.routing import UpstreamUrl
from gateway.system.files import check_regular

_ALL_METHODS = frozenset(GENERAL_METHODS)


class TlsContexts:
    """TLS contexts, one for each set of authorities."""

    def __init__(self) -> None:
        self._contexts: dict[str | None, ssl.SSLContext] = {}

    def context(self, tls: Tls | None) -> ssl.SSLContext:
        """Verifies against the system's authorities, or those of `ca`. TLS 1.2 at least, as OIC documents."""
        ca = tls.ca if tls is not None else None
        if ca not in self._contexts:
            self._contexts[ca] = client_tls_context(ca)
        return self._contexts[ca]


Egress = Callable[[str, Proxy | None, Tls | None, TlsContexts], Callable[[], EgressProxy] | None]


@dataclass(frozen=True, slots=True)
class UpstreamEndpoint:
    """An upstream URL and how it is reached."""

    base: UpstreamUrl
    origin: Origin


@dataclass(frozen=True, slots=True)
class PreparedRoute:
    """A settled route whose certificate files and proxy secrets have been read."""

    settled: ResolvedRoute
    upstream: UpstreamEndpoint
    design: UpstreamEndpoint | None


def prepare_route(route: ResolvedRoute, *, egress: Egress, trust: TlsContexts) -> PreparedRoute:
    """Read the files that a route names; in a thread where callers are served. `egress` finds the egress proxy for a
    URL. Raises OSError or ssl.SSLError for a file that cannot be used.
    """

    def endpoint(url: str, base: UpstreamUrl) -> UpstreamEndpoint:
        find = egress(url, route.proxy, route.tls, trust)
        proxy = find() if find is not None else None
        tls = trust.context(route.tls) if base.scheme == "https" else None
        return UpstreamEndpoint(base, Origin(base.host, base.port, tls, proxy))

    base = UpstreamUrl.parse(route.upstream)
    design = _design_of(route, base)
    return PreparedRoute(
        route, endpoint(route.upstream, base), None if design is None else endpoint(design, UpstreamUrl.parse(design))
    )


class RouteCompiler:
    """Compiles the routes of one configuration. Routes to one origin share its `upstreams` entry, whose connections
    they use. Opens no file.
    """

    def __init__(self, config: Config, *, metrics: Metrics, budget: ConnectionBudget | None = None) -> None:
        """`budget` bounds the connections to all upstreams together."""
        self._pool = config.pool
        self._scopes = {name: credential.scope or "" for name, credential in config.credentials.items()}
        self._metrics = metrics
        self._budget = budget
        self._upstreams: dict[Origin, ConnectionPool] = {}

    @property
    def pools(self) -> tuple[ConnectionPool, ...]:
        """All that the compiled routes lead to."""
        return tuple(self._upstreams.values())

    def compile(self, prepared: PreparedRoute, source: TokenSource) -> Route:
        """One route, ready."""
        route, design = prepared.settled, prepared.design
        return Route(
            name=route.name,
            path=route.path,
            credential=route.credential,
            methods=route.methods or _ALL_METHODS,
            connect_timeout=route.connect_timeout,
            response_timeout=route.response_timeout,
            idle_timeout=route.idle_timeout,
            replay=route.replay,
            idempotent=route.idempotent,
            replay_limit=route.replay_limit,
            origins=_lowered(route.origins),  # browsers write them so
            response_fields=forwardable_response_fields(cookies=route.keep_cookies, ranges=not route.rewrite),
            rewrite=route.rewrite,
            edits=RequestEdits.compile(
                fields=route.set_headers, removed=route.remove_headers, parameters=route.set_query
            ),
            instance_id_rules=_search(route.instance_id, is_developer=is_developer(prepared.upstream.base.path)),
            source=source,
            target=self._target(route, prepared.upstream),
            is_developer=route.design is not None,
            design_target=None if design is None else self._target(route, design),
            meter=self._metrics.route(route.name),
            health=RouteHealth(route.upstream, self._scopes[route.credential]),
        )

    def _target(self, route: ResolvedRoute, endpoint: UpstreamEndpoint) -> UpstreamTarget:
        base, origin = endpoint.base, endpoint.origin
        if origin not in self._upstreams:
            pool = self._pool
            self._upstreams[origin] = ConnectionPool(
                origin, RESPONSE_RULES, size=pool.size, idle=pool.idle, max_age=pool.max_age, budget=self._budget
            )
        upstream = self._upstreams[origin]
        return UpstreamTarget(base, upstream, upstream.share_of(route.name), f"Host: {base.authority}".encode())


def _design_of(route: ResolvedRoute, base: UpstreamUrl) -> str | None:
    """The design host's URL of the same path: as it is said, else where the upstream is the developer API of OIC 3."""
    if route.design is not None:
        return f"{route.design}{base.path}"
    host = design_host(base.host) if is_developer(base.path) else None
    return None if host is None else f"{base.scheme}://{host}{base.path}"


@lru_cache(maxsize=16)
def _lowered(origins: tuple[str, ...]) -> frozenset[str]:
    """Routes that say the same share it, here and below."""
    return frozenset(origin.lower() for origin in origins)


@lru_cache(maxsize=64)
def _search(places: tuple[tuple[RulePlace, str], ...] | None, *, is_developer: bool) -> InstanceIdRules:
    if places is None:
        return InstanceIdRules.compile(DEFAULT_RULES if is_developer else TRIGGER_RULES)
    return InstanceIdRules.compile(IdRule(where, name) for where, name in places)


def client_tls_context(ca: str | None) -> ssl.SSLContext:
    """A client's context that trusts the authorities in the PEM file `ca`, or those of the system."""
    if ca is not None:
        check_regular(ca)
    context = ssl.create_default_context(cafile=ca)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION  # as TLS 1.3: a write need never wait for a read
    context.set_alpn_protocols(["http/1.1"])
    return context
