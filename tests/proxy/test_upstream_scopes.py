"""Upstreams of several scopes that overlap: a team takes no absolute target and no link of another scope.

The main scope is empty, the others are those of teams.
"""

from itertools import permutations

import pytest

from gateway.errors import NoRoute
from gateway.proxy.rewriting import RequestContext, UrlMap
from gateway.proxy.routing import Router, UpstreamUrl

GATE = "http://gw:8080"
Entry = tuple[str, str, str]
"""Scope, upstream and name of a route, whose path is `/NAME/`."""

MAIN_ROOT: Entry = ("", "https://oic/", "main")
MAIN: Entry = ("", "https://oic/orders/", "main")
MAIN_BELOW: Entry = ("", "https://oic/orders/special/", "below")
A_ROOT: Entry = ("team a", "https://oic/", "a")
A: Entry = ("team a", "https://oic/orders/", "a")
A_BELOW: Entry = ("team a", "https://oic/orders/special/", "a-below")
A_ALONE: Entry = ("team a", "https://oic/stock/", "stock")
B_ROOT: Entry = ("team b", "https://oic/", "b")
B: Entry = ("team b", "https://oic/orders/", "b")
B_BELOW: Entry = ("team b", "https://oic/orders/special/", "b-below")
B_PLAIN: Entry = ("team b", "http://oic/orders/special/", "b-plain")
MAIN_PLAIN: Entry = ("", "http://oic/orders/", "main")

SEVERAL = "several teams"


def answering(entries: tuple[Entry, ...], target: str) -> str:
    """Return the route of an absolute target; empty if there is none."""
    router = Router(
        ((f"/{name}/", UpstreamUrl.parse(upstream), (scope, name)) for scope, upstream, name in entries),
        scope_of=lambda route: route[0],
    )
    try:
        match = router.resolve_absolute(target)
    except NoRoute as error:
        return SEVERAL if SEVERAL in str(error) else ""
    return "" if match is None else match.route[1]


@pytest.mark.parametrize(
    ("entries", "target", "route"),
    [
        ((MAIN, A), "http://oic/orders/special/1", "main"),
        ((MAIN, A_BELOW), "http://oic/orders/special/1", "main"),
        ((MAIN, A_ROOT), "http://oic/orders/special/1", "main"),
        ((MAIN, A_ROOT), "http://oic/other", "a"),
        ((MAIN_BELOW, A), "http://oic/orders/special/1", "below"),
        ((MAIN_BELOW, A), "http://oic/orders/1", "a"),
        ((MAIN, MAIN_BELOW, A_BELOW), "http://oic/orders/special", "below"),
        ((MAIN_ROOT, A, B), "http://oic/orders/1", "main"),
        ((MAIN_ROOT, A_ALONE), "http://oic/stock/1", "main"),
        ((MAIN, A_ALONE), "http://oic/stock/1", "stock"),
        ((MAIN, A_ALONE), "http://oic/other", ""),
        ((A, A_BELOW), "http://oic/orders/special/1", "a-below"),
        ((A, B), "http://oic/orders/1", SEVERAL),
        ((A, B_BELOW), "http://oic/orders/1", "a"),
        ((A, B_BELOW), "http://oic/orders/special/1", SEVERAL),
        ((A, A_BELOW, B_ROOT), "http://oic/orders/special/1", SEVERAL),
        ((A_ALONE, B), "http://oic/stock/1", "stock"),
        # An authority with a default port means both of them.
        ((MAIN_PLAIN, A_BELOW), "http://oic/orders/special/1", "main"),
        ((MAIN_PLAIN, A_BELOW), "https://oic:443/orders/special/1", "main"),
        ((MAIN, B_PLAIN), "http://oic:80/orders/special/1", "main"),
        ((A, B_PLAIN), "http://oic/orders/special/1", SEVERAL),
        # With the port of the other scheme it means this one alone.
        ((MAIN_PLAIN, A_BELOW), "http://oic:443/orders/special/1", "a-below"),
        ((MAIN, B_PLAIN), "https://oic:80/orders/special/1", "b-plain"),
    ],
)
def test_no_team_takes_an_absolute_target(entries: tuple[Entry, ...], target: str, route: str) -> None:
    for ordered in permutations(entries):
        assert answering(ordered, target) == route


def test_of_equal_upstreams_of_a_scope_the_first_answers() -> None:
    again = ("", "https://oic/orders/", "again")
    assert answering((A, MAIN, again), "http://oic/orders/") == "main"
    assert answering((A, again, MAIN), "http://oic/orders/") == "again"


def test_https_comes_before_http_within_a_scope() -> None:
    entries = (("", "http://oic/orders/special/", "plain"), ("", "https://oic/orders/", "tls"))
    assert answering(entries, "http://oic/orders/special/") == "tls"


def maps(entries: tuple[Entry, ...], design: tuple[Entry, ...] = ()) -> dict[str, UrlMap]:
    """Return the map of each scope; `design` are entries with a design URL in place of the name."""

    def pairs(scope: str | None = None) -> list[tuple[UpstreamUrl, str]]:
        return [(UpstreamUrl.parse(url), f"/{name}/") for owner, url, name in entries if scope in {None, owner}]

    def designs(scope: str | None = None) -> list[tuple[UpstreamUrl, UpstreamUrl]]:
        return [(UpstreamUrl.parse(url), UpstreamUrl.parse(to)) for owner, url, to in design if scope in {None, owner}]

    complete = UrlMap.from_routes(pairs(), design_urls=designs())
    main = complete.for_scope(pairs(""), design_urls=designs(""))
    teams = {owner for owner, _, _ in entries} - {""}
    return {"": main} | {team: complete.for_scope(pairs(team), design_urls=designs(team), main=main) for team in teams}


def link(url_map: UrlMap, answers: Entry, url: str) -> str:
    """Return the path of the gateway in place of a link in a response of a route; `stays` for none."""
    context = RequestContext(UpstreamUrl.parse(answers[1]), GATE, route_path=f"/{answers[2]}/")
    new = url_map.rewrite(url, context)
    return "stays" if new == url else new.removeprefix(GATE)


@pytest.mark.parametrize(
    ("answers", "entries", "path"),
    [
        (MAIN, (MAIN, A), "/main/special/1"),
        (MAIN, (MAIN, A_BELOW), "/main/special/1"),
        (MAIN, (MAIN, B_PLAIN), "/main/special/1"),
        (MAIN, (MAIN, A_ROOT), "/main/special/1"),
        (MAIN_ROOT, (MAIN_ROOT, A, B), "/main/orders/special/1"),
        (MAIN_PLAIN, (MAIN_PLAIN, A_BELOW), "/main/special/1"),
        (A, (MAIN, A), "/a/special/1"),
        (A, (MAIN_ROOT, A), "/a/special/1"),
        (A, (MAIN, A, B), "/a/special/1"),
        (A, (A, B_BELOW), "/a/special/1"),
        (A_ROOT, (A_ROOT, B_BELOW), "/a/orders/special/1"),
        (A_BELOW, (A, A_BELOW, B), "/a-below/1"),
        (A_ROOT, (A_ROOT, MAIN), "/a/orders/special/1"),
        (A_ALONE, (MAIN, A_ALONE, B_BELOW), "/main/special/1"),
        (A_ALONE, (A_ALONE, B), "stays"),
        (MAIN_BELOW, (MAIN_BELOW, A_ALONE, B_ROOT), "/below/1"),
    ],
)
def test_links_lead_to_the_answering_team_or_the_main_file(
    answers: Entry, entries: tuple[Entry, ...], path: str
) -> None:
    for ordered in permutations(entries):
        own = maps(ordered)[answers[0]]
        for start in ("https://oic", "https://OIC:443", "http://oic", "//oic"):
            assert link(own, answers, f"{start}/orders/special/1") == path
        assert link(own, answers, "/orders/special/1") == path


def test_no_team_takes_the_design_host_of_another_scope() -> None:
    """A team names the design host of a route as its upstream, or its own design host is the upstream of others."""
    main, url = ("", "https://oic/ic/api/", "main"), "https://design/ic/api/x"
    upstream = ("team a", "https://design/ic/api/x/", "a")
    found = maps((upstream, main), (("", "https://oic/ic/api/", "https://design/ic/api/"),))
    assert link(found[""], main, url) == "/main/x"
    assert link(found["team a"], upstream, url) == "/a"
    team = ("team a", "https://other/ic/api/", "a")
    found = maps((team, main), (("team a", "https://other/ic/api/", "https://oic/ic/api/"),))
    assert link(found[""], main, "https://oic/ic/api/x") == "/main/x"
    assert link(found["team a"], team, "https://oic/ic/api/x") == "/a/x"


def test_scopes_share_the_search_for_urls() -> None:
    found = maps((MAIN, A_ALONE, B))
    upstream = UpstreamUrl.parse(A_ALONE[1])
    assert found["team a"].searches["json", upstream] is found["team b"].searches["json", upstream]
