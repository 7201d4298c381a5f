"""The checks of a request, before anything is sent for it: address, loops, route, method, caller, body."""

import time

import msgspec

from gateway.errors import LoopDetected, MethodNotAllowed
from gateway.http.request_body import NO_BODY
from gateway.http.request_head import RequestHead
from gateway.oic.soap_credentials import SoapCredentialFilter, may_be_soap
from gateway.oic.urls import SOAP_TRIGGER_PREFIX
from gateway.oic.usual_soap import usual_message_namespace
from gateway.oic.ws_security import UsernameToken
from gateway.proxy.admission import check_browser
from gateway.proxy.caller_check import identify_by_tokens, identify_caller, remove_key
from gateway.proxy.cors import REQUEST_HEADERS, REQUEST_METHOD
from gateway.proxy.error_response import expected_soap_namespace
from gateway.proxy.exchange import Exchange
from gateway.proxy.headers import read_max_forwards, via_contains
from gateway.proxy.method_override import check_methods
from gateway.proxy.route_table import GENERAL_METHODS, Route
from gateway.proxy.routing import RouteMatch

CHECKED_METHODS = frozenset({"CONNECT", "OPTIONS"})


def match_route(exchange: Exchange, pseudonym: str) -> RouteMatch[Route] | None:
    """Check who calls, and find route and upstream target. Return None for an OPTIONS request that the gateway has
    answered itself. `pseudonym` names the gateway in `Via`.
    """
    head, table, caller = exchange.head, exchange.route_table, exchange.caller
    known, method, target = head.known_fields, head.method, head.target
    host = known.get(b"host")
    is_accepted = caller.accepted_by is table.admission and caller.accepted_host == host
    if not is_accepted:
        table.admission.check_address(caller.peer)
    if head.error is not None:
        raise head.error
    is_usual = not head.has_special_fields and method not in CHECKED_METHODS
    if not is_usual:
        _check_loops_and_tunnels(exchange, pseudonym)
    if target[0] == "/":
        if not is_accepted:
            table.admission.check_host(host, required=head.is_http11)
            if host is not None:
                caller.accepted_by, caller.accepted_host = table.admission, host
        match = table.router.resolve_path(target)
    else:
        host, found = table.resolve_other_form(head, caller.local_address)
        if found is None:
            exchange.host = host
            exchange.answer_options(GENERAL_METHODS)
            return None
        match = found
    route, record = match.route, exchange.record
    exchange.host, exchange.route_match, exchange.route = host, match, route
    caller.last_route = route
    route.meter.begun += 1
    record.route, record.credential, record.path = route.name, route.credential, match.path
    if exchange.body is not NO_BODY and SOAP_TRIGGER_PREFIX in match.target:
        exchange.soap_namespace = expected_soap_namespace(head)
    is_usual = is_usual and method in route.methods and route.cors is None and route.edits is None
    if is_usual and "_" not in target and "%" not in target:  # no parameter, spelled in any way, names another method
        return match
    return _check_page_and_method(exchange, match)


def _check_loops_and_tunnels(exchange: Exchange, pseudonym: str) -> None:
    via = exchange.head.known_fields.get(b"via")
    if via is not None and via_contains(via, pseudonym):
        raise LoopDetected
    if exchange.head.method == "CONNECT":
        exchange.response.keep_alive = False  # the bytes that follow are meant for the tunnel
        raise MethodNotAllowed(
            "The gateway opens no tunnels: set the caller's http_proxy, and write OIC's URL with http://.",
            allow=GENERAL_METHODS,
        )


def _check_page_and_method(exchange: Exchange, match: RouteMatch[Route]) -> RouteMatch[Route] | None:
    """Check the web page that sends the request, and its methods. Return the match with the method that decides on
    retries; None for an OPTIONS request that is answered here.
    """
    head, route = exchange.head, match.route
    known, method, edits = head.known_fields, head.method, route.edits
    if route.cors is not None:
        exchange.cors_lines = route.cors.response_lines(known.get(b"origin"))
    check_browser(known.get(b"origin"), known.get(b"sec-fetch-site"), route.origins)
    if method == "OPTIONS" and route.cors is not None and b"origin" in known and REQUEST_METHOD in known:
        exchange.answer_preflight(route.cors.preflight_lines(known.get(REQUEST_HEADERS)))
        return None
    removed, added = ((), ()) if edits is None else (edits.dropped, edits.methods)
    if (effective := check_methods(head, route.methods, removed=removed, added=added)) != method:
        exchange.route_match = match = msgspec.structs.replace(match, method=effective)
    if method == "OPTIONS" and read_max_forwards(known) == 0:  # RFC 9110 §7.6.2
        exchange.answer_options(sorted(route.methods))
        return None
    return match


async def check_caller_and_body(exchange: Exchange) -> None:
    """Identify the caller, set the limits of the body, remove the caller's own credentials from it and from the head,
    and check the limits of the caller. Raise UnknownCaller, CallerNotAllowed, TooManyRequests, and as
    `_strip_soap_credentials` and `prepare_body` do.
    """
    match, has_body = exchange.route_match, exchange.body is not NO_BODY
    may_be_soap = has_body and _may_be_soap(exchange.head, match.target)
    if match.route.callers is None:
        remove_key(exchange)
    else:
        identify_caller(exchange, may_have_token=may_be_soap)
    if has_body:
        exchange.prepare_body()
        if may_be_soap:
            tokens = await _strip_soap_credentials(exchange)
            if match.route.callers is not None:
                identify_by_tokens(exchange, tokens)
    if exchange.route_table.limits and exchange.record.caller is not None:
        await _admit_within_limits(exchange)


async def _admit_within_limits(exchange: Exchange) -> None:
    """Count the call for the limits of its caller. Raise TooManyRequests if it has reached one."""
    gate = exchange.route_table.limits.get(exchange.record.caller or "")
    if gate is not None:
        if not gate.try_admit(time.monotonic()):
            turn = gate.request_permit()
            if not turn.done():
                await exchange.caller.become_task()
                await gate.wait_answer(turn)
            gate.use_permit(turn)
        exchange.limit_gate = gate


async def _strip_soap_credentials(exchange: Exchange) -> list[UsernameToken]:
    """Remove the caller's own credentials from its SOAP message, and return them if the route has `callers`. Raise
    BadRequest if the message cannot be searched, CallerGone if the caller left.
    """
    known, match = exchange.head.known_fields, exchange.route_match
    content_type, coding = known.get(b"content-type"), known.get(b"content-encoding")
    whole = exchange.body.peek()
    if whole is not None and (namespace := usual_message_namespace(content_type, coding, whole)) is not None:
        exchange.soap_namespace = namespace
        return []
    soap_filter = SoapCredentialFilter(
        content_type,
        soap_action=b"soapaction" in known,
        is_soap_route=SOAP_TRIGGER_PREFIX in match.target,
        coding=coding,
        reads_tokens=match.route.callers is not None,
    )
    try:
        await exchange.body.inspect(soap_filter, idle_timeout=match.route.idle_timeout)
    finally:
        exchange.soap_namespace = soap_filter.namespace or exchange.soap_namespace
    return soap_filter.tokens


def _may_be_soap(head: RequestHead, target: str) -> bool:
    known = head.known_fields
    return may_be_soap(
        known.get(b"content-type"), soap_action=b"soapaction" in known, is_soap_route=SOAP_TRIGGER_PREFIX in target
    )
