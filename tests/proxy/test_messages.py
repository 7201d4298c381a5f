"""The messages of a call at the wire: in its record, in the counters, and in the bucket of its hour."""

import base64
from typing import Any

import pytest

from gateway.history.usage_buckets import UsageRow
from gateway.observe.metric_table import PREFIX
from gateway.oic.billed_messages import MESSAGE_SIZE
from tests.fakes.gate import Gate, scene
from tests.fakes.upstream import CLOSE, reply

FLOW = "/ic/api/integration/v1/flows/rest/ORDERS/1.0"
ID = "x-oracle-ics-instance-id: lJrSjUUVEfGXW0tyvl-GZA"


def counter(gate: Gate, name: str) -> dict[Any, Any]:
    return gate.metrics.snapshot()[PREFIX + name]


async def test_a_run_is_counted_by_its_payload() -> None:
    async with scene(*[reply(200, b"", ID)] * 3, service={}) as (gate, _, _):
        await gate.get()
        await gate.post(b"x" * MESSAGE_SIZE)
        await gate.post(b"x" * (2 * MESSAGE_SIZE + 1))
        assert [record.messages for record in gate.records] == [1, 1, 3]
        assert counter(gate, "messages_total") == {("orders",): 5}
        assert counter(gate, "caller_messages_total") == {}
        hour = gate.records[0].time[:13]
        rows = gate.components.usage.rows()
        assert {row.hour for row in rows} == {record.time[:13] for record in gate.records}
        if len(rows) == 1:  # no hour has begun meanwhile
            assert rows == [UsageRow(hour, "acme", "orders", "", 3, 5)]


async def test_a_route_without_service_counts_for_its_host() -> None:
    async with scene(reply(200, b"", ID)) as (gate, _, _):
        await gate.get()
        [row] = gate.components.usage.rows()
        assert (row.service, row.route) == ("127.0.0.1", "orders")


async def test_a_retried_call_counts_once() -> None:
    async with scene(reply(401), reply(200, b"", ID), base=FLOW) as (gate, upstream, _):
        await gate.post(b"x" * 60_000)
        assert len(upstream.requests) == 2
        assert gate.records[0].messages == 2
        assert [(row.calls, row.messages) for row in gate.components.usage.rows()] == [(1, 2)]


@pytest.mark.parametrize("answer", [reply(401), reply(429), reply(503), reply(500), CLOSE])
async def test_a_call_without_proof_of_a_run_counts_nothing(answer: Any) -> None:
    async with scene(*[answer] * 3, base=FLOW) as (gate, _, _):
        await gate.post(b"x")
        [record] = await gate.wait_for_records()
        assert record.messages == 0
        assert counter(gate, "messages_total") == {("orders",): 0}
        assert gate.components.usage.rows() == []


async def test_a_call_that_was_never_sent_counts_nothing() -> None:
    async with scene() as (gate, _, _):
        await gate.get("/nowhere")
        assert gate.records[0].messages == 0
        assert gate.components.usage.rows() == []


async def test_removed_credentials_are_no_payload() -> None:
    space = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd"
    envelope = (
        '<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Header>'
        f'<w:Security xmlns:w="{space}"><w:UsernameToken>{"x" * 60_000}</w:UsernameToken></w:Security>'
        "</s:Header><s:Body/></s:Envelope>"
    )
    async with scene(reply(200, b"", ID)) as (gate, upstream, _):
        await gate.post(envelope.encode(), "Content-Type: text/xml")
        assert len(upstream.requests[0].body) < 1000
        assert gate.records[0].messages == 1


async def test_a_caller_is_counted_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ERP", "s3cr3t-of-erp")
    callers = {"erp": {"basic": {"username": "erp", "password": {"env": "ERP"}}}}
    proof = base64.b64encode(b"erp:s3cr3t-of-erp").decode()
    async with scene(reply(200, b"", ID), callers=callers, route={"callers": ["erp"]}) as (gate, _, _):
        await gate.post(b"x" * 60_000, f"Authorization: Basic {proof}")
        await gate.post(b"x", "Authorization: Basic bm86bm8=")
        assert counter(gate, "caller_messages_total") == {("erp",): 2}
        assert [row.caller for row in gate.components.usage.rows()] == ["erp"]
