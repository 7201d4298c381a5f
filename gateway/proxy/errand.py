"""One request on its errand to OIC: what its caller asks for, where it goes next, and step 3 of the walk."""

import msgspec

from gateway.proxy.attempts import Tries
from gateway.proxy.exchange import Exchange
from gateway.proxy.fields import value_of, without
from gateway.proxy.following import MAX_HOPS, follow
from gateway.proxy.headers import ASKED, DIGESTS, counted_lines, max_forwards, whole_lines
from gateway.proxy.outgoing import Facts
from gateway.proxy.replies import ReplyHead
from gateway.proxy.requests import RequestHead
from gateway.proxy.routing import Way
from gateway.proxy.table import Place, Route, Table


class Errand(msgspec.Struct):
    """The state of one request while it is sent, once or again."""

    exchange: Exchange
    head: RequestHead
    table: Table
    way: Way[Route]
    tries: Tries
    token: str
    place: Place
    target: str
    lines: list[bytes]
    """The caller's fields that go on, with what the route changes."""
    hops: int = 0
    """Redirects followed."""
    anew: bool = False
    """A second try gets a new connection: what made the first fail may have closed its neighbours too."""


def edit(errand: Errand) -> None:
    """Step 3: what the route changes of the caller's head."""
    route, noted = errand.way.route, errand.head.noted
    if route.rewrite and not ASKED.isdisjoint(noted):
        errand.lines = whole_lines(errand.lines, noted)
    if errand.exchange.body.removed:
        errand.lines = without(frozenset(DIGESTS), errand.lines)
    if errand.head.method == "OPTIONS" and (hops := max_forwards(noted)):
        errand.lines = counted_lines(errand.lines, hops)
    if route.edits is not None:
        known = facts(errand)
        errand.lines = route.edits.lines(errand.lines, known)
        errand.target = route.edits.target(errand.target, known)


def redirect(errand: Errand, reply: ReplyHead) -> bool:
    """Turn the request to where a 307 of the developer API leads, and return whether it may go there as a whole. What
    any other flow answers is its caller's (step 7).
    """
    location = next((value_of(line) for name, line in reply.held if name == b"location"), b"").decode("latin-1")
    route = errand.way.route
    if not route.follows(errand.target):
        return False
    places = {place.base: place for place in route.places}
    found = follow(location, at=errand.place.base, places=places)
    may_follow = errand.tries.may_replay and errand.exchange.body.is_whole and errand.hops < MAX_HOPS
    if found is None or not may_follow:
        return False
    errand.hops += 1
    errand.anew = False
    errand.place, errand.target = places[found[0]], found[1]
    if route.edits is not None:
        errand.target = route.edits.target(errand.target, facts(errand))
    return True


def facts(errand: Errand) -> Facts:
    """What the route's values may name."""
    record = errand.exchange.record
    return {
        "request_id": record.request_id or "",
        "route": errand.way.route.name,
        "client": record.client or "",
        "method": errand.head.method,
        "path": errand.way.path,
        "host": (errand.exchange.host or b"").decode("ascii"),
    }


def public_name(errand: Errand) -> str:
    """The gateway's own URL for replies, without a slash at its end: as configured, else as the caller named it; for
    one of HTTP/1.0 that names nobody, the address that it came to. Empty on a unix socket.
    """
    exchange = errand.exchange
    if errand.table.public_url:
        return errand.table.public_url
    host = exchange.caller.address() if exchange.host is None else exchange.host.decode("ascii")
    return f"http://{host}" if host else ""
