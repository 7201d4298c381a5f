"""What the walk looks up: routes, compiled once at start, and all that holds for every one of them."""

from dataclasses import dataclass
from typing import NamedTuple

import msgspec

from gateway.diagnosis.route_health import RouteHealth
from gateway.http.pool import ConnectionPool, Share
from gateway.http.request_head import RequestHead
from gateway.oauth.token_source import TokenSource
from gateway.observe.meters import RouteMeter
from gateway.oic.design_host import is_developer_call
from gateway.oic.instance_id import InstanceIdRules
from gateway.proxy.admission import Admission
from gateway.proxy.own_authorities import OwnAuthorities
from gateway.proxy.request_edits import RequestEdits
from gateway.proxy.retry import Replay
from gateway.proxy.rewriting import UrlMap
from gateway.proxy.routing import RouteMatch, Router, UpstreamUrl

GENERAL_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


class UpstreamTarget(NamedTuple):
    """An origin that requests of a route go to."""

    base: UpstreamUrl
    pool: ConnectionPool
    share: Share
    """What the route uses of the pool."""
    host_line: bytes
    """The Host field, without its end."""


@dataclass(frozen=True, slots=True)
class Route:
    """A configured route, compiled: everything a request needs."""

    name: str
    path: str
    credential: str
    methods: frozenset[str]
    connect_timeout: float
    response_timeout: float
    idle_timeout: float
    replay: Replay
    idempotent: bool
    replay_limit: int
    origins: frozenset[str]
    response_fields: frozenset[bytes]
    """Fields of a reply that pass on this route only."""
    rewrite: frozenset[str]
    edits: RequestEdits | None
    instance_id_rules: InstanceIdRules
    source: TokenSource
    target: UpstreamTarget
    design_target: UpstreamTarget | None
    """Where a 307 of the developer API may lead."""
    is_developer: bool
    """The configuration says so of all that lies under the upstream: it names the design host."""
    meter: RouteMeter
    health: RouteHealth
    """What ails it at present."""

    @property
    def base(self) -> UpstreamUrl:
        """The upstream URL."""
        return self.target.base

    def follows(self, target: str) -> bool:
        """Return whether a 307 to a request for this target may be followed: it is one for the developer API."""
        return self.is_developer or is_developer_call(target.partition("?")[0])

    @property
    def targets(self) -> tuple[UpstreamTarget, ...]:
        """All origins that requests may go to."""
        return (self.target,) if self.design_target is None else (self.target, self.design_target)


@dataclass(frozen=True, slots=True)
class RouteTable:
    """All routes of one configuration; replaced whole when the configuration is read again."""

    routing: Router[Route]
    url_map: UrlMap
    admission: Admission
    own: OwnAuthorities
    body_limit: int | None
    body_rate: int
    public_url: str
    """The gateway in its replies; empty: as its caller named it."""


class CachedMatch(msgspec.Struct):
    """What steps 1 and 2 made of the last head on a connection, while the table is the same."""

    head: RequestHead
    table: RouteTable
    host: bytes | None
    match: RouteMatch[Route]
