"""Identifies the caller of a request on a route with `callers`, and rejects every other request.

What the fields of a head prove is remembered with the connection: a caller that repeats them is looked up once. A
WS-Security token is in the body. Until it is read, the request has no caller, and nothing is sent upstream.
"""

import time

import msgspec

from gateway.callers.directory import KnownCaller, ScopedProofs
from gateway.callers.identification import ConnectionFacts, combine_callers, identify_head
from gateway.callers.proof_table import ProofTable
from gateway.callers.username_token import verify_tokens
from gateway.errors import CallerNotAllowed, UnknownCaller
from gateway.oic.ws_security import UsernameToken
from gateway.proxy.exchange import Exchange
from gateway.proxy.route_table import Route


class VerifiedHead(msgspec.Struct):
    """What the head of a request proved on a connection; valid for its route while the proofs are the same."""

    proofs: ScopedProofs
    route: Route
    authorization: bytes | None
    api_key: bytes | None
    caller: KnownCaller


def identify_caller(exchange: Exchange, *, may_have_token: bool) -> None:
    """Identify the caller by its connection and the head. `may_have_token`: the body may contain a WS-Security token,
    which `identify_by_tokens` reads. Raise UnknownCaller or CallerNotAllowed.
    """
    known, verified = exchange.head.known_fields, exchange.caller.verified_head
    authorization, api_key = known.get(b"authorization"), known.get(b"x-api-key")
    if (
        isinstance(verified, VerifiedHead)
        and verified.api_key == api_key
        and verified.authorization == authorization
        and verified.route is exchange.route
        and verified.proofs is exchange.route_table.callers.proofs
    ):
        exchange.record.caller, exchange.caller_meter = verified.caller.name, verified.caller.meter
        return
    connection, proofs = exchange.caller, _proofs_for(exchange)
    facts = ConnectionFacts(
        connection.peer,
        connection.peer_user_id if proofs.uses_users else None,
        connection.peer_certificate if proofs.uses_certificates else None,
    )
    found = identify_head(proofs, facts, authorization=authorization, api_key=api_key)
    if found.problem:
        raise _unknown_caller_error(exchange, found.problem)
    if found.caller is not None:
        caller = _accept_caller(exchange, found.caller)
        every = exchange.route_table.callers.proofs
        connection.verified_head = VerifiedHead(every, exchange.route, authorization, api_key, caller)
    elif not (may_have_token and proofs.uses_wsse):
        raise _unknown_caller_error(exchange, "the request has no proof")


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


def _accept_caller(exchange: Exchange, name: str) -> KnownCaller:
    caller = exchange.route_table.callers.by_name[name]
    exchange.record.caller, exchange.caller_meter = name, caller.meter
    if name not in (exchange.route.callers or ()):
        raise CallerNotAllowed(reason="the route's `callers` does not name it")
    return caller


def _unknown_caller_error(exchange: Exchange, reason: str) -> UnknownCaller:
    exchange.caller_meter = exchange.route_table.callers.unknown_caller.meter
    return UnknownCaller(reason=reason, fields=exchange.route.challenges)
