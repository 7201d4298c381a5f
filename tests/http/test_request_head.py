"""A caller's head, read strictly: what is served, what is rejected with its method and path, and what is malformed."""

from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import BadRequest, ExpectationFailed, GatewayError, HeadersTooLarge, UriTooLong
from gateway.http.fields import FieldAction, FieldRules
from gateway.http.request_head import (
    METHOD_AND_VERSION_SIZE,
    RequestHead,
    RequestLimits,
    check_partial_head,
    parse_request_head,
)
from gateway.proxy.headers import REQUEST_RULES

LIMITS = RequestLimits(uri=60, field=80, fields=5, head=400, connections=1)
LINE = b"GET /x HTTP/1.1"
RESCANNED = 3  # bytes of the scanned head that are scanned again, as in `HeadReader`


def read(*lines: str, first: str = "GET /x HTTP/1.1", limits: RequestLimits = LIMITS) -> RequestHead:
    return parse_request_head("\r\n".join([first, *lines]).encode("latin-1"), limits, REQUEST_RULES)


def error_code(act: Callable[[], object]) -> str | None:
    try:
        act()
    except GatewayError as error:
        return error.code
    return None


# The request line -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "method", "target", "is_http11"),
    [
        ("GET / HTTP/1.1", "GET", "/", True),
        ("DELETE /a/b?c=%2F&d=[] HTTP/1.0", "DELETE", "/a/b?c=%2F&d=[]", False),
        ("OPTIONS * HTTP/1.1", "OPTIONS", "*", True),
        ("GET http://a:80/b HTTP/1.1", "GET", "http://a:80/b", True),
        ("CONNECT a:443 HTTP/1.1", "CONNECT", "a:443", True),
        ("M-SEARCH x HTTP/1.1", "M-SEARCH", "x", True),
        ("get /!~ HTTP/1.1", "get", "/!~", True),
        ("!#$%&'*+-.^_`|~9 / HTTP/1.1", "!#$%&'*+-.^_`|~9", "/", True),
    ],
)
def test_a_request_line_is_read_unchanged(line: str, method: str, target: str, *, is_http11: bool) -> None:
    head = read(first=line)
    assert (head.method, head.target, head.is_http11) == (method, target, is_http11)
    assert (head.lines, head.known_fields, head.length, head.chunked, head.error) == ([], {}, None, False, None)


@pytest.mark.parametrize(
    "line",
    [
        "", "GET", "GET /", "GET / ", "GET  HTTP/1.1", " GET / HTTP/1.1", "GET / HTTP/1.1 ", "GET  / HTTP/1.1",
        "GET /  HTTP/1.1", "GET\t/ HTTP/1.1", "GET / 2 HTTP/1.1", "GET /\xe9 HTTP/1.1", "GET /\0 HTTP/1.1",
        "GET /\x7f HTTP/1.1", "GET /\t HTTP/1.1", "G(T / HTTP/1.1", "G\xe9T / HTTP/1.1", "GET / HTTP/1.2",
        "GET / HTTP/2.0", "GET / HTTP/2", "GET / HTTP/0.9", "GET / http/1.1", "GET / HTTP/1.10", "GET / HTTP/01.1",
        "GET / HTTP/1,1", "GET / HTTPS/1.1", "GET / RTSP/1.0", "PRI * HTTP/2.0", "GET / HTTP/1.", "GET / HTTP/1.\xb9",
        "HTTP/1.1 200 OK", "\x16\x03\x01", "GET / HTTP/1.1\rX", "GET / HTTP/1.1\nHost: x", ": / HTTP/1.1",
    ],
)  # fmt: skip
def test_a_malformed_request_line_is_rejected(line: str) -> None:
    with pytest.raises(BadRequest) as caught:
        read(first=line)
    assert caught.value.reason


# Fields ---------------------------------------------------------------------------------------------------------------


def test_fields_are_sorted_by_the_rules() -> None:
    rules = FieldRules({b"a": FieldAction.CONSUME, b"b": FieldAction.DROP, b"c": FieldAction.INSPECT})
    head = parse_request_head(LINE + b"\r\nA: 1\r\nb: 2\r\nC:3\r\nD:  4\r\na: 5", LIMITS, rules)
    assert (head.lines, head.known_fields) == ([b"C:3", b"D:  4"], {b"a": b"1, 5", b"c": b"3"})


@pytest.mark.parametrize(
    "line",
    [
        "X", "X : 1", " X: 1", "\tX: 1", ": 1", "X: a\0b", "X: a\rb", "X: a\nb", "X\xe9: 1", "X Y: 1", "X: 1\r",
        "\nX: 1", "X: \x1b[1m", "X: \x7f", "",
    ],
)  # fmt: skip
def test_an_ambiguous_field_is_rejected(line: str) -> None:
    with pytest.raises(BadRequest):
        read("A: 1", line, "B: 2")


def test_fields_named_by_connection_are_not_forwarded() -> None:
    head = read("Origin: http://a", "X-Mine: 1", "Connection: x-mine, ORIGIN, via", "Via: 1.0 fred")
    assert head.lines == []
    assert head.known_fields[b"origin"] == b"http://a"
    assert b"via" not in head.known_fields


def test_the_repr_of_a_head_shows_no_values() -> None:
    head = read("Authorization: Basic secret", "Cookie: s=secret", "X-Api-Key: secret", first="GET /secret HTTP/1.1")
    assert "secret" not in repr(head)
    assert "secret" not in f"{head}"


# Framing --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "length", "chunked", "has_body"),
    [
        ([], None, False, False),
        (["Content-Length: 0"], 0, False, False),
        (["Content-Length: 000"], 0, False, False),
        (["content-length:10"], 10, False, True),
        (["CONTENT-LENGTH: \t10 \t"], 10, False, True),
        (["Content-Length: " + "9" * 18], int("9" * 18), False, True),
        (["Transfer-Encoding: chunked"], None, True, True),
        (["transfer-encoding:CHUNKED "], None, True, True),
        (["Content_Length: 5", "Transfer_Encoding: chunked"], None, False, False),
    ],
)
def test_the_framing_determines_the_body(
    lines: list[str], *, length: int | None, chunked: bool, has_body: bool
) -> None:
    head = read(*lines)
    assert head.error is None
    assert (head.length, head.chunked, head.has_body) == (length, chunked, has_body)


@pytest.mark.parametrize(
    "lines",
    [
        [
            "Transfer-Encoding: gzip, chunked",
        ], ["Transfer-Encoding: chunked, chunked"], ["Transfer-Encoding: chunked", "Transfer-Encoding: chunked"],
        [
            "Transfer-Encoding: identity",
        ], ["Transfer-Encoding: xchunked"], ["Transfer-Encoding: chunked;q=1"], ["Transfer-Encoding:"],
        ["Transfer-Encoding:", "Transfer-Encoding: chunked"], ["Transfer-Encoding: ,chunked"],
        ['Transfer-Encoding: "chunked"'], ["Transfer-Encoding: chunked\xa0"],
        ["Transfer-Encoding: chunked", "Content-Length: 5"], ["Content-Length: 5", "transfer-encoding: chunked"],
        ["Transfer-Encoding: chunked", "Content-Length: 0"], ["Transfer-Encoding: chunked", "Content-Length:"],
        [
            "Content-Length: 5", "Content-Length: 5",
        ], ["Content-Length: 5, 5"], ["Content-Length: +5"], ["Content-Length: -5"], ["Content-Length: 0x5"],
        ["Content-Length: 5_0"], ["Content-Length:"], ["Content-Length: 1" + "0" * 60], ["Content-Length: \xb2"],
        ["Content-Length: 5 5"], ["Content-Length: 5\xa0"], ["Content-Length:", "Content-Length: 5"],
        [
            "Upgrade: websocket", "Connection: upgrade",
        ], ["Upgrade: h2c, websocket"], ["Upgrade: h2c", "Upgrade: WebSocket/13"],
    ],
)  # fmt: skip
def test_ambiguous_framing_and_websocket_are_errors(lines: list[str]) -> None:
    head = read(*lines, first="POST /whose HTTP/1.1")
    assert isinstance(head.error, BadRequest)
    assert (head.method, head.target) == ("POST", "/whose")
    assert (head.length, head.chunked, head.has_body) == (None, False, False)


@pytest.mark.parametrize("value", ["TLS/1.2", "h2c, TLS/1.2", "HTTP/2.0", "h2c", "", "websockets", "x-websocket/1"])
def test_any_other_upgrade_is_ignored(value: str) -> None:
    head = read("Connection: Upgrade, HTTP2-Settings", f"Upgrade: {value}", "HTTP2-Settings: AAMA", "A: 1")
    assert (head.error, head.lines, head.keeps_alive) == (None, [b"A: 1"], True)


def test_http_1_0_has_no_upgrade() -> None:
    assert read("Upgrade: websocket", "Connection: upgrade", first="GET / HTTP/1.0").error is None


def test_http_1_0_needs_a_length_for_methods_with_a_body() -> None:
    for method in ("POST", "PUT", "PATCH"):
        error = read(first=f"{method} / HTTP/1.0").error
        assert isinstance(error, BadRequest)
        assert "Content-Length" in error.detail
        assert read("Content-Length: 0", first=f"{method} / HTTP/1.0").error is None
        assert read(first=f"{method} / HTTP/1.1").error is None


def test_http_1_0_has_no_chunks() -> None:
    assert isinstance(read("Transfer-Encoding: chunked", first="POST / HTTP/1.0").error, BadRequest)
    assert read("Content-Length: 5", first="POST / HTTP/1.0").error is None


@pytest.mark.parametrize(
    ("value", "is_http11", "waits"),
    [("100-continue", True, True), ("100-Continue", True, True), (None, True, False), ("100-continue", False, False)],
)
def test_a_caller_may_wait_for_100_continue(value: str | None, *, is_http11: bool, waits: bool) -> None:
    lines = ["Content-Length: 1", *([f"Expect: {value}"] if value else [])]
    head = read(*lines, first=f"POST / HTTP/1.{is_http11:d}")
    assert head.error is None
    assert head.expects_continue is waits


@pytest.mark.parametrize("value", ["200-ok", "", "100-continue, x", "100-continuee"])
def test_any_other_expectation_fails(value: str) -> None:
    assert isinstance(read(f"Expect: {value}").error, ExpectationFailed)


@pytest.mark.parametrize(
    ("version", "connection", "keep_alive"),
    [
        ("1.1", [], True),
        ("1.1", ["close"], False),
        ("1.1", ["Close"], False),
        ("1.1", ["x, CLOSE"], False),
        ("1.1", ["x", "close"], False),
        ("1.1", ["keep-alive"], True),
        ("1.1", ["closed"], True),
        ("1.1", [""], True),
        ("1.0", [], False),
        ("1.0", ["Keep-Alive"], True),
        ("1.0", ["keep-alive, close"], False),
        ("1.0", ["x", "keep-alive"], True),
        ("1.0", ["x"], False),
    ],
)
def test_the_caller_decides_whether_the_connection_is_kept(
    version: str, connection: list[str], *, keep_alive: bool
) -> None:
    assert (
        read(*[f"Connection: {value}" for value in connection], first=f"GET / HTTP/{version}").keeps_alive is keep_alive
    )


# Limits ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "first", "error"),
    [
        ([], "GET /" + "x" * 59 + " HTTP/1.1", None),
        ([], "GET /" + "x" * 60 + " HTTP/1.1", UriTooLong),
        ([], "x" * 114 + " / HTTP/1.1", UriTooLong),
        (["X: " + "x" * 77], "GET / HTTP/1.1", None),
        (["X: " + "x" * 78], "GET / HTTP/1.1", HeadersTooLarge),
        (["x" * 80 + ":"], "GET / HTTP/1.1", HeadersTooLarge),
        (["X: 1"] * 5, "GET / HTTP/1.1", None),
        (["X: 1"] * 6, "GET / HTTP/1.1", HeadersTooLarge),
        (["Cookie: 1"] * 6, "GET / HTTP/1.1", HeadersTooLarge),
        (["X: " + "x" * 77] * 4, "GET /" + "x" * 40 + " HTTP/1.1", None),
        (["X: " + "x" * 77] * 4, "GET /" + "x" * 59 + " HTTP/1.1", HeadersTooLarge),
    ],
)
def test_each_limit_is_the_largest_accepted_value(
    lines: list[str], first: str, error: type[GatewayError] | None
) -> None:
    assert error_code(lambda: read(*lines, first=first)) == (error.code if error else None)


def test_a_too_long_target_is_reported_before_too_large_fields() -> None:
    with pytest.raises(UriTooLong):
        read("X: " + "x" * 78, first="GET /" + "x" * 60 + " HTTP/1.1")


# The beginning of a head ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "window",
    [
        b"", b"G", b"GET", b"GET /", b"GET / HTTP/1.1", b"GET / HTTP/1.1\r", b"GET / HTTP/1.1\r\n",
        b"GET / HTTP/1.1\r\nHost", b"GET / HTTP/1.1\r\nHost: a\r", b"GET / HTTP/1.1\r\nHost: a\r\n\r", b"\r",
        b"GET /" + b"x" * 59 + b" HTTP/1.1\r\nX:" + b"x" * 78,
    ],
)  # fmt: skip
def test_a_valid_partial_head_is_awaited(window: bytes) -> None:
    assert error_code(lambda: check_partial_head(window, 0, LIMITS)) is None


@pytest.mark.parametrize(
    ("window", "error"),
    [
        (b"\0", BadRequest),
        (b"GET / HTTP/1.1\n", BadRequest),
        (b"\nGET", BadRequest),
        (b"GET\r/", BadRequest),
        (b"GET / HTTP/1.1\r\r", BadRequest),
        (b"GET / HTTP/1.1\r\nA: \x1b", BadRequest),
        (b"GET /\r\n", BadRequest),
        (b"GET / HTTP/2.0\r\n", BadRequest),
        (b"\r\nGET", BadRequest),
        (b"x" * (60 + METHOD_AND_VERSION_SIZE + 1), UriTooLong),
        (b"GET /" + b"x" * 120 + b" HTTP/1.1\r\n", UriTooLong),
        (b"GET / HTTP/1.1\r\nA: " + b"x" * 400, HeadersTooLarge),
        (b"GET / HTTP/1.1\r\n" + b"A: 1\r\n" * 80, HeadersTooLarge),
    ],
)
def test_a_partial_head_that_cannot_become_valid_is_rejected(window: bytes, error: type[GatewayError]) -> None:
    assert error_code(lambda: check_partial_head(window, 0, LIMITS)) == error.code
    assert outcome(window, list(range(len(window)))) == error.code


def outcome(data: bytes, cuts: list[int]) -> str | RequestHead | None:
    """The result of bytes that arrive in pieces: a head, the code of an error, or None if the head is incomplete."""
    window, scanned = b"", 0
    try:
        for start, stop in pairwise([0, *sorted(cuts), len(data)]):
            window += data[start:stop]
            end = window.find(b"\r\n\r\n", scanned)
            if end >= 0:
                return parse_request_head(window[:end], LIMITS, REQUEST_RULES)
            check_partial_head(window, scanned, LIMITS)
            scanned = max(0, len(window) - RESCANNED)
    except GatewayError as error:
        return error.code
    return None


def verdict(data: bytes, cuts: list[int]) -> object:
    """The parts of a head, or `rejected`: of two faults, either may be reported first."""
    result = outcome(data, cuts)
    if isinstance(result, RequestHead):
        return (
            result.method,
            result.target,
            result.is_http11,
            result.lines,
            result.known_fields,
            result.length,
            result.chunked,
            str(result.error),
        )
    return None if result is None else "rejected"


PARTS = st.sampled_from(
    [
        b"GET / HTTP/1.1\r\n", b"POST /a HTTP/1.0\r\n", b"GET /" + b"x" * 59, b" HTTP/1.1\r\n", b"x" * 50, b"A: 1\r\n",
        b"Host: a\r\n", b"X: ", b"\r\n", b"\r\n\r\n", b"\r", b"\n", b"\0", b" ", b":", b"Content-Length: 5\r\n",
        b"Transfer-Encoding: chunked\r\n", b"Connection: close, x\r\n", b"X: " + b"x" * 77 + b"\r\n", b"\xe9",
    ]
)  # fmt: skip


@given(st.lists(PARTS, max_size=10).map(b"".join), st.data())
def test_any_split_has_the_same_result(data: bytes, draw: st.DataObject) -> None:
    cuts = draw.draw(st.lists(st.integers(0, len(data)), max_size=9))
    whole = verdict(data, [])
    split = verdict(data, cuts)
    if whole is None:  # a complete head may follow later
        assert split is None
    else:
        assert split == whole


@given(st.integers(100, 140), st.integers(300, 420), st.data())
def test_any_split_near_the_limits_has_the_same_result(line: int, size: int, draw: st.DataObject) -> None:
    first = b"G" * 20 + b" /" + b"x" * (line - 31) + b" HTTP/1.1"
    fields = [b"X: " + b"x" * 75] * 3
    rest = max(0, size - sum(map(len, [first, *fields])) - 8)
    data = b"\r\n".join([first, *fields, b"X:" + b"x" * rest, b"", b""])
    cuts = draw.draw(st.one_of(st.just(list(range(len(data)))), st.lists(st.integers(0, len(data)), max_size=9)))
    assert (verdict(data, cuts) == "rejected") == (verdict(data, []) == "rejected")
