"""What only explains runs behind the delivery, and whatever fails there harms no call."""

import pytest

from tests.fakes.gate import scene
from tests.fakes.upstream import reply

LOCATIONS = [
    "http://[",
    "http://[::1]x/",
    "//[",
    "http://h:99999999/",
    "http://h:x/",
    "http://\xe2\x84\x80/",
    "\xff",
    "",
]


@pytest.mark.parametrize("location", LOCATIONS)
@pytest.mark.parametrize("status", [301, 302, 307, 308, 201])
async def test_an_odd_location_is_delivered_as_it_came(location: str, status: int) -> None:
    bases = ("/ic/x", "/ic/api/integration/v1/", "/ic/api/integration/v1/flows/rest/ORDERS/1.0")
    for base in bases:
        async with scene(reply(status, b"done", f"Location: {location}"), base=base) as at:
            got, head, body = await at.gate.get()
            assert (got, body) == (status, b"done")
            assert f"\r\nLocation: {location}\r\n".encode("latin-1") in head
            assert (at.gate.records[0].status, at.gate.records[0].error) == (status, None)
            at.gate.route.health.as_status()


@pytest.mark.parametrize("after", ["reply", "failure"])
async def test_an_explanation_that_fails_is_logged_and_no_more(after: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise LookupError("a defect")

    async with scene(reply(404, b"nothing") if after == "reply" else b"no HTTP\r\n\r\n") as at:
        monkeypatch.setattr(type(at.gate.route.health), "record_response", fail)
        monkeypatch.setattr(type(at.gate.route.health), "record_failure", fail)
        status, _, _ = await at.gate.get()
        assert status == (404 if after == "reply" else 502)
        assert at.gate.problems == ["gateway.forward: cannot update the health of a route"]
        at.gate.problems.clear()
        assert (await at.gate.get())[0] == 200


async def test_a_failed_search_for_the_instance_id_harms_no_call(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise LookupError("a defect")

    response = reply(502, b'{"oicInstanceId": "1"}', "Content-Type: application/json")
    async with scene(response) as at:
        monkeypatch.setattr(type(at.gate.route.instance_id_finder), "find", fail)
        assert (await at.gate.get())[0] == 502
        assert len(at.upstream.requests) == 1, "a flow may have run"
        assert at.gate.problems == ["gateway.forward: cannot search a body for the instance id"]
        at.gate.problems.clear()
