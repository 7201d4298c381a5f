"""Calls at once, the circuit breaker and the retry budget of a service, at the wire."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from gateway.services.circuit_breaker import FAILURE_THRESHOLD
from gateway.services.service_gate import ServiceGate
from tests.fakes.gate import Caller, Gate, Scene, scene, until
from tests.fakes.identity import Answer, token
from tests.fakes.upstream import OK, ScriptedConnection, reply

GET = b"GET /orders/1 HTTP/1.1\r\nHost: localhost\r\n\r\n"
BUSY = reply(429, b"busy")
BROKEN = reply(503, b"down")
FAILED_RUN = reply(503, b"fault", "x-oracle-ics-instance-id: lJrSjUUVEfGXW0tyvl-GZA")


class GatedUpstream:
    """Calls that an upstream answers when the test says so; `most` is the highest number at once."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.running = self.most = 0
        self.targets: list[str] = []
        self.tokens: list[str | None] = []

    async def __call__(self, peer: ScriptedConnection) -> None:
        while True:
            request = await peer.request()
            self.targets.append(request.target)
            self.tokens.append(request.field("Authorization"))
            self.running += 1
            self.most = max(self.most, self.running)
            try:
                await self.gate.wait()
            finally:
                self.running -= 1
            await peer.send(OK)


def service_of(stage: Scene) -> ServiceGate:
    return stage.gate.components.services.gates.configured[0]


@asynccontextmanager
async def wait_for_calls(
    connections: int, tokens: tuple[Answer, ...] = (), **service: Any
) -> AsyncIterator[tuple[Scene, GatedUpstream, ServiceGate]]:
    calls = GatedUpstream()
    async with scene(*[calls] * connections, tokens=tokens, service=service) as stage:
        yield stage, calls, service_of(stage)


async def calling(gate: Gate, count: int, address: str | None = None, target: str = "1") -> list[Caller]:
    callers = [await gate.caller(address) for _ in range(count)]
    for caller in callers:
        await caller.send(GET.replace(b"/orders/1", b"/orders/%b" % target.encode()))
    return callers


async def statuses(callers: list[Caller]) -> list[int]:
    return [(await caller.reply())[0] for caller in callers]


async def test_no_more_calls_at_once_than_the_limit() -> None:
    async with wait_for_calls(3, calls=3) as (stage, calls, service):
        callers = await calling(stage.gate, 30)
        await until(lambda: service.waiting == 27 and calls.running == 3)
        calls.gate.set()
        assert await statuses(callers) == [200] * 30
        await stage.gate.wait_for_records(30)
        assert calls.most == 3
        assert sum(service.queue_times[:-1]) == 30
        queue_times = sorted(record.queue_ms or 0.0 for record in stage.gate.records)
        assert queue_times[0] == 0.0
        assert queue_times[3] > 0.0


async def test_packs_set_the_limit() -> None:
    async with scene(service={"packs": 2}) as stage:
        assert service_of(stage).state.limit == 180


async def test_route_of_another_host_has_no_service() -> None:
    async with scene(services={"other": {"url": "https://other.example", "calls": 1}}) as stage:
        assert stage.gate.route.service is None
        assert (await stage.gate.get())[0] == 200
        [record] = await stage.gate.wait_for_records()
        assert record.queue_ms is None


async def test_call_that_waits_too_long_is_overloaded() -> None:
    async with wait_for_calls(1, calls=1, wait="10ms") as (stage, calls, service):
        first = await calling(stage.gate, 1)
        await until(lambda: calls.running == 1)
        status, head, _ = await stage.gate.get()
        assert status == 503
        assert b"\r\nX-Gateway-Error: overloaded\r\n" in head
        assert b"\r\nRetry-After: 60\r\n" in head, "no call has ended in the last ten seconds"
        [record] = await stage.gate.wait_for_records()
        assert record.reason == "service acme: no place of 1 became free within 0.01 s"
        assert record.attempts == 0
        assert service.overloaded == 1
        calls.gate.set()
        assert await statuses(first) == [200]
        assert await statuses(await calling(stage.gate, 1)) == [200]


async def test_light_caller_is_served_beside_a_flood() -> None:
    async with wait_for_calls(1, calls=1) as (stage, calls, service):
        flood = await calling(stage.gate, 20, "127.0.0.1", "flood")
        await until(lambda: service.waiting == 19 and calls.running == 1)
        light = await calling(stage.gate, 1, "127.0.0.2", "light")
        await until(lambda: service.waiting == 20)
        calls.gate.set()
        assert await statuses([*light, *flood]) == [200] * 21
        assert calls.targets.index("/ic/x/light") <= 2


async def test_callers_are_served_by_their_share() -> None:
    calls = GatedUpstream()
    callers = {"big": {"networks": ["127.0.0.2/32"], "share": 3}, "small": {"networks": ["127.0.0.3/32"]}}
    route = {"callers": ["big", "small"]}
    async with scene(calls, service={"calls": 1}, callers=callers, route=route) as stage:
        service = service_of(stage)
        waiting = await calling(stage.gate, 1, "127.0.0.3", "first")
        await until(lambda: calls.running == 1)
        for address, target in (("127.0.0.3", "small"), ("127.0.0.2", "big")):
            waiting += await calling(stage.gate, 8, address, target)
        await until(lambda: service.waiting == 16)
        calls.gate.set()
        assert await statuses(waiting) == [200] * 17
        served = [target.rpartition("/")[2] for target in calls.targets[1:9]]
        assert (served.count("big"), served.count("small")) == (6, 2)


async def test_caller_that_leaves_gives_its_place_up() -> None:
    async with wait_for_calls(2, calls=1) as (stage, calls, service):
        [running] = await calling(stage.gate, 1)
        await until(lambda: calls.running == 1)
        waiting = await calling(stage.gate, 2)
        await until(lambda: service.waiting == 2)
        waiting[0].reset()
        await until(lambda: service.waiting == 1)
        running.reset()
        await until(lambda: len(calls.targets) == 2 and service.waiting == 0)
        calls.gate.set()
        assert await statuses([waiting[1]]) == [200]
        assert [record.error for record in await stage.gate.wait_for_records(3)] == ["caller-gone", "caller-gone", None]


async def test_asynchronous_flow_holds_its_place_for_its_call_only() -> None:
    accepted = reply(202, b"", "x-oracle-ics-instance-id: lJrSjUUVEfGXW0tyvl-GZA")
    async with scene(accepted, accepted, service={"calls": 1}) as stage:
        caller = await stage.gate.caller()
        for _ in range(2):
            await caller.send(GET)
            assert (await caller.reply())[0] == 202
        assert service_of(stage).running == 0


async def test_slow_upload_takes_no_place() -> None:
    async with scene(service={"calls": 1}) as stage:
        slow = await stage.gate.caller()
        await slow.send(b"POST /orders/1 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\nab")
        assert (await stage.gate.get())[0] == 200
        await slow.send(b"cd")
        assert (await slow.reply())[0] == 200


async def test_caller_that_does_not_read_its_responses_takes_no_place() -> None:
    body, count = b"x" * 60_000, 250  # more than the buffers of sockets

    async def answer(peer: ScriptedConnection) -> None:
        while True:
            await peer.request()
            await peer.send(reply(200, body))

    async with scene(answer, service={"calls": 1}) as stage:
        caller, service = await stage.gate.caller(), service_of(stage)
        await caller.send(GET * count)
        [connection] = stage.gate.server.connections
        await until(lambda: connection.write_paused and stage.gate.forward.in_flight == 1 and service.running == 0)
        assert (await stage.gate.get())[2] == body
        assert [(await caller.reply())[2] == body for _ in range(count)] == [True] * count
        await stage.gate.wait_for_records(count + 1)
        assert service.running == 0


async def test_token_is_taken_after_the_wait() -> None:
    """A token that was renewed while the request waited is not sent any more."""
    async with wait_for_calls(2, (token("old"), token("new")), calls=1) as (stage, calls, service):
        first = await calling(stage.gate, 1)
        await until(lambda: calls.running == 1)
        second = await calling(stage.gate, 1)
        await until(lambda: service.waiting == 1)
        await stage.gate.route.token_source.renew_rejected_token("old", "orders")
        calls.gate.set()
        assert await statuses([*first, *second]) == [200, 200]
        assert calls.tokens == ["Bearer old", "Bearer new"]


@pytest.mark.parametrize(("answer", "limit"), [(BUSY, 7), (BROKEN, 7), (FAILED_RUN, 10), (reply(500), 10)])
async def test_refusal_without_instance_id_lowers_the_limit(answer: bytes, limit: int) -> None:
    async with scene(answer, service={"calls": 10}, route={"replay": "never"}) as stage:
        await stage.gate.get()
        await stage.gate.wait_for_records()
        assert service_of(stage).state.limit == limit
        if limit < 10:
            assert stage.gate.problems == [
                "gateway.services: the service refuses calls; fewer are sent at once for a while"
            ]
            stage.gate.problems.clear()


async def broken(stage: Scene, count: int) -> None:
    for _ in range(count):
        assert (await stage.gate.get())[0] == 503
    await stage.gate.wait_for_records(count)


async def test_open_circuit_rejects_calls() -> None:
    async with scene(*[BROKEN] * FAILURE_THRESHOLD, service={}, route={"replay": "never"}) as stage:
        await broken(stage, FAILURE_THRESHOLD)
        status, head, _ = await stage.gate.get()
        assert status == 503
        assert b"\r\nX-Gateway-Error: upstream-down\r\n" in head
        assert b"\r\nRetry-After: " in head
        assert len(stage.upstream.requests) == FAILURE_THRESHOLD
        record = (await stage.gate.wait_for_records(FAILURE_THRESHOLD + 1))[-1]
        assert record.reason == "service acme: circuit open"
        service = service_of(stage)
        assert (service.state.breaker, service.rejected) == ("open", 1)
        assert len(stage.gate.problems) == 1
        assert stage.gate.problems[0].endswith("until a trial call succeeds: status 503")
        stage.gate.problems.clear()


@pytest.mark.parametrize("answer", [FAILED_RUN, reply(500), reply(404), BUSY])
async def test_other_errors_do_not_open_the_circuit(answer: bytes) -> None:
    count = 3 * FAILURE_THRESHOLD
    async with scene(*[answer] * count, service={}, route={"replay": "never"}) as stage:
        for _ in range(count):
            await stage.gate.get()
        assert service_of(stage).state.breaker == "closed"


async def test_silence_opens_the_circuit() -> None:
    async def silent(peer: ScriptedConnection) -> None:
        await peer.request()
        await asyncio.Event().wait()

    route = {"replay": "never", "timeout": {"response": "10ms"}}
    async with scene(*[silent] * FAILURE_THRESHOLD, service={}, route=route) as stage:
        for _ in range(FAILURE_THRESHOLD):
            assert (await stage.gate.get())[0] == 504
        await stage.gate.wait_for_records(FAILURE_THRESHOLD)
        assert service_of(stage).state.breaker == "open"
        stage.gate.problems.clear()


async def test_refused_connections_open_the_circuit() -> None:
    async with scene(service={}) as stage:
        stage.upstream._server.close()
        for _ in range(FAILURE_THRESHOLD):
            assert (await stage.gate.get())[0] in {502, 503}
        assert service_of(stage).state.breaker == "open"
        stage.gate.problems.clear()


def count_replays(stage: Scene) -> int:
    return sum(stage.gate.route.meter.replays.values())


@pytest.mark.parametrize(("service", "expected"), [({}, 3), (None, 12)])
async def test_second_tries_have_a_budget(service: dict[str, Any] | None, expected: int) -> None:
    """Twelve calls that each might be retried once; without a service there is no budget."""
    answers = [reply(429, b"busy", "Retry-After: 0")] * 24
    async with scene(*answers, service=service) as stage:
        for _ in range(12):
            assert (await stage.gate.get())[0] == 429
        assert sum(stage.gate.route.meter.replays.values()) == expected
        if service is not None:
            assert service_of(stage).retry_budget.denied == 9


async def test_drain_serves_calls_that_wait() -> None:
    async with wait_for_calls(1, calls=1) as (stage, calls, service):
        callers = await calling(stage.gate, 3)
        await until(lambda: service.waiting == 2 and calls.running == 1)
        stage.gate.forward.is_closing_connections = True
        calls.gate.set()
        assert await statuses(callers) == [200, 200, 200]
