"""Parse the responses of an upstream. The result does not depend on how the bytes are split. Pure.

A message whose end is uncertain (RFC 9112 §6.3, §11.2) is a `MalformedMessage`. Bytes after the end are never parsed
(`has_trailing_data`). Trailer fields are dropped, as RFC 9110 §6.5.1 allows. Interim responses (1xx) are dropped too,
because the gateway itself answers `Expect`.
"""

import re
from collections.abc import Sequence
from functools import lru_cache

import msgspec
from msgspec.structs import replace

from gateway.http.chunked import ChunkedDecoder, split_whole_body
from gateway.http.fields import (
    CRLF,
    MALFORMED_BYTES,
    FieldRules,
    MalformedMessage,
    connection_options,
    is_content_length,
    is_persistent,
    sort_fields,
    split_lines,
)
from gateway.http.head_shapes import HeadShape, HeadShapes, Match
from gateway.http.response_writer import make_status_line

MAX_INTERIM = 16
VERSION_AND_SPACE = re.compile(rb"HTTP/1\.[01] ")
STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-5][0-9]{2})(?: (.*))?", re.DOTALL)
CACHED_LINE_LIMIT = 64  # maximum bytes of a cached status line
VERSION_SIZE = len(b"HTTP/1.1 ")
EMPTY_LINE = re.compile(rb"[^\r\n](?:\r?\n\r?\n|\r\r)")  # the end of a malformed head, with any line ends
FRAMING = frozenset({b"connection", b"transfer-encoding"})
CONSUMED = FRAMING | {b"content-length"}
STATUS_SLICE = slice(9, 12)
"""The position of the status in a status line."""
MAX_EMPTY_LINE = 5  # bytes
HEAD_TOO_LARGE = "the head is too large"
BROKEN_STATUS_LINE = re.compile(rb"[\r\n]*HTTP/[0-9.]{1,3} ([1-5][0-9]{2})[ \r\n]")


class ResponseHead(msgspec.Struct, gc=False):
    """The head of a final response, its fields sorted by `fields.sort_fields`."""

    status: int
    forwarded_head: bytes
    """The status line for the caller, which has the same reason phrase, and the forwarded lines, joined."""
    known_fields: dict[bytes, bytes]
    """Without those of the framing and Connection, which the parser acts on."""
    deferred: Sequence[tuple[bytes, bytes]]
    length: int | None
    """Content-Length, or None. A 204 has none (RFC 9110 §8.6)."""
    chunked: bool
    has_no_body: bool
    """No body follows, whatever the fields are: a response to HEAD, 204, 304 (RFC 9112 §6.3)."""
    keep_alive: bool
    """The connection may carry another request (RFC 9112 §9.3)."""
    connection_options: frozenset[bytes]
    """The names of fields that are for this connection only, because Connection lists them (RFC 9110 §7.6.1)."""
    is_plain: bool
    """With the deferred ones, the forwarded lines are those for the caller: none is for this connection only, Date is
    among them, and they describe this response (a 304 describes another one).
    """

    def __repr__(self) -> str:
        """Return a text without the fields: they may contain cookies."""
        return f"<ResponseHead {self.status}>"

    @property
    def status_line(self) -> bytes:
        """Return the status line for the caller."""
        return self.forwarded_head.partition(CRLF)[0]

    @property
    def forwarded_lines(self) -> list[bytes]:
        """Return the forwarded lines one by one."""
        return self.forwarded_head.split(CRLF)[1:]


def response_shapes(rules: FieldRules) -> HeadShapes[ResponseHead]:
    """Return an empty table for the shapes of the responses of one upstream."""
    return HeadShapes(rules, framing=FRAMING, consumed=CONSUMED, joined=True)


class ResponseParser:
    """Parses one response after another. Call `start_response` before each, `feed` with its bytes, and `end` at the end
    of the connection. The results are `head`, `body` (pieces), `is_complete`, and `can_keep_alive`: the message is
    complete, no bytes follow it, and the upstream keeps the connection.
    """

    __slots__ = (
        *("_buffer", "_chunks", "_head_limit", "_interim", "_is_fresh", "_is_head_request", "_remaining", "_rules"),
        *("_shapes",),
        *("body", "can_keep_alive", "has_trailing_data", "head", "head_size", "is_complete"),
    )

    def __init__(self, rules: FieldRules, *, head_limit: int, shapes: HeadShapes[ResponseHead] | None = None) -> None:
        """`rules`: how each field is treated. `head_limit`: maximum bytes of the heads of one response, and of the
        extensions and trailers of a chunked body. `shapes` are those of the upstream (`response_shapes`).
        """
        self._rules = rules
        self._shapes = response_shapes(rules) if shapes is None else shapes
        self._head_limit = head_limit
        self.head: ResponseHead | None = None
        self.body: list[bytes] = []
        self.is_complete = self.can_keep_alive = False
        self._reset(is_head_request=False)

    def start_response(self, *, is_head_request: bool) -> None:
        """Expect a new response; `is_head_request`: it answers a HEAD request."""
        self.head = None
        self.body = []
        self.is_complete = self.can_keep_alive = False
        if is_head_request or not self._is_fresh:
            self._reset(is_head_request=is_head_request)

    def _reset(self, *, is_head_request: bool) -> None:
        """Reset what a whole response in one piece does not change."""
        self._is_fresh = not is_head_request
        self._is_head_request = is_head_request
        self._buffer = b""
        self._chunks: ChunkedDecoder | None = None
        self._remaining = self._interim = self.head_size = 0
        self.has_trailing_data = False

    @property
    def unparsed_head(self) -> bytes:
        """The bytes of a head that is incomplete or malformed; empty once a final head is parsed."""
        return b"" if self.head is not None else self._buffer

    @property
    def missing_size(self) -> int:
        """The number of bytes that have not been received, of a body whose length is known; 0 for another one."""
        return self._remaining

    def count_body(self, size: int) -> None:
        """Count bytes of the body that are not in `body`, at most `missing_size`."""
        self._remaining -= size
        if not self._remaining:
            self.is_complete = True
            self.can_keep_alive = self.head is not None and self.head.keep_alive

    def collect_broken_head(self, data: bytes) -> bool:
        """Add bytes to a head that `feed` has rejected, for `unparsed_head`. Return whether its end is found, or it is
        too large. Without `data`, search the whole head for its end, else only the new bytes.
        """
        begin = max(0, len(self._buffer) - MAX_EMPTY_LINE) if data else 0
        self._buffer += data
        return len(self._buffer) > self._head_limit or EMPTY_LINE.search(self._buffer, begin) is not None

    def feed(self, data: bytes) -> None:
        """Parse received bytes. Raise MalformedMessage."""
        shape = self._shapes.latest if self._is_fresh and self.head is None else None
        if shape is None or (match := shape.match(data)) is None:
            self._feed_parts(data)
            return
        end = match.end()
        if end > self._head_limit:
            raise MalformedMessage(HEAD_TOO_LARGE)
        head = _read_head(shape, match)
        pieces: list[bytes] | None
        if len(data) - end == head.length and not head.has_no_body:
            pieces = [data[end:]] if head.length else []
        elif not head.chunked or (pieces := split_whole_body(data, end)) is None:
            self.head_size = end
            self._set_framing(head)
            self._feed_parts(data[end:])
            return
        # The whole response in one piece, as most.
        self.head, self.body = head, pieces
        self.is_complete = True
        self.can_keep_alive = head.keep_alive

    def _feed_parts(self, data: bytes) -> None:
        """Do as `feed` does, for any bytes."""
        if self.head is None:
            data = self._feed_head(data)
        if data:
            self._feed_body(data)
        if self.is_complete:
            self.can_keep_alive = not self.has_trailing_data and self.head is not None and self.head.keep_alive

    def _feed_body(self, data: bytes) -> None:
        if self.is_complete:
            self.has_trailing_data = True
        elif self._remaining:
            self._feed_length(data)
        elif self._chunks is not None:
            self._feed_chunks(self._chunks, data)
        else:
            self.body.append(data)

    def end(self) -> None:
        """End a body that ends with the connection. Raise MalformedMessage if the response is incomplete."""
        if self.is_complete:
            return
        if self.head is None:
            raise MalformedMessage(
                "the connection ended before a response" if not self.head_size else "the head was cut off"
            )
        if self.head.chunked or self.head.length is not None:
            raise MalformedMessage("the body ended too soon")
        self.is_complete = True

    def _feed_head(self, data: bytes) -> bytes:
        """Parse heads. Return the bytes after the final one."""
        self._is_fresh = False
        self.head_size += len(data)
        scanned = len(self._buffer)
        window = self._buffer = self._buffer + data if scanned else data
        while True:
            end = window.find(b"\r\n\r\n", scanned - 3 if scanned > 3 else 0)
            if end < 0:
                self._check_partial(window, max(0, scanned - 1))
                return b""
            trailing_size = len(window) - end - 4
            if self.head_size - trailing_size > self._head_limit:
                raise MalformedMessage(HEAD_TOO_LARGE)
            head = self._parse_head(window, end)
            window, scanned = window[end + 4 :], 0
            self._buffer = window
            if head is not None:
                self.head_size -= trailing_size
                self._set_framing(head)
                return window

    def _check_partial(self, window: bytes, scanned: int) -> None:
        """Reject a partial head that can no longer become valid, so that the caller does not wait for the rest:
        HTTP/0.9, RTSP, HTTP/2, leading empty lines, a bare LF. The first `scanned` bytes were checked before.
        """
        if self.head_size > self._head_limit:
            raise MalformedMessage(HEAD_TOO_LARGE)
        opening = window[:VERSION_SIZE]
        if VERSION_AND_SPACE.fullmatch(opening + b"HTTP/1.1 "[len(opening) :]) is None:
            raise MalformedMessage("not HTTP/1.1 or HTTP/1.0")
        if MALFORMED_BYTES.search(window, scanned) is not None:
            raise MalformedMessage("a control byte, or a line end that is not CRLF")

    def _parse_head(self, window: bytes, end: int) -> ResponseHead | None:
        """Parse one whole head, the first `end` bytes of the window. Return None for an interim one."""
        if self._is_head_request:
            return self._parse_lines(split_lines(window[:end]))
        key, shapes = (window[STATUS_SLICE], window.count(CRLF, 0, end)), self._shapes
        match = shapes.find_match(key, window)
        if match is not None and (shape := shapes.latest) is not None:
            return _read_head(shape, match)
        lines = split_lines(window[:end])
        if (head := self._parse_lines(lines)) is not None:
            shapes.learn(key, re.escape(lines[0]), lines[1:], _without_values(head))
        return head

    def _parse_lines(self, lines: list[bytes]) -> ResponseHead | None:
        """Parse the lines of one whole head. Return None for an interim one."""
        first = lines[0]
        read_status = _cached_status if len(first) <= CACHED_LINE_LIMIT else _parse_status_line
        is_http11, status, status_line = read_status(first)
        forwarded, known, deferred = sort_fields(lines[1:], self._rules)
        if status < 200:
            self._count_interim(status)
            return None
        coding, length = known.pop(b"transfer-encoding", None), known.pop(b"content-length", None)
        connection = known.pop(b"connection", None)
        # RFC 9112 §6.1: other codings are not supported, and HTTP/1.0 has none.
        if coding is not None and (coding.lower() != b"chunked" or length is not None or not is_http11):
            raise MalformedMessage("an unknown transfer coding")
        if length is not None and not is_content_length(length):
            raise MalformedMessage("Content-Length is not one number")
        has_no_body = self._is_head_request or status in {204, 304}
        is_framed = has_no_body or coding is not None or length is not None
        options = connection_options(connection) if connection else frozenset()
        return ResponseHead(
            status,
            CRLF.join((status_line, *forwarded)),
            known,
            tuple(deferred),
            None if length is None or status == 204 else int(length),
            coding is not None and not has_no_body,
            has_no_body,
            is_framed and is_persistent(connection, is_http11=is_http11),
            options,
            b"date" in known and status != 304 and not options,
        )

    def _set_framing(self, head: ResponseHead) -> None:
        self._is_fresh = False
        self.head = head
        self._buffer = b""
        self._remaining = head.length or 0
        if head.chunked:
            self._chunks = ChunkedDecoder(self._head_limit)
        self.is_complete = head.has_no_body or (self._remaining == 0 and head.length is not None)

    def _count_interim(self, status: int) -> None:
        self._interim += 1
        if status == 101 or self._interim > MAX_INTERIM:
            raise MalformedMessage("an unexpected 101" if status == 101 else "too many interim responses")

    def _feed_length(self, data: bytes) -> None:
        left = self._remaining
        if len(data) > left:
            data, self.has_trailing_data = data[:left], True
        self.body.append(data)
        self._remaining = left - len(data)
        self.is_complete = not self._remaining

    def _feed_chunks(self, chunks: ChunkedDecoder, data: bytes) -> None:
        pieces, rest = chunks.feed(data)
        self.body += pieces
        self.is_complete = chunks.has_ended
        self.has_trailing_data = bool(rest)


def _read_head(shape: HeadShape[ResponseHead], match: Match) -> ResponseHead:
    """Return the head of a shape with the values of the match."""
    template = shape.template
    head = replace(
        template,
        forwarded_head=CRLF.join((template.forwarded_head, *shape.get_forwarded(match))),
        known_fields=dict(zip(shape.known_keys, shape.get_known(match))),  # noqa: B905 - `strict` costs a third more
    )
    if template.length is not None:
        head.length = int(match[shape.length_group])
    if shape.deferred_keys:
        head.deferred = tuple(zip(shape.deferred_keys, shape.get_deferred(match), strict=False))
    return head


def _without_values(head: ResponseHead) -> ResponseHead:
    length = None if head.length is None else 0
    return replace(head, forwarded_head=head.status_line, known_fields={}, deferred=(), length=length)


def find_status_in_broken_head(head: bytes) -> int | None:
    """Return the status of a malformed head; None if it cannot be found."""
    match = BROKEN_STATUS_LINE.match(head)
    return None if match is None else int(match[1])


def _parse_status_line(line: bytes) -> tuple[bool, int, bytes]:
    """Return whether the version is HTTP/1.1, the status, and the status line for the caller."""
    match = STATUS_LINE.fullmatch(line)
    if match is None:
        raise MalformedMessage("the status line is malformed")
    status = int(match[2])
    return match[1] == b"1", status, make_status_line(status, match[3] or b"")


_cached_status = lru_cache(maxsize=256)(_parse_status_line)
