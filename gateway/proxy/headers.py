"""Pure: which header fields are forwarded to OIC and to the caller, and which the gateway reads itself.

Two tables (`REQUEST_RULES`, `RESPONSE_RULES`; RFC 9110 §7.6.1 and the contract) say how each field is treated. The
parsers of `http` sort the fields by them in one pass. All other fields are forwarded unchanged and in order.
"""

import re
from collections.abc import Callable, Collection, Mapping, Sequence

from gateway.content.untrusted_text import read_retry_after
from gateway.errors import BadRequest
from gateway.http.fields import COOKIE, FieldAction, FieldRules, field_value, remove_fields
from gateway.http.request_head import RequestHead
from gateway.http.response_parser import ResponseHead
from gateway.proxy.cors import REQUEST_HEADERS, REQUEST_METHOD
from gateway.proxy.method_override import OVERRIDE_FIELDS
from gateway.telemetry.trace_context import TRACEPARENT, TRACESTATE

HOP_BY_HOP = b"connection keep-alive proxy-connection te trailer transfer-encoding upgrade http2-settings".split()
# The caller's own identity, and fields of proxies that servers trust (WL-Proxy: WebLogic).
NEVER_FORWARDED = b"authorization cookie2 host forwarded".split()
NEVER_FORWARDED_PREFIXES = (b"proxy-", b"x-forwarded", b"wl-proxy-")
# Framing and identity, which the gateway writes itself.
SET_BY_GATEWAY = b"content-length expect x-request-id via".split()
API_KEY = b"x-api-key"
CONSUMED = b"authorization connection cookie host transfer-encoding upgrade".split()
# Fields that refer to OIC's bytes, which a rewritten body does not have, or that have it sent encoded.
RANGE_AND_CODING = b"accept-encoding if-match if-range range".split()
INSPECTED = b"if-none-match content-encoding content-type origin sec-fetch-site soapaction".split()
INSPECTED += [*OVERRIDE_FIELDS, b"max-forwards", API_KEY, REQUEST_METHOD, REQUEST_HEADERS, TRACEPARENT, TRACESTATE]
DROPPED = [*HOP_BY_HOP, *NEVER_FORWARDED, *SET_BY_GATEWAY]

SET_COOKIE = b"set-cookie"
RANGES = frozenset({b"accept-ranges"})
TLS_ONLY = frozenset({b"strict-transport-security"})  # a plain response must not have it (RFC 6797 §7.2)
URL_FIELDS = frozenset(b"location content-location link".split())
CONSUMED_RESPONSE = b"connection content-length transfer-encoding x-gateway-error".split()
DIGESTS = b"content-digest content-md5 digest repr-digest".split()  # RFC 9530, RFC 3230, RFC 2616 §14.15
INSPECTED_RESPONSE = [*DIGESTS, *b"content-encoding content-type date opc-request-id retry-after".split()]
INSPECTED_RESPONSE.append(b"x-oracle-ics-instance-id")
DEFERRED_RESPONSE = [SET_COOKIE, *RANGES, *URL_FIELDS, *TLS_ONLY]
DIGEST_FIELDS = frozenset(DIGESTS)  # wrong once the body is changed
CODING_AND_DIGEST_FIELDS = frozenset([*DIGESTS, b"content-encoding"])  # wrong once the content coding is removed
# Request fields that decide whether a request may be sent, that may have to be edited, or that name it.
SPECIAL_FIELDS = frozenset([*OVERRIDE_FIELDS, COOKIE])
SPECIAL_FIELDS |= frozenset(b"max-forwards origin sec-fetch-site via x-request-id".split())
DROPPED_RESPONSE = [*HOP_BY_HOP, *b"x-request-id set-cookie2 proxy-authenticate proxy-authentication-info".split()]
# Fields that bind a client to the origin that sends them, which for the caller is the gateway and not OIC: alternative
# services (RFC 7838), keys (RFC 7469, RFC 9163), stored data, reports, client hints and storage partitions.
DROPPED_RESPONSE += (
    b"alt-svc public-key-pins public-key-pins-report-only expect-ct clear-site-data nel report-to".split()
)
DROPPED_RESPONSE += b"reporting-endpoints accept-ch accept-ch-lifetime critical-ch origin-agent-cluster".split()
DROPPED_RESPONSE += b"service-worker-allowed set-login".split()

REQUEST_RULES = FieldRules(
    {
        **dict.fromkeys(DROPPED, FieldAction.DROP),
        **dict.fromkeys([*SET_BY_GATEWAY, *CONSUMED], FieldAction.CONSUME),
        **dict.fromkeys(INSPECTED, FieldAction.INSPECT),
        **dict.fromkeys(RANGE_AND_CODING, FieldAction.DEFER),
    },
    dropped_prefixes=NEVER_FORWARDED_PREFIXES,
    underscore_aliases=[*OVERRIDE_FIELDS, API_KEY],
    special=SPECIAL_FIELDS,
    credentials=[API_KEY],
)
RESPONSE_RULES = FieldRules(
    {
        **dict.fromkeys(DROPPED_RESPONSE, FieldAction.DROP),
        **dict.fromkeys(CONSUMED_RESPONSE, FieldAction.CONSUME),
        **dict.fromkeys(INSPECTED_RESPONSE, FieldAction.INSPECT),
        **dict.fromkeys(DEFERRED_RESPONSE, FieldAction.DEFER),
        b"etag": FieldAction.REVISE,
    }
)
# RFC 9110 §8.8.3; an opaque tag may contain a comma or `W/`, but no quote.
ENTITY_TAG = re.compile(rb'(?:(?<![^ \t,])W/)?("[^"]*")')
PSEUDONYM = "oic-gateway"
"""The default name of the gateway in `Via` (RFC 9110 §7.6.3)."""
MAX_FORWARDS_LIMIT = 999_999_999
REQUEST_ID = re.compile(rb"[!-~]{1,128}")


def find_api_keys(lines: list[bytes]) -> list[bytes]:
    """Return the lines of X-Api-Key, also those whose name has `_` for `-`."""
    return [line for line in lines if line.partition(b":")[0].lower().replace(b"_", b"-") == API_KEY]


def choose_request_id(head: RequestHead, make_id: Callable[[], str]) -> str:
    """Return the caller's X-Request-Id if it is one short word of visible ASCII, else a new one."""
    value = head.known_fields.get(b"x-request-id")
    return value.decode("ascii") if value is not None and REQUEST_ID.fullmatch(value) else make_id()


def build_request_head(  # noqa: PLR0917 - keywords cost time at each request
    head: RequestHead,
    target: str,
    host: bytes,
    request_id: str,
    bearer: str,
    lines: list[bytes] | None = None,
    removed: int = 0,
    pseudonym: str = PSEUDONYM,
    trace_line: str = "",
) -> bytes:
    """Return the head to send upstream. `host` is the Host line without CRLF. `lines` replace the forwarded lines of
    `head`; `removed` bytes of the body are not sent; `pseudonym` names the gateway in `Via`, after the version that the
    caller uses; `trace_line` is a further line, with its CRLF.

    A body keeps its framing. POST, PUT and PATCH without a body get `Content-Length: 0` (RFC 9110 §8.6): some servers
    answer 411 otherwise.
    """
    framing = _framing_line(head, removed) if head.has_framing else ""
    version = "1.1" if head.is_http11 else "1.0"
    if head.has_special_fields and (hops := head.known_fields.get(b"via")) is not None:
        version = f"{hops.decode('latin-1')}, {version}"
    line = f"{head.method} {target} HTTP/1.1".encode()
    end = (
        f"{framing}Via: {version} {pseudonym}\r\nX-Request-Id: {request_id}\r\n"
        f"{trace_line}Authorization: Bearer {bearer}\r\n\r\n"
    ).encode("latin-1")
    return b"\r\n".join([line, host, *(head.lines if lines is None else lines), end])


def _framing_line(head: RequestHead, removed: int) -> str:
    if head.chunked:
        return "Transfer-Encoding: chunked\r\n"
    return f"Content-Length: {(head.length or 0) - removed}\r\n"


def deferred_response_lines(
    head: ResponseHead,
    *,
    rewrite: Callable[[bytes, bytes], bytes],
    kept: Collection[bytes],
    cookie_line: Callable[[bytes], bytes | None] | None = None,
    weaken_etag: bool = False,
) -> list[bytes]:
    """Return the deferred field lines as they are forwarded to the caller, behind the others.

    `rewrite(lower-case name, value)` returns the value of a URL field with gateway URLs; `kept` are the deferred fields
    that are forwarded unchanged (`forwardable_response_fields`). `cookie_line` returns the line for the value of a
    Set-Cookie field, or None to remove it; without it all are removed. `weaken_etag`: the body differs from OIC's, or
    another response for the same URL may (RFC 9110 §8.8.1).
    """
    lines: list[bytes] = []
    for key, line in head.deferred:
        if key == b"etag":
            lines.append(_weaken_etag(line) if weaken_etag else line)
        elif key in kept:
            lines.append(line)
        elif key in URL_FIELDS:
            lines.append(b"%b: %b" % (line.partition(b":")[0], rewrite(key, field_value(line))))
        elif key == SET_COOKIE and cookie_line is not None and (cookie := cookie_line(field_value(line))) is not None:
            lines.append(cookie)
    return lines


def build_response_lines(head: ResponseHead, deferred_lines: list[bytes]) -> list[bytes]:
    """Return the field lines to forward to the caller, without framing and X-Request-Id; `deferred_lines` are those of
    `deferred_response_lines`.
    """
    lines = head.forwarded_lines + deferred_lines
    return remove_fields(head.connection_options, lines) if head.connection_options else lines


def forwardable_response_fields(*, ranges: bool) -> frozenset[bytes]:
    """Return the deferred fields that a route forwards unchanged: Accept-Ranges with `ranges`. Callers with TLS also
    get those of `TLS_ONLY`.
    """
    return RANGES if ranges else frozenset()


def deferred_request_lines(deferred: Sequence[tuple[bytes, bytes]], *, asks_whole: bool) -> list[bytes]:
    """Return the lines of `RANGE_AND_CODING` as they are sent to OIC, behind the others. `asks_whole`: the response
    must come unencoded and whole, because it may be rewritten.

    Then Range is removed, which RFC 9110 §14.2 allows: its offsets count OIC's bytes. If-Match loses the mark of weak
    ETags, which responses have: a weak tag would never match (RFC 9110 §13.1.1).
    """
    if not asks_whole:
        return [line for _, line in deferred]
    lines: list[bytes] = []
    tags: list[bytes] = []
    for key, line in deferred:
        if key == b"accept-encoding":
            lines = [b"Accept-Encoding: identity"]
        elif key == b"if-match":
            tags.append(field_value(line))
    if tags:
        lines.append(b"If-Match: %b" % ENTITY_TAG.sub(rb"\1", b", ".join(tags)))
    return lines


def not_modified_lines(lines: list[bytes], known: Mapping[bytes, bytes], request: Mapping[bytes, bytes]) -> list[bytes]:
    """Return the lines of a 304. Its ETag is weak if the caller's If-None-Match has it as a weak one, which it got from
    a rewritten response: a cache finds its entry by it, and updates its other fields (RFC 9111 §4.3.4), so that none
    may describe OIC's bytes. `known` are fields of the response, `request` those of the request.
    """
    if not CODING_AND_DIGEST_FIELDS.isdisjoint(known):
        lines = remove_fields(CODING_AND_DIGEST_FIELDS, lines)
    tag = _find_value(lines, b"etag") or b""
    if not tag.startswith(b'"') or b"W/" + tag not in parse_entity_tags(request.get(b"if-none-match", b"")):
        return lines
    return [*remove_fields(frozenset({b"etag"}), lines), b"ETag: W/%b" % tag]


def parse_entity_tags(value: bytes) -> list[bytes]:
    """Return the entity tags of an If-Match or If-None-Match field, as written."""
    return [found[0] for found in ENTITY_TAG.finditer(value)]


def _weaken_etag(line: bytes) -> bytes:
    """Return the line of an ETag as a weak one."""
    tag = field_value(line)
    return line if tag.startswith(b"W/") else b"ETag: W/%b" % tag


def modified_body_lines(lines: list[bytes], known: Mapping[bytes, bytes], *, decoded: bool) -> list[bytes]:
    """Return the lines of a response whose body differs from OIC's: without digests (RFC 9530 §2). `decoded`: its
    content coding is removed.
    """
    dropped = CODING_AND_DIGEST_FIELDS if decoded else DIGEST_FIELDS
    return lines if dropped.isdisjoint(known) else remove_fields(dropped, lines)


def has_date(head: ResponseHead) -> bool:
    """Return whether OIC's Date is among the forwarded lines. It is not if the Connection field names it."""
    return b"date" in head.known_fields and b"date" not in head.connection_options


def _find_value(lines: list[bytes], key: bytes) -> bytes | None:
    """Return the value of a field, repeated ones joined with a comma (RFC 9110 §5.2); None without the field."""
    values = [field_value(line) for line in lines if line.partition(b":")[0].lower() == key]
    return b", ".join(values) if values else None


def via_contains(via: bytes, pseudonym: str) -> bool:
    """Return whether a `Via` field names the gateway with this pseudonym (RFC 9110 §7.6.3)."""
    name = pseudonym.encode()
    return name in via and any(member.split()[1:2] == [name] for member in via.split(b","))


def read_max_forwards(known: Mapping[bytes, bytes]) -> int | None:
    """Return the Max-Forwards of an OPTIONS or TRACE request (RFC 9110 §7.6.2); None without one. Raise BadRequest if
    it is not a number.
    """
    value = known.get(b"max-forwards")
    if value is None:
        return None
    if not value.isdigit():
        raise BadRequest("Max-Forwards is not one number.")
    return int(value) if len(value) < len(str(MAX_FORWARDS_LIMIT)) else MAX_FORWARDS_LIMIT


def decrement_max_forwards(lines: list[bytes], hops: int) -> list[bytes]:
    """Return the request lines with Max-Forwards, which is `hops`, decremented."""
    key = b"max-forwards"
    if _find_value(lines, key) is None:
        return lines
    return [*remove_fields(frozenset({key}), lines), b"Max-Forwards: %d" % (hops - 1)]


def read_retry_after_field(value: bytes | None, *, now: float) -> float | None:
    """Return the seconds to wait by a Retry-After, a number or a date (RFC 9110 §10.2.3); None if it is missing or
    malformed. `now` is in epoch seconds.
    """
    return None if value is None else read_retry_after(value.decode("latin-1"), now=now)
