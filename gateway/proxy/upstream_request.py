"""One request on its errand to OIC: what its caller asks for, where it goes next, and step 3 of the walk."""

import msgspec

from gateway.http.fields import field_value, remove_fields
from gateway.http.request_head import RequestHead
from gateway.http.response_parser import ResponseHead
from gateway.proxy.exchange import Exchange
from gateway.proxy.headers import DIGESTS, RANGE_AND_CODING, counted_lines, identity_request, max_forwards
from gateway.proxy.redirects import MAX_REDIRECTS, allowed_target
from gateway.proxy.request_edits import TemplateValues
from gateway.proxy.retry import RetryState
from gateway.proxy.route_table import Route, RouteTable, UpstreamTarget
from gateway.proxy.routing import RouteMatch


class UpstreamRequest(msgspec.Struct):
    """The state of one request while it is sent, once or again."""

    exchange: Exchange
    head: RequestHead
    table: RouteTable
    match: RouteMatch[Route]
    retry_state: RetryState
    token: str
    upstream_target: UpstreamTarget
    target: str
    lines: list[bytes]
    """The caller's fields that go on, with what the route changes."""
    redirects: int = 0
    """Redirects followed."""
    fresh_connection: bool = False
    """A second try gets a new connection: what made the first fail may have closed its neighbours too."""


def apply_route_edits(errand: UpstreamRequest) -> None:
    """Step 3: what the route changes of the caller's head."""
    route, noted = errand.match.route, errand.head.known_fields
    if route.rewrite and not RANGE_AND_CODING.isdisjoint(noted):
        errand.lines = identity_request(errand.lines, noted)
    if errand.exchange.body.bytes_removed:
        errand.lines = remove_fields(frozenset(DIGESTS), errand.lines)
    if errand.head.method == "OPTIONS" and (hops := max_forwards(noted)):
        errand.lines = counted_lines(errand.lines, hops)
    if route.edits is not None:
        known = template_values(errand)
        errand.lines = route.edits.edit_lines(errand.lines, known)
        errand.target = route.edits.edit_target(errand.target, known)


def redirect(errand: UpstreamRequest, reply: ResponseHead) -> bool:
    """Turn the request to where a 307 of the developer API leads, and return whether it may go there as a whole. What
    any other flow answers is its caller's (step 7).
    """
    location = next((field_value(line) for name, line in reply.deferred if name == b"location"), b"").decode("latin-1")
    route = errand.match.route
    if not route.follows(errand.target):
        return False
    places = {place.base: place for place in route.targets}
    found = allowed_target(location, at=errand.upstream_target.base, places=places)
    may_follow = errand.retry_state.may_replay and errand.exchange.body.is_whole and errand.redirects < MAX_REDIRECTS
    if found is None or not may_follow:
        return False
    errand.redirects += 1
    errand.fresh_connection = False
    errand.upstream_target, errand.target = places[found[0]], found[1]
    if route.edits is not None:
        errand.target = route.edits.edit_target(errand.target, template_values(errand))
    return True


def template_values(errand: UpstreamRequest) -> TemplateValues:
    """What the route's values may name."""
    record = errand.exchange.record
    return {
        "request_id": record.request_id or "",
        "route": errand.match.route.name,
        "client": record.client or "",
        "method": errand.head.method,
        "path": errand.match.path,
        "host": (errand.exchange.host or b"").decode("ascii"),
    }


def public_base_url(errand: UpstreamRequest) -> str:
    """The gateway's own URL for replies, without a slash at its end: as configured, else as the caller named it; for
    one of HTTP/1.0 that names nobody, the address that it came to. Empty on a unix socket.
    """
    exchange = errand.exchange
    if errand.table.public_url:
        return errand.table.public_url
    host = exchange.caller.address() if exchange.host is None else exchange.host.decode("ascii")
    return f"http://{host}" if host else ""
