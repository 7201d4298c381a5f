"""Heads of a known shape are read as every other head: the same fields, or the same error."""

import re
from collections.abc import Sequence
from itertools import pairwise

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import BadRequest, GatewayError
from gateway.http.fields import MalformedMessage
from gateway.http.head_reader import HeadReader
from gateway.http.head_shapes import LEARNING_INTERVAL, MAX_SHAPES, QUICKLY_LEARNED, HeadShape, HeadShapes, ShapeKey
from gateway.http.request_head import FRAMING, RequestHead, RequestLimits, parse_request_head, request_shapes
from gateway.http.response_parser import ResponseHead, ResponseParser, response_shapes
from gateway.proxy.headers import REQUEST_RULES, RESPONSE_RULES

LIMITS = RequestLimits(uri=400, field=300, fields=12, head=500, connections=1)
REQUEST_NAMES = (
    *("Host", "host", "Accept", "User-Agent", "X-A", "x_a", "Content-Length", "Content-Type", "Connection", "Via"),
    *("Authorization", "Expect", "Upgrade", "Transfer-Encoding", "X-Request-Id", "If-Match", "X-Forwarded-For"),
    *("Accept-Encoding", "Range"),
)
RESPONSE_NAMES = (
    *("Server", "Date", "ETag", "X-A", "Content-Length", "Content-Type", "Connection", "Transfer-Encoding"),
    *("Location", "Set-Cookie", "Accept-Ranges", "x-oracle-ics-instance-id", "Strict-Transport-Security", "Via"),
)
VALUES = st.sampled_from(
    (
        *(
            b"",
            b"5",
            b"05",
            b"-1",
            b"1" * 19,
            b"close",
            b"keep-alive",
            b"x-a",
            b"chunked",
            b"100-continue",
            b"websocket",
        ),
        *(b"a, b", b" two  blanks ", b"\ttab", b"\xe9", b"tail\t", b'"tag"', b"text/plain; charset=utf-8", b"x" * 290),
    )
)
BROKEN_PARTS = (b"\r", b"\n", b"\r\n", b"\r\n\r\n", b" ", b"\t", b":", b"\x00", b"\x7f", b"\x80", b"\r\n ", b"A: b\r\n")


def heads(first_lines: tuple[bytes, ...], names: tuple[str, ...]) -> st.SearchStrategy[list[bytes]]:
    """Several heads with the same names and different values, of which some are broken at one place."""

    @st.composite
    def make(draw: st.DrawFn) -> list[bytes]:
        first, chosen = draw(st.sampled_from(first_lines)), draw(st.lists(st.sampled_from(names), max_size=9))
        gaps = draw(st.sampled_from((b": ", b": ", b": ", b":")))
        found = []
        for _ in range(draw(st.integers(3, 6))):
            lines = [first, *(name.encode() + gaps + draw(VALUES) for name in chosen)]
            head = b"\r\n".join(lines)
            if draw(st.integers(0, 3)) == 0:
                place = draw(st.integers(0, len(head)))
                head = head[:place] + draw(st.sampled_from(BROKEN_PARTS)) + head[place + draw(st.integers(0, 2)) :]
            found.append(head)
        return found

    return make()


def read_request(head: bytes, shapes: HeadShapes[RequestHead] | None) -> object:
    try:
        read = parse_request_head(head, LIMITS, REQUEST_RULES, shapes)
    except GatewayError as error:
        return type(error), error.detail
    return msgspec.structs.replace(read, error=None), read.error and read.error.detail


def read_response(
    parser: ResponseParser, head: bytes, behind: bytes = b"", cuts: Sequence[int] = (), *, to_head: bool = False
) -> object:
    """What a parser that has read other responses makes of a head and the bytes behind it, cut there."""
    parser.start_response(is_head_request=to_head)
    data = head + b"\r\n\r\n" + behind
    borders = sorted({0, len(data), *(cut % len(data) for cut in cuts)})
    try:
        for start, stop in pairwise(borders):
            parser.feed(data[start:stop])
    except MalformedMessage as error:
        return str(error)
    state = parser.is_complete, parser.has_trailing_data, parser.can_keep_alive
    return parser.head, b"".join(parser.body), parser.head_size > 0 or parser.is_complete, state


@given(
    heads((b"GET /a?b=1 HTTP/1.1", b"POST /\xc3 HTTP/1.1", b"PUT /a HTTP/1.0", b"OPTIONS * HTTP/1.1"), REQUEST_NAMES)
)
def test_a_request_of_a_known_shape_is_read_as_any_other(found: list[bytes]) -> None:
    shapes = request_shapes(REQUEST_RULES)
    for head in found:
        expected = read_request(head, None)
        assert read_request(head, shapes) == expected == read_request(head, shapes)


def read_all(reader: HeadReader, data: bytes, cuts: Sequence[int]) -> list[object]:
    """All heads that a reader finds in these bytes, cut there, with what is pending behind each; or the error."""
    borders = sorted({0, len(data), *(cut % len(data) for cut in cuts)})
    results: list[object] = []
    try:
        for start, stop in pairwise(borders):
            reader.feed(data[start:stop])
            while reader.pending and (head := reader.take_head()) is not None:
                results.append((msgspec.structs.replace(head, error=None), head.error and head.error.detail))
    except GatewayError as error:
        results.append((type(error), error.detail, reader.rejected_head))
    return [*results, reader.pending, reader.head_started]


@given(
    heads((b"GET /a?b=1 HTTP/1.1", b"POST /\xc3 HTTP/1.1", b"POST /a HTTP/1.1", b"get /a HTTP/1.1"), REQUEST_NAMES),
    st.lists(st.integers(0, 2000), max_size=4),
    st.sampled_from([b"", b"\r\n", b"\n"]),
)
def test_heads_of_known_shapes_are_found_as_any_other(found: list[bytes], cuts: list[int], before: bytes) -> None:
    shapes = request_shapes(REQUEST_RULES)
    data = b"".join(before + head + b"\r\n\r\n" for head in found)
    for _ in range(3):
        expected = read_all(HeadReader(LIMITS, REQUEST_RULES), data, cuts)
        assert read_all(HeadReader(LIMITS, REQUEST_RULES, shapes), data, cuts) == expected


def test_a_method_in_lower_case_after_a_body_is_no_request() -> None:
    shapes = request_shapes(REQUEST_RULES)
    data = b"".join(method + b" /a HTTP/1.1\r\nHost: a\r\n\r\n" for method in (b"get", b"get", b"get", b"POST", b"get"))
    for size in (len(data), 7):
        cuts = range(0, len(data), size)
        expected = read_all(HeadReader(LIMITS, REQUEST_RULES), data, cuts)
        assert read_all(HeadReader(LIMITS, REQUEST_RULES, shapes), data, cuts) == expected
        assert expected[-3][0] is BadRequest  # type: ignore[index]


@given(heads((b"HTTP/1.1 200 OK", b"HTTP/1.1 204", b"HTTP/1.0 500 ", b"HTTP/1.1 100 Continue"), RESPONSE_NAMES))
def test_a_response_of_a_known_shape_is_read_as_any_other(found: list[bytes]) -> None:
    parser = ResponseParser(RESPONSE_RULES, head_limit=4096, shapes=response_shapes(RESPONSE_RULES))
    for head in found:
        expected = read_response(ResponseParser(RESPONSE_RULES, head_limit=4096), head)
        assert read_response(parser, head) == expected == read_response(parser, head)


CHUNKED = (
    *(b"5\r\nhello\r\n0\r\n\r\n", b"0\r\n\r\n", b"5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n", b"5\r\nhello\r\n"),
    *(b"5\r\nhello\r\n0\r\n\r\nX", b"5;a\r\nhello\r\n0\r\nX: 1\r\n\r\n", b"5\r\nhello\r\n00\r\n\r\n"),
)


@given(
    st.sampled_from((b"HTTP/1.1 200 OK", b"HTTP/1.1 204", b"HTTP/1.1 304 X", b"HTTP/1.0 500 ")),
    st.sampled_from((b"", b"Connection: close", b"Connection: keep-alive", b"Connection: date")),
    st.sampled_from((b"Content-Length: 5", b"Content-Length: 5", b"Transfer-Encoding: chunked", b"Server: s")),
    st.lists(
        st.sampled_from((b"Date: now", b"X-A: 1", b'ETag: "1"', b"Location: /", b"Content-Type: a/b")), max_size=4
    ),
    st.lists(
        st.tuples(
            st.sampled_from((b"hello", b"hello", b"hello", b"", b"hell", b"hello!", *CHUNKED)),
            st.lists(st.integers(0, 2000), max_size=3),
            st.sampled_from((False, False, False, True)),
        ),
        min_size=4,
        max_size=8,
    ),
)
def test_a_response_of_a_known_shape_is_the_same_in_any_split(
    first: bytes, connection: bytes, framing: bytes, fields: list[bytes], rest: list[tuple[bytes, list[int], bool]]
) -> None:
    head = b"\r\n".join([line for line in (first, connection, *fields, framing) if line])
    parser = ResponseParser(RESPONSE_RULES, head_limit=4096, shapes=response_shapes(RESPONSE_RULES))
    for _ in range(3):  # the shape is learned, and becomes the latest
        read_response(parser, head)
    for behind, cuts, to_head in rest:
        expected = read_response(ResponseParser(RESPONSE_RULES, head_limit=4096), head, behind, to_head=to_head)
        assert read_response(parser, head, behind, to_head=to_head) == expected
        split = read_response(parser, head, behind, cuts, to_head=to_head)
        assert split == expected or (isinstance(split, str) and isinstance(expected, str))


USUAL_REQUEST = "GET /{0}?id={0} HTTP/1.1\r\nHost: gw\r\nUser-Agent: a{0}\r\nX-Id: {0}\r\nAccept: */*"
USUAL_RESPONSE = (
    'HTTP/1.1 200 OK\r\nServer: s\r\nDate: {0}\r\nETag: "{0}"\r\nContent-Type: text/plain\r\nContent-Length: {0}'
)


def test_the_second_head_teaches_a_shape_that_keeps_no_values() -> None:
    requests, responses = request_shapes(REQUEST_RULES), response_shapes(RESPONSE_RULES)
    parser = ResponseParser(RESPONSE_RULES, head_limit=4096, shapes=responses)
    for number in (7101, 7102):
        assert not requests
        assert not responses
        read_request(USUAL_REQUEST.format(number).encode(), requests)
        read_response(parser, USUAL_RESPONSE.format(number).encode())
    assert len(requests) == len(responses) == 1
    assert "710" not in re.sub(r"0x[0-9a-f]+", "", repr([requests, responses]))  # without addresses of objects
    read = parse_request_head(USUAL_REQUEST.format(7103).encode(), LIMITS, REQUEST_RULES, requests)
    assert (read.target, read.lines) == ("/7103?id=7103", [b"User-Agent: a7103", b"X-Id: 7103", b"Accept: */*"])
    got = read_response(parser, USUAL_RESPONSE.format(7103).encode())
    assert isinstance(got, tuple)
    assert isinstance(got[0], ResponseHead)
    assert got[0].length == 7103


def test_a_head_above_a_limit_with_a_known_shape_is_rejected() -> None:
    shapes = request_shapes(REQUEST_RULES)
    for number in (1, 2, 3):
        read_request(USUAL_REQUEST.format(number).encode(), shapes)
    for size in (LIMITS.field, LIMITS.uri, LIMITS.head):
        long = USUAL_REQUEST.format("1" * size).encode()
        assert isinstance(read_request(long, shapes), tuple)
        assert read_request(long, shapes) == read_request(long, None)


def test_a_response_head_above_the_limit_is_malformed() -> None:
    parser = ResponseParser(RESPONSE_RULES, head_limit=200, shapes=response_shapes(RESPONSE_RULES))
    for size in (5, 5, 5, 60, 5, 300, 5, 5000):
        head = USUAL_RESPONSE.format(1).replace("Server: s", f"Server: {'s' * size}").encode()
        assert isinstance(read_response(parser, head), str) == (len(head) + 4 > 200)


class CountedShapes(HeadShapes[RequestHead]):
    """Counts the patterns that are compiled."""

    compiled = 0

    def __setitem__(self, key: ShapeKey, shape: HeadShape[RequestHead]) -> None:
        self.compiled += 1
        super().__setitem__(key, shape)


def test_heads_that_always_change_compile_few_patterns() -> None:
    shapes = CountedShapes(REQUEST_RULES, framing=FRAMING)
    for number in range(1000):
        head = f"GET / HTTP/1.1\r\nHost: gw\r\nA-{number // 2}: 1\r\nB-{number // 2}: 1" + "\r\nC: 1" * (
            number // 2 % 9
        )
        read_request(head.encode(), shapes)
    assert QUICKLY_LEARNED <= shapes.compiled <= QUICKLY_LEARNED + 1000 // LEARNING_INTERVAL + 1
    assert len(shapes) <= MAX_SHAPES


def test_lines_to_forward_keep_their_order_around_other_lines() -> None:
    parser = ResponseParser(RESPONSE_RULES, head_limit=1000)
    lines = [
        b"Server: a", b"Date: b", b"Content-Length: 3", b"X-C: d", b"Connection: close", b"Location: /e",
        b"Content-Type: f/g", b"opc-request-id: h", b"Keep-Alive: 5", b"X-I: j",
    ]  # fmt: skip
    forwarded = [b"Server: a", b"Date: b", b"X-C: d", b"Content-Type: f/g", b"opc-request-id: h", b"X-I: j"]
    for version in (b"1.1", b"1.0"):
        for _ in range(4):  # the shape is learned from the second head, and read from the third on
            parser.start_response(is_head_request=False)
            parser.feed(b"\r\n".join([b"HTTP/%b 200 Fine" % version, *lines, b"", b"abc"]))
            assert parser.head is not None
            assert parser.head.forwarded_head == b"\r\n".join([b"HTTP/1.1 200 Fine", *forwarded])
            assert parser.head.known_fields == {b"date": b"b", b"content-type": b"f/g", b"opc-request-id": b"h"}
            assert (parser.head.deferred, parser.head.length) == (((b"location", b"Location: /e"),), 3)
        assert parser._shapes.latest is not None
        assert parser._shapes.latest.template.forwarded_head == b"HTTP/1.1 200 Fine"
