"""Pure: which fields go to OIC and which to the caller, and what the gateway itself must know of them.

Two tables say what becomes of each field (RFC 9110 §7.6.1 and the contract); the readers sort by them in one pass.
What means nothing to us is copied to the outgoing head unchanged and in order, what belongs to one hop or to the caller
alone stays behind, what we act on is noted.
"""

import re
from collections.abc import Callable, Collection, Mapping

from gateway.content.foreign_text import read_date
from gateway.http.fields import FieldAction, FieldRules, connection_options, field_value, remove_fields
from gateway.http.request_head import METHODS_WITH_BODY, RequestHead
from gateway.http.response_parser import ResponseHead
from gateway.proxy.method_override import OVERRIDE_FIELDS

HOP_BY_HOP = b"connection keep-alive proxy-connection te trailer transfer-encoding upgrade http2-settings".split()
# Never from outside to OIC: the caller's own identity, and hop facts that would be believed (WL-Proxy: by WebLogic).
NEVER_FORWARDED = b"authorization cookie cookie2 host forwarded".split()
NEVER_FORWARDED_PREFIXES = (b"proxy-", b"x-forwarded", b"wl-proxy-")
# Framing and identity that the gateway writes itself.
SET_BY_GATEWAY = b"content-length expect x-request-id via".split()
CONSUMED = b"connection host transfer-encoding upgrade".split()
RANGE_AND_CODING = frozenset(
    b"accept-encoding if-match if-range range".split()
)  # what counts in OIC's bytes, or hides them
INSPECTED = [
    *RANGE_AND_CODING,
    *b"if-none-match content-encoding content-type origin sec-fetch-site soapaction".split(),
]
INSPECTED += [*OVERRIDE_FIELDS, b"max-forwards"]
DROPPED = [*HOP_BY_HOP, *NEVER_FORWARDED, *SET_BY_GATEWAY]

COOKIES = frozenset(b"set-cookie set-cookie2".split())
RANGES = frozenset({b"accept-ranges"})
URL_FIELDS = frozenset(b"location content-location link".split())
CONSUMED_RESPONSE = b"connection content-length transfer-encoding x-gateway-error".split()
DIGESTS = b"content-digest content-md5 digest repr-digest".split()  # RFC 9530, RFC 3230, RFC 2616 §14.15
INSPECTED_RESPONSE = [*DIGESTS, *b"content-encoding content-type date etag opc-request-id retry-after".split()]
INSPECTED_RESPONSE.append(b"x-oracle-ics-instance-id")
DEFERRED_RESPONSE = [*COOKIES, *RANGES, *URL_FIELDS, b"strict-transport-security"]
VALIDATORS = frozenset(DIGESTS)  # what a reply says of its own bytes
BYTES_OF_OIC = frozenset([*DIGESTS, b"content-encoding"])  # what a cache must not take over from a 304
EDITED = RANGE_AND_CODING | {b"max-forwards"}  # what a request may not go out with as it came
DROPPED_RESPONSE = [*HOP_BY_HOP, *b"x-request-id proxy-authenticate proxy-authentication-info".split()]
# What binds a caller to the origin that sent it, which here is the gateway and not OIC: other ways to the origin
# (RFC 7838), its keys (RFC 7469, RFC 9163), its stored data, its reports, client hints and storage partitions.
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
    },
    dropped=NEVER_FORWARDED_PREFIXES,
    alike=OVERRIDE_FIELDS,
)
RESPONSE_RULES = FieldRules(
    {
        **dict.fromkeys(DROPPED_RESPONSE, FieldAction.DROP),
        **dict.fromkeys(CONSUMED_RESPONSE, FieldAction.CONSUME),
        **dict.fromkeys(INSPECTED_RESPONSE, FieldAction.INSPECT),
        **dict.fromkeys(DEFERRED_RESPONSE, FieldAction.DEFER),
    }
)
# RFC 9110 §8.8.3; an opaque tag may hold a comma or `W/`, but no quote.
ENTITY_TAG = re.compile(rb'(?:(?<![^ \t,])W/)?("[^"]*")')
PSEUDONYM = "oic-gateway"
"""The gateway in `Via` (RFC 9110 §7.6.3) where no other name is given."""
LARGEST_HOPS = 999_999_999
REQUEST_ID = re.compile(rb"[!-~]{1,128}")


def request_id(head: RequestHead, fresh: Callable[[], str]) -> str:
    """The caller's own X-Request-Id where it is one short visible word, else a fresh one."""
    given = head.known_fields.get(b"x-request-id")
    return given.decode("ascii") if given is not None and REQUEST_ID.fullmatch(given) else fresh()


def request_head(
    head: RequestHead,
    target: str,
    host: bytes,
    *,
    request_id: str,
    bearer: str,
    lines: list[bytes] | None = None,
    removed: int = 0,
    pseudonym: str = PSEUDONYM,
) -> bytes:
    """Puts together the head that goes upstream; `host` is the Host line without its end, the bearer goes in last.
    `lines` are the fields that pass, where they are not those of `head`; `removed` bytes of the body do not go out;
    `pseudonym` names the gateway in `Via`, beside the version that the caller speaks.

    A body keeps the framing it came with. POST, PUT and PATCH without one say so (RFC 9110 §8.6): some servers answer
    411 otherwise.
    """
    if head.length is not None:
        framing = f"Content-Length: {head.length - removed}\r\n"
    elif head.chunked:
        framing = "Transfer-Encoding: chunked\r\n"
    else:
        framing = "Content-Length: 0\r\n" if head.method in METHODS_WITH_BODY else ""
    via = head.known_fields.get(b"via")
    hops = "" if via is None else f"{via.decode('latin-1')}, "
    version = "1.1" if head.is_http11 else "1.0"
    via_line = f"Via: {hops}{version} {pseudonym}"
    ours = f"{framing}{via_line}\r\nX-Request-Id: {request_id}\r\nAuthorization: Bearer {bearer}\r\n\r\n"
    line = f"{head.method} {target} HTTP/1.1"
    return b"\r\n".join([line.encode("ascii"), host, *(head.lines if lines is None else lines), ours.encode("latin-1")])


def response_lines(
    head: ResponseHead, *, rewrite: Callable[[bytes, bytes], bytes], kept: Collection[bytes]
) -> list[bytes]:
    """Gives the lines that pass to the caller; framing and X-Request-Id are left out.

    `rename(lower-case name, value)` gives Location and its kin in the gateway's names; `kept` are those of the fields
    in `HELD_BACK` that pass as they are: see `kept_of`.
    """
    lines = [*head.forwarded_lines]
    for key, line in head.deferred:
        if key in URL_FIELDS:
            lines.append(b"%b: %b" % (line.partition(b":")[0], rewrite(key, field_value(line))))
        elif key in kept:
            lines.append(line)
    connection = head.known_fields.get(b"connection")
    if connection is not None and (named := connection_options(connection)):
        return remove_fields(named, lines)
    return lines


def forwardable_response_fields(*, cookies: bool, ranges: bool) -> frozenset[bytes]:
    """The held fields that pass on a route: Set-Cookie where it keeps `cookies`, Accept-Ranges where it takes `ranges`.
    Strict-Transport-Security never does: callers come in plain HTTP (RFC 6797 §7.2).
    """
    return (COOKIES if cookies else frozenset()) | (RANGES if ranges else frozenset())


def identity_request(lines: list[bytes], noted: Mapping[bytes, bytes]) -> list[bytes]:
    """The caller's lines where the reply's body may be renamed: a body is asked for plain and whole.

    A Range may be left out (RFC 9110 §14.2), its places would be counted in OIC's bytes. If-Match takes back the mark
    of a weak ETag that `altered_lines` has put on: an ETag with it would never match (RFC 9110 §13.1.1).
    """
    if RANGE_AND_CODING.isdisjoint(noted):
        return lines
    kept = remove_fields(RANGE_AND_CODING, lines)
    if _value_in(lines, b"accept-encoding") is not None:
        kept.append(b"Accept-Encoding: identity")
    # From the lines and not from `noted`: what the Connection field names is not among them any more.
    if (tags := _value_in(lines, b"if-match")) is not None:
        kept.append(b"If-Match: %b" % ENTITY_TAG.sub(rb"\1", tags))
    return kept


def not_modified(lines: list[bytes], noted: Mapping[bytes, bytes], asked: Mapping[bytes, bytes]) -> list[bytes]:
    """The lines of a 304, its ETag as weak as `altered_lines` gave it to the caller that asks by it now: a cache finds
    what is confirmed by that, and takes the other fields over (RFC 9111 §4.3.4): none may speak of OIC's bytes.
    """
    if not BYTES_OF_OIC.isdisjoint(noted):
        lines = remove_fields(BYTES_OF_OIC, lines)
    tag = _value_in(lines, b"etag") or b""
    if not tag.startswith(b'"') or b"W/" + tag not in entity_tags(asked.get(b"if-none-match", b"")):
        return lines
    return [*remove_fields(frozenset({b"etag"}), lines), b"ETag: W/%b" % tag]


def entity_tags(value: bytes) -> list[bytes]:
    """Return the entity tags of an If-Match or If-None-Match field, as written."""
    return [found[0] for found in ENTITY_TAG.finditer(value)]


def weak_lines(lines: list[bytes]) -> list[bytes]:
    """Return the lines with an ETag that is weak, in the place of a strong one."""
    tag = _value_in(lines, b"etag")
    if tag is None or tag.startswith(b"W/"):
        return lines
    return [*remove_fields(frozenset({b"etag"}), lines), b"ETag: W/%b" % tag]


def modified_body(lines: list[bytes], noted: Mapping[bytes, bytes], *, decoded: bool) -> list[bytes]:
    """The lines of a reply whose body is not OIC's byte for byte: no digest of it, no ranges, an ETag that is weak
    (RFC 9110 §8.8.1, RFC 9530 §2); `decoded`: its content coding is undone.
    """
    dropped = BYTES_OF_OIC if decoded else VALIDATORS
    if dropped.isdisjoint(noted):
        return weak_lines(lines) if b"etag" in noted else lines
    return weak_lines(remove_fields(dropped, lines))


def has_date(lines: list[bytes], noted: Mapping[bytes, bytes]) -> bool:
    """Return whether OIC's Date is among the lines: it may have been named by the Connection field."""
    return b"date" in noted and (b"connection" not in noted or _value_in(lines, b"date") is not None)


def _value_in(lines: list[bytes], key: bytes) -> bytes | None:
    """The value of a field, repeated ones joined with a comma (RFC 9110 §5.2); None where it is not there."""
    values = [field_value(line) for line in lines if line.partition(b":")[0].lower() == key]
    return b", ".join(values) if values else None


def has_passed(via: bytes, pseudonym: str) -> bool:
    """Return whether a `Via` field says that the message has passed the gateway of this name (RFC 9110 §7.6.3)."""
    named = pseudonym.encode()
    return named in via and any(member.split()[1:2] == [named] for member in via.split(b","))


def max_forwards(noted: Mapping[bytes, bytes]) -> int | None:
    """Return how often an OPTIONS or TRACE request may be forwarded (RFC 9110 §7.6.2); None where it does not say.
    Raises ValueError for what is no number.
    """
    value = noted.get(b"max-forwards")
    if value is None:
        return None
    if not value.isdigit():
        raise ValueError("Max-Forwards is not one number")
    return int(value) if len(value) < len(str(LARGEST_HOPS)) else LARGEST_HOPS


def counted_lines(lines: list[bytes], hops: int) -> list[bytes]:
    """Return the lines of a request that may be forwarded `hops` times, with that counted down by one."""
    key = b"max-forwards"
    if _value_in(lines, key) is None:
        return lines
    return [*remove_fields(frozenset({key}), lines), b"Max-Forwards: %d" % (hops - 1)]


def retry_after(value: bytes | None, *, now: float) -> float | None:
    """Seconds that a Retry-After asks to wait (RFC 9110 §10.2.3), as a number or a date; None without a readable one.
    `now` in epoch seconds.
    """
    if value is None:
        return None
    if value.isdigit() and len(value) < 10:
        return float(value)
    then = read_date(value.decode("latin-1"))
    return None if then is None else max(0.0, then.timestamp() - now)
