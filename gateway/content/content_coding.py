"""Pure: content codings (RFC 9110 §8.4.1) taken off the beginning of a body, in bounded steps."""

import re
import zlib
from collections.abc import Iterator

from gateway.content.charsets import UnreadableText

SLICE = 64 * 1024
"""Bytes of a part, at most."""
TAKEN = 4 * 1024  # bytes that zlib is given at a time: it copies what it leaves
MEMBERS = 100
"""Of one gzip body (RFC 1952 §2.2), at most."""
PLAIN = frozenset({b"", b"identity"})
TEXT = re.compile(rb"[\t\n\r -~]{8}")  # what is in no coding: a bare one could begin so, but hardly does
# zlib's windows: the wrapping of gzip; either wrapping, then none at all, as some servers send it.
WINDOWS = {b"gzip": (31,), b"x-gzip": (31,), b"deflate": (47, -15)}


class ContentInflater:
    """Takes a compressed body with `parts`."""

    __slots__ = ("_members", "_window", "_zlib")

    def __init__(self, window: int) -> None:
        """`window`: one of `WINDOWS`."""
        self._window = window
        self._zlib = zlib.decompressobj(window)
        self._members = 1

    def parts(self, data: bytes) -> Iterator[bytes]:
        """What that makes of the body, in parts of `SLICE` at most, when asked for the next. Raises Unreadable."""
        for at in range(0, len(data), TAKEN):
            rest, part = data[at : at + TAKEN], b""
            while rest or len(part) == SLICE:
                if self._zlib.eof:
                    if not rest:
                        break
                    self._next_member()
                try:
                    part = self._zlib.decompress(rest, SLICE)
                except zlib.error as error:
                    raise UnreadableText("its content coding is broken") from error
                rest = self._zlib.unused_data if self._zlib.eof else self._zlib.unconsumed_tail
                yield part

    def _next_member(self) -> None:
        self._members += 1
        if self._window != WINDOWS[b"gzip"][0] or self._members > MEMBERS:
            raise UnreadableText("there is more behind the end of its content coding")
        self._zlib = zlib.decompressobj(self._window)


def inflating(coding: bytes | None) -> ContentInflater | None:
    """What undoes this Content-Encoding of a request; None for none. Raises Unreadable for one that is not known."""
    word = _word(coding)
    if word in PLAIN:
        return None
    if word not in WINDOWS:
        raise UnreadableText("its content coding is not known")
    return ContentInflater(WINDOWS[word][0])


def peek(content_encoding: bytes | None, first: bytes, limit: int) -> bytes:
    """The beginning of a body without its coding, `limit` bytes at most, of which `first` is the beginning as it
    comes, cut anywhere. `first` itself where there is no coding, nothing where it cannot be read. Never raises.
    """
    word = _word(content_encoding)
    if word in PLAIN:
        return first
    if TEXT.match(first):
        return b""
    for window in WINDOWS.get(word, ()):
        if text := _beginning(window, first, limit):
            return text
    return b""


def _word(coding: bytes | None) -> bytes:
    return (coding or b"").strip().lower()


def _beginning(window: int, first: bytes, limit: int) -> bytes:
    found: list[bytes] = []
    size = 0
    try:
        for part in ContentInflater(window).parts(first):
            found.append(part)
            size += len(part)
            if size >= limit:
                break
    except UnreadableText:
        return b""
    return b"".join(found)[:limit]
