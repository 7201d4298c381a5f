"""Find request heads in the bytes of a caller. The result does not depend on how the bytes are split. Pure."""

from gateway.errors import BadRequest
from gateway.http.fields import FieldRules
from gateway.http.head_shapes import HeadShapes
from gateway.http.request_head import (
    RequestHead,
    RequestLimits,
    check_partial_head,
    may_begin_request,
    parse_request_head,
    skip_empty_lines,
)

END_OF_HEAD = b"\r\n\r\n"
EMPTY_LINES_LIMIT = 1024
"""Maximum bytes of empty lines before a request."""


class HeadReader:
    """Finds and parses the heads of one connection.

    `pending` are the bytes that belong to no head or body yet. `head_started`: the next head has begun and is not
    complete. `last_head` is the last parsed head.
    """

    __slots__ = (
        "_end",
        "_limits",
        "_rules",
        "_scanned",
        "_shapes",
        "_skipped",
        "head_started",
        "last_head",
        "pending",
    )

    def __init__(self, limits: RequestLimits, rules: FieldRules, shapes: HeadShapes[RequestHead] | None = None) -> None:
        """`rules`: how each request field is treated. `shapes` are shared by all connections of a server."""
        self._limits = limits
        self._rules = rules
        self.pending = b""
        self.head_started = False
        self.last_head: RequestHead | None = None
        self._shapes = shapes
        self._end = -1
        self._scanned = self._skipped = 0

    @property
    def contains_head(self) -> bool:
        """Return whether a complete head is pending, even if it is not scanned yet."""
        return self._end >= 0 or END_OF_HEAD in self.pending

    @property
    def may_time_out(self) -> bool:
        """Return whether a request has certainly begun: one word after a body may be trailing bytes of that body."""
        return self.head_started and (
            self.last_head is None or not self.last_head.allows_trailing_bytes or b" " in self.pending
        )

    def feed(self, data: bytes) -> None:
        """Add received bytes."""
        self.pending = self.pending + data if self.pending else data

    def scan(self) -> bool:
        """Look for the end of a head. Return whether it is found. Raise as `parse_request_head` does if the bytes can
        become none.
        """
        data = self.pending
        if data[:1] <= b"\r" or self._skipped > EMPTY_LINES_LIMIT:  # an empty line, or bytes that begin no request
            data = self._skip_empty_lines()
        if self.is_trailing(data):
            raise BadRequest
        self._end = end = data.find(END_OF_HEAD, self._scanned)
        if end >= 0:
            return True
        if not b"\r".startswith(data):
            self.head_started = True
            check_partial_head(data, self._scanned, self._limits)
            self._scanned = max(0, len(data) - 3)
        return False

    def take_head_bytes(self) -> bytes:
        """Remove the head that was found, and return it without its last two line ends."""
        end, data = self._end, self.pending
        self.pending = data[end + 4 :]
        self._end, self._scanned, self._skipped, self.head_started = -1, 0, 0, False
        return data[:end]

    def take_pending(self) -> bytes:
        """Remove and return all pending bytes, which belong to a body."""
        data, self.pending = self.pending, b""
        return data

    def parse_head(self, head_bytes: bytes) -> RequestHead:
        """Parse a head. Raise as `parse_request_head` does."""
        head = self.last_head = parse_request_head(head_bytes, self._limits, self._rules, self._shapes)
        return head

    def is_trailing(self, data: bytes) -> bool:
        """Return whether these bytes follow a request's body and cannot begin another request."""
        return self.last_head is not None and self.last_head.allows_trailing_bytes and not may_begin_request(data)

    def _skip_empty_lines(self) -> bytes:
        """Skip empty lines, which some clients send after a body (RFC 9112 §2.2). They must not get a response: the
        client would take it for the response to its next request.
        """
        rest = skip_empty_lines(self.pending)
        self._skipped += len(self.pending) - len(rest)
        self.pending, self._scanned = rest, 0
        if self._skipped > EMPTY_LINES_LIMIT and rest:
            raise BadRequest(f"More than {EMPTY_LINES_LIMIT} bytes of empty lines came before the request.")
        return rest
