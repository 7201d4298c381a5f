"""Bodies in which URLs repeat, and bodies without URLs: short cuts give the same result."""

import json
import subprocess
import sys
from itertools import pairwise, product
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.proxy.rewriting import RequestContext, RewritePlan, Rewriter, UrlMap, has_no_urls
from gateway.proxy.routing import UpstreamUrl
from tests.fakes.documents import FLOW, GATE, HOST, NAMES, ORDERS, U, rewrite
from tests.fakes.process import ROOT

AUTHORITIES = [HOST, f"{HOST}:443", f"{HOST}:80", f"{HOST}:", f"{HOST}:8443", HOST.upper(), "other.example:8443", "x.y"]
PATHS = [FLOW, "/ic/api", "/ic/api/integration/v1/flows", "/ic/ws/x", "/ic", "/ic/api/a/b", f"{FLOW}/items", "", "/"]
RESTS = ["", "/", "/1", "/2/3", "/%7C01.00", "/%2e%2e/x", "/../x", "/.", "//x", "?a", "#b", "/a?u=" + U, "x", "/a b"]
URLS = st.lists(
    st.builds("{}://{}{}{}".format, *map(st.sampled_from, (["https", "http"], AUTHORITIES, PATHS, RESTS))), max_size=8
)


ITEMS = {
    "json": (
        '{"href":"%s"},',
        '{"rel": "x", "url" : "%s"},',
        '"%s",',
        '["%s"],',
        '{"tokenUrl":"%s"},',
        '{"a":"see %s"},',
    ),
    "xml": ('<link rel="self" href="%s"/>', "<a b='%s' c='d'/>", "<To>%s</To>", '<b xmlns:q="%s">', "<a>see %s</a>"),
    "html": ('<a href="%s">', "<form action='%s'>", "<p>%s</p>"),
    "yaml": ("- url: %s\n", "  self: '%s'\n", 'a: "%s"\n', "tokenUrl: %s\n", "- see %s\n"),
}
REPEATED = st.sampled_from([(kind, item) for kind, items in ITEMS.items() for item in items])


@settings(max_examples=200, deadline=None)
@given(REPEATED, URLS, st.sampled_from(["/", "\\/"]), st.data())
def test_a_url_that_repeats_is_rewritten_like_the_first(
    item: tuple[str, str], urls: list[str], slash: str, data: st.DataObject
) -> None:
    kind, template = item
    items = [(template % url.replace("/", slash)).encode() for url in urls]
    alone = [rewrite(b"\n" + item + b"\n", kind) for item in items]
    body = b"".join(b"\n" + item + b"\n" for item in items * 12)
    cuts = data.draw(st.lists(st.integers(0, len(body)), max_size=6))
    assert rewrite(body, kind, cuts=cuts) == b"".join(alone * 12)


@pytest.mark.parametrize("slash", ["/", "\\/", "\\u002f"])
@pytest.mark.parametrize("step", [97, 4096, 100_000])
def test_thousands_of_links_are_rewritten_in_any_chunking(slash: str, step: int) -> None:
    links = [{"rel": "self", "href": f"{U}/{number}?a=1"} for number in range(600)]
    body = json.dumps({"links": links}).replace("/", slash).encode()
    wanted = json.dumps({"links": links}).replace(U, f"{GATE}/orders").replace("/", slash).encode()
    assert rewrite(body, cuts=range(0, len(body), step)) == wanted


@pytest.mark.parametrize(
    ("kind", "item"),
    [("json", '{"id":7,"href":"%s"},\n'), ("xml", '<a id="7" href="%s"/>\n'), ("yaml", "- id: 7\n  href: %s\n")],
)
def test_an_unusual_url_among_usual_links_is_decided_by_itself(kind: str, item: str) -> None:
    usual = item % f"{U}/1" * 20
    for url in (f"{U}/../1", f"{U}/%2e%2e/1", f"{U}/\\u002e./1", f"{U}/&#46;./1", U, f"{U}?a", f"{FLOW}/1", U.upper()):
        other = (item % url).encode()
        alone = rewrite(b"\n" + other, kind)[1:]
        wanted = (usual.replace(U, f"{GATE}/orders") * 2).encode() + alone + usual.replace(U, f"{GATE}/orders").encode()
        body = (usual * 2).encode() + other + usual.encode()
        for step in (173, len(usual)):
            assert rewrite(body, kind, cuts=range(0, len(body), step)) == wanted


def test_a_dot_segment_among_repeated_urls_is_still_seen() -> None:
    links = [
        f'{{"href":"{U}/{rest}"}}'
        for rest in (*map(str, range(40)), "../x", "a/%2e%2e/b", "..", "a\\/..\\/b", r"\u002e\u002e/a", r"b/\u002E./c")
    ]
    seen = rewrite(",".join(links).encode()).decode()
    assert seen.split(",")[40:] == links[40:]
    assert seen.count(f"{GATE}/orders/") == 40


@pytest.mark.parametrize("rest", ["&#46;&#46;/x", "&#x2E;./x", "a'/../x", "../x"])
def test_urls_that_stay_for_a_dot_segment_keep_no_other_ones(rest: str) -> None:
    body = f'<a href="{U}/{rest}"/>' * 20 + f'<a href="{U}/1"/>' * 20
    assert rewrite(body.encode(), "xml").decode() == body.replace(f"{U}/1", f"{GATE}/orders/1")


def test_an_open_member_name_is_no_element_that_repeats() -> None:
    body = "[" + f'"{U}/a",' * 20 + f'"{U}/a" : 1,' + f'"{U}/b"]'
    seen = rewrite(body.encode()).decode()
    assert seen.count(U) == 1
    assert f'"{U}/a" : 1' in seen


@settings(max_examples=200, deadline=None)
@given(URLS, st.sampled_from(["json", "xml", "yaml", "html"]))
def test_an_escaped_letter_elsewhere_changes_no_url(urls: list[str], kind: str) -> None:
    body = "".join(f'<a href="{url}">\n- "url": "{url}"\n' for url in urls)
    whole = rewrite(body.encode(), kind).decode()
    for escape in ("/\\u0041 ", "/&#65; ", "/\\x41 "):
        assert rewrite((body + escape).encode(), kind).decode() == whole + escape


TEXTS = [
    '{"a":"see %s"},',
    '{"tokenUrl":"see %s"},',
    '{"refreshUrl" : "%s, %s"},',
    '["see %s"],',
    '["x", "see %s"],',
    '[ "see [ %s"],',
    '{"see %s":1},',
    '{"a":1,"see %s" : "x"},',
    '{"a":"x\\" \\"tokenUrl\\":\\"see %s"},',
    '{"tokenUrl":"x\\", \\"a\\": \\"%s"},',
    '{"a\\"b":"see %s"},',
    '{"tokenUrl":"\\n %s"},',
]


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(TEXTS), st.sampled_from([U, U.upper(), f"{U}/1"])), max_size=9))
def test_text_decides_about_a_url_however_the_url_is_written(items: list[tuple[str, str]]) -> None:
    body = "".join(template.replace("%s", url) for template, url in items)
    seen = rewrite(body.replace("://", ":\\u002f/").encode()).decode().replace("\\u002f", "/")
    assert seen == rewrite(body.encode()).decode()


def test_more_beginnings_than_are_remembered() -> None:
    for count in (9, 300):
        urls = [f"https://{'h' * number}.example/x" for number in range(1, count)]
        urls += [f"https://{HOST}/ic/api/{'x' * (number % 20)}{number}/y" for number in range(count)]
        body = json.dumps([{"href": url} for url in urls * 2])
        assert rewrite(body.encode()) == body.replace(f"https://{HOST}/ic", GATE).encode()


@pytest.mark.parametrize(
    "body",
    [
        '{"a": "b", "n": [1, 2.5e3, null]}',
        '{"day": "2026/11/23", "half": "50%", "line": "a\\nb"}',
        "[1, 2]",
        "    ",
        '{"a": "https://foreign.example/ic/api", "href": "/x", "b": "//x/ic"}',
        f'{{"a": "https://x.{HOST}/ic", "b": "https://{HOST}.evil/ic"}}',
        f'{{"a": "https://{HOST}:8443/ic", "b": "{HOST}"}}',
    ],
)
def test_a_body_without_urls_is_clear(body: str) -> None:
    for kind, charset in (("json", ""), ("json", "utf-8"), ("xml", "iso-8859-1"), ("yaml", "")):
        assert has_no_urls(RewritePlan(kind, charset, ""), [body.encode()], NAMES, ORDERS)
        assert has_no_urls(RewritePlan(kind, charset, ""), [body[:3].encode(), body[3:].encode()], NAMES, ORDERS)


@pytest.mark.parametrize(
    ("plan", "body"),
    [
        (RewritePlan("json", "", ""), f'{{"a": "{U}"}}'.encode()),
        (RewritePlan("json", "", ""), f'{{"a": "{U.upper()}"}}'.encode()),
        (RewritePlan("json", "", ""), f'{{"a": "{U.replace("phoenix", "PhoeniX")}"}}'.encode()),
        (RewritePlan("json", "", ""), f'{{"a": "{U}"}}'.replace("/", "\\/").encode()),
        (RewritePlan("json", "", ""), f'{{"a": "{U}"}}'.replace("/", "\\u002F").encode()),
        (RewritePlan("json", "", ""), f'{{"a": "{U}"}}'.replace("acme", "\\u0061cme").encode()),
        (RewritePlan("json", "", ""), f'{{"a": "{quote(U, safe="")}"}}'.encode()),
        (RewritePlan("json", "", ""), f'{{"href": "{FLOW}"}}'.encode()),
        (RewritePlan("json", "", ""), f'{{"href": "{FLOW}"}}'.replace("/", "\\/").encode()),
        (RewritePlan("xml", "", ""), f"<a>{U.replace('a', '&#97;')}</a>".encode()),
        (RewritePlan("yaml", "", ""), f"url: {FLOW}".encode()),
        (RewritePlan("json", "", ""), b'{"schemes": ["https"], "swagger": "2.0"}'),
        (RewritePlan("json", "", ""), "{ }".encode("utf-16")),
        (RewritePlan("json", "", ""), "{   }".encode("utf-16-le")),
        (RewritePlan("json", "", ""), "{   }".encode("utf-32-be")),
        (RewritePlan("json", "", "gzip"), b"{   }"),
        (RewritePlan("yaml", "", ""), b"swagger: 2"),
    ],
)
def test_a_body_that_must_be_read_is_not_clear(plan: RewritePlan, body: bytes) -> None:
    assert not has_no_urls(plan, [body], NAMES, ORDERS)


@settings(max_examples=200, deadline=None)
@given(REPEATED, URLS)
def test_the_letter_case_of_a_host_decides_nothing(item: tuple[str, str], urls: list[str]) -> None:
    kind, template = item
    body = "".join(f"\n{template % url}\n" for url in urls * 2)
    usual = rewrite(body.encode(), kind)
    assert rewrite(body.replace(HOST, HOST.title()).encode(), kind).lower() == usual.lower()


@pytest.mark.parametrize("count", [9, 63, 64, 300])
def test_links_are_rewritten_however_many_routes_there_are(count: int) -> None:
    routes = [(UpstreamUrl.parse(f"https://{HOST}/ic/r{number}"), f"/r{number}") for number in range(count)]
    hosts = [(UpstreamUrl.parse(f"https://h{number}.example/ic"), f"/h{number}") for number in range(12)]
    url_map = UrlMap.from_routes([*routes, *hosts])
    here = RequestContext(routes[3][0], GATE, route_path="/r3")
    links = [f"https://{HOST}/ic/r{number}/x" for number in (0, 3, count - 1, count)]
    links += [f"https://h{number}.example/ic/x" for number in (0, 11, 12)]
    body = json.dumps([{"href": link} for link in links * 5])
    rewriter = Rewriter(RewritePlan("json", "", ""), url_map, here)
    seen = b"".join(b"".join(out) for step in (rewriter.feed([body.encode()]), rewriter.end()) for out in step)
    wanted = [f"{GATE}/r0/x", f"{GATE}/r3/x", f"{GATE}/r{count - 1}/x", links[3]]
    wanted += [f"{GATE}/h0/x", f"{GATE}/h11/x", links[6]]
    assert json.loads(seen) == [{"href": link} for link in wanted * 5]


@pytest.mark.parametrize(
    "paths", [["/".join(names) for names in product("abc", repeat=6)], ["a" * 9000, "a" * 8999 + "b"], ["x/" * 2000]]
)
def test_links_are_rewritten_however_paths_branch(paths: list[str]) -> None:
    routes = [(UpstreamUrl.parse(f"https://{HOST}/ic/{path}"), f"/r{n}") for n, path in enumerate(paths)]
    routes += [(UpstreamUrl.parse(f"https://other.example/{path}"), f"/s{n}") for n, path in enumerate(paths)]
    url_map = UrlMap.from_routes(routes)
    for upstream, path in (routes[-1], routes[0], routes[len(paths) - 1]):
        here = RequestContext(upstream, GATE, route_path=path)
        for link in (f"https://{upstream.host}{upstream.path}", upstream.path):
            rewriter = Rewriter(RewritePlan("json", "", ""), url_map, here)
            body = json.dumps({"href": link.rstrip("/") + "/1"}).encode()
            steps = (rewriter.feed([body]), rewriter.end())
            seen = json.loads(b"".join(piece for step in steps for out in step for piece in out))["href"]
            assert seen in {f"{GATE}{path}/1", f"{path}/1"}


def test_a_path_after_a_link_is_rewritten_too() -> None:
    links = [{"self": f"{U}/{number}", "href": f"{FLOW}/{number}", "path": FLOW} for number in range(200)]
    wanted = [{"self": f"{GATE}/orders/{n}", "href": f"/orders/{n}", "path": FLOW} for n in range(200)]
    for slash in ("/", "\\/"):
        assert json.loads(rewrite(json.dumps(links).replace("/", slash).encode())) == wanted


@pytest.mark.parametrize(
    ("kind", "item"),
    [("json", '{"content-location"%s:%s"%s/1"}'), ("json", '{"url"%s:%s"%s/1"}'), ("yaml", "a: b\nhref%s: %s%s/1\n")],
)
def test_a_path_is_rewritten_however_many_blanks_are_before_it(kind: str, item: str) -> None:
    for before, after in product(range(0, 30, 3), range(0, 30, 3)):
        body = (item % (" " * before, " " * after, FLOW)).encode()
        wanted = body.replace(FLOW.encode(), b"/orders")
        for cuts in ([], [len(body) - 12], range(len(body))):
            assert rewrite(body, kind, cuts=cuts) == wanted


FORK = """
import os
from tests.fakes.documents import GATE, U, rewrite
body, wanted = f'["{U}"]'.encode(), f'["{GATE}/orders"]'.encode()
assert rewrite(body) == wanted
child = os.fork()
assert rewrite(body) == wanted
if child:
    assert os.waitpid(child, 0)[1] == 0
"""


def test_a_fork_searches_with_what_was_compiled_before_it() -> None:
    subprocess.run([sys.executable, "-c", FORK], cwd=ROOT, check=True)


@pytest.mark.parametrize("body", [b"", b"{}", b'"/"', b"\xff\xfe1"])
def test_a_body_that_is_too_short_for_a_url_is_clear(body: bytes) -> None:
    assert has_no_urls(RewritePlan("json", "", ""), [body], NAMES, ORDERS)


def test_a_path_below_an_upstream_without_one_is_rewritten_once() -> None:
    urls = [
        "https://acme.example.com/",
        "https://[2001:db8::1]:8443/x",
        *(f"https://h{n}.example.com/" for n in range(9)),
    ]
    for upstreams in (urls[:2], urls):
        bases = [UpstreamUrl.parse(url) for url in upstreams]
        url_map = UrlMap.from_routes([(base, f"/r{number}") for number, base in enumerate(bases)])
        rewriter = Rewriter(RewritePlan("json", "", ""), url_map, RequestContext(bases[0], GATE, route_path="/r0"))
        body = b'{"href":"/v1/x?q=a/%20b","u":"http:\\/\\/%5bx"}'
        output = b"".join(piece for step in (rewriter.feed([body]), rewriter.end()) for out in step for piece in out)
        assert output == body.replace(b"/v1/x", b"/r0/v1/x")


UPSTREAMS = [
    "https://acme.integration.us-phoenix-1.ocp.oraclecloud.com/ic",
    "https://acme.integration.eu-frankfurt-1.ocp.oraclecloud.com/ic",
    "https://plain.example/ic",
    "http://127.0.0.1:8080/ic",
    "http://localhost/ic",
    "http://node7/IC",
    "http://[2001:db8::7]:8080/ic",
]
FILLINGS = [
    "",
    "7",
    "x",
    "X",
    "k",
    "-1.",
    ".",
    "/",
    "\\n",
    "\\u00e9",
    " text, next and index 17/4 ",
    "oraclecloud.com ",
]


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.sampled_from(UPSTREAMS), min_size=1, max_size=4, unique=True),
    st.sampled_from(FILLINGS),
    st.sampled_from(FILLINGS),
    st.integers(0, 300),
    st.data(),
)
def test_a_url_is_found_in_any_letter_case_and_any_text(
    upstreams: list[str], before: str, after: str, size: int, data: st.DataObject
) -> None:
    """However often the letters of its host are in the text: that decides how the host is searched."""
    url_map = UrlMap.from_routes([(UpstreamUrl.parse(url), f"/r{number}") for number, url in enumerate(upstreams)])
    own = UpstreamUrl.parse(upstreams[0])
    host, slash, path = data.draw(st.sampled_from(upstreams)).partition("://")[2].partition("/")
    host = "".join(data.draw(st.sampled_from([host.lower(), host.upper(), host.title()])))
    first = "[" + before * size
    body = f'{first}"https://{host}{slash}{path}/a"{after * size}]'.replace(
        "https", "http" if "80" in host else "https"
    )
    rewriter = Rewriter(RewritePlan("json", "", ""), url_map, RequestContext(own, GATE, route_path="/r0"))
    cuts = [0, data.draw(st.integers(0, len(body))), len(body)]
    pieces = [body.encode()[start:stop] for start, stop in pairwise(cuts)]
    steps = (rewriter.feed([piece for piece in pieces if piece]), rewriter.end())
    output = b"".join(piece for step in steps for out in step for piece in out).decode()
    assert not has_no_urls(RewritePlan("json", "", ""), pieces, url_map, own)
    assert output.startswith(f'{first}"{GATE}/r')
