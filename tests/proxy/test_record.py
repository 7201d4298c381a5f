"""The record of a request: one on every way out, with what is known by then."""

import asyncio
import time

from msgspec import UNSET

from gateway.observe.meters import RouteMeter
from gateway.observe.record import Record
from gateway.observe.timestamp import timestamp
from tests.fakes.gate import Gate, config, scene, until
from tests.fakes.identity import Identity
from tests.fakes.upstream import ScriptedConnection, Upstream, reply


async def test_a_record_describes_the_request() -> None:
    started_at = time.time()
    ids = ("x-oracle-ics-instance-id: lJrSjUUVEfGXW0tyvl-GZA", "opc-request-id: A/B/C")
    async with scene(reply(202, b"fine", *ids)) as (gate, _, _):
        await gate.post(b"hello", "X-Request-Id: mine", target="/orders/1?secret=x")
        [record] = gate.records
        assert timestamp(started_at) <= record.time <= timestamp(time.time())
        assert (record.request_id, record.route, record.credential) == ("mine", "orders", "app")
        assert (record.client, record.method, record.path) == ("127.0.0.1", "POST", "/orders/1")
        assert (record.status, record.upstream_status, record.attempts) == (202, 202, 1)
        assert (record.instance_id, record.opc_request_id) == ("lJrSjUUVEfGXW0tyvl-GZA", "A/B/C")
        assert (record.bytes_in, record.bytes_out) == (5, 4)
        assert (record.error, record.reason) == (None, UNSET)
        assert record.upstream_ms is not None
        assert 0 < record.upstream_ms <= record.duration_ms
        assert 0 < record.token_wait_ms < record.duration_ms
        assert "token-1" not in repr(record)


async def test_times_have_three_decimals() -> None:
    async with scene(service={"calls": 1}) as (gate, _, _):
        await asyncio.gather(*(gate.get() for _ in range(3)))
        for record in gate.records:
            times = (record.duration_ms, record.upstream_ms, record.token_wait_ms, record.queue_ms)
            assert all(time is not None and round(time, 3) == time for time in times)


async def test_a_kept_token_costs_no_wait() -> None:
    async with scene() as (gate, _, _):
        await gate.get()
        await gate.get()
        assert gate.records[1].token_wait_ms == 0


async def test_a_request_that_never_left_has_no_upstream_time() -> None:
    async with scene() as (gate, _, _):
        await gate.get("/nope?secret=x")
        [record] = gate.records
        assert (record.upstream_ms, record.upstream_status, record.attempts, record.route) == (None, None, 0, None)
        assert record.path == "/nope"


async def test_a_refused_method_is_counted_for_its_route() -> None:
    async with scene(route={"methods": ["GET"]}) as (gate, _, _):
        await gate.get(method="DELETE")
        [record] = gate.records
        assert (record.route, record.error, record.status) == ("orders", "method-not-allowed", 405)
        assert gate.route.meter.requests == {("DELETE", 4, "caller"): 1}


class Full(Gate):
    """A gateway whose records go nowhere."""

    def _sink(self, record: Record, _meter: RouteMeter, _service: str) -> None:
        raise OSError("no space left")


async def test_a_failed_record_leaves_no_request_under_way() -> None:
    async with Identity() as identity, Upstream() as upstream, Full(config(identity.url, upstream.url + "/x")) as gate:
        caller = await gate.caller()
        await until(lambda: len(gate.server.connections) == 1)
        [connection] = gate.server.connections
        await caller.send(b"GET /orders/1 HTTP/1.1\r\nHost: gw\r\n\r\n")
        await until(lambda: bool(gate.problems))
        assert "no space left" in gate.problems.pop()
        assert (gate.forward.in_flight, connection.is_serving) == (0, False)


async def test_a_broken_response_has_status_and_error_in_its_record() -> None:
    async def cut(peer: ScriptedConnection) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n")
        await caller_has_it.readuntil(b"\r\n\r\n")
        await peer.send(b"part")

    async with scene(cut) as (gate, _, _):
        caller = await gate.caller()
        caller_has_it = caller.reader
        await caller.send(b"GET /orders/1 HTTP/1.1\r\nHost: gw\r\n\r\n")
        [record] = await gate.wait_for_records()
        assert (record.status, record.upstream_status, record.error) == (200, 200, "upstream-broken")
        assert record.bytes_out == 4
        assert gate.route.meter.requests == {("GET", 2, "upstream"): 1}


async def test_every_request_on_a_connection_has_its_own_record() -> None:
    async with scene() as (gate, _, _):
        caller = await gate.caller()
        await caller.send(
            b"GET /orders/1 HTTP/1.1\r\nHost: gw\r\n\r\nGET /nope HTTP/1.1\r\nHost: gw\r\n\r\nGARBAGE\r\n\r\n"
        )
        while await caller.reader.readuntil(b"\r\n\r\n"):
            if len(gate.records) >= 1:
                break
        await caller.read_to_end()
        assert len({record.request_id for record in gate.records}) == len(gate.records)
