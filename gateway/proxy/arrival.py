"""A request as it arrives: may it be served at all, and where does it go? Steps 1 and 2 of the walk."""

from collections.abc import Collection
from typing import TypeVar

from gateway.errors import BadRequest, BodyTooLarge, Draining, Forbidden, MethodNotAllowed, NoRoute, Overloaded
from gateway.http.connection_limits import RefusalReason
from gateway.http.request_body import NO_BODY
from gateway.http.request_head import RequestHead
from gateway.proxy.admission import Admission
from gateway.proxy.exchange import Exchange, new_request_id
from gateway.proxy.headers import request_id
from gateway.proxy.method_override import effective_method, overriding_methods
from gateway.proxy.own_authorities import OwnAuthorities
from gateway.proxy.routing import RouteMatch, Router, split_absolute

R = TypeVar("R")

OVER = {RefusalReason.LIMIT: "connections", RefusalReason.ADDRESS: "address_share"}
"""The key of `limits` that a connection is over."""


def begin(exchange: Exchange, head: RequestHead, *, draining: bool) -> None:
    """Notes whose request it is. Raises Draining or Overloaded where none is served now."""
    record, caller = exchange.record, exchange.caller
    record.path = head.target.partition("?")[0]
    record.request_id = request_id(head, new_request_id)
    if draining:
        raise Draining(retry_after=1)
    if caller.refusal is not None and caller.refusal in OVER:
        raise Overloaded(reason=f"limits.{OVER[caller.refusal]}", retry_after=1)
    # Behind a fault nothing more is read: the caller must not be left waiting there.
    exchange.response.keep_alive = head.error is None and head.keeps_alive


def authorize(exchange: Exchange, head: RequestHead, admission: Admission) -> None:
    """Lets pass who may call with what can be served. Raises Forbidden for the address, or the head's own fault."""
    if not admission.accepts_address(exchange.caller.peer):
        raise Forbidden("This address may not call; add its network to `allow`.")
    if head.error is not None:
        raise head.error


def resolve_route(
    exchange: Exchange, head: RequestHead, routing: Router[R], admission: Admission, own: OwnAuthorities
) -> RouteMatch[R] | None:
    """Settle the target and the gateway's own name; None where the gateway as a whole is asked (`OPTIONS *`).

    Raises BadRequest, Forbidden for the Host, or NoRoute.
    """
    host, target = head.known_fields.get(b"host"), head.target
    if target[0] == "/":
        admission.check_host(host, required=head.is_http11)
        exchange.host = host
        return routing.resolve_path(target)
    if target == "*" and head.method == "OPTIONS":
        admission.check_host(host, required=head.is_http11)
        exchange.host = host
        return None
    admission.check_host_form(host, required=head.is_http11)
    absolute = split_absolute(target)
    if absolute is None:
        raise BadRequest("The request target is neither a path nor an absolute URL.")
    if (way := routing.resolve_absolute(target)) is not None:
        return way
    # RFC 9112 §3.2.2: the authority of the target counts, not the Host field. A machine that sets `http_proxy` sends
    # all its plain HTTP traffic here, so that only what names this listener may be matched by its path.
    (scheme, _, rest), (authority, origin_form) = target.partition("://"), absolute
    if not own.include(scheme.lower(), authority, exchange.caller.local_address()):
        raise NoRoute("The target's authority is neither this gateway nor the upstream of a route.")
    exchange.host = authority.encode("ascii")
    # RFC 9112 §3.2.4: without path and query, OPTIONS asks the server as a whole.
    return None if rest == authority and head.method == "OPTIONS" else routing.resolve_path(origin_form)


def check_methods(
    head: RequestHead, allowed: frozenset[str], *, removed: Collection[bytes] = (), added: Collection[str] = ()
) -> str:
    """Return the method that decides on retries; `removed` fields do not go out, `added` methods are named by what the
    route sets. Raises MethodNotAllowed for a method that the route does not take, also where a field or the query names
    it in place of the request's own; BadRequest for a field that names no method.
    """
    allow = tuple(sorted(allowed))
    if head.method not in allowed:
        raise MethodNotAllowed(allow=allow)
    try:
        overrides = overriding_methods(head.known_fields, head.target, removed=removed)
    except ValueError as field:
        raise BadRequest(f"The value of `{field}` is not a method.") from None
    for method, place in overrides.items():
        if method not in allowed:
            raise MethodNotAllowed(f"This route does not take the method that {place} names.", allow=allow)
    return effective_method(head.method, (*overrides, *added))


def prepare_body(exchange: Exchange, head: RequestHead, *, keep: int, limit: int | None, rate: int) -> None:
    """Makes the body ready to be sent on: up to `keep` bytes of it are kept, and it must not come slower than `rate`.
    Raises BodyTooLarge for one that says so, a chunked one is counted against `limit` as it comes; BadRequest for one
    that is broken already.
    """
    if exchange.body is NO_BODY:
        return
    if exchange.body.error is not None:
        raise exchange.body.error
    if limit is not None and (head.length or 0) > limit:
        raise BodyTooLarge
    invite = exchange.response.send_continue if head.expects_continue else None
    exchange.body.configure(keep=keep, limit=limit, invite=invite, rate=rate)
