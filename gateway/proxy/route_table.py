"""The compiled configuration that the request pipeline looks up: the routes, and what holds for all of them."""

from collections.abc import Callable, Mapping

import msgspec

from gateway.callers.directory import CallerDirectory
from gateway.diagnosis.route_health import RouteHealth
from gateway.errors import BadRequest, NoRoute
from gateway.http.local_address import LocalAddress
from gateway.http.pool import ConnectionPool, PoolShare
from gateway.http.request_head import RequestHead
from gateway.limits.limit_gate import LimitGate
from gateway.oauth.token_source import TokenSource
from gateway.observe.meters import RouteMeter
from gateway.oic.instance_id import InstanceIdFinder
from gateway.oic.urls import DEVELOPER_CALL
from gateway.proxy.admission import Admission
from gateway.proxy.cookies import CookieScope
from gateway.proxy.cors import CorsPolicy
from gateway.proxy.gateway_authorities import GatewayAuthorities
from gateway.proxy.request_edits import RequestEdits
from gateway.proxy.retry import ReplayPolicy
from gateway.proxy.rewriting import UrlMap
from gateway.proxy.routing import RouteMatch, Router, UpstreamUrl, split_absolute
from gateway.services.service_gate import ServiceGate

GENERAL_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


class UpstreamServer(msgspec.Struct, frozen=True):
    """An origin that a route sends requests to."""

    url: UpstreamUrl
    pool: ConnectionPool
    share: PoolShare
    """The route's share of the pool."""
    host_line: bytes
    """The Host field line, without CRLF."""


class Route(msgspec.Struct, frozen=True, eq=False):
    """A compiled route: everything a request needs. Equal only to itself."""

    name: str
    path: str
    credential: str
    callers: frozenset[str] | None
    """Callers that may use the route; None: requests need no proof."""
    challenges: tuple[str, ...]
    """Field lines of a response to an unknown caller (RFC 9110 §11.6.1)."""
    methods: frozenset[str]
    connect_timeout: float
    response_timeout: float
    idle_timeout: float
    replay: ReplayPolicy
    idempotent: bool
    replay_limit: int
    origins: frozenset[str]
    answers_half_closed: bool
    """A caller that has closed its sending side gets the response."""
    cors: CorsPolicy | None
    """What web pages of `origins` may do; None without origins."""
    response_fields: frozenset[bytes]
    """Deferred response fields that this route forwards, in lower case."""
    cookies: CookieScope | None
    """The cookies of OIC that callers keep; None: cookies are removed in both directions."""
    rewrite: frozenset[str]
    edits: RequestEdits | None
    instance_id_finder: InstanceIdFinder
    token_source: TokenSource
    upstream: UpstreamServer
    design_upstream: UpstreamServer | None
    """A further origin that a 307 of the developer API may name."""
    is_developer: bool
    """The upstream URL names the design host: every request is one for the developer API."""
    meter: RouteMeter
    service_name: str
    """The service in `services` to whose usage the calls belong, else the host of the upstream."""
    health: RouteHealth
    """The current problem of the route."""
    service: ServiceGate | None = None
    """The places of the service that the route belongs to; None without a limit."""
    file_scope: str = ""
    """The scope of the file that has the route: it shares its upstreams with the routes of this scope only."""

    @property
    def upstream_url(self) -> UpstreamUrl:
        """Return the upstream URL."""
        return self.upstream.url

    def follows_redirects_of(self, target: str) -> bool:
        """Return whether a 307 to a request for this target may be followed: it is for the developer API."""
        return self.is_developer or DEVELOPER_CALL.match(target) is not None

    @property
    def upstreams(self) -> tuple[UpstreamServer, ...]:
        """Return all origins that requests may go to."""
        return (self.upstream,) if self.design_upstream is None else (self.upstream, self.design_upstream)


class RouteTable(msgspec.Struct, frozen=True):
    """All routes of one configuration; a reload replaces the whole table."""

    router: Router[Route]
    url_maps: Mapping[str, UrlMap]
    """By `Route.file_scope`: the URLs that responses of its routes are rewritten to."""
    admission: Admission
    gateway_authorities: GatewayAuthorities
    callers: CallerDirectory
    body_limit: int | None
    body_rate: int
    public_url: str
    """The gateway's URL in responses; empty: the host that the caller used."""
    shares: Mapping[str, int] = msgspec.field(default_factory=dict)
    """By name of the caller: its share of the places of a service; callers that are not listed have 1."""

    limits: Mapping[str, LimitGate] = msgspec.field(default_factory=dict)
    """By name of the caller: the gate of its limits; callers without limits are not listed."""

    def resolve_other_form(
        self, head: RequestHead, local_address: Callable[[], LocalAddress | None]
    ) -> tuple[bytes | None, RouteMatch[Route] | None]:
        """Resolve a target that is no path. Return the name of the gateway that the caller used and the match. The
        match is None for OPTIONS on the gateway as a whole. `local_address` is that of the connection
        (`GatewayAuthorities.contains`).

        Raise BadRequest, Forbidden for the Host, or NoRoute.
        """
        host, target = head.known_fields.get(b"host"), head.target
        if target == "*" and head.method == "OPTIONS":
            self.admission.check_host(host, required=head.is_http11)
            return host, None
        self.admission.check_host_form(host, required=head.is_http11)
        absolute = split_absolute(target)
        if absolute is None:
            raise BadRequest("The request target is neither a path nor an absolute URL.")
        if (match := self.router.resolve_absolute(target)) is not None:
            return None, match
        # RFC 9112 §3.2.2: the authority of the target counts, not the Host field. A machine that sets `http_proxy`
        # sends all its plain HTTP traffic here, so only an authority of this listener may be matched by its path.
        (scheme, _, rest), (authority, origin_form) = target.partition("://"), absolute
        if not self.gateway_authorities.contains(scheme.lower(), authority, local_address()):
            raise NoRoute("The target's authority is neither this gateway nor the upstream of a route.")
        # RFC 9112 §3.2.4: OPTIONS without path and query asks about the server as a whole.
        is_server_wide = rest == authority and head.method == "OPTIONS"
        return authority.encode("ascii"), None if is_server_wide else self.router.resolve_path(origin_form)
