"""Where a request goes: byte for byte, and never out of its prefix, whatever the server behind makes of the path."""

import posixpath
import re
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from gateway.errors import BadRequest, GatewayError, NoRoute
from gateway.proxy.routing import (
    AbsoluteTargetTable,
    OriginTable,
    PrefixTable,
    RouteMatch,
    Router,
    UpstreamUrl,
    split_absolute,
)

ACME = "https://acme.integration.us-phoenix-1.ocp.oraclecloud.com"
FLOW = "/ic/api/integration/v1/flows/rest/ORDERS/1.0"
ROUTING = Router(
    [
        ("/orders/", UpstreamUrl.parse(f"{ACME}{FLOW}/"), "orders"),
        ("/orders/special", UpstreamUrl.parse(f"{ACME}/special"), "special"),
        ("/bare", UpstreamUrl.parse("http://sandbox:8000"), "bare"),
        ("/v6", UpstreamUrl.parse("http://[FD00::1]:8080/six"), "six"),
    ]
)
EVERYWHERE = Router([("", UpstreamUrl.parse(f"{ACME}{FLOW}/"), "all")])


def verdict(target: str, routing: Router[str] = ROUTING) -> str:
    try:
        return routing.resolve_path(target).target
    except GatewayError as error:
        return error.code


@pytest.mark.parametrize(
    ("target", "route", "upstream"),
    [
        ("/orders", "orders", f"{FLOW}/"),
        ("/orders/", "orders", f"{FLOW}/"),
        ("/orders/17", "orders", f"{FLOW}/17"),
        ("/orders/17?a=1&a=2&b", "orders", f"{FLOW}/17?a=1&a=2&b"),
        ("/orders?", "orders", f"{FLOW}/?"),
        ("/orders/specials", "orders", f"{FLOW}/specials"),
        ("/orders/special", "special", "/special"),
        ("/orders/special/", "special", "/special/"),
        ("/orders/special/x", "special", "/special/x"),
        ("/orders//x//", "orders", f"{FLOW}//x//"),
        ("/orders//special", "orders", f"{FLOW}//special"),
        ("/bare", "bare", "/"),
        ("/bare/x", "bare", "/x"),
        ("/v6/x", "six", "/six/x"),
    ],
)
def test_the_longest_prefix_wins_on_segment_borders(target: str, route: str, upstream: str) -> None:
    assert ROUTING.resolve_path(target) == RouteMatch(route, upstream, target.partition("?")[0])


@pytest.mark.parametrize("target", [
    "/", "/orderss", "/order", "/ORDERS/1", "/orders;v=1/2", "//orders/1", "/%6frders/1", "*", "", "orders/1",
    "ftp://localhost/orders/1", "localhost:80",
])  # fmt: skip
def test_what_no_prefix_fits_has_no_route(target: str) -> None:
    with pytest.raises(NoRoute):
        ROUTING.resolve_path(target)


@pytest.mark.parametrize(
    "rest",
    [
        "%7C/CODE%7c1.0", "a%20b", "a+b", "caf%C3%A9", "%E9t%E9", "a;v=1;w", "a:b@c", "a,b", "...", "..a", "a..",
        ".a", "a.", "1.0/x.json", "%252F", "%25252f", "%25", "~a!$&'()*=", '"<>^`{|}', "%2C", "a;..", "x%2e",
        "%2ejs", "x?../..", "x?a=/../b", "x?%2e%2e%2f%00", "x?a?b", "x?\\", "x?%zz", "%C3%80", "%C0x", "%E0%A0%80",
    ],
)  # fmt: skip
def test_target_bytes_pass_unchanged(rest: str) -> None:
    assert ROUTING.resolve_path(f"/orders/{rest}").target == f"{FLOW}/{rest}"


@pytest.mark.parametrize(
    "rest",
    [
        "..", ".", "../", "./", "a/../b", "a/..", "%2e", "%2E%2e", ".%2e", "%2e./x", "..;", "..;/x", ".;a=1/x",
        "%2e%2e;a=b/x", "..;;/", ";/../x", "..%3b/x", "..%3Ba=1", "..%253b/x", "%252e%252e", "%25252e./x",
        "a%252f..%252fb", "a%252f%252e%252e/b", "..%252fx", "..%255cx", "..;a%252fx", "a%2fb", "a%2Fb", "a%5cb",
        "a%5Cb", "a\\b", "..\\x", "a%00", "a%00.json", "%c0%ae%c0%ae/x", "%C0%AF", "%c1%9c", "%e0%80%af",
        "%f0%80%80%ae", "%c0%80", "%", "%4", "%zz", "%u002e", "a#b", "#", "a b", "a\tb", "a\r\nX: y", "a\n", "a\x00",
        "a\x7f", "\x01", "x?a#b", "x?a b", "x?a\r\nX: y", "x?\x00",
    ],
)  # fmt: skip
@pytest.mark.parametrize("routing", [ROUTING, EVERYWHERE], ids=["prefixed", "root"])
def test_what_has_two_readings_is_refused(rest: str, routing: Router[str]) -> None:
    assert verdict(f"/orders/{rest}", routing) == "bad-request"


@pytest.mark.parametrize("target", ["*", "", "?a", "x", "ftp://localhost/x"])
def test_a_target_that_is_no_path_has_no_route(target: str) -> None:
    with pytest.raises(NoRoute):
        EVERYWHERE.resolve_path(target)


def test_a_path_without_a_route_is_refused_first_for_its_dots() -> None:
    with pytest.raises(BadRequest):
        ROUTING.resolve_path("/nowhere/../orders/1")


PIECES = st.sampled_from(
    [
        "a", "1.0", "..", ".", "/", "//", ";", ";x=1", "\\", "%", "25", "2e", "%2e", "%2E", "%252e", "%2f", "%252f",
        "%5c", "%255c", "%3b", "%253b", "%00", "%c0%ae", "%C0%AF", "%20", "#", "?", "orders", "special", "\x00", " ",
        "é", "\udcc0", "%41", "&",
    ]
)  # fmt: skip
PATHS = st.one_of(st.lists(PIECES, max_size=12).map("".join), st.text(max_size=30))


def decoded(path: bytes) -> bytes:
    return unquote_to_bytes(path)


def without_parameters(path: bytes) -> bytes:
    return re.sub(rb";[^/]*", b"", path)


def normalised(path: bytes) -> bytes:
    """What a lenient server resolves: backslashes are slashes, empty segments nothing, dot segments steps."""
    slashed = path.replace(b"\\", b"/")
    return posixpath.normpath(b"/" + slashed.lstrip(b"/"))


READINGS = {
    "decode, cut, resolve": lambda path: normalised(without_parameters(decoded(path))),
    "cut, decode, resolve": lambda path: normalised(decoded(without_parameters(path))),
    "decode, resolve, cut": lambda path: without_parameters(normalised(decoded(path))),
    "decode twice, cut, resolve": lambda path: normalised(without_parameters(decoded(decoded(path)))),
    "resolve alone": normalised,
}


@pytest.mark.parametrize("reading", READINGS)
@pytest.mark.parametrize(("routing", "prefix"), [(ROUTING, "/orders"), (EVERYWHERE, "")], ids=["prefixed", "root"])
@given(rest=PATHS)
@example(rest="..;/..;/admin")
@example(rest="%252e%252e%252fconsole.portal")
def test_no_path_escapes_its_prefix(reading: str, routing: Router[str], prefix: str, rest: str) -> None:
    target = f"{prefix}/{rest}"
    assume(verdict(target, routing) not in {"bad-request", "no-route"})
    way = routing.resolve_path(target)
    under = (FLOW if way.route != "special" else "/special").encode()
    raw = way.target.partition("?")[0].encode("utf-8", "surrogateescape")
    seen = READINGS[reading](raw)
    assert seen == under or seen.startswith(under + b"/")


@given(PATHS)
def test_an_accepted_target_keeps_every_byte_behind_its_prefix(rest: str) -> None:
    target = f"/orders/{rest}"
    try:
        way = ROUTING.resolve_path(target)
    except GatewayError:
        return
    prefix, upstream = ("/orders/special", "/special") if way.route == "special" else ("/orders", FLOW)
    assert way.target == upstream + target.removeprefix(prefix)
    assert way.path == target.partition("?")[0]


@given(rest=PATHS, absolute=st.booleans())
def test_nothing_accepted_can_break_the_request_line(rest: str, *, absolute: bool) -> None:
    try:
        way = ROUTING.resolve_absolute(f"{ACME}{FLOW}/{rest}") if absolute else ROUTING.resolve_path(f"/orders/{rest}")
    except GatewayError:
        return
    assert way is not None
    assert not re.search(r"[\x00-\x20\x7f#]", way.target)


SEGMENTS = st.lists(st.sampled_from(["a", "b", "ab", ""]), max_size=4).map(
    lambda parts: "".join(f"/{part}" for part in parts)
)


@given(st.lists(SEGMENTS, unique_by=lambda path: path.rstrip("/"), max_size=6), SEGMENTS)
def test_prefixes_agree_with_the_definition(prefixes: list[str], path: str) -> None:
    found = PrefixTable((prefix, prefix.rstrip("/")) for prefix in prefixes).find(path)
    fitting = [
        bare for bare in (prefix.rstrip("/") for prefix in prefixes) if path == bare or path.startswith(f"{bare}/")
    ]
    longest = max(fitting, key=len, default=None)
    assert found == (None if longest is None else (longest, path[len(longest) :]))


# Absolute form (RFC 9112 §3.2.2): a caller that can only set an HTTP proxy --------------------------------------------


@pytest.mark.parametrize(
    ("named", "route"),
    [
        (f"http://{ACME[8:]}", "orders"),
        (f"https://{ACME[8:]}", "orders"),
        (f"HTTP://{ACME[8:].upper()}", "orders"),
        (f"http://{ACME[8:]}:443", "orders"),
        (f"https://{ACME[8:]}:443", "orders"),
        (f"http://{ACME[8:]}:80", "orders"),
        (f"http://{ACME[8:]}:", "orders"),
        (f"http://{ACME[8:]}.", "orders"),
        (f"https://{ACME[8:]}.:443", "orders"),
    ],
)
def test_an_absolute_target_under_an_upstream_has_its_route(named: str, route: str) -> None:
    way = ROUTING.resolve_absolute(f"{named}{FLOW}/17?a=%2f#"[:-1])
    scheme, _, authority = named.partition("://")
    assert way == RouteMatch(route, f"{FLOW}/17?a=%2f", f"{FLOW}/17", proxied_as=f"{scheme.lower()}://{authority}")


@pytest.mark.parametrize(
    ("target", "sent"),
    [
        ("http://sandbox:8000", "/"),
        ("http://sandbox:8000?a", "/?a"),
        ("http://sandbox:8000/x", "/x"),
        ("https://sandbox:8000//x", "//x"),
        ("http://[fd00::1]:8080/six/a", "/six/a"),
        ("http://[FD00::1]:8080/six", "/six"),
        ("http://[fd00:0:0::1]:8080/six", "/six"),
    ],
)
def test_an_absolute_target_is_sent_in_origin_form(target: str, sent: str) -> None:
    way = ROUTING.resolve_absolute(target)
    assert way is not None
    assert way.target == sent


@pytest.mark.parametrize(
    "target",
    [
        "http://localhost/orders/1", "http://sandbox/x", "http://sandbox:8001/x", "http:///x", "http://",
        "http://user@sandbox:8000/x", "http://user:secret@sandbox:8000/x", "http://sandbox:8000@evil/x",
        "http://sandbox:8000:1/x", "http://sandbox:800000/x", "http://sandbox:-1/x", "http://sandbox:٨٠٠٠/x",
        "http://fd00::1:8080/six", "http://[fd00::1:8080/six", "http://[fd00::1]8080/six",
        "http://sandbox%2f:8000/x", "http://sandbox\\:8000/x", "http:/sandbox:8000/x",
        "ftp://sandbox:8000/x", "http\u017f://sandbox:8000/x", "sandbox:8000", "//sandbox:8000/x", "/x", "*", "",
    ],
)  # fmt: skip
def test_an_authority_that_is_no_upstream_has_no_route(target: str) -> None:
    assert ROUTING.resolve_absolute(target) is None


@pytest.mark.parametrize("target", [f"{ACME}/other", f"{ACME}{FLOW}x", ACME, "http://[fd00::1]:8080/sixx"])
def test_an_upstream_s_path_outside_every_route_has_no_route(target: str) -> None:
    with pytest.raises(NoRoute):
        ROUTING.resolve_absolute(target)


@pytest.mark.parametrize("rest", ["/../x", "/%2e%2e/x", "/..;/x", "/a%2fb", "/a\\b", "/a#b", "/x?a#b", "/%252e%252e/"])
def test_an_absolute_target_is_held_to_the_same_rules(rest: str) -> None:
    with pytest.raises(BadRequest):
        ROUTING.resolve_absolute(f"{ACME}{FLOW}{rest}")


def test_of_routes_that_share_an_upstream_the_first_answers() -> None:
    shared = UpstreamUrl.parse(ACME)
    way = Router([("/a", shared, "a"), ("/b", shared, "b")]).resolve_absolute(f"{ACME}/x")
    assert way is not None
    assert way.route == "a"


@pytest.mark.parametrize(
    ("target", "parts"),
    [
        ("http://gw:8080/a?b", ("gw:8080", "/a?b")),
        ("HTTPS://gw", ("gw", "/")),
        ("http://gw?b", ("gw", "/?b")),
        ("http://gw#f", ("gw", "/#f")),
        ("http:///a", ("", "/a")),
        ("http://user@gw/a", ("user@gw", "/a")),
        ("/a", None),
        ("//gw/a", None),
        ("*", None),
        ("gw:80", None),
        ("ftp://gw/a", None),
        ("http\u017f://gw/a", None),
    ],
)
def test_an_absolute_target_comes_apart(target: str, parts: tuple[str, str] | None) -> None:
    assert split_absolute(target) == parts


@pytest.mark.parametrize(
    ("url", "base", "authority"),
    [
        ("https://A.Example/x/Y/", UpstreamUrl("https", "a.example", 443, "/x/Y/"), "a.example"),
        ("https://a:443", UpstreamUrl("https", "a", 443, "/"), "a"),
        ("http://a:443/", UpstreamUrl("http", "a", 443, "/"), "a:443"),
        ("https://a:80/", UpstreamUrl("https", "a", 80, "/"), "a:80"),
        ("HTTP://[FD00::1]:8080/x", UpstreamUrl("http", "fd00::1", 8080, "/x"), "[fd00::1]:8080"),
        ("http://[::1]", UpstreamUrl("http", "::1", 80, "/"), "[::1]"),
    ],
)
def test_an_upstream_url_comes_apart(url: str, base: UpstreamUrl, authority: str) -> None:
    assert UpstreamUrl.parse(url) == base
    assert base.authority == authority


def test_an_origin_is_looked_up_on_both_default_ports() -> None:
    entries = [(UpstreamUrl.parse("https://a/x"), "tls"), (UpstreamUrl.parse("http://a/y"), "plain")]
    targets = AbsoluteTargetTable(("", upstream, value) for upstream, value in entries)
    assert targets.find("http", "A", "/x/1") == "tls"
    assert targets.find("https", "a:443", "/y/1") == "plain"
    assert targets.find("http", "a:443", "/y/1") is None
    for table in (targets, OriginTable(entries)):
        assert table.has_origin("http", "a:443")
        assert not table.has_origin("http", "a:8080")
