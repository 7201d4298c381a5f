"""Another reader of HTTP/1 to hold ours against: llhttp, strict, through httptools."""

from contextlib import suppress
from typing import NamedTuple

import httptools


class Other(NamedTuple):
    """A message as llhttp read it: a request's method and target, or a reply's status and reason."""

    first: bytes | int
    second: bytes
    version: str
    fields: list[tuple[bytes, bytes]]
    body: bytes
    complete: bool


class _Listener:
    """Takes the parser's calls."""

    def __init__(self) -> None:
        self.parser: httptools.HttpRequestParser | httptools.HttpResponseParser
        self.messages: list[Other] = []
        self._second = self._body = b""
        self._fields: list[tuple[bytes, bytes]] = []
        self._is_head_over = False

    def on_message_begin(self) -> None:
        self._second, self._fields, self._is_head_over, self._body = b"", [], False, b""

    def on_url(self, piece: bytes) -> None:
        self._second += piece

    def on_status(self, piece: bytes) -> None:
        self._second += piece

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._is_head_over:  # trailer fields come here too
            self._fields.append((name, value.strip(b" \t")))

    def on_headers_complete(self) -> None:
        self._is_head_over = True
        self.messages.append(self._message(complete=False))

    def on_body(self, piece: bytes) -> None:
        self._body += piece
        self.messages[-1] = self.messages[-1]._replace(body=self._body)

    def on_message_complete(self) -> None:
        self.messages[-1] = self.messages[-1]._replace(complete=True)

    def _message(self, *, complete: bool) -> Other:
        parser = self.parser
        first = parser.get_method() if isinstance(parser, httptools.HttpRequestParser) else parser.get_status_code()
        return Other(first, self._second, parser.get_http_version(), self._fields, b"", complete)


def requests_of(data: bytes) -> list[Other]:
    """The requests that llhttp finds before it finds fault; the last may be incomplete."""
    listener = _Listener()
    listener.parser = httptools.HttpRequestParser(listener)
    return _fed(listener, data)


def replies_of(data: bytes) -> list[Other]:
    """The same of replies, interim ones included."""
    listener = _Listener()
    listener.parser = httptools.HttpResponseParser(listener)
    return _fed(listener, data)


def _fed(listener: _Listener, data: bytes) -> list[Other]:
    with suppress(httptools.HttpParserError, httptools.HttpParserUpgrade):
        listener.parser.feed_data(data)
    return listener.messages
