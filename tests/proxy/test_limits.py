"""Rate, burst and quota of a caller, at the wire."""

import re
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest

from gateway.observe.metric_table import PREFIX
from tests.fakes.gate import Gate, Scene, scene
from tests.fakes.upstream import reply

pytestmark = pytest.mark.usefixtures("within_an_hour")

ERP, CRM = "X-Api-Key: key-of-erp", "X-Api-Key: key-of-crm"
RUN = reply(200, b"{}", "x-oracle-ics-instance-id: lJrSjUUVEfGXW0tyvl-GZA")
XML = "Content-Type: text/xml; charset=utf-8"
S11 = b"<s:Envelope xmlns:s='http://schemas.xmlsoap.org/soap/envelope/'><s:Body/></s:Envelope>"


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ERP", "key-of-erp")
    monkeypatch.setenv("CRM", "key-of-crm")


def limited(*script: Any, **limits: Any) -> AbstractAsyncContextManager[Scene]:
    """A route of two callers; the limits are those of `erp`."""
    callers = {"erp": {"api_key": {"env": "ERP"}, **limits}, "crm": {"api_key": {"env": "CRM"}}}
    return scene(*script, callers=callers, route={"callers": ["erp", "crm"]})


async def statuses(gate: Gate, count: int, key: str = ERP) -> list[int]:
    return [(await gate.get("/orders/1", key))[0] for _ in range(count)]


def values(gate: Gate, metric: str) -> dict[Any, Any]:
    return {labels: value for name, labels, value in gate.components.limits.metrics() if name == metric}


async def test_calls_above_rate_and_burst_are_refused() -> None:
    async with limited(rate="1/h", burst=3) as at:
        assert await statuses(at.gate, 5) == [200, 200, 200, 429, 429]
        assert await statuses(at.gate, 5, CRM) == [200] * 5
        assert len(at.upstream.requests) == 8
        assert at.gate.problems == [
            "gateway.limits: calls of the caller are refused: 1 calls an hour, 3 at once",
        ]
        at.gate.problems.clear()


async def test_a_refusal_describes_the_limits() -> None:
    async with limited(rate="1/h", burst=1, quota={"calls": "2/d", "messages": "8000/h"}) as at:
        assert await statuses(at.gate, 1) == [200]
        status, head, body = await at.gate.get("/orders/1", ERP)
        assert status == 429
        assert head.startswith(b"HTTP/1.1 429 Too Many Requests\r\n")
        assert b"\r\nX-Gateway-Error: too-many-requests\r\n" in head
        assert b'\r\nRateLimit-Policy: "rate";q=1;w=3600, "calls";q=2;w=86400, ' in head
        assert b', "messages";q=8000;w=3600;qu="messages"\r\n' in head
        found = re.search(
            rb'\r\nRateLimit: "rate";r=0;t=(\d+), "calls";r=1;t=(\d+), "messages";r=\d+;t=(\d+)\r\n', head
        )
        assert found is not None
        assert found[1] in {b"3599", b"3600"}
        assert f"\r\nRetry-After: {found[1].decode()}\r\n".encode() in head
        assert b'"code": "too-many-requests"' in body
        assert b"limit of 1 calls an hour, 1 at once" in body
        record = at.gate.records[-1]
        assert (record.caller, record.error, record.attempts) == ("erp", "too-many-requests", 0)
        assert record.reason == "caller erp: rate: 1 calls an hour, 1 at once"
        assert at.gate.metrics.snapshot()[f"{PREFIX}caller_requests_total"] == {("erp", "2xx"): 1, ("erp", "4xx"): 1}
        assert values(at.gate, "caller_rejections_total") == {("erp", "rate"): 1}
        at.gate.problems.clear()


async def test_responses_of_oic_get_no_fields_of_limits() -> None:
    """Fields of that name in a response are OIC's own."""
    async with limited(reply(200, b"{}", 'RateLimit: "oic";r=7'), rate="5/h") as at:
        _, head, _ = await at.gate.get("/orders/1", ERP)
        assert head.lower().count(b"ratelimit") == 1
        assert b'\r\nRateLimit: "oic";r=7\r\n' in head


async def test_a_soap_caller_gets_a_fault() -> None:
    async with limited(rate="1/h", burst=1) as at:
        assert await statuses(at.gate, 1) == [200]
        status, head, body = await at.gate.post(S11, XML, "SOAPAction: x", ERP)
        assert status == 500
        assert b"\r\nX-Gateway-Error: too-many-requests; status=429\r\n" in head
        assert b"\r\nRetry-After: " in head
        assert b"<faultcode>soap:Client</faultcode>" in body
        at.gate.problems.clear()


async def test_quota_of_calls_is_that_of_the_hour() -> None:
    async with limited(quota={"calls": "2/h"}) as at:
        assert await statuses(at.gate, 4) == [200, 200, 429, 429]
        assert values(at.gate, "caller_quota_limit") == {("erp", "calls"): 2}
        assert values(at.gate, "caller_quota_used") == {("erp", "calls"): 2}
        status = at.gate.components.limits.status()["erp"]
        assert status["calls"] | {"resets_in_s": 0} == {"limit": 2, "per_s": 3600, "used": 2, "resets_in_s": 0}
        assert 0 < status["calls"]["resets_in_s"] <= 3600
        assert status["problem"]["code"] == "too-many-requests"
        at.gate.problems.clear()


async def test_quota_of_messages_counts_what_oic_bills() -> None:
    """A call that begins below the quota is let through whole, even if it is above it in the end."""
    async with limited(RUN, RUN, RUN, RUN, quota={"messages": "3/h"}) as at:
        body = b"x" * (60 * 1024)  # two messages
        for expected in (200, 200, 429):
            status, _, _ = await at.gate.post(body, ERP, "Content-Type: text/plain")
            assert status == expected
            await at.gate.wait_for_records(1)
            at.gate.components.limits.gates.gate("erp")._report()
        assert values(at.gate, "caller_quota_used") == {("erp", "messages"): 4}
        assert len(at.upstream.requests) == 2
        at.gate.problems.clear()


async def test_requests_that_are_refused_before_do_not_count() -> None:
    callers = {"erp": {"api_key": {"env": "ERP"}, "quota": {"calls": "1/h"}}, "crm": {"api_key": {"env": "CRM"}}}
    async with scene(callers=callers, route={"callers": ["crm"]}) as at:
        assert await statuses(at.gate, 2) == [403, 403]
        assert await statuses(at.gate, 1, "X-Api-Key: wrong") == [401]
        assert values(at.gate, "caller_quota_used") == {("erp", "calls"): 0}


async def test_refused_calls_take_no_place_and_no_token() -> None:
    callers = {"erp": {"api_key": {"env": "ERP"}, "rate": "1/h"}}
    async with scene(callers=callers, route={"callers": ["erp"]}, service={"calls": 1}) as at:
        assert await statuses(at.gate, 3) == [200, 429, 429]
        assert [record.queue_ms is None for record in at.gate.records] == [False, True, True]
        assert len(at.upstream.requests) == 1
        at.gate.problems.clear()


async def test_callers_without_limits_have_no_gate() -> None:
    async with limited() as at:
        assert await statuses(at.gate, 3) == [200] * 3
        assert at.gate.runtime.table.limits == {}
        assert at.gate.components.limits.status() == {}


SOAP_LINES = [XML, 'SOAPAction: "x"']


@pytest.mark.parametrize(
    ("fields", "cut"), [(SOAP_LINES, 0), (SOAP_LINES, 200), (["Content-Type: application/json"], 0)]
)
async def test_a_body_above_its_limit_uses_no_permit_and_no_connection(fields: list[str], cut: int) -> None:
    callers = {"erp": {"api_key": {"env": "ERP"}, "rate": "1/h", "burst": 1}}
    body = S11.replace(b"<s:Body/>", b"<s:Body>" + b"x" * 500 + b"</s:Body>")
    lines = ["POST /orders/1 HTTP/1.1", "Host: gw", ERP, *fields, "Transfer-Encoding: chunked", "", ""]
    data = "\r\n".join(lines).encode() + b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    async with scene(callers=callers, route={"callers": ["erp"]}, limits={"body": "300B"}) as at:
        for _ in range(2):
            caller = await at.gate.caller()
            await caller.send(data[:cut])
            await caller.send(data[cut:])
            _, answer, _ = await caller.reply()
            assert b"\r\nX-Gateway-Error: body-too-large" in answer
        assert (await at.gate.get("/orders/1", ERP))[0] == 200
        assert [record.attempts for record in at.gate.records] == [0, 0, 1]
        assert len(at.upstream.requests) == 1
