"""Rules for single fields of a head: entity tags, Connection, Via, Max-Forwards, fields that bind to OIC's origin."""

import gzip

import pytest

from gateway.proxy.headers import (
    decrement_max_forwards,
    deferred_request_lines,
    parse_entity_tags,
    read_max_forwards,
    via_contains,
)
from tests.fakes.gate import scene
from tests.fakes.upstream import reply

JSON = "Content-Type: application/json"


def fields(head: bytes) -> dict[str, str]:
    rows = [line.decode("latin-1").partition(": ") for line in head.split(b"\r\n")[1:] if line]
    return {name.lower(): value for name, _, value in rows}


@pytest.mark.parametrize(
    ("value", "sent"),
    [
        (b'W/"v1"', b'"v1"'),
        (b'"v1"', b'"v1"'),
        (b'"x,W/"', b'"x,W/"'),
        (b'"x, W/", W/"y"', b'"x, W/", "y"'),
        (b'W/"a,W/",W/"W/"', b'"a,W/","W/"'),
        (b"*", b"*"),
        (b'xW/"v1"', b'xW/"v1"'),
        (b'W/"open', b'W/"open'),
        (b'W/"\xe9"', b'"\xe9"'),
    ],
)
def test_only_the_mark_of_a_weak_tag_is_taken_off(value: bytes, sent: bytes) -> None:
    assert deferred_request_lines([(b"if-match", b"If-Match: " + value)], asks_whole=True) == [b"If-Match: " + sent]


def test_entity_tags_are_taken_apart() -> None:
    assert parse_entity_tags(b'"aW/","b" , W/"c"') == [b'"aW/"', b'"b"', b'W/"c"']
    assert parse_entity_tags(b"*") == []


async def test_a_304_confirms_only_a_tag_that_was_asked_for() -> None:
    async with scene(reply(304, b"", 'ETag: ","', length=False)) as at:
        _, head, _ = await at.gate.get("/orders/1", 'If-None-Match: "aW/","b"')
        assert fields(head)["etag"] == '","'


@pytest.mark.parametrize("rewrite", [["json"], []])
@pytest.mark.parametrize("name", ["If-Match", "Accept-Encoding", "Range", "If-Range"])
async def test_a_request_field_named_by_connection_stays_away(name: str, rewrite: list[str]) -> None:
    async with scene(route={"rewrite": rewrite}) as at:
        assert (await at.gate.get("/orders/1", f'{name}: "v1"', f"Connection: {name}"))[0] == 200
        assert at.upstream.requests[0].field(name) is None


async def test_a_response_field_named_by_connection_stays_away() -> None:
    body = b'{"a": 1}'
    for status in (200, 304):
        async with scene(base="/ic/x") as at:
            lines = ('ETag: "v1"', "Date: Thu, 01 Jan 1970 00:00:00 GMT", "Connection: etag, date")
            at.upstream.script = [reply(status, body if status == 200 else b"", JSON, *lines, length=status == 200)]
            _, head, _ = await at.gate.get("/orders/1", 'If-None-Match: W/"v1"')
            assert "etag" not in fields(head)
            assert "1970" not in fields(head)["date"]


async def test_a_304_on_a_rewriting_route_has_no_digests() -> None:
    lines = ('ETag: "v1"', "Content-Length: 9", "Content-Digest: x", "Content-MD5: y", "Content-Encoding: gzip")
    async with scene(reply(304, b"", *lines, length=False)) as at:
        _, head, _ = await at.gate.get()
        assert (
            fields(head)
            .keys()
            .isdisjoint({"content-length", "content-digest", "content-md5", "content-encoding", "transfer-encoding"})
        )
        assert fields(head)["etag"] == '"v1"'


@pytest.mark.parametrize("is_ours", [True, False])
@pytest.mark.parametrize("coding", ["", "gzip"])
@pytest.mark.parametrize("tag", ['"v1"', 'W/"v1"'])
async def test_head_and_get_have_the_same_fields(coding: str, tag: str, *, is_ours: bool) -> None:
    async with scene() as at:
        url = f"{at.upstream.url}{at.gate.route.upstream_url.path}/1" if is_ours else "https://elsewhere.example/1"
        body = f'{{"href": "{url}"}}'.encode()
        lines = [JSON, f"ETag: {tag}", *(["Content-Encoding: gzip"] if coding else [])]
        sent = gzip.compress(body) if coding else body
        at.upstream.script = [
            reply(200, sent, *lines),
            reply(200, b"", *lines, f"Content-Length: {len(sent)}", length=False),
        ]
        _, got, _ = await at.gate.get()
        caller = await at.gate.caller()
        await caller.send(b"HEAD /orders/1 HTTP/1.1\r\nHost: localhost\r\n\r\n")
        head = await caller.head()
        for name in ("etag", "content-encoding", "content-type"):
            assert fields(head).get(name) == fields(got).get(name)


BINDING = [
    *("Alt-Svc", "Public-Key-Pins", "Public-Key-Pins-Report-Only", "Expect-CT", "Clear-Site-Data", "NEL", "Report-To"),
    *("Reporting-Endpoints", "Accept-CH", "Critical-CH", "Origin-Agent-Cluster", "Service-Worker-Allowed"),
    *("alt-svc", "Strict-Transport-Security", "Set-Login"),
]


@pytest.mark.parametrize("name", BINDING)
async def test_what_binds_a_caller_to_oics_origin_stays_away(name: str) -> None:
    async with scene(reply(200, b"", f'{name}: h3=":443"', "X-Good: 1")) as at:
        _, head, _ = await at.gate.get()
        assert fields(head).keys() >= {"x-good"}
        assert name.lower() not in fields(head)


@pytest.mark.parametrize(
    ("link", "expected"),
    [
        ('<{up}/1>; rel="next"; anchor="{up}/2"', '<{gw}/1>; rel="next"; anchor="{gw}/2"'),
        ('<{up}/1>;ANCHOR = "{up}/2#x"', '<{gw}/1>;ANCHOR = "{gw}/2#x"'),
        ("</ic/x/1>; anchor=/ic/x/2", "</orders/1>; anchor=/orders/2"),
        (r'<{up}/1>; anchor="{up}/\"2\""', r'<{gw}/1>; anchor="{gw}/\"2\""'),
        ('<{up}/1>; title="; anchor={up}/2"', '<{gw}/1>; title="; anchor={up}/2"'),
        ('<{up}/1>; anchor="#part"', '<{gw}/1>; anchor="#part"'),
        ('<https://e.example/1>; anchor="https://e.example/2"', '<https://e.example/1>; anchor="https://e.example/2"'),
        ('<{up}/1>; anchor="{up}/2", <{up}/3>', '<{gw}/1>; anchor="{gw}/2", <{gw}/3>'),
    ],
)
async def test_the_anchor_of_a_link_is_rewritten_as_its_target(link: str, expected: str) -> None:
    async with scene() as at:
        names = {"up": f"{at.upstream.url}/ic/x", "gw": "http://localhost/orders"}
        at.upstream.script = [reply(200, b"", f"Link: {link.format(**names)}")]
        _, head, _ = await at.gate.get()
        assert fields(head)["link"] == expected.format(**names)


# Via and Max-Forwards -----------------------------------------------------------------------------------------------


async def test_via_names_the_version_that_the_caller_speaks() -> None:
    async with scene() as at:
        await at.gate.call(b"GET /orders/1 HTTP/1.0\r\nHost: gw\r\nVia: 1.1 fred\r\n\r\n")
        await at.gate.get()
        assert [request.field("Via") for request in at.upstream.requests] == [
            "1.1 fred, 1.0 oic-gateway",
            "1.1 oic-gateway",
        ]


@pytest.mark.parametrize(
    ("via", "passed"),
    [
        (b"1.1 gw-1", True),
        (b"1.0 fred, HTTP/1.1 gw-1 (x)", True),
        (b"1.1 gw-12", False),
        (b"1.1 fred (gw-1)", False),
        (b"gw-1", False),
        (b"", False),
    ],
)
def test_a_via_of_others_is_harmless(via: bytes, passed: bool) -> None:  # noqa: FBT001 - a column of the table
    assert via_contains(via, "gw-1") is passed


@pytest.mark.parametrize(("value", "sent"), [("1", "0"), ("10", "9"), ("007", "6"), ("9" * 30, "999999998")])
async def test_max_forwards_of_options_is_counted_down(value: str, sent: str) -> None:
    async with scene() as at:
        assert (await at.gate.get("/orders/1", f"Max-Forwards: {value}", method="OPTIONS"))[0] == 200
        assert at.upstream.requests[0].field("Max-Forwards") == sent


@pytest.mark.parametrize("target", ["/orders/1", "{upstream}/ic/x/1"])
async def test_options_that_may_not_go_on_is_answered_here(target: str) -> None:
    async with scene(route={"methods": ["GET", "OPTIONS"]}) as at:
        where = target.format(upstream=at.upstream.url)
        status, head, _ = await at.gate.get(where, "Max-Forwards: 0", method="OPTIONS")
        assert (status, fields(head)["allow"]) == (204, "GET, HEAD, OPTIONS")
        assert at.upstream.connections == 0
        assert at.identity.requests == []


async def test_max_forwards_counts_for_options_alone() -> None:
    async with scene() as at:
        assert (await at.gate.get("/orders/1", "Max-Forwards: 0"))[0] == 200
        assert at.upstream.requests[0].field("Max-Forwards") == "0"
        assert (await at.gate.get("/orders/1", "Max-Forwards: 0", method="TRACE"))[0] == 405


@pytest.mark.parametrize("value", ["", "x", "-1", "1, 2", "1.5"])
async def test_a_malformed_max_forwards_is_refused(value: str) -> None:
    async with scene() as at:
        status, _, body = await at.gate.get("/orders/1", f"Max-Forwards: {value}", method="OPTIONS")
        assert status == 400
        assert b"Max-Forwards" in body
        assert at.upstream.connections == 0


def test_a_max_forwards_that_connection_names_does_not_come_back() -> None:
    assert decrement_max_forwards([b"X: 1"], 3) == [b"X: 1"]
    assert read_max_forwards({}) is None


async def test_range_and_coding_pass_where_nothing_is_rewritten() -> None:
    lines = ("Range: bytes=0-1", "Accept-Encoding: br", 'If-Range: W/"x"', 'If-Match: W/"a"', "accept-encoding: gzip")
    async with scene(route={"rewrite": []}) as at:
        for _ in range(3):  # the head becomes a known shape
            assert (await at.gate.get("/orders/1", *lines, "X-Last: x"))[0] == 200
            sent = at.upstream.requests[-1].head.decode().split("\r\n")
            assert [line for line in sent if line in lines] == [*lines]
