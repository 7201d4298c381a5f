"""Decode content codings (RFC 9110 §8.4.1) in small steps, so that a decompression bomb never fills the memory.

URL rewriting, the filter of SOAP credentials and the search for instance ids use the same decoder. It is as tolerant as
gzip(1) and browsers: NUL bytes may follow a gzip member, and a `deflate` body may have the zlib format, the gzip format
or no container.
"""

import re
import zlib
from collections.abc import Iterator

from gateway.content.charsets import UnreadableText

MAX_DECODED_PART = 64 * 1024
"""Maximum bytes of a decoded part."""
INPUT_STEP = 16 * 1024  # bytes that are passed to zlib at once: it copies the rest at every step
SHORT_PART = 512  # bytes: shorter parts are joined
MEMBERS_PER_STEP = MAX_DECODED_PART // SHORT_PART
"""Members of a gzip body (RFC 1952 §2.2) that are decoded in one step: each takes microseconds, however short it is."""
CODINGS = {"": "", "identity": "", "gzip": "gzip", "x-gzip": "gzip", "deflate": "deflate"}
GZIP_MAGIC = b"\x1f\x8b\x08"  # RFC 1952 §2.3.1
GZIP_WINDOW = zlib.MAX_WBITS | 16
ASCII_TEXT = re.compile(rb"[\t\n\r -~]{8}")  # a deflate body without container could begin so, but rarely does


def parse_content_coding(field: bytes | None) -> str | None:
    """Return `gzip`, `deflate`, or "" for no coding; None if the field names another coding, or several."""
    return CODINGS.get((field or b"").decode("latin-1").strip(" \t").lower())


def can_be_in_coding(coding: str, first: bytes) -> bool:
    """Return whether a body that begins with `first` can have this coding."""
    if coding == "gzip":
        return first[: len(GZIP_MAGIC)] == GZIP_MAGIC[: len(first)]
    if coding != "deflate" or len(first) < 2:
        return True
    return ASCII_TEXT.match(first) is None and _inflates(first)


def decode_beginning(content_encoding: bytes | None, first: bytes, limit: int) -> bytes:
    """Return the first `limit` bytes of the decoded body, or fewer if `first` contains fewer. Never raise.

    `first` is the beginning of the coded body. If there is no coding, return `first` itself. Decoding ends before the
    first invalid byte.
    """
    coding = parse_content_coding(content_encoding)
    if coding == "":
        return first
    if coding is None or not can_be_in_coding(coding, first):
        return b""
    parts: list[bytes] = []
    size = 0
    try:
        for part in ContentDecoder(coding).feed(first):
            parts.append(part)
            size += len(part)
            if size >= limit:
                break
    except UnreadableText:
        pass
    return b"".join(parts)[:limit]


class ContentDecoder:
    """Decodes a body in pieces."""

    __slots__ = ("_begun", "_coding", "_first", "_is_gzip", "_zlib")

    def __init__(self, coding: str) -> None:
        """`coding` is `gzip` or `deflate`."""
        self._coding = coding
        self._first = b""
        self._begun = False
        self._is_gzip = False
        self._zlib = zlib.decompressobj(GZIP_WINDOW)

    def feed(self, piece: bytes) -> Iterator[bytes]:
        """Yield the decoded parts of a piece, each of at most `MAX_DECODED_PART` bytes. An empty part only ends a step.

        Raise UnreadableText if the coding is invalid, or if data follows its end.
        """
        if not self._begun:
            self._first += piece
            if len(self._first) < 2:
                return
            self._begun = True
            piece, self._first = self._first, b""
            window = GZIP_WINDOW if self._coding == "gzip" else _deflate_window(piece)
            self._is_gzip = window == GZIP_WINDOW
            self._zlib = zlib.decompressobj(window)
        view = memoryview(piece)
        for start in range(0, len(piece), INPUT_STEP):
            yield from self._inflate(bytes(view[start : start + INPUT_STEP]))

    def end(self) -> None:
        """Raise UnreadableText if the body is truncated. An empty body is complete."""
        if self._first or (self._begun and not self._zlib.eof):
            raise UnreadableText("its content coding is truncated")

    def _inflate(self, data: bytes) -> Iterator[bytes]:
        short: list[bytes] = []
        members = 0
        while data:
            if self._zlib.eof:
                data = self._start_member(data)
                if not data:
                    break
                members += 1
                if members % MEMBERS_PER_STEP == 0:
                    yield b"".join(short)
                    short.clear()
            try:
                part = self._zlib.decompress(data, MAX_DECODED_PART)
            except zlib.error as error:
                raise UnreadableText("its content coding is broken") from error
            # zlib has read all of the data, but it may have more output than the maximum that was requested.
            data = self._zlib.unused_data or self._zlib.unconsumed_tail
            if len(part) < SHORT_PART:
                short.append(part)
                continue
            if short:
                yield b"".join(short)
                short.clear()
            yield part
            while len(part) == MAX_DECODED_PART and not data and not self._zlib.eof:
                part = self._zlib.decompress(b"", MAX_DECODED_PART)
                if part:
                    yield part
        if short:
            yield b"".join(short)

    def _start_member(self, data: bytes) -> bytes:
        """Start the next member of a gzip body (RFC 1952 §2.2). Return its data without the padding before it."""
        if not self._is_gzip:
            raise UnreadableText("data follows the end of its content coding")
        data = data.lstrip(b"\0")
        if data:
            self._zlib = zlib.decompressobj(GZIP_WINDOW)
        return data


def _deflate_window(first: bytes) -> int:
    """Return the window for zlib of a `deflate` body. Its format is zlib (RFC 9110 §8.4.1.2); some servers send gzip or
    no container.
    """
    if first.startswith(GZIP_MAGIC[:2]):
        return GZIP_WINDOW
    is_zlib = first[0] & 0x0F == zlib.DEFLATED and int.from_bytes(first[:2], "big") % 31 == 0
    return zlib.MAX_WBITS if is_zlib else -zlib.MAX_WBITS


def _inflates(first: bytes) -> bool:
    try:
        zlib.decompressobj(_deflate_window(first)).decompress(first, 1024)
    except zlib.error:
        return False
    return True
