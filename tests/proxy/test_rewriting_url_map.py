"""URLs of OIC in the gateway's names: every spelling of an upstream, and nothing that is not one."""

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.proxy.rewriting import RequestContext, UrlMap
from gateway.proxy.routing import UpstreamUrl

HOST = "acme.integration.us-phoenix-1.ocp.oraclecloud.com"
FLOW = "/ic/api/integration/v1/flows/rest/ORDERS/1.0"
ORDERS = UpstreamUrl.parse(f"https://{HOST}{FLOW}/")
DESIGN = UpstreamUrl.parse("https://design.example:8443/ic/api/")
ROOT = UpstreamUrl.parse("https://all.example/ic")
NAMES = UrlMap.from_routes(
    [
        (ORDERS, "/orders"),
        (DESIGN, "/design/"),
        (UpstreamUrl.parse(f"https://{HOST}{FLOW}/items"), "/items"),
        (ROOT, ""),
    ]
)
GATE = "http://gw:8080"


def renamed(url: str, *, own: UpstreamUrl = ORDERS, public: str = GATE, named: str = "") -> str:
    return NAMES.rewrite(url, RequestContext(own, public, named))


@pytest.mark.parametrize(
    "start",
    [
        f"https://{HOST}", f"https://{HOST}:443", f"http://{HOST}", f"http://{HOST}:443", f"http://{HOST}:80",
        f"https://{HOST}:", f"HTTPS://{HOST.upper()}:443", f"//{HOST}", f"//{HOST.upper()}:443",
    ],
)  # fmt: skip
@pytest.mark.parametrize(
    ("rest", "path"),
    [
        (f"{FLOW}/17", "/orders/17"),
        (f"{FLOW}/", "/orders/"),
        (FLOW, "/orders"),
        (f"{FLOW}?a=1", "/orders?a=1"),
        (f"{FLOW}/17?next=https://{HOST}{FLOW}/18#top", f"/orders/17?next=https://{HOST}{FLOW}/18#top"),
        (f"{FLOW}/a%2Fb%7c//c", "/orders/a%2Fb%7c//c"),
        (f"{FLOW}/items/3", "/items/3"),
        (f"{FLOW}/itemsx", "/orders/itemsx"),
    ],
)
def test_every_spelling_of_an_upstream_means_its_route(start: str, rest: str, path: str) -> None:
    assert renamed(start + rest) == GATE + path
    assert renamed(start + rest, public="") == path


@pytest.mark.parametrize(
    ("url", "path"),
    [
        (f"{FLOW}/17?a#b", "/orders/17?a#b"),
        (FLOW, "/orders"),
        (f"{FLOW}#top", "/orders#top"),
        (f"{FLOW}/items", "/items"),
    ],
)
def test_a_bare_path_belongs_to_the_answering_upstream(url: str, path: str) -> None:
    assert renamed(url) == path


@pytest.mark.parametrize(
    "url",
    [
        "", "17", "./17", "../17", "?a=1", "#top", f"x{FLOW}/17", "/elsewhere/17", f"{FLOW}x/17",
        FLOW.lower(), "//", "///x",
        f"https://{HOST}",
        f"https://{HOST}/elsewhere", f"https://{HOST}{FLOW}x", f"https://{HOST}:8443{FLOW}/17", f"https://{HOST}.evil{FLOW}/17",
        f"https://evil.{HOST}{FLOW}/17", f"https://user@{HOST}{FLOW}/17", f"https://{HOST}@evil{FLOW}/17", f"https://{HOST}:443:443{FLOW}/17",
        f"https:/{HOST}{FLOW}/17", f"https:{FLOW}/17", f"ftp://{HOST}{FLOW}/17", f"urn:x:https://{HOST}{FLOW}/17", f"https://evil/?u=https://{HOST}{FLOW}/17",
        f" https://{HOST}{FLOW}/17", f"https:\\\\{HOST}{FLOW}/17", "https://", "mailto:a@b",
    ],
)  # fmt: skip
def test_what_is_under_no_upstream_passes_unchanged(url: str) -> None:
    assert renamed(url) == url


@pytest.mark.parametrize("rest", ["/..", "/../x", "/%2e%2e/x", "/..;/x", "/a/../../x", "/./x", "/%252e%252e/x"])
@pytest.mark.parametrize("start", [f"https://{HOST}", ""])
def test_a_url_that_steps_out_is_not_given_a_name(start: str, rest: str) -> None:
    assert renamed(start + FLOW + rest) == start + FLOW + rest


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("https://design.example:8443/ic/api/x", "/design/x"),
        ("http://design.example:8443/ic/api/x", "/design/x"),
        ("https://all.example/ic/x", "/x"),
        ("https://all.example/ic", "/"),
        ("https://all.example/ic?a", "/?a"),
    ],
)
def test_other_routes_upstreams_have_names_too(url: str, path: str) -> None:
    assert renamed(url) == GATE + path


@pytest.mark.parametrize(
    ("url", "public", "name"),
    [
        ("/ic//evil.example/x", GATE, "/.//evil.example/x"),
        ("https://all.example/ic//evil.example/x", "", "/.//evil.example/x"),
        ("https://all.example/ic//evil.example/x", GATE, f"{GATE}//evil.example/x"),
    ],
)
def test_a_path_never_turns_into_a_host(url: str, public: str, name: str) -> None:
    assert renamed(url, own=ROOT, public=public) == name


@pytest.mark.parametrize(
    ("home", "path"), [("/b", "/b/17"), ("/b/", "/b/17"), ("/a", "/a/17"), (None, "/a/17"), ("", "/17")]
)
def test_the_answering_route_wins_among_routes_of_an_upstream(home: str | None, path: str) -> None:
    names = UrlMap.from_routes(
        [(ORDERS, "/a"), (UpstreamUrl.parse(f"https://{HOST}{FLOW}"), "/b"), (DESIGN, "/design")]
    )
    assert names.rewrite(f"https://{HOST}{FLOW}/17", RequestContext(ORDERS, "", route_path=home)) == path
    assert (
        names.rewrite("https://design.example:8443/ic/api/x", RequestContext(ORDERS, "", route_path=home))
        == "/design/x"
    )
    assert names.rewrite_link(f"<{FLOW}/17>", RequestContext(ORDERS, "", route_path=home)) == f"<{path}>"


@pytest.mark.parametrize(
    ("url", "name"),
    [
        (
            f"https://portal.example/open?to={quote(f'https://{HOST}:443{FLOW}/1%7C2', safe='')}&x=%2F",
            f"https://portal.example/open?to={quote(f'{GATE}/orders/1%7C2', safe='')}&x=%2F",
        ),
        (f"{FLOW}?to={quote(f'https://{HOST}{FLOW}')}#%", f"/orders?to={quote(f'{GATE}/orders')}#%"),
        (
            f"/x?a={quote(f'HTTP://{HOST}{FLOW}/', safe='')}&{quote(f'https://{HOST}{FLOW}', safe='')}",
            f"/x?a={quote(f'{GATE}/orders/', safe='')}&{quote(f'{GATE}/orders', safe='')}",
        ),
        (f"/x?a={quote(quote(f'https://{HOST}'))}", f"/x?a={quote(quote(f'https://{HOST}'))}"),
        (f"/x?a={quote(f'https://{HOST}{FLOW}x', safe='')}", f"/x?a={quote(f'https://{HOST}{FLOW}x', safe='')}"),
        (f"/x?a={quote(f'https://u@{HOST}{FLOW}', safe='')}", f"/x?a={quote(f'https://u@{HOST}{FLOW}', safe='')}"),
    ],
)
def test_a_percent_encoded_url_in_a_query_is_rewritten(url: str, name: str) -> None:
    assert renamed(url) == name


PUBLIC = "https://gw.example/oic"


@pytest.mark.parametrize(
    ("url", "name"),
    [
        (f"https://{HOST}{FLOW}/17?a", f"{PUBLIC}/orders/17?a"),
        (f"//{HOST}{FLOW}", f"{PUBLIC}/orders"),
        (f"{FLOW}/17", "/oic/orders/17"),
        ("https://all.example/ic", f"{PUBLIC}/"),
        ("https://all.example/ic//x", f"{PUBLIC}//x"),
    ],
)
def test_a_public_url_may_have_a_path(url: str, name: str) -> None:
    assert renamed(url, public=PUBLIC) == name


@pytest.mark.parametrize("start", ["https://d.example:443", "http://D.example"])
def test_urls_of_the_design_host_belong_to_the_upstreams_route(start: str) -> None:
    api, other = UpstreamUrl.parse(f"https://{HOST}/ic/api/"), UpstreamUrl.parse("https://d.example/ic/api/own")
    design = UpstreamUrl.parse("https://d.example/ic/api/")
    names = UrlMap.from_routes(
        [(api, "/api/"), (api, "/again"), (other, "/own")], design_urls=[(api, design), (ORDERS, design)]
    )
    assert names.rewrite(f"{start}/ic/api/x?y", RequestContext(other, GATE)) == f"{GATE}/api/x?y"
    assert names.rewrite(f"{start}/ic/api/x", RequestContext(api, GATE, route_path="/again")) == f"{GATE}/again/x"
    assert names.rewrite(f"{start}/ic/api/own/x", RequestContext(api, GATE)) == f"{GATE}/own/x"
    assert names.rewrite(f"{start}/ic/apix", RequestContext(api, GATE)) == f"{start}/ic/apix"
    assert names.rewrite(f"{start}/ic/api/x", RequestContext(api, "", f"http://{HOST}")) == f"http://{HOST}/ic/api/x"


# A caller that has the gateway as its HTTP proxy: OIC's names are right, in its own spelling --------------------------


@pytest.mark.parametrize(
    "named", [f"http://{HOST}", f"http://{HOST.upper()}:443", f"http://{HOST}:80", f"https://{HOST}"]
)
@pytest.mark.parametrize("start", [f"https://{HOST}:443", f"http://{HOST}", f"//{HOST.upper()}"])
def test_a_proxy_callers_own_upstream_keeps_its_spelling(named: str, start: str) -> None:
    assert renamed(f"{start}{FLOW}/17?a#b", public="", named=named) == f"{named}{FLOW}/17?a#b"


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://design.example:8443/ic/api/x", "http://design.example:8443/ic/api/x"),
        ("https://all.example:443/ic/x?a", "http://all.example/ic/x?a"),
        ("https://elsewhere.example/x", "https://elsewhere.example/x"),
        (f"https://{HOST}/elsewhere", f"https://{HOST}/elsewhere"),
        (f"{FLOW}/17", f"{FLOW}/17"),
        ("17", "17"),
    ],
)
def test_other_upstreams_lead_a_proxy_caller_back(url: str, name: str) -> None:
    assert renamed(url, public="", named=f"http://{HOST}") == name


# Link (RFC 8288) ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (f'<https://{HOST}:443{FLOW}/?p=2>; rel="next"', f'<{GATE}/orders/?p=2>; rel="next"'),
        (
            f'<{FLOW}/1>; rel=prev, <17>; rel=self,<https://{HOST}{FLOW}/3>;rel="next last"; title="a, b"',
            f'</orders/1>; rel=prev, <17>; rel=self,<{GATE}/orders/3>;rel="next last"; title="a, b"',
        ),
        (f'<a>; title="<{FLOW}/1>", <{FLOW}/2>', f'<a>; title="<{FLOW}/1>", </orders/2>'),
        (f'<a>; title="\\"<{FLOW}/1>", <{FLOW}/2>', f'<a>; title="\\"<{FLOW}/1>", </orders/2>'),
        (f'<a>; title="open <{FLOW}/1>', f'<a>; title="open <{FLOW}/1>'),
        ("<>; rel=self", "<>; rel=self"),
        ("<" + FLOW, "<" + FLOW),
        ("", ""),
        ("<https://elsewhere.example/x>; rel=help", "<https://elsewhere.example/x>; rel=help"),
    ],
)
def test_only_the_targets_of_a_link_field_are_rewritten(value: str, name: str) -> None:
    assert NAMES.rewrite_link(value, RequestContext(ORDERS, GATE)) == name


@pytest.mark.parametrize(
    "flood", ["<", '"', '\\"', '"\\', "<a", '<"', "/..;", "%25", "?https%3A%2F%2F", f"?https%3A%2F%2F{HOST}%2F"]
)
def test_a_flood_is_read_once(flood: str) -> None:
    value = flood * (256 * 1024 // len(flood))
    assert NAMES.rewrite_link(value, RequestContext(ORDERS, GATE)) == value
    assert NAMES.rewrite(FLOW + value, RequestContext(ORDERS, GATE))


@given(
    st.text(st.characters(max_codepoint=255), max_size=60),
    st.sampled_from(["", GATE]),
    st.sampled_from(["", f"http://{HOST}"]),
)
def test_anything_can_be_asked_and_fits_into_a_field(url: str, public: str, named: str) -> None:
    for text in (url, f"https://{HOST}{FLOW}/{url}", f"//{HOST}{url}"):
        name = NAMES.rewrite(text, RequestContext(ORDERS, public, named))
        link = NAMES.rewrite_link(text, RequestContext(ORDERS, public, named))
        assert set(name + link) <= set(text + GATE + named + "/orders/items/design.http:<>")


@given(st.text("ab/%7C;=", max_size=20), st.sampled_from(["", "?a=/..", "#x"]))
def test_a_rewritten_url_leads_back_to_its_target(rest: str, tail: str) -> None:
    name = renamed(f"https://{HOST}{FLOW}/items/{rest}{tail}", public="")
    assert name == f"/items/{rest}{tail}"


@pytest.mark.parametrize(
    "query",
    [
        f"https%3A%2F%2F{HOST}%40evil.example{quote(FLOW, safe='')}",
        f"https%3A%2F%2F{HOST}@evil.example{quote(FLOW, safe='')}",
        f"https%3A%2F%2F{HOST}%2eevil.example{quote(FLOW, safe='')}",
        f"https%3A%2F%2F{HOST}*evil.example{quote(FLOW, safe='')}",
        f"https%3A%2F%2F{HOST}:8443{quote(FLOW, safe='')}",
    ],
)
def test_a_url_of_another_authority_in_a_query_stays(query: str) -> None:
    assert renamed(f"/login?u={query}") == f"/login?u={query}"
