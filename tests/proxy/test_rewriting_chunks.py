"""Bodies in any chunking: the same output, nothing but what is ours."""

from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.proxy.rewriting import RequestContext, RewritePlan, Rewriter, UrlMap
from gateway.proxy.routing import UpstreamUrl
from tests.fakes.documents import FLOW, GATE, HERE, HOST, NAMES, ORDERS, U, rewrite

ATOMS = [
    U,
    U.replace("/", "\\/"),
    U.replace("/", "&#47;"),
    quote(U, safe=""),
    FLOW,
    f"//{HOST}{FLOW}",
    "https://",
    "http",
    ":",
    "/",
    "//",
    "\\",
    "\\/",
    '"',
    "'",
    " ",
    "<",
    ">",
    "=",
    "&",
    "&amp;",
    "&#",
    ";",
    "%",
    "%3A",
    "%2F",
    "a",
    "\\u0068",
    "\\u002f",
    ",",
    "{",
    "}",
    "[",
    "]",
    '"href":"',
    '"tokenUrl":"',
    "<a b='",
    '<a xmlns="',
    "<wsa:Action>",
    "</a>",
    "é",
    "\n",
    ".",
    "..",
    "?",
    '"swagger":"2"',
    '"host":',
    f'"{HOST}"',
    '"basePath":',
    f'"{FLOW}"',
    '"schemes":["https"]',
    "{",
    ",",
    "url: ",
    "- ",
    "host: ",
    HOST,
    "swagger: 2\n",
    "x" * 40,
]
DOCUMENTS = st.lists(st.sampled_from(ATOMS), max_size=24).map("".join).map(str.encode)
KINDS = st.sampled_from(["json", "xml", "yaml", "html"])


@settings(max_examples=400, deadline=None)
@given(DOCUMENTS, KINDS, st.data())
def test_any_chunking_gives_the_same_output(body: bytes, kind: str, data: st.DataObject) -> None:
    whole = rewrite(body, kind)
    cuts = data.draw(st.lists(st.integers(0, len(body)), max_size=10))
    assert rewrite(body, kind, cuts=cuts) == whole
    assert rewrite(body, kind, cuts=range(len(body))) == whole


LONG = ["x" * 4000, "y" * 8100, " " * 4100, '\\"' * 70, '"a":"b",' * 900, "<b c='d'/>" * 500, "z" * 8192]


@settings(max_examples=80, deadline=None)
@given(st.lists(st.sampled_from([*ATOMS, *LONG]), max_size=14).map("".join).map(str.encode), KINDS, st.data())
def test_chunking_changes_nothing_at_the_window_limits(body: bytes, kind: str, data: st.DataObject) -> None:
    whole = rewrite(body, kind)
    cuts = data.draw(st.lists(st.integers(0, len(body)), max_size=10))
    assert rewrite(body, kind, cuts=cuts) == whole
    assert rewrite(body, kind, cuts=range(0, len(body), 509)) == whole


FILLERS = ["x" * 70_000, '{"a":"b, c"},' * 6000, "<b c='d'/>text " * 6000, "/ic" * 20_000 + " ", "z" * 33_000]


@settings(max_examples=80, deadline=None)
@given(st.lists(st.sampled_from([*ATOMS, *FILLERS]), max_size=14).map("".join).map(str.encode), KINDS, st.data())
def test_large_pieces_that_pass_unsearched_change_nothing(body: bytes, kind: str, data: st.DataObject) -> None:
    body = b"[1, " + body
    cuts = data.draw(st.lists(st.integers(0, len(body)), max_size=5))
    assert rewrite(body, kind, cuts=cuts, passes=True) == rewrite(body, kind)


@pytest.mark.parametrize("kind", ["json", "xml", "html"])
@pytest.mark.parametrize(
    "url", [U, U.upper(), U.replace("/", "&#47;"), U.replace("/", r"\/"), U.replace("h", r"\u0068")]
)
def test_a_url_across_large_pieces_is_rewritten(kind: str, url: str) -> None:
    before, link, after = b"[1, 2] " + b"a, " * 12_000, f'{{"href":"{url}"}}'.encode(), b" b," * 12_000
    whole = rewrite(before + link + after, kind)
    for cut in range(len(before), len(before) + len(link) + 1):
        assert rewrite(before + link + after, kind, cuts=(10, cut), passes=True) == whole


@pytest.mark.parametrize(
    ("kind", "link"), [("json", '{"href":"HERE/7"}'), ("xml", '<a href="HERE/7"/>'), ("yaml", "href: 'HERE/7'")]
)
def test_a_path_across_large_pieces_is_rewritten(kind: str, link: str) -> None:
    before, middle, after = (
        b"[1, 2] " + b"a, " * 24_000,
        link.replace("HERE", FLOW).encode(),
        b"\n b, " + b" b," * 24_000,
    )
    whole = rewrite(before + middle + after, kind)
    assert b"/orders/7" in whole
    for cut in range(len(before), len(before) + len(middle) + 1):
        assert rewrite(before + middle + after, kind, cuts=(10, cut), passes=True) == whole


@settings(max_examples=200, deadline=None)
@given(DOCUMENTS, KINDS)
def test_output_in_the_gateway_s_names_stays(body: bytes, kind: str) -> None:
    once = rewrite(body, kind)
    if FLOW.encode() not in once and HOST.encode() not in once:
        assert rewrite(once, kind) == once


@settings(max_examples=200, deadline=None)
@given(DOCUMENTS, KINDS, st.data())
def test_where_nothing_is_ours_every_byte_stays(body: bytes, kind: str, data: st.DataObject) -> None:
    body = body.replace(b"acme", b"none").replace(b"/ic/", b"/oc/").replace(b"%2Fic", b"%2Foc")
    body = body.replace(b"\\/ic", b"\\/oc").replace(b"&#47;ic", b"&#47;oc")
    cuts = data.draw(st.lists(st.integers(0, len(body)), max_size=10))
    assert rewrite(body, kind, cuts=cuts) == body


@given(st.binary(max_size=300), KINDS)
def test_any_bytes_pass(body: bytes, kind: str) -> None:
    assert rewrite(body, kind) == body


def test_a_host_that_is_still_to_come_is_not_taken_for_none() -> None:
    body = f'"\\//{HOST}{FLOW}"\\/{U}'.encode()
    assert rewrite(body, cuts=(4,)) == rewrite(body)


def test_a_url_in_a_path_of_our_host_does_not_depend_on_chunking() -> None:
    root = UpstreamUrl.parse("https://all.example/")
    url_map = UrlMap.from_routes([(root, "/all"), (ORDERS, "/orders")])
    body = f"http://{HOST}/http://all.example:443/\\u007a".encode()
    for cut in range(len(body)):
        rewriter = Rewriter(RewritePlan("yaml", "", ""), url_map, RequestContext(root, GATE, route_path="/all"))
        steps = (rewriter.feed([body[:cut]]), rewriter.feed([body[cut:]]), rewriter.end())
        output = b"".join(piece for step in steps for out in step for piece in out)
        assert output == f"http://{HOST}/{GATE}/all/\\u007a".encode()


@pytest.mark.parametrize("start", ["{//", '"{//', ", //", "[//", '"/', '="/', ">//", "'//"])
@pytest.mark.parametrize("kind", ["json", "xml", "yaml"])
def test_an_escape_later_on_changes_nothing_before_it(start: str, kind: str) -> None:
    for between in ("", "x ", "x"):
        whole = rewrite(f"{start}{between}{U}".encode(), kind)
        for escape in (' "\\u0068', " &#104;", " %2F"):
            assert rewrite(f"{start}{between}{U}{escape}".encode(), kind) == whole + escape.encode()


def test_a_url_without_an_end_is_decided_at_the_limit() -> None:
    for size in (100, 8100, 8191, 8192, 8193, 20000):
        body = f'["{U}/{"x" * size}", "{U}/{"x" * size}/.."]'.encode()
        whole = rewrite(body)
        assert whole.startswith(f'["{GATE}/orders/x'.encode())
        for step in (1000, 4096, 8192):
            assert rewrite(body, cuts=range(0, len(body), step)) == whole


def test_pieces_without_urls_pass_as_the_objects_that_they_are() -> None:
    rewriter = Rewriter(RewritePlan("json", "utf-8", ""), NAMES, HERE)
    pieces = [b'{"a":"' + b"x" * 5000 + b'"}', b"," * 70000, b'["https://x.example/"]']
    for piece in pieces:
        assert next(out for step in rewriter.feed([piece]) for out in step) is piece
    assert not rewriter.changed
    assert not [out for step in rewriter.end() for out in step]
