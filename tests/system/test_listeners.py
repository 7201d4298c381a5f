"""Several listeners of one gateway, against the real process."""

import asyncio
import signal
import socket
from pathlib import Path

import pytest

from gateway.config.model import LimitSettings
from gateway.sandbox import DEFAULT_SECRET, Sandbox
from tests.fakes.process import Process, gateway, request, run
from tests.system.scene import SECRETS, before, settings, written


@pytest.mark.parametrize("workers", [1, 2])
async def test_all_listeners_serve_the_routes(tmp_path: Path, sandbox: Sandbox, workers: int) -> None:
    listen = ["127.0.0.1:0", f"unix:{tmp_path}/gw", {"address": "localhost:0"}]
    async with before(tmp_path, sandbox, listen=listen, workers=workers) as gate:
        addresses = gate.listen.split(", ")
        assert [address.partition(":")[0] for address in addresses] == ["127.0.0.1", "unix", "localhost"]
        for address in addresses:
            assert (await gate.get("/orders/", address=address))[0] == 200
        assert (await gate.ask("/status"))[1]["listen"] == gate.listen
    assert not (tmp_path / "gw").exists()


async def test_an_absolute_target_names_the_listener_of_its_connection(tmp_path: Path, sandbox: Sandbox) -> None:
    async with before(tmp_path, sandbox, listen=["127.0.0.1:0", "127.0.0.1:0"]) as gate:
        first, second = gate.listen.split(", ")
        for address, authority, expected in [(first, first, 200), (first, second, 404), (second, second, 200)]:
            status, _, _ = await gate.get(f"http://{authority}/orders/", address=address)
            assert status == expected, (address, authority)


@pytest.mark.parametrize("workers", [1, 2])
async def test_one_address_in_use_frees_the_others(tmp_path: Path, sandbox: Sandbox, workers: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        listen = [f"unix:{tmp_path}/gw", f"127.0.0.1:{port}"]
        file = written(tmp_path, settings(sandbox, listen=listen, workers=workers))
        async with Process("serve", "-c", file, **SECRETS) as gate:
            [line] = await gate.wait_for_events("not-started")
            assert f"cannot listen on 127.0.0.1:{port}" in line["message"]
            assert await gate.ended() == 69
    assert not (tmp_path / "gw").exists()


async def test_other_addresses_need_a_restart(tmp_path: Path, sandbox: Sandbox) -> None:
    file = written(tmp_path, settings(sandbox))
    async with gateway(file, **SECRETS) as gate:
        written(tmp_path, settings(sandbox, listen=[{"address": "127.0.0.1:0"}]))
        gate.signal(signal.SIGHUP)
        await gate.wait_for_events("reloaded")
        assert not gate.events("restart-needed")
        written(tmp_path, settings(sandbox, listen=["127.0.0.1:0", f"unix:{tmp_path}/gw"]))
        gate.signal(signal.SIGHUP)
        await gate.wait_for_events("restart-needed")
        assert (await gate.get("/orders/"))[0] == 200


async def test_all_listeners_drain(tmp_path: Path, sandbox: Sandbox) -> None:
    async with before(tmp_path, sandbox, listen=["127.0.0.1:0", f"unix:{tmp_path}/gw"]) as gate:
        callers = [await gate.caller(address) for address in gate.listen.split(", ")]
        for caller in callers:
            await caller.send(request("/orders/"))
            assert (await caller.reply())[0] == 200
        gate.signal(signal.SIGTERM)
        await gate.wait_for_events("draining")
        for caller in callers:
            await caller.send(request("/orders/"))
            status, head, _ = await caller.reply()
            assert status == 200
            assert b"\r\nConnection: close\r\n" in head
        assert await gate.ended() == 0


async def test_addresses_from_a_variable(sandbox: Sandbox) -> None:
    variables = {
        "OIC_GATEWAY_UPSTREAM": sandbox.upstream("ORDERS"),
        "OIC_GATEWAY_TOKEN_URL": sandbox.token_url,
        "OIC_GATEWAY_CLIENT_ID": sandbox.client_id,
        "OIC_GATEWAY_CLIENT_SECRET": DEFAULT_SECRET,
        "OIC_GATEWAY_LISTEN": "127.0.0.1:0, [::1]:0",
        "OIC_GATEWAY_ADMIN": "127.0.0.1:0",
    }
    async with Process("serve", **variables) as gate:
        await gate.wait_started()
        assert [address.rpartition(":")[0] for address in gate.listen.split(", ")] == ["127.0.0.1", "[::1]"]
    ended = await run("serve", **variables | {"OIC_GATEWAY_LISTEN": "127.0.0.1:0, here"})
    assert ended.status == 78
    assert ended.err.startswith("OIC_GATEWAY_LISTEN: is not an address")


async def test_a_route_answers_or_gives_up_a_half_closed_caller(tmp_path: Path, sandbox: Sandbox) -> None:
    document = settings(sandbox, limits={"keepalive": "300s"})
    for route in document["routes"]:
        route["half_close"] = "abort" if route["name"] == "slow" else "answer"
    sandbox.switches.slow_gate = asyncio.Event()
    async with gateway(written(tmp_path, document), **SECRETS) as gate:
        for target, answer in (("/orders/", b"HTTP/1.1 200 OK\r\n"), ("/slow/1", b"")):
            host, _, port = gate.listen.rpartition(":")
            with socket.create_connection((host, int(port))) as sock:
                sock.sendall(request(target))
                sock.shutdown(socket.SHUT_WR)  # as `nc -N` does
                got = await asyncio.to_thread(read_to_end, sock)
            assert got.startswith(answer)
            assert bool(got) == bool(answer)
        [_, record] = await gate.wait_for_records(2)
        assert (record["status"], record["error"]) == (499, "caller-gone")


async def test_idle_connections_end_after_limits_keepalive(tmp_path: Path, sandbox: Sandbox) -> None:
    assert LimitSettings().keepalive > 100, "pools of .NET keep idle connections for 100 seconds"
    async with gateway(written(tmp_path, settings(sandbox, limits={"keepalive": "100ms"})), **SECRETS) as gate:
        caller = await gate.caller()
        await caller.send(request("/orders/"))
        assert (await caller.reply())[0] == 200
        assert await caller.read_to_end() == b""


def read_to_end(sock: socket.socket) -> bytes:
    got = b""
    try:
        while piece := sock.recv(65536):
            got += piece
    except ConnectionResetError:
        pass
    return got
