"""Listeners behind real balancers: HAProxy and nginx speak the PROXY protocol, with TLS passed through and without."""

import json
from pathlib import Path
from typing import Any

import pytest

from gateway.sandbox import Sandbox
from tests.fakes.balancer import haproxy, nginx
from tests.fakes.certificates import server_pem
from tests.fakes.process import Process, run_command
from tests.system.scene import before

CALLER = "127.9.9.9"
"""An address of this machine that only the caller uses."""


async def check_call(gate: Process, port: int) -> None:
    """Call through the balancer at this port; the record names the caller, not the balancer."""
    command = ("curl", "-q", "-sS", "--interface", CALLER, f"http://127.0.0.1:{port}/orders/")
    status, out, err = await run_command(*command, env={})
    assert status == 0, err
    assert b"hydraulic pump" in out
    [record] = await gate.wait_for_records()
    assert (record["status"], record["client"]) == (200, CALLER)


async def check_tls_call(gate: Process, port: int, authority: Path) -> None:
    """Call over TLS that the balancer passes through; URLs name the address that the caller connected to."""
    command = ("curl", "-q", "-sS", "--cacert", authority, "--interface", CALLER)
    status, out, err = await run_command(*command, f"https://127.0.0.1:{port}/hello/?wsdl", env={})
    assert status == 0, err
    assert f'location="https://127.0.0.1:{port}/hello/'.encode() in out
    [record] = await gate.wait_for_records()
    assert record["client"] == CALLER


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("send", ["send-proxy", "send-proxy-v2", "send-proxy-v2 proxy-v2-options unique-id"])
async def test_haproxy_names_the_caller(tmp_path: Path, sandbox: Sandbox, send: str, workers: int) -> None:
    listen = [{"address": "127.0.0.1:0", "proxy_protocol": ["127.0.0.0/24"]}]
    async with (
        before(tmp_path, sandbox, listen=listen, workers=workers) as gate,
        haproxy(tmp_path, gate.listen, send) as port,
    ):
        await check_call(gate, port)
        status, _, body = await gate.get("/orders/")
        assert status == 400
        assert "must begin a connection with a PROXY protocol header" in json.loads(body)["detail"]
        [line] = await gate.wait_for_events("proxy-header-refused")
        assert (line["listener"], line["client"]) == (gate.listen, "127.0.0.1")
        _, _, metrics = await gate.get("/metrics", address=gate.admin)
        assert b'connections_failed_total{listener="%b",reason="proxy-header"} 1' % gate.listen.encode() in metrics


async def test_the_header_of_haproxy_comes_before_tls(tmp_path: Path, sandbox: Sandbox) -> None:
    server = server_pem(tmp_path)
    listen: list[dict[str, Any]] = [
        {"address": "127.0.0.1:0", "tls": {"cert": str(server)}, "proxy_protocol": ["127.0.0.1/32"]}
    ]
    async with (
        before(tmp_path, sandbox, listen=listen) as gate,
        haproxy(tmp_path, gate.listen, "send-proxy-v2") as port,
    ):
        await check_tls_call(gate, port, server)
        command = ("curl", "-q", "-sS", "--cacert", server, "--interface", CALLER)
        # An absolute target names the address that the caller connected to: that of HAProxy.
        for authority, expected in ((f"127.0.0.1:{port}", b"200"), (gate.listen, b"404")):
            target = ("-o", "/dev/null", "-w", "%{http_code}", "--request-target", f"https://{authority}/orders/")
            _, out, _ = await run_command(*command, *target, f"https://127.0.0.1:{port}/", env={})
            assert out == expected


async def test_haproxy_calls_over_tls(tmp_path: Path, sandbox: Sandbox) -> None:
    """HAProxy ends the callers' connections, and verifies the gateway's certificate."""
    server = server_pem(tmp_path)
    listen: list[dict[str, Any]] = [
        {"address": "127.0.0.1:0", "tls": {"cert": str(server)}, "proxy_protocol": ["127.0.0.1/32"]}
    ]
    send = f"send-proxy-v2 ssl verify required ca-file {server} verifyhost localhost alpn http/1.1"
    async with before(tmp_path, sandbox, listen=listen) as gate, haproxy(tmp_path, gate.listen, send) as port:
        await check_call(gate, port)


async def test_nginx_names_the_caller(tmp_path: Path, sandbox: Sandbox) -> None:
    listen = [{"address": "127.0.0.1:0", "proxy_protocol": ["127.0.0.0/24"]}]
    async with (
        before(tmp_path, sandbox, listen=listen) as gate,
        nginx(tmp_path, "stream", f"proxy_pass {gate.listen}; proxy_protocol on;") as port,
    ):
        await check_call(gate, port)


async def test_the_header_of_nginx_comes_before_tls(tmp_path: Path, sandbox: Sandbox) -> None:
    server = server_pem(tmp_path)
    listen: list[dict[str, Any]] = [
        {"address": "127.0.0.1:0", "tls": {"cert": str(server)}, "proxy_protocol": ["127.0.0.1/32"]}
    ]
    async with (
        before(tmp_path, sandbox, listen=listen) as gate,
        nginx(tmp_path, "stream", f"proxy_pass {gate.listen}; proxy_protocol on;") as port,
    ):
        await check_tls_call(gate, port, server)
