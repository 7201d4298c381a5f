"""Identifies the caller of a request on a route with `callers`, and rejects every other request. Removes the keys of
callers from all requests.

What the fields of a head prove is remembered with the connection: a caller that repeats them is looked up once. A
WS-Security token is in the body. Until it is read, the request has no caller, and nothing is sent upstream.
"""

import time

import msgspec

from gateway.callers.directory import ScopedProofs
from gateway.callers.identification import ConnectionFacts, combine_callers, identify_head
from gateway.callers.proof_table import ProofTable
from gateway.callers.username_token import verify_tokens
from gateway.errors import CallerNotAllowed, UnknownCaller
from gateway.http.fields import field_value
from gateway.http.request_body import NO_BODY
from gateway.oic.ws_security import UsernameToken
from gateway.proxy.exchange import Exchange
from gateway.proxy.headers import API_KEY, find_api_keys
from gateway.proxy.route_table import Route

PresentedProofs = tuple[bytes | None, bytes | None, Route, ScopedProofs]
"""Authorization and X-Api-Key of a head, the route, and the proofs that they were compared with."""


class VerifiedHead(msgspec.Struct, frozen=True):
    """What the head of a request proved on a connection: another one that presents the same proves the same."""

    presented: PresentedProofs
    caller: str
    key_line: bytes | None
    """The line of X-Api-Key if it is a proof, empty if that was not one line. None: it is not a proof."""

    def __repr__(self) -> str:
        """Return a text without the proofs."""
        return f"<VerifiedHead {self.caller}>"


def recognize_caller(exchange: Exchange) -> bool:
    """Identify the caller if its head repeats what its connection has proved, and remove its key. Return True if this
    is the whole check: the request has no body, and callers have no limits.
    """
    known, table = exchange.head.known_fields, exchange.route_table
    verified: VerifiedHead | None = exchange.caller.verified_head
    presented = known.get(b"authorization"), known.get(b"x-api-key"), exchange.route, table.callers.proofs
    if verified is None or verified.presented != presented:
        return False
    exchange.record.caller = verified.caller
    if verified.key_line is not None:
        try:
            exchange.request_lines.remove(verified.key_line)
        except ValueError:  # in another spelling
            remove_key(exchange)
    return exchange.body is NO_BODY and not table.limits


def identify_caller(exchange: Exchange, *, may_have_token: bool) -> None:
    """Identify the caller by its connection and the head, unless it is known already. `may_have_token`: the body may
    contain a WS-Security token, which `identify_by_tokens` reads. Raise UnknownCaller or CallerNotAllowed.
    """
    if exchange.record.caller is not None:
        return
    known, connection, proofs = exchange.head.known_fields, exchange.caller, _proofs_for(exchange)
    authorization, api_key = known.get(b"authorization"), known.get(API_KEY)
    facts = ConnectionFacts(
        connection.peer,
        connection.peer_user_id if proofs.uses_users else None,
        connection.peer_certificate if proofs.uses_certificates else None,
    )
    found = identify_head(proofs, facts, authorization=authorization, api_key=api_key)
    if found.problem:
        raise _unknown_caller_error(exchange, found.problem)
    if found.caller is None and not (may_have_token and proofs.uses_wsse):
        raise _unknown_caller_error(exchange, "the request has no proof")
    if found.caller is not None:
        _accept_caller(exchange, found.caller)
    key_line = remove_key(exchange)
    if found.caller is not None:
        presented = authorization, api_key, exchange.route, exchange.route_table.callers.proofs
        connection.verified_head = VerifiedHead(presented, found.caller, key_line)


def remove_key(exchange: Exchange) -> bytes | None:
    """Remove X-Api-Key from the lines to send if it is a proof here: callers of the route prove themselves by keys, or
    it, or one of its lines, is the key of a caller. Return its line, or an empty one if it is not one line; None if it
    is not a proof.
    """
    value, route, proofs = exchange.head.known_fields.get(API_KEY), exchange.route, exchange.route_table.callers.proofs
    if value is None:
        return None
    found = find_api_keys(exchange.request_lines)
    has_keys = route.callers is not None and proofs.for_scope(route.file_scope).uses_keys
    if not has_keys and not any(map(proofs.every.find_key, {value, *map(field_value, found)})):
        return None
    exchange.request_lines = [line for line in exchange.request_lines if line not in found]
    return found[0] if len(found) == 1 else b""


def identify_by_tokens(exchange: Exchange, tokens: list[UsernameToken]) -> None:
    """Identify the caller by the WS-Security tokens of its message too. Raise UnknownCaller or CallerNotAllowed."""
    proofs = _proofs_for(exchange)
    if tokens and proofs.uses_wsse:
        proof = verify_tokens(proofs, tokens, exchange.route_table.callers.replay_cache, now=time.time())
        by_head = exchange.record.caller
        found = combine_callers((*proof.names, *(() if by_head is None else (by_head,))))
        if problem := proof.problem or found.problem:
            exchange.record.caller = None
            raise _unknown_caller_error(exchange, problem)
        if found.caller is not None:
            _accept_caller(exchange, found.caller)
    if exchange.record.caller is None:
        raise _unknown_caller_error(exchange, "the request has no proof")


def _proofs_for(exchange: Exchange) -> ProofTable:
    return exchange.route_table.callers.proofs.for_scope(exchange.route.file_scope)


def _accept_caller(exchange: Exchange, name: str) -> None:
    exchange.record.caller = name
    if name not in (exchange.route.callers or ()):
        raise CallerNotAllowed(reason="the route's `callers` does not name it")


def _unknown_caller_error(exchange: Exchange, reason: str) -> UnknownCaller:
    exchange.route.meter.unidentified.append(exchange.record)
    return UnknownCaller(reason=reason, fields=exchange.route.challenges)
