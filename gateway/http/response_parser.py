"""Reads the replies of an upstream from bytes, sans I/O: the same result however the bytes are split.

Whatever leaves a doubt about where a message ends (RFC 9112 §6.3, §11.2) is a `Malformed`; bytes behind the end are
never read, only told (`excess`). Trailer fields are left out, as RFC 9110 §6.5.1 allows; interim replies (1xx) are
swallowed, since the gateway answers `Expect` itself.
"""

import re
from functools import lru_cache

import msgspec

from gateway.http.chunked import ChunkedDecoder
from gateway.http.fields import BROKEN, FieldRules, MalformedMessage, is_length, options_of, sort_fields, split_lines

MAX_INTERIM = 16
OPENING = re.compile(rb"HTTP/1\.[01] ")
STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-5][0-9]{2})(?: (.*))?", re.DOTALL)
SHORT_LINE = 64  # bytes of a status line that is remembered
LONGEST_OPENING = len(b"HTTP/1.1 ")
EMPTY_LINE = re.compile(rb"[^\r\n](?:\r?\n\r?\n|\r\r)")  # ends a head, whatever ends its lines
LONGEST_EMPTY_LINE = 5  # bytes of that
PLAIN_STATUS = re.compile(rb"[\r\n]*HTTP/[0-9.]{1,3} ([1-5][0-9]{2})[ \r\n]")


class ResponseHead(msgspec.Struct):
    """The head of a final reply, its fields sorted (see `fields.sort_fields`)."""

    status: int
    reason: bytes
    forwarded_lines: list[bytes]
    known_fields: dict[bytes, bytes]
    deferred: list[tuple[bytes, bytes]]
    length: int | None
    """Content-Length, where there is one."""
    chunked: bool
    has_no_body: bool
    """No body follows whatever the fields say: a reply to HEAD, 204, 304 (RFC 9112 §6.3)."""
    keep_alive: bool
    """The connection may carry another request after this message (RFC 9112 §9.3)."""


class ResponseParser:
    """Reads one reply after another: `begin` each, take bytes with `feed`, the end of the connection with `end`;
    shows `head`, `body` (pieces), `complete`.
    """

    __slots__ = (
        *("_buffer", "_chunks", "_head_limit", "_interim", "_rules", "_left", "_is_head_request"),
        *("body", "complete", "trailing_data", "head", "head_bytes"),
    )

    def __init__(self, kinds: FieldRules, *, head_limit: int) -> None:
        """`kinds` sorts the fields. `head_limit`: bytes that all heads of one reply may have, and so may what stands
        between the pieces of a chunked body.
        """
        self._rules = kinds
        self._head_limit = head_limit
        self.begin(to_head=False)

    def begin(self, *, to_head: bool) -> None:
        """Makes ready for a reply; `to_head`: the request was HEAD."""
        self._buffer = b""
        self._chunks: ChunkedDecoder | None = None
        self._left = self._interim = self.head_bytes = 0
        self._is_head_request = to_head
        self.head: ResponseHead | None = None
        self.body: list[bytes] = []
        self.complete = self.trailing_data = False

    @property
    def can_keep_alive(self) -> bool:
        """The message ended where it said, nothing came behind it, and the upstream keeps the connection."""
        return self.complete and not self.trailing_data and self.head is not None and self.head.keep_alive

    @property
    def unread_head(self) -> bytes:
        """The bytes of a final head that is not complete, or not clean HTTP/1; empty once a head has been read."""
        return b"" if self.head is not None else self._buffer

    def collect_broken_head(self, data: bytes) -> bool:
        """Adds to the head that `feed` has rejected, so that `unread_head` is all of it; true at its end, or when it is
        too large. Looks at all of it where nothing is added, else at what is new.
        """
        begin = max(0, len(self._buffer) - LONGEST_EMPTY_LINE) if data else 0
        self._buffer += data
        return len(self._buffer) > self._head_limit or EMPTY_LINE.search(self._buffer, begin) is not None

    def feed(self, data: bytes) -> None:
        """Reads what arrived. Raises Malformed where the reply is not clean HTTP/1."""
        if self.head is None:
            data = self._feed_head(data)
            if not data:
                return
        if self.complete:
            self.trailing_data = True
        elif self._left:
            self._feed_length(data)
        elif self._chunks is not None:
            self._feed_chunks(self._chunks, data)
        else:
            self.body.append(data)

    def end(self) -> None:
        """The upstream closed cleanly: completes a close-delimited body, else raises Malformed."""
        if self.complete:
            return
        if self.head is None:
            raise MalformedMessage(
                "the connection ended before a reply" if not self.head_bytes else "the head was cut off"
            )
        if self.head.chunked or self.head.length is not None:
            raise MalformedMessage("the body ended too soon")
        self.complete = True

    def _feed_head(self, data: bytes) -> bytes:
        """Reads heads and gives what lies behind the final one."""
        self.head_bytes += len(data)
        seen = len(self._buffer)
        window = self._buffer = self._buffer + data if seen else data
        while True:
            end = window.find(b"\r\n\r\n", seen - 3 if seen > 3 else 0)
            if end < 0:
                self._check_partial(window, max(0, seen - 1))
                return b""
            behind = len(window) - end - 4
            if self.head_bytes - behind > self._head_limit:
                raise MalformedMessage("the head is too large")
            head = self._read(window[:end])
            window, seen = window[end + 4 :], 0
            self._buffer = window
            if head is not None:
                self.head_bytes -= behind
                self._set_framing(head)
                return window

    def _check_partial(self, window: bytes, seen: int) -> None:
        """Finds what can become no head, so that nobody waits for it: HTTP/0.9, RTSP, HTTP/2, leading blank lines, line
        ends of LF alone; the first `seen` bytes were looked at before.
        """
        if self.head_bytes > self._head_limit:
            raise MalformedMessage("the head is too large")
        opening = window[:LONGEST_OPENING]
        if OPENING.fullmatch(opening + b"HTTP/1.1 "[len(opening) :]) is None:
            raise MalformedMessage("not HTTP/1.1 or HTTP/1.0")
        if BROKEN.search(window, seen) is not None:
            raise MalformedMessage("a control byte, or a line end that is not CRLF")

    def _read(self, block: bytes) -> ResponseHead | None:
        """Reads one whole head; None for an interim one."""
        lines = split_lines(block)
        first = lines[0]
        modern, status, reason = (_short_status if len(first) <= SHORT_LINE else _read_status)(first)
        passed, noted, held = sort_fields(lines[1:], self._rules)
        if status < 200:
            self._count_interim(status)
            return None
        coding, length = noted.get(b"transfer-encoding"), noted.get(b"content-length")
        # RFC 9112 §6.1: a coding that was not asked for cannot be undone, and HTTP/1.0 knows none.
        if coding is not None and (coding.lower() != b"chunked" or length is not None or not modern):
            raise MalformedMessage("an unknown transfer coding")
        if length is not None and not is_length(length):
            raise MalformedMessage("Content-Length is not one number")
        bodyless = self._is_head_request or status in {204, 304}
        framed = bodyless or coding is not None or length is not None
        return ResponseHead(
            status,
            reason,
            passed,
            noted,
            held,
            None if length is None else int(length),
            coding is not None and not bodyless,
            bodyless,
            framed and _can_stay_open(noted.get(b"connection"), modern=modern),
        )

    def _set_framing(self, head: ResponseHead) -> None:
        self.head = head
        self._buffer = b""
        self._left = head.length or 0
        if head.chunked:
            self._chunks = ChunkedDecoder(self._head_limit)
        self.complete = head.has_no_body or (self._left == 0 and head.length is not None)

    def _count_interim(self, status: int) -> None:
        self._interim += 1
        if status == 101 or self._interim > MAX_INTERIM:
            raise MalformedMessage("an unasked 101" if status == 101 else "too many interim replies")

    def _feed_length(self, data: bytes) -> None:
        left = self._left
        if len(data) > left:
            data, self.trailing_data = data[:left], True
        self.body.append(data)
        self._left = left - len(data)
        self.complete = not self._left

    def _feed_chunks(self, chunks: ChunkedDecoder, data: bytes) -> None:
        pieces, rest = chunks.feed(data)
        self.body += pieces
        self.complete = chunks.ended
        self.trailing_data = bool(rest)


def plain_status(head: bytes) -> int | None:
    """The status that a head begins with which is not clean HTTP/1; None where it has none."""
    found = PLAIN_STATUS.match(head)
    return None if found is None else int(found[1])


def _read_status(line: bytes) -> tuple[bool, int, bytes]:
    """Whether HTTP/1.1 is spoken, the status, the reason phrase."""
    found = STATUS_LINE.fullmatch(line)
    if found is None:
        raise MalformedMessage("the status line is malformed")
    return found[1] == b"1", int(found[2]), found[3] or b""


_short_status = lru_cache(maxsize=256)(_read_status)
"""An upstream says the same few lines all day."""


def _can_stay_open(connection: bytes | None, *, modern: bool) -> bool:
    if connection is None:
        return modern
    if connection == b"keep-alive":
        return True
    options = options_of(connection)
    return b"close" not in options and (modern or b"keep-alive" in options)
