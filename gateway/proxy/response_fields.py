"""The head of a response for the caller: fields of OIC in the gateway's names, and without those that are not for the
caller.
"""

import time
from collections.abc import Sequence
from functools import partial

from gateway.http.fields import CRLF, remove_fields
from gateway.http.response_parser import ResponseHead
from gateway.http.response_writer import date_line
from gateway.proxy.cors import CORS_FIELDS
from gateway.proxy.exchange import Exchange
from gateway.proxy.headers import (
    CODING_AND_DIGEST_FIELDS,
    TLS_ONLY,
    build_response_lines,
    deferred_response_lines,
    has_date,
    modified_body_lines,
    not_modified_lines,
)
from gateway.proxy.rewriting import RequestContext


def edit_response_head(
    exchange: Exchange,
    response: ResponseHead,
    extra_lines: Sequence[bytes],
    *,
    modified: bool,
    decoded: bool,
    weaken_etag: bool,
) -> bytes:
    """Return the status line and the field lines for the caller, with `extra_lines`, without framing and X-Request-Id.

    `modified`: the body is not OIC's, byte for byte; `decoded`: its content coding is removed; `weaken_etag`: the ETag
    must not claim equal bytes. The head of most responses is sent as it is, with the deferred fields behind it.
    """
    describes_other_bytes = modified and not CODING_AND_DIGEST_FIELDS.isdisjoint(response.known_fields)
    is_plain = response.is_plain and not describes_other_bytes and not exchange.cors_lines
    if is_plain and not response.deferred:
        return response.forwarded_head
    route = exchange.route
    deferred = deferred_response_lines(
        response,
        rewrite=partial(_rewrite_field, exchange),
        kept=route.response_fields | TLS_ONLY if exchange.caller.is_tls else route.response_fields,
        cookie_line=None
        if route.cookies is None or exchange.upstream is not route.upstream
        else partial(_cookie_line, exchange),
        weaken_etag=weaken_etag,
    )
    if is_plain:
        return CRLF.join([response.forwarded_head, *deferred])
    lines = build_response_lines(response, deferred)
    if modified:
        lines = modified_body_lines(lines, response.known_fields, decoded=decoded)
    elif response.status == 304 and route.rewrite:
        lines = not_modified_lines(lines, response.known_fields, exchange.head.known_fields)
    if not has_date(response):
        lines.append(date_line(time.time()))
    if exchange.cors_lines:
        lines = [*remove_fields(CORS_FIELDS, lines), *exchange.cors_lines]
    return CRLF.join([response.status_line, *lines, *extra_lines])


def request_context(exchange: Exchange) -> RequestContext:
    """Return the names of this request, which URLs get; made only for the few responses that need it."""
    match, base_url = exchange.route_match, exchange.public_base_url()
    return RequestContext(match.route.upstream_url, base_url, match.proxied_as, match.route.path)


def _rewrite_field(exchange: Exchange, name: bytes, value: bytes) -> bytes:
    url_map = exchange.route_table.url_maps[exchange.route.file_scope]
    rewrite = url_map.rewrite_link if name == b"link" else url_map.rewrite
    return rewrite(value.decode("latin-1"), request_context(exchange)).encode("latin-1")


def _cookie_line(exchange: Exchange, set_cookie: bytes) -> bytes | None:
    proxied_as, cookies = exchange.route_match.proxied_as, exchange.route.cookies
    assert cookies is not None
    return cookies.response_line(
        set_cookie,
        target=exchange.request_target,
        base_url=proxied_as or exchange.public_base_url(),
        is_proxied=bool(proxied_as),
    )
