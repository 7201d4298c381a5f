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
async def test_what_lies_beside_a_routes_upstream_is_nobodys(path: str) -> None:
    async with scene() as (gate, upstream, _):
        assert (await gate.get(f"{upstream.url}{path}"))[0] == 404
        assert upstream.connections == 0


@pytest.mark.parametrize("path", ["/ic/x/../y", "/ic/x/%2e%2e/y", "/ic/x/a%2Fb"])
async def test_ambiguous_paths_are_refused_here_too(path: str) -> None:
    async with scene() as (gate, upstream, _):
        assert (await gate.get(f"{upstream.url}{path}"))[0] == 400
        assert upstream.connections == 0


@pytest.mark.parametrize("own", ["http://localhost", "http://127.0.0.1:8080", "HTTP://gw:80"])
async def test_the_gateways_own_name_is_matched_by_path(own: str) -> None:
    async with scene() as (gate, upstream, _):
        assert (await gate.get(f"{own}/orders/1"))[0] == 200
        assert upstream.requests[0].target == "/ic/x/1"


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


async def test_an_asterisk_is_nobodys() -> None:
    async with scene() as (gate, upstream, _):
        assert (await gate.get("*", method="OPTIONS"))[0] in {400, 404}
        assert upstream.connections == 0
