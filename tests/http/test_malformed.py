"""Explanations of malformed heads: they name the byte and its position, and never quote a value."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import BadRequest
from gateway.http.malformed import explain_malformed_head
from gateway.http.request_head import RequestLimits, check_partial_head, parse_request_head
from gateway.proxy.headers import REQUEST_RULES
from tests.fakes.gate import scene

LIMITS = RequestLimits(uri=8192, field=16_384, fields=128, head=131_072, connections=1)
GOOD = b"GET / HTTP/1.1\r\n"

EXPLAINED = [
    (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "plain HTTP: use http://"),
    (b"\x16", "plain HTTP: use http://"),
    (b"\x80\x2e\x01\x03\x01\x00\x15", "plain HTTP: use http://"),
    (b"PRI * HTTP/2.0", "the caller sent HTTP/2"),
    (b"PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\nGET / HTTP/1.1", "PROXY protocol"),
    (b"\x00\r\nQUIT\n\x21\x11\x00\x0c", "PROXY protocol"),
    (b"GET /orders/1", "the request line has no version, as HTTP/0.9"),
    (b"GET", "the request line has a method and nothing else"),
    (b"GET / HTTP/3.0", "the request line has the version HTTP/3.0"),
    (b"GET / http/1.1", "the request line has the version http/1.1"),
    (b"GET / HTTPS/1.1", "the request line does not end with the version HTTP/1.1"),
    (b"GET HTTP/1.1", "the request line has no target"),
    (b"GET /a b HTTP/1.1", "the request line has a space in its target, at column 7: percent-encode it as %20"),
    (b"GET  / HTTP/1.1", "the request line has more than one space after the method"),
    (b"GET /  HTTP/1.1", "the request line has more than one space before the version"),
    (b"GET / HTTP/1.1 ", "the request line ends with a space"),
    (b" GET / HTTP/1.1", "the request line begins with a space"),
    (b"GET\t/ HTTP/1.1", "the request line has a tab at column 4"),
    ("GET /Müller HTTP/1.1".encode(), "the request line has a character that is not ASCII (byte 0xC3) at column 7"),
    (b"GET /\0 HTTP/1.1", "the request line has NUL at column 6"),
    (b"GET /\x1b HTTP/1.1", "the request line has a control byte (0x1B) at column 6"),
    (b"G(T / HTTP/1.1", "the request line does not begin with a method"),
    (b"GET / HTTP/1.1\nHost: gw\n\n", "the request line has a bare LF at column 15: lines end with CRLF"),
    (b"GET / HTTP/1.1\rHost: gw", "the request line has a bare CR at column 15: lines end with CRLF"),
    (GOOD + b"Host: gw\nX: 1", "field line 1 (Host) has a bare LF at column 9: lines end with CRLF"),
    (GOOD + b"A: 1\r\nX: a\0b", "field line 2 (X) has NUL at column 5"),
    (GOOD + b"A: 1\r\nX-Key : 1", "field line 2 (X-Key) has white space between its name and the colon"),
    (GOOD + b" A: 1", "field line 1 begins with white space"),
    (GOOD + b"A: 1\r\n 2", "field line 2 begins with white space: it continues the line before"),
    (GOOD + b"A: 1\r\nc2VjcmV0", "field line 2 has no colon: it may be the rest of the value before it"),
    (GOOD + b": 1", "field line 1 has no name before its colon"),
    (GOOD + "Größe: 1".encode(), "field line 1 has a character (0xC3) in its name, at column 3"),
    (GOOD + b"X Y: 1", "field line 1 has a space in its name, at column 2"),
    (GOOD + b"X\t: 1", "field line 1 (X) has white space between its name and the colon"),
    (GOOD + b"X: 1\r", "a line ends with a bare CR"),
    (GOOD + b"X: 1\r\r\nY: 2", "field line 1 (X) has a bare CR at column 5"),
]  # fmt: skip


@pytest.mark.parametrize(("head", "text"), EXPLAINED)
def test_the_first_fault_is_named_with_its_place(head: bytes, text: str) -> None:
    assert explain_malformed_head(head).startswith(text) or text in explain_malformed_head(head)
    with pytest.raises(BadRequest) as caught:
        parse_request_head(head, LIMITS, REQUEST_RULES)
    assert text in caught.value.detail
    assert text in caught.value.reason


SECRET = "c3VwZXJzZWNyZXQ="
SECRETS = [
    f"GET /?key={SECRET} 2 HTTP/1.1\r\nHost: gw",
    f"GET /{SECRET}\xfc HTTP/1.1",
    f"{SECRET}",
    f"{SECRET} {SECRET}",
    f"GET / HTTP/1.1\r\nAuthorization: Basic {SECRET}\n\r\nA: 1",
    f"GET / HTTP/1.1\r\nAuthorization: Basic AAAA\r\n{SECRET}",
    f"GET / HTTP/1.1\r\nAuthorization: Basic AAAA\r\n {SECRET}",
    f"GET / HTTP/1.1\r\nAuthorization Basic {SECRET}",
    f"GET / HTTP/1.1\r\nAuthorization Basic {SECRET}: x",
    f"GET / HTTP/1.1\r\nCookie: {SECRET}\0",
]


@pytest.mark.parametrize("head", SECRETS)
def test_values_and_targets_are_never_quoted(head: str) -> None:
    text = explain_malformed_head(head.encode("latin-1"))
    assert SECRET.rstrip("=") not in text


@given(st.binary(max_size=80), st.sampled_from([b"", GOOD, GOOD + b"Host: gw\r\n", b"GET /"]))
def test_every_rejected_head_has_an_explanation(data: bytes, first: bytes) -> None:
    for read in (
        lambda: parse_request_head(first + data, LIMITS, REQUEST_RULES),
        lambda: check_partial_head(first + data, 0, LIMITS),
    ):
        try:
            read()
        except BadRequest as error:
            assert error.reason  # noqa: PT017 - not every head is rejected


async def test_the_response_contains_the_explanation() -> None:
    async with scene() as (gate, _, _):
        status, _, body = await gate.call(b"GET /orders/a b HTTP/1.1\r\nHost: gw\r\n\r\n")
        assert status == 400
        assert b"a space in its target, at column 14" in body
        status, _, body = await gate.call(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200))
        assert status == 400
        assert b"this port expects plain HTTP" in body
        status, _, body = await gate.call(
            b"POST /orders/1 HTTP/1.1\r\nHost: gw\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"
        )
        assert status == 400
        assert b"a chunk's size is malformed" in body
