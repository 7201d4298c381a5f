"""Find request heads in the bytes of a caller. The result does not depend on how the bytes are split. Pure."""

from gateway.errors import BadRequest, GatewayError
from gateway.http.fields import FieldRules
from gateway.http.head_shapes import HeadShape, HeadShapes
from gateway.http.request_head import (
    END_OF_HEAD,
    METHODS_WITH_BODY,
    RequestHead,
    RequestLimits,
    check_partial_head,
    may_begin_request,
    parse_request_head,
    read_shaped_head,
    skip_empty_lines,
)

CR = 0x0D
EMPTY_LINES_LIMIT = 1024
"""Maximum bytes of empty lines before a request."""


class HeadReader:
    """Finds and parses the heads of one connection.

    `pending` are the bytes that belong to no head or body yet. `head_started`: the next head has begun and is not
    complete. `rejected_head` is the head that an error was raised for, without its last two line ends.
    """

    __slots__ = (
        *("_follows_body", "_limits", "_rules", "_scanned", "_shape", "_shapes", "_skipped"),
        *("head_started", "pending", "rejected_head"),
    )

    def __init__(self, limits: RequestLimits, rules: FieldRules, shapes: HeadShapes[RequestHead] | None = None) -> None:
        """`rules`: how each request field is treated. `shapes` are shared by all connections of a server."""
        self._limits = limits
        self._rules = rules
        self.pending = b""
        self.rejected_head: bytes | None = None
        self.head_started = False
        self._shapes = shapes
        self._shape: HeadShape[RequestHead] | None = None
        """The shape that is tried first: that of the last head, which most callers repeat, or of another caller's."""
        self._scanned = self._skipped = 0
        self._follows_body = False
        """Trailing bytes of the last body may come."""

    @property
    def contains_head(self) -> bool:
        """Return whether a complete head is pending, even if it is not scanned yet."""
        return END_OF_HEAD in self.pending

    @property
    def may_time_out(self) -> bool:
        """Return whether a request has certainly begun: one word after a body may be trailing bytes of that body."""
        return self.head_started and (not self._follows_body or b" " in self.pending)

    def feed(self, data: bytes) -> None:
        """Add received bytes."""
        self.pending = self.pending + data if self.pending else data

    def take_head(self) -> RequestHead | None:
        """Remove the next head and parse it; None if it is not complete. Raise as `parse_request_head` does, also if
        the pending bytes can become no head.
        """
        data, shape = self.pending, self._shape
        if shape is None or self.head_started or self._skipped or (match := shape.match(data)) is None:
            return self._find_head()
        end = match.end()
        if end > self._limits.smallest:
            return self._find_head()
        self.pending = data[end:]
        head = read_shaped_head(shape, match)
        self._follows_body = head.has_body or head.method in METHODS_WITH_BODY
        return head

    def _find_head(self) -> RequestHead | None:
        """Do as `take_head` does, for any head."""
        data = self.pending
        if data[0] <= CR or self._skipped > EMPTY_LINES_LIMIT:  # an empty line, or bytes that begin no request
            data = self._skip_empty_lines()
        if self._follows_body and not may_begin_request(data):
            raise BadRequest
        end = data.find(END_OF_HEAD, self._scanned)
        if end < 0:
            if not b"\r".startswith(data):
                self.head_started = True
                check_partial_head(data, self._scanned, self._limits)
                self._scanned = max(0, len(data) - 3)
            return None
        self.pending = data[end + len(END_OF_HEAD) :]
        self._scanned, self._skipped, self.head_started = 0, 0, False
        head_bytes = data[:end]
        try:
            head = parse_request_head(head_bytes, self._limits, self._rules, self._shapes)
        except GatewayError:
            self.rejected_head = head_bytes
            raise
        self._follows_body = head.has_body or head.method in METHODS_WITH_BODY
        self._shape = None if self._shapes is None else self._shapes.latest
        return head

    def take_pending(self) -> bytes:
        """Remove and return all pending bytes, which belong to a body."""
        data, self.pending = self.pending, b""
        return data

    def is_trailing(self, data: bytes) -> bool:
        """Return whether these bytes follow a request's body and cannot begin another request."""
        return self._follows_body and not may_begin_request(data)

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
