"""Responses of upstreams: any splitting has the same result, and an uncertain end of a message is an error."""

import re
from dataclasses import dataclass
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.http.fields import MalformedMessage
from gateway.http.response_parser import MAX_INTERIM, ResponseParser
from gateway.proxy.headers import RESPONSE_RULES

LIMIT = 2048
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
INTERIM = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
USED = INTERIM + CHUNKED + b"2;a\r\nhi\r\n0\r\nA: b\r\n\r\nx"


@dataclass(frozen=True)
class Case:
    """The bytes that an upstream sends before it closes, and the expected result."""

    name: str
    section: str
    raw: bytes
    status: int = 200
    body: bytes = b""
    keeps_alive: bool = True
    has_trailing_data: bool = False
    is_head_request: bool = False


@dataclass(frozen=True)
class Bad:
    """Bytes that violate HTTP, and a pattern of the reason."""

    name: str
    section: str
    raw: bytes
    reason: str
    is_head_request: bool = False


def sized(length: int, body: bytes, *, line: bytes = b"HTTP/1.1 200 OK", fields: bytes = b"") -> bytes:
    return b"%b\r\n%bContent-Length: %d\r\n\r\n%b" % (line, fields, length, body)


def with_field(field: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\n%b\r\nContent-Length: 0\r\n\r\n" % field


GOOD: list[Case] = [
    Case("a counted body", "9112 6.3", sized(5, b"hello"), body=b"hello"),
    Case("an empty counted body", "9112 6.3", sized(0, b"")),
    Case(
        "a length with leading zeros", "9110 8.6", b"HTTP/1.1 200 OK\r\nContent-Length: 005\r\n\r\nhello", body=b"hello"
    ),
    Case("white space around a length", "9110 5.5", b"HTTP/1.1 200 OK\r\nContent-Length: \t2 \t\r\n\r\nhi", body=b"hi"),
    Case(
        "bytes after a counted body",
        "9112 6.3",
        sized(2, b"hiHTTP/1.1 500 X\r\n\r\n"),
        body=b"hi",
        keeps_alive=False,
        has_trailing_data=True,
    ),
    Case(
        "an empty line after a counted body",
        "9112 2.2",
        sized(2, b"hi\r\n"),
        body=b"hi",
        keeps_alive=False,
        has_trailing_data=True,
    ),
    Case("a body with a response in it", "9112 6.3", sized(len(sized(0, b"")), sized(0, b"")), body=sized(0, b"")),
    Case("a chunked body", "9112 7.1", CHUNKED + b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n", body=b"hello world"),
    Case("a chunked body of nothing", "9112 7.1", CHUNKED + b"0\r\n\r\n"),
    Case(
        "chunk sizes in either case, with zeros",
        "9112 7.1",
        CHUNKED + b"00a\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\n",
        body=b"0123456789" * 2,
    ),
    Case("chunk extensions", "9112 7.1.1", CHUNKED + b'2;a=b;c="d"\r\nhi\r\n0;e\r\n\r\n', body=b"hi"),
    Case("trailers", "9110 6.5.1", CHUNKED + b"2\r\nhi\r\n0\r\nX-Late: 1\r\nX-Empty:\r\n\r\n", body=b"hi"),
    Case("a length among the trailers", "9110 6.5.1", CHUNKED + b"0\r\nContent-Length: 3\r\n\r\n"),
    Case("a space before a chunk extension", "9112 7.1.1", CHUNKED + b"2 ; a = b\r\nhi\r\n0\r\n\r\n", body=b"hi"),
    Case("a response to HEAD with a length of nothing", "9110 9.3.2", sized(0, b""), is_head_request=True),
    Case(
        "a chunk that looks like the end",
        "9112 7.1",
        CHUNKED + b"7\r\n0\r\n\r\n\r\n\r\n0\r\n\r\n",
        body=b"0\r\n\r\n\r\n",
    ),
    Case("the coding in upper case", "9112 7", CHUNKED.replace(b"chunked", b"CHUNKED") + b"0\r\n\r\n"),
    Case(
        "a second response after a chunked one",
        "9112 9.3",
        CHUNKED + b"2\r\nhi\r\n0\r\n\r\n" + sized(4, b"evil", line=b"HTTP/1.1 403 No"),
        body=b"hi",
        keeps_alive=False,
        has_trailing_data=True,
    ),
    Case(
        "a second chunked response after one",
        "9112 9.3",
        CHUNKED + b"2\r\nhi\r\n0\r\n\r\n" + CHUNKED + b"4\r\nevil\r\n0\r\n\r\n",
        body=b"hi",
        keeps_alive=False,
        has_trailing_data=True,
    ),
    Case(
        "an interim response after a chunked one",
        "9112 9.3",
        CHUNKED + b"0\r\n\r\n" + INTERIM,
        keeps_alive=False,
        has_trailing_data=True,
    ),
    Case(
        "garbage after a chunked response",
        "9112 9.3",
        CHUNKED + b"0\r\n\r\nx",
        keeps_alive=False,
        has_trailing_data=True,
    ),
    Case(
        "an empty line after a chunked response",
        "9112 7.1",
        CHUNKED + b"2\r\nhi\r\n0\r\n\r\n\r\n",
        body=b"hi",
        keeps_alive=False,
        has_trailing_data=True,
    ),
    Case(
        "two empty lines after a chunked response",
        "9112 7.1",
        CHUNKED + b"0\r\n\r\n\r\n\r\n",
        keeps_alive=False,
        has_trailing_data=True,
    ),
    Case(
        "a bare LF after a chunked response",
        "9112 7.1",
        CHUNKED + b"0\r\nX: y\r\n\r\n\n",
        keeps_alive=False,
        has_trailing_data=True,
    ),
    Case(
        "garbage after a chunked response that closes",
        "9112 9.6",
        CHUNKED.replace(b"OK\r\n", b"OK\r\nConnection: close\r\n") + b"0\r\n\r\nx",
        keeps_alive=False,
        has_trailing_data=True,
    ),
    Case(
        "a body that ends with the connection",
        "9112 6.3",
        b"HTTP/1.1 200 OK\r\n\r\nall of it",
        body=b"all of it",
        keeps_alive=False,
    ),
    Case("no body at all, ended with the connection", "9112 6.3", b"HTTP/1.1 200 OK\r\n\r\n", keeps_alive=False),
    Case(
        "HTTP/1.0 ended with the connection",
        "9112 6.3",
        b"HTTP/1.0 200 OK\r\nA: b\r\n\r\nold",
        body=b"old",
        keeps_alive=False,
    ),
    Case("HTTP/1.0 counted", "9112 9.3", sized(2, b"hi", line=b"HTTP/1.0 200 OK"), body=b"hi", keeps_alive=False),
    Case(
        "HTTP/1.0 that keeps the connection",
        "9112 9.3",
        sized(2, b"hi", line=b"HTTP/1.0 200 OK", fields=b"Connection: Keep-Alive\r\n"),
        body=b"hi",
    ),
    Case(
        "HTTP/1.0 that keeps and closes",
        "9112 9.6",
        sized(0, b"", line=b"HTTP/1.0 200 OK", fields=b"Connection: keep-alive, close\r\n"),
        keeps_alive=False,
    ),
    Case("HTTP/1.1 that closes", "9112 9.6", sized(0, b"", fields=b"Connection: X-A , CLOSE\r\n"), keeps_alive=False),
    Case(
        "HTTP/1.1 that closes in a second field",
        "9112 9.6",
        sized(0, b"", fields=b"Connection: x-a\r\nConnection: close\r\n"),
        keeps_alive=False,
    ),
    Case("a response to HEAD with a length", "9110 9.3.2", sized(99, b""), is_head_request=True),
    Case("a response to HEAD with chunks announced", "9112 6.1", CHUNKED, is_head_request=True),
    Case(
        "a response to HEAD with a body",
        "9112 6.3",
        sized(2, b"hi"),
        is_head_request=True,
        keeps_alive=False,
        has_trailing_data=True,
    ),
    Case(
        "a response to HEAD with a chunked body",
        "9112 6.3",
        CHUNKED + b"0\r\n\r\n",
        is_head_request=True,
        keeps_alive=False,
        has_trailing_data=True,
    ),
    Case("204", "9110 15.3.5", b"HTTP/1.1 204 No Content\r\n\r\n", status=204),
    Case(
        "204 with a body",
        "9112 6.3",
        sized(2, b"hi", line=b"HTTP/1.1 204 X"),
        status=204,
        keeps_alive=False,
        has_trailing_data=True,
    ),
    Case(
        "204 with a chunked body",
        "9112 6.1",
        CHUNKED.replace(b"200", b"204") + b"2\r\nhi\r\n0\r\n\r\n",
        status=204,
        keeps_alive=False,
        has_trailing_data=True,
    ),
    Case(
        "304 with the length of what did not change", "9110 15.4.5", sized(99, b"", line=b"HTTP/1.1 304 X"), status=304
    ),
    Case(
        "304 with a body",
        "9112 6.3",
        sized(2, b"hi", line=b"HTTP/1.1 304 X"),
        status=304,
        keeps_alive=False,
        has_trailing_data=True,
    ),
    Case(
        "205 is counted like any other", "9110 15.3.6", sized(2, b"hi", line=b"HTTP/1.1 205 X"), status=205, body=b"hi"
    ),
    Case(
        "HTTP/1.1 that closes in a first field",
        "9112 9.6",
        sized(0, b"", fields=b"Connection: close\r\nConnection: x-a\r\n"),
        keeps_alive=False,
    ),
    Case("100 before the response", "9110 15.2.1", b"HTTP/1.1 100 Continue\r\n\r\n" + sized(2, b"hi"), body=b"hi"),
    Case("the maximum number of interim responses", "9110 15.2", INTERIM * MAX_INTERIM + sized(2, b"hi"), body=b"hi"),
    Case(
        "an interim response with a length has no body",
        "9112 6.3",
        sized(5, b"", line=b"HTTP/1.1 100 C") + sized(2, b"hi"),
        body=b"hi",
    ),
    Case("an unregistered status", "9110 15", sized(0, b"", line=b"HTTP/1.1 599 X"), status=599),
    Case("no reason phrase", "9112 4", sized(0, b"", line=b"HTTP/1.1 200 ")),
    Case("no reason phrase and no space before it", "9112 4", sized(0, b"", line=b"HTTP/1.1 200")),
    Case("a reason phrase in Latin-1", "9112 4", sized(0, b"", line=b"HTTP/1.1 200 \xc9t\xe9")),
    Case("a field in Latin-1", "9110 5.5", with_field(b"A: caf\xe9")),
    Case(
        "an Upgrade that is only offered",
        "9110 7.8",
        sized(2, b"hi", fields=b"Upgrade: h2c\r\nConnection: upgrade\r\n"),
        body=b"hi",
    ),
    Case(
        "a head of exactly the limit", "6585 5", b"HTTP/1.1 204 X\r\nA: %b\r\n\r\n" % (b"a" * (LIMIT - 23)), status=204
    ),
]

BAD: list[Bad] = [
    Bad("nothing", "9112 8", b"", "before a response"),
    Bad("half a status line", "9112 8", b"HTTP/1.1 2", "cut off"),
    Bad("half a head", "9112 8", b"HTTP/1.1 200 OK\r\nA: b\r\n", "cut off"),
    Bad("only interim responses", "9110 15.2", INTERIM, "cut off"),
    Bad("a counted body cut short", "9112 8", sized(5, b"hell"), "too soon"),
    Bad("a chunked body cut within a chunk", "9112 8", CHUNKED + b"5\r\nhel", "too soon"),
    Bad("a chunked body without its last chunk", "9112 8", CHUNKED + b"5\r\nhello\r\n", "too soon"),
    Bad("a chunked body without its last line", "9112 7.1", CHUNKED + b"5\r\nhello\r\n0\r\n", "too soon"),
    Bad("two lengths that differ", "9112 6.3", sized(5, b"hello", fields=b"Content-Length: 6\r\n"), "Content-Length"),
    Bad("two lengths that agree", "9112 6.3", sized(5, b"hello", fields=b"Content-Length: 5\r\n"), "Content-Length"),
    Bad("a list of lengths", "9112 6.3", with_field(b"Content-Length: 5, 5"), "Content-Length"),
    Bad("a length with a sign", "9110 8.6", with_field(b"Content-Length: +5"), "Content-Length"),
    Bad("a length in hexadecimal", "9110 8.6", with_field(b"Content-Length: 0x5"), "Content-Length"),
    Bad("an empty length", "9110 8.6", with_field(b"Content-Length:"), "Content-Length"),
    Bad("a length beyond 64 bits", "9110 8.6", with_field(b"Content-Length: 18446744073709551616"), "Content-Length"),
    Bad(
        "a length, then chunks", "9112 6.3", sized(5, b"", fields=b"Transfer-Encoding: chunked\r\n"), "transfer coding"
    ),
    Bad(
        "chunks, then a length",
        "9112 6.3",
        CHUNKED.replace(b"OK\r\n", b"OK\r\nContent-Length: 5\r\n"),
        "transfer coding",
    ),
    Bad(
        "gzip before chunked",
        "9112 6.1",
        CHUNKED.replace(b"chunked", b"gzip, chunked") + b"0\r\n\r\n",
        "transfer coding",
    ),
    Bad(
        "chunked is not the last",
        "9112 6.3",
        CHUNKED.replace(b"chunked", b"chunked, gzip") + b"0\r\n\r\n",
        "transfer coding",
    ),
    Bad(
        "chunked twice",
        "9112 6.1",
        CHUNKED.replace(b"chunked", b"chunked\r\nTransfer-Encoding: chunked") + b"0\r\n\r\n",
        "transfer coding",
    ),
    Bad("identity", "9112 7", CHUNKED.replace(b"chunked", b"identity") + b"x", "transfer coding"),
    Bad("chunked misspelled", "9112 7", CHUNKED.replace(b"chunked", b"xchunked") + b"x", "transfer coding"),
    Bad("chunked in quotes", "9112 7", CHUNKED.replace(b"chunked", b'"chunked"') + b"x", "transfer coding"),
    Bad(
        "an unknown coding to HEAD",
        "9112 6.1",
        CHUNKED.replace(b"chunked", b"gzip"),
        "transfer coding",
        is_head_request=True,
    ),
    Bad("an empty coding", "9112 6.1", CHUNKED.replace(b"chunked", b""), "transfer coding"),
    Bad("chunks in HTTP/1.0", "9112 6.1", CHUNKED.replace(b"1.1", b"1.0") + b"0\r\n\r\n", "transfer coding"),
    Bad("a chunk size of letters", "9112 7.1", CHUNKED + b"zz\r\nhello\r\n0\r\n\r\n", "a chunk's size"),
    Bad("a chunk size with a prefix", "9112 7.1", CHUNKED + b"0x5\r\nhello\r\n0\r\n\r\n", "a chunk's size"),
    Bad("a negative chunk size", "9112 7.1", CHUNKED + b"-5\r\nhello\r\n0\r\n\r\n", "a chunk's size"),
    Bad("no chunk size", "9112 7.1", CHUNKED + b"\r\nhello\r\n0\r\n\r\n", "a chunk's size"),
    Bad("a space after a chunk size", "9112 7.1.1", CHUNKED + b"5 \r\nhello\r\n0\r\n\r\n", "a chunk's size"),
    Bad("a chunk size beyond 64 bits", "9112 7.1", CHUNKED + b"FFFFFFFFFFFFFFFFF\r\n", "a chunk's size"),
    Bad("a bare LF after a chunk size", "9112 7.1", CHUNKED + b"5\nhello\r\n0\r\n\r\n", "a chunk's size"),
    Bad("a bare LF after a chunk", "9112 7.1", CHUNKED + b"5\r\nhello\n0\r\n\r\n", "longer than its size"),
    Bad("a chunk longer than its size", "9112 7.1", CHUNKED + b"5\r\nhelloX\r\n0\r\n\r\n", "longer than its size"),
    Bad(
        "a line feed in a chunk extension", "9112 7.1.1", CHUNKED + b'5;a="\n"\r\nhello\r\n0\r\n\r\n', "a chunk's size"
    ),
    Bad("a broken trailer", "9112 7.1.2", CHUNKED + b"0\r\nX y\r\n\r\n", "trailer"),
    Bad("an unexpected 101", "9110 7.8", b"HTTP/1.1 101 S\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nraw", "101"),
    Bad("an unexpected 101 without an Upgrade", "9110 15.2.2", b"HTTP/1.1 101 S\r\n\r\n", "101"),
    Bad("a flood of interim responses", "9110 15.2", INTERIM * (MAX_INTERIM + 1) + sized(0, b""), "too many interim"),
    Bad(
        "a body after an interim response",
        "9112 6.3",
        b"HTTP/1.1 100 C\r\n\r\nhello" + sized(0, b""),
        "status line|HTTP/1.1",
    ),
    Bad("bare LF in the head", "9112 2.2", b"HTTP/1.1 200 OK\nA: b\n\n", "CRLF"),
    Bad("bare LF after a field", "9112 2.2", b"HTTP/1.1 200 OK\r\nA: b\n\r\n", "CRLF"),
    Bad("bare LF ends the head", "9112 2.2", b"HTTP/1.1 200 OK\r\nA: b\r\n\nbody", "CRLF"),
    Bad("bare CR in a field", "9112 2.2", with_field(b"A: b\rX: y"), "CRLF"),
    Bad("bare CR in the status line", "9112 2.2", b"HTTP/1.1 200 OK\rA: b\r\n\r\n", "CRLF"),
    Bad("a folded field", "9112 5.2", with_field(b"A: b\r\n c"), "no colon"),
    Bad("a folded empty field", "9112 5.2", with_field(b"A:\r\n c"), "no colon"),
    Bad("a space before the colon", "9112 5.1", with_field(b"Content-Length : 5"), "field's name"),
    Bad("a field without a name", "9112 5", with_field(b": b"), "field's name"),
    Bad("a field without a colon", "9112 5", with_field(b"A b"), "no colon"),
    Bad("a name outside ASCII", "9110 5.1", with_field(b"A\xe9: b"), "field's name"),
    Bad("NUL in a field", "9110 5.5", with_field(b"A: b\x00c"), "control byte"),
    Bad("a control byte in a field", "9110 5.5", with_field(b"A: b\x01c"), "control byte"),
    Bad("NUL in the reason phrase", "9112 4", sized(0, b"", line=b"HTTP/1.1 200 O\x00K"), "control byte"),
    Bad("an escape in the reason phrase", "9112 4", sized(0, b"", line=b"HTTP/1.1 200 \x1b[1m"), "control byte"),
    Bad("HTTP/2.0", "9112 2.3", b"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n", "status line|HTTP/1.1"),
    Bad("HTTP/0.9 by name", "9112 2.3", b"HTTP/0.9 200 OK\r\n\r\n", "status line|HTTP/1.1"),
    Bad("HTTP/1.2", "9112 2.3", b"HTTP/1.2 200 OK\r\n\r\n", "status line|HTTP/1.1"),
    Bad("HTTP/0.9 by nature", "9112 2.3", b"<html>hi</html>", "HTTP/1.1"),
    Bad("another protocol", "9112 2.3", b"RTSP/1.0 200 OK\r\n\r\n", "status line|HTTP/1.1"),
    Bad(
        "another protocol as an interim response's successor",
        "9112 2.3",
        INTERIM + b"ICE/1.0 200 OK\r\n\r\n",
        "status line|HTTP/1.1",
    ),
    Bad("the protocol in lower case", "9112 2.3", b"http/1.1 200 OK\r\n\r\n", "status line|HTTP/1.1"),
    Bad("an empty line first", "9112 2.2", b"\r\n" + sized(0, b""), "status line|HTTP/1.1"),
    Bad("TLS on a plain port", "9112 2.3", b"\x15\x03\x01\x00\x02\x02\x46", "HTTP/1.1"),
    Bad("a status beyond 599", "9110 15", sized(0, b"", line=b"HTTP/1.1 600 X"), "status"),
    Bad("a status of letters", "9112 4", sized(0, b"", line=b"HTTP/1.1 2OO OK"), "status"),
    Bad("a tab before the reason", "9112 4", sized(0, b"", line=b"HTTP/1.1 200\tOK"), "status"),
    Bad("a chunk size of sixteen digits", "9112 7.1", CHUNKED + b"0000000000000005\r\n", "a chunk's size"),
    Bad("a control byte in a chunk extension", "9112 7.1.1", CHUNKED + b"5;\0\r\nhello\r\n", "a chunk's size"),
    Bad("NUL in a trailer", "9110 5.5", CHUNKED + b"0\r\nX: \0\r\n\r\n", "trailer"),
    Bad("a bare LF in a trailer", "9112 2.2", CHUNKED + b"0\r\nX: y\n\r\n", "trailer"),
    Bad("NUL in an interim response", "9110 5.5", b"HTTP/1.1 103 E\r\nA: \0\r\n\r\n" + sized(0, b""), "control byte"),
    Bad("a field without a colon in an interim response", "9112 5", b"HTTP/1.1 103 E\r\nA\r\n\r\n", "no colon"),
    Bad("a status of two digits", "9112 4", sized(0, b"", line=b"HTTP/1.1 20 OK"), "status"),
    Bad("a status of four digits", "9112 4", sized(0, b"", line=b"HTTP/1.1 2000 OK"), "status"),
    Bad("a status below 100", "9110 15", sized(0, b"", line=b"HTTP/1.1 099 OK"), "status"),
    Bad("two blanks before the status", "9112 4", sized(0, b"", line=b"HTTP/1.1  200 OK"), "status"),
    Bad("a head that never ends", "6585 5", b"HTTP/1.1 200 OK\r\nA: " + b"a" * LIMIT, "too large"),
    Bad("a flood of fields", "6585 5", b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * LIMIT + b"\r\n", "too large"),
    Bad(
        "interim heads count too",
        "6585 5",
        INTERIM + b"HTTP/1.1 204 X\r\nA: %b\r\n\r\n" % (b"a" * (LIMIT - 23)),
        "too large",
    ),
]


ALL: list[Case | Bad] = [*GOOD, *BAD]


@dataclass(frozen=True)
class Seen:
    """All that a reader shows after the last byte and the end of the connection."""

    head: object
    body: bytes
    complete: bool
    has_trailing_data: bool
    keeps_alive: bool
    error: str | None


def started_parser(*, is_head_request: bool = False) -> ResponseParser:
    """A reader that waits for a response, and has read another one before."""
    reader = ResponseParser(RESPONSE_RULES, head_limit=LIMIT)
    reader.feed(USED)
    assert (reader.has_trailing_data, len(reader.body)) == (True, 1)
    reader.start_response(is_head_request=is_head_request)
    return reader


def read(raw: bytes, cuts: list[int], *, is_head_request: bool = False) -> Seen:
    reader = started_parser(is_head_request=is_head_request)
    error = None
    borders = [0, *sorted(cuts), len(raw)]
    try:
        for start, stop in pairwise(borders):
            if start < stop:
                reader.feed(raw[start:stop])
        reader.end()
    except MalformedMessage as broken:
        error = str(broken)
    return Seen(
        reader.head, b"".join(reader.body), reader.is_complete, reader.has_trailing_data, reader.can_keep_alive, error
    )


def test_the_table_is_as_long_as_promised() -> None:
    assert len(GOOD) + len(BAD) > 100
    assert len({case.name for case in ALL}) == len(GOOD) + len(BAD)


@pytest.mark.parametrize("case", GOOD, ids=lambda case: f"RFC {case.section}: {case.name}")
@pytest.mark.parametrize("bytewise", [False, True], ids=["whole", "bytewise"])
def test_a_reply_is_read(case: Case, *, bytewise: bool) -> None:
    reader = started_parser(is_head_request=case.is_head_request)
    for piece in [case.raw[at : at + 1] for at in range(len(case.raw))] if bytewise else [case.raw]:
        reader.feed(piece)
    reader.end()
    assert reader.head is not None
    assert reader.head.status == case.status
    assert b"".join(reader.body) == case.body
    assert reader.is_complete
    assert (reader.has_trailing_data, reader.can_keep_alive) == (case.has_trailing_data, case.keeps_alive)


@pytest.mark.parametrize("case", BAD, ids=lambda case: f"RFC {case.section}: {case.name}")
@pytest.mark.parametrize("bytewise", [False, True], ids=["whole", "bytewise"])
def test_a_broken_reply_is_an_error(case: Bad, *, bytewise: bool) -> None:
    seen = read(case.raw, list(range(len(case.raw))) if bytewise else [], is_head_request=case.is_head_request)
    assert re.search(case.reason, seen.error or "")
    assert not seen.keeps_alive


def check_same(parted: Seen, whole: Seen) -> None:
    """The same is passed on, and the same verdict falls; of a response that breaks, more may have been seen before."""
    assert (parted.error is None) == (whole.error is None)
    assert (parted.complete, parted.has_trailing_data, parted.keeps_alive) == (
        whole.complete,
        whole.has_trailing_data,
        whole.keeps_alive,
    )
    if whole.error is None:
        assert (parted.head, parted.body) == (whole.head, whole.body)
    else:
        assert parted.body.startswith(whole.body) or whole.body.startswith(parted.body)


@pytest.mark.parametrize("case", [case for case in ALL if len(case.raw) < LIMIT // 2], ids=lambda case: case.name)
def test_the_same_comes_of_every_cut_and_of_every_lone_byte(case: Case | Bad) -> None:
    whole = read(case.raw, [], is_head_request=case.is_head_request)
    for at in range(len(case.raw)):
        check_same(read(case.raw, [at], is_head_request=case.is_head_request), whole)
        check_same(read(case.raw, [at, at + 1], is_head_request=case.is_head_request), whole)


@given(st.data())
def test_the_same_comes_of_any_split(data: st.DataObject) -> None:
    case = data.draw(st.sampled_from(ALL))
    cuts = data.draw(st.lists(st.integers(0, len(case.raw)), max_size=12))
    check_same(
        read(case.raw, cuts, is_head_request=case.is_head_request),
        read(case.raw, [], is_head_request=case.is_head_request),
    )


@given(data=st.data(), is_head_request=st.booleans())
def test_the_same_comes_of_any_split_of_a_damaged_reply(data: st.DataObject, *, is_head_request: bool) -> None:
    raw = bytearray(data.draw(st.sampled_from([case.raw for case in ALL if case.raw])))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(raw) - 1))
        raw[at : at + data.draw(st.integers(0, 1))] = data.draw(
            st.sampled_from([b"\r", b"\n", b"\x00", b"0", b" ", b":", b"\r\n", b"5", b""])
        )
        raw = raw or bytearray(b"x")
    cuts = data.draw(st.lists(st.integers(0, len(raw)), max_size=12))
    check_same(
        read(bytes(raw), cuts, is_head_request=is_head_request), read(bytes(raw), [], is_head_request=is_head_request)
    )


@given(st.lists(st.binary(min_size=1), max_size=5), st.lists(st.integers(0, 400), max_size=12))
def test_chunks_give_the_body_back(pieces: list[bytes], cuts: list[int]) -> None:
    raw = CHUNKED + b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
    seen = read(raw, [min(cut, len(raw)) for cut in cuts])
    assert (seen.body, seen.error, seen.keeps_alive) == (b"".join(pieces), None, True)


def test_fields_are_sorted_and_keep_their_order_and_spelling() -> None:
    lines = [b"X-b:  1 ", b"x-A:", b"X-B: \t2\t", b"DATE: now", b"Location: /", b"Content-Length: 0", b"Keep-Alive: 5"]
    reader = started_parser()
    reader.feed(b"\r\n".join([b"HTTP/1.1 200 Fine  indeed", *lines, b"", b""]))
    assert reader.head is not None
    assert reader.head.forwarded_lines == lines[:4]
    assert reader.head.known_fields == {b"date": b"now"}
    assert reader.head.deferred == ((b"location", b"Location: /"),)
    assert reader.head.status_line == b"HTTP/1.1 200 Fine  indeed"


def test_an_interim_head_leaves_nothing_behind() -> None:
    reader = started_parser()
    reader.feed(INTERIM + sized(0, b"", line=b"HTTP/1.1 201 Made"))
    assert reader.head is not None
    assert reader.head.status_line == b"HTTP/1.1 201 Made"
    assert (reader.head.forwarded_lines, reader.head.known_fields, reader.head.deferred) == ([], {}, ())


def test_trailers_never_reach_the_fields() -> None:
    reader = started_parser()
    reader.feed(CHUNKED + b"0\r\nX-Late: 1\r\nSet-Cookie: a=b\r\nDate: late\r\n\r\n")
    assert reader.head is not None
    assert (reader.head.forwarded_lines, reader.head.known_fields, reader.head.deferred) == ([], {}, ())


def test_the_bytes_of_heads_are_counted_and_none_behind_them() -> None:
    for cuts in ([], list(range(100))):
        reader = started_parser()
        raw = INTERIM + CHUNKED + b"0\r\n\r\n"
        for start, stop in pairwise([0, *[cut for cut in cuts if cut < len(raw)], len(raw)]):
            if start < stop:
                reader.feed(raw[start:stop])
        assert reader.head_size == len(INTERIM + CHUNKED)


@pytest.mark.parametrize(
    "raw",
    [
        b"<", b"HTTP/2", b"HTTP/1.2", b"HTTP/1.1\r", b"HTTP/1.1\t", b"\r\n", b"http/1.1", b"HTTP/1.1 200 OK\n",
        b"HTTP/1.1 200 OK\r\nA: b\n", b"HTTP/1.1 200 OK\r\nA: b\rc", b"HTTP/1.1 200 OK\r\nA: \0", INTERIM + b"<",
        INTERIM + b"HTTP/1.1 200 OK\n", b"HTTP/1.1 200 OK\r\n\n",
    ],
)  # fmt: skip
def test_a_partial_head_that_cannot_become_valid_is_rejected(raw: bytes) -> None:
    def feed(reader: ResponseParser, size: int) -> None:
        for at in range(0, len(raw), size):
            reader.feed(raw[at : at + size])

    for size in (len(raw), 1):
        with pytest.raises(MalformedMessage):
            feed(started_parser(), size)


@pytest.mark.parametrize("endless", [b"2;" + b"a" * LIMIT, b"0\r\nX: " + b"a" * LIMIT, b"0\r\n" + b"A: b\r\n" * LIMIT])
def test_bytes_between_chunks_have_a_limit(endless: bytes) -> None:
    reader = started_parser()
    reader.feed(CHUNKED)
    reader.feed(endless[: LIMIT // 2])
    reader.feed(endless[LIMIT // 2 : LIMIT])
    with pytest.raises(MalformedMessage, match="trailers are too large"):
        reader.feed(endless[LIMIT:])


def test_many_small_chunks_have_no_limit() -> None:
    reader = started_parser()
    reader.feed(CHUNKED)
    for _ in range(LIMIT):
        reader.feed(b"1\r\nx\r\n")
    reader.feed(b"0\r\n\r\n")
    assert reader.can_keep_alive
    assert b"".join(reader.body) == b"x" * LIMIT


def test_a_counted_body_is_passed_on_uncopied() -> None:
    reader = started_parser()
    reader.feed(sized(4, b""))
    piece = b"four"
    reader.feed(piece)
    assert reader.body[0] is piece


def test_bytes_after_completion_are_reported_and_not_read() -> None:
    reader = started_parser()
    reader.feed(sized(0, b""))
    assert reader.can_keep_alive
    reader.feed(sized(4, b"evil"))
    assert (reader.has_trailing_data, reader.can_keep_alive, reader.body) == (True, False, [])
