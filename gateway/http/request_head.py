"""Pure: a caller's request head, read strictly (RFC 9112 §3, §5, §6), so that nobody behind us can read it otherwise.

What is no head at all raises; a head that can be read but not served carries its `fault`, so that its record still
tells whose it was. After either nothing more is read from that caller: where the next message begins is in doubt.
"""

import re
from dataclasses import dataclass

import msgspec

from gateway.errors import BadRequest, ExpectationFailed, GatewayError, HeadersTooLarge, UriTooLong
from gateway.http.fields import (
    BROKEN,
    FieldRules,
    MalformedMessage,
    connection_options,
    is_length,
    options_of,
    remove_fields,
    sort_fields,
    split_lines,
)
from gateway.http.malformed import explain_malformed_head

KNOWN_METHODS = frozenset("GET HEAD POST PUT PATCH DELETE OPTIONS TRACE CONNECT".split())
"""The methods of RFC 9110 §9.3, and PATCH (RFC 5789)."""
TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
REQUEST_LINE = re.compile(rb"(" + TOKEN + rb") ([!-~]+) HTTP/1\.([01])")
LINE_ENDS = 3  # of the last four bytes, those that can be here while the head is not whole
EMPTY_LINES = re.compile(rb"(?:\r?\n)*")
# Text that a body has too much of may begin with a word in capitals, as every registered method is (RFC 9110 §16.1.1).
# A word that is no well-known method has to be followed by a target (RFC 9112 §3.2): `/`, `*` or `http:`.
BEGINS_REQUEST = re.compile(
    rb"(?:%b) |[A-Z][A-Z-]*(?:\Z| (?:\Z|[/*]|[hH](?:\Z|[tT](?:\Z|[tT](?:\Z|[pP])))))"
    % "|".join(sorted(KNOWN_METHODS)).encode()
)
METHODS_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})
METHOD_AND_VERSION = 64  # bytes that a request line may have beside its target


@dataclass(frozen=True, slots=True)
class RequestLimits:
    """What a caller may send, in bytes and counts."""

    uri: int
    field: int
    fields: int
    head: int
    connections: int


class RequestHead(msgspec.Struct, frozen=True):
    """A caller's head: what it says to us, and the lines that go on to OIC. Its repr hides them: fields hold keys."""

    method: str
    target: str
    is_http11: bool
    """The caller speaks HTTP/1.1."""
    lines: list[bytes]
    """The fields that pass, without their CRLF, in order."""
    known_fields: dict[bytes, bytes]
    """Fields that we act on, by lower-case name; repeated ones joined with a comma (RFC 9110 §5.2)."""
    length: int | None = None
    """Content-Length, where there is one."""
    chunked: bool = False
    error: GatewayError | None = None
    """Why the request cannot be served, although its head could be read."""

    def __repr__(self) -> str:
        """Shows the request line's ends only."""
        return f"<RequestHead {self.method}>"

    @property
    def has_body(self) -> bool:
        """A body follows."""
        return self.chunked or bool(self.length)

    @property
    def may_trail(self) -> bool:
        """Bytes that follow may be the end of a body that is longer than its Content-Length, or that has none."""
        return self.has_body or self.method in METHODS_WITH_BODY

    @property
    def expects_continue(self) -> bool:
        """The caller waits for `100 Continue` (RFC 9110 §10.1.1); in HTTP/1.0 the field means nothing."""
        return self.is_http11 and b"expect" in self.known_fields

    @property
    def keeps_alive(self) -> bool:
        """The caller's wish: HTTP/1.1 keeps the connection unless it says close, HTTP/1.0 only when it asks."""
        connection = self.known_fields.get(b"connection")
        if connection is None:
            return self.is_http11
        options = options_of(connection)
        return b"close" not in options and (self.is_http11 or b"keep-alive" in options)


def read_request(block: bytes, limits: RequestLimits, kinds: FieldRules) -> RequestHead:
    """Reads a whole head, given without its last two line ends. Raises BadRequest, UriTooLong or HeadersTooLarge."""
    try:
        lines = split_lines(block)
        method, target, modern = _read_line(lines[0])
        size = len(block) + LINE_ENDS
        if size > limits.uri or size > limits.field or size > limits.head or len(lines) > limits.fields:
            _check_sizes(size, lines, target, limits)
        passed, noted, _ = sort_fields(lines[1:], kinds)
    except MalformedMessage:
        raise malformed_error(block) from None
    if (connection := noted.get(b"connection")) is not None and (named := connection_options(connection)):
        passed = remove_fields(named, passed)
        if b"via" in named:
            noted.pop(b"via", None)
    fault = _find_error(method, noted, modern=modern)
    if fault is not None:
        return RequestHead(method, target, modern, passed, noted, error=fault)
    length = noted.get(b"content-length")
    chunked = b"transfer-encoding" in noted
    return RequestHead(method, target, modern, passed, noted, None if length is None else int(length), chunked)


def _read_line(line: bytes) -> tuple[str, str, bool]:
    found = REQUEST_LINE.fullmatch(line)
    if found is None:
        raise MalformedMessage("the request line is malformed")
    return found[1].decode("ascii"), found[2].decode("ascii"), found[3] == b"1"


def check_partial_head(window: bytes, seen: int, limits: RequestLimits) -> None:
    """Finds in the beginning of a head what can come to no good end, so that nobody waits for it; `seen` bytes of it
    were looked at before. Raises as `read_request` does.
    """
    if BROKEN.search(window, seen) is not None:
        raise malformed_error(window)
    end = window.find(b"\r\n")
    if (len(window) if end < 0 else end + 1) > limits.uri + METHOD_AND_VERSION:
        raise UriTooLong
    if end >= 0 and end + 2 > seen and REQUEST_LINE.fullmatch(window, 0, end) is None:
        raise malformed_error(window)
    if len(window) > limits.head:
        raise HeadersTooLarge


def _check_sizes(size: int, lines: list[bytes], target: str, limits: RequestLimits) -> None:
    """What `check_beginning` would find if the head came byte by byte, and what only a whole head shows."""
    if len(target) > limits.uri or len(lines[0]) >= limits.uri + METHOD_AND_VERSION:
        raise UriTooLong
    if len(lines) - 1 > limits.fields or any(len(line) > limits.field for line in lines[1:]):
        raise HeadersTooLarge
    if size > limits.head:
        raise HeadersTooLarge


def _find_error(method: str, noted: dict[bytes, bytes], *, modern: bool) -> GatewayError | None:
    """What keeps a readable head from being served."""
    coding, length = noted.get(b"transfer-encoding"), noted.get(b"content-length")
    if coding is not None:
        if coding.lower() != b"chunked" or length is not None:
            return BadRequest("Only `Transfer-Encoding: chunked` is understood, and never beside Content-Length.")
        if not modern:  # RFC 9112 §6.1
            return BadRequest("HTTP/1.0 knows no Transfer-Encoding.")
    if length is None:
        if not modern and method in METHODS_WITH_BODY:  # RFC 1945 §8.3; there its body would end with the connection
            return BadRequest(f"An HTTP/1.0 {method} needs a Content-Length, also where its body is empty.")
    elif not is_length(length):
        return BadRequest("Content-Length is not one number.")
    # Upgrade may be ignored (RFC 9110 §7.8), and clients offer TLS or h2c with every call. A WebSocket client offers no
    # call but a conversation: nothing else would serve it.
    upgrade = noted.get(b"upgrade")
    if upgrade is not None and modern and any(name.partition(b"/")[0] == b"websocket" for name in options_of(upgrade)):
        return BadRequest("The gateway does not speak WebSocket; send the request without the Upgrade field.")
    expect = noted.get(b"expect")
    return ExpectationFailed() if expect is not None and expect.lower() != b"100-continue" else None


def skip_empty_lines(data: bytes) -> bytes:
    """Gives what follows the empty lines at the beginning; a bare LF ends one too (RFC 9112 §2.2)."""
    return data[EMPTY_LINES.match(data).end() :]  # type: ignore[union-attr] # it matches nothing too


def may_begin_request(data: bytes) -> bool:
    """False for bytes that are no beginning of a request, behind empty lines or not, such as the end of a body."""
    rest = skip_empty_lines(data)
    return rest in {b"", b"\r"} or BEGINS_REQUEST.match(rest) is not None


def malformed_error(head: bytes) -> BadRequest:
    """Makes the error for a head, or the beginning of one, that is not well-formed; it says what is wrong where."""
    reason = explain_malformed_head(head)
    return BadRequest(f"The request is not well-formed HTTP/1.1: {reason}.", reason=reason)
