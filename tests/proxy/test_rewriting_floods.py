"""Bodies made to cost much: their bytes are read a few times each, and others have their turn in between.

The machine's speed says nothing here: what is counted is the calls that are made.
"""

import gzip
import sys
from collections.abc import Iterator
from types import FrameType
from typing import Self
from urllib.parse import quote

import pytest

from gateway.proxy.rewriting import RewritePlan, Rewriter, UrlMap, has_no_urls
from gateway.proxy.routing import UpstreamUrl
from tests.fakes.documents import FLOW, GATE, HERE, HOST, NAMES, ORDERS, U, rewrite

SIZE = 32 * 1024
TURN = 20_000
"""Calls in one turn: a few milliseconds."""
CODED = quote(f"{U}?", safe="")


class Calls:
    """Counts calls, of Python's own functions too."""

    def __init__(self) -> None:
        self.total = self.most = self._before = 0

    def __enter__(self) -> Self:
        sys.setprofile(self._count)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)

    def _count(self, _: FrameType, event: str, __: object) -> None:
        self.total += event in {"call", "c_call"}

    def step(self) -> None:
        self.most = max(self.most, self.total - self._before)
        self._before = self.total


def _steps(rewriter: Rewriter, body: bytes) -> Iterator[list[bytes]]:
    yield from rewriter.feed([body])
    yield from rewriter.end()


def counted(kind: str, body: bytes, coding: str = "") -> Calls:
    rewrite(f'"/\\u0041&#65;{U}"'.encode(), kind)  # the patterns of an upstream are compiled once
    rewrite(f'"{U}"'.encode(), kind)
    rewriter = Rewriter(RewritePlan(kind, "utf-8", coding), NAMES, HERE)
    with Calls() as calls:
        for _ in _steps(rewriter, body):
            calls.step()
        calls.step()
    return calls


FLOODS = {
    "json": (
        ("", '["', '["a","', '{"a":"'),
        (
            '"/",', ':"/', '"//', '"//a",', "http://", "https://", "http://a/", f"{U}?", f"{U}?\\u0041", f'\\"{U}',
            f"{U} ", '"url":"/a",', '"href":"/",', '"url":"\\/a",', '"url":"http://a/",', f'"href":"{FLOW}/1",', CODED,
            f"https:\\/\\/{HOST}\\/\\u0041?", '"host":', '{"host":', f'"host":"{HOST}",',
            '"schemes":["http"],', '\\"', "\\", "h", "%2F", "\\u00", f'"{U}",',
        ),
    ),
    "xml": (
        ("", "<a>", "<a b='", '<a xsi:schemaLocation="', "<Action ", "<a "),
        (
            '="/', ">//", ">//a", "http://", f"{U}?", f"{U}?&amp;", f"{U}?&#65;", f"{U} ", f' b="{U}"', f"<![CDATA[{U}",
            f"'{U}", "<b href='/a'/>", f"<b href='{FLOW}/1'/>", "&#47;", "&#", "<a ", "'", CODED, f"='//{HOST}{FLOW}",
        ),
    ),
    "yaml": (
        ("", "a: ", 'a: "'),
        (
            " /", "  /", ": /", "/", ",/", f"{U} ", f"{U}?", f"{U}?\\u0041", f",//{HOST}{FLOW},", f"a: {U}\n",
            "url: /a\n", f"- {FLOW}/1\n", "host: a\n", "http://", "a-a-a: ",
        ),
    ),
}  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "first", "flood"),
    [(kind, first, flood) for kind, (firsts, floods) in FLOODS.items() for first in firsts for flood in floods],
)
def test_what_a_byte_costs_has_a_limit(kind: str, first: str, flood: str) -> None:
    calls = counted(kind, (first + flood * (SIZE // len(flood))).encode())
    assert calls.total < 12 * SIZE
    assert calls.most < TURN


@pytest.mark.parametrize(
    ("kind", "flood"),
    [
        ("json", "/\\u0041"),
        ("json", "//x\\u0041 "),
        ("json", f'"https://{HOST}:8443/ic/api",'),
        ("json", f'"https://{HOST}/elsewhere/1",'),
        ("json", f"see https://{HOST}/ic/apis/1. "),
        ("json", f"//{HOST} "),
        ("json", '"/ic","/ic/x",'),
        ("json", f'{{"path":"{FLOW}"}},'),
        ("json", f'"{FLOW}":1,'),
        ("json", f'{{"name" : "{FLOW}"}},'),
        ("json", f'["{FLOW}",\n    "{FLOW}"],'),
        ("xml", "&#65;/"),
        ("json", f"see {FLOW} "),
        ("json", quote(f"https://{HOST}/x/", safe="")),
        ("xml", f'<a b="{FLOW}"/>'),
        ("xml", f'<a href="https://{HOST}/elsewhere/1"/>'),
        ("yaml", f"  {FLOW}/x:\n"),
        ("yaml", f"- url: https://{HOST}/x\n"),
    ],
)
def test_text_without_a_url_of_ours_costs_few_calls(kind: str, flood: str) -> None:
    assert counted(kind, (flood * (8 * SIZE // len(flood))).encode()).total < SIZE // 16


@pytest.mark.parametrize("url", [U, U.replace(HOST, HOST.upper()), f"https://{HOST.title()}/ic/api"])
@pytest.mark.parametrize(
    ("kind", "item"),
    [
        ("json", '{"tokenUrl":"%s/1"},'),
        ("json", '{"detail" : "%s/1"},'),
        ("json", '{"detail":"see %s/1 too"},'),
        ("json", '{"tokenUrl":"see %s/1"},'),
        ("json", '{"url":"%s"},'),
        ("json", '{"url":"%s?a=1"},{"tokenUrl": "%s/1"},'),
        ("xml", '<a xmlns:q="%s"/>'),
        ("xml", "<x:Action>%s/1</x:Action>"),
        ("xml", "<Location>%s/1</Location>"),
        ("yaml", "- tokenUrl: %s/1\n"),
    ],
)
def test_links_that_a_name_decides_cost_few_calls(kind: str, item: str, url: str) -> None:
    flood = item.replace("%s", url)
    assert counted(kind, (flood * (8 * SIZE // len(flood))).encode()).total < SIZE // 16


@pytest.mark.parametrize("space", ["", "\n  "])
def test_links_that_are_elements_are_not_decided_one_by_one(space: str) -> None:
    elements = "".join(f',{space}"{U}/{number}"' for number in range(8 * SIZE // len(U)))
    body = f'["{U}"{elements}]'.encode()
    assert counted("json", body).total < SIZE // 16


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("json", b'{"items":[{"id":7,"name":"\xc3\xa9"}],"next":null}'),
        ("xml", b'<?xml version="1.0"?><a:b xmlns:a="x"/>'),
    ],
)
def test_a_usual_body_without_urls_costs_few_calls(kind: str, body: bytes) -> None:
    plan, url_map = RewritePlan(kind, "", ""), UrlMap.from_routes([(ORDERS, "/orders/")])
    assert has_no_urls(plan, [body], url_map, ORDERS)
    with Calls() as calls:
        has_no_urls(plan, [body], url_map, ORDERS)
    assert calls.total < 12


def test_links_with_a_scheme_in_capitals_cost_few_calls() -> None:
    flood = f'{{"url":"HTTPS://{HOST}/ic/api"}},'
    assert counted("json", (flood * (8 * SIZE // len(flood))).encode()).total < SIZE // 16


def test_many_domains_are_searched_together() -> None:
    upstreams = [UpstreamUrl.parse(f"https://oic.example{number}.net/ic") for number in range(60)]
    url_map = UrlMap.from_routes([(upstream, f"/r{number}") for number, upstream in enumerate(upstreams)])
    plan, body = RewritePlan("json", "", ""), b'{"items":[],"next":"index"}'
    assert has_no_urls(plan, [body], url_map, ORDERS)
    with Calls() as calls:
        has_no_urls(plan, [body], url_map, ORDERS)
    assert calls.total < 60


@pytest.mark.parametrize("content", [b"", b"/", b"x" * 300])
def test_many_short_gzip_members_leave_others_their_turn(content: bytes) -> None:
    member = gzip.compress(content)
    calls = counted("json", member * (8 * SIZE // len(member)), "gzip")
    assert calls.most < TURN // 5
    assert calls.total < 8 * SIZE


def test_short_gzip_members_keep_their_order_beside_long_ones() -> None:
    sizes = [1, 0, 300, 70_000, 2, 600, 0, 0, *[3] * 400, 140_000, 1]
    contents = [bytes((33 + number % 90,)) * size for number, size in enumerate(sizes)]
    body = b"".join(map(gzip.compress, contents))
    for step in (1, 21, 4096, len(body)):
        assert rewrite(body, coding="gzip", cuts=range(0, len(body), step)) == b"".join(contents)


def test_a_long_description_in_yaml_is_not_searched_at_once() -> None:
    rewriter = Rewriter(RewritePlan("yaml", "utf-8", ""), NAMES, HERE)
    body = b"swagger: '2.0'\n" + b"host: a\n" * (900 * 1024 // 8)
    with Calls() as calls:
        for start in range(0, len(body), SIZE):
            for _ in rewriter.feed([body[start : start + SIZE]]):
                calls.step()
            calls.step()
        for _ in rewriter.end():
            calls.step()
    assert calls.most < 2 * SIZE


@pytest.mark.parametrize(
    ("kind", "mark"),
    [("json", "?"), ("json", "#"), ("json", "\\u003f"), ("json", "\\u0023"), ("xml", "&#63;"), ("xml", "&#x23;")],
)
def test_what_follows_the_path_of_a_url_is_not_waited_for(kind: str, mark: str) -> None:
    first = {"json": '{"a":"', "xml": "<a>"}[kind]
    rewriter = Rewriter(RewritePlan(kind, "utf-8", ""), NAMES, HERE)
    body = f"{first}{U}/x{mark}y{'y' * 100}"
    output = b"".join(b"".join(out) for out in rewriter.feed([body.encode()]))
    assert output == body.replace(U, f"{GATE}/orders").encode()


def test_the_urls_of_a_query_in_the_head_are_read_once() -> None:
    for count in (100, 800):
        with Calls() as calls:
            seen = NAMES.rewrite(f"/x?{CODED * count}", HERE)
        assert seen == f"/x?{quote(f'{GATE}/orders?', safe='') * count}"
        assert calls.total < 600 * count


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("json", '{"tokenUrl":"%s","a":"%s"}'),
        ("json", '{"a":1,"%s":"%s"}'),
        ("xml", '<a xmlns:a="%s" b="%s"/>'),
        ("xml", "<a b='c' targetNamespace='%s'>%s</a>"),
        ("xml", "<wsa:Action b='c'>%s</wsa:Action><a>%s</a>"),
        ("xml", "<Action><![CDATA[%s]]></Action><a>%s</a>"),
        ("yaml", "tokenUrl: %s\na: %s\n"),
    ],
)
def test_all_urls_behind_one_opening_are_judged_alike(kind: str, body: str) -> None:
    for many in (1, 2, 60):
        urls, names = f"{U} " * many, f"{GATE}/orders " * many
        if kind == "yaml":  # a key is its first word's
            urls, names = U, f"{GATE}/orders"
        seen = rewrite((body % (urls, urls)).encode(), kind)
        assert seen.decode() == body % (urls, names)
        assert rewrite((body % (urls, urls)).encode(), kind, cuts=range(0, len(body) + 100 * many, 97)) == seen


def test_names_of_no_route_are_none() -> None:
    assert UrlMap.from_routes([]).rewrite(f"/x?u={CODED}", HERE) == f"/x?u={CODED}"
