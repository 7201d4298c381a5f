"""Reads one reply of an upstream from bytes, sans I/O: the same result however the bytes are split.

The grammar is llhttp's (strict, through httptools) for heads and chunked bodies; a body of known length is counted and
passed on uncopied. Whatever leaves a doubt about where a message ends (RFC 9112 §6.3, §11.2) is a `ReplyError`; bytes
behind the end are never read, only told (`excess`). Trailer fields are left out, as RFC 9110 §6.5.1 allows; interim
replies (1xx) are swallowed, since the gateway answers `Expect` itself.
"""

import re
from dataclasses import dataclass

import httptools

MAX_INTERIM = 16
PROTOCOL = b"HTTP/1."
END_OF_HEAD = END_OF_CHUNKS = b"\r\n\r\n"
CONTROL = re.compile(rb"[^\t -~\x80-\xff]")


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
        "_opening",
        "_overhead",
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
        """`to_head`: the request was HEAD. `head_limit`: bytes that all heads of this reply may have, and so may what
        stands between two pieces of a chunked body.
        """
        self._parser = httptools.HttpResponseParser(self)
        self._fields: list[tuple[bytes, bytes]] = []
        self._reason = b""
        self._opening = b""
        self._tail = b""
        self._left = 0
        self._overhead = 0
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
            if len(self._opening) < len(PROTOCOL):
                self._check_opening(data)
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

    def _check_opening(self, data: bytes) -> None:
        """Refuses what the parser would take too: RTSP, ICE, HTTP/0.9, HTTP/2.0, leading blank lines."""
        self._opening += data[: len(PROTOCOL) - len(self._opening)]
        if not PROTOCOL.startswith(self._opening):
            raise ReplyError("not HTTP/1.1 or HTTP/1.0")

    def _feed_body(self, data: bytes) -> None:
        head = self.head
        assert head is not None
        if head.chunked:
            self._feed_chunks(data)
        elif head.length is None:
            self.body.append(data)
        else:
            if len(data) > self._left:
                data, self.excess = data[: self._left], True
            self.body.append(data)
            self._left -= len(data)
            self.complete = self._left == 0

    def _feed_chunks(self, data: bytes) -> None:
        pieces = len(self.body)
        self._parse(data)
        # Chunk extensions and trailers are read by the parser without a limit of its own.
        self._overhead = self._overhead + len(data) if len(self.body) == pieces else 0
        if self._overhead > self._head_limit:
            raise ReplyError("too much between the chunks")
        self._tail = (self._tail + data[-5:])[-5:]
        # The parser skips blank lines behind a message without a word; the end itself is one only (RFC 9112 §7.1).
        if self.complete and (not self._tail.endswith(END_OF_CHUNKS) or self._tail[0] in END_OF_CHUNKS):
            self.excess = True

    def _parse(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            if self.complete:
                self.excess = True
                return
            cause = error.__context__
            raise cause if isinstance(cause, ReplyError) else ReplyError(f"malformed: {error}") from None

    # Called by the parser -------------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """Stops the parser behind a complete message: a second reply there would take the place of this one."""
        if self.complete:
            raise ReplyError("bytes behind the reply")

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
        if status < 200:
            self._skip(status)
            return
        if CONTROL.search(self._reason):
            raise ReplyError("a control byte in the reason phrase")
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

    def _skip(self, status: int) -> None:
        self._interim += 1
        if status < 100:
            raise ReplyError("no HTTP status")
        if status == 101 or self._interim > MAX_INTERIM:
            raise ReplyError("an unasked 101" if status == 101 else "too many interim replies")
        self._fields, self._reason, self._opening = [], b"", b""

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
        tokens = {token.strip() for token in options.split(b",")}
        framed = bodyless or bool(codings) or length is not None
        stays = b"close" not in tokens and (modern or b"keep-alive" in tokens)
        return ReplyHead(
            status=status,
            reason=self._reason,
            fields=self._fields,
            length=length,
            chunked=bool(codings) and not bodyless,
            bodyless=bodyless,
            keep_alive=framed and stays,
        )
