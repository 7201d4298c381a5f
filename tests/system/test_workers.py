"""Several workers are one gateway: one address, one admin port, one stop. A worker's end affects only its own calls."""

import asyncio
import json
import os
import signal
import socket
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from gateway.sandbox import DEFAULT_SECRET, Sandbox, Switches
from tests.fakes.gate import Caller
from tests.fakes.identity import Identity, refusal, token
from tests.fakes.process import Document, Process, fresh_gateway, gateway, request, run
from tests.fakes.upstream import Upstream
from tests.system.scene import SECRETS, before, between, route, settings, written


@pytest.fixture
async def gated(sandbox: Sandbox) -> asyncio.Event:
    """Return an event that SLOW waits for."""
    sandbox.switches.slow_gate = asyncio.Event()
    return sandbox.switches.slow_gate


async def worker_views(gate: Process) -> list[Document]:
    """Return the workers as `/status` shows them."""
    status = (await gate.ask("/status"))[1]
    workers: list[Document] = status["workers"]
    return workers


async def pids(gate: Process) -> list[int]:
    return [worker["pid"] for worker in await worker_views(gate)]


async def busy_and_idle(gate: Process) -> tuple[int, int]:
    """Return the worker with the request in progress, and the other."""
    busy, idle = sorted(await worker_views(gate), key=lambda worker: -worker["requests_under_way"])
    assert (busy["requests_under_way"], idle["requests_under_way"]) == (1, 0)
    return busy["pid"], idle["pid"]


async def number(gate: Process, name: str, **labels: str) -> float:
    """Return the sum of a metric over the samples with these labels."""
    _, _, text = await gate.get("/metrics", address=gate.admin)
    samples = (sample for family in text_string_to_metric_families(text.decode()) for sample in family.samples)
    return sum(item.value for item in samples if item.name == name and labels.items() <= item.labels.items())


async def use_both(gate: Process, target: str = "/orders/") -> int:
    """Call on new connections until both workers have served a call. Return the number of calls."""
    for count in range(1, 200):
        assert (await gate.get(target))[0] == 200
        if all(worker["credentials"]["app"]["fetches"]["ok"] for worker in await worker_views(gate)):
            return count
    raise AssertionError("one worker got no call")


async def start_slow_call(gate: Process, sandbox: Sandbox) -> Caller:
    """Return a caller whose request has reached SLOW."""
    caller = await gate.caller()
    await caller.send(request("/slow/1"))
    await sandbox.calls.reached(1)
    return caller


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()]


def shown(pid: int) -> bytes:
    """Return what other processes can read of it."""
    return b"".join(Path(f"/proc/{pid}/{name}").read_bytes() for name in ("cmdline", "environ"))


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


async def test_both_workers_serve_and_metrics_are_sums(tmp_path: Path, sandbox: Sandbox) -> None:
    async with before(tmp_path, sandbox, workers=2) as gate:
        count = await use_both(gate)
        assert await number(gate, "oic_gateway_requests_total", route="orders", status="2xx") == count
        assert await number(gate, "oic_gateway_request_duration_seconds_count", route="orders") == count
        assert await number(gate, "oic_gateway_token_requests_total", result="ok") == 2
        assert await number(gate, "oic_gateway_workers") == 2
        assert await number(gate, "process_cpu_seconds_total") > 0
        _, status = await gate.ask("/status")
        assert status["listen"] == gate.listen
        assert [counts["idle"] for counts in status["connections"].values()] == [2]
        assert status["credentials"]["app"]["state"] == "fresh"
        assert len(await gate.wait_for_records(count)) == count
        assert len(gate.events("started")) == 1
        assert {event["pid"] for event in gate.events("worker-started")} == set(await pids(gate))


async def test_one_worker_is_one_process(tmp_path: Path, sandbox: Sandbox) -> None:
    async with before(tmp_path, sandbox) as gate:
        assert children(gate.pid) == []
        assert "workers" not in (await gate.ask("/status"))[1]


async def test_a_killed_worker_is_replaced_and_counters_stay(tmp_path: Path, sandbox: Sandbox) -> None:
    async with before(tmp_path, sandbox, workers=2) as gate:
        count = await use_both(gate)
        requests = await number(gate, "oic_gateway_requests_total")
        spent = await number(gate, "process_cpu_seconds_total")
        assert requests == count
        lost, stays = await pids(gate)
        kill(lost)
        await gate.wait_for_events("worker-started", 3)
        [event] = gate.events("worker-lost")
        assert (event["level"], event["pid"], event["ended"]) == ("error", lost, "signal 9")
        assert lost not in await pids(gate)
        assert stays in await pids(gate)
        assert await number(gate, "oic_gateway_requests_total") == count
        assert await number(gate, "oic_gateway_request_duration_seconds_count") == count
        assert await number(gate, "process_cpu_seconds_total") >= spent
        assert await number(gate, "oic_gateway_worker_losses_total") == 1
        assert await number(gate, "oic_gateway_workers") == 2
        more = await use_both(gate)
        assert await number(gate, "oic_gateway_requests_total") == count + more


async def test_a_killed_worker_breaks_only_its_own_calls(
    tmp_path: Path, sandbox: Sandbox, gated: asyncio.Event
) -> None:
    async with before(tmp_path, sandbox, workers=2) as gate:
        caller = await start_slow_call(gate, sandbox)
        busy, idle = await busy_and_idle(gate)
        kill(idle)
        await gate.wait_for_events("worker-started", 3)
        assert (await gate.get("/orders/"))[0] == 200
        gated.set()
        assert (await caller.reply())[0] == 200
        gated.clear()
        await caller.send(request("/slow/1"))
        await sandbox.calls.reached(3)
        kill(busy)
        assert await caller.read_to_end() == b""
        await gate.wait_for_events("worker-started", 4)
        assert (await gate.get("/orders/"))[0] == 200
        assert await number(gate, "oic_gateway_requests_in_flight") == 0
        gated.set()


async def test_a_worker_that_dies_repeatedly_is_still_replaced(tmp_path: Path, sandbox: Sandbox) -> None:
    async with before(tmp_path, sandbox, workers=2) as gate:
        for count in range(3, 7):
            kill(gate.events("worker-started")[-1]["pid"])
            await gate.wait_for_events("worker-started", count)
        assert len(gate.events("worker-lost")) == 4
        assert (await gate.get("/orders/"))[0] == 200
        assert (await gate.ask("/readyz"))[0] == 200


async def test_a_stuck_worker_is_reported_and_delays_nothing(tmp_path: Path, sandbox: Sandbox) -> None:
    async with before(tmp_path, sandbox, workers=2) as gate:
        count = await use_both(gate)
        assert await number(gate, "oic_gateway_requests_total") == count
        stuck, other = await pids(gate)
        os.kill(stuck, signal.SIGSTOP)
        try:
            live, ready, workers, counted, answering = await asyncio.gather(
                gate.ask("/livez"),
                gate.ask("/readyz"),
                worker_views(gate),
                number(gate, "oic_gateway_requests_total"),
                number(gate, "oic_gateway_workers"),
            )
            assert live == (503, {"state": "stuck", "stuck": [stuck]})
            assert ready[0] == 503
            assert ready[1]["workers"] == [{"pid": stuck, "state": "stuck"}, {"pid": other, "state": "ready"}]
            assert {worker["pid"]: worker["state"] for worker in workers} == {stuck: "stuck", other: "working"}
            assert (counted, answering) == (count, 1)
        finally:
            os.kill(stuck, signal.SIGCONT)
        assert await gate.ask("/livez") == (200, {"state": "alive"})
        assert (await gate.ask("/readyz"))[0] == 200


async def test_a_worker_that_stays_stuck_is_killed_and_replaced(
    tmp_path: Path, sandbox: Sandbox, gated: asyncio.Event
) -> None:
    async with before(tmp_path, sandbox, workers=2) as gate:
        caller = await start_slow_call(gate, sandbox)
        busy, _ = await busy_and_idle(gate)
        os.kill(busy, signal.SIGSTOP)
        [event] = await gate.wait_for_events("worker-stuck")
        assert (event["level"], event["pid"]) == ("error", busy)
        assert await caller.read_to_end() == b""
        [lost] = await gate.wait_for_events("worker-lost")
        assert (lost["pid"], lost["ended"]) == (busy, "signal 9")
        await gate.wait_for_events("worker-started", 3)
        assert {(await gate.get("/orders/"))[0] for _ in range(20)} == {200}
        assert (await gate.ask("/livez"))[0] == 200
        gated.set()


async def test_a_stuck_worker_does_not_delay_a_stop(tmp_path: Path, sandbox: Sandbox) -> None:
    async with before(tmp_path, sandbox, workers=2) as gate:
        stuck, _ = await pids(gate)
        os.kill(stuck, signal.SIGSTOP)
        gate.signal(signal.SIGTERM)
        await gate.wait_for_events("worker-stuck")
        assert await gate.ended() == 1


async def test_readiness_covers_all_workers(tmp_path: Path) -> None:
    async with (
        Identity(token("a"), refusal("invalid_client", 401)) as identity,
        Upstream() as upstream,
        between(tmp_path, identity, upstream, workers=2) as gate,
    ):
        document = await gate.until_answer(
            "/readyz", lambda ready: sorted(worker["state"] for worker in ready["workers"]) == ["ready", "unready"]
        )
        assert document["state"] == "unready"
        assert document["credentials"]["app"]["code"] == "invalid_client"
        assert (await gate.ask("/readyz"))[0] == 503
        _, view = await gate.ask("/status")
        assert view["credentials"]["app"]["last_error"]["code"] == "invalid_client"
        ended = await run("probe", "--admin", gate.admin)
        assert ended.status == 1
        assert "invalid_client" in ended.out


async def test_a_stop_drains_all_workers(tmp_path: Path, sandbox: Sandbox, gated: asyncio.Event) -> None:
    async with before(tmp_path, sandbox, workers=2) as gate:
        slow = [asyncio.create_task(gate.get("/slow/1")) for _ in range(6)]
        await sandbox.calls.reached(6)
        gate.signal(signal.SIGTERM)
        await gate.wait_for_events("draining")
        with pytest.raises(ConnectionRefusedError):
            await gate.caller()
        assert await gate.ask("/readyz") == (503, {"state": "draining"})
        gated.set()
        assert {(await one)[0] for one in slow} == {200}
        assert await gate.ended() == 0
        assert [line["under_way"] for line in gate.events("draining")] == [6]
        assert [line["drained"] for line in gate.events("stopped")] == [True]
        assert len(gate.records) == 6


async def test_a_signal_to_the_process_group_drains(tmp_path: Path, sandbox: Sandbox, gated: asyncio.Event) -> None:
    async with before(tmp_path, sandbox, workers=2) as gate:
        slow = await start_slow_call(gate, sandbox)
        os.killpg(gate.pid, signal.SIGINT)  # as Ctrl-C at a terminal does
        await gate.wait_for_events("draining")
        gated.set()
        assert (await slow.reply())[0] == 200
        assert await gate.ended() == 0


async def test_a_second_signal_stops_at_once(tmp_path: Path, sandbox: Sandbox, gated: asyncio.Event) -> None:
    async with before(tmp_path, sandbox, workers=2) as gate:
        caller = await start_slow_call(gate, sandbox)
        gate.signal(signal.SIGTERM)
        await gate.wait_for_events("draining")
        gate.signal(signal.SIGTERM)
        assert await caller.read_to_end() == b""
        assert await gate.ended() == 1
        assert gate.events("stopped")[0]["drained"] is False
        assert [record["error"] for record in gate.records] == ["draining"]


async def test_workers_drain_and_end_when_the_parent_is_killed(
    tmp_path: Path, sandbox: Sandbox, gated: asyncio.Event
) -> None:
    async with before(tmp_path, sandbox, workers=2) as gate:
        slow = await start_slow_call(gate, sandbox)
        kill(gate.pid)
        await gate.wait_for_events("supervisor-lost", 2)
        with pytest.raises(ConnectionRefusedError):
            await gate.caller()
        gated.set()
        assert (await slow.reply())[0] == 200
        assert await gate.wait_group_exit() == -signal.SIGKILL
        host, _, port = gate.listen.rpartition(":")
        with socket.create_server((host, int(port))):
            assert len(gate.records) == 1


async def test_the_gateway_stops_when_the_fork_server_is_killed(
    tmp_path: Path, sandbox: Sandbox, gated: asyncio.Event
) -> None:
    async with before(tmp_path, sandbox, workers=2) as gate:
        slow = await start_slow_call(gate, sandbox)
        [fork_server] = children(gate.pid)
        kill(fork_server)
        await gate.wait_for_events("fork-server-lost")
        await gate.wait_for_events("draining")
        gated.set()
        assert (await slow.reply())[0] == 200
        assert await gate.wait_group_exit() == 1


async def test_a_reload_reaches_current_and_later_workers(tmp_path: Path, sandbox: Sandbox) -> None:
    document = settings(sandbox, workers=2)
    async with gateway(written(tmp_path, document), **SECRETS) as gate:
        await use_both(gate)
        document["routes"] = [route("bestellungen", sandbox.upstream("ORDERS"))]
        written(tmp_path, document)
        gate.signal(signal.SIGHUP)
        await gate.wait_for_events("reloaded")
        assert await number(gate, "oic_gateway_token_requests_total", result="ok") == 2
        kill((await pids(gate))[0])
        await gate.wait_for_events("worker-started", 3)
        await use_both(gate, "/bestellungen/")
        assert {(await gate.get("/orders/"))[0] for _ in range(20)} == {404}
        assert len(gate.events("reloaded")) == 1
        assert await number(gate, "oic_gateway_token_requests_total", result="ok") == 3  # tokens were kept


async def test_hundreds_of_routes_reach_all_workers(tmp_path: Path, sandbox: Sandbox) -> None:
    document = settings(sandbox, workers=2)
    async with gateway(written(tmp_path, document), **SECRETS) as gate:
        document["routes"] += [route(f"more-{number}", sandbox.upstream("ORDERS")) for number in range(450)]
        written(tmp_path, document)
        gate.signal(signal.SIGHUP)
        await gate.wait_for_events("reloaded")
        await use_both(gate, "/more-449/")
        names = [each["name"] for each in (await gate.ask("/status"))[1]["routes"]]
        assert names == [each["name"] for each in document["routes"]]


async def test_a_faulty_configuration_changes_no_worker(tmp_path: Path, sandbox: Sandbox) -> None:
    file = written(tmp_path, settings(sandbox, workers=2))
    async with gateway(file, **SECRETS) as gate:
        file.write_text("routes: []\n", encoding="utf-8")
        gate.signal(signal.SIGHUP)
        [event] = await gate.wait_for_events("reload-refused")
        assert "routes: is an empty list" in event["message"]
        await use_both(gate)


async def test_the_number_of_workers_needs_a_restart(tmp_path: Path, sandbox: Sandbox) -> None:
    document = settings(sandbox, workers=2)
    async with gateway(written(tmp_path, document), **SECRETS) as gate:
        written(tmp_path, document | {"workers": 3})
        gate.signal(signal.SIGHUP)
        [event] = await gate.wait_for_events("restart-needed")
        assert "`workers`" in event["message"]
        await gate.wait_for_events("reloaded")
        assert len(await pids(gate)) == 2


@pytest.mark.parametrize("port", ["listen", "admin"])
async def test_a_port_in_use_is_reported_once(tmp_path: Path, sandbox: Sandbox, port: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        file = written(tmp_path, settings(sandbox, workers=2, **{port: address}))
        ended = await run("serve", "-c", file, **SECRETS)
    assert ended.status == 69
    [line] = map(json.loads, ended.out.splitlines())
    assert line["event"] == "not-started"
    assert f"cannot listen on {address}: Address already in use" in line["message"]
    assert ended.err == ""


async def test_the_port_of_another_gateway_is_not_shared(tmp_path: Path, sandbox: Sandbox) -> None:
    async with before(tmp_path, sandbox, workers=2) as gate:
        file = written(tmp_path, settings(sandbox, workers=2, listen=gate.listen), "other.yaml")
        ended = await run("serve", "-c", file, **SECRETS)
        assert ended.status == 69
        assert f"cannot listen on {gate.listen}" in ended.out


async def test_a_unix_socket_is_shared_and_removed(tmp_path: Path, sandbox: Sandbox) -> None:
    path = tmp_path / "gate.sock"
    async with before(tmp_path, sandbox, workers=2, listen=f"unix:{path}") as gate:
        for _ in range(2):
            calls = [gate.get("/orders/") for _ in range(100)]
            assert {status for status, _, _ in await asyncio.gather(*calls)} == {200}
            kill((await pids(gate))[0])
            assert (await gate.get("/orders/"))[0] == 200
        await gate.wait_for_events("worker-started", 4)
    assert not path.exists()


async def test_no_process_exposes_the_secret(tmp_path: Path, sandbox: Sandbox) -> None:
    secret = tmp_path / "secret"
    secret.write_text(DEFAULT_SECRET, encoding="utf-8")
    document = settings(sandbox, workers=2)
    document["credentials"]["app"]["client_secret"] = {"file": str(secret)}
    async with fresh_gateway(written(tmp_path, document)) as gate:
        await use_both(gate)
        family = [gate.pid, *children(gate.pid), *await pids(gate)]
        assert len(set(family)) == 4
        for pid in family:
            assert b"gateway" in shown(pid)
            assert DEFAULT_SECRET.encode() not in shown(pid)


async def test_a_hanging_token_request_delays_only_readiness(tmp_path: Path) -> None:
    async with (
        Sandbox(switches=Switches(token_gate=asyncio.Event())) as sandbox,
        before(tmp_path, sandbox, workers=2) as gate,
    ):
        task = asyncio.create_task(gate.ask("/readyz"))
        await sandbox.token_requests.reached(2)
        assert (await gate.ask("/livez"))[0] == 200
        assert [worker["state"] for worker in await worker_views(gate)] == ["working", "working"]
        gate_of_tokens = sandbox.switches.token_gate
        assert gate_of_tokens is not None
        gate_of_tokens.set()
        assert (await task)[0] == 200
