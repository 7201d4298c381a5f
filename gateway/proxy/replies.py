"""Reads one reply of an upstream from bytes, sans I/O: the same result however the bytes are split.

The grammar is llhttp's (strict, through httptools) for heads and chunked bodies; a body of known length is counted and
passed on uncopied. Whatever leaves a doubt about where a message ends (RFC 9112 §6.3, §11.2) is a `ReplyError`.
Trailer fields are left out, as RFC 9110 §6.5.1 allows; interim replies (1xx) are swallowed, since the gateway answers
`Expect` itself.
"""

from dataclasses import dataclass

import httptools

MAX_INTERIM = 16
END_OF_HEAD = b"\r\n\r\n"


class ReplyError(Exception):
    """The upstream broke HTTP; the text says how, for the log."""


@dataclass(slots=True, frozen=True)
class ReplyHead:
    """The head of a final reply: fields as they came, in their order, without white space around values."""

    status: int
    reason: bytes
    fields: list[tuple[bytes, bytes]]
    length: int | None
    """Content-Length, where there is one."""
    chunked: bool
    bodyless: bool
    """No body follows whatever the fields say: a reply to HEAD, 204, 304 (RFC 9112 §6.3)."""
    keep_alive: bool
    """The connection may carry another request after this message (RFC 9112 §9.3)."""


class ReplyReader:
    """Takes bytes with `feed`, the end of the connection with `end`; shows `head`, `body` (pieces), `complete`."""

    __slots__ = (
        "_fields",
        "_head_limit",
        "_interim",
        "_left",
        "_parser",
        "_reason",
        "_tail",
        "_to_head",
        "body",
        "complete",
        "excess",
        "head",
        "head_bytes",
    )

    def __init__(self, *, to_head: bool, head_limit: int) -> None:
        """`to_head`: the request was HEAD. `head_limit`: bytes that all heads of this reply may have."""
        self._parser = httptools.HttpResponseParser(self)
        self._fields: list[tuple[bytes, bytes]] = []
        self._reason = b""
        self._tail = b""
        self._left = 0
        self._interim = 0
        self._to_head = to_head
        self._head_limit = head_limit
        self.head: ReplyHead | None = None
        self.body: list[bytes] = []
        self.complete = False
        self.excess = False
        self.head_bytes = 0

    @property
    def reusable(self) -> bool:
        """The message ended where it said, nothing came behind it, and the upstream keeps the connection."""
        return self.complete and not self.excess and self.head is not None and self.head.keep_alive

    def feed(self, data: bytes) -> None:
        """Reads what arrived. Raises ReplyError where the reply is not clean HTTP/1."""
        if self.head is None:
            data = self._feed_head(data)
            if not data:
                return
        if self.complete:
            self.excess = True
        else:
            self._feed_body(data)

    def end(self) -> None:
        """The upstream closed cleanly: completes a close-delimited body, else raises ReplyError."""
        if self.complete:
            return
        if self.head is None:
            raise ReplyError("the connection ended before a reply" if not self.head_bytes else "the head was cut off")
        if self.head.chunked or self.head.length is not None:
            raise ReplyError("the body ended too soon")
        self.complete = True

    def _feed_head(self, data: bytes) -> bytes:
        """Parses heads and gives what lies behind the final one."""
        while data and self.head is None:
            window = self._tail + data
            found = window.find(END_OF_HEAD)
            stop = len(data) if found < 0 else found + len(END_OF_HEAD) - len(self._tail)
            self.head_bytes += stop
            if self.head_bytes > self._head_limit:
                raise ReplyError("the head is too large")
            self._parse(data[:stop])
            self._tail = b"" if found >= 0 else window[-3:]
            data = data[stop:]
        return data

    def _feed_body(self, data: bytes) -> None:
        head = self.head
        assert head is not None
        if head.chunked:
            self._parse(data)
        elif head.length is None:
            self.body.append(data)
        else:
            if len(data) > self._left:
                data, self.excess = data[: self._left], True
            self.body.append(data)
            self._left -= len(data)
            self.complete = self._left == 0

    def _parse(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            raise ReplyError("the upstream switched protocols unasked") from None
        except httptools.HttpParserCallbackError as error:
            raise error.__context__ if isinstance(error.__context__, ReplyError) else ReplyError(str(error)) from None
        except httptools.HttpParserError as error:
            if not self.complete:
                raise ReplyError(f"malformed: {error}") from None
            self.excess = True

    # Called by the parser -------------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """Bytes behind a complete message are nobody's."""
        self.excess = self.complete

    def on_status(self, reason: bytes) -> None:
        """A piece of the reason phrase."""
        self._reason += reason

    def on_header(self, name: bytes, value: bytes) -> None:
        """A field of a head; trailer fields come here too and are left out."""
        if self.head is None:
            self._fields.append((name, value.rstrip(b" \t")))

    def on_headers_complete(self) -> None:
        """The end of an interim or the final head."""
        status = self._parser.get_status_code()
        if self._parser.get_http_version() not in {"1.1", "1.0"}:
            raise ReplyError("not HTTP/1.1 or HTTP/1.0")
        if status < 200:
            self._interim += 1
            if status == 101 or self._interim > MAX_INTERIM:
                raise ReplyError("an unasked 101" if status == 101 else "too many interim replies")
            self._fields, self._reason = [], b""
            return
        self.head = self._settle(status)
        self._left = self.head.length or 0
        self.complete = self.head.bodyless or (self._left == 0 and self.head.length is not None)

    def on_body(self, piece: bytes) -> None:
        """A piece of a chunked body."""
        self.body.append(piece)

    def on_message_complete(self) -> None:
        """The last chunk's end. For all other framings the reader itself knows the end."""
        if self.head is not None and self.head.chunked:
            self.complete = True

    def _settle(self, status: int) -> ReplyHead:
        length, codings, options = None, b"", b""
        for name, value in self._fields:
            key = name.lower()
            if key == b"content-length":
                length = int(value)
            elif key == b"transfer-encoding":
                codings += b"," + value if codings else value
            elif key == b"connection":
                options += b"," + value.lower()
        modern = self._parser.get_http_version() == "1.1"
        # RFC 9112 §6.1: a coding that was not asked for cannot be undone, and HTTP/1.0 knows none.
        if codings and (codings.lower() != b"chunked" or not modern):
            raise ReplyError("an unknown transfer coding")
        bodyless = self._to_head or status in {204, 304}
        tokens = {token.strip() for token in options.split(b",")} if options else set()
        framed = bodyless or bool(codings) or length is not None
        stays = b"close" not in tokens if modern else b"keep-alive" in tokens
        return ReplyHead(
            status=status,
            reason=self._reason,
            fields=self._fields,
            length=length,
            chunked=bool(codings) and not bodyless,
            bodyless=bodyless,
            keep_alive=framed and stays,
        )
