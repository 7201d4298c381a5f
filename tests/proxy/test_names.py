"""Replies in the names of the route that answered, not of another with the same upstream."""

from tests.fakes.gate import Gate, config
from tests.fakes.identity import Identity
from tests.fakes.upstream import Upstream, reply


async def test_of_two_routes_with_one_upstream_each_names_itself() -> None:
    async with Identity() as identity, Upstream() as upstream:
        second = {"name": "again", "path": "/again/", "upstream": f"{upstream.url}/ic/x/", "credential": "app"}
        settings = config(identity.url, f"{upstream.url}/ic/x/", routes=[second])
        upstream.script = [reply(201, b"", f"Location: {upstream.url}/ic/x/7")] * 2
        async with Gate(settings) as gate:
            _, first, _ = await gate.get("/orders/")
            _, other, _ = await gate.get("/again/")
    assert b"Location: http://localhost/orders/7\r\n" in first
    assert b"Location: http://localhost/again/7\r\n" in other
