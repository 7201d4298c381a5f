"""Parse request heads strictly (RFC 9112 §3, §5, §6), so that no upstream can read them differently. Pure.

A malformed head raises an error. A well-formed head that cannot be served has an `error`, so that its record contains
method and path. In both cases nothing more is read from the caller, because it is uncertain where the next message
begins.
"""

import dataclasses
import re
from collections.abc import Sequence

import msgspec
from msgspec.structs import replace

from gateway.errors import BadRequest, ExpectationFailed, GatewayError, HeadersTooLarge, UriTooLong
from gateway.http.fields import (
    COOKIE,
    CRLF,
    FIELD_NAME,
    MALFORMED_BYTES,
    FieldRules,
    MalformedMessage,
    connection_options,
    is_content_length,
    is_persistent,
    parse_options,
    remove_fields,
    sort_fields,
    split_lines,
)
from gateway.http.head_shapes import HeadShape, HeadShapes
from gateway.http.malformed import explain_malformed_head

KNOWN_METHODS = frozenset("GET HEAD POST PUT PATCH DELETE OPTIONS TRACE CONNECT".split())
"""The methods of RFC 9110 §9.3, and PATCH (RFC 5789)."""
# A method is a token, as the name of a field is (RFC 9110 §5.6.2).
REQUEST_LINE = re.compile(rb"(" + FIELD_NAME.pattern + rb") ([!-~]+) HTTP/1\.([01])")
END_OF_HEAD = b"\r\n\r\n"
MAX_PARTIAL_END = 3  # bytes of CRLF CRLF that an incomplete head may end with
EMPTY_LINES = re.compile(rb"(?:\r?\n)*")
# Trailing bytes of a body may begin with a word in capitals, like every registered method (RFC 9110 §16.1.1). Therefore
# a word that is not a known method counts only if a target follows (RFC 9112 §3.2): `/`, `*` or `http:`.
REQUEST_START = re.compile(
    rb"(?:%b) |[A-Z][A-Z-]*(?:\Z| (?:\Z|[/*]|[hH](?:\Z|[tT](?:\Z|[tT](?:\Z|[pP])))))"
    % "|".join(sorted(KNOWN_METHODS)).encode()
)
# The fields that determine the framing, or whether a request can be served.
FRAMING = frozenset(b"connection expect transfer-encoding upgrade".split())
# Known fields that may be sent upstream in a new line: not if Connection names them.
REWRITTEN_FIELDS = frozenset({b"via", COOKIE})
METHOD_KEY_SIZE = 4  # bytes that distinguish most methods
TARGET_GROUP = 1  # the group of `HeadShape.match`
TARGET_AND_VERSION = {True: rb" ([!-~]++) HTTP/1\.1", False: rb" ([!-~]++) HTTP/1\.0"}
METHODS_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})
METHOD_AND_VERSION_SIZE = 64  # maximum bytes of a request line besides its target


@dataclasses.dataclass(frozen=True, slots=True)
class RequestLimits:
    """Limits of a request, in bytes and counts."""

    uri: int
    field: int
    fields: int
    head: int
    connections: int
    smallest: int = dataclasses.field(init=False)
    """A head of at most this size exceeds no limit of bytes."""

    def __post_init__(self) -> None:
        """Find the smallest limit."""
        object.__setattr__(self, "smallest", min(self.uri, self.field, self.head))


class RequestHead(msgspec.Struct, frozen=True):
    """A parsed request head. Its repr shows no target and no fields: they may contain secrets."""

    method: str
    target: str
    is_http11: bool
    """The caller speaks HTTP/1.1."""
    lines: list[bytes]
    """The field lines to forward, without CRLF, in order."""
    known_fields: dict[bytes, bytes]
    """Fields that the gateway reads, by lower-case name; repeated ones joined with a comma (RFC 9110 §5.2)."""
    deferred: Sequence[tuple[bytes, bytes]] = ()
    """(lower-case name, line) of the fields of which a later step decides whether and how they are forwarded."""
    length: int | None = None
    """Content-Length, or None."""
    chunked: bool = False
    error: GatewayError | None = None
    """Why the request cannot be served, although its head is well-formed."""
    has_body: bool = False
    """A body follows."""
    has_framing: bool = False
    """A line that frames the body goes with the request, even if the body is empty."""
    has_special_fields: bool = False
    """It has fields that are `FieldRules.special`."""
    may_have_credentials: bool = False
    """It has a Content-Length, a Transfer-Encoding, or fields that are `FieldRules.credentials`: the caller's
    credentials may be in its body or in them.
    """
    keeps_alive: bool = True
    """The caller keeps the connection: in HTTP/1.1 by default, in HTTP/1.0 with `keep-alive`. After a head with an
    `error` nothing more is read.
    """

    def __repr__(self) -> str:
        """Return a text without target and fields."""
        return f"<RequestHead {self.method}>"

    @property
    def expects_continue(self) -> bool:
        """Return whether the caller waits for `100 Continue` (RFC 9110 §10.1.1), which HTTP/1.0 does not have."""
        return self.is_http11 and b"expect" in self.known_fields


def request_shapes(rules: FieldRules) -> HeadShapes[RequestHead]:
    """Return an empty table for the shapes of the requests of one server."""
    return HeadShapes(rules, framing=FRAMING)


def parse_request_head(
    head_bytes: bytes, limits: RequestLimits, rules: FieldRules, shapes: HeadShapes[RequestHead] | None = None
) -> RequestHead:
    """Parse a complete head, without its last two line ends. Raise BadRequest, UriTooLong or HeadersTooLarge.

    `shapes` are those of earlier heads, parsed with the same limits and rules.
    """
    if shapes is None or len(head_bytes) + MAX_PARTIAL_END > limits.smallest:
        return _parse_lines(head_bytes, limits, rules)[0]
    key = head_bytes[:METHOD_KEY_SIZE], head_bytes.count(CRLF)
    match = shapes.find_match(key, head_bytes + END_OF_HEAD)
    if match is not None and shapes.latest is not None:
        return read_shaped_head(shapes.latest, match)
    head, lines = _parse_lines(head_bytes, limits, rules)
    if _has_shape(head, len(lines), limits):
        first_line = re.escape(head.method).encode() + TARGET_AND_VERSION[head.is_http11]
        shapes.learn(key, first_line, lines[1:], _without_values(head))
    return head


def read_shaped_head(shape: HeadShape[RequestHead], match: re.Match[bytes]) -> RequestHead:
    """Return the head that a shape has matched; it must not be larger than the smallest limit."""
    target, lines = match[TARGET_GROUP].decode("ascii"), [*shape.get_forwarded(match)]
    known = dict(zip(shape.known_keys, shape.get_known(match), strict=False))
    keys, head = shape.deferred_keys, shape.template
    deferred = tuple(zip(keys, shape.get_deferred(match), strict=False)) if keys else ()
    if head.length is None:
        return replace(head, target=target, lines=lines, known_fields=known, deferred=deferred)
    length = int(known[b"content-length"])
    return replace(
        head,
        target=target,
        lines=lines,
        known_fields=known,
        deferred=deferred,
        length=length,
        has_body=length > 0,
    )


def _has_shape(head: RequestHead, line_count: int, limits: RequestLimits) -> bool:
    """Return whether the shape is enough to parse such heads: no lines are removed, and only the size is limited. They
    begin a request wherever they come (`may_begin_request`).
    """
    connection = head.known_fields.get(b"connection")
    names_no_field = connection is None or not connection_options(connection)
    is_usual = head.error is None and head.method in KNOWN_METHODS
    return is_usual and names_no_field and line_count <= limits.fields


def _without_values(head: RequestHead) -> RequestHead:
    length = None if head.length is None else 0
    return replace(head, target="", lines=[], known_fields={}, deferred=(), length=length)


def _parse_lines(head_bytes: bytes, limits: RequestLimits, rules: FieldRules) -> tuple[RequestHead, list[bytes]]:
    """Parse a head line by line. Return also its lines. Raise BadRequest, UriTooLong or HeadersTooLarge."""
    try:
        lines = split_lines(head_bytes)
        method, target, is_http11 = _parse_request_line(lines[0])
        size = len(head_bytes) + MAX_PARTIAL_END
        if size > limits.smallest or len(lines) > limits.fields:
            _check_sizes(size, lines, target, limits)
        forwarded, known, deferred = sort_fields(lines[1:], rules)
    except MalformedMessage:
        raise malformed_error(head_bytes) from None
    if (connection := known.get(b"connection")) is not None and (named := connection_options(connection)):
        forwarded = remove_fields(named, forwarded)
        deferred = [(key, line) for key, line in deferred if key not in named]
        for name in REWRITTEN_FIELDS & named:
            known.pop(name, None)
    error, is_special = _find_error(method, known, is_http11=is_http11), not rules.special.isdisjoint(known)
    head = RequestHead(method, target, is_http11, forwarded, known, tuple(deferred), has_special_fields=is_special)
    if error is not None:
        return replace(head, error=error, keeps_alive=False), lines
    value = known.get(b"content-length")
    length, chunked = None if value is None else int(value), b"transfer-encoding" in known
    has_body = chunked or bool(length)
    keeps_alive = is_persistent(known.get(b"connection"), is_http11=is_http11)
    has_framing = has_body or length is not None or method in METHODS_WITH_BODY
    has_credentials = chunked or length is not None or not rules.credentials.isdisjoint(known)
    head = replace(head, length=length, chunked=chunked, has_body=has_body, keeps_alive=keeps_alive)
    return replace(head, has_framing=has_framing, may_have_credentials=has_credentials), lines


def _parse_request_line(line: bytes) -> tuple[str, str, bool]:
    match = REQUEST_LINE.fullmatch(line)
    if match is None:
        raise MalformedMessage("the request line is malformed")
    return match[1].decode("ascii"), match[2].decode("ascii"), match[3] == b"1"


def check_partial_head(window: bytes, scanned: int, limits: RequestLimits) -> None:
    """Reject a partial head that can no longer become valid, before the caller has sent all of it.

    The first `scanned` bytes were checked before. Raise BadRequest, UriTooLong or HeadersTooLarge.
    """
    if MALFORMED_BYTES.search(window, scanned) is not None:
        raise malformed_error(window)
    end = window.find(b"\r\n")
    if (len(window) if end < 0 else end + 1) > limits.uri + METHOD_AND_VERSION_SIZE:
        raise UriTooLong
    if end >= 0 and end + 2 > scanned and REQUEST_LINE.fullmatch(window, 0, end) is None:
        raise malformed_error(window)
    if len(window) > limits.head:
        raise HeadersTooLarge


def _check_sizes(size: int, lines: list[bytes], target: str, limits: RequestLimits) -> None:
    """Apply the limits to a complete head, with the results that `check_partial_head` has for a head in parts."""
    if len(target) > limits.uri or len(lines[0]) >= limits.uri + METHOD_AND_VERSION_SIZE:
        raise UriTooLong
    if len(lines) - 1 > limits.fields or any(len(line) > limits.field for line in lines[1:]):
        raise HeadersTooLarge
    if size > limits.head:
        raise HeadersTooLarge


def _find_error(method: str, known: dict[bytes, bytes], *, is_http11: bool) -> GatewayError | None:
    """Return why a well-formed head cannot be served, or None."""
    coding, length = known.get(b"transfer-encoding"), known.get(b"content-length")
    if coding is not None:
        if coding.lower() != b"chunked" or length is not None:
            return BadRequest("The gateway accepts only `Transfer-Encoding: chunked`, and only without Content-Length.")
        if not is_http11:  # RFC 9112 §6.1
            return BadRequest("HTTP/1.0 has no Transfer-Encoding.")
    if length is None:
        if not is_http11 and method in METHODS_WITH_BODY:  # RFC 1945 §8.3
            return BadRequest(f"An HTTP/1.0 {method} needs a Content-Length, even if its body is empty.")
    elif not is_content_length(length):
        return BadRequest("Content-Length is not one number.")
    # Upgrade may be ignored (RFC 9110 §7.8): some clients offer TLS or h2c in every request. A WebSocket client cannot
    # use any other response.
    upgrade = known.get(b"upgrade") if is_http11 else None
    if upgrade is not None and any(name.partition(b"/")[0] == b"websocket" for name in parse_options(upgrade)):
        return BadRequest("The gateway does not support WebSocket; send the request without the Upgrade field.")
    expect = known.get(b"expect")
    return ExpectationFailed() if expect is not None and expect.lower() != b"100-continue" else None


def skip_empty_lines(data: bytes) -> bytes:
    """Return the bytes after leading empty lines. A bare LF also ends an empty line (RFC 9112 §2.2)."""
    return data[EMPTY_LINES.match(data).end() :]  # type: ignore[union-attr] # it also matches the empty string


def may_begin_request(data: bytes) -> bool:
    """Return whether the bytes, after any empty lines, can be the beginning of a request."""
    rest = skip_empty_lines(data)
    return b"\r".startswith(rest) or REQUEST_START.match(rest) is not None  # a set would hash a whole body


def malformed_error(head: bytes) -> BadRequest:
    """Return the error of a malformed complete or partial head. Its text names the fault and its position."""
    reason = explain_malformed_head(head)
    return BadRequest(f"The request is not well-formed HTTP/1.1: {reason}.", reason=reason)
