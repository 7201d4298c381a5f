"""Cookies of OIC on routes with `keep_cookies`: whose they are, and what callers and OIC get (RFC 6265)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.proxy.cookies import CookieScope
from gateway.proxy.routing import UpstreamUrl
from tests.fakes.gate import Gate, config, scene
from tests.fakes.identity import Identity
from tests.fakes.upstream import Upstream, reply

UPSTREAM = UpstreamUrl.parse("https://acme.example/ic/flows/ORDERS/1.0/")
SCOPE = CookieScope.compile("orders", "/orders/", UPSTREAM)
KEPT = {"keep_cookies": True}


def rewritten_cookie(
    value: str, *, target: str = "/ic/flows/ORDERS/1.0/a/b?c=/d", base: str = "http://gw:8080"
) -> str | None:
    """The Set-Cookie value that a caller gets; None if the cookie is removed."""
    is_proxied = base.startswith("http://acme.example")
    line = SCOPE.response_line(value.encode("latin-1"), target=target, base_url=base, is_proxied=is_proxied)
    return None if line is None else line.decode("latin-1").removeprefix("Set-Cookie: ")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("SID=1; Path=/", "orders~SID=1; Path=/orders"),
        ("SID=1; path=/ic/flows", "orders~SID=1; Path=/orders"),
        ("SID=1; Path=/ic/flows/ORDERS/1.0", "orders~SID=1; Path=/orders"),
        ("SID=1; Path=/ic/flows/ORDERS/1.0/", "orders~SID=1; Path=/orders"),
        ("SID=1; Path=/ic/flows/ORDERS/1.0/x/", "orders~SID=1; Path=/orders/x/"),
        ("SID=1", "orders~SID=1; Path=/orders/a"),
        ("SID=1; Path", "orders~SID=1; Path=/orders/a"),
        ("SID=1; Path=else", "orders~SID=1; Path=/orders/a"),
        ("SID=1; Path=/ic/flows/ORDERS/2.0", None),
        ("SID=1; Path=/ic/flows/ORDERS/1.00", None),
        ("SID=1; Path=/ic/flo", None),
        ("SID=1; Path=/no; Path=/", "orders~SID=1; Path=/orders"),
        ("SID=1; Domain=acme.example; Path=/", "orders~SID=1; Path=/orders"),
        ("SID=1; Domain=.Example; Path=/", "orders~SID=1; Path=/orders"),
        ("SID=1; Domain=me.example; Path=/", None),
        ("SID=1; Domain=evil.example; Path=/", None),
        ("__Host-SID=1; Secure; Path=/", "orders~__Host-SID=1; Path=/orders"),
        ("__Secure-SID=1; Secure; Path=/", "orders~__Secure-SID=1; Path=/orders"),
        ("S=a=b\xe9, c; Path=/; HttpOnly; Max-Age=9; X", "orders~S=a=b\xe9, c; Path=/orders; HttpOnly; Max-Age=9; X"),
        ("S=1; Expires=Thu, 01 Jan 1970; Path=/", "orders~S=1; Path=/orders; Expires=Thu, 01 Jan 1970"),
        ("SID=; Path=/", "orders~SID=; Path=/orders"),
        ("SID; Path=/", None),
        ("=1; Path=/", None),
        ("", None),
    ],
)  # fmt: skip
def test_a_cookie_moves_to_the_route(value: str, expected: str | None) -> None:
    assert rewritten_cookie(value) == expected


@pytest.mark.parametrize(
    ("target", "path"),
    [("/ic/flows/ORDERS/1.0/", "/orders"), ("/ic/flows/ORDERS/1.0", "/orders"), ("/ic/flows/ORDERS/1.0/a", "/orders")],
)
def test_the_default_path_is_the_folder_of_the_request(target: str, path: str) -> None:
    assert rewritten_cookie("SID=1", target=target) == f"orders~SID=1; Path={path}"


@pytest.mark.parametrize(
    ("attributes", "base", "expected"),
    [
        ("Secure; SameSite=None; Partitioned", "https://gw", "; Secure; SameSite=None; Partitioned"),
        ("Secure; SameSite=None; Partitioned", "http://gw", ""),
        ("secure; samesite=Lax", "", "; samesite=Lax"),
        ("Secure", "HTTPS://gw.corp/oic", "; Secure"),
    ],
)
def test_secure_attributes_need_https(attributes: str, base: str, expected: str) -> None:
    prefix = "/oic" if base.endswith("/oic") else ""
    assert (
        rewritten_cookie(f"SID=1; Path=/; {attributes}", base=base) == f"orders~SID=1; Path={prefix}/orders{expected}"
    )


def test_a_caller_with_urls_of_oic_gets_its_paths() -> None:
    assert rewritten_cookie("SID=1; Path=/ic", base="http://acme.example") == "orders~SID=1; Path=/ic/flows/ORDERS/1.0"
    assert rewritten_cookie("SID=1", base="http://acme.example") == "orders~SID=1; Path=/ic/flows/ORDERS/1.0/a"


def test_routes_and_upstreams_at_the_root_have_paths() -> None:
    scope = CookieScope.compile("all", "/", UpstreamUrl.parse("https://acme.example"))
    for path in ("/", "/a"):
        line = scope.response_line(b"S=1; Path=" + path.encode(), target="/", base_url="http://gw", is_proxied=False)
        assert line == b"Set-Cookie: all~S=1; Path=" + path.encode()


NAMES = st.sampled_from(["a", "a.b", "a-b", "b", "A"])


@given(st.lists(st.tuples(NAMES, st.text("abcS~=. ", min_size=1, max_size=6))), NAMES)
def test_a_cookie_goes_back_to_its_own_route_only(cookies: list[tuple[str, str]], route: str) -> None:
    scopes = {
        name: CookieScope.compile(name, "/", UpstreamUrl.parse("http://x")) for name, _ in [*cookies, (route, "")]
    }
    jar, expected = [], []
    for name, pair in cookies:
        line = scopes[name].response_line(pair.encode(), target="/", base_url="http://gw", is_proxied=False)
        if line is not None:
            jar.append(line.removeprefix(b"Set-Cookie: ").partition(b";")[0])
            expected += [pair.strip(" ")] if name == route else []
    sent = scopes[route].request_line(b"; ".join(jar))
    assert sent == (b"Cookie: " + "; ".join(expected).encode() if expected else None)


# On the wire --------------------------------------------------------------------------------------------------------


async def test_cookies_pass_where_the_route_keeps_them() -> None:
    answer = reply(
        200, b"", "Set-Cookie: SID=1; Path=/; Secure; HttpOnly", "Set-Cookie2: x=1", "Set-Cookie: b=2; Path=/"
    )
    async with scene(answer, route=KEPT) as (gate, upstream, _):
        _, head, _ = await gate.get("/orders/1", "Cookie: mine=1; other~SID=2; orders=3")
        assert (
            b"\r\nSet-Cookie: orders~SID=1; Path=/orders; HttpOnly\r\nSet-Cookie: orders~b=2; Path=/orders\r\n" in head
        )
        assert b"Set-Cookie2" not in head
        assert upstream.requests[0].field("Cookie") is None
        await gate.get(
            "/orders/1", "Cookie: mine=1; orders~SID=1;orders~b=\xe9=", "Cookie: other~c=1", "Cookie: orders~c=3"
        )
        assert upstream.requests[1].field("Cookie") == "SID=1; b=\xe9=; c=3"
        await gate.get("/orders/1", "Cookie: orders~SID=1", "Connection: cookie")
        assert upstream.requests[2].field("Cookie") is None


async def test_cookies_are_removed_without_the_key() -> None:
    async with scene(reply(200, b"", "Set-Cookie: SID=1; Path=/")) as (gate, upstream, _):
        _, head, _ = await gate.get("/orders/1", "Cookie: orders~SID=1; SID=2")
        assert b"Cookie" not in head
        assert upstream.requests[0].field("Cookie") is None


async def test_cookies_stay_with_the_host_that_set_them() -> None:
    """A redirect of the developer API leads to the design host."""
    api = "/ic/api/integration/v1/"
    async with Identity() as identity, Upstream() as design, Upstream() as runtime:
        runtime.script = [reply(307, b"", f"Location: {design.url}{api}x", "Set-Cookie: runtime=1; Path=/")]
        design.script = [reply(200, b"", "Set-Cookie: design=1; Path=/")]
        route = {"design": design.url, "keep_cookies": True}
        async with Gate(config(identity.url, runtime.url + api, route=route)) as gate:
            status, head, _ = await gate.get("/orders/x", "Cookie: orders~SID=1")
        assert (status, b"Set-Cookie" in head) == (200, False)
        assert runtime.requests[0].field("Cookie") == "SID=1"
        assert design.requests[0].field("Cookie") is None


async def test_a_retried_request_keeps_its_cookies() -> None:
    async with scene(reply(401, b""), route=KEPT) as (gate, upstream, _):
        assert (await gate.get("/orders/1", "Cookie: orders~SID=1"))[0] == 200
        assert [request.field("Cookie") for request in upstream.requests] == ["SID=1", "SID=1"]
