"""A request as it arrives: may it be served at all, and where does it go? Steps 1 and 2 of the walk."""

from typing import TypeVar

from gateway.errors import BadRequest, BodyTooLarge, Draining, Forbidden, NoRoute, Overloaded
from gateway.proxy.admission import Admission
from gateway.proxy.body import CallerBody
from gateway.proxy.exchange import Exchange, fresh_id
from gateway.proxy.headers import CallerHead, read_caller, wants_keep_alive
from gateway.proxy.routing import Routing, Way, split_absolute
from gateway.proxy.server import CallerConnection

R = TypeVar("R")


def read(exchange: Exchange, admission: Admission, *, draining: bool) -> CallerHead:
    """Reads the head. Raises BadRequest, ExpectationFailed, Draining, Overloaded, or Forbidden for the address."""
    request, record, delivery = exchange.request, exchange.record, exchange.delivery
    record.path = request.raw_path.partition("?")[0]
    head = exchange.head = read_caller(request.raw_headers)
    record.request_id = head.request_id(fresh_id)
    if draining:
        raise Draining(retry_after=1)
    if isinstance(request.protocol, CallerConnection) and request.protocol.is_over:
        raise Overloaded(reason="limits.connections", retry_after=1)
    # Behind an Upgrade, also an ignored one, aiohttp's parser drops what came with it: nothing more is read there.
    stays = wants_keep_alive(request.version, head.noted.get(b"connection"))
    delivery.keep_alive = stays and b"upgrade" not in head.noted
    if not admission.accepts_address(record.client):
        raise Forbidden("This address may not call; add its network to `allow`.")
    if request.version not in {(1, 0), (1, 1)}:
        raise BadRequest("Only HTTP/1.1 and HTTP/1.0 are understood.")
    if head.chunked and request.version < (1, 1):  # RFC 9112 §6.1
        raise BadRequest("HTTP/1.0 knows no Transfer-Encoding.")
    return head


def find(exchange: Exchange, head: CallerHead, routing: Routing[R], *, admission: Admission) -> Way[R]:
    """Settles the target and the gateway's own name. Raises BadRequest, Forbidden for the Host, or NoRoute."""
    host, target = head.noted.get(b"host"), exchange.request.raw_path
    way = None if target.startswith("/") else routing.find_absolute(target)
    if way is not None:
        if host is not None and admission.accepts_host(host.decode("latin-1")) is None:
            raise BadRequest("The Host field is malformed.")
        return way
    absolute = split_absolute(target)
    if absolute is not None:
        # RFC 9112 §3.2.2: the authority of the target counts, not the Host field.
        host, target = absolute[0].encode("latin-1", "replace"), absolute[1]
        if not admission.accepts_host(host.decode("latin-1")):
            raise NoRoute
    admission.check_host(host, required=exchange.request.version >= (1, 1))
    exchange.public = f"http://{host.decode('latin-1')}" if host else ""
    return routing.find(target)


def take_body(exchange: Exchange, head: CallerHead, *, keep: int, limit: int | None) -> None:
    """Makes the body ready to be sent on: up to `keep` bytes of it are kept. Raises BodyTooLarge for one that says so;
    a chunked one is counted against `limit` as it comes.
    """
    if limit is not None and (head.length or 0) > limit:
        raise BodyTooLarge
    content, delivery = exchange.request.content, exchange.delivery
    is_waiting = head.expects_continue and exchange.request.version >= (1, 1)

    def invite() -> None:
        nonlocal is_waiting
        if is_waiting and not content.total_bytes:
            delivery.invite()
        is_waiting = False

    exchange.body = CallerBody(
        content, has_body=head.has_body, chunked=head.chunked, keep=keep, limit=limit, invite=invite
    )
