"""A 307 of the developer API: followed with the token to two places, and nowhere else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.proxy.redirects import resolve_redirect
from gateway.proxy.routing import UpstreamUrl
from tests.fakes.gate import Gate, config, scene
from tests.fakes.identity import Identity
from tests.fakes.upstream import OK, Upstream, reply

API = "/ic/api/integration/v1/"
RUNTIME = UpstreamUrl.parse(f"https://acme.integration.us-phoenix-1.ocp.oraclecloud.com{API}")
DESIGN = UpstreamUrl.parse(f"https://design.integration.us-phoenix-1.ocp.oraclecloud.com{API}")
RUN = f"https://{RUNTIME.host}"
DES = f"https://{DESIGN.host}"


def rewrite_location(location: str) -> tuple[UpstreamUrl, str] | None:
    return resolve_redirect(location, at=RUNTIME, bases=[RUNTIME, DESIGN])


@pytest.mark.parametrize(
    ("location", "place", "target"),
    [
        (f"{DES}{API}integrations?integrationInstance=acme", DESIGN, f"{API}integrations?integrationInstance=acme"),
        (f"{DES}:443{API}integrations", DESIGN, f"{API}integrations"),
        (f"HTTPS://{DESIGN.host.upper()}{API}x%7C1", DESIGN, f"{API}x%7C1"),
        (f"{DES}.{API}integrations", DESIGN, f"{API}integrations"),
        (f"{RUN}{API}integrations", RUNTIME, f"{API}integrations"),
        (f"{API}integrations?q={{code:'X'}}", RUNTIME, f"{API}integrations?q={{code:'X'}}"),
        (f"{DES}{API.rstrip('/')}", DESIGN, API.rstrip("/")),
    ],
)
def test_it_is_followed_to(location: str, place: UpstreamUrl, target: str) -> None:
    assert rewrite_location(location) == (place, target)


@pytest.mark.parametrize(
    "location",
    [
        "",
        "integrations",
        "?x",
        "//evil.example/ic/api/integration/v1/",
        f"https://evil.example{API}",
        f"https://design.integration.eu-frankfurt-1.ocp.oraclecloud.com{API}",
        f"http://{DESIGN.host}{API}",
        f"http://{DESIGN.host}:443{API}",
        f"https://{DESIGN.host}:8443{API}",
        f"https://user@{DESIGN.host}{API}",
        f"https://{DESIGN.host}@evil.example{API}",
        f"https://{DESIGN.host}.evil.example{API}",
        f"https://{DESIGN.host}\\@evil.example{API}",
        f"{DES}/ic/api/integration/v10/integrations",
        f"{DES}/ic/ws/integration/v1/flows/soap/PAY/1.0/",
        f"{DES}{API}../../../ws/",
        f"{DES}{API}%2e%2e/x",
        f"{DES}{API}a%2fb",
        f"{DES}{API}a b",
        f"{DES}{API}a\r\nX: y",
        f"{DES}{API}a?b\r\nX: y",
        f"{DES}{API}a#b",
        f"{DES}{API}\x00",
        f"{DES}{API}\xe9",
        f"{DES}{API}a?b=\xe9",
    ],
)
def test_it_is_not_followed_to(location: str) -> None:
    assert rewrite_location(location) is None


@given(st.text(max_size=60), st.sampled_from([DES, RUN, "https://", "//", ""]))
def test_a_location_never_leads_the_token_elsewhere(rest: str, start: str) -> None:
    found = rewrite_location(start + rest)
    assert found is None or (found[0] in {RUNTIME, DESIGN} and found[1].startswith(API.rstrip("/")))


# On the wire --------------------------------------------------------------------------------------------------------


def to(url: str, *fields: str) -> bytes:
    return reply(307, b"over there", f"Location: {url}", *fields)


async def test_the_request_goes_on_to_the_design_host_as_a_whole() -> None:
    async with Identity() as identity, Upstream() as design, Upstream() as runtime:
        runtime.script = [to(f"{design.url}{API}integrations/A%7C1?x=1")] * 2
        route = {"design": design.url, "query": {"set": {"integrationInstance": "acme"}}}
        async with Gate(config(identity.url, runtime.url + API, route=route)) as gate:
            caller = await gate.caller()
            for _ in range(2):
                await caller.send(
                    b"POST /orders/integrations/A%7C1?x=1 HTTP/1.1\r\nHost: gw\r\nContent-Length: 2\r\n\r\nhi"
                )
                status, head, body = await caller.reply()
                assert (status, body) == (200, b"ok")
                assert b"Location" not in head
        assert [request.body for request in design.requests] == [b"hi", b"hi"]
        assert {request.target for request in design.requests} == {
            f"{API}integrations/A%7C1?x=1&integrationInstance=acme"
        }
        assert design.requests[0].field("Authorization") == "Bearer token-1"
        assert design.requests[0].field("Host") == design.url.removeprefix("http://")
        assert design.connections == 1, "the way to the design host is kept"
        assert [(record.attempts, record.status) for record in gate.records] == [(2, 200)] * 2


async def test_to_the_same_host() -> None:
    async with scene(base=f"{API}x") as at:
        base = at.gate.route.upstream_url.path
        at.upstream.script = [to(f"{at.upstream.url}{base}/2"), OK]
        assert (await at.gate.get())[0] == 200
        assert [request.target for request in at.upstream.requests] == [f"{base}/1", f"{base}/2"]


async def test_elsewhere_is_delivered_without_a_second_request() -> None:
    async with Upstream() as evil, scene(base=f"{API}x") as at:
        base = at.gate.route.upstream_url.path
        for url in (f"{evil.url}{base}/1", "/", f"{at.upstream.url}/other/", f"{at.upstream.url.upper()}/x"):
            at.upstream.script = [to(url)]
            status, head, body = await at.gate.get()
            assert (status, body) == (307, b"over there")
            assert f"\r\nLocation: {url}\r\n".encode() in head
        assert evil.requests == []
        assert len(at.upstream.requests) == 4


async def test_the_business_answer_of_a_flow_is_not_followed() -> None:
    async with scene() as at:
        at.upstream.script = [to(f"{at.gate.route.upstream_url.path}/2", "x-oracle-ics-instance-id: 42")]
        status, head, _ = await at.gate.get()
        assert status == 307
        assert b"\r\nLocation: /orders/2\r\n" in head
        assert len(at.upstream.requests) == 1


FLOWS = [f"{API}flows/rest/ORDERS/1.0", "/ic/ws/integration/v1/flows/soap/PAY/1.0", "/ic/x", "/ic"]


@pytest.mark.parametrize("base", FLOWS)
async def test_a_307_outside_the_developer_api_is_delivered(base: str) -> None:
    async with scene(base=base) as at:
        at.upstream.script = [to(f"{base}/2")]
        status, head, _ = await at.gate.get()
        assert status == 307
        assert b"\r\nLocation: /orders/2\r\n" in head
        assert len(at.upstream.requests) == 1


async def test_a_broad_route_follows_only_calls_of_the_developer_api() -> None:
    async with scene(base="/ic/") as at:
        at.upstream.script = [to(f"{API}integrations/2"), OK]
        assert (await at.gate.get("/orders/api/integration/v1/integrations/1"))[0] == 200
        at.upstream.script = [to(f"{API}flows/rest/A/1.0/2")]
        assert (await at.gate.get("/orders/api/integration/v1/flows/rest/A/1.0/1"))[0] == 307


async def test_other_redirects_are_delivered_in_the_gateways_names() -> None:
    for status in (301, 302, 303, 308):
        async with scene() as at:
            at.upstream.script = [reply(status, b"", f"Location: {at.gate.route.upstream_url.path}/2")]
            got, head, _ = await at.gate.get()
            assert got == status
            assert b"\r\nLocation: /orders/2\r\n" in head
            assert len(at.upstream.requests) == 1


async def test_a_circle_ends() -> None:
    async with scene(base=f"{API}x") as at:
        at.upstream.script = [to(f"{at.gate.route.upstream_url.path}/1")] * 9
        assert (await at.gate.get())[0] == 307
        assert len(at.upstream.requests) == 3


async def test_a_body_that_is_not_whole_any_more_is_not_sent_again() -> None:
    async with scene(base=f"{API}x", route={"replay_limit": "1B"}) as at:
        at.upstream.script = [to(f"{at.gate.route.upstream_url.path}/2")]
        caller = await at.gate.caller()
        await caller.send(b"POST /orders/1 HTTP/1.1\r\nHost: gw\r\nContent-Length: 2\r\n\r\nhi")
        assert (await caller.reply())[0] == 307
        assert len(at.upstream.requests) == 1


@pytest.mark.parametrize(("replay", "method", "sent"), [("never", "GET", 1), ("safe", "POST", 1), ("safe", "GET", 2)])
async def test_a_route_may_forbid_it_as_any_second_sending(replay: str, method: str, sent: int) -> None:
    async with scene(base=f"{API}x", route={"replay": replay}) as at:
        at.upstream.script = [to(f"{at.gate.route.upstream_url.path}/2")]
        status, _, _ = await at.gate.get(method=method)
        assert len(at.upstream.requests) == sent
        assert status == (307 if sent == 1 else 200)


async def test_a_401_of_the_design_host_is_retried_there() -> None:
    async with Identity() as identity, Upstream(reply(401), OK) as design, Upstream() as runtime:
        runtime.script = [to(f"{design.url}{API}integrations")]
        async with Gate(config(identity.url, runtime.url + API, route={"design": design.url})) as gate:
            assert (await gate.get("/orders/integrations"))[0] == 200
        assert [request.field("Authorization") for request in design.requests] == ["Bearer token-1", "Bearer token-2"]
        assert len(runtime.requests) == 1


async def test_the_design_host_of_the_region_is_found_by_itself() -> None:
    async with Identity() as identity:
        upstream = f"https://acme.integration.us-phoenix-1.ocp.oraclecloud.com{API}"
        async with Gate(config(identity.url, upstream)) as gate:
            assert gate.route.design_upstream is not None
            assert gate.route.design_upstream.url == DESIGN
            assert gate.route.design_upstream.host_line == f"Host: {DESIGN.host}".encode()
        async with Gate(config(identity.url, f"{upstream}flows/rest/ORDERS/1.0/")) as gate:
            assert gate.route.design_upstream is None, "a trigger has nothing to do with it"


async def test_links_of_the_design_host_lead_back_to_the_route() -> None:
    async with Identity() as identity, Upstream() as design, Upstream() as runtime:
        runtime.script = [to(f"{design.url}{API}integrations")]
        design.script = [reply(201, b"", f"Location: {design.url}{API}integrations/A%7C1")]
        async with Gate(config(identity.url, runtime.url + API, route={"design": design.url})) as gate:
            _, head, _ = await gate.get("/orders/integrations")
    assert b"\r\nLocation: http://localhost/orders/integrations/A%7C1\r\n" in head
