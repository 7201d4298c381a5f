"""The contract's table of headers: what goes to OIC, what comes back, and what no head may ever hold."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.http.fields import connection_options, sort_fields
from gateway.http.request_head import RequestHead, RequestLimits, parse_request_head
from gateway.http.response_parser import ResponseHead
from gateway.proxy.headers import (
    REQUEST_RULES,
    RESPONSE_RULES,
    build_request_head,
    build_response_lines,
    choose_request_id,
    deferred_request_lines,
    deferred_response_lines,
    forwardable_response_fields,
    read_retry_after_field,
)

HOST_LINE = b"Host: acme.example"
LIMITS = RequestLimits(uri=8192, field=16_384, fields=128, head=131_072, connections=1)


def read(*lines: str, method: str = "GET") -> RequestHead:
    """A caller's head as the server reads it."""
    return parse_request_head(
        "\r\n".join([f"{method} /mine HTTP/1.1", *lines]).encode("latin-1"), LIMITS, REQUEST_RULES
    )


def sent(*lines: str, method: str = "GET", target: str = "/x") -> list[str]:
    """The head that goes upstream for a caller's head."""
    read_head = read(*lines, method=method)
    assert read_head.error is None
    all_lines = [*read_head.lines, *deferred_request_lines(read_head.deferred, asks_whole=False)]
    head = build_request_head(read_head, target, HOST_LINE, request_id="id-1", bearer="tok", lines=all_lines)
    assert head.endswith(b"\r\n\r\n")
    return head[:-4].decode("latin-1").split("\r\n")


def passed(*lines: str, method: str = "GET") -> list[str]:
    """The same, less what the gateway writes itself."""
    ours = {"Host: acme.example", "Via: 1.1 oic-gateway", "X-Request-Id: id-1", "Authorization: Bearer tok"}
    return [line for line in sent(*lines, method=method)[1:] if line not in ours]


def returned(*lines: str, ranges: bool = False, has_cookies: bool = False) -> list[str]:
    """The lines that a caller gets of a reply."""
    forwarded, known, deferred = sort_fields([line.encode("latin-1") for line in lines], RESPONSE_RULES)
    head = ResponseHead(
        *(200, b"\r\n".join([b"HTTP/1.1 200 OK", *forwarded]), known, deferred),
        length=None,
        chunked=False,
        has_no_body=False,
        keep_alive=True,
        connection_options=connection_options(known.get(b"connection", b"")),
        is_plain=False,
    )
    edited = deferred_response_lines(
        head,
        rewrite=lambda name, value: b"%b<%b>" % (name, value),
        kept=forwardable_response_fields(ranges=ranges),
        cookie_line=cookie_line if has_cookies else None,
    )
    got = build_response_lines(head, edited)
    assert not any(b"\r" in line or b"\n" in line for line in got)
    return [line.decode("latin-1") for line in got]


def cookie_line(value: bytes) -> bytes | None:
    """Keep every cookie but `gone`, as a scope of cookies does."""
    return None if value.startswith(b"gone=") else b"Set-Cookie: kept~" + value


# To OIC ---------------------------------------------------------------------------------------------------------------


def test_the_head_of_a_plain_request() -> None:
    assert sent("Host: gw:8080", "User-Agent: legacy/1", "Accept: */*", target="/x?a=%2f") == [
        "GET /x?a=%2f HTTP/1.1",
        "Host: acme.example",
        "User-Agent: legacy/1",
        "Accept: */*",
        "Via: 1.1 oic-gateway",
        "X-Request-Id: id-1",
        "Authorization: Bearer tok",
    ]


@pytest.mark.parametrize(
    "line",
    [
        "Connection: close", "Keep-Alive: timeout=5", "Proxy-Connection: keep-alive", "TE: trailers", "Trailer: X-Late",
        "Transfer-Encoding: chunked", "Upgrade: h2c", "HTTP2-Settings: AAMAAABk",
    ],
)  # fmt: skip
def test_hop_by_hop_fields_stay_behind(line: str) -> None:
    assert not [
        got
        for got in passed(line.upper(), "X-Mine: 1")
        if got.lower().startswith(line.partition(":")[0].lower() + ":") and got != "Transfer-Encoding: chunked"
    ]


@pytest.mark.parametrize(
    "line",
    [
        "Authorization: Basic dXNlcjpwdw==", "authorization: Bearer stolen", "Cookie: a=b", "Cookie2: $Version=1",
        "Host: evil.example", "Proxy-Authorization: Basic eDp5", "Proxy-Client-IP: 10.0.0.1", "Proxy-Anything: x",
        "Proxy_Authorization: x", "Forwarded: for=10.0.0.1", "X-Forwarded-For: 10.0.0.1", "X-Forwarded-Host: evil",
        "X-FORWARDED-PROTO: https", "X-Forwarded: x", "X_Forwarded_For: 10.0.0.1", "X-Forwarded_Host: evil",
        "WL-Proxy-Client-IP: 10.0.0.1", "WL-Proxy-SSL: true", "Expect: 100-continue", "X-Request-Id: theirs",
    ],
)  # fmt: skip
def test_what_belongs_to_the_caller_or_to_one_hop_stays_behind(line: str) -> None:
    assert passed(line, "X-Mine: 1") == ["X-Mine: 1"]


@pytest.mark.parametrize(
    "line",
    [
        "X-No-Blank:x", "X-Many:   a  b  ", "X-Tab:\ta\t", "X-Comma: a,b , c",
        "Origin: https://app.example", "Sec-Fetch-Site: same-origin", "Accept-Encoding: gzip",
        "Content-Type: text/xml", 'SOAPAction: "run"', "X-Api-Key: k", "Date: today", "If-Match: *",
        "Range: bytes=0-1", "X-Empty:", "X-Latin: caf\xe9", "Referer: http://a/", "Proxied: x", "Max-Forwards: 3",
        "Cookies: none", "X-Forward: x", "Content-MD5: x", "x-ODD-case: y",
    ],
)  # fmt: skip
def test_everything_else_passes_as_it_is(line: str) -> None:
    assert passed(line) == [line]


def test_repeated_fields_keep_their_order_and_stay_apart() -> None:
    lines = ["X-A: 1", "X-B: 2", "x-a: 3", "Accept: a", "Accept: b", "X-A: 1"]
    assert passed(*lines) == lines


@pytest.mark.parametrize(
    ("connection", "left"),
    [
        (["close, X-Secret"], ["X-Other: 2"]),
        (["x-secret"], ["X-Other: 2"]),
        (["keep-alive", "X-SECRET ,x-other"], []),
        (["close"], ["X-Secret: 1", "X-Other: 2"]),
        (["keep-alive, , close"], ["X-Secret: 1", "X-Other: 2"]),
    ],
)
def test_fields_named_by_connection_stay_behind(connection: list[str], left: list[str]) -> None:
    assert passed("X-Secret: 1", *[f"Connection: {value}" for value in connection], "X-Other: 2") == left


@pytest.mark.parametrize("named", ["authorization", "host", "via", "x-request-id", "content-length", "x-gateway"])
def test_connection_cannot_take_away_what_the_gateway_writes(named: str) -> None:
    head = sent(f"Connection: close, {named}", "Content-Length: 2", "Authorization: Basic eA==", method="POST")
    assert head[1:] == [
        "Host: acme.example",
        "Content-Length: 2",
        "Via: 1.1 oic-gateway",
        "X-Request-Id: id-1",
        "Authorization: Bearer tok",
    ]


def test_connection_cannot_hide_a_page_from_the_browser_rule() -> None:
    page = ["Origin: https://evil.example", "Sec-Fetch-Site: cross-site"]
    head = read(*page, "Connection: origin, sec-fetch-site")
    assert head.known_fields[b"origin"] == b"https://evil.example"
    assert head.known_fields[b"sec-fetch-site"] == b"cross-site"
    assert head.lines == []


@pytest.mark.parametrize(
    ("lines", "via"),
    [
        ([], "1.1 oic-gateway"),
        (["Via: 1.0 fred"], "1.0 fred, 1.1 oic-gateway"),
        (["Via: 1.0 fred", "via: 1.1 joe"], "1.0 fred, 1.1 joe, 1.1 oic-gateway"),
        (["Via: 1.0 fred", "Connection: via"], "1.1 oic-gateway"),
    ],
)
def test_via_grows_at_its_end(lines: list[str], via: str) -> None:
    assert [line for line in sent(*lines) if line.startswith("Via")] == [f"Via: {via}"]


@pytest.mark.parametrize(
    ("method", "lines", "framing"),
    [
        ("GET", [], []),
        ("GET", ["Content-Length: 0"], ["Content-Length: 0"]),
        ("GET", ["Content-Length: 5"], ["Content-Length: 5"]),
        ("DELETE", [], []),
        ("OPTIONS", [], []),
        ("POST", [], ["Content-Length: 0"]),
        ("PUT", [], ["Content-Length: 0"]),
        ("PATCH", [], ["Content-Length: 0"]),
        ("POST", ["Content-Length: 5"], ["Content-Length: 5"]),
        ("POST", ["Content-Length: 005"], ["Content-Length: 5"]),
        ("POST", ["transfer-encoding: CHUNKED"], ["Transfer-Encoding: chunked"]),
        ("GET", ["Transfer-Encoding: chunked"], ["Transfer-Encoding: chunked"]),
    ],
)
def test_a_body_keeps_the_framing_it_came_with(method: str, lines: list[str], framing: list[str]) -> None:
    assert passed(*lines, method=method) == framing


def test_the_h2c_offer_of_java_is_ignored() -> None:
    head = ["Connection: Upgrade, HTTP2-Settings", "HTTP2-Settings: AAMAAABk", "Upgrade: H2C", "X-Mine: 1"]
    assert passed(*head) == ["X-Mine: 1"]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["abc-123"], "abc-123"),
        (["x" * 128], "x" * 128),
        (["x" * 129], "fresh"),
        (["a b"], "fresh"),
        (["a\tb"], "fresh"),
        ([""], "fresh"),
        (["caf\xe9"], "fresh"),
        (["a", "b"], "fresh"),
        ([], "fresh"),
    ],
)
def test_a_request_id_is_one_visible_word(values: list[str], expected: str) -> None:
    assert choose_request_id(read(*[f"X-Request-Id: {value}" for value in values]), lambda: "fresh") == expected


def test_proofs_and_cookies_are_read_and_not_forwarded() -> None:
    head = read("Authorization: Basic c2VjcmV0", "Cookie: s=secret", "X-Api-Key: secret", "cookie: t=2")
    assert head.known_fields == {
        b"authorization": b"Basic c2VjcmV0",
        b"cookie": b"s=secret; t=2",
        b"x-api-key": b"secret",
    }
    assert head.lines == [b"X-Api-Key: secret"]  # a flow may read it; `caller_check` removes those of callers
    assert "secret" not in repr(head)


NAMES = st.sampled_from(
    [
        "Authorization", "Cookie", "Host", "Forwarded", "X-Forwarded-For", "X-Forwarded-Whatever",
        "Proxy-Authorization", "Proxy-X", "Connection", "Keep-Alive", "TE", "Trailer", "Upgrade", "Via",
        "X-Request-Id", "Expect", "X-A", "X-B", "Accept", "Content-Type", "Origin",
    ]
)  # fmt: skip
CASED = st.tuples(NAMES, st.sampled_from([str.lower, str.upper, str.title, str.swapcase])).map(
    lambda pair: pair[1](pair[0])
)
FORBIDDEN = {b"cookie", b"forwarded", b"expect", b"te", b"trailer", b"upgrade", b"keep-alive", b"connection"}
VALUES = {
    "upgrade": st.just("h2c"),
    "expect": st.just("100-continue"),
    "connection": st.lists(CASED, max_size=3).map(", ".join),
}
LINES = st.lists(
    CASED.flatmap(lambda name: st.tuples(st.just(name), VALUES.get(name.lower(), st.text("ab, 1", max_size=4)))),
    max_size=12,
    unique_by=lambda line: line[0].lower() if line[0].lower() in {"upgrade", "expect"} else object(),
)


@given(LINES)
def test_no_outbound_head_holds_what_the_contract_keeps_back(lines: list[tuple[str, str]]) -> None:
    raw = [(name.encode(), value.encode()) for name, value in lines]
    head = read(*[f"{name}: {value}" for name, value in lines])
    whole = build_request_head(head, "/x", HOST_LINE, request_id="id-1", bearer="tok")
    out = [line.partition(b": ") for line in whole[:-4].split(b"\r\n")[1:]]
    names = [name.lower() for name, _, _ in out]
    options = {
        word.strip().lower() for name, value in raw if name.lower() == b"connection" for word in value.split(b",")
    }
    ours = {b"authorization", b"host", b"via", b"x-request-id"}
    assert not FORBIDDEN & set(names)
    assert not (options - {b""} - ours) & set(names)
    assert not [name for name in names if name.startswith((b"proxy-", b"x-forwarded"))]
    assert [value for name, _, value in out if name.lower() == b"authorization"] == [b"Bearer tok"]
    assert [value for name, _, value in out if name.lower() == b"host"] == [b"acme.example"]
    assert names.count(b"via") == names.count(b"x-request-id") == 1
    # What does pass, passes byte for byte and in order.
    assert [(name, value) for name, _, value in out if name.lower() not in ours] == [
        (name, value)
        for name, value in raw
        if name.lower() not in FORBIDDEN | ours | options and not name.lower().startswith((b"proxy-", b"x-forwarded"))
    ]


# To the caller --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "line",
    [
        "x-oracle-ics-instance-id: lJrSjUUVEfGXW0tyvl-GZA", "opc-request-id: A/B/C", "oic-virtualservice: true",
        "Content-Type: text/xml", "Date: today", "WWW-Authenticate: Bearer", "Retry-After: 5", "ETag: x",
        "Server:oic ", "Via: 1.1 oci", "Content-Encoding: gzip", "X-Empty:", "Vary: *",
    ],
)  # fmt: skip
def test_a_reply_s_fields_pass_as_they_are(line: str) -> None:
    assert returned(line) == [line]


@pytest.mark.parametrize(
    "line",
    [
        "Connection: keep-alive", "Keep-Alive: timeout=5", "Transfer-Encoding: chunked", "Trailer: X", "TE: x",
        "Upgrade: h2c", "Proxy-Connection: close", "Proxy-Authenticate: Basic", "Proxy-Authentication-Info: x",
        "Content-Length: 5", "Strict-Transport-Security: max-age=1", "Set-Cookie: a=b", "Set-Cookie2: a=b",
        "X-Request-Id: theirs", "X-Gateway-Error: upstream-broken",
    ],
)  # fmt: skip
def test_what_is_not_for_the_caller_stays_behind(line: str) -> None:
    assert returned(line.upper(), "X-Mine: 1") == ["X-Mine: 1"]


def test_kept_cookies_pass_separately_and_in_order() -> None:
    lines = ["Set-Cookie: a=1; Path=/", "X-A: 1", "set-cookie: b=2", "Set-Cookie: gone=1"]
    assert returned(*lines, has_cookies=True) == ["X-A: 1", "Set-Cookie: kept~a=1; Path=/", "Set-Cookie: kept~b=2"]


def test_ranges_are_offered_where_the_route_takes_them() -> None:
    assert returned("Accept-Ranges: bytes", ranges=True) == ["Accept-Ranges: bytes"]
    assert returned("Accept-Ranges: bytes") == []


def test_urls_are_given_to_be_renamed() -> None:
    lines = ["Location: /a ", "X-A: 1", "LINK:</b>", "content-location: /c", "Link: </d>"]
    assert returned(*lines) == [
        "X-A: 1",
        "Location: location</a>",
        "LINK: link<</b>>",
        "content-location: content-location</c>",
        "Link: link<</d>>",
    ]


@pytest.mark.parametrize(
    "connection", [["X-Secret"], ["close, x-secret"], ["keep-alive", "x-SECRET"], ["x-secret", "close"]]
)
def test_a_reply_s_connection_names_fields_too(connection: list[str]) -> None:
    assert returned("X-Secret: 1", *[f"Connection: {value}" for value in connection], "X-B: 2") == ["X-B: 2"]


@pytest.mark.parametrize("name", ["Set-Cookie", "Accept-Ranges", "Location"])
def test_a_reply_s_connection_names_what_would_be_settled_later(name: str) -> None:
    assert returned(f"{name}: x", f"Connection: {name}", ranges=True, has_cookies=True) == []


@given(st.lists(st.tuples(st.sampled_from(["X-A", "x-a", "X-B", "Via"]), st.text("ab ,", max_size=3)), max_size=8))
def test_a_reply_s_repeated_fields_keep_their_order(lines: list[tuple[str, str]]) -> None:
    raw = [f"{name}: {value}" for name, value in lines]
    assert returned(*raw) == raw


# Times -----------------------------------------------------------------------------------------------------

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC).timestamp()


@pytest.fixture(params=["UTC", "Asia/Tokyo"])
def anywhere(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A host of this time zone: a date on the wire means the same on all of them."""
    with monkeypatch.context() as environment:
        environment.setenv("TZ", request.param)
        time.tzset()
        yield
    time.tzset()


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0.0),
        ("120", 120.0),
        ("Fri, 02 Jan 2026 03:04:35 GMT", 30.0),
        ("Friday, 02-Jan-26 03:04:35 GMT", 30.0),
        ("Fri Jan  2 03:04:35 2026", 30.0),
        ("Fri, 02 Jan 2026 03:04:35 -0000", 30.0),
        ("Fri, 02 Jan 2026 03:04:00 GMT", 0.0),
        ("1.5", None),
        ("-1", None),
        ("soon", None),
        ("", None),
        ("9" * 10, None),
        ("Fri, 99 Jan 2026 03:04:35 GMT", None),
        ("\xb2", None),
    ],
)
def test_retry_after_is_a_number_or_a_date(anywhere: None, value: str, seconds: float | None) -> None:
    assert read_retry_after_field(value.encode("latin-1"), now=NOW) == seconds


@given(st.text(max_size=40).map(lambda text: text.encode("utf-8", "replace")))
def test_retry_after_bears_anything(value: bytes) -> None:
    seconds = read_retry_after_field(value, now=NOW)
    assert seconds is None or seconds >= 0


@given(st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001 - hypothesis wants naive bounds
def test_retry_after_reads_every_date(then: datetime) -> None:
    wait = read_retry_after_field(format_datetime(then, usegmt=True).encode(), now=0.0)
    assert wait == int(then.timestamp())


def test_a_reply_without_retry_after_asks_for_nothing() -> None:
    assert read_retry_after_field(None, now=NOW) is None


def test_retry_after_is_looked_at_and_passes() -> None:
    assert sort_fields([b"RETRY-AFTER: 5"], RESPONSE_RULES)[:2] == ([b"RETRY-AFTER: 5"], {b"retry-after": b"5"})
