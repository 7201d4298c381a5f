"""Callers that name the upstream themselves, with the gateway as their HTTP proxy (RFC 9112 §3.2.2)."""

import pytest

from tests.fakes.gate import scene
from tests.fakes.upstream import reply


async def test_a_target_under_a_routes_upstream_is_that_routes() -> None:
    async with scene() as (gate, upstream, _):
        status, _, _ = await gate.get(f"{upstream.url}/ic/x/1?a=%2F")
        assert status == 200
        [request] = upstream.requests
        assert request.target == "/ic/x/1?a=%2F"
        assert request.field("Host") == f"127.0.0.1:{upstream.port}"
        assert request.field("Authorization") == "Bearer token-1"
        assert (gate.records[0].route, gate.records[0].path) == ("orders", "/ic/x/1")


async def test_locations_stay_in_the_callers_names() -> None:
    async with scene() as (gate, upstream, _):
        upstream.script.append(reply(201, b"", f"Location: {upstream.url}/ic/x/9"))
        _, head, _ = await gate.get(f"{upstream.url}/ic/x/1")
        assert f"\r\nLocation: {upstream.url}/ic/x/9\r\n" in head.decode()


@pytest.mark.parametrize("path", ["/other/1", "/ic/xx", "/ic", "/"])
async def test_a_target_beside_a_routes_upstream_has_no_route(path: str) -> None:
    async with scene() as (gate, upstream, _):
        assert (await gate.get(f"{upstream.url}{path}"))[0] == 404
        assert upstream.connections == 0


@pytest.mark.parametrize("path", ["/ic/x/../y", "/ic/x/%2e%2e/y", "/ic/x/a%2Fb"])
async def test_ambiguous_paths_are_refused_here_too(path: str) -> None:
    async with scene() as (gate, upstream, _):
        assert (await gate.get(f"{upstream.url}{path}"))[0] == 400
        assert upstream.connections == 0


@pytest.mark.parametrize(
    "own", ["http://localhost:{}", "http://127.0.0.1:{}", "HTTP://[::1]:{}", "https://LocalHost.:{}"]
)
async def test_the_listener_itself_is_matched_by_path(own: str) -> None:
    async with scene() as (gate, upstream, _):
        assert (await gate.get(f"{own.format(gate.port)}/orders/1"))[0] == 200
        assert upstream.requests[0].target == "/ic/x/1"


FOREIGN = [
    "erp",
    "erp:8000",
    "10.9.8.7:1234",
    "files.internal",
    "localhost",
    "localhost:3000",
    "127.0.0.1:80",
    "[::1]:9",
]


@pytest.mark.parametrize("authority", FOREIGN)
@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
async def test_what_is_meant_for_others_never_reaches_oic(method: str, authority: str) -> None:
    async with scene() as (gate, upstream, identity):
        status, head, _ = await gate.get(f"http://{authority}/orders/1", method=method)
        assert (status, gate.records[0].error) == (404, "no-route")
        assert b"\r\nX-Gateway-Error: no-route\r\n" in head
        assert upstream.connections == 0
        assert identity.requests == []


async def test_a_listed_host_and_the_public_url_are_the_gateway() -> None:
    async with scene(hosts=["gw.example.com"], public_url="https://public.example.com/oic") as (gate, _, _):
        for own in ("gw.example.com", f"gw.example.com:{gate.port}", "public.example.com", "public.example.com:443"):
            assert (await gate.get(f"http://{own}/orders/1"))[0] == 200
        for other in ("gw.example.com:1", f"public.example.com:{gate.port}"):
            assert (await gate.get(f"http://{other}/orders/1"))[0] == 404


@pytest.mark.parametrize("other", ["http://evil.example.com", "https://oic.example.com:443", "http://a.b@localhost"])
async def test_an_unknown_authority_is_a_404(other: str) -> None:
    async with scene() as (gate, upstream, _):
        assert (await gate.get(f"{other}/orders/1"))[0] in {400, 404}
        assert upstream.connections == 0


async def test_the_authority_counts_and_not_the_host_field() -> None:
    async with scene() as (gate, upstream, _):
        call = f"GET {upstream.url}/ic/x/1 HTTP/1.1\r\nHost: evil.example.com\r\n\r\n"
        assert (await gate.call(call.encode()))[0] == 200
        assert (await gate.get("http://evil.example.com/orders/1"))[0] == 404


async def test_a_foreign_host_field_beside_an_own_target_is_ignored() -> None:
    async with scene() as (gate, upstream, _):
        own = f"http://localhost:{gate.port}/orders/1"
        upstream.script = [reply(201, b"", f"Location: {upstream.url}/ic/x/9")]
        status, head, _ = await gate.call(f"GET {own} HTTP/1.1\r\nHost: evil.example.com\r\n\r\n".encode())
        assert status == 201
        assert f"\r\nLocation: http://localhost:{gate.port}/orders/9\r\n" in head.decode()
        assert (await gate.call(f"GET {own} HTTP/1.1\r\n\r\n".encode()))[0] == 400


@pytest.mark.parametrize("target", ["*", "http://localhost:{}"])
async def test_options_of_the_whole_server_is_answered_by_the_gateway(target: str) -> None:
    async with scene() as (gate, upstream, _):
        status, head, _ = await gate.get(target.format(gate.port), method="OPTIONS")
        assert status == 204
        assert b"\r\nAllow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS\r\n" in head
        assert b"Content-Length" not in head
        assert (gate.records[0].status, gate.records[0].error, gate.records[0].route) == (204, None, None)
        assert upstream.connections == 0


async def test_an_asterisk_is_for_options_and_own_hosts_only() -> None:
    async with scene() as (gate, upstream, _):
        assert (await gate.get("*"))[0] == 400
        assert (await gate.call(b"OPTIONS * HTTP/1.1\r\nHost: evil.example.com\r\n\r\n"))[0] == 403
        assert (await gate.call(b"OPTIONS * HTTP/1.1\r\n\r\n"))[0] == 400
        assert upstream.connections == 0
